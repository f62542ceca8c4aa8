"""A revocation list that comes while the server answers devices."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs import layout
from certs.folder import import_lists
from crypto.curves import Curve
from tests.http_stage import Edge, Material, edge
from tests.revocation_lists import ListPlan, serial_of, signed_list


def list_of_today(pki: layout.PkiFolder, file: Path) -> Path:
    """A list of the generated CI that revokes the generated EUM."""
    device = pki.device_files(Curve.P256)
    key = load_pem_private_key(device.ci_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC).replace(microsecond=0)
    plan = ListPlan(
        serials=(serial_of(device.eum_certificate.read_bytes()),),
        this_update=now - timedelta(hours=1),
        next_update=now + timedelta(days=30),
    )
    file.write_bytes(signed_list(device.ci_certificate.read_bytes(), key, plan))
    return file


async def test_list_is_taken_up_without_a_restart(
    database: str, edge_material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.revocations.SECONDS", 0)
    shutil.copytree(edge_material.pki.path, tmp_path / "pki")
    material = replace(edge_material, pki=layout.load(tmp_path / "pki"))
    async with edge(material, database, tmp_path) as answering:
        ordered = await answering.ordered()
        assert await authenticated(answering, ordered.matching_id) == ()
        import_lists(material.pki.path, [list_of_today(material.pki, tmp_path / "new.crl")], now=datetime.now(UTC))
        assert await authenticated(answering, ordered.matching_id) == ("8.1.2", "6.1")


async def authenticated(answering: Edge, matching_id: str) -> tuple[str, ...]:
    """The codes with which AuthenticateClient refuses a fresh card; none when it does not."""
    device = answering.card()
    begun = (await answering.device("initiateAuthentication", device.initiate())).json()
    answer = await answering.device("authenticateClient", device.authenticate(begun, matching_id))
    return () if "smdpSigned2" in answer.json() else answer.failed()

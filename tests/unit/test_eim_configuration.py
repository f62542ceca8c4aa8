"""`smdp eim configuration`: a card takes what it prints and obeys the key in the vault."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from certs.folder import init, load
from crypto.curves import Curve
from hsm_mock import MockVault
from rsp import tlv
from server.__main__ import application
from server.clock import SystemClock
from simulator.iot_factory import FactoryProfile, association_token, made_in_factory
from simulator.issuer import EumIssuer

PASSPHRASE = "correct horse"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = MockVault.create(tmp_path / "vault.bin", PASSPHRASE, cost=10)
    asyncio.run(init(tmp_path / "pki", vault, now=SystemClock().now()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMDP_FLEX_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SMDP_FLEX_VAULT_PASSPHRASE", PASSPHRASE)


def exported(*options: str) -> bytes:
    result = CliRunner().invoke(application(), ["eim", "configuration", *options])
    assert result.exit_code == 0, result.output
    return base64.b64decode(result.stdout)


def test_a_card_takes_the_configuration_and_makes_a_token(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from rsp.identifiers import Iccid

    files = load(tmp_path / "pki").device_files(Curve.P256)
    key = load_pem_private_key(files.eum_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    issuer = EumIssuer(files.eum_certificate.read_bytes(), key, (files.ci_certificate.read_bytes(),))
    eid = issuer.eid(1)
    lead = FactoryProfile(iccid=Iccid("8988211000000000011"), provider="Lead", name="Lead")
    card = made_in_factory(eid, [issuer.issue(eid)], lead=lead, configurations=[exported("--pin-tls")])
    assert association_token(card, "eim.example.com")


def test_the_options_stand_in_the_configuration(tmp_path: Path) -> None:
    members = tlv.read_only(exported("--counter", "41", "--no-token"), 0x30).members()
    assert members[0x80].text() == members[0x81].text() == "eim.example.com"
    assert members[0x83].integer() == 41
    assert 0x84 not in members
    assert 0xA6 not in members
    CliRunner().invoke(application(), ["eim", "configuration", "--output", str(tmp_path / "eim.der")])
    assert (tmp_path / "eim.der").read_bytes() == exported()
    shown = CliRunner().invoke(application(), ["eim", "configuration", "--json"]).stdout
    assert base64.b64decode(json.loads(shown)["eimConfigurationData"]) == exported()

"""Who may call ES2+: the client certificate decides, on a real TLS connection (SGP.22 2.6, 5.3)."""

from __future__ import annotations

import json
import shutil
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from certs import creation, layout
from hsm_mock import MockVault
from rsp.status import Status
from tests.conformance import conforms
from tests.http_stage import ES2, NAME, OPERATOR, TYPE, Edge

_OTHER = "operator-b"
_RELEASE = {"iccid": "8988211000000000000"}


@pytest.fixture
async def foreign(tmp_path: Path) -> layout.PkiFolder:
    """Another test PKI: the same names under other authorities."""
    vault = MockVault.create(tmp_path / "foreign-vault", "passphrase", cost=10)
    return await creation.init(tmp_path / "foreign", vault, names=(NAME,), now=datetime.now(UTC))


async def _call(edge: Edge, tls: ssl.SSLContext, body: dict[str, Any]) -> Any:
    return await edge.request("es2", ES2 + "releaseProfile", _body(edge, body), tls=tls)


def _body(edge: Edge, body: dict[str, Any]) -> bytes:
    return json.dumps({"header": edge.header(), **body}).encode()


async def test_client_without_a_certificate_gets_no_connection(at_edge: Edge) -> None:
    with pytest.raises(aiohttp.ClientError):
        await _call(at_edge, at_edge.material.trust(), _RELEASE)


async def test_certificate_of_a_foreign_authority_gets_no_connection(at_edge: Edge, foreign: layout.PkiFolder) -> None:
    context = at_edge.material.trust()
    context.load_cert_chain(*foreign.operator_files(OPERATOR))
    with pytest.raises(aiohttp.ClientError):
        await _call(at_edge, context, _RELEASE)


async def test_certificate_of_a_device_or_server_gets_no_connection(at_edge: Edge) -> None:
    pki = at_edge.material.pki
    context = at_edge.material.trust()
    context.load_cert_chain(pki.tls_certificate, pki.tls_key)
    with pytest.raises(aiohttp.ClientError):
        await _call(at_edge, context, _RELEASE)


async def test_registered_certificate_calls(at_edge: Edge) -> None:
    answer = await at_edge.operator("releaseProfile", _RELEASE)
    assert (answer.status, answer.failed()) == (200, ("8.2.1", "3.9"))


async def test_right_authority_but_unregistered_is_403_and_told_what_to_do(at_edge: Edge, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(at_edge.material.pki.path, folder)
    certificate, key = creation.issue_operator_certificate(folder, "stranger", datetime.now(UTC))
    context = at_edge.material.trust()
    context.load_cert_chain(certificate, key)
    before = await at_edge.rows()
    answer = await _call(at_edge, context, _RELEASE)
    assert (answer.status, b"belongs to no operator" in answer.body) == (403, True)
    assert b"smdp operator" in answer.body
    assert await at_edge.rows() == before


async def test_operator_that_is_not_active_is_403_at_every_function(at_edge: Edge) -> None:
    order = await at_edge.ordered()
    await at_edge.execute("UPDATE tenants SET active = false WHERE name = $1", OPERATOR)
    before = await at_edge.rows()
    calls: dict[str, dict[str, Any]] = {
        "downloadOrder": {"profileType": TYPE},
        "confirmOrder": {"iccid": order.iccid, "releaseFlag": True},
        "cancelOrder": {"iccid": order.iccid, "finalProfileStatusIndicator": "Available"},
        "releaseProfile": {"iccid": order.iccid},
    }
    for function, body in calls.items():
        answer = await at_edge.operator(function, body)
        assert (answer.status, b"is inactive" in answer.body) == (403, True), function
    assert await at_edge.rows() == before
    assert (await at_edge.operator("releaseProfile", _RELEASE, name=_OTHER)).status == 200


@conforms(
    "SGP.22 6.5.1.3",
    "functionRequesterIdentifier must be that of the client certificate",
    Status.REQUESTER_NOT_ALLOWED,
    binding="json",
    where="es2plus/server.py",
)
async def test_requester_id_of_another_operator_is_1_1_with_1_2(at_edge: Edge) -> None:
    order = await at_edge.ordered()
    before = await at_edge.rows()
    for requester in (_OTHER, "OPERATOR-A", " operator-a", "nobody"):
        header = at_edge.header(requester)
        answer = await at_edge.operator("releaseProfile", {"iccid": order.iccid, "header": header})
        assert (answer.status, answer.failed()) == (200, ("1.1", "1.2")), requester
    assert await at_edge.rows() == before


async def test_another_operators_profile_order_and_type_answer_as_unknown_ones(at_edge: Edge) -> None:
    order = await at_edge.ordered()
    before = await at_edge.rows()
    calls: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
        "downloadOrder": ({"iccid": order.iccid}, ("8.2.1", "3.9")),
        "confirmOrder": ({"iccid": order.iccid, "releaseFlag": True}, ("8.2.1", "3.9")),
        "cancelOrder": ({"iccid": order.iccid, "finalProfileStatusIndicator": "Available"}, ("8.2.1", "3.9")),
        "releaseProfile": ({"iccid": order.iccid}, ("8.2.1", "3.9")),
    }
    for function, (body, codes) in calls.items():
        assert (await at_edge.operator(function, body, name=_OTHER)).failed() == codes, function
    answer = await at_edge.operator("downloadOrder", {"profileType": TYPE}, name=_OTHER)
    assert answer.failed() == ("8.2.5", "3.9")
    assert await at_edge.rows() == before


async def test_caller_is_judged_before_its_body(at_edge: Edge) -> None:
    await at_edge.execute("UPDATE tenants SET active = false")
    assert (await at_edge.operator("releaseProfile", b"no json")).status == 403


async def test_repeated_call_gets_the_same_answer_and_changes_nothing(at_edge: Edge) -> None:
    (iccid,) = await at_edge.stock()
    header = at_edge.header()
    body = {"profileType": TYPE, "header": header}
    first = await at_edge.operator("downloadOrder", body)
    after = await at_edge.rows()
    again = await at_edge.operator("downloadOrder", body)
    assert first.body == again.body
    assert iccid in first.body.decode()
    assert await at_edge.rows() == after
    other = await at_edge.operator("downloadOrder", {"iccid": iccid, "header": header})
    assert other.status == 200
    assert other.json()["header"]["functionExecutionStatus"]["status"] == "Failed"
    assert await at_edge.rows() == after

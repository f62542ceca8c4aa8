"""/v1/carriers with an SM-DP+ of the carrier's own; and its reports on the ES2+ listener of a whole process."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from tenancy.principal import Principal, PrincipalKind
from tests.api_stage import ApiCaller, caller, carrier_body
from tests.http_stage import ES2, Answer, Edge

CARRIERS = "/v1/carriers"
URL = "https://es2.nordic.example/path"


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener looks for newly registered callers all the time."""
    monkeypatch.setattr("server.callers._SECONDS", 0.0)


@pytest.fixture
async def admin(at_edge: Edge) -> ApiCaller:
    return await caller(at_edge)


def texts(edge: Edge) -> dict[str, str]:
    """Certificates and a key that fit together."""
    pki = edge.material.pki
    certificate, key = pki.operator_files("operator-a")
    return {
        "certificate": certificate.read_text(),
        "key": key.read_text(),
        "ca": pki.operator_ca.read_text(),
        "callerCertificate": pki.tls_certificate.read_text(),
    }


def smdp(edge: Edge, **changes: Any) -> dict[str, Any]:
    return {"baseUrl": URL, "requesterId": "acme", "address": "rsp.nordic.example", **texts(edge), **changes}


async def stored(edge: Edge, *tables: str) -> str:
    connection = await asyncpg.connect(edge.database)
    try:
        found = [await connection.fetch(f"SELECT t::text FROM {table} t") for table in tables]
        return str([row[0] for rows in found for row in rows])
    finally:
        await connection.close()


async def test_an_smdp_is_shown_without_its_key_and_the_key_is_nowhere(admin: ApiCaller) -> None:
    given = smdp(admin.edge)
    made = await admin.post(CARRIERS, carrier_body("nordic", "partner", profileType="iot", smdp=given))
    assert made.status == 201
    shown = {name: value for name, value in given.items() if name != "key"} | {"hasKey": True}
    assert made.json()["smdp"] == shown
    assert (await admin.get(made.headers["Location"])).json() == made.json()
    body = given["key"].splitlines()[1]
    for text in (await stored(admin.edge, "carriers", "audit", "api_requests"), made.body.decode()):
        assert body not in text
        assert body[:16].encode().hex() not in text


async def test_nobody_but_the_carrier_and_admins_sees_how_its_smdp_is_reached(admin: ApiCaller) -> None:
    made = (await admin.post(CARRIERS, carrier_body("nordic", "both", profileType="iot", smdp=smdp(admin.edge)))).json()
    enterprise = (await admin.post("/v1/enterprises", {"name": "e", "leadId": made["id"]})).json()
    itself = await caller(admin.edge, Principal(kind=PrincipalKind.CARRIER, party_id=made["id"]))
    other = await caller(admin.edge, Principal(kind=PrincipalKind.ENTERPRISE, party_id=enterprise["id"]))
    path = f"{CARRIERS}/{made['id']}"
    assert (await itself.get(path)).json()["smdp"] == made["smdp"]
    assert (await other.get(path)).json()["smdp"] is None
    assert (await itself.patch(path, {"smdp": None})).status == 403


async def test_the_address_is_the_host_when_none_is_given(admin: ApiCaller) -> None:
    made = await admin.post(CARRIERS, carrier_body("nordic", smdp=smdp(admin.edge, address="", callerCertificate="")))
    assert made.json()["smdp"]["address"] == "es2.nordic.example"
    assert made.json()["smdp"]["callerCertificate"] == ""


async def test_an_smdp_is_replaced_as_a_whole_and_taken_away(admin: ApiCaller) -> None:
    made = (await admin.post(CARRIERS, carrier_body("nordic", smdp=smdp(admin.edge)))).json()
    path = f"{CARRIERS}/{made['id']}"
    changed = await admin.patch(path, {"smdp": smdp(admin.edge, requesterId="other", callerCertificate="")})
    assert changed.json()["smdp"]["requesterId"] == "other"
    assert (await admin.patch(path, {"profileType": "iot"})).json()["smdp"] == changed.json()["smdp"]
    assert (await admin.patch(path, {"smdp": None})).json()["smdp"] is None


BAD = [
    {"baseUrl": "http://es2.nordic.example"},
    {"baseUrl": "http://127.0.0.1:8444"},
    {"baseUrl": "https://user:password@es2.nordic.example"},
    {"baseUrl": "https://es2.nordic.example?a=b"},
    {"baseUrl": "https://169.254.169.254"},
    {"baseUrl": "https://[fe80::1]"},
    {"baseUrl": "https://0.0.0.0"},
    {"baseUrl": "https://es2.nordic.example:99999"},
    {"baseUrl": "ftp://es2.nordic.example"},
    {"address": "no host name!"},
    {"certificate": "nothing"},
    {"ca": "nothing"},
    {"key": "nothing"},
    {"callerCertificate": "nothing"},
]


@pytest.mark.parametrize("change", BAD, ids=str)
async def test_what_could_never_be_called_is_refused_in_words(admin: ApiCaller, change: dict[str, str]) -> None:
    answer = await admin.post(CARRIERS, carrier_body("nordic", smdp=smdp(admin.edge, **change)))
    assert answer.status == 422
    assert "smdp" in answer.json()["detail"]
    assert "BEGIN" not in answer.body.decode()


async def test_a_key_of_another_certificate_is_refused(admin: ApiCaller) -> None:
    _, other = admin.edge.material.pki.operator_files("operator-b")
    answer = await admin.post(CARRIERS, carrier_body("nordic", smdp=smdp(admin.edge, key=other.read_text())))
    assert answer.status == 422


async def test_profiles_lie_at_one_place(admin: ApiCaller) -> None:
    given = smdp(admin.edge)
    assert (await admin.post(CARRIERS, carrier_body("nordic", smdp=given, operatorId=1))).status == 422
    made = (await admin.post(CARRIERS, carrier_body("nordic", operatorId=1))).json()
    path = f"{CARRIERS}/{made['id']}"
    assert (await admin.patch(path, {"smdp": given})).status == 422
    assert (await admin.patch(path, {"smdp": given, "operatorId": None})).status == 200


async def test_one_caller_certificate_belongs_to_one_carrier(admin: ApiCaller) -> None:
    assert (await admin.post(CARRIERS, carrier_body("nordic", smdp=smdp(admin.edge)))).status == 201
    taken = await admin.post(CARRIERS, carrier_body("other", smdp=smdp(admin.edge)))
    assert (taken.status, "callerCertificate" in taken.json()["detail"]) == (409, True)


# The listener --------------------------------------------------------------------------------------------------------

REPORT = {
    "header": {"functionRequesterIdentifier": "nordic", "functionCallIdentifier": "1"},
    "iccid": "8988211000000000001F",
    "profileType": "iot",
    "timestamp": "2026-11-22T12:00:00Z",
    "notificationPointId": 4,
    "notificationPointStatus": {"status": "Executed-Success"},
}


def peer(edge: Edge) -> ssl.SSLContext:
    """An SM-DP+ with a certificate that no authority of the listener has issued."""
    context = edge.material.trust()
    context.load_cert_chain(edge.material.pki.tls_certificate, edge.material.pki.tls_key)
    return context


async def reported(edge: Edge) -> Answer:
    path = f"{ES2}handleDownloadProgressInfo"
    return await edge.request("es2", path, json.dumps(REPORT).encode(), tls=peer(edge))


async def test_a_registered_smdp_reports_on_the_es2_listener_and_may_do_nothing_else_there(admin: ApiCaller) -> None:
    with pytest.raises(aiohttp.ClientError):
        await reported(admin.edge)
    made = (await admin.post(CARRIERS, carrier_body("nordic", smdp=smdp(admin.edge)))).json()
    answer = await let_in(admin.edge)
    assert (answer.status, answer.body) == (204, b"")
    order = {"header": REPORT["header"], "iccid": REPORT["iccid"]}
    tried = await admin.edge.request("es2", f"{ES2}releaseProfile", json.dumps(order).encode(), tls=peer(admin.edge))
    assert tried.status == 403
    await admin.patch(f"{CARRIERS}/{made['id']}", {"smdp": None})
    assert (await reported(admin.edge)).status == 403


async def let_in(edge: Edge) -> Answer:
    """The first answer once the listener has looked."""
    for _ in range(1000):
        try:
            return await reported(edge)
        except aiohttp.ClientError:
            continue
    raise AssertionError("the caller was never let in")


async def test_an_operator_may_not_report(admin: ApiCaller) -> None:
    answer = await admin.edge.operator("handleDownloadProgressInfo", REPORT)
    assert answer.status == 403


def test_files_of_keys_are_read_by_the_command(tmp_path: Path) -> None:
    from server.commands.carrier import _smdp

    files = []
    for name in ("certificate", "key", "ca", "caller"):
        (tmp_path / name).write_text(name)
        files.append(tmp_path / name)
    assert _smdp(URL, "acme", "", (files[0], files[1], files[2], files[3])) == {
        "baseUrl": URL,
        "requesterId": "acme",
        "certificate": "certificate",
        "key": "key",
        "ca": "ca",
        "address": "",
        "callerCertificate": "caller",
    }
    assert _smdp("", "", "", (None, None, None, None)) is None

"""The ES2+ client against a scripted SM-DP+ over mutual TLS: what it sends and reads, and what it makes of faults."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from lpa_pki import Pki, make_pki
from lpa_script import Reply, Script, failure, success

from es2plus import replies
from es2plus.client import Es2PlusClient, OrderRefused
from es2plus.replies import Confirmation, ProfileStatus
from rsp.errors import Unreachable
from rsp.identifiers import Eid, Iccid
from transport.client import GsmaClient, NotOffered
from transport.tls import BadTls, peer_context

HOST = "127.0.0.1"
NAME = "es2.example.com"
ICCID = Iccid("8900012345678901234")
EID = Eid("89049032123451234512345678901235")
HEADER = {"functionRequesterIdentifier": "1.2.3", "functionCallIdentifier": "call-1"}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"), NAME)


@pytest.fixture
async def script(pki: Pki) -> AsyncIterator[Script]:
    server = Script()
    tls = pki.server()
    tls.verify_mode = ssl.CERT_REQUIRED
    await server.start(tls, "/gsma/rsp2/es2plus/{function}")
    yield server
    await server.stop()


def tls_of(pki: Pki, *, ca: str = "ca", own: str = "client") -> ssl.SSLContext:
    read = [(pki.folder / name).read_text() for name in (f"{ca}.pem", f"{own}.pem", f"{own}.key")]
    return peer_context(*read)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def client_of(http: aiohttp.ClientSession, port: int, tls: ssl.SSLContext, seconds: float = 5.0) -> Es2PlusClient:
    gsma = GsmaClient(http, f"https://{HOST}:{port}", seconds, NAME, tls, largest_answer=100_000)
    return Es2PlusClient(gsma, "1.2.3")


@pytest.fixture
def client(http: aiohttp.ClientSession, script: Script, pki: Pki) -> Es2PlusClient:
    return client_of(http, script.port, tls_of(pki))


async def test_every_function_sends_the_members_of_the_standard_and_no_other(
    client: Es2PlusClient, script: Script
) -> None:
    script.prepare("downloadOrder", success(iccid="8900012345678901234F"))
    script.prepare("confirmOrder", success(matchingId="A-1", smdpAddress="rsp.example.com"))
    script.prepare("getProfileStatus", success(profileStatusList=[], completionTimestamp="2026-11-22T12:00:00Z"))
    for function in ("cancelOrder", "releaseProfile", "recoverProfile"):
        script.prepare(function, success())
    await client.download_order("call-1", eid=EID, profile_type="gold")
    await client.confirm_order(
        "call-1",
        ICCID,
        release=True,
        eid=EID,
        matching_id="",
        confirmation_code="1234",
        smds_address="smds.example.com",
    )
    await client.cancel_order("call-1", ICCID, "Available", eid=EID, matching_id="A-1")
    await client.release_profile("call-1", ICCID)
    await client.profile_status("call-1", [ICCID])
    await client.recover_profile("call-1", ICCID, "Available")
    iccid = "8900012345678901234F"
    assert {seen.function: seen.json for seen in script.seen} == {
        "downloadOrder": {"header": HEADER, "eid": str(EID), "profileType": "gold"},
        "confirmOrder": {
            "header": HEADER,
            "iccid": iccid,
            "releaseFlag": True,
            "eid": str(EID),
            "matchingId": "",
            "confirmationCode": "1234",
            "smdsAddress": "smds.example.com",
        },
        "cancelOrder": {
            "header": HEADER,
            "iccid": iccid,
            "finalProfileStatusIndicator": "Available",
            "eid": str(EID),
            "matchingId": "A-1",
        },
        "releaseProfile": {"header": HEADER, "iccid": iccid},
        "getProfileStatus": {"header": HEADER, "iccidList": [{"iccid": iccid}]},
        "recoverProfile": {"header": HEADER, "iccid": iccid, "profileStatus": "Available"},
    }
    headers = script.seen[0].headers
    assert headers["X-Admin-Protocol"].startswith("gsma/rsp/v2.")
    assert headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("8900012345678901234F", "8900012345678901234"),
        ("8900012345678901234f", "8900012345678901234"),
        ("8900012345678901234", "8900012345678901234"),
        ("890001234567890123", "890001234567890123"),
        ("89000123456789012345", "89000123456789012345"),
        (89000123456789012345, "89000123456789012345"),
    ],
)
async def test_an_iccid_is_read_however_it_is_written(
    client: Es2PlusClient, script: Script, written: object, read: str
) -> None:
    script.prepare("downloadOrder", success(iccid=written, extra={"of": "theirs"}))
    assert await client.download_order("call-1", profile_type="gold") == Iccid(read)


async def test_a_confirmation_is_read_without_its_optional_members(client: Es2PlusClient, script: Script) -> None:
    script.prepare("confirmOrder", success(matchingId="A-1", eid=None), success(matchingId=None), success())
    found = [await client.confirm_order("call-1", ICCID, release=True) for _ in range(3)]
    assert found == [
        Confirmation(matching_id="A-1", eid="", smdp_address=""),
        Confirmation(matching_id="", eid="", smdp_address=""),
        Confirmation(matching_id="", eid="", smdp_address=""),
    ]


async def test_a_warning_is_a_success(client: Es2PlusClient, script: Script) -> None:
    warning = {"status": "Executed-WithWarning", "statusCodeData": {"subjectCode": "8.2.1", "reasonCode": "3.11"}}
    script.prepare("releaseProfile", Reply(members={"header": {"functionExecutionStatus": warning}}))
    await client.release_profile("call-1", ICCID)


REFUSALS = [
    (failure("8.2.5", "3.7", "No more profiles."), ("8.2.5", "3.7"), "No more profiles."),
    (failure("8.99", "7.42", "A code of theirs."), ("8.99", "7.42"), "A code of theirs."),
    (
        Reply(members={"header": {"functionExecutionStatus": {"status": "Expired", "statusCodeData": None}}}),
        ("", ""),
        "Expired",
    ),
    (Reply(members={"header": {"functionExecutionStatus": {"status": "Failed"}}}), ("", ""), "Failed"),
    (
        Reply(
            members={
                "header": {
                    "functionExecutionStatus": {
                        "status": "Failed",
                        "statusCodeData": {"subjectCode": 8, "reasonCode": 4.2, "message": None},
                    }
                }
            }
        ),
        ("8", "4.2"),
        "Failed",
    ),
    # Some write a refusal of the request's form under HTTP 400.
    (Reply(status=400, members=failure("1.3.1", "2.1", "Bad.").members), ("1.3.1", "2.1"), "Bad."),
]


@pytest.mark.parametrize(("reply", "codes", "message"), REFUSALS)
async def test_a_refusal_carries_its_codes_known_or_not(
    client: Es2PlusClient, script: Script, reply: Reply, codes: tuple[str, str], message: str
) -> None:
    script.prepare("cancelOrder", reply)
    with pytest.raises(OrderRefused) as refused:
        await client.cancel_order("call-1", ICCID, "Available")
    assert (refused.value.codes, refused.value.message, refused.value.function) == (codes, message, "cancelOrder")


UNKNOWN = [
    Reply(drop=True),
    Reply(status=500, members=failure("8", "4.2").members),
    Reply(status=503, raw=b"busy"),
    Reply(status=403, raw=b"certificate unknown"),
    Reply(status=400, raw=b"bad"),
    Reply(status=400, members=success(iccid="8900012345678901234F").members),
    Reply(status=302, headers={"Location": "/gsma/rsp2/es2plus/elsewhere"}),
    Reply(status=204),
    Reply(raw=b""),
    Reply(raw=b"<html>"),
    Reply(raw=b"[]"),
    Reply(raw=b"\xff\xfe"),
    Reply(raw=b"[" * 5000),
    Reply(members={"iccid": "8900012345678901234F"}),
    Reply(members={"header": [], "iccid": "8900012345678901234F"}),
    Reply(members={"header": {"functionExecutionStatus": {"status": "Perhaps"}}, "iccid": "8900012345678901234F"}),
    success(),
    success(iccid=None),
    success(iccid="none"),
    success(iccid={"digits": "8900012345678901234F"}),
    Reply(raw=b'{"header":{"functionExecutionStatus":{"status":"Executed-Success"}},"iccid":"' + b"8" * 200_000),
]


@pytest.mark.parametrize("reply", UNKNOWN)
async def test_what_is_no_answer_says_nothing_about_what_was_done(
    client: Es2PlusClient, script: Script, reply: Reply
) -> None:
    script.prepare("downloadOrder", reply)
    with pytest.raises(Unreachable) as doubt:
        await client.download_order("call-1", profile_type="gold")
    assert not isinstance(doubt.value, NotOffered)
    assert script.functions() == ["downloadOrder"]


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_function_that_is_not_there_is_told_apart(client: Es2PlusClient, script: Script, status: int) -> None:
    script.prepare("getProfileStatus", Reply(status=status, raw=b"no such function"))
    with pytest.raises(NotOffered):
        await client.profile_status("call-1", [ICCID])


async def test_a_server_that_does_not_answer_in_time_is_not_waited_for(http: aiohttp.ClientSession, pki: Pki) -> None:
    held = asyncio.Event()

    async def silent(request: Any) -> Any:
        await held.wait()

    app = web.Application()
    app.router.add_post("/{path:.*}", silent)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, ssl_context=pki.server()).start()
    client = client_of(http, runner.addresses[0][1], tls_of(pki), seconds=0.05)
    with pytest.raises(Unreachable, match="TimeoutError"):
        await client.release_profile("call-1", ICCID)
    held.set()
    await runner.cleanup()


async def test_profile_states_are_read_with_patience(client: Es2PlusClient, script: Script) -> None:
    full = {
        "iccid": "8900012345678901234F",
        "state": "Released",
        "eid": str(EID),
        "acToken": "A-1",
        "lockFlag": "false",
        "status_last_update_timestamp": 1763812800,
    }
    bare = {"iccid": "890001234567890123", "state": "SOMETHING NEW", "eid": "", "acToken": None, "lockFlag": True}
    broken: list[object] = [{"state": "Released"}, {"iccid": "x"}, "text", None, {"iccid": full["iccid"], "eid": "1"}]
    script.prepare("getProfileStatus", success(profileStatusList=[full, *broken, bare]))
    assert await client.profile_status("call-1", [ICCID]) == (
        ProfileStatus(iccid=ICCID, state="Released", eid=EID, matching_id="A-1", updated="1763812800"),
        ProfileStatus(iccid=Iccid("890001234567890123"), state="SOMETHING NEW", locked=True),
    )


@pytest.mark.parametrize("listed", [None, {}, "Released"])
async def test_a_list_of_states_that_is_none_is_no_answer(
    client: Es2PlusClient, script: Script, listed: object
) -> None:
    script.prepare("getProfileStatus", success(profileStatusList=listed))
    with pytest.raises(Unreachable):
        await client.profile_status("call-1", [ICCID])


async def test_a_peer_under_another_authority_gets_no_request(
    http: aiohttp.ClientSession, script: Script, pki: Pki
) -> None:
    with pytest.raises(Unreachable):
        await client_of(http, script.port, tls_of(pki, ca="stranger")).release_profile("call-1", ICCID)
    assert script.seen == []


async def test_a_pinned_peer_certificate_is_trusted_without_its_authority(
    http: aiohttp.ClientSession, script: Script, pki: Pki
) -> None:
    script.prepare("releaseProfile", success())
    await client_of(http, script.port, tls_of(pki, ca="server")).release_profile("call-1", ICCID)


async def test_a_certificate_the_peer_does_not_know_is_an_unknown_outcome(
    http: aiohttp.ClientSession, script: Script, pki: Pki
) -> None:
    with pytest.raises(Unreachable):
        await client_of(http, script.port, tls_of(pki, own="stranger")).release_profile("call-1", ICCID)
    assert script.seen == []


@pytest.mark.parametrize(
    ("ca", "certificate", "key"),
    [
        ("nothing", "client.pem", "client.key"),
        ("ca.pem", "nothing", "client.key"),
        ("ca.pem", "client.pem", "nothing"),
        ("ca.pem", "client.pem", "server.key"),
        ("client.key", "client.pem", "client.key"),
    ],
)
def test_tls_material_that_does_not_fit_is_refused_without_showing_it(
    pki: Pki, ca: str, certificate: str, key: str
) -> None:
    texts = [(pki.folder / name).read_text() if "." in name else "nothing" for name in (ca, certificate, key)]
    with pytest.raises(BadTls) as refused:
        peer_context(*texts)
    assert "BEGIN" not in str(refused.value)


def test_no_file_with_a_key_is_left_behind(pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tls_of(pki)
    with pytest.raises(BadTls):
        peer_context((pki.folder / "ca.pem").read_text(), "nothing", (pki.folder / "client.key").read_text())
    assert list(tmp_path.iterdir()) == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["iccid", "eid", "state", "acToken"]), inner),
)


@given(
    st.dictionaries(
        st.sampled_from(["iccid", "matchingId", "eid", "smdpAddress", "profileStatusList", "lockFlag"]), _JSON
    )
)
def test_whatever_is_answered_is_read_or_is_no_answer(body: dict[str, Any]) -> None:
    for read in (replies.ordered, replies.confirmed, replies.statuses):
        try:
            read(body)
        except Unreachable:
            continue

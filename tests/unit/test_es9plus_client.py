"""The ES9+ client against a scripted SM-DP+ over TLS: what it sends, what it reads, and what it makes of faults."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lpa_pki import Pki, make_pki
from lpa_script import (
    CERTIFICATE,
    CHALLENGE,
    HOST,
    METADATA,
    SIGNATURE,
    TRANSACTION,
    Reply,
    Script,
    b64,
    failure,
    good,
    package,
    server_signed1,
    smdp_signed2,
)

from es9plus import client as subject
from es9plus.client import DownloadRefused, Es9PlusClient
from rsp import tlv
from rsp.errors import Unreachable
from rsp.identifiers import TransactionId
from simulator.exchange import trust
from smdp.downloads import Authenticated, Initiated
from transport.client import GsmaClient, NotOffered

ID = TransactionId(TRANSACTION)
INFO1 = tlv.wrap(0xBF20, tlv.wrap(0x82, b"\x02\x05\x00"))
INITIATED = Initiated(
    transaction_id=ID,
    server_signed1=server_signed1(),
    server_signature1=SIGNATURE,
    ci_key_id=bytes(20),
    certificate=CERTIFICATE,
)
SHOWN = Authenticated(
    transaction_id=ID,
    metadata=METADATA,
    smdp_signed2=smdp_signed2(),
    smdp_signature2=SIGNATURE,
    certificate=CERTIFICATE,
)
CALLS: dict[str, Callable[[Es9PlusClient], Awaitable[Any]]] = {
    "initiateAuthentication": lambda client: client.initiate_authentication(CHALLENGE, INFO1, HOST),
    "authenticateClient": lambda client: client.authenticate_client(ID, b"\xbf\x38\x00"),
    "getBoundProfilePackage": lambda client: client.get_bound_profile_package(ID, b"\xbf\x21\x00"),
    "cancelSession": lambda client: client.cancel_session(ID, b"\xbf\x41\x00"),
}
WITH_ANSWER = ("initiateAuthentication", "authenticateClient", "getBoundProfilePackage")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"), HOST)


@pytest.fixture
async def script(pki: Pki) -> AsyncIterator[Script]:
    server = Script()
    await server.start(pki.server())
    yield server
    await server.stop()


@pytest.fixture
async def client(script: Script, pki: Pki) -> AsyncIterator[Es9PlusClient]:
    async with aiohttp.ClientSession(headers={"User-Agent": subject.USER_AGENT}) as session:
        tls = trust(pki.folder / "ca.pem")
        yield Es9PlusClient(
            GsmaClient(session, f"https://127.0.0.1:{script.port}", 5.0, HOST, tls, largest_answer=100_000)
        )


async def test_every_function_sends_exactly_the_members_of_the_standard(client: Es9PlusClient, script: Script) -> None:
    for call in CALLS.values():
        await call(client)
    await client.handle_notification(b"\x30\x00")
    assert [(seen.function, seen.json) for seen in script.seen] == [
        (
            "initiateAuthentication",
            {"euiccChallenge": b64(CHALLENGE), "euiccInfo1": b64(INFO1), "smdpAddress": HOST},
        ),
        ("authenticateClient", {"transactionId": str(ID), "authenticateServerResponse": b64(b"\xbf\x38\x00")}),
        ("getBoundProfilePackage", {"transactionId": str(ID), "prepareDownloadResponse": b64(b"\xbf\x21\x00")}),
        ("cancelSession", {"transactionId": str(ID), "cancelSessionResponse": b64(b"\xbf\x41\x00")}),
        ("handleNotification", {"pendingNotification": b64(b"\x30\x00")}),
    ]
    for seen in script.seen:
        assert seen.headers["X-Admin-Protocol"].startswith("gsma/rsp/v2.")
        assert seen.headers["Content-Type"].startswith("application/json")
        assert seen.headers["User-Agent"] == "gsma-rsp-lpad"


async def test_answers_become_values(client: Es9PlusClient) -> None:
    assert await CALLS["initiateAuthentication"](client) == INITIATED
    assert await CALLS["authenticateClient"](client) == SHOWN
    assert await CALLS["getBoundProfilePackage"](client) == package()
    assert await CALLS["cancelSession"](client) is None


async def test_spellings_of_other_servers_are_read(client: Es9PlusClient, script: Script) -> None:
    lines = base64.encodebytes(server_signed1()).decode()
    loose = {
        "transactionId": str(ID).lower(),
        "serverSigned1": lines,
        "serverSignature1": b64(bytes(64)),
        "euiccCiPKIdToBeUsed": b64(bytes(20)).rstrip("="),
        "otherCertsInChain": [b64(CERTIFICATE)],
        "crlList": None,
        "vendor": {"deep": [1]},
    }
    script.prepare("initiateAuthentication", good("initiateAuthentication", **loose))
    assert await CALLS["initiateAuthentication"](client) == INITIATED
    script.prepare("authenticateClient", good("authenticateClient", smdpSignature2=b64(bytes(64)), rpm="x"))
    assert await CALLS["authenticateClient"](client) == SHOWN
    warned = json.dumps(
        {"header": {"functionExecutionStatus": {"status": "Executed-WithWarning", "statusCodeData": {}}}}
    )
    script.prepare("cancelSession", Reply(raw=warned.encode(), headers={"Content-Type": "text/html"}))
    await CALLS["cancelSession"](client)


@pytest.mark.parametrize("function", CALLS)
@pytest.mark.parametrize("status", [200, 400])
async def test_a_refusal_keeps_codes_and_message(
    client: Es9PlusClient, script: Script, function: str, status: int
) -> None:
    reply = failure("8.2.6", "3.8", "Refused.")
    reply.status = status
    script.prepare(function, reply)
    with pytest.raises(DownloadRefused) as refused:
        await CALLS[function](client)
    assert (refused.value.function, refused.value.codes) == (function, ("8.2.6", "3.8"))
    assert refused.value.message == "Refused."


_HEADER = {"functionExecutionStatus": {"status": "Executed-Success"}}
_NO_ANSWER = {
    "nothing": Reply(raw=b""),
    "no JSON": Reply(raw=b"<html></html>"),
    "no object": Reply(raw=b"[]"),
    "no header": Reply(raw=b"{}"),
    "no status": Reply(raw=b'{"header":{}}'),
    "an unknown status": Reply(raw=b'{"header":{"functionExecutionStatus":{"status":"Perhaps"}}}'),
    "not UTF-8": Reply(raw=b'{"header":"\xff"}'),
    "deep": Reply(raw=b"[" * 50_000),
    "a redirect": Reply(status=302, headers={"Location": "https://other.example.com/"}),
    "an error of HTTP": Reply(status=500, raw=b"oops"),
    "a gateway": Reply(status=503),
    "a closed connection": Reply(drop=True),
    "too long": Reply(raw=b" " * 100_001),
}


@pytest.mark.parametrize("function", CALLS)
@pytest.mark.parametrize("what", _NO_ANSWER)
async def test_what_is_no_answer_says_nothing(client: Es9PlusClient, script: Script, function: str, what: str) -> None:
    script.prepare(function, _NO_ANSWER[what])
    with pytest.raises(Unreachable):
        await CALLS[function](client)


async def test_a_function_the_server_does_not_have_is_known_as_such(client: Es9PlusClient, script: Script) -> None:
    script.prepare("cancelSession", Reply(status=404))
    with pytest.raises(NotOffered):
        await CALLS["cancelSession"](client)


_OTHER = TransactionId(bytes(16))
_USELESS: dict[str, tuple[str, dict[str, Any]]] = {
    "no transaction": ("initiateAuthentication", {"transactionId": None}),
    "a transaction that is none": ("initiateAuthentication", {"transactionId": "XY"}),
    "another transaction": ("authenticateClient", {"transactionId": str(_OTHER)}),
    "the package of another transaction": ("getBoundProfilePackage", {"transactionId": str(_OTHER)}),
    "a number for text": ("authenticateClient", {"smdpSigned2": 7}),
    "no base64": ("authenticateClient", {"smdpCertificate": "*"}),
    "another object": ("authenticateClient", {"profileMetadata": b64(b"\x30\x00")}),
    "more than one object": ("getBoundProfilePackage", {"boundProfilePackage": b64(package() + b"\x00")}),
    "a package cut off": ("getBoundProfilePackage", {"boundProfilePackage": b64(package()[:-1])}),
    "a signature of another size": ("authenticateClient", {"smdpSignature2": b64(tlv.wrap(0x5F37, bytes(65)))}),
    "a key id under another tag": ("initiateAuthentication", {"euiccCiPKIdToBeUsed": b64(tlv.wrap(0x05, bytes(20)))}),
}


@pytest.mark.parametrize("what", _USELESS)
async def test_an_answer_that_lacks_what_it_is_for_says_nothing(
    client: Es9PlusClient, script: Script, what: str
) -> None:
    function, changes = _USELESS[what]
    script.prepare(function, good(function, **changes))
    with pytest.raises(Unreachable):
        await CALLS[function](client)


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_a_notification_is_delivered_when_the_server_says_so(
    client: Es9PlusClient, script: Script, status: int
) -> None:
    script.prepare("handleNotification", Reply(status=status))
    await client.handle_notification(b"\x30\x00")


@pytest.mark.parametrize("reply", [Reply(status=400), Reply(status=503), Reply(status=302), Reply(drop=True)])
async def test_a_notification_is_not_delivered_else(client: Es9PlusClient, script: Script, reply: Reply) -> None:
    script.prepare("handleNotification", reply)
    with pytest.raises(Unreachable):
        await client.handle_notification(b"\x30\x00")


@given(st.dictionaries(st.sampled_from(("transactionId", "serverSigned1")), st.text() | st.binary().map(b64)))
def test_any_text_of_a_member_is_a_value_or_unreachable(members: dict[str, str]) -> None:
    answer = subject._Answer("f", members)
    for read in (answer.transaction_id, lambda: answer.tlv("serverSigned1", 0x30)):
        try:
            assert read()
        except Unreachable:
            continue

"""The LPA against a scripted SM-DP+: a whole download, lost answers, strict reading, cancelling."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from lpa_pki import Pki, make_pki
from lpa_script import (
    HOST,
    METADATA,
    TRANSACTION,
    ConstantCard,
    Reply,
    Script,
    b64,
    failure,
    good,
    package,
    server_signed1,
    smdp_signed2,
    success,
)
from lpa_stage import CODE, DROP, STEPS, Make, Pauses

from rsp import tlv
from simulator.exchange import Connections, Exchange, Habits, NoAnswer, ProtocolFault, Retries, trust
from simulator.lpa import Device, Errored, Installed, Lpa, Refused

pytest_plugins = ["lpa_fixtures"]


async def test_a_download_runs_all_steps_and_delivers_the_notification(make: Make, script: Script) -> None:
    card = ConstantCard()
    result = await make(card).download(CODE)
    assert isinstance(result, Installed)
    assert (result.transaction_id.value, result.profile_metadata) == (TRANSACTION, METADATA)
    assert str(result.iccid) == "89000123456789012341"
    assert script.functions() == [*STEPS, "handleNotification"]
    assert card.waiting == {}


async def test_requests_look_like_those_of_an_lpa(make: Make, script: Script) -> None:
    await make().download(CODE)
    first = script.seen[0]
    assert first.headers["Host"] == HOST
    assert first.headers["User-Agent"] == "gsma-rsp-lpad"
    assert first.headers["X-Admin-Protocol"] == "gsma/rsp/v2.5.0"
    assert first.headers["Content-Type"] == "application/json"
    assert "Accept-Encoding" not in first.headers
    assert set(first.json) == {"euiccChallenge", "euiccInfo1", "smdpAddress"}
    assert set(script.seen[1].json) == {"transactionId", "authenticateServerResponse"}
    assert set(script.seen[2].json) == {"transactionId", "prepareDownloadResponse"}
    assert set(script.seen[3].json) == {"pendingNotification"}


async def test_the_card_gets_matching_id_and_device_info(make: Make) -> None:
    card = ConstantCard()
    await make(card, device=Device(tac="12345678", imei="123456789012345", capabilities={})).download(CODE)
    request = tlv.read_only(card.asked[0][1], 0xBF38)
    parts = list(request.children())
    assert [part.tag for part in parts] == [0x30, 0x5F37, 0x04, 0x30, 0xA0]
    context = parts[4].members()
    assert context[0x80].value == b"MATCHING-ID"
    device = context[0xA1].members()
    assert (device[0x80].value.hex(), device[0xA1].value) == ("21436587", b"")
    assert device[0x82].value.hex() == "214365870921435f"


async def test_an_activation_code_without_matching_id_leaves_the_member_out(make: Make) -> None:
    card = ConstantCard()
    await make(card).download(f"1${HOST}$")
    context = list(tlv.read_only(card.asked[0][1], 0xBF38).children())[4]
    assert 0x80 not in context.members()


async def test_the_confirmation_code_is_hashed_with_the_transaction(make: Make, script: Script) -> None:
    script.prepare("authenticateClient", good("authenticateClient", smdpSigned2=b64(smdp_signed2(code=True))))
    card = ConstantCard()
    await make(card).download(CODE, "1234")
    parts = list(tlv.read_only(card.asked[1][1], 0xBF21).children())
    assert [part.tag for part in parts] == [0x30, 0x5F37, 0x04, 0x30]
    expected = hashlib.sha256(hashlib.sha256(b"1234").digest() + TRANSACTION).digest()
    assert parts[2].value == expected


async def test_a_code_that_is_not_asked_for_is_not_sent(make: Make) -> None:
    card = ConstantCard()
    await make(card).download(CODE, "1234")
    assert 0x04 not in [part.tag for part in tlv.read_only(card.asked[1][1], 0xBF21).children()]


@pytest.mark.parametrize("function", [*STEPS, "handleNotification"])
@pytest.mark.parametrize("lost", [DROP, Reply(status=503), Reply(status=502)])
async def test_a_lost_answer_makes_the_device_send_the_same_bytes_again(
    make: Make, script: Script, function: str, lost: Reply
) -> None:
    script.prepare(function, lost, lost)
    assert isinstance(await make().download(CODE), Installed)
    bodies = [seen.body for seen in script.seen if seen.function == function]
    assert len(bodies) == 3
    assert len(set(bodies)) == 1


async def test_pauses_double_and_retry_after_makes_them_longer(make: Make, script: Script, pauses: Pauses) -> None:
    script.prepare("authenticateClient", DROP, Reply(status=503, headers={"Retry-After": "7"}), DROP)
    await make().download(CODE)
    assert pauses == [0.5, 7.0, 2.0]


async def test_a_retry_after_beyond_patience_ends_the_attempts(make: Make, script: Script, pauses: Pauses) -> None:
    script.prepare("initiateAuthentication", Reply(status=503, headers={"Retry-After": "3600"}))
    result = await make().download(CODE)
    assert result == Errored(function="initiateAuthentication", cause="HTTP 503")
    assert pauses == []


async def test_attempts_are_bounded(make: Make, script: Script) -> None:
    script.prepare("initiateAuthentication", *[DROP] * 9)
    result = await make().download(CODE, retries=Retries(attempts=2))
    assert isinstance(result, Errored)
    assert script.functions() == ["initiateAuthentication"] * 2


async def test_a_timeout_is_a_lost_answer(pki: Pki, pauses: Pauses) -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0, ssl=pki.server())
    habits = Habits(pause=pauses, timeout=0.05, retries=Retries(attempts=2))
    addresses = {HOST: ("127.0.0.1", server.sockets[0].getsockname()[1])}
    async with server, Exchange(tls=trust(pki.ca_file), addresses=addresses, habits=habits) as exchange:
        with pytest.raises(NoAnswer, match="Timeout"):
            await exchange.post(HOST, "/x", b"{}")
    assert len(pauses) == 1


async def test_a_session_forgotten_after_a_retry_is_started_anew(make: Make, script: Script) -> None:
    script.prepare("getBoundProfilePackage", DROP, failure("8.10.1", "3.9"))
    result = await make().download(CODE)
    assert isinstance(result, Installed)
    assert result.sessions == 2
    assert script.functions().count("initiateAuthentication") == 2


async def test_an_unknown_transaction_without_a_retry_is_a_refusal(make: Make, script: Script) -> None:
    script.prepare("getBoundProfilePackage", failure("8.10.1", "3.9", "Start again."))
    result = await make().download(CODE)
    assert result == Refused(function="getBoundProfilePackage", subject="8.10.1", reason="3.9", message="Start again.")


async def test_new_sessions_are_bounded(make: Make, script: Script) -> None:
    script.prepare("authenticateClient", *[DROP, failure("8.10.1", "3.9")] * 2)
    result = await make(sessions=2).download(CODE)
    assert isinstance(result, Errored)
    assert "every session was lost" in result.cause


async def test_the_hook_runs_before_every_attempt(make: Make, script: Script) -> None:
    attempts: list[tuple[str, int]] = []

    async def before(function: str, attempt: int) -> None:
        attempts.append((function, attempt))

    script.prepare("authenticateClient", DROP)
    await make(habits={"before_request": before}).download(CODE)
    expected = [(STEPS[0], 1), (STEPS[1], 1), (STEPS[1], 2), (STEPS[2], 1), ("handleNotification", 1)]
    assert attempts == expected


@pytest.mark.parametrize(("connections", "count"), [(Connections.KEPT, 1), (Connections.FRESH, 4)])
async def test_connections_are_kept_or_fresh(make: Make, script: Script, connections: Connections, count: int) -> None:
    await make(habits={"connections": connections}).download(CODE)
    assert len({seen.connection for seen in script.seen}) == count


async def test_a_server_with_an_untrusted_certificate_gets_nothing(
    script: Script, pki: Pki, tmp_path: Path, pauses: Pauses
) -> None:
    other = make_pki(tmp_path, HOST)
    addresses = {HOST: ("127.0.0.1", script.port)}
    async with Exchange(tls=trust(other.ca_file), addresses=addresses, habits=Habits(pause=pauses)) as exchange:
        with pytest.raises(ProtocolFault, match="not trusted"):
            await exchange.post(HOST, "/gsma/rsp2/es9plus/x", b"{}")
    assert script.seen == []


async def test_a_server_with_another_name_gets_nothing(script: Script, pki: Pki, pauses: Pauses) -> None:
    addresses = {"wrong.example.com": ("127.0.0.1", script.port)}
    async with Exchange(tls=trust(pki.ca_file), addresses=addresses, habits=Habits(pause=pauses)) as exchange:
        with pytest.raises(ProtocolFault, match="not trusted"):
            await exchange.post("wrong.example.com", "/gsma/rsp2/es9plus/x", b"{}")
    assert script.seen == []


async def test_a_name_outside_the_address_book_is_not_looked_up(make: Make) -> None:
    result = await make().download("1$elsewhere.example.com$X", retries=Retries(attempts=1))
    assert isinstance(result, Errored)
    assert "address book" in result.cause


WRONG_ANSWERS: list[tuple[str, Reply, str]] = [
    (STEPS[0], good(STEPS[0], surplus="x"), "surplus"),
    (STEPS[0], success(transactionId="AB"), "missing"),
    (STEPS[0], good(STEPS[0], transactionId="ab" * 16), "upper-case"),
    (STEPS[0], good(STEPS[0], transactionId="AB" * 17), "upper-case"),
    (STEPS[0], good(STEPS[0], transactionId=5), "not text"),
    (STEPS[0], good(STEPS[0], transactionId="AB"), "differs from the one inside"),
    (STEPS[0], good(STEPS[0], serverSigned1=b64(server_signed1(challenge=bytes(16)))), "euiccChallenge"),
    (STEPS[0], good(STEPS[0], serverSigned1=b64(server_signed1(host="x.example.com"))), "names"),
    (STEPS[0], good(STEPS[0], serverSignature1=b64(tlv.wrap(0x5F37, bytes(63)))), "63 bytes"),
    (STEPS[0], good(STEPS[0], serverSignature1=b64(bytes(64))), "serverSignature1"),
    (STEPS[0], good(STEPS[0], serverCertificate="MAA"), "padded base64"),
    (STEPS[0], good(STEPS[0], serverCertificate="MA\nA="), "padded base64"),
    (STEPS[1], good(STEPS[1], transactionId="AB"), "transaction AB"),
    (STEPS[1], good(STEPS[1], smdpSigned2=b64(smdp_signed2(b"\x01"))), "transaction 01"),
    (STEPS[1], good(STEPS[1], smdpSigned2=b64(tlv.wrap(0x30, tlv.wrap(0x80, TRANSACTION)))), "30 holds no 1"),
    (STEPS[1], good(STEPS[1], profileMetadata=b64(b"\x30\x00")), "BF25"),
    (STEPS[2], good(STEPS[2], boundProfilePackage=b64(package(b"\x01"))), "another session"),
    (STEPS[2], good(STEPS[2], boundProfilePackage=b64(package(metadata=METADATA + b"\x93"))), "metadata"),
    (STEPS[2], Reply(status=500, raw=b"{}"), "HTTP status 500"),
    (STEPS[2], Reply(status=302, raw=b"", headers={"Location": "https://x/"}), "HTTP status 302"),
    (STEPS[2], Reply(raw=b"not json"), "Expecting value"),
    (STEPS[2], Reply(raw=b"[]"), "not a JSON object"),
    (STEPS[2], Reply(raw=b"{}"), "functionExecutionStatus"),
    (STEPS[2], Reply(raw=b'{"header":{},"header":{}}'), "twice"),
    (STEPS[2], Reply(raw='{"é":1}'.encode()), "ASCII"),
    (STEPS[2], Reply(raw=b"[" * 100_000), "nested"),
    (STEPS[2], Reply(raw=b"{}", headers={"Content-Type": "text/plain"}), "Content-Type"),
    (STEPS[2], Reply(raw=b"{}", headers={"X-Admin-Protocol": ""}), "X-Admin-Protocol"),
    (STEPS[2], failure("8.2", "3.7", ""), "0 characters"),
    (STEPS[2], failure("8.2", "3.7", "x" * 128), "128 characters"),
    (STEPS[2], failure("eight", "3.7"), "dotted"),
    (STEPS[2], Reply(members={"header": {"functionExecutionStatus": {"status": "Failed"}}}), "statusCodeData"),
    (STEPS[2], Reply(members={"header": {"functionExecutionStatus": {"status": "Fine"}}}), "Fine"),
    (STEPS[2], Reply(members={"header": {"functionExecutionStatus": {}}}), "missing"),
    (STEPS[2], Reply(members={**(failure("8.2", "3.7").members or {}), "transactionId": "AB"}), "transactionId"),
]


@pytest.mark.parametrize(("function", "reply", "complaint"), WRONG_ANSWERS)
async def test_an_answer_that_breaks_the_standard_is_an_error(
    make: Make, script: Script, function: str, reply: Reply, complaint: str
) -> None:
    script.prepare(function, reply)
    result = await make().download(CODE)
    assert isinstance(result, Errored)
    assert result.function == function
    assert complaint in result.cause


async def test_a_success_with_status_codes_is_an_error(make: Make, script: Script) -> None:
    reply = good(STEPS[0])
    assert reply.members is not None
    codes = {"subjectCode": "8.1", "reasonCode": "6.1", "message": "x"}
    reply.members["header"]["functionExecutionStatus"]["statusCodeData"] = codes
    script.prepare(STEPS[0], reply)
    result = await make().download(CODE)
    assert isinstance(result, Errored)
    assert "success" in result.cause


@pytest.mark.parametrize("reply", [Reply(status=200, raw=b"{}"), Reply(status=202), Reply(status=500)])
async def test_a_notification_answered_otherwise_than_204_stays_on_the_card(
    make: Make, script: Script, reply: Reply
) -> None:
    script.prepare("handleNotification", reply)
    card = ConstantCard()
    result = await make(card).download(CODE)
    assert isinstance(result, Installed)
    assert "instead of 204" in result.notification_fault
    assert list(card.waiting) == [7]


async def test_a_204_that_announces_a_body_is_a_fault(pki: Pki, pauses: Pauses) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = "HTTP/1.1 204 No Content\r\nX-Admin-Protocol: gsma/rsp/v2.5.0\r\nContent-Length: 2\r\n\r\n{}"
        writer.write(head.encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=pki.server())
    addresses = {HOST: ("127.0.0.1", server.sockets[0].getsockname()[1])}
    habits = Habits(pause=pauses, retries=Retries(attempts=1))
    async with server, Exchange(tls=trust(pki.ca_file), addresses=addresses, habits=habits) as exchange:
        with pytest.raises(ProtocolFault, match=r"carries a body|not readable"):
            await Lpa(ConstantCard(), exchange).send_notification(HOST, b"\x30\x00")

"""The operator's callback server: what it takes, what it refuses, how it fails when told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lpa_pki import Pki, make_pki

from rsp.identifiers import Iccid
from simulator.exchange import Answer, Exchange, Habits, NoAnswer, Retries, identify, trust
from simulator.operator import CallbackServer, Trouble, callback_tls
from simulator.operator_callbacks import PATH

HOST = "operator.example.com"
ICCID = Iccid("8900012345678901234")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"), HOST)


def body(**changes: Any) -> bytes:
    members = {
        "header": {"functionRequesterIdentifier": "smdp", "functionCallIdentifier": "call-1"},
        "iccid": "8900012345678901234F",
        "profileType": "gold",
        "timestamp": "2026-11-22T10:00:00Z",
        "notificationPointId": 4,
        "notificationPointStatus": {"status": "Executed-Success"},
        **changes,
    }
    return json.dumps({name: value for name, value in members.items() if value is not None}).encode()


@pytest.fixture
async def server(pki: Pki) -> AsyncIterator[CallbackServer]:
    async with CallbackServer(callback_tls(pki.folder / "server.pem", pki.folder / "server.key", pki.ca_file)) as it:
        yield it


async def no_pause(seconds: float) -> None:
    return None


def exchange(server: CallbackServer, pki: Pki, stem: str | None = "client", attempts: int = 1) -> Exchange:
    tls = trust(pki.ca_file)
    if stem:
        identify(tls, pki.folder / f"{stem}.pem", pki.folder / f"{stem}.key")
    habits = Habits(pause=no_pause, retries=Retries(attempts=attempts))
    return Exchange(tls=tls, addresses={HOST: ("127.0.0.1", server.port)}, habits=habits)


async def post(server: CallbackServer, pki: Pki, data: bytes, attempts: int = 1) -> Answer:
    async with exchange(server, pki, attempts=attempts) as peer:
        return await peer.post(HOST, PATH, data)


async def test_a_call_is_accepted_with_204_and_kept(server: CallbackServer, pki: Pki) -> None:
    answer = await post(server, pki, body())
    assert (answer.status, answer.body) == (204, b"")
    call = server.calls[0]
    assert (call.order, call.iccid, call.point, call.profile_type) == (0, ICCID, 4, "gold")
    assert (call.function_requester, call.function_call, call.client) == ("smdp", "call-1", "client")
    assert (call.status, call.failure, call.eid, call.result_data) == ("Executed-Success", None, None, None)
    assert call.timestamp == datetime(2026, 11, 22, 10, tzinfo=UTC)


async def test_a_failed_step_carries_its_codes(server: CallbackServer, pki: Pki) -> None:
    codes = {"subjectCode": "8.2.10", "reasonCode": "4.2", "message": "Failed.", "subjectIdentifier": "x"}
    status = {"status": "Failed", "statusCodeData": codes}
    await post(server, pki, body(notificationPointStatus=status, resultData="AAE=", eid="8" * 32))
    call = server.calls[0]
    assert call.failure is not None
    assert (call.failure.subject, call.failure.reason, call.failure.subject_identifier) == ("8.2.10", "4.2", "x")
    assert (call.result_data, str(call.eid)) == (b"\x00\x01", "8" * 32)


WRONG = [
    body(iccid=None),
    body(iccid="8900012345678901234FF"),
    body(iccid=5),
    body(profileType=""),
    body(timestamp="2026-11-22 10:00:00"),
    body(timestamp="2026-13-22T10:00:00Z"),
    body(notificationPointId="4"),
    body(notificationPointId=True),
    body(notificationPointId=-1),
    body(notificationPointStatus="Executed-Success"),
    body(notificationPointStatus={"status": "Failed"}),
    body(notificationPointStatus={"status": ["Failed"]}),
    body(header=None),
    body(header="x"),
    body(header={"functionRequesterIdentifier": "smdp", "functionCallIdentifier": ""}),
    body(header={"functionRequesterIdentifier": "smdp"}),
    body(eid="12"),
    body(resultData="A"),
    body(imei="1"),
    b"",
    b"[]",
]


@pytest.mark.parametrize("data", WRONG)
async def test_a_call_outside_the_standard_is_refused(server: CallbackServer, pki: Pki, data: bytes) -> None:
    assert (await post(server, pki, data)).status == 400
    assert (server.calls, len(server.faults), server.attempts) == ([], 1, [data])


async def test_a_caller_without_certificate_is_shut_out(server: CallbackServer, pki: Pki) -> None:
    for stem in (None, "stranger"):
        async with exchange(server, pki, stem) as peer:
            with pytest.raises(NoAnswer):
                await peer.post(HOST, PATH, body())
    assert server.attempts == []


async def test_without_a_client_ca_nobody_is_asked_for_a_certificate(pki: Pki) -> None:
    async with CallbackServer(callback_tls(pki.folder / "server.pem", pki.folder / "server.key")) as server:
        await post(server, pki, body())
    assert server.calls[0].client is None


async def test_troubles_come_in_the_order_told(server: CallbackServer, pki: Pki) -> None:
    server.fail_next(Trouble.SERVER_ERROR)
    server.fail_next(Trouble.DROP, 2)
    assert (await post(server, pki, body())).status == 500
    for _ in range(2):
        with pytest.raises(NoAnswer):
            await post(server, pki, body())
    assert (await post(server, pki, body())).status == 204
    assert (len(server.attempts), len(server.calls)) == (4, 1)


async def test_a_slow_answer_waits_for_resume(server: CallbackServer, pki: Pki) -> None:
    server.fail_next(Trouble.SLOW)
    waiting = asyncio.create_task(post(server, pki, body()))
    await server.wait_for_attempts(1)
    assert not waiting.done()
    assert server.calls == []
    server.resume()
    assert (await waiting).status == 204
    assert len(server.calls) == 1


async def test_waiting_ends_when_all_points_of_an_iccid_were_told(server: CallbackServer, pki: Pki) -> None:
    waiting = asyncio.create_task(server.wait_for_points(ICCID, 3, 4))
    await post(server, pki, body(notificationPointId=3))
    await post(server, pki, body(notificationPointId=4, iccid="89000000000000000000"))
    assert not waiting.done()
    await post(server, pki, body(notificationPointId=4))
    assert [(call.order, call.point) for call in await waiting] == [(0, 3), (2, 4)]


async def test_waiting_for_what_never_comes_times_out(server: CallbackServer) -> None:
    with pytest.raises(TimeoutError):
        await server.wait_for_points(ICCID, 3, within=0.01)


def test_a_missing_certificate_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        callback_tls(tmp_path / "none.pem", tmp_path / "none.key")

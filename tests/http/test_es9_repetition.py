"""Repetition and disorder in both bindings: lost answers, requests at once, spoilt bytes (SGP.22 5.6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsp import tlv
from simulator.card import Card
from simulator.exchange import Exchange, Habits, Interference
from simulator.lpa import USER_AGENT, CancelPolicy, Lpa, Spelling
from simulator.lpa_messages import CancelReason
from simulator.lpa_types import Installed, Refused
from simulator.misbehaviour import Misbehaviour
from tests.conformance import conforms
from tests.es9_stage import (
    ASN1,
    AUTHENTICATE,
    CANCEL,
    DELIVER,
    INITIATE,
    JSON,
    NOTIFY,
    WIRES,
    Es9Stage,
    Refusal,
    Wire,
    lpa_trust,
)
from tests.protocol_stage import NAME, Ordered, Seen, Stage, installed_on

both = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)


@pytest.fixture
async def es9(stage: Stage) -> AsyncIterator[Es9Stage]:
    async with Es9Stage.opened(stage) as opened:
        yield opened


@pytest.fixture
async def ordered(stage: Stage) -> Ordered:
    return await stage.order()


@conforms("SGP.22 5.6", "a repeated request gets the same bytes", function=DELIVER, where="smdp/delivery.py")
@both
async def test_every_request_of_a_download_sent_twice_gets_the_same_bytes_and_counts_once(
    es9: Es9Stage, ordered: Ordered, wire: Wire
) -> None:
    device = await es9.dialogue(wire, es9.stage.card(), ordered.matching_id).begun()
    shown = device.got[AUTHENTICATE].body
    assert (await device.again(AUTHENTICATE)).body == shown
    delivered = await device.deliver()
    package = device.got[DELIVER].body
    assert (await device.again(DELIVER)).body == package
    report = device.install(delivered).raw
    for _ in range(2):
        await device.notify(report)
    assert sorted(await es9.stage.judge()) == [("duplicate", True), ("installed", True)]
    seen = await es9.stage.seen(ordered)
    assert (seen.downloads, seen.told, seen.sessions) == (1, ((1, ""), (3, ""), (4, "")), (("reported", None),))


@both
async def test_the_same_request_many_times_at_once_is_answered_in_the_same_bytes(
    es9: Es9Stage, ordered: Ordered, wire: Wire
) -> None:
    device = await es9.dialogue(wire, es9.stage.card(), ordered.matching_id).begun()
    members = {"transactionId": device.transaction_id, "prepareDownloadResponse": device.prepared()}
    body = wire.write(DELIVER, members)
    answers = await asyncio.gather(*(device.send(DELIVER, body) for _ in range(6)))
    assert len({answer.body for answer in answers}) == 1
    assert not isinstance(wire.read(DELIVER, answers[0]), Refusal)
    assert (await es9.stage.seen(ordered)).told == ((1, ""), (3, ""))


@both
async def test_a_request_of_one_binding_continues_a_session_of_the_other(
    es9: Es9Stage, ordered: Ordered, wire: Wire
) -> None:
    device = await es9.dialogue(wire, es9.stage.card(), ordered.matching_id).begun()
    device.wire = ASN1 if wire is JSON else JSON
    assert device.install(await device.deliver()).succeeded
    assert installed_on(device.card) == {str(ordered.iccid): ordered.upp}


@both
async def test_a_card_without_a_session_cancels_with_its_error_and_the_report_comes_after(
    es9: Es9Stage, ordered: Ordered, wire: Wire
) -> None:
    """As a common LPA does after a failed installation."""
    card = es9.stage.card(Misbehaviour.FAIL_INSTALL_MEMORY)
    device = await es9.dialogue(wire, card, ordered.matching_id).begun()
    result = device.install(await device.deliver())
    assert await device.cancel(device.cancelled(CancelReason.END_USER_REJECTION)) == {}
    assert await device.state() == ("ended", None)
    await device.notify(result.raw)
    assert await es9.stage.judge() == [("failed", True)]
    seen = await es9.stage.seen(ordered)
    assert (seen.order, seen.sessions) == ("downloaded", (("reported", None),))
    card.misbehave = frozenset()
    again = await es9.dialogue(wire, card, ordered.matching_id).begun()
    assert again.install(await again.deliver()).succeeded


# Simulated devices ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def device(es9: Es9Stage, card: Card, spelling: Spelling, **options: Any) -> AsyncIterator[Lpa]:
    """An LPA whose answers are lost: the first one of every function."""
    lost: set[str] = set()

    def interfere(function: str, attempt: int) -> Interference:
        if attempt > 1 or function in lost:
            return Interference.NONE
        lost.add(function)
        return Interference.LOSE_ANSWER

    async def at_once(_: float) -> None:
        return None

    habits = Habits(interfere=interfere, pause=at_once)
    address = {NAME: ("127.0.0.1", es9.port)}
    async with Exchange(tls=lpa_trust(es9.stage), addresses=address, habits=habits, user_agent=USER_AGENT) as exchange:
        yield Lpa(card, exchange, spelling=spelling, **options)


@pytest.mark.parametrize("spelling", list(Spelling))
async def test_a_device_that_loses_every_first_answer_installs_once(
    es9: Es9Stage, ordered: Ordered, spelling: Spelling
) -> None:
    card = es9.stage.card()
    async with device(es9, card, spelling) as lpa:
        result = await lpa.download(f"1${NAME}${ordered.matching_id}")
    assert isinstance(result, Installed), result
    assert (result.sessions, result.notification_fault) == (1, "")
    assert sorted(await es9.stage.judge()) == [("duplicate", True), ("installed", True)]
    assert (await es9.stage.seen(ordered)).told == ((1, ""), (3, ""), (4, ""))


@pytest.mark.parametrize("spelling", list(Spelling))
async def test_a_device_that_cancels_whatever_went_wrong_does_no_harm(
    es9: Es9Stage, ordered: Ordered, spelling: Spelling
) -> None:
    card = es9.stage.card(Misbehaviour.WRONG_SIGNATURE1)
    code = f"1${NAME}${ordered.matching_id}"
    async with device(es9, card, spelling, cancel_on_failure=CancelPolicy.ALWAYS) as lpa:
        refused = await lpa.download(code)
        assert isinstance(refused, Refused)
        assert refused.code == ("8.1/6.1" if spelling is Spelling.JSON else "5")
        assert ("8.10.1/3.9" if spelling is Spelling.JSON else "invalidTransactionId") in refused.cancel
        assert await es9.stage.seen(ordered) == Seen(order="released")
        card.misbehave = frozenset()
        assert isinstance(await lpa.download(code), Installed)


# Spoilt bytes ---------------------------------------------------------------------------------------------------------


def spoilt(body: bytes, place: int, byte: int, how: str) -> bytes:
    at = place % len(body)
    if how == "replaced":
        return body[:at] + bytes((byte,)) + body[at + 1 :]
    return body[:at] + bytes((byte,)) + body[at:] if how == "inserted" else body[:at] + body[at + 1 :]


@both
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    function=st.sampled_from([INITIATE, AUTHENTICATE, DELIVER, CANCEL, NOTIFY]),
    place=st.integers(0, 5000),
    byte=st.integers(0, 255),
    how=st.sampled_from(["replaced", "inserted", "removed"]),
)
async def test_a_request_with_one_spoilt_byte_is_never_a_fault_of_ours(
    es9: Es9Stage, wire: Wire, function: str, place: int, byte: int, how: str
) -> None:
    """The stage checks at its end that nothing was answered 5xx; here: nobody gets an order that way."""
    ordered = await es9.stage.order()
    device = await es9.dialogue(wire, es9.stage.card(), ordered.matching_id).begun()
    members = {
        INITIATE: {"euiccChallenge": bytes(16), "euiccInfo1": device.card.get_euicc_info1(), "smdpAddress": b"x"},
        AUTHENTICATE: {"transactionId": device.transaction_id, "authenticateServerResponse": device.challenged()},
        DELIVER: {"transactionId": device.transaction_id, "prepareDownloadResponse": b""},
        CANCEL: {"transactionId": device.transaction_id, "cancelSessionResponse": bytes.fromhex("bf4103810105")},
        NOTIFY: {"pendingNotification": tlv.wrap(0xBF37, b"")},
    }
    if function == DELIVER:
        fresh = await es9.dialogue(wire, device.card, ordered.matching_id).begun()
        members[DELIVER] = {"transactionId": fresh.transaction_id, "prepareDownloadResponse": fresh.prepared()}
    answer = await device.send(function, spoilt(wire.write(function, members[function]), place, byte, how))
    assert answer.status < 500
    assert (await es9.stage.seen(ordered)).order in ("released", "downloaded")

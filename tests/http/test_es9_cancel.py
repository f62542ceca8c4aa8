"""CancelSession with every reason in every state of the session, and the eUICC's error answers (SGP.22 5.6.5, 5.7).

What becomes of session and order is written down in tables; codes and integers are those of the standard.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from rsp import tlv
from rsp.status import Status
from simulator import ecc
from simulator.lpa_messages import CancelReason
from simulator.misbehaviour import Misbehaviour
from smdp.credentials import Wallet
from tests.conformance import conforms
from tests.es9_cases import begun
from tests.es9_stage import AUTHENTICATE, CANCEL, DELIVER, JSON, WIRES, Dialogue, Es9Stage, Refusal, Wire
from tests.protocol_stage import Ordered, Seen, Stage, refuses

FINAL = {
    0: (Status.END_USER_REJECTED, "8.8.5/3.8"),
    3: (Status.PPR_NOT_ALLOWED, "8.2.8/1.2"),
    4: (Status.METADATA_MISMATCH, "8.2.9/3.11"),
    5: (Status.BPP_EXECUTION_ERROR, "8.2.10/4.2"),
    127: (Status.EXECUTION_ERROR, "8/4.2"),
    17: (Status.ENTERPRISE_UNSUPPORTED, "8.2.13/3.1"),
    18: (Status.ENTERPRISE_RULES_NOT_ALLOWED, "8.2.13/1.2"),
    19: (Status.ENTERPRISE_PROFILE_REFUSED, "8.2.13/3.8"),
    20: (Status.ENTERPRISE_OID_MISMATCH, "8.2.13/3.12"),
    21: (Status.ENTERPRISE_PROFILE_REFUSED, "8.2.13/3.8"),
    22: (Status.ENTERPRISE_PROFILE_REFUSED, "8.2.13/3.8"),
    23: (Status.LPA_PROXY_UNSUPPORTED, "8.2.14/3.1"),
    24: (Status.RPM_REFUSED, "8.8.6/3.8"),
    25: (Status.METADATA_REFUSED, "8.2.9/3.8"),
    26: (Status.EXECUTION_ERROR, "8/4.2"),
    27: (Status.RPM_REFUSED, "8.8.6/3.8"),
    28: (Status.RPM_PACKAGE_INVALID, "8.8.6/2.1"),
    29: (Status.RPM_EXECUTION_ERROR, "8.8.6/4.2"),
    30: (Status.DEVICE_CHANGE_STOPPED, "8.10.3/4.3"),
    99: (Status.EXECUTION_ERROR, "8/4.2"),
}
RESUMABLE = (1, 2, 16)
REASONS = (*RESUMABLE, *FINAL)
ERRORS = (5, 127)
_TOLD = tuple({status: None for status, _ in FINAL.values()})

both = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)


@pytest.fixture
async def es9(stage: Stage) -> AsyncIterator[Es9Stage]:
    async with Es9Stage.opened(stage) as opened:
        yield opened


def signed(device: Dialogue, reason: int) -> bytes:
    """A BF41 as the card signs it, also for reasons of later versions and when it has no session any more."""
    oid = tlv.oid_to_bytes(device.es9.stage.material.pki.dp[0].oid)
    parts = (tlv.wrap(0x80, device.transaction_id), tlv.wrap(0x81, oid), tlv.wrap_integer(0x82, reason))
    inner = tlv.wrap(0x30, *parts)
    return tlv.wrap(0xBF41, tlv.wrap(0xA0, inner, ecc.sign(device.card.credentials[0].private_key, inner)))


def unsigned(number: int) -> bytes:
    """cancelSessionResponseError."""
    return tlv.wrap(0xBF41, tlv.wrap_integer(0x81, number))


# Sessions that can be cancelled ---------------------------------------------------------------------------------------


async def authenticated(es9: Es9Stage, wire: Wire, ordered: Ordered) -> Dialogue:
    return await es9.dialogue(wire, es9.stage.card(), ordered.matching_id).begun()


async def refused_code(es9: Es9Stage, wire: Wire, ordered: Ordered) -> Dialogue:
    device = await authenticated(es9, wire, ordered)
    assert isinstance(await device.deliver("4712"), Refusal)
    return device


async def delivered(es9: Es9Stage, wire: Wire, ordered: Ordered) -> Dialogue:
    device = await authenticated(es9, wire, ordered)
    assert not isinstance(await device.deliver("4711"), Refusal)
    return device


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A session that is open: how it came there, its order then, and the notification point a cancellation has."""

    reached: Callable[[Es9Stage, Wire, Ordered], Awaitable[Dialogue]]
    order: str
    told: tuple[tuple[int, str], ...]
    point: int
    codes: int = 0
    sealed: tuple[str, ...] = ("key", "confirmation")
    refusal: str | None = None


OPEN = {
    "authenticated": Open(reached=authenticated, order="released", told=((1, ""),), point=3),
    "code refused": Open(
        reached=refused_code,
        order="released",
        told=((1, ""), (2, "CONFIRMATION_CODE_REFUSED")),
        point=3,
        codes=1,
        refusal="CONFIRMATION_CODE_REFUSED",
    ),
    "delivered": Open(
        reached=delivered,
        order="downloaded",
        told=((1, ""), (3, "")),
        point=4,
        sealed=("key", "confirmation", "otsk"),
    ),
}


@conforms("SGP.22 5.6.5", "the reason decides what becomes of the order", *_TOLD, function=CANCEL, binding="json",
          where="smdp/cancellation.py")  # fmt: skip
@conforms("SGP.22 5.6.5", "the reason decides what becomes of the order", *_TOLD, function=CANCEL, binding="asn1",
          where="smdp/cancellation.py")  # fmt: skip
@both
@pytest.mark.parametrize("state", OPEN)
async def test_a_reason_ends_the_session_and_decides_what_becomes_of_the_order(
    es9: Es9Stage, wire: Wire, state: str
) -> None:
    at = OPEN[state]
    owner = await es9.stage.operator()
    for reason in REASONS:
        ordered = await es9.stage.order(tenant_id=owner, code="4711")
        device = await at.reached(es9, wire, ordered)
        assert await device.cancel(signed(device, reason)) == {}, reason
        told, order = at.told, at.order
        if reason in FINAL:
            status, code = FINAL[reason]
            assert f"{status.subject}/{status.reason}" == code
            told, order = (*told, (at.point, status.name)), "error"
        after = Seen(
            order=order,
            eid=str(device.card.eid),
            downloads=1,
            codes=at.codes,
            sealed=at.sealed,
            told=told,
            sessions=(("ended", at.refusal),),
        )
        assert await es9.stage.seen(ordered) == after, reason
        first = device.got[CANCEL].body
        assert (await device.again(CANCEL)).body == first
        assert await device.cancel(signed(device, 0)) == {}
        assert await es9.stage.seen(ordered) == after, reason


@both
@pytest.mark.parametrize("state", OPEN)
async def test_an_unsigned_error_of_the_card_closes_the_session_and_moves_no_order(
    es9: Es9Stage, wire: Wire, state: str
) -> None:
    at = OPEN[state]
    for number in ERRORS:
        ordered = await es9.stage.order(code="4711")
        device = await at.reached(es9, wire, ordered)
        assert await device.cancel(unsigned(number)) == {}
        seen = await es9.stage.seen(ordered)
        assert (seen.order, seen.told, seen.sessions) == (at.order, at.told, (("ended", at.refusal),))
        again = es9.dialogue(wire, device.card, ordered.matching_id)
        assert not isinstance(await (await again.begun()).deliver("4711"), Refusal)


# Sessions that cannot -------------------------------------------------------------------------------------------------


async def only_begun(es9: Es9Stage, wire: Wire) -> Dialogue:
    device = es9.dialogue(wire, es9.stage.card(), (await es9.stage.order()).matching_id)
    await device.initiate()
    return device


async def refused(es9: Es9Stage, wire: Wire) -> Dialogue:
    device = es9.dialogue(wire, es9.stage.card(), "NOBODYS-TOKEN")
    await device.initiate()
    assert isinstance(await device.authenticate(), Refusal)
    return device


async def refused_card(es9: Es9Stage, wire: Wire) -> Dialogue:
    device = es9.dialogue(wire, es9.stage.card(Misbehaviour.WRONG_SIGNATURE1), (await es9.stage.order()).matching_id)
    await device.initiate()
    assert isinstance(await device.authenticate(), Refusal)
    return device


async def unknown(es9: Es9Stage, wire: Wire) -> Dialogue:
    device = await only_begun(es9, wire)
    device.initiated = {"transactionId": b"\x00"}
    return device


@both
@pytest.mark.parametrize("reached", [only_begun, refused, refused_card, unknown])
async def test_a_session_whose_card_is_not_known_is_refused_and_stays(
    es9: Es9Stage, wire: Wire, reached: Callable[[Es9Stage, Wire], Awaitable[Dialogue]]
) -> None:
    device = await reached(es9, wire)
    before = await tables(es9.stage)
    for message in (*(signed(device, reason) for reason in REASONS), *map(unsigned, ERRORS)):
        found = await device.cancel(message)
        assert isinstance(found, Refusal)
        assert found.code == ("8.10.1/3.9" if wire is JSON else 1)
    assert await tables(es9.stage) == before


async def tables(stage: Stage) -> list[Any]:
    """Everything about orders, sessions and what operators are told."""
    return [
        [tuple(row.values()) for row in await stage.tables.fetch(f"SELECT * FROM {table} ORDER BY 1")]
        for table in ("orders", "sessions", "outbox")
    ]


async def postponed(es9: Es9Stage, wire: Wire) -> Dialogue:
    device = await begun(es9, wire)
    await device.cancel(signed(device, 1))
    return device


async def rejected(es9: Es9Stage, wire: Wire) -> Dialogue:
    device = await begun(es9, wire)
    await device.cancel(signed(device, 0))
    return device


async def refused_second_step(es9: Es9Stage, wire: Wire) -> Dialogue:
    device = await begun(es9, wire, Misbehaviour.WRONG_SIGNATURE2)
    assert isinstance(await device.deliver(), Refusal)
    return device


async def codes_used_up(es9: Es9Stage, wire: Wire) -> Dialogue:
    device = await begun(es9, wire, code="4711", tenant_id=await es9.stage.operator(confirmation_attempts=1))
    assert isinstance(await device.deliver("4712"), Refusal)
    return device


async def installed(es9: Es9Stage, wire: Wire) -> Dialogue:
    device = await begun(es9, wire)
    await device.notify(device.install(await device.deliver()).raw)
    assert await es9.stage.judge() == [("installed", True)]
    return device


@both
@pytest.mark.parametrize("reached", [postponed, rejected, refused_second_step, codes_used_up, installed])
async def test_a_session_that_is_over_answers_success_and_nothing_moves(
    es9: Es9Stage, wire: Wire, reached: Callable[[Es9Stage, Wire], Awaitable[Dialogue]]
) -> None:
    device = await reached(es9, wire)
    before = await tables(es9.stage)
    for message in (*(signed(device, reason) for reason in REASONS), *map(unsigned, ERRORS)):
        assert await device.cancel(message) == {}
    assert await tables(es9.stage) == before


@both
async def test_a_common_lpa_cancels_after_any_failure_and_the_next_session_works(es9: Es9Stage, wire: Wire) -> None:
    """It sends endUserRejection, signed by a card that may have no session: its unsigned error then."""
    ordered = await es9.stage.order(code="4711")
    card = es9.stage.card(Misbehaviour.WRONG_SIGNATURE1)
    device = es9.dialogue(wire, card, ordered.matching_id)
    await device.initiate()
    await device.authenticate()
    assert isinstance(await device.cancel(device.cancelled(CancelReason.END_USER_REJECTION)), Refusal)
    card.misbehave = frozenset()
    assert not isinstance(await (await device.begun()).deliver("4711"), Refusal)


async def test_a_session_under_a_ci_that_was_taken_away_is_refused(es9: Es9Stage) -> None:
    stage = es9.stage
    device = await begun(es9, JSON)
    message, cancel = device.prepared(), signed(device, 1)
    stage.downloads._delivery._wallet = untrusting(stage)
    stage.cancellation._wallet = untrusting(stage)
    with refuses(Status.CI_UNKNOWN):
        await stage.cancellation.cancel_session(device.id, cancel)
    assert await device.state() == ("authenticated", None)
    with refuses(Status.CI_UNKNOWN):
        await stage.downloads.get_bound_profile_package(device.id, message)
    assert await device.state() == ("ended", "CI_UNKNOWN")


def untrusting(stage: Stage) -> Wallet:
    """A wallet with our certificates that trusts no CI."""
    known = stage.cancellation._wallet
    return Wallet(list(known._by_ci.values()), {})


# Error answers of the card --------------------------------------------------------------------------------------------


def error(device: Dialogue, tag: int, number: int) -> bytes:
    """authenticateResponseError, downloadResponseError."""
    return tlv.wrap(tag, tlv.wrap(0xA1, tlv.wrap(0x80, device.transaction_id), tlv.wrap_integer(0x02, number)))


@conforms("SGP.22 5.7.13", "authenticateResponseError ends the session", Status.EUICC_SIGNATURE_INVALID,
          function=AUTHENTICATE, where="smdp/downloads.py")  # fmt: skip
@both
async def test_every_error_of_authenticate_server_ends_the_session_and_touches_no_order(
    es9: Es9Stage, wire: Wire
) -> None:
    ordered = await es9.stage.order()
    for number in (1, 2, 3, 4, 5, 6, 7, 8, 127, 2**31):
        device = es9.dialogue(wire, es9.stage.card(), ordered.matching_id)
        await device.initiate()
        found = await device.authenticate(error(device, 0xBF38, number))
        assert isinstance(found, Refusal)
        assert found.code == ("8.1/6.1" if wire is JSON else 5)
        assert (await device.again(AUTHENTICATE)).body == device.got[AUTHENTICATE].body
        assert await device.state() == ("ended", "EUICC_SIGNATURE_INVALID")
    assert await es9.stage.seen(ordered) == Seen(order="released")


@conforms("SGP.22 5.7.5", "downloadResponseError ends the session", Status.EXECUTION_ERROR, function=DELIVER,
          where="smdp/delivery.py")  # fmt: skip
@both
async def test_every_error_of_prepare_download_ends_the_session_and_leaves_the_order(es9: Es9Stage, wire: Wire) -> None:
    for number in (1, 2, 3, 4, 5, 127, 2**31):
        ordered = await es9.stage.order()
        device = await es9.dialogue(wire, es9.stage.card(), ordered.matching_id).begun()
        found = await device.deliver(message=error(device, 0xBF21, number))
        assert isinstance(found, Refusal)
        assert found.code == ("8/4.2" if wire is JSON else 127)
        assert (await device.again(DELIVER)).body == device.got[DELIVER].body
        assert await es9.stage.seen(ordered) == Seen(
            order="released",
            eid=str(device.card.eid),
            downloads=1,
            told=((1, ""),),
            sessions=(("ended", "EXECUTION_ERROR"),),
        )


@both
async def test_an_error_of_another_transaction_is_8_10_1_and_ends_the_session(es9: Es9Stage, wire: Wire) -> None:
    device = es9.dialogue(wire, es9.stage.card(), (await es9.stage.order()).matching_id)
    await device.initiate()
    other = tlv.wrap(0xBF38, tlv.wrap(0xA1, tlv.wrap(0x80, bytes(16)), tlv.wrap_integer(0x02, 127)))
    found = await device.authenticate(other)
    assert isinstance(found, Refusal)
    assert found.code == ("8.10.1/3.9" if wire is JSON else 10)
    assert await device.state() == ("ended", "TRANSACTION_UNKNOWN")

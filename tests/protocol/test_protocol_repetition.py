"""Requests sent again, downloads tried again: same bytes, same answer; same card key, same package (SGP.22 5.6.2)."""

from __future__ import annotations

import asyncio

import pytest

from crypto.curves import Curve
from rsp import tlv
from rsp.errors import Refused
from rsp.status import Status
from simulator.card import Card
from simulator.lpa_messages import CancelReason
from simulator.misbehaviour import Misbehaviour
from smdp.binding import Protection
from smdp.policy import Policy
from tests.protocol_attempt import Attempt, attempt
from tests.protocol_stage import CURVES, NAME, Ordered, Seen, Stage, installed_on, refuses


@pytest.fixture
def card(stage: Stage) -> Card:
    return stage.card()


@pytest.fixture
async def ordered(stage: Stage) -> Ordered:
    return await stage.order()


@pytest.fixture
async def trial(stage: Stage, card: Card, ordered: Ordered) -> Attempt:
    return await attempt(stage, card, ordered.matching_id).begun()


def parts(bpp: bytes) -> dict[int, bytes]:
    """The members of a package."""
    return {child.tag: child.raw for child in tlv.read_only(bpp, 0xBF36).children()}


def channel(bpp: bytes) -> dict[int, bytes]:
    """The members of its InitialiseSecureChannel; 5F49 is smdpOtpk, A6 holds hostId."""
    return {child.tag: child.raw for child in tlv.read_only(parts(bpp)[0xBF23], 0xBF23).children()}


# Same bytes again ---------------------------------------------------------------------------------------------------


async def test_authentication_in_the_same_bytes_gets_the_same_answer_and_counts_once(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    first = trial.authenticated
    for _ in range(3):
        assert await trial.authenticate(trial.sent["authenticate"]) == first
    assert await stage.seen(ordered) == Seen(
        order="released",
        eid=str(card.eid),
        downloads=1,
        told=((1, ""),),
        sessions=(("authenticated", None),),
    )
    assert trial.install(await trial.deliver()).succeeded


async def test_other_bytes_at_the_authentication_are_refused_and_change_nothing(
    stage: Stage, ordered: Ordered, trial: Attempt
) -> None:
    before, sent = await stage.seen(ordered), trial.sent["authenticate"]
    with refuses(Status.TRANSACTION_UNKNOWN):
        await trial.authenticate(sent[:-1] + bytes((sent[-1] ^ 1,)))
    other = attempt(stage, stage.card(), ordered.matching_id)
    await other.initiate()
    with refuses(Status.TRANSACTION_UNKNOWN):
        await trial.authenticate(other.challenged())
    assert await stage.seen(ordered) == before
    assert trial.install(await trial.deliver()).succeeded


@pytest.mark.parametrize("protection", list(Protection))
@pytest.mark.parametrize("curve", CURVES)
async def test_package_for_the_same_bytes_is_the_same_package_told_once(
    stage: Stage, curve: Curve, protection: Protection
) -> None:
    card, ordered = stage.card(curves=[curve]), await stage.order()
    trial = await attempt(stage, card, ordered.matching_id).begun()
    bpp = await trial.deliver()
    for _ in range(3):
        assert await trial.deliver(message=trial.sent["deliver"]) == bpp
    assert await stage.seen(ordered) == Seen(
        order="downloaded",
        eid=str(card.eid),
        downloads=1,
        sealed=("key", "otsk"),
        told=((1, ""), (3, "")),
        sessions=(("delivered", None),),
    )
    assert trial.install(bpp).succeeded


async def test_other_bytes_after_the_package_are_refused_and_change_nothing(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    other = trial.prepared()
    bpp = await trial.deliver()
    before = await stage.seen(ordered)
    assert trial.sent["deliver"] != other
    with refuses(Status.TRANSACTION_UNKNOWN):
        await trial.deliver(message=other)
    with refuses(Status.TRANSACTION_UNKNOWN):
        await trial.authenticate(trial.sent["authenticate"])
    assert await stage.seen(ordered) == before
    assert await trial.deliver(message=trial.sent["deliver"]) == bpp


async def test_same_request_many_times_at_once_is_one_delivery(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    message = trial.prepared()
    answers = await asyncio.gather(*(trial.deliver(message=message) for _ in range(4)))
    assert len(set(answers)) == 1
    seen = await stage.seen(ordered)
    assert (seen.downloads, seen.told) == (1, ((1, ""), (3, "")))
    assert trial.install(answers[0]).succeeded


async def test_same_authentication_many_times_at_once_is_one_attempt(
    stage: Stage, card: Card, ordered: Ordered
) -> None:
    trial = attempt(stage, card, ordered.matching_id)
    await trial.initiate()
    message = trial.challenged()
    answers = await asyncio.gather(*(trial.authenticate(message) for _ in range(4)))
    assert len({answer.smdp_signature2 for answer in answers}) == 1
    seen = await stage.seen(ordered)
    assert (seen.downloads, seen.told) == (1, ((1, ""),))


async def test_package_is_given_again_no_more_once_the_card_has_reported(
    stage: Stage, ordered: Ordered, trial: Attempt
) -> None:
    result = trial.install(await trial.deliver())
    await stage.notifications.handle_notification(result.raw)
    await stage.judge()
    before = await stage.seen(ordered)
    with refuses(Status.TRANSACTION_UNKNOWN):
        await trial.deliver(message=trial.sent["deliver"])
    assert await stage.seen(ordered) == before


async def test_package_is_given_again_no_more_once_the_session_is_cancelled(stage: Stage, trial: Attempt) -> None:
    await trial.deliver()
    await trial.cancel(CancelReason.TIMEOUT)
    with refuses(Status.TRANSACTION_UNKNOWN):
        await trial.deliver(message=trial.sent["deliver"])


# A new session after a delivery -------------------------------------------------------------------------------------


@pytest.mark.parametrize("protection", list(Protection))
@pytest.mark.parametrize("curve", CURVES)
async def test_card_that_keeps_its_key_gets_the_same_package_but_for_the_signed_head(
    stage: Stage, curve: Curve, protection: Protection
) -> None:
    card, ordered = stage.card(curves=[curve]), await stage.order()
    first, second = (attempt(stage, card, ordered.matching_id) for _ in range(2))
    lost = await first.delivered()
    again = await second.delivered()
    assert second.authenticated is not None
    offered = tlv.read_only(second.authenticated.smdp_signed2, 0x30).members()[0x5F49].value
    assert offered == (await stage.order_row(ordered.iccid))["euicc_otpk"]
    old, new = parts(lost), parts(again)
    assert {tag for tag in old if old[tag] != new[tag]} == {0xBF23}
    assert {tag: new[tag] for tag in new if tag != 0xBF23} == {tag: old[tag] for tag in old if tag != 0xBF23}
    old, new = channel(lost), channel(again)
    assert {tag for tag in old if old[tag] != new[tag]} == {0x80, 0x5F37}
    assert second.install(again).succeeded
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}
    assert (await stage.seen(ordered)).told == ((1, ""), (3, ""), (1, ""), (3, ""))


@pytest.mark.parametrize("protection", list(Protection))
async def test_card_with_a_new_key_gets_a_package_bound_anew(
    stage: Stage, card: Card, ordered: Ordered, protection: Protection
) -> None:
    first, second = (attempt(stage, card, ordered.matching_id) for _ in range(2))
    lost = await first.delivered()
    bound = await stage.order_row(ordered.iccid)
    card.misbehave = frozenset({Misbehaviour.NEW_ONE_TIME_KEY})
    again = await second.delivered()
    rebound = await stage.order_row(ordered.iccid)
    for column in ("euicc_otpk", "otsk_sealed", "host_id"):
        assert bound[column] != rebound[column]
    for tag in (0x80, 0xA6, 0x5F49, 0x5F37):
        assert channel(lost)[tag] != channel(again)[tag]
    same = {tag for tag in parts(lost) if parts(lost)[tag] == parts(again)[tag]}
    assert same == ({0xA3} if protection is Protection.PPK else set())
    assert second.install(again).succeeded
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}
    with refuses(Status.TRANSACTION_UNKNOWN):
        await first.deliver(message=first.sent["deliver"])


async def test_package_delivered_twice_is_installed_once(stage: Stage, card: Card, ordered: Ordered) -> None:
    await attempt(stage, card, ordered.matching_id).delivered()
    second = attempt(stage, card, ordered.matching_id)
    assert (await second.installed()).succeeded
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}
    assert await stage.seen(ordered) == Seen(
        order="installed",
        eid=str(card.eid),
        downloads=2,
        sealed=(),
        told=((1, ""), (3, ""), (1, ""), (3, ""), (4, "")),
        sessions=(("delivered", None), ("reported", None)),
    )
    with refuses(Status.NOT_RELEASED):
        await attempt(stage, card, ordered.matching_id).begun()


async def test_two_sessions_of_one_card_for_one_order_end_in_one_installation(
    stage: Stage, card: Card, ordered: Ordered
) -> None:
    """Two LPAs of one device: the second session takes the card's context, the first stays behind."""
    first = await attempt(stage, card, ordered.matching_id).begun()
    second = await attempt(stage, card, ordered.matching_id).begun()
    result = second.install(await second.deliver())
    await stage.notifications.handle_notification(result.raw)
    await stage.judge()
    assert (await stage.seen(ordered)).sessions == (("authenticated", None), ("reported", None))
    await stage.cancellation.cancel_session(first.id, tlv.wrap(0xBF41, tlv.wrap_integer(0x81, 127)))
    seen = await stage.seen(ordered)
    assert (seen.order, seen.sessions) == ("installed", (("ended", None), ("reported", None)))


async def test_deliveries_of_two_cards_racing_for_one_order_reach_one_card(stage: Stage, ordered: Ordered) -> None:
    trials = [attempt(stage, stage.card(), ordered.matching_id) for _ in range(3)]
    for trial in trials:
        await trial.initiate()
    outcomes = await asyncio.gather(*(trial.authenticate() for trial in trials), return_exceptions=True)
    refused = [outcome.status for outcome in outcomes if isinstance(outcome, Refused)]
    assert refused == [Status.EID_MISMATCH] * 2
    winner = next(trial for trial, outcome in zip(trials, outcomes, strict=True) if not isinstance(outcome, Exception))
    assert winner.install(await winner.deliver()).succeeded
    seen = await stage.seen(ordered)
    assert (seen.eid, seen.downloads, seen.told) == (str(winner.card.eid), 1, ((1, ""), (3, "")))


@pytest.fixture
def policy(request: pytest.FixtureRequest) -> Policy:
    """The rules, with the protection a test is parametrised with."""
    named = "protection" in request.fixturenames
    chosen = request.getfixturevalue("protection") if named else Protection.PPK
    return Policy(server_names=(NAME,), protection=chosen)

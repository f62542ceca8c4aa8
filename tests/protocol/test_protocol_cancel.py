"""CancelSession: every reason in every state of the session, and what the order becomes (SGP.22 5.6.5)."""

from __future__ import annotations

import pytest

from rsp import tlv
from rsp.errors import Malformed
from rsp.status import Status
from simulator import ecc
from simulator.card import Card
from simulator.lpa_messages import CancelReason
from simulator.misbehaviour import Misbehaviour
from tests.conformance import conforms
from tests.protocol_attempt import Attempt, attempt
from tests.protocol_stage import Ordered, Seen, Stage, installed_on, refuses

FINAL = {
    CancelReason.END_USER_REJECTION: "END_USER_REJECTED",
    CancelReason.PPR_NOT_ALLOWED: "PPR_NOT_ALLOWED",
    CancelReason.METADATA_MISMATCH: "METADATA_MISMATCH",
    CancelReason.LOAD_BPP_EXECUTION_ERROR: "BPP_EXECUTION_ERROR",
    CancelReason.UNDEFINED: "EXECUTION_ERROR",
}
RESUMABLE = [CancelReason.POSTPONED, CancelReason.TIMEOUT]
REFUSAL = tlv.wrap(0xBF41, tlv.wrap_integer(0x81, 127))


@pytest.fixture
def card(stage: Stage) -> Card:
    return stage.card()


@pytest.fixture
async def ordered(stage: Stage) -> Ordered:
    return await stage.order()


@pytest.fixture
async def trial(stage: Stage, card: Card, ordered: Ordered) -> Attempt:
    return await attempt(stage, card, ordered.matching_id).begun()


def seen_after(card: Card, *, delivered: bool, reason: CancelReason) -> Seen:
    """What must be in the tables after a cancellation."""
    told: tuple[tuple[int, str], ...] = ((1, ""), (3, "")) if delivered else ((1, ""),)
    order = "downloaded" if delivered else "released"
    if reason in FINAL:
        told, order = (*told, (4 if delivered else 3, FINAL[reason])), "error"
    sealed = ("key", "otsk") if delivered else ("key",)
    return Seen(order=order, eid=str(card.eid), downloads=1, sealed=sealed, told=told, sessions=(("ended", None),))


@conforms(
    "SGP.22 5.3.5",
    "a terminal CancelSession is told with the code of its reason",
    Status.END_USER_REJECTED,
    Status.PPR_NOT_ALLOWED,
    Status.METADATA_MISMATCH,
    Status.BPP_EXECUTION_ERROR,
    Status.EXECUTION_ERROR,
    function="handleDownloadProgressInfo",
    where="smdp/cancellation.py",
)
@pytest.mark.parametrize("reason", list(CancelReason))
@pytest.mark.parametrize("delivered", [False, True], ids=["before-package", "after-package"])
async def test_reason_decides_what_becomes_of_the_order(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt, reason: CancelReason, delivered: bool
) -> None:
    if delivered:
        await trial.deliver()
    await trial.cancel(reason)
    after = seen_after(card, delivered=delivered, reason=reason)
    assert await stage.seen(ordered) == after
    await stage.cancellation.cancel_session(trial.id, trial.sent["cancel"])
    assert await stage.seen(ordered) == after
    again = attempt(stage, card, ordered.matching_id)
    if reason in FINAL:
        with refuses(Status.NOT_RELEASED):
            await again.begun()
        assert await stage.seen(ordered) == after
    else:
        assert (await again.installed()).succeeded
        assert installed_on(card) == {str(ordered.iccid): ordered.upp}


async def test_no_step_follows_a_cancelled_session(trial: Attempt) -> None:
    message = trial.prepared()
    await trial.cancel(CancelReason.POSTPONED)
    with refuses(Status.TRANSACTION_UNKNOWN):
        await trial.deliver(message=message)
    with refuses(Status.TRANSACTION_UNKNOWN):
        await trial.authenticate(trial.sent["authenticate"])


def signed_cancel(trial: Attempt, reason: int) -> bytes:
    """A BF41 as the card signs it, also when the card has no session any more."""
    oid = tlv.oid_to_bytes(trial.stage.material.pki.dp[0].oid)
    signed = tlv.wrap(0x30, tlv.wrap(0x80, trial.id.value), tlv.wrap(0x81, oid), tlv.wrap_integer(0x82, reason))
    return tlv.wrap(0xBF41, tlv.wrap(0xA0, signed, ecc.sign(trial.card.credentials[0].private_key, signed)))


@pytest.mark.parametrize("reason", list(CancelReason))
async def test_session_that_is_only_begun_cannot_be_cancelled(
    stage: Stage, ordered: Ordered, reason: CancelReason
) -> None:
    fresh = attempt(stage, stage.card(), ordered.matching_id)
    await fresh.initiate()
    with refuses(Status.TRANSACTION_UNKNOWN):
        await stage.cancellation.cancel_session(fresh.id, signed_cancel(fresh, reason))
    assert await fresh.state() == ("initiated", None)
    assert await stage.seen(ordered) == Seen(order="released")


@pytest.mark.parametrize("reason", list(CancelReason))
async def test_installation_that_is_reported_cannot_be_cancelled_away(
    stage: Stage, ordered: Ordered, trial: Attempt, reason: CancelReason
) -> None:
    result = trial.install(await trial.deliver())
    await stage.notifications.handle_notification(result.raw)
    await stage.judge()
    before = await stage.seen(ordered)
    assert before.order == "installed"
    await stage.cancellation.cancel_session(trial.id, signed_cancel(trial, reason))
    assert await stage.seen(ordered) == before


@pytest.mark.parametrize("reason", list(CancelReason))
async def test_session_that_has_ended_already_stays_as_it_is(
    stage: Stage, ordered: Ordered, trial: Attempt, reason: CancelReason
) -> None:
    await trial.cancel(CancelReason.TIMEOUT)
    before = await stage.seen(ordered)
    await stage.cancellation.cancel_session(trial.id, signed_cancel(trial, reason))
    assert await stage.seen(ordered) == before


async def test_cancellation_after_a_refused_authentication_is_no_fault_of_ours(stage: Stage, ordered: Ordered) -> None:
    """A common LPA cancels whatever went wrong."""
    refused = attempt(stage, stage.card(), "UNKNOWN-TOKEN")
    await refused.initiate()
    with refuses(Status.MATCHING_ID_REFUSED):
        await refused.authenticate()
    with refuses(Status.TRANSACTION_UNKNOWN):
        await refused.cancel(CancelReason.END_USER_REJECTION)
    assert await refused.state() == ("ended", "MATCHING_ID_REFUSED")
    assert await stage.seen(ordered) == Seen(order="released")


async def test_late_success_counts_even_after_the_device_has_cancelled(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    result = trial.install(await trial.deliver())
    await stage.cancellation.cancel_session(trial.id, signed_cancel(trial, CancelReason.END_USER_REJECTION))
    assert (await stage.seen(ordered)).order == "error"
    await stage.notifications.handle_notification(result.raw)
    assert await stage.judge() == [("installed", True)]
    assert await stage.seen(ordered) == Seen(
        order="installed",
        eid=str(card.eid),
        downloads=1,
        sealed=(),
        told=((1, ""), (3, ""), (4, "END_USER_REJECTED"), (4, "")),
        sessions=(("reported", None),),
    )


async def test_cancelling_one_session_leaves_another_of_the_same_order_usable(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    cancel = signed_cancel(trial, CancelReason.POSTPONED)
    second = await attempt(stage, card, ordered.matching_id).begun()
    await stage.cancellation.cancel_session(trial.id, cancel)
    assert second.install(await second.deliver()).succeeded
    assert (await stage.seen(ordered)).sessions == (("ended", None), ("delivered", None))


# What proves nothing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Misbehaviour.WRONG_CANCEL_SIGNATURE, Status.EUICC_SIGNATURE_INVALID),
        (Misbehaviour.WRONG_CANCEL_OID, Status.SMDP_OID_MISMATCH),
    ],
)
async def test_cancellation_that_does_not_hold_changes_nothing(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt, fault: Misbehaviour, status: Status
) -> None:
    before = await stage.seen(ordered)
    card.misbehave = frozenset({fault})
    with refuses(status):
        await trial.cancel(CancelReason.END_USER_REJECTION)
    assert await stage.seen(ordered) == before


async def test_cancellation_of_another_session_changes_neither(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    second = await attempt(stage, card, ordered.matching_id).begun()
    before = await stage.seen(ordered)
    with refuses(Status.TRANSACTION_UNKNOWN):
        await stage.cancellation.cancel_session(second.id, signed_cancel(trial, CancelReason.END_USER_REJECTION))
    assert await stage.seen(ordered) == before


@pytest.mark.parametrize("delivered", [False, True], ids=["before-package", "after-package"])
async def test_cards_refusal_to_cancel_closes_the_session_and_moves_no_order(
    stage: Stage, ordered: Ordered, trial: Attempt, delivered: bool
) -> None:
    if delivered:
        await trial.deliver()
    before = await stage.seen(ordered)
    trial.card.misbehave = frozenset({Misbehaviour.REFUSE_CANCEL})
    await trial.cancel(CancelReason.END_USER_REJECTION)
    assert trial.sent["cancel"] == REFUSAL
    after = await stage.seen(ordered)
    assert (after.order, after.told, after.sessions) == (before.order, before.told, (("ended", None),))


@pytest.mark.parametrize("message", [b"", b"\xbf\x41\x00", b"\xbf\x41\x02\xa0\x00", b"\x30\x00"])
async def test_garbage_is_malformed_and_changes_nothing(
    stage: Stage, ordered: Ordered, trial: Attempt, message: bytes
) -> None:
    before = await stage.seen(ordered)
    with pytest.raises(Malformed):
        await stage.cancellation.cancel_session(trial.id, message)
    assert await stage.seen(ordered) == before

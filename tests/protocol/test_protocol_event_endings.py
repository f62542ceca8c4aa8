"""Events of orders at an SM-DS: deleted when the order ends, and compared with orders (SGP.22 3.6.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsp.status import Status
from server.smds_wiring import MOST_TRIES
from simulator.card import Card
from simulator.lpa_messages import CancelReason
from simulator.misbehaviour import Misbehaviour
from simulator.notifications import Event
from simulator.smds import Trouble
from simulator.smds_book import Registered
from smdp.event import TRANSITIONS as EVENT_STEPS
from smdp.event import EventState, EventStep, ImpossibleTransition, after, before
from smdp.expiry import Expiry
from smdp.ordering import FinalProfileStatus
from store.downloads import Downloads
from store.order_book import OrderBook
from tests.conformance import conforms
from tests.protocol_attempt import attempt
from tests.protocol_stage import NAME, Clock, Material, Ordered, refuses
from tests.signed_events import event
from tests.smds_stage import EventStage


@pytest.fixture
async def at(database: str, material: Material, clock: Clock) -> AsyncIterator[EventStage]:
    async with EventStage.opened(database, material, clock) as opened:
        yield opened


# Deletion -------------------------------------------------------------------------------------------------------------

End = Callable[[EventStage, Ordered, Card], Awaitable[None]]
CODE = "4711"


async def installed(at: EventStage, ordered: Ordered, card: Card) -> None:
    assert (await attempt(at.stage, card, ordered.matching_id).installed(CODE)).succeeded


async def cancelled(at: EventStage, ordered: Ordered, card: Card) -> None:
    await at.stage.cancel_order(ordered, eid=card.eid)


async def withdrawn_from_stock(at: EventStage, ordered: Ordered, card: Card) -> None:
    await at.stage.cancel_order(ordered, FinalProfileStatus.UNAVAILABLE, eid=card.eid)


async def given_up_by_its_user(at: EventStage, ordered: Ordered, card: Card) -> None:
    trial = await attempt(at.stage, card, ordered.matching_id).begun()
    await trial.cancel(CancelReason.END_USER_REJECTION)


async def failed_on_the_card(at: EventStage, ordered: Ordered, card: Card) -> None:
    card.misbehave = frozenset({Misbehaviour.FAIL_INSTALL_PE})
    assert not (await attempt(at.stage, card, ordered.matching_id).installed(CODE)).succeeded


async def out_of_time(at: EventStage, ordered: Ordered, card: Card) -> None:
    at.stage.clock.advance(days=91)
    trial = attempt(at.stage, card, ordered.matching_id)
    await trial.initiate()
    with refuses(Status.ORDER_EXPIRED):
        await trial.authenticate()


async def out_of_time_in_the_session(at: EventStage, ordered: Ordered, card: Card) -> None:
    at.stage.clock.advance(days=90, minutes=-1)
    trial = await attempt(at.stage, card, ordered.matching_id).begun()
    at.stage.clock.advance(minutes=2)
    with refuses(Status.ORDER_EXPIRED):
        await trial.deliver(CODE)


async def out_of_time_unseen(at: EventStage, ordered: Ordered, card: Card) -> None:
    at.stage.clock.advance(days=91)
    assert await Expiry(Downloads(at.stage.pool), at.stage.clock.now).expire_due(10) == 1


async def out_of_attempts(at: EventStage, ordered: Ordered, card: Card) -> None:
    for _ in range(at.stage.policy.download_attempts):
        await attempt(at.stage, card, ordered.matching_id).begun()
    trial = attempt(at.stage, card, ordered.matching_id)
    await trial.initiate()
    with refuses(Status.DOWNLOAD_ATTEMPTS_EXCEEDED):
        await trial.authenticate()


async def out_of_codes(at: EventStage, ordered: Ordered, card: Card) -> None:
    trial = await attempt(at.stage, card, ordered.matching_id).begun()
    for status in (*[Status.CONFIRMATION_CODE_REFUSED] * 2, Status.CONFIRMATION_CODE_RETRIES_EXCEEDED):
        with refuses(status):
            await trial.deliver("0000")


ENDS = [
    pytest.param(end, state, marks=conforms("SGP.22 3.6.3", rule, where="store/withdrawal.py"))
    for end, state, rule in (
        (installed, "installed", "the event is deleted when the profile is installed"),
        (cancelled, "cancelled", "the event is deleted when the order is cancelled"),
        (withdrawn_from_stock, "cancelled", "the event is deleted when the profile is withdrawn"),
        (given_up_by_its_user, "error", "the event is deleted after a final CancelSession"),
        (failed_on_the_card, "error", "the event is deleted after a final installation error"),
        (out_of_time, "error", "the event is deleted when the order expires"),
        (out_of_time_in_the_session, "error", "the event is deleted when the order expires in a session"),
        (out_of_time_unseen, "error", "the event is deleted when the order expires and no device came"),
        (out_of_attempts, "error", "the event is deleted when all downloads are spent"),
        (out_of_codes, "error", "the event is deleted when all confirmation codes are spent"),
    )
]


@pytest.mark.parametrize(("end", "state"), ENDS)
async def test_end_of_the_order_deletes_its_event(at: EventStage, end: End, state: str) -> None:
    card = at.stage.card()
    ordered = await at.announced(card.eid, confirmation_code=CODE)
    await end(at, ordered, card)
    assert (await at.stage.seen(ordered)).order == state
    # With the state, before anybody has asked the SM-DS anything.
    assert (await at.rows(ordered), await at.unsent(), len(at.smds.seen)) == (["withdrawing"], 1, 1)
    await at.work()
    assert (at.smds.events(card.eid), await at.rows(ordered), await at.unsent()) == ([], ["withdrawn"], 0)


async def test_code_that_may_be_used_again_has_its_event_again(at: EventStage) -> None:
    card, owner = at.stage.card(), await at.stage.operator(after_deletion="reuse")
    ordered = await at.confirm(await at.linked(card.eid, owner))
    result = await attempt(at.stage, card, ordered.matching_id).installed()
    await at.settle()
    assert at.smds.events(card.eid) == []
    await at.stage.notifications.handle_notification(
        event(card, result.sequence_number + 1, Event.DELETE, ordered.iccid)
    )
    await at.stage.judge()
    assert (await at.stage.seen(ordered)).order == "released"
    await at.settle()
    assert at.smds.events(card.eid) == [(ordered.matching_id, NAME)]
    assert await at.rows(ordered) == ["withdrawn", "registered"]


async def test_event_stays_while_the_order_can_be_downloaded(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.announced(card.eid)
    trial = await attempt(at.stage, card, ordered.matching_id).begun()
    await trial.cancel(CancelReason.POSTPONED)
    card.misbehave = frozenset({Misbehaviour.FAIL_INSTALL_INTERRUPTED})
    assert not (await attempt(at.stage, card, ordered.matching_id).installed()).succeeded
    await at.settle()
    assert at.smds.events(card.eid) == [(ordered.matching_id, NAME)]
    assert await at.rows(ordered) == ["registered"]


@conforms("SGP.22 5.10.2", "8.9.5/3.9 counts as deleted", where="smdp/event_keeping.py")
async def test_event_the_sm_ds_has_lost_counts_as_deleted(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.announced(card.eid)
    at.smds.book.events.clear()
    await cancelled(at, ordered, card)
    await at.work()
    assert (await at.rows(ordered), await at.unsent()) == (["withdrawn"], 0)


@pytest.mark.parametrize("trouble", [*(each for each in Trouble if each is not Trouble.HELD), Status.EXECUTION_ERROR])
async def test_deletion_is_tried_until_it_is_done(at: EventStage, trouble: Trouble | Status) -> None:
    card = at.stage.card()
    ordered = await at.announced(card.eid)
    at.smds.fail_next("deleteEvent", trouble, times=3)
    await cancelled(at, ordered, card)
    await at.work()
    await at.settle()
    assert (at.smds.events(card.eid), await at.rows(ordered), await at.unsent()) == ([], ["withdrawn"], 0)
    assert len(at.smds.calls("deleteEvent")) >= 4


async def test_deletion_that_failed_for_long_is_given_up_and_its_order_tells_why(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.announced(card.eid)
    at.smds.fail_next("deleteEvent", Trouble.DROP_BEFORE, times=3)
    await cancelled(at, ordered, card)
    await at.stage.tables.execute("UPDATE outbox SET attempts = $1", MOST_TRIES - 2)
    await at.sender.send_due()
    await at.sender.finish()
    assert (await at.unsent(), len(at.smds.calls("deleteEvent"))) == (1, 1)
    await at.settle()
    assert (await at.unsent(), len(at.smds.calls("deleteEvent"))) == (0, 2)
    history = await OrderBook(at.stage.pool).order_history(ordered.iccid)
    assert history is not None
    assert (history.event, history.event_error.partition(":")[0]) == (
        "withdrawing", "given up, the SM-DS may still have it"
    )  # fmt: skip
    assert "cannot be reached" in history.event_error
    # The name is free for an order to come.
    second = await at.confirm(await at.linked(card.eid, ordered.tenant_id), matching_id=ordered.matching_id)
    await at.settle()
    assert (await at.rows(second), await at.unsent()) == (["registered"], 0)


async def test_order_of_the_same_name_is_registered_though_its_forerunner_was_not_deleted_yet(at: EventStage) -> None:
    card = at.stage.card()
    first = await at.announced(card.eid, matching_id="AGAIN")
    await cancelled(at, first, card)
    second = await at.confirm(await at.linked(card.eid, first.tenant_id), matching_id="AGAIN")
    await at.settle()
    assert at.smds.events(card.eid) == [("AGAIN", NAME)]
    assert (await at.rows(first), await at.rows(second)) == (["withdrawn"], ["registered"])


async def test_nothing_is_registered_while_its_forerunner_is_being_deleted(at: EventStage) -> None:
    card = at.stage.card()
    first = await at.announced(card.eid, matching_id="AGAIN")
    await cancelled(at, first, card)
    at.smds.fail_next("deleteEvent", Trouble.HELD)
    await at.sender.send_due()
    await at.smds.wait_for(lambda now: bool(now.calls("deleteEvent")))
    second = await at.linked(card.eid, first.tenant_id)
    with refuses(Status.SMDS_ERROR):
        await at.confirm(second, matching_id="AGAIN")
    at.smds.resume()
    await at.sender.finish()
    await at.confirm(second, matching_id="AGAIN")
    await at.settle()
    assert at.smds.events(card.eid) == [("AGAIN", NAME)]


async def test_late_effect_of_a_lost_deletion_is_mended(at: EventStage) -> None:
    card = at.stage.card()
    first = await at.announced(card.eid, matching_id="AGAIN")
    await cancelled(at, first, card)
    at.smds.fail_next("deleteEvent", Trouble.DROP_BEFORE)
    await at.sender.send_due()
    await at.sender.finish()
    second = await at.confirm(await at.linked(card.eid, first.tenant_id), matching_id="AGAIN")
    at.smds.book.events.clear()  # now it takes effect
    await at.settle()
    assert at.smds.events(card.eid) == [("AGAIN", NAME)]
    assert await at.rows(second) == ["registered"]


async def test_late_effect_of_a_lost_registration_is_mended(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.linked(card.eid)
    at.smds.fail_next("registerEvent", Trouble.DROP_BEFORE)
    with refuses(Status.SMDS_UNREACHABLE):
        await at.confirm(ordered, matching_id="LATE")
    await at.sender.send_due()
    await at.sender.finish()
    assert len(at.smds.calls("deleteEvent")) == 1
    request = at.smds.calls("registerEvent")[0]
    at.smds.book.add(
        Registered(
            owner=at.smds.seen[0].owner, eid=card.eid, event_id=request.event_id, rsp_server_address=NAME,
            forwarding=False,
        )
    )  # fmt: skip
    await at.settle()
    assert (at.smds.events(card.eid), await at.rows(ordered), await at.unsent()) == ([], ["withdrawn"], 0)


# Reconciliation -------------------------------------------------------------------------------------------------------


async def test_event_of_an_order_that_expired_unseen_is_deleted(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.announced(card.eid)
    await at.stage.events.reconcile(16)
    assert await at.rows(ordered) == ["registered"]
    at.stage.clock.advance(days=91)
    assert await at.stage.events.reconcile(16) == 1
    await at.work()
    assert (at.smds.events(card.eid), await at.rows(ordered)) == ([], ["withdrawn"])
    assert await at.stage.events.reconcile(16) == 0


@pytest.mark.parametrize(
    "change",
    ["state = 'error'", "eid = '89049032000000000000000000000099'", "matching_id = 'OTHER'", "smds_address = NULL"],
)
async def test_event_that_no_order_explains_is_deleted(at: EventStage, change: str) -> None:
    card = at.stage.card()
    ordered = await at.announced(card.eid)
    await at.stage.tables.execute(f"UPDATE orders SET {change}")
    await at.settle()
    assert (ordered.matching_id, NAME) not in at.smds.events(card.eid)
    assert (await at.rows(ordered))[0] == "withdrawn"


async def test_released_order_without_its_event_gets_one(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.announced(card.eid)
    await at.stage.tables.execute("DELETE FROM smds_events")
    at.smds.book.events.clear()
    at.smds.fail_next("registerEvent", Trouble.ERROR_BEFORE)
    await at.stage.events.reconcile(16)
    assert await at.rows(ordered) == ["registering"]
    assert await at.stage.events.reconcile(16) == 0, "it waits before it asks again"
    await at.settle()
    assert (at.smds.events(card.eid), await at.rows(ordered)) == ([(ordered.matching_id, NAME)], ["registered"])


async def test_event_that_was_not_forgotten_by_the_sm_ds_is_ours_again(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.announced(card.eid)
    await at.stage.tables.execute("DELETE FROM smds_events")
    await at.stage.events.reconcile(16)
    assert (at.smds.events(card.eid), await at.rows(ordered)) == ([(ordered.matching_id, NAME)], ["registered"])


async def test_everything_is_compared_though_piece_by_piece(at: EventStage) -> None:
    cards = [at.stage.card() for _ in range(5)]
    orders = [await at.announced(card.eid) for card in cards]
    await at.stage.tables.execute("UPDATE orders SET state = 'error' WHERE iccid = $1", str(orders[3].iccid))
    await at.stage.tables.execute("DELETE FROM smds_events WHERE event_id = $1", orders[4].matching_id)
    seen = [await at.stage.events.reconcile(16, size=2) for _ in range(6)]
    # The fourth event is in the second window of events, the last order in the third of orders; then it begins anew.
    assert seen == [0, 1, 2, 0, 0, 0]
    await at.work()
    assert [len(at.smds.events(card.eid)) for card in cards] == [1, 1, 1, 0, 1]


async def test_orders_without_sm_ds_are_not_looked_at(at: EventStage) -> None:
    card = at.stage.card()
    await at.confirm(await at.linked(card.eid), smds_address=None)
    assert await at.stage.events.reconcile(16) == 0


# The table ------------------------------------------------------------------------------------------------------------


@given(st.sampled_from(EventState), st.sampled_from(EventStep))
def test_an_event_moves_by_its_table_and_in_no_other_way(state: EventState, step: EventStep) -> None:
    if (state, step) in EVENT_STEPS:
        assert after(state, step) is EVENT_STEPS[state, step]
        assert state in before(step)
    else:
        with pytest.raises(ImpossibleTransition, match=state):
            after(state, step)


def test_a_withdrawn_event_never_moves_again() -> None:
    assert EventState.WITHDRAWN not in {state for state, _ in EVENT_STEPS}

"""Profiles that a card has deleted: they return to stock once, to be ordered again, and late reports change nothing."""

from __future__ import annotations

import pytest

from rsp.status import Status
from smdp.order import OrderState
from smdp.ports import Call
from smdp.returning import Returning
from store.ordering import Orderings
from tests.protocol_attempt import attempt
from tests.protocol_stage import Ordered, Stage, installed_on, refuses


@pytest.fixture
def returning(stage: Stage) -> Returning:
    return Returning(Orderings(stage.pool))


async def order_state(stage: Stage, ordered: Ordered) -> tuple[str, str]:
    return (await stage.order_row(ordered.iccid))["state"], await stage.profile_state(ordered.iccid)


def call(ordered: Ordered, call_id: str = "deletion") -> Call:
    return Call(tenant_id=ordered.tenant_id, call_id=call_id, function="confirmDeletion", digest=b"body")


@pytest.mark.parametrize(("reusable", "profile"), [(True, "available"), (False, "unavailable")])
async def test_an_installed_profile_that_was_deleted_ends_its_order(
    stage: Stage, returning: Returning, reusable: bool, profile: str
) -> None:
    card = stage.card()
    ordered = await stage.order(eid=card.eid)
    await attempt(stage, card, ordered.matching_id).installed()
    for _ in range(2):
        await returning.confirm_deletion(call(ordered), ordered.iccid, card.eid, reusable=reusable)
    assert await order_state(stage, ordered) == ("deleted", profile)
    assert await returning.order(ordered.tenant_id, ordered.iccid, card.eid) is None


async def test_a_returned_profile_goes_to_another_card_under_a_new_order(stage: Stage, returning: Returning) -> None:
    first, second = stage.card(), stage.card()
    ordered = await stage.order(eid=first.eid)
    await attempt(stage, first, ordered.matching_id).installed()
    await returning.confirm_deletion(call(ordered), ordered.iccid, first.eid, reusable=True)
    again = await stage.order_again(ordered, eid=second.eid)
    await attempt(stage, second, again.matching_id).installed()
    assert str(ordered.iccid) in installed_on(second)
    assert await order_state(stage, ordered) == ("installed", "ordered")


async def test_a_report_that_comes_after_the_deletion_changes_nothing(stage: Stage, returning: Returning) -> None:
    card = stage.card()
    ordered = await stage.order(eid=card.eid)
    trial = attempt(stage, card, ordered.matching_id)
    result = trial.install(await trial.delivered())
    await returning.confirm_deletion(call(ordered), ordered.iccid, card.eid, reusable=True)
    await stage.notifications.handle_notification(result.raw)
    await stage.judge()
    assert await order_state(stage, ordered) == ("deleted", "available")
    assert [body["point"] for body in await stage.reports(ordered.iccid)] == [1, 3]


async def test_a_profile_that_no_card_got_cannot_be_deleted_there(stage: Stage, returning: Returning) -> None:
    card = stage.card()
    ordered = await stage.order(eid=card.eid)
    with refuses(Status.ICCID_INVALID_TRANSITION):
        await returning.confirm_deletion(call(ordered), ordered.iccid, card.eid, reusable=True)
    assert await order_state(stage, ordered) == ("released", "ordered")


async def test_another_cards_or_operators_word_about_it_is_no_word(stage: Stage, returning: Returning) -> None:
    card, stranger = stage.card(), await stage.operator()
    ordered = await stage.order(eid=card.eid)
    await attempt(stage, card, ordered.matching_id).installed()
    with refuses(Status.ICCID_UNKNOWN):
        await returning.confirm_deletion(call(ordered), ordered.iccid, stage.card().eid, reusable=True)
    foreign = Call(tenant_id=stranger, call_id="deletion", function="confirmDeletion", digest=b"body")
    with refuses(Status.ICCID_UNKNOWN):
        await returning.confirm_deletion(foreign, ordered.iccid, card.eid, reusable=True)
    found = await returning.order(ordered.tenant_id, ordered.iccid, card.eid)
    assert found is not None
    assert found.state is OrderState.INSTALLED

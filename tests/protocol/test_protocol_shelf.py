"""Profiles withdrawn from stock by hand and brought back; never one that a card may hold."""

from __future__ import annotations

import pytest

from rsp.errors import Refused
from rsp.status import Status
from simulator.lpa_messages import CancelReason
from simulator.misbehaviour import Misbehaviour
from smdp.ordering import DownloadOrder, FinalProfileStatus
from smdp.shelf import Shelf
from store.ordering import Orderings
from tests.protocol_attempt import attempt
from tests.protocol_stage import TYPE, Stage, refuses


@pytest.fixture
def shelf(stage: Stage) -> Shelf:
    return Shelf(Orderings(stage.pool))


async def test_withdrawn_profile_is_not_drawn_until_it_is_restored(stage: Stage, shelf: Shelf) -> None:
    stocked = await stage.stock(await stage.operator())
    for _ in range(2):
        await shelf.withdraw(stocked.tenant_id, stocked.iccid)
    with refuses(Status.PROFILE_TYPE_UNAVAILABLE):
        await stage.ordering.download_order(stage.call(stocked.tenant_id), DownloadOrder(profile_type=TYPE))
    for _ in range(2):
        await shelf.restore(stocked.tenant_id, stocked.iccid)
    drawn = await stage.ordering.download_order(stage.call(stocked.tenant_id), DownloadOrder(profile_type=TYPE))
    assert drawn == stocked.iccid


async def test_ordered_profile_is_neither_withdrawn_nor_restored(stage: Stage, shelf: Shelf) -> None:
    ordered = await stage.order()
    for function in (shelf.withdraw, shelf.restore):
        with refuses(Status.ICCID_IN_USE):
            await function(ordered.tenant_id, ordered.iccid)
    assert await stage.profile_state(ordered.iccid) == "ordered"


async def test_refusal_tells_how_to_cancel_only_while_that_helps(stage: Stage, shelf: Shelf) -> None:
    card, ordered = stage.card(), await stage.order()
    for function, final in ((shelf.withdraw, "Unavailable"), (shelf.restore, "Available")):
        with pytest.raises(Refused, match=f"cancel the order, with finalProfileStatusIndicator {final}\\."):
            await function(ordered.tenant_id, ordered.iccid)
    assert (await attempt(stage, card, ordered.matching_id).installed()).succeeded
    for function in (shelf.withdraw, shelf.restore):
        with pytest.raises(Refused, match="The order is installed: a card has got this profile, and only its report"):
            await function(ordered.tenant_id, ordered.iccid)


async def test_profile_of_another_operator_is_unknown(stage: Stage, shelf: Shelf) -> None:
    stocked, stranger = await stage.stock(await stage.operator()), await stage.operator()
    for function in (shelf.withdraw, shelf.restore):
        with refuses(Status.ICCID_UNKNOWN):
            await function(stranger, stocked.iccid)


async def test_profile_of_a_cancelled_order_comes_back_unless_a_card_may_hold_it(stage: Stage, shelf: Shelf) -> None:
    clean = await stage.order()
    await stage.cancel_order(clean, FinalProfileStatus.UNAVAILABLE)
    await shelf.restore(clean.tenant_id, clean.iccid)
    assert await stage.profile_state(clean.iccid) == "available"
    card, ordered = stage.card(), await stage.order()
    trial = attempt(stage, card, ordered.matching_id)
    await trial.delivered()
    await trial.cancel(CancelReason.END_USER_REJECTION)
    await stage.cancel_order(ordered, FinalProfileStatus.UNAVAILABLE, eid=card.eid)
    with refuses(Status.ICCID_NOT_ALLOWED):
        await shelf.restore(ordered.tenant_id, ordered.iccid)
    assert await stage.profile_state(ordered.iccid) == "unavailable"
    await shelf.restore(ordered.tenant_id, ordered.iccid, anyway=True)
    assert await stage.profile_state(ordered.iccid) == "available"


async def test_profile_that_its_card_reported_to_have_failed_comes_back(stage: Stage, shelf: Shelf) -> None:
    card, ordered = stage.card(Misbehaviour.FAIL_INSTALL_PE), await stage.order()
    await attempt(stage, card, ordered.matching_id).installed()
    await stage.cancel_order(ordered, FinalProfileStatus.UNAVAILABLE, eid=card.eid)
    await shelf.restore(ordered.tenant_id, ordered.iccid)
    assert await stage.profile_state(ordered.iccid) == "available"

"""Whole swaps: what is on the card, in the tables and at the platforms afterwards, for each way one may go."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from simulator.platforms.control_center import Trouble
from smdp.policy import Policy
from swap.desk import CannotBegin, Confirmation, SwapUnknown, TooLate
from swap.plan import Way
from swap.ports import SwapRunning
from swap.record import About, Swap
from swap.stages import StageState, stages
from swap.swap import StepName
from tests.eim_stage import LEAD, SMDP, Device
from tests.protocol_stage import Clock, Material
from tests.swap_stage import ACCOUNT, INVENTORY, SimLine, SwapStage, no_attach


@pytest.fixture
async def world(database: str, material: Material, clock: Clock, policy: Policy) -> AsyncIterator[SwapStage]:
    async with SwapStage.opened(database, material, clock, policy) as opened:
        yield opened


async def test_a_swap_allocates_downloads_activates_and_bills_last(world: SwapStage) -> None:
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    swap = await world.order(device.card.eid, partner)
    ended = await world.until(swap, device)
    assert (ended.state, ended.iccid, ended.attention) == ("completed", iccid, "")
    assert device.states() == {str(LEAD): False, str(iccid): True}
    assert world.line(partner, iccid) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
    assert world.line(world.lead, LEAD) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
    assert len(partner.book.transfers) == 1
    assert await world.stock_of(iccid) == ("ordered", "installed")
    _, history = await world.read(swap)
    assert [(one.about, one.chosen) for one in history.actions] == [(About.SOURCE_LINE, "")]
    assert ended.enabled_at is not None
    assert partner.book.billed(iccid)[0].since >= ended.enabled_at


async def test_no_attach_rolls_back_and_the_profile_returns_after_its_deletion(world: SwapStage) -> None:
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    no_attach(device, iccid)
    swap = await world.order(device.card.eid, partner)
    ended = await world.until(swap, device)
    assert ended.state == "rolled_back"
    assert device.states() == {str(LEAD): True}
    assert world.line(partner, iccid) == SimLine(account=INVENTORY, status="INVENTORY", billed=0)
    assert await world.stock_of(iccid) == ("available", "deleted")
    assert world.line(world.lead, LEAD) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)


async def test_the_way_back_to_the_lead_is_activation_only(world: SwapStage) -> None:
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    await world.until(await world.order(device.card.eid, partner), device)
    world.clock.advance(minutes=5)
    back = await world.order(device.card.eid, world.lead)
    assert (back.plan.way, back.iccid) == (Way.HELD, LEAD)
    ended = await world.until(back, device)
    assert (ended.state, ended.plan.source and ended.plan.source.name) == ("completed", "partner")
    assert device.states() == {str(LEAD): True, str(iccid): False}
    # Nothing was transferred or activated for it: the lead's line was active all the time, and the partner's stays so.
    assert world.line(world.lead, LEAD) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
    assert world.line(partner, iccid) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
    assert (len(world.lead.book.transfers), len(partner.book.transfers)) == (0, 1)
    assert (ended.source_billed, ended.target_billed) == ("yes", "yes")


async def test_a_carrier_without_integration_is_allocated_and_billed_by_the_customer(world: SwapStage) -> None:
    foreign = await world.partner("foreign", integrated=False)
    device = await world.device()
    swap = await world.order(device.card.eid, foreign)
    assert (swap.state, swap.plan.way) == ("awaiting_customer", Way.CUSTOMER)
    await world.turn(device)
    waiting, history = await world.read(swap)
    assert [(one.about, one.options, one.chosen) for one in history.actions] == [(About.ALLOCATION, (), "")]
    assert waiting.state == "awaiting_customer"
    ordered = await world.smdp.order(eid=device.card.eid)
    said = Confirmation(iccid=ordered.iccid, activation_code=f"1${SMDP}${ordered.matching_id}")
    for _ in range(2):
        await world.swaps.desk.confirm(world.tenant_id, swap.id, said, "enterprise:1")
    row = await world.smdp.tables.fetchrow("SELECT * FROM swaps")
    assert ordered.matching_id
    assert ordered.matching_id not in str(dict(row))
    ended = await world.until(swap, device)
    assert (ended.state, ended.activation_sealed) == ("completed", None)
    assert device.states() == {str(LEAD): False, str(ordered.iccid): True}
    _, history = await world.read(swap)
    assert [(one.about, one.chosen) for one in history.actions] == [
        (About.ALLOCATION, "confirmed"),
        (About.BILLING, ""),
        (About.SOURCE_LINE, ""),
    ]
    settled = await world.swaps.desk.decide(world.tenant_id, swap.id, 2, "done", "enterprise:1")
    assert settled.chosen == "done"


CANCELLED_AT = ["allocating", "preparing", "downloading", "installed", "enabling"]


@pytest.mark.parametrize("state", CANCELLED_AT)
async def test_a_swap_cancelled_before_its_pivot_leaves_nothing_behind(world: SwapStage, state: str) -> None:
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    swap = await world.order(device.card.eid, partner)
    await reach(world, swap, device, state)
    for _ in range(2):
        await world.swaps.desk.cancel(world.tenant_id, swap.id, "test")
    ended = await world.until(swap, device)
    assert (ended.state, ended.reason) == ("cancelled", "cancelled")
    assert device.states() == {str(LEAD): True}
    assert world.line(partner, iccid) == SimLine(account=INVENTORY, status="INVENTORY", billed=0)
    profile, order = await world.stock_of(iccid)
    assert (profile, order) == ("available", "deleted" if state in ("installed", "enabling") else order)
    open_operations = "SELECT count(*) FROM esim_operations WHERE ended_at IS NULL"
    assert await world.smdp.tables.fetchval(open_operations) == 0


async def reach(world: SwapStage, swap: Swap, device: Device, state: str) -> None:
    """Step by step, so that the swap stands in `state` and what it asked of the device is not fetched yet."""
    saga = world.swaps.saga()
    for _ in range(60):
        found, history = await world.read(swap)
        if found.state == state and (state in ("allocating", "preparing") or history.entry(found.step, 1)):
            return
        if not await saga.run_due(1, 60.0):
            await device.ipa.poll()
            await world.judged()
            world.clock.advance(seconds=2)
    raise AssertionError(f"never {state}")


async def test_a_cancellation_that_the_enable_has_overtaken_changes_nothing(world: SwapStage) -> None:
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    swap = await world.order(device.card.eid, partner)
    await reach(world, swap, device, "enabling")
    await device.ipa.poll()
    await world.swaps.desk.cancel(world.tenant_id, swap.id, "test")
    await world.judged()
    ended = await world.until(swap, device)
    assert ended.state == "completed"
    assert device.states() == {str(LEAD): False, str(iccid): True}
    await world.swaps.desk.decide(world.tenant_id, swap.id, 1, "keep", "test")
    with pytest.raises(TooLate):
        await world.swaps.desk.decide(world.tenant_id, swap.id, 1, "ended", "test")


async def test_past_its_pivot_a_swap_is_cancelled_no_more(world: SwapStage) -> None:
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    device.network._on_session = lambda iccid: None  # so that it stays in `verifying`
    swap = await world.order(device.card.eid, partner)
    await world.until(swap, device, "verifying")
    with pytest.raises(TooLate, match="can be cancelled no more"):
        await world.swaps.desk.cancel(world.tenant_id, swap.id, "test")
    partner.book.session_starts(iccid)
    ended = await world.until(swap, device)
    assert (ended.state, ended.cancel_requested) == ("completed", False)


async def test_a_lost_acknowledgement_rolls_back_after_the_result_had_come(world: SwapStage) -> None:
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    swap = await world.order(device.card.eid, partner)
    await reach(world, swap, device, "enabling")
    device.losses.lose_answers("provideEimPackageResult", 2)
    ended = await world.until(swap, device)
    assert ended.state == "rolled_back"
    assert device.states() == {str(LEAD): True}
    assert world.line(partner, iccid) == SimLine(account=INVENTORY, status="INVENTORY", billed=0)
    assert await world.stock_of(iccid) == ("available", "deleted")


TROUBLES = [
    ("transfer", trouble)
    for trouble in (
        Trouble.ERROR_AFTER,
        Trouble.BUSY_AFTER,
        Trouble.GATEWAY_AFTER,
        Trouble.DROP_AFTER,
        Trouble.DROP_BEFORE,
        Trouble.LATER,
    )
] + [("edit", Trouble.ERROR_AFTER), ("edit", Trouble.DROP_AFTER), ("edit", Trouble.DROP_BEFORE)]


@pytest.mark.parametrize(("operation", "trouble"), TROUBLES)
async def test_a_lost_reply_of_the_platform_is_read_back_and_never_leads_to_a_second_change(
    world: SwapStage, operation: str, trouble: Trouble
) -> None:
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    assert partner.platform is not None
    partner.platform.fail_next(operation, trouble)
    ended = await world.until(await world.order(device.card.eid, partner), device)
    assert ended.state == "completed"
    assert world.line(partner, iccid) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
    assert len(partner.book.transfers) == 1
    begun = 2 if trouble is Trouble.DROP_BEFORE else 1
    assert partner.platform.count(operation) == begun


async def test_a_platform_that_is_away_holds_the_swap_and_is_not_undone_on_doubt(world: SwapStage) -> None:
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    assert partner.platform is not None
    swap = await world.order(device.card.eid, partner)
    partner.platform.fail_next("read", Trouble.DROP_BEFORE, times=10_000)
    for _ in range(3):
        await world.turn(device)
    found, _ = await world.read(swap)
    assert (found.state, found.step, found.attempt) == ("allocating", StepName.ALLOCATE, 1)
    world.clock.advance(minutes=30)
    await world.turn(device)
    found, _ = await world.read(swap)
    assert found.attention.startswith("not known yet")
    partner.platform._troubles.clear()
    ended = await world.until(swap, device)
    assert (ended.state, ended.attention) == ("completed", "")
    assert world.line(partner, iccid) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)


async def test_two_swaps_of_one_esim_one_runs_the_other_is_told_which(world: SwapStage) -> None:
    partner, third = await world.partner("partner"), await world.partner("third")
    await world.stocked(partner)
    await world.stocked(third)
    device = await world.device()
    first = await world.order(device.card.eid, partner, request="one")
    assert (await world.order(device.card.eid, partner, request="one")).id == first.id
    with pytest.raises(SwapRunning) as running:
        await world.order(device.card.eid, third)
    assert running.value.swap_id == first.id
    assert await world.smdp.tables.fetchval("SELECT count(*) FROM swaps") == 1


async def test_without_a_partnership_nothing_begins(world: SwapStage) -> None:
    partner = await world.partner("partner", agreed=False)
    await world.stocked(partner)
    device = await world.device()
    with pytest.raises((CannotBegin, SwapUnknown)):
        await world.order(device.card.eid, partner)
    assert await world.smdp.tables.fetchval("SELECT count(*) FROM swaps") == 0


async def test_an_offline_device_runs_out_of_time_and_everything_goes_back(world: SwapStage) -> None:
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    swap = await world.order(device.card.eid, partner)
    await world.until(swap, None, "downloading")
    await world.turn()
    world.clock.advance(days=8)
    await world.eim.eim.packages.expire_due()
    ended = await world.until(swap, None)
    assert (ended.state, ended.reason) == ("failed", "the swap ran out of time")
    assert world.line(partner, iccid) == SimLine(account=INVENTORY, status="INVENTORY", billed=0)
    assert await world.stock_of(iccid) == ("available", "cancelled")
    assert device.states() == {str(LEAD): True}


async def test_an_empty_inventory_account_gives_the_profile_back_untouched(world: SwapStage) -> None:
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    partner.book.sims[iccid].account = "somebody else's"
    ended = await world.until(await world.order(device.card.eid, partner), device)
    assert ended.state == "failed"
    assert "not in the inventory" in ended.reason
    assert await world.stock_of(iccid) == ("available", "cancelled")
    assert partner.book.transfers == []
    assert partner.book.billed(iccid) == []


async def test_no_session_is_not_billed_before_somebody_decides(world: SwapStage) -> None:
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    device.network._on_session = lambda iccid: None  # the platform tells of none
    swap = await world.order(device.card.eid, partner)
    await world.until(swap, device, "verifying")
    world.clock.advance(minutes=16)
    await world.turn(device)
    await world.turn(device)
    found, history = await world.read(swap)
    assert (found.state, bool(found.attention)) == ("verifying", True)
    assert [(one.about, one.options) for one in history.actions] == [(About.NO_SESSION, ("commit", "leave"))]
    assert world.line(partner, iccid).billed == 0
    await world.swaps.desk.decide(world.tenant_id, swap.id, 1, "leave", "test")
    ended = await world.until(swap, device)
    assert ended.state == "completed"
    assert world.line(partner, iccid) == SimLine(account=ACCOUNT, status="TEST_READY", billed=0)
    _, history = await world.read(swap)
    assert [one.about for one in history.actions] == [About.NO_SESSION, About.BILLING, About.SOURCE_LINE]


async def test_stages_are_told_with_their_times(world: SwapStage) -> None:
    partner = await world.partner("partner")
    await world.stocked(partner)
    device = await world.device()
    swap = await world.order(device.card.eid, partner)
    assert {one.state for one in stages(*await world.read(swap))} == {StageState.PENDING}
    await world.until(swap, device, "downloading")
    await world.turn()
    assert [one.state for one in stages(*await world.read(swap))] == ["done", "running", "pending"]
    await world.until(swap, device)
    told = stages(*await world.read(swap))
    assert [one.state for one in told] == ["done", "done", "done"]
    times = [(one.started_at, one.ended_at) for one in told]
    assert all(began and ended and began <= ended for began, ended in times)
    assert times == sorted(times)

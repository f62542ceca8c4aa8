"""Whole swaps to a carrier with an SM-DP+ of its own: card, platform and both servers agree afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from smdp.ordering import DownloadOrder
from smdp.policy import Policy
from swap.plan import Way
from swap.record import About, Outcome, Swap
from tests.eim_stage import LEAD, Device
from tests.foreign_swap_stage import ForeignSwaps
from tests.protocol_stage import TYPE, Clock, Material
from tests.swap_stage import ACCOUNT, INVENTORY, SimLine, no_attach

STOCKED = SimLine(account=INVENTORY, status="INVENTORY", billed=0)
BILLED = SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
Open = Callable[..., Awaitable[ForeignSwaps]]


@pytest.fixture
async def opened(
    database: str, other_database: str, material: Material, abroad: Material, clock: Clock, policy: Policy
) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def make(**habits: Any) -> ForeignSwaps:
            both = (database, other_database), (material, abroad)
            return await stack.enter_async_context(ForeignSwaps.opened(*both, clock, policy, **habits))

        yield make


@pytest.fixture
async def foreign(opened: Open) -> ForeignSwaps:
    return await opened()


async def asked_about(foreign: ForeignSwaps, swap: Swap) -> list[About]:
    """What people are asked."""
    _, history = await foreign.world.read(swap)
    return [action.about for action in history.actions]


async def test_a_swap_downloads_from_the_carriers_server_and_its_card_reports_there(foreign: ForeignSwaps) -> None:
    world = foreign.world
    iccid = await foreign.stocked()
    device = await foreign.device()
    swap = await world.order(device.card.eid, foreign.partner)
    assert swap.plan.way is Way.FULL
    ended = await foreign.until(swap, device)
    assert (ended.state, ended.iccid, ended.attention, ended.activation_sealed) == ("completed", iccid, "", None)
    assert device.states() == {str(LEAD): False, str(iccid): True}
    assert world.line(foreign.partner, iccid) == BILLED
    assert await foreign.abroad(iccid) == ("ordered", "installed")
    assert ("installed", True) in await foreign.notes()
    (record,) = await foreign.records()
    assert (record["iccid"], record["told"], record["ended_at"]) == (str(iccid), "installed", None)
    # Nothing of it is ours: no order, no session here.
    counts = [await world.smdp.tables.fetchval(f"SELECT count(*) FROM {table}") for table in ("orders", "sessions")]
    assert counts == [0, 0]
    _, history = await world.read(swap)
    done = [(step, 1, Outcome.DONE) for step in swap.plan.steps]
    assert [(line.step, line.attempt, line.outcome) for line in history.ledger] == done
    download = next(line for line in history.ledger if line.step == "download_profile")
    assert download.evidence.endswith("and the SM-DP+: installed")


LOST = [
    (("reports",), {"vendor": False}),
    (("notifications",), {}),
    (("notifications", "reports"), {"vendor": False}),
]


@pytest.mark.parametrize(("loses", "habits"), LOST, ids=str)
async def test_a_server_that_tells_nothing_does_not_hold_a_swap_whose_card_has_spoken(
    opened: Open, loses: tuple[str, ...], habits: dict[str, bool]
) -> None:
    foreign = await opened(**habits)
    world = foreign.world
    iccid = await foreign.stocked()
    device = await foreign.device()
    foreign.loses.update(loses)
    swap = await world.order(device.card.eid, foreign.partner)
    await foreign.until(swap, device, "downloading")
    for _ in range(4):
        await foreign.turn(device)
    found, _ = await world.read(swap)
    assert (found.state, device.states()) == ("downloading", {str(LEAD): True, str(iccid): False})
    world.clock.advance(minutes=11)
    ended = await foreign.until(swap, device)
    assert ended.state == "completed"
    assert world.line(foreign.partner, iccid) == BILLED
    _, history = await world.read(swap)
    download = next(line for line in history.ledger if line.step == "download_profile")
    assert download.evidence.endswith("the SM-DP+ has no report")


async def test_a_report_makes_the_swap_due_at_once(foreign: ForeignSwaps) -> None:
    world = foreign.world
    await foreign.stocked()
    device = await foreign.device()
    swap = await world.order(device.card.eid, foreign.partner)
    await reach(foreign, swap, device, "downloading")
    await device.ipa.poll()
    await world.judged()
    await world.run()
    # The card has spoken, its server not yet: the swap looks again later, unless it is told.
    later, _ = await world.read(swap)
    assert (later.state, later.due_at > world.clock.now()) == ("downloading", True)
    await foreign.told()
    woken, _ = await world.read(swap)
    assert woken.due_at <= world.clock.now()
    await world.run()
    assert (await world.read(swap))[0].state == "installed"


async def test_the_way_back_to_the_lead_asks_the_carriers_server_nothing(foreign: ForeignSwaps) -> None:
    world = foreign.world
    iccid = await foreign.stocked()
    device = await foreign.device()
    await foreign.until(await world.order(device.card.eid, foreign.partner), device)
    before = await foreign.abroad(iccid)
    world.clock.advance(minutes=5)
    back = await foreign.until(await world.order(device.card.eid, world.lead), device)
    assert (back.state, back.plan.way) == ("completed", Way.HELD)
    assert await foreign.abroad(iccid) == before
    # And once more: the card holds the profile, so nothing is ordered.
    world.clock.advance(minutes=5)
    again = await foreign.until(await world.order(device.card.eid, foreign.partner), device)
    assert (again.state, again.plan.way, again.iccid) == ("completed", Way.HELD, iccid)
    assert len(await foreign.records()) == 1


RETURNS = [
    ("retire", [About.KEPT_PROFILE], ("ordered", "installed"), "kept"),
    ("stock", [], ("available", "deleted"), "in_stock"),
    ("reuse", [], ("available", "cancelled"), "in_stock"),
]


@pytest.mark.parametrize(("after", "asked", "there", "ending"), RETURNS)
async def test_no_attach_rolls_back_and_the_servers_own_rule_for_deleted_profiles_is_told_as_it_is(
    opened: Open, after: str, asked: list[About], there: tuple[str, str], ending: str
) -> None:
    foreign = await opened(after_deletion=after)
    world = foreign.world
    iccid = await foreign.stocked()
    device = await foreign.device()
    no_attach(device, iccid)
    swap = await world.order(device.card.eid, foreign.partner)
    ended = await foreign.until(swap, device, patient=True)
    assert ended.state == "rolled_back"
    assert device.states() == {str(LEAD): True}
    assert world.line(foreign.partner, iccid) == STOCKED
    assert await asked_about(foreign, swap) == asked
    (record,) = await foreign.records()
    assert (record["ending"], record["matching_sealed"]) == (ending, None)
    assert await foreign.abroad(iccid) == there


async def test_a_server_that_hears_late_of_the_deletion_is_waited_for(opened: Open) -> None:
    foreign = await opened(after_deletion="stock")
    world = foreign.world
    iccid = await foreign.stocked()
    device = await foreign.device()
    no_attach(device, iccid)
    swap = await world.order(device.card.eid, foreign.partner)
    await foreign.until(swap, device, "enabling")
    foreign.loses.add("notifications")
    await foreign.until(swap, device, "undoing")
    for _ in range(10):
        await foreign.turn(device)
    found, history = await world.read(swap)
    assert (found.state, found.step, history.actions) == ("undoing", "return_profile", ())
    assert history.timeline[-1].text.endswith("back in stock yet")
    assert await foreign.abroad(iccid) == ("ordered", "installed")
    foreign.loses.clear()
    ended = await foreign.until(swap, device)
    assert (ended.state, await asked_about(foreign, swap)) == ("rolled_back", [])
    assert await foreign.abroad(iccid) == ("available", "deleted")
    assert [record["ending"] for record in await foreign.records()] == ["in_stock"]


CANCELLED_AT = ["allocating", "preparing", "downloading", "installed", "enabling"]


@pytest.mark.parametrize("vendor", [True, False], ids=["readable", "standard"])
@pytest.mark.parametrize("state", CANCELLED_AT)
async def test_a_swap_cancelled_before_its_pivot_leaves_nothing_behind(opened: Open, state: str, vendor: bool) -> None:
    foreign = await opened(vendor=vendor, after_deletion="stock")
    world = foreign.world
    iccid = await foreign.stocked()
    device = await foreign.device()
    swap = await world.order(device.card.eid, foreign.partner)
    await reach(foreign, swap, device, state)
    for _ in range(2):
        await world.swaps.desk.cancel(world.tenant_id, swap.id, "test")
    ended = await foreign.until(swap, device, patient=True)
    assert (ended.state, ended.reason) == ("cancelled", "cancelled")
    assert device.states() == {str(LEAD): True}
    assert world.line(foreign.partner, iccid) == STOCKED
    profile, _ = await foreign.abroad(iccid)
    assert profile == "available"
    # A server that cannot be asked does not tell that it has taken an installed profile back: a person looks.
    unsure = not vendor and state in ("installed", "enabling")
    assert await asked_about(foreign, swap) == ([About.KEPT_PROFILE] if unsure else [])
    ordered = [] if state == "allocating" else ["kept" if unsure else "in_stock"]
    assert [record["ending"] for record in await foreign.records()] == ordered
    open_operations = "SELECT count(*) FROM esim_operations WHERE ended_at IS NULL"
    assert await world.smdp.tables.fetchval(open_operations) == 0


async def reach(foreign: ForeignSwaps, swap: Swap, device: Device, state: str) -> None:
    """Step by step, so that the swap stands in `state` and what it asked of the device is not fetched yet."""
    world = foreign.world
    saga = world.swaps.saga()
    for _ in range(60):
        found, history = await world.read(swap)
        if found.state == state and (state in ("allocating", "preparing") or history.entry(found.step, 1)):
            return
        if not await saga.run_due(1, 60.0):
            await device.ipa.poll()
            await world.judged()
            await foreign.told()
            world.clock.advance(seconds=2)
    raise AssertionError(f"never {state}")


async def test_an_empty_stock_abroad_ends_the_swap_before_anything_was_allocated(foreign: ForeignSwaps) -> None:
    world = foreign.world
    device = await foreign.device()
    await foreign.server.stock()
    stage = foreign.server.stage
    taken = await stage.ordering.download_order(
        stage.call(foreign.server.operator_id), DownloadOrder(profile_type=TYPE)
    )
    swap = await world.order(device.card.eid, foreign.partner)
    ended = await foreign.until(swap, device)
    assert ended.state == "failed"
    assert "8.2.5/3.7" in ended.reason
    assert (foreign.partner.book.transfers, await foreign.records(), ended.iccid) == ([], [], None)
    assert (await foreign.abroad(taken))[0] == "ordered"


async def test_a_server_that_is_away_holds_the_swap_and_nothing_is_undone_on_doubt(foreign: ForeignSwaps) -> None:
    world = foreign.world
    iccid = await foreign.stocked()
    device = await foreign.device()
    swap = await world.order(device.card.eid, foreign.partner)
    url = await moved(foreign, "https://127.0.0.1:9")
    for _ in range(3):
        await foreign.turn(device)
    found, _ = await world.read(swap)
    assert (found.state, found.step, found.attempt) == ("allocating", "reserve_profile", 1)
    world.clock.advance(minutes=11)
    await foreign.turn(device)
    found, _ = await world.read(swap)
    assert found.attention.startswith("not known yet")
    # Even the wish to cancel waits until it is known what there is to be undone.
    await world.swaps.desk.cancel(world.tenant_id, swap.id, "test")
    await foreign.turn(device)
    assert (await world.read(swap))[0].state == "allocating"
    await moved(foreign, url)
    ended = await foreign.until(swap, device)
    assert ended.state == "cancelled"
    assert (await foreign.abroad(iccid))[0] == "available"
    assert world.line(foreign.partner, iccid) == STOCKED


async def moved(foreign: ForeignSwaps, url: str) -> str:
    """The carrier's server is elsewhere from now on; where it was."""
    tables = foreign.world.smdp.tables
    before = str(await tables.fetchval("SELECT smdp_url FROM carriers WHERE smdp_url <> ''"))
    await tables.execute("UPDATE carriers SET smdp_url = $1, version = version + 1 WHERE smdp_url <> ''", url)
    return before


async def test_an_offline_device_runs_out_of_time_and_everything_goes_back(foreign: ForeignSwaps) -> None:
    world = foreign.world
    iccid = await foreign.stocked()
    device = await foreign.device()
    swap = await world.order(device.card.eid, foreign.partner)
    await foreign.until(swap, None, "downloading")
    await foreign.turn(None)
    world.clock.advance(days=8)
    await world.eim.eim.packages.expire_due()
    ended = await foreign.until(swap, None)
    assert (ended.state, ended.reason) == ("failed", "the swap ran out of time")
    assert world.line(foreign.partner, iccid) == STOCKED
    assert await foreign.abroad(iccid) == ("available", "cancelled")
    assert device.states() == {str(LEAD): True}


async def test_a_swap_goes_on_from_there_to_a_carrier_whose_profiles_lie_here(foreign: ForeignSwaps) -> None:
    world = foreign.world
    abroad = await foreign.stocked()
    device = await foreign.device()
    await foreign.until(await world.order(device.card.eid, foreign.partner), device)
    other = await world.partner("ours")
    own = await world.stocked(other)
    world.clock.advance(minutes=5)
    ended = await foreign.until(await world.order(device.card.eid, other), device)
    assert (ended.state, ended.plan.source and ended.plan.source.name) == ("completed", "abroad")
    assert device.states() == {str(LEAD): False, str(abroad): False, str(own): True}
    assert await foreign.abroad(abroad) == ("ordered", "installed")
    assert await world.stock_of(own) == ("ordered", "installed")

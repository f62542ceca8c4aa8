"""A swap that waits for its device is due when the card has answered, and costs nothing until then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from eim.ports import Report, ResultVerdict, ResultWrite
from rsp.identifiers import Eid
from server.hints import Bells, HintingSwaps, Queue, Unheard
from server.swap_wiring import Waking
from smdp.policy import Policy
from store.eim_results import Results
from store.swaps import Swaps
from swap.record import Advance, Swap
from swap.swap import StepName
from tests.eim_stage import LEAD, Device
from tests.protocol_stage import Clock, Material
from tests.swap_stage import ACCOUNT, TIMING, SimLine, SwapStage

HOUR = timedelta(hours=1)


@pytest.fixture
async def world(database: str, material: Material, clock: Clock, policy: Policy) -> AsyncIterator[SwapStage]:
    async with SwapStage.opened(database, material, clock, policy) as opened:
        yield opened


def _wired(world: SwapStage) -> None:
    """Roles joined as the server joins them."""
    waking = Waking(world.smdp.pool, Unheard(), world.clock.now)
    world.smdp.notifications._judged = waking.of_cards


async def _run(world: SwapStage) -> int:
    """What is due runs; swaps that wait for their device look after an hour."""
    saga = world.swaps.saga()
    saga._timing = replace(TIMING, soonest=HOUR, device=HOUR)
    done = 0
    while count := await saga.run_due(8, 60.0):
        done += count
    return done


async def _lived(world: SwapStage, device: Device, swap: Swap, turns: int) -> Swap:
    for _ in range(turns):
        await _run(world)
        await device.ipa.poll()
        await world.judged()
        world.clock.advance(seconds=2)
    return (await world.read(swap))[0]


async def test_what_the_card_answers_is_followed_up_without_another_look(world: SwapStage) -> None:
    _wired(world)
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    begun = world.clock.now()
    ended = await _lived(world, device, await world.order(device.card.eid, partner), 20)
    assert world.clock.now() - begun < HOUR
    assert ended.state == "completed"
    assert device.states() == {str(LEAD): False, str(iccid): True}
    assert world.line(partner, iccid) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
    assert len(partner.book.transfers) == 1


class Deaf(Results):
    """Results of which no swap hears."""

    async def settle(
        self, verdict: ResultVerdict, reports: tuple[Report, ...], now: datetime, write: ResultWrite | None = None
    ) -> None:
        await super().settle(replace(verdict, answered=None), reports, now, write)


async def test_a_swap_that_nobody_wakes_goes_on_at_its_next_look(world: SwapStage) -> None:
    world.eim.eim.results._store = Deaf(world.eim.pool)
    partner = await world.partner("partner")
    await world.stocked(partner)
    device = await world.device()
    swap = await world.order(device.card.eid, partner)
    waiting = await _lived(world, device, swap, 20)
    assert (waiting.step, waiting.ended_at) == (StepName.DOWNLOAD, None)
    world.clock.advance(seconds=3600)
    assert await _run(world) > 0
    assert (await world.read(swap))[0].step is StepName.CONFIRM


async def test_only_the_running_swap_of_that_esim_is_woken(world: SwapStage) -> None:
    partner = await world.partner("partner")
    swaps = []
    for _ in range(2):
        await world.stocked(partner)
        swaps.append(await world.order((await world.device()).card.eid, partner))
    await _run(world)
    world.clock.advance(seconds=2)
    assert await _run(world) == 0
    store = Swaps(world.smdp.pool)
    await store.wake([swaps[1].eid], world.clock.now())
    await store.wake([swaps[1].eid], world.clock.now())
    assert [one.swap.id for one in await store.claim_due(world.clock.now(), 8, 60.0)] == [swaps[1].id]


async def test_runners_hear_of_swaps_that_were_woken_and_of_nothing_else(world: SwapStage) -> None:
    partner = await world.partner("partner")
    await world.stocked(partner)
    swap = await world.order((await world.device()).card.eid, partner)
    bells = Bells()
    bell = bells.bell(Queue.SWAPS)
    store = HintingSwaps(world.smdp.pool, bells)
    stranger = Eid("89049032000000000000000000000042")
    assert (await store.wake([stranger], world.clock.now()), bell.kept) == (0, 0)
    assert (await store.wake([stranger, swap.eid], world.clock.now()), bell.kept) == (1, 1)


async def test_a_swap_woken_while_its_step_runs_is_due_right_after_and_loses_no_work(world: SwapStage) -> None:
    partner = await world.partner("partner")
    await world.stocked(partner)
    swap = await world.order((await world.device()).card.eid, partner)
    store, now = Swaps(world.smdp.pool), world.clock.now()
    (taken,) = await store.claim_due(now, 1, 60.0)
    claimed = taken.swap
    await store.wake([swap.eid], now)
    assert await store.claim_due(now, 1, 60.0) == []
    later = replace(claimed, due_at=now + HOUR, attention="kept")
    await store.advance(Advance(swap=later), claimed.due_at, now)
    (taken,) = await store.claim_due(now, 1, 60.0)
    again = taken.swap
    assert (again.due_at, again.attention) == (now, "kept")
    await store.advance(Advance(swap=replace(again, due_at=now + HOUR)), again.due_at, now)
    assert await store.claim_due(now, 1, 60.0) == []


async def test_wakes_without_number_run_nothing_twice(world: SwapStage) -> None:
    _wired(world)
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    swap = await world.order(device.card.eid, partner)
    store = Swaps(world.smdp.pool)
    for _ in range(20):
        await asyncio.gather(_run(world), store.wake([swap.eid], world.clock.now()), _run(world))
        await device.ipa.poll()
        await world.judged()
        world.clock.advance(seconds=2)
    ended, history = await world.read(swap)
    assert ended.state == "completed"
    assert [(one.step, one.attempt) for one in history.ledger] == [(step, 1) for step in swap.plan.steps]
    assert len(partner.book.transfers) == 1
    assert world.line(partner, iccid) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)

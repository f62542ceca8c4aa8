"""Several processes run the swaps of one database: each step is run by one of them, and those of a dead one go on."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from swap_processes import Ran, RealClock, Runner

from rsp.identifiers import Iccid
from simulator.platforms.control_center import Trouble
from simulator.platforms.control_center_book import Transfer
from smdp.policy import Policy
from swap.record import Outcome, Swap
from tests.eim_stage import LEAD, SMDP, Device
from tests.protocol_stage import Material
from tests.swap_stage import ACCOUNT, INVENTORY, Operator, RealSeconds, SimLine, SwapStage

PROCESSES, PARTNERS, EACH = 2, 4, 2
LEASE = 60.0
"""Seconds: longer than any call to a platform and its wait for a turn, as the saga asks."""
GUARD_SECONDS = 400.0


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return Material.make(tmp_path_factory.mktemp("material"))


@pytest.fixture
async def world(database: str, material: Material) -> AsyncIterator[SwapStage]:
    policy = Policy(server_names=(SMDP,))
    async with SwapStage.opened(database, material, RealClock(), policy, seconds=RealSeconds()) as opened:
        yield opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A swap that runs, its device and its partner."""

    swap: Swap
    device: Device
    partner: Operator


async def _job(world: SwapStage, partner: Operator) -> Job:
    await world.stocked(partner)
    device = await world.device()
    return Job(swap=await world.order(device.card.eid, partner), device=device, partner=partner)


async def _carried(world: SwapStage, jobs: list[Job]) -> list[Swap]:
    """The swaps at their ends; their devices poll, and what they report is judged here."""
    async with asyncio.timeout(GUARD_SECONDS):
        while True:
            found = [(await world.read(job.swap))[0] for job in jobs]
            if all(one.ended_at is not None for one in found):
                return found
            for job, one in zip(jobs, found, strict=True):
                if one.ended_at is None:
                    await job.device.ipa.poll()
            await world.judged()


async def _assert_done_once(world: SwapStage, job: Job, ended: Swap) -> Iccid:
    _, history = await world.read(ended)
    assert ended.state == "completed"
    assert [(one.step, one.attempt, one.outcome) for one in history.ledger] == [
        (step, 1, Outcome.DONE) for step in ended.plan.steps
    ]
    assert [one.text for one in history.timeline if one.text.endswith(": done")] == [
        f"{step.value}: done" for step in ended.plan.steps
    ]
    assert ended.iccid is not None
    assert job.device.states() == {str(LEAD): False, str(ended.iccid): True}
    assert world.line(job.partner, ended.iccid) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
    calls = "SELECT count(*), count(DISTINCT call_id) FROM es2_calls WHERE call_id LIKE $1"
    assert tuple(await world.smdp.tables.fetchrow(calls, f"swap-{ended.id}-%")) == (2, 2)
    return ended.iccid


def _overlaps(ran: list[Ran]) -> list[tuple[Ran, Ran]]:
    """Steps of one swap that ran at the same time."""
    found = []
    for _, group in itertools.groupby(sorted(ran, key=lambda one: (one.swap_id, one.since)), lambda one: one.swap_id):
        for earlier, later in itertools.pairwise(group):
            if earlier.until is None or earlier.until > later.since:
                found.append((earlier, later))
    return found


async def test_two_processes_share_many_swaps_and_never_run_one_together(
    world: SwapStage, database: str, material: Material
) -> None:
    partners = [await world.partner(f"partner-{number}") for number in range(PARTNERS)]
    jobs = [await _job(world, partner) for partner in partners for _ in range(EACH)]
    runners = [await Runner.started(database, material, LEASE) for _ in range(PROCESSES)]
    try:
        ended = await _carried(world, jobs)
    finally:
        for runner in runners:
            await runner.killed()
    brought = [await _assert_done_once(world, job, one) for job, one in zip(jobs, ended, strict=True)]
    for partner in partners:
        assert partner.platform is not None
        mine = [iccid for job, iccid in zip(jobs, brought, strict=True) if job.partner is partner]
        assert Counter(partner.book.transfers) == Counter(
            Transfer(iccid=iccid, source=INVENTORY, target=ACCOUNT) for iccid in mine
        )
        # A plan asks once about the line in use, which is not here; allocation and billing read twice and change once.
        counts = {name: partner.platform.count(name) for name in ("read", "transfer", "edit")}
        assert counts == {"read": 5 * EACH, "transfer": EACH, "edit": EACH}
        statuses = Counter(seen.status for seen in partner.platform.seen)
        assert (statuses.pop(200) > 0, statuses) == (True, {404: EACH})
    ran = [runner.ran() for runner in runners]
    assert all(ran)
    assert _overlaps([one for each in ran for one in each]) == []
    steps = {(one.swap_id, one.step) for each in ran for one in each}
    assert steps == {(one.id, step.value) for one in ended for step in one.plan.steps}


async def test_a_living_process_keeps_its_swap_and_a_dead_ones_is_taken_over(
    world: SwapStage, database: str, material: Material
) -> None:
    partner = await world.partner("partner")
    job = await _job(world, partner)
    assert partner.platform is not None
    partner.platform.fail_next("transfer", Trouble.HELD)
    first = await Runner.started(database, material, LEASE)
    await partner.platform.wait_until_held(within=GUARD_SECONDS)
    second = await Runner.started(database, material, LEASE)
    try:
        claimed = "SELECT claimed_by FROM swaps WHERE id = $1"
        owner = await world.smdp.tables.fetchval(claimed, job.swap.id)
        await first.killed()
        (cut,) = [one for one in first.ran() if one.until is None]
        assert cut.step == "allocate_sim"
        assert second.ran() == []
        # Time passes: the leases of the dead one, on the swap and on the platform's line, run out.
        await world.smdp.tables.execute(
            "UPDATE swaps SET claimed_until = clock_timestamp() WHERE claimed_by = $1", owner
        )
        await world.smdp.tables.execute("DELETE FROM platform_lines")
        # The platform does what the dead one had asked for; nobody hears it answer.
        partner.platform.resume()
        (ended,) = await _carried(world, [job])
    finally:
        await second.killed()
    assert await world.smdp.tables.fetchval(claimed, job.swap.id) != owner
    iccid = await _assert_done_once(world, job, ended)
    assert partner.book.transfers == [Transfer(iccid=iccid, source=INVENTORY, target=ACCOUNT)]
    assert (partner.platform.count("transfer"), partner.platform.count("edit")) == (1, 1)
    taken = [one for one in second.ran() if one.step == "allocate_sim"]
    assert taken
    assert taken[0].since > cut.since

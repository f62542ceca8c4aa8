"""Processes that run a swap are killed (SIGKILL) right after each step began; others go on, and it is done once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from swap_processes import RealClock, Runner

from smdp.policy import Policy
from swap.record import Outcome
from tests.eim_stage import LEAD, SMDP
from tests.protocol_stage import Material
from tests.swap_stage import ACCOUNT, INVENTORY, RealSeconds, SimLine, SwapStage

LEASE_SECONDS = 0.3


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return Material.make(tmp_path_factory.mktemp("material"))


@pytest.fixture
async def world(database: str, material: Material) -> AsyncIterator[SwapStage]:
    policy = Policy(server_names=(SMDP,))
    async with SwapStage.opened(database, material, RealClock(), policy, seconds=RealSeconds()) as opened:
        yield opened


async def test_a_swap_survives_the_death_of_every_process_that_ran_it(
    world: SwapStage, database: str, material: Material
) -> None:
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    swap = await world.order(device.card.eid, partner)
    process, begun, kills = await Runner.started(database, material, LEASE_SECONDS), 0, 0
    try:
        async with asyncio.timeout(400):
            while (await world.read(swap))[0].ended_at is None:
                lines = await world.smdp.tables.fetchval("SELECT count(*) FROM swap_steps")
                if lines > begun:
                    begun, kills = lines, kills + 1
                    await process.killed()
                    # Its lease on the calls to the platform has run out.
                    await world.smdp.tables.execute("DELETE FROM platform_lines")
                    process = await Runner.started(database, material, LEASE_SECONDS)
                await device.ipa.poll()
                await world.judged()
    finally:
        await process.killed()
    ended, history = await world.read(swap)
    assert kills >= 5
    assert ended.state == "completed"
    assert device.states() == {str(LEAD): False, str(iccid): True}
    assert world.line(partner, iccid) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
    assert [(one.source, one.target) for one in partner.book.transfers] == [(INVENTORY, ACCOUNT)]
    assert [(one.step, one.attempt, one.outcome) for one in history.ledger] == [
        (step, 1, Outcome.DONE) for step in ended.plan.steps
    ]

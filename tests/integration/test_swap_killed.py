"""Processes that run a swap are killed (SIGKILL) right after each step began; others go on, and it is done once."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from smdp.policy import Policy
from swap.record import Outcome
from tests.eim_stage import LEAD, SMDP
from tests.protocol_stage import Clock, Material
from tests.swap_stage import ACCOUNT, INVENTORY, RealSeconds, SimLine, SwapStage

ROOT = Path(__file__).resolve().parents[2]


class RealClock(Clock):
    """The time of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def advance(self, **time: float) -> None:
        """It passes by itself."""


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return Material.make(tmp_path_factory.mktemp("material"))


@pytest.fixture
async def world(database: str, material: Material) -> AsyncIterator[SwapStage]:
    policy = Policy(server_names=(SMDP,))
    async with SwapStage.opened(database, material, RealClock(), policy, seconds=RealSeconds()) as opened:
        yield opened


async def runner(database: str, material: Material) -> asyncio.subprocess.Process:
    """A process that runs swaps, once it does."""
    pki = material.pki.path
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.swap_runner", database, str(pki), str(pki.parent / "vault"),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"running\n"
    return process


async def test_a_swap_survives_the_death_of_every_process_that_ran_it(
    world: SwapStage, database: str, material: Material
) -> None:
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    swap = await world.order(device.card.eid, partner)
    process, begun, kills = await runner(database, material), 0, 0
    try:
        async with asyncio.timeout(120):
            while (await world.read(swap))[0].ended_at is None:
                lines = await world.smdp.tables.fetchval("SELECT count(*) FROM swap_steps")
                if lines > begun:
                    begun, kills = lines, kills + 1
                    process.send_signal(signal.SIGKILL)
                    await process.wait()
                    # Its lease on the calls to the platform has run out.
                    await world.smdp.tables.execute("DELETE FROM platform_lines")
                    process = await runner(database, material)
                await device.ipa.poll()
                await world.judged()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    ended, history = await world.read(swap)
    assert kills >= 5
    assert ended.state == "completed"
    assert device.states() == {str(LEAD): False, str(iccid): True}
    assert world.line(partner, iccid) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
    assert [(one.source, one.target) for one in partner.book.transfers] == [(INVENTORY, ACCOUNT)]
    assert [(one.step, one.attempt, one.outcome) for one in history.ledger] == [
        (step, 1, Outcome.DONE) for step in ended.plan.steps
    ]

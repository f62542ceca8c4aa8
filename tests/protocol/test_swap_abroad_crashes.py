"""The runner of a swap at somebody else's SM-DP+ dies before and after every write: nothing is ordered twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from test_swap_crashes import DyingPool, ledger, transfers

from rsp.errors import Unavailable
from rsp.identifiers import Iccid
from smdp.policy import Policy
from store.compiled import Statement
from store.pool import Pool, Row
from swap.record import Outcome, Swap
from tests.eim_stage import LEAD, Device
from tests.foreign_swap_stage import ForeignSwaps
from tests.protocol_stage import Clock, Material
from tests.swap_stage import ACCOUNT, INVENTORY, SimLine, no_attach

_MOST_WRITES = 80
_TURNS = 60
_WRITES = ("INSERT", "UPDATE", "DELETE")


class DyingWriter(DyingPool):
    """Dies at writes that answer a row, too."""

    async def fetch_one(self, statement: Statement, **values: object) -> Row | None:
        if not statement.sql.lstrip().startswith(_WRITES):
            return await super().fetch_one(statement, **values)
        self.count += 1
        turn = self.count
        self._die(turn, after=False)
        row = await super().fetch_one(statement, **values)
        self._die(turn, after=True)
        return row


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragile:
    """A world whose runner can be made to die."""

    foreign: ForeignSwaps
    pool: DyingWriter

    async def swapped(self, device: Device) -> Swap:
        """A swap to the partner, run to its end by processes that follow each other."""
        world = self.foreign.world
        swap = await self._ordered(device)
        for _ in range(_TURNS):
            found, _history = await world.read(swap)
            if found.ended_at is not None:
                return found
            with suppress(Unavailable):
                await world.run()
            # The lease of the one that died has run out.
            await world.smdp.tables.execute("UPDATE swaps SET claimed_until = NULL")
            await device.ipa.poll()
            await world.judged()
            # A report that meets a dying process is answered with 503 and comes again.
            await self.foreign.told()
            world.clock.advance(seconds=2)
        raise AssertionError("the swap does not end")

    async def _ordered(self, device: Device) -> Swap:
        """Ordered, by a caller who asks again under the same key when he gets no answer."""
        request = f"request of {device.card.eid}"
        world, partner = self.foreign.world, self.foreign.partner
        with suppress(Unavailable):
            return await world.order(device.card.eid, partner, request=request)
        return await world.order(device.card.eid, partner, request=request)


Open = Callable[..., Awaitable[Fragile]]


@pytest.fixture
async def opened(
    database: str, other_database: str, material: Material, abroad: Material, clock: Clock, policy: Policy
) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def make(**habits: Any) -> Fragile:
            made: list[DyingWriter] = []

            def around(pool: Pool) -> Pool:
                made.append(DyingWriter(pool))
                return made[0]

            both = (database, other_database), (material, abroad)
            world = ForeignSwaps.opened(*both, clock, policy, around=around, **habits)
            foreign = await stack.enter_async_context(world)
            return Fragile(foreign=foreign, pool=made[0])

        yield make


async def ordered_there(fragile: Fragile) -> int:
    """How many orders were ever opened at the carrier's server."""
    return int(await fragile.foreign.server.stage.tables.fetchval("SELECT count(*) FROM orders"))


@pytest.mark.parametrize(
    ("done_first", "vendor"), [(False, True), (True, False)], ids=["before-readable", "after-standard"]
)
async def test_a_swap_is_ordered_and_carried_out_once_wherever_its_runner_dies(
    opened: Open, done_first: bool, vendor: bool
) -> None:
    fragile = await opened(vendor=vendor)
    foreign, world = fragile.foreign, fragile.foreign.world
    for at in range(1, _MOST_WRITES):
        iccid = await foreign.stocked()
        device = await foreign.device()
        fragile.pool.arm(at, done_first=done_first)
        ended = await fragile.swapped(device)
        died = fragile.pool.count >= at
        fragile.pool.arm(0, done_first=False)
        assert (ended.state, ended.iccid) == ("completed", iccid)
        assert device.states() == {str(LEAD): False, str(iccid): True}
        assert world.line(foreign.partner, iccid) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
        assert transfers(foreign.partner, iccid) == [(INVENTORY, ACCOUNT)]
        assert await foreign.abroad(iccid) == ("ordered", "installed")
        assert await ordered_there(fragile) == len(await foreign.records()) == at
        assert await ledger(world, ended) == [(step.value, 1, Outcome.DONE) for step in ended.plan.steps]
        await device.ipa.close()
        if not died:
            return
    raise AssertionError("a swap makes more writes than expected")


@pytest.mark.parametrize("done_first", [False, True], ids=["before", "after"])
async def test_a_rollback_gives_the_profile_back_once_wherever_its_runner_dies(opened: Open, done_first: bool) -> None:
    fragile = await opened(after_deletion="stock")
    foreign, world = fragile.foreign, fragile.foreign.world
    for at in range(1, _MOST_WRITES):
        iccid = await foreign.stocked()
        device = await foreign.device()
        no_attach(device, iccid)
        fragile.pool.arm(at, done_first=done_first)
        ended = await fragile.swapped(device)
        died = fragile.pool.count >= at
        fragile.pool.arm(0, done_first=False)
        assert (ended.state, ended.iccid) == ("rolled_back", iccid)
        assert device.states() == {str(LEAD): True}
        assert world.line(foreign.partner, iccid) == SimLine(account=INVENTORY, status="INVENTORY", billed=0)
        assert transfers(foreign.partner, iccid) == [(INVENTORY, ACCOUNT), (ACCOUNT, INVENTORY)]
        assert await foreign.abroad(iccid) == ("available", "deleted")
        assert [record["ending"] for record in await foreign.records()] == ["in_stock"] * at
        assert await ordered_there(fragile) == at
        lines = await ledger(world, ended)
        assert len(lines) == len(set(lines)) == 11
        assert all(outcome is not None for _, _, outcome in lines)
        await device.ipa.close()
        await withdrawn(foreign, iccid)
        if not died:
            return
    raise AssertionError("a swap makes more writes than expected")


async def withdrawn(foreign: ForeignSwaps, iccid: Iccid) -> None:
    """The next round must not draw the same profile again."""
    tables = foreign.server.stage.tables
    await tables.execute("UPDATE profiles SET state = 'unavailable' WHERE iccid = $1", str(iccid))

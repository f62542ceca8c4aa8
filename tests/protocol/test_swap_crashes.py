"""The runner dies before and after every write of a swap: afterwards everything is as if it never had."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from rsp.errors import Unavailable
from rsp.identifiers import Iccid
from smdp.policy import Policy
from store.compiled import Statement
from store.pool import Connection, Pool, Row
from swap.record import Outcome, Swap
from tests.eim_stage import LEAD, Device
from tests.protocol_stage import Clock, Material
from tests.swap_stage import ACCOUNT, INVENTORY, Operator, SimLine, SwapStage, no_attach

_MOST_WRITES = 60
_TURNS = 60


class DyingPool(Pool):
    """A pool whose process dies once: at its write number `at`, before or after it.

    What a swap keeps in memory is lost with the exception, as it is with a process.
    """

    def __init__(self, inner: Pool) -> None:
        self._inner = inner
        self.count = 0
        self.at = 0
        self.done_first = False

    def arm(self, at: int, *, done_first: bool) -> None:
        """Die at write `at` from now, counted from 1; 0 never."""
        self.count, self.at, self.done_first = 0, at, done_first

    def _die(self, turn: int, *, after: bool) -> None:
        if turn == self.at and self.done_first is after:
            raise Unavailable("killed")

    async def execute(self, statement: Statement, **values: object) -> None:
        self.count += 1
        turn = self.count
        self._die(turn, after=False)
        await self._inner.execute(statement, **values)
        self._die(turn, after=True)

    async def fetch(self, statement: Statement, **values: object) -> list[Row]:
        if "SKIP LOCKED" not in statement.sql:
            return await self._inner.fetch(statement, **values)
        self.count += 1
        turn = self.count
        self._die(turn, after=False)
        rows = await self._inner.fetch(statement, **values)
        self._die(turn, after=True)
        return rows

    async def fetch_one(self, statement: Statement, **values: object) -> Row | None:
        return await self._inner.fetch_one(statement, **values)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        self.count += 1
        turn = self.count
        async with self._inner.transaction() as connection:
            yield connection
            self._die(turn, after=False)
        self._die(turn, after=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragile:
    """A world whose runner can be made to die."""

    world: SwapStage
    pool: DyingPool
    partner: Operator

    async def swapped(self, device: Device) -> Swap:
        """A swap to the partner, run to its end by processes that follow each other."""
        world = self.world
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
            world.clock.advance(seconds=2)
        raise AssertionError("the swap does not end")

    async def _ordered(self, device: Device) -> Swap:
        """Ordered, by a caller who asks again under the same key when he gets no answer."""
        request = f"request of {device.card.eid}"
        with suppress(Unavailable):
            return await self.world.order(device.card.eid, self.partner, request=request)
        return await self.world.order(device.card.eid, self.partner, request=request)


@pytest.fixture
async def fragile(database: str, material: Material, clock: Clock, policy: Policy) -> AsyncIterator[Fragile]:
    made: list[DyingPool] = []

    def around(pool: Pool) -> Pool:
        made.append(DyingPool(pool))
        return made[0]

    async with SwapStage.opened(database, material, clock, policy, around=around) as world:
        yield Fragile(world=world, pool=made[0], partner=await world.partner("partner"))


async def ledger(world: SwapStage, swap: Swap) -> list[tuple[str, int, Outcome | None]]:
    """Step, attempt and outcome of every line."""
    _, history = await world.read(swap)
    return [(entry.step.value, entry.attempt, entry.outcome) for entry in history.ledger]


def transfers(operator: Operator, iccid: Iccid) -> list[tuple[str, str]]:
    """Where the SIM was moved from and to."""
    return [(one.source, one.target) for one in operator.book.transfers if one.iccid == iccid]


@pytest.mark.parametrize("done_first", [False, True], ids=["before", "after"])
async def test_a_swap_is_carried_out_once_wherever_its_runner_dies(fragile: Fragile, done_first: bool) -> None:
    world = fragile.world
    for at in range(1, _MOST_WRITES):
        iccid = await world.stocked(fragile.partner)
        device = await world.device()
        fragile.pool.arm(at, done_first=done_first)
        ended = await fragile.swapped(device)
        died = fragile.pool.count >= at
        fragile.pool.arm(0, done_first=False)
        assert (ended.state, ended.iccid) == ("completed", iccid)
        assert device.states() == {str(LEAD): False, str(iccid): True}
        assert world.line(fragile.partner, iccid) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
        assert transfers(fragile.partner, iccid) == [(INVENTORY, ACCOUNT)]
        assert ended.enabled_at is not None
        assert fragile.partner.book.billed(iccid)[0].since >= ended.enabled_at
        assert await world.stock_of(iccid) == ("ordered", "installed")
        assert await ledger(world, ended) == [(step.value, 1, Outcome.DONE) for step in ended.plan.steps]
        await device.ipa.close()
        if not died:
            return
    raise AssertionError("a swap makes more writes than expected")


@pytest.mark.parametrize("done_first", [False, True], ids=["before", "after"])
async def test_a_rollback_is_undone_once_wherever_its_runner_dies(fragile: Fragile, done_first: bool) -> None:
    world = fragile.world
    for at in range(1, _MOST_WRITES):
        iccid = await world.stocked(fragile.partner)
        device = await world.device()
        no_attach(device, iccid)
        fragile.pool.arm(at, done_first=done_first)
        ended = await fragile.swapped(device)
        died = fragile.pool.count >= at
        fragile.pool.arm(0, done_first=False)
        assert (ended.state, ended.iccid) == ("rolled_back", iccid)
        assert device.states() == {str(LEAD): True}
        assert world.line(fragile.partner, iccid) == SimLine(account=INVENTORY, status="INVENTORY", billed=0)
        assert transfers(fragile.partner, iccid) == [(INVENTORY, ACCOUNT), (ACCOUNT, INVENTORY)]
        assert await world.stock_of(iccid) == ("available", "deleted")
        lines = await ledger(world, ended)
        assert len(lines) == len(set(lines)) == 11
        assert all(outcome is not None for _, _, outcome in lines)
        await device.ipa.close()
        # The next round must not draw the same profile again.
        await world.smdp.tables.execute("UPDATE profiles SET state = 'unavailable' WHERE iccid = $1", str(iccid))
        if not died:
            return
    raise AssertionError("a swap makes more writes than expected")

"""The eIM loses its database at every statement of an operation: it ends once, and no counter is used twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import pytest

from eim.operation import OperationKind
from rsp import esep, tlv
from rsp.errors import Unavailable
from simulator.exchange import Retries
from simulator.ipa import IpaOptions
from store.compiled import Statement
from store.pool import Arguments, Connection, Pool, Row
from tests.eim_stage import LEAD, TARGET, EimStage
from tests.protocol_stage import Clock, Material

T = TypeVar("T")
_MOST_STATEMENTS = 24
_ROUNDS = 6


class FaultyPool(Pool):
    """A pool that loses the database once: at its statement (or transaction) number `at`, before it or after it.

    The process keeps nothing of a request that raises, so this is what a process finds that comes after a killed one.
    """

    def __init__(self, inner: Pool) -> None:
        self._inner = inner
        self.count = 0
        self.at = 0
        self.done_first = False

    def arm(self, at: int, *, done_first: bool) -> None:
        """Fail at statement `at` from now, counted from 1; 0 never."""
        self.count, self.at, self.done_first = 0, at, done_first

    async def _run(self, work: Callable[[], Awaitable[T]]) -> T:
        self.count += 1
        turn = self.count
        if turn == self.at and not self.done_first:
            raise Unavailable("lost before")
        answer = await work()
        if turn == self.at and self.done_first:
            raise Unavailable("lost after")
        return answer

    async def run(self, statement: Statement, runs: Sequence[Arguments]) -> list[Row]:
        return await self._run(lambda: self._inner.run(statement, runs))

    async def execute(self, statement: Statement, **values: object) -> None:
        await self._run(lambda: self._inner.execute(statement, **values))

    async def fetch(self, statement: Statement, **values: object) -> list[Row]:
        return await self._run(lambda: self._inner.fetch(statement, **values))

    async def fetch_one(self, statement: Statement, **values: object) -> Row | None:
        return await self._run(lambda: self._inner.fetch_one(statement, **values))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        self.count += 1
        turn = self.count
        async with self._inner.transaction() as connection:
            yield connection
            if turn == self.at and not self.done_first:
                raise Unavailable("lost before the commit")
        if turn == self.at and self.done_first:
            raise Unavailable("lost after the commit")

    async def close(self) -> None:
        await self._inner.close()


@pytest.fixture
async def pools() -> list[FaultyPool]:
    return []


@pytest.fixture
async def eim(database: str, material: Material, clock: Clock, pools: list[FaultyPool]) -> AsyncIterator[EimStage]:
    def around(pool: Pool) -> Pool:
        pools.append(FaultyPool(pool))
        return pools[-1]

    async with EimStage.opened(database, material, clock, around=around) as opened:
        yield opened


def recorded(eim: EimStage) -> dict[int, set[bytes]]:
    """Every eUICC package that leaves from now on, by its counter."""
    seen: dict[int, set[bytes]] = defaultdict(set)
    poll = eim.eim.polling.get_eim_package

    async def record(request: esep.GetEimPackage) -> bytes:
        answer = await poll(request)
        for package in tlv.read_only(answer, 0xBF4F).children():
            if package.tag == 0xBF51:
                counter = package.members()[0x30].members()[0x81].integer()
                seen[counter].add(package.raw)
        return answer

    eim.eim.polling.get_eim_package = record  # type: ignore[method-assign]  # a listener on the way out
    return seen


async def _rounds(eim: EimStage, device_poll: Callable[[], Awaitable[object]]) -> None:
    for _ in range(_ROUNDS):
        await device_poll()
        with suppress(Unavailable):
            await eim.judge()
        await eim.tables.execute("UPDATE eim_results SET claimed_until = NULL")


@pytest.mark.parametrize("done_first", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("rollback", [False, True], ids=["without rollback", "with rollback"])
async def test_an_operation_ends_once_wherever_the_database_is_lost(
    eim: EimStage, pools: list[FaultyPool], done_first: bool, rollback: bool
) -> None:
    (pool,) = pools
    seen = recorded(eim)
    points = 0
    for at in range(1, _MOST_STATEMENTS):
        pool.arm(0, done_first=False)
        seen.clear()
        device = await eim.device(options=IpaOptions(result_retries=Retries(attempts=1)))
        eid = device.card.eid
        await eim.queue(eid, OperationKind.LIST)
        await eim.queue(eid, OperationKind.ENABLE, iccid=TARGET, rollback=rollback)
        pool.arm(at, done_first=done_first)
        await _rounds(eim, device.ipa.poll)
        await device.ipa.close()
        points += pool.count >= at
        listed, enabled = (await eim.seen(eid))[:2]
        assert (listed.state, listed.code) == ("done", 0), at
        assert enabled.state in (("done", "rolled_back") if rollback else ("done",)), at
        is_on = enabled.state == "done"
        assert device.states() == {str(LEAD): not is_on, str(TARGET): is_on}, at
        assert await eim.known(eid) == device.states(), at
        assert all(len(bytes_of_counter) == 1 for bytes_of_counter in seen.values()), at
        assert await eim.counter(eid) == max(seen), at
        assert await eim.tables.fetchval("SELECT count(*) FROM eim_results WHERE judged_at IS NULL") == 0
        counters = [one.counter for one in await eim.seen(eid) if one.counter is not None]
        assert len(counters) == len(set(counters)), at
    assert points > 12, "the statements of polls, results and judgements were gone through"

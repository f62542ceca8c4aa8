"""Runs that travel together: one transaction, each answered its own, and none harmed by another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from rsp.errors import Unavailable
from smdp.ports import TransitionLost
from store import gathering
from store.compiled import Statement
from store.gathering import Gathering
from store.pool import Arguments, Pool, Row, open_pool

GUARD_SECONDS = 20.0
_KEEP = Statement("INSERT INTO marks VALUES ($1, pg_current_xact_id()::text)", ("mark",))
_DOUBLE = Statement("SELECT $1::int * 2 AS double, $2::int AS turn WHERE $1 > 0", ("number", "turn"))
_GUARDED = Statement(
    "WITH done AS (UPDATE marks SET mark = mark || '!' WHERE mark = $1 RETURNING 1)"
    " SELECT require_rows((SELECT count(*) FROM done), 1)",
    ("mark",),
)
_LOCKING = Statement("SELECT pg_advisory_xact_lock($1)", ("key",))


class Counted(Pool):
    """A pool that remembers the size of every crowd."""

    crowds: list[int]

    async def run(self, statement: Statement, runs: Sequence[Arguments]) -> list[Row]:
        self.crowds.append(len(runs))
        return await super().run(statement, runs)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Counted]:
    plain = await open_pool(database, 4)
    plain.__class__ = Counted
    assert isinstance(plain, Counted)
    plain.crowds = []
    await plain.execute(Statement("CREATE TABLE marks (mark text PRIMARY KEY, transaction text)", ()))
    plain.crowds.clear()
    yield plain
    await plain.close()


async def marks(pool: Pool) -> dict[str, str]:
    return {row["mark"]: row["transaction"] for row in await pool.fetch(Statement("SELECT * FROM marks", ()))}


async def test_what_is_asked_for_in_one_turn_of_the_loop_is_one_transaction(pool: Counted) -> None:
    keeping = Gathering(pool, _KEEP)
    await asyncio.gather(*(keeping.run(mark=f"m{number}") for number in range(10)))
    assert pool.crowds == [10]
    kept = await marks(pool)
    assert set(kept) == {f"m{number}" for number in range(10)}
    assert len(set(kept.values())) == 1


async def test_each_gets_the_rows_of_its_own_run_and_only_those(pool: Counted) -> None:
    doubling = Gathering(pool, _DOUBLE)
    numbers = [7, -1, 7, 3, 0, 12]
    answers = await asyncio.gather(*(doubling.run(number=number) for number in numbers))
    assert pool.crowds == [6]
    assert [[row["double"] for row in rows] for rows in answers] == [[14], [], [14], [6], [], [24]]


async def test_one_that_is_refused_harms_no_other(pool: Counted) -> None:
    keeping, guarded = Gathering(pool, _KEEP), Gathering(pool, _GUARDED)
    await asyncio.gather(*(keeping.run(mark=mark) for mark in ("a", "b", "c")))
    answers = await asyncio.gather(
        *(guarded.run(mark=mark) for mark in ("a", "unknown", "b", "c")), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [list, TransitionLost, list, list]
    assert set(await marks(pool)) == {"a!", "b!", "c!"}
    assert pool.crowds[1:6] == [4, 1, 1, 1, 1]


async def test_the_same_row_twice_in_one_crowd_moves_once(pool: Counted) -> None:
    keeping, guarded = Gathering(pool, _KEEP), Gathering(pool, _GUARDED)
    await keeping.run(mark="a")
    answers = await asyncio.gather(guarded.run(mark="a"), guarded.run(mark="a"), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["TransitionLost", "list"]
    assert set(await marks(pool)) == {"a!"}


async def test_an_error_of_the_database_reaches_the_one_it_belongs_to(pool: Counted) -> None:
    keeping = Gathering(pool, _KEEP)
    answers = await asyncio.gather(*(keeping.run(mark=mark) for mark in ("a", "a", "b")), return_exceptions=True)
    assert [type(answer) for answer in answers] == [list, asyncpg.UniqueViolationError, list]
    assert set(await marks(pool)) == {"a", "b"}


async def test_one_that_gives_up_harms_no_other(pool: Counted) -> None:
    keeping = Gathering(pool, _KEEP)
    tasks = [asyncio.ensure_future(keeping.run(mark=f"m{number}")) for number in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [asyncio.CancelledError, list, list]


async def test_a_crowd_that_waits_for_a_lock_does_not_hold_up_the_next(pool: Counted) -> None:
    locking = Gathering(pool, _LOCKING)
    async with asyncio.timeout(GUARD_SECONDS):
        async with pool.transaction() as holder:
            await holder.execute(_LOCKING, key=1)
            stuck = asyncio.ensure_future(locking.run(key=1))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await locking.run(key=2)
            assert not stuck.done()
        await stuck


async def test_while_one_crowd_is_away_the_next_one_gathers(pool: Counted) -> None:
    keeping = Gathering(pool, _KEEP)
    first = asyncio.ensure_future(keeping.run(mark="first"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert pool.crowds == [1]
    await asyncio.gather(first, *(keeping.run(mark=f"m{number}") for number in range(5)))
    assert pool.crowds == [1, 5]


async def test_at_a_quick_pace_a_crowd_waits_for_company(pool: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_BUSY_RUNS", 2)
    monkeypatch.setattr(gathering, "_BUSY_SECONDS", 3600.0)
    monkeypatch.setattr(gathering, "_COMPANY_SECONDS", 0.5)
    keeping = Gathering(pool, _KEEP)
    await keeping.run(mark="first")
    assert pool.crowds == [1]
    second = asyncio.ensure_future(keeping.run(mark="second"))
    for _ in range(3):
        await asyncio.sleep(0)
    async with asyncio.timeout(GUARD_SECONDS):
        await asyncio.gather(second, keeping.run(mark="third"))
    assert pool.crowds == [1, 2]


@pytest.mark.parametrize(("busy_runs", "busy_seconds"), [(2, 0.0), (4, 3600.0)], ids=["too slow", "too few"])
async def test_who_comes_alone_leaves_at_once(
    pool: Counted, monkeypatch: pytest.MonkeyPatch, busy_runs: int, busy_seconds: float
) -> None:
    monkeypatch.setattr(gathering, "_BUSY_RUNS", busy_runs)
    monkeypatch.setattr(gathering, "_BUSY_SECONDS", busy_seconds)
    monkeypatch.setattr(gathering, "_COMPANY_SECONDS", 3600.0)
    keeping = Gathering(pool, _KEEP)
    async with asyncio.timeout(GUARD_SECONDS):
        for number in range(3):
            await keeping.run(mark=f"m{number}")
    assert pool.crowds == [1, 1, 1]


async def test_a_crowd_that_waits_for_company_leaves_by_itself(pool: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_BUSY_RUNS", 1)
    monkeypatch.setattr(gathering, "_BUSY_SECONDS", 3600.0)
    keeping = Gathering(pool, _KEEP)
    async with asyncio.timeout(GUARD_SECONDS):
        for number in range(3):
            await keeping.run(mark=f"m{number}")
    assert set(await marks(pool)) == {"m0", "m1", "m2"}


async def test_a_database_that_is_away_is_told_to_everybody(pool: Counted, database: str) -> None:
    keeping = Gathering(pool, _KEEP)
    await keeping.run(mark="before")
    await pool.close()
    answers = await asyncio.gather(*(keeping.run(mark=f"m{n}") for n in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 3


async def test_crowds_are_bounded(pool: Counted) -> None:
    keeping = Gathering(pool, _KEEP)
    await asyncio.gather(*(keeping.run(mark=f"m{number}") for number in range(200)))
    assert max(pool.crowds) <= 64
    assert sum(pool.crowds) == 200
    assert len(await marks(pool)) == 200

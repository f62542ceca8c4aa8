"""The pool keeps connections between statements, never more than its size, and leaves none behind."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import re
import time
from collections.abc import Iterator

import asyncpg
import pytest

import store
from rsp.errors import Unavailable
from store.compiled import Statement
from store.pool import open_pool

BACKEND = Statement("SELECT pg_backend_pid() AS pid", ())
SLOW = Statement("SELECT pg_backend_pid() AS pid, pg_sleep(0.05)", ())
ENDLESS = Statement("SELECT pg_sleep(60)", ())
PLANNED = "SELECT current_setting('plan_cache_mode') AS mode"
OPTIONAL_FILTER = re.compile(r"\(\$\d+(::[A-Z\[\]]+)? (IS NULL|= '') OR")


async def _sessions(database: str) -> int:
    """Sessions of the database without our own."""
    observer = await asyncpg.connect(database)
    try:
        return int(
            await observer.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    finally:
        await observer.close()


async def test_statements_one_after_another_use_one_connection(database: str) -> None:
    pool = await open_pool(database, 4)
    pids = {(await pool.fetch(BACKEND))[0]["pid"] for _ in range(5)}
    async with pool.transaction() as connection:
        pids.add((await connection.fetch(BACKEND))[0]["pid"])
    assert len(pids) == 1
    await pool.close()


async def test_many_statements_at_once_share_as_many_connections_as_the_pool_has(database: str) -> None:
    pool = await open_pool(database, 3)
    rows = await asyncio.gather(*(pool.fetch_one(SLOW) for _ in range(9)))
    assert len({row["pid"] for row in rows if row}) == 3
    await pool.close()


async def test_an_abandoned_statement_is_stopped_and_its_connection_serves_on(database: str) -> None:
    pool = await open_pool(database, 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await pool.fetch(ENDLESS)
    assert await pool.fetch_one(BACKEND)
    await pool.close()


async def test_closing_waits_for_statements_and_leaves_no_session(database: str) -> None:
    pool = await open_pool(database, 2)
    await pool.fetch(BACKEND)
    under_way = asyncio.ensure_future(pool.fetch(SLOW))
    await asyncio.sleep(0)
    await pool.close()
    assert (await under_way)[0]["pid"]
    assert await _sessions(database) == 0


async def test_a_statement_is_planned_once_unless_it_asks_for_more(database: str) -> None:
    pool = await open_pool(database, 1)
    modes = [
        (await pool.fetch(Statement(PLANNED, (), planned_by_values=by_values)))[0]["mode"]
        for by_values in (False, True, False)
    ]
    assert modes == ["force_generic_plan", "force_custom_plan", "force_generic_plan"]
    await pool.close()


def _statements() -> Iterator[tuple[str, Statement]]:
    for module in pkgutil.iter_modules(store.__path__):
        for name, value in vars(importlib.import_module(f"store.{module.name}")).items():
            for statement in value.values() if isinstance(value, dict) else (value,):
                if isinstance(statement, Statement):
                    yield f"{module.name}.{name}", statement


def test_what_takes_so_many_rows_is_planned_for_that_number() -> None:
    """Without it PostgreSQL plans for a tenth of the table. Claims are made so that it cannot (`store.claims`)."""
    limited = {name: one for name, one in _statements() if re.search(r"LIMIT \$\d", one.sql)}
    assert len(limited) >= 20
    unplanned = [name for name, one in limited.items() if not one.planned_by_values and "= any(array(" not in one.sql]
    assert unplanned == []


def test_lists_with_filters_that_may_be_empty_are_planned_by_what_is_asked_for() -> None:
    """One plan for all of them could not use the index of the filter that is given."""
    optional = {name: one for name, one in _statements() if OPTIONAL_FILTER.search(one.sql)}
    # It finds the orders of one profile first, which are few.
    del optional["foreign_orders._OF_PROFILE"]
    assert len(optional) >= 8
    assert [name for name, one in optional.items() if not one.planned_by_values] == []


async def test_plans_follow_tables_that_grow(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that was empty when a statement was planned is read by its index once it is not."""
    find = Statement("SELECT 1 FROM grown WHERE number = ANY($1::int[])", ("numbers",))
    pool = await open_pool(database, 1)
    await pool.execute(
        Statement("CREATE TABLE grown (number int PRIMARY KEY, wide char(2000)) WITH (autovacuum_enabled = off)", ())
    )

    async def plan() -> str:
        await pool.fetch(find, numbers=[1])
        kept = pool._kept[0]
        rows = await kept.connection.fetch(f"EXPLAIN EXECUTE {kept.prepared[find.sql].get_name()}('{{1}}')")
        return str(rows)

    assert "Index" not in await plan()
    await pool.execute(Statement("INSERT INTO grown SELECT generate_series(1, 40000)", ()))
    assert "Index" not in await plan()
    later = time.monotonic() + 2
    monkeypatch.setattr("store.pool.monotonic", lambda: later)
    assert "Index" in await plan()
    await pool.close()


async def test_a_refused_work_keeps_its_connection_and_what_was_prepared_on_it(database: str) -> None:
    pool = await open_pool(database, 1)

    async def refused() -> None:
        async with pool.transaction() as connection:
            await connection.fetch(BACKEND)
            raise LookupError

    for _ in range(3):
        with pytest.raises(LookupError):
            await refused()
    async with pool.transaction() as connection:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.fetch(Statement("SELECT 1 / 0", ()))
    prepared = Statement("SELECT count(*) AS count FROM pg_prepared_statements WHERE statement = $1", ("sql",))
    (row,) = await pool.fetch(prepared, sql=BACKEND.sql)
    assert row["count"] == 1
    await pool.close()


async def test_tables_that_change_under_a_prepared_statement_are_noticed(database: str) -> None:
    """A migration beside a running server: a work is undone and may be tried again, a statement is prepared again."""
    pool = await open_pool(database, 1)
    everything = Statement("SELECT * FROM changed", ())
    await pool.execute(Statement("CREATE TABLE changed (one int)", ()))
    await pool.fetch(everything)
    await pool.execute(Statement("ALTER TABLE changed ADD COLUMN two int", ()))
    with pytest.raises(Unavailable, match="schema"):
        async with pool.transaction() as connection:
            await connection.fetch(everything)
    async with pool.transaction() as connection:
        await connection.execute(Statement("INSERT INTO changed VALUES (1, 2)", ()))
        assert [tuple(row) for row in await connection.fetch(everything)] == [(1, 2)]
    await pool.execute(Statement("ALTER TABLE changed ADD COLUMN three int", ()))
    assert [tuple(row) for row in await pool.fetch(everything)] == [(1, 2, None)]
    await pool.close()

"""The one connection pool of a process, and the two ways to use it: single statements, and transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

import asyncpg

from rsp.errors import Unavailable
from store.compiled import Statement
from store.errors import RACES, meaning, translated

_ACQUIRE_SECONDS = 5.0
_STATEMENT_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
_TRIES = 5
_IN_THE_WAY = "changes keep standing in each other's way"
_PLANS_SECONDS, _PLANS_SECONDS_MOST = 1.0, 60.0
_LETTING_GO = (asyncpg.InternalClientError, asyncpg.InterfaceError, asyncpg.PostgresError, OSError, TimeoutError)
_PLAN_BY_VALUES = Statement("SET LOCAL plan_cache_mode = force_custom_plan", ())
_ANOTHER_SCHEMA = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
"""A statement was prepared for tables that have changed since; prepared again it runs."""

Record = asyncpg.Record
Row = Any
"""A row of asyncpg, which ships no types."""
Arguments = Sequence[object]
"""The values of a statement's parameters, in the order of their numbers."""


class _Kept:
    """A connection of the driver's pool and the statements prepared on it, for as long as it is ours.

    PostgreSQL plans them once, by the size its tables have then. It plans again when it has gathered statistics, which
    may be late for a database that was empty a moment ago, so it is asked to, soon and then every minute.
    """

    __slots__ = ("_plan_at", "_planned_for", "connection", "prepared")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.prepared: dict[str, Any] = {}
        self._planned_for = _PLANS_SECONDS
        self._plan_at = monotonic() + _PLANS_SECONDS

    @property
    def is_alive(self) -> bool:
        try:
            return not self.connection.is_closed()
        except asyncpg.InterfaceError:  # It has died and given itself back; the driver answers nothing about it.
            return False

    async def rows(self, sql: str, runs: Sequence[Arguments]) -> list[Row]:
        """The rows of all `runs`, which are one transaction."""
        if monotonic() >= self._plan_at:
            await self.connection.execute("DISCARD PLANS")
            self._planned_for = min(2 * self._planned_for, _PLANS_SECONDS_MOST)
            self._plan_at = monotonic() + self._planned_for
        prepared = self.prepared.get(sql)
        if prepared is None:
            prepared = self.prepared[sql] = await self.connection.prepare(sql)
        if len(runs) == 1:
            rows: list[Row] = await prepared.fetch(*runs[0])
        else:
            rows = await prepared.fetchmany(runs)
        return rows


class Connection:
    """A connection inside a transaction."""

    def __init__(self, kept: _Kept) -> None:
        self._kept = kept

    async def execute(self, statement: Statement, **values: object) -> None:
        """Runs `statement`."""
        await self.run(statement, (statement.arguments(values),))

    async def fetch(self, statement: Statement, **values: object) -> list[Row]:
        """All rows of `statement`."""
        return await self.run(statement, (statement.arguments(values),))

    async def fetch_one(self, statement: Statement, **values: object) -> Row | None:
        """The first row of `statement`, or None."""
        rows = await self.run(statement, (statement.arguments(values),))
        return rows[0] if rows else None

    async def run(self, statement: Statement, runs: Sequence[Arguments]) -> list[Row]:
        """`statement` once for each of `runs`, in one round trip: the rows of all of them."""
        with translated():
            return await self._kept.rows(statement.sql, runs)


class Pool:
    """Connections to one database. Every method raises Unavailable when the database is away.

    The driver's pool makes and mends the connections. What comes back in order is kept here for the next statement: to
    hand a connection back to the driver and to ask for it again takes it two tasks, more than most statements cost; and
    a statement prepared once needs half of what the driver's search for it takes.
    """

    def __init__(self, pool: Any, size: int) -> None:
        self._pool = pool
        self._turns = asyncio.Semaphore(size)
        self._kept: list[_Kept] = []
        self._closing = False

    async def execute(self, statement: Statement, **values: object) -> None:
        """Runs `statement` as a transaction of its own, in one round trip."""
        await self.run(statement, (statement.arguments(values),))

    async def fetch(self, statement: Statement, **values: object) -> list[Row]:
        """All rows of `statement`, a transaction of its own."""
        if not statement.planned_by_values:
            return await self.run(statement, (statement.arguments(values),))
        for _ in range(_TRIES):
            try:
                async with self.transaction() as connection:
                    await connection.execute(_PLAN_BY_VALUES)
                    return await connection.fetch(statement, **values)
            except Unavailable as lost:
                if not isinstance(lost.__cause__, (*RACES, *_ANOTHER_SCHEMA)):
                    raise
        raise Unavailable(_IN_THE_WAY)

    async def fetch_one(self, statement: Statement, **values: object) -> Row | None:
        """The first row of `statement`, a transaction of its own, or None."""
        rows = await self.fetch(statement, **values)
        return rows[0] if rows else None

    async def run(self, statement: Statement, runs: Sequence[Arguments]) -> list[Row]:
        """`statement` once for each of `runs`, in one round trip and one transaction: the rows of all of them."""
        for _ in range(_TRIES):
            try:
                return await self._rows(statement.sql, runs)
            except (*RACES, *_ANOTHER_SCHEMA):
                continue
            except Exception as error:
                meant = meaning(error)
                if meant is None:
                    raise
                raise meant from error
        raise Unavailable(_IN_THE_WAY)

    async def run_all(self, runs: Mapping[Statement, Sequence[Arguments]]) -> None:
        """Several statements, each once for each of its runs, in one transaction."""
        if len(runs) == 1:
            await self.run(*next(iter(runs.items())))
            return
        async with self.transaction() as connection:
            for statement, arguments in runs.items():
                await connection.run(statement, arguments)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction: committed when the block ends, undone when it raises.

        A deadlock or serialization failure inside it raises Unavailable: nothing happened, the caller may come again.
        """
        async with self._connection() as kept:
            connection = kept.connection
            transaction = connection.transaction()
            with translated():
                await transaction.start()
            try:
                yield Connection(kept)
            except BaseException as error:
                # A dying connection has given itself back, and the driver then refuses even to say that it is closed.
                with suppress(*_LETTING_GO):
                    if not connection.is_closed():
                        await transaction.rollback()
                if isinstance(error, RACES):
                    raise Unavailable("two changes stood in each other's way") from error
                if isinstance(error, _ANOTHER_SCHEMA):
                    raise Unavailable("the schema has just changed") from error
                raise
            with translated():
                await transaction.commit()

    async def close(self) -> None:
        """Waits for statements under way and closes every connection."""
        self._closing = True
        while self._kept:
            await self._hand_back(self._kept.pop())
        await self._pool.close()

    async def _rows(self, sql: str, runs: Sequence[Arguments]) -> list[Row]:
        await self._wait_for_turn()
        try:
            kept = await self._take()
            try:
                rows = await kept.rows(sql, runs)
            except _ANOTHER_SCHEMA:
                await self._hand_back(kept)
                raise
            except asyncpg.PostgresError:
                # The database has refused the statement and undone it; the connection is as good as before.
                await self._keep(kept)
                raise
            except BaseException:
                await self._hand_back(kept)
                raise
            await self._keep(kept)
            return rows
        finally:
            self._turns.release()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Kept]:
        with translated():
            await self._wait_for_turn()
        try:
            with translated():
                kept = await self._take()
            try:
                yield kept
            except Exception as error:
                if kept.is_alive and not kept.connection.is_in_transaction() and not _is_stale(error):
                    await self._keep(kept)
                else:
                    await self._hand_back(kept)
                raise
            except BaseException:
                await self._hand_back(kept)
                raise
            await self._keep(kept)
        finally:
            self._turns.release()

    async def _wait_for_turn(self) -> None:
        """No more than `size` connections are in use. Raises TimeoutError."""
        if not self._turns.locked():
            await self._turns.acquire()
            return
        async with asyncio.timeout(_ACQUIRE_SECONDS):
            await self._turns.acquire()

    async def _take(self) -> _Kept:
        while self._kept:
            kept = self._kept.pop()
            if kept.is_alive:
                return kept
            await self._hand_back(kept)
        return _Kept(await self._pool.acquire(timeout=_ACQUIRE_SECONDS))

    async def _keep(self, kept: _Kept) -> None:
        if self._closing or not kept.is_alive:
            await self._hand_back(kept)
        else:
            self._kept.append(kept)

    async def _hand_back(self, kept: _Kept) -> None:
        """Let the driver see to a connection: it stops what still runs on it, and replaces it when it is dead."""
        # What the statement said stands, whatever becomes of its connection afterwards: a dying connection gives
        # itself back, and the driver may then find it given back twice.
        with suppress(*_LETTING_GO):
            await self._pool.release(kept.connection)


def _is_stale(error: BaseException) -> bool:
    """Whether statements of that connection were prepared for other tables."""
    return isinstance(error.__cause__, _ANOTHER_SCHEMA)


async def open_pool(dsn: str, size: int) -> Pool:
    """A pool of up to `size` connections to `dsn`. Raises Unavailable when the database cannot be reached."""
    with translated():
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            timeout=_CONNECT_SECONDS,
            command_timeout=_STATEMENT_SECONDS,
            max_inactive_connection_lifetime=0,
            reset=_leave,
            server_settings={
                "application_name": "smdp-flex",
                "timezone": "UTC",
                "jit": "off",
                # A statement is planned once for each connection. Left to itself PostgreSQL plans our writes at every
                # call, which is more work than they are. Lists whose filters may be empty ask for it themselves.
                "plan_cache_mode": "force_generic_plan",
            },
        )
    return Pool(pool, size)


async def _leave(_: object) -> None:
    """Nothing to undo: the driver itself ends a transaction left open, and no statement of ours changes the session.

    The usual reset is a second round trip for each statement.
    """

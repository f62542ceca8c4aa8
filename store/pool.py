"""The one connection pool of a process, and the two ways to use it: single statements, and transactions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import asyncpg

from rsp.errors import Unavailable
from store.compiled import Statement
from store.errors import RACES, translated

T = TypeVar("T")

_ACQUIRE_SECONDS = 5.0
_STATEMENT_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
_TRIES = 5
_LETTING_GO = (asyncpg.InternalClientError, asyncpg.InterfaceError, asyncpg.PostgresError, OSError, TimeoutError)

Record = asyncpg.Record
Row = Any
"""A row of asyncpg, which ships no types."""


class Connection:
    """A connection inside a transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def execute(self, statement: Statement, **values: object) -> None:
        """Runs `statement`."""
        with translated():
            await self._connection.execute(statement.sql, *statement.arguments(values))

    async def fetch(self, statement: Statement, **values: object) -> list[Row]:
        """All rows of `statement`."""
        with translated():
            rows: list[Row] = await self._connection.fetch(statement.sql, *statement.arguments(values))
            return rows

    async def fetch_one(self, statement: Statement, **values: object) -> Row | None:
        """The first row of `statement`, or None."""
        with translated():
            return await self._connection.fetchrow(statement.sql, *statement.arguments(values))


class Pool:
    """Connections to one database. Every method raises Unavailable when the database is away."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def execute(self, statement: Statement, **values: object) -> None:
        """Runs `statement` as a transaction of its own, in one round trip."""
        await self._run(lambda connection: connection.execute(statement, **values))

    async def fetch(self, statement: Statement, **values: object) -> list[Row]:
        """All rows of `statement`, a transaction of its own."""
        return await self._run(lambda connection: connection.fetch(statement, **values))

    async def fetch_one(self, statement: Statement, **values: object) -> Row | None:
        """The first row of `statement`, a transaction of its own, or None."""
        return await self._run(lambda connection: connection.fetch_one(statement, **values))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction: committed when the block ends, undone when it raises.

        A deadlock or serialization failure inside it raises Unavailable: nothing happened, the caller may come again.
        """
        async with self._connection() as connection:
            transaction = connection.transaction()
            with translated():
                await transaction.start()
            try:
                yield Connection(connection)
            except BaseException as error:
                # A dying connection has given itself back, and the driver then refuses even to say that it is closed.
                with suppress(*_LETTING_GO):
                    if not connection.is_closed():
                        await transaction.rollback()
                if isinstance(error, RACES):
                    raise Unavailable("two changes stood in each other's way") from error
                raise
            with translated():
                await transaction.commit()

    async def close(self) -> None:
        """Waits for statements under way and closes every connection."""
        await self._pool.close()

    async def _run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        for _ in range(_TRIES):
            async with self._connection() as connection:
                with suppress(*RACES):
                    return await work(Connection(connection))
        raise Unavailable("changes keep standing in each other's way")

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        with translated():
            connection = await self._pool.acquire(timeout=_ACQUIRE_SECONDS)
        try:
            yield connection
        finally:
            # What the statement said stands, whatever becomes of its connection afterwards: a dying connection gives
            # itself back, and the driver may then find it given back twice.
            with suppress(*_LETTING_GO):
                await self._pool.release(connection)


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
            server_settings={"application_name": "smdp-flex", "timezone": "UTC", "jit": "off"},
        )
    return Pool(pool)


async def _leave(_: object) -> None:
    """Nothing to undo: the driver itself ends a transaction left open, and no statement of ours changes the session.

    The usual reset is a second round trip for each statement.
    """

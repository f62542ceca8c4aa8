"""What the roles see when PostgreSQL is away, killed, or in a deadlock."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from store_samples import NOW, message, new_session, new_tenant, session, transaction

from rsp.errors import Unavailable
from smdp.ports import DownloadWrite
from smdp.session import SessionChange, SessionEvent
from store import migrate
from store.compiled import Statement, compiled
from store.directory import Operators
from store.downloads import Downloads
from store.embedded import EmbeddedPostgres
from store.inbox import Inbox
from store.ordering import Orderings
from store.outbox import Outbox
from store.pool import Pool, open_pool

ONE = compiled(text("SELECT 1 AS number"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, to be killed."""
    made = EmbeddedPostgres(tmp_path)
    made.start()
    try:
        yield made
    finally:
        made.stop()


async def test_a_stopped_server_makes_every_store_unavailable(server: EmbeddedPostgres) -> None:
    migrate.upgrade(server.dsn())
    pool = await open_pool(server.dsn(), 2)
    await pool.fetch_one(ONE)
    server.stop()
    calls = (
        lambda: Downloads(pool).open_session(session()),
        lambda: Downloads(pool).find_session(transaction()),
        lambda: Downloads(pool).write(DownloadWrite(session=SessionChange.of(session(), SessionEvent.END))),
        lambda: Inbox(pool).keep_notification(b"1", NOW),
        lambda: Outbox(pool).claim_messages(1, 1.0),
        lambda: Operators(pool).by_id(1),
        lambda: Orderings(pool).begin(1).__aenter__(),
    )
    for call in calls:
        with pytest.raises(Unavailable):
            await call()
    await pool.close()


async def test_a_pool_recovers_when_the_server_is_back(server: EmbeddedPostgres) -> None:
    pool = await open_pool(server.dsn(), 2)
    await pool.fetch_one(ONE)
    server.stop()
    with pytest.raises(Unavailable):
        await pool.fetch_one(ONE)
    server.start()
    row = await pool.fetch_one(ONE)
    assert row is not None
    await pool.close()


async def test_a_pool_to_an_absent_server_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await open_pool(f"postgresql://smdp@/smdp?host={tmp_path}", 2)


async def test_a_killed_server_has_kept_every_commit_it_acknowledged(server: EmbeddedPostgres) -> None:
    """Writers run until the server is killed under them; what they were told is stored is there afterwards."""
    migrate.upgrade(server.dsn())
    pool = await open_pool(server.dsn(), 4)
    acknowledged: list[bytes] = []

    async def write(writer: int) -> None:
        for number in range(10_000):
            raw = b"%d.%d" % (writer, number)
            try:
                await Inbox(pool).keep_notification(raw, NOW)
            except Unavailable:
                return
            acknowledged.append(raw)
            if len(acknowledged) == 200:
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)

    await asyncio.gather(*(write(writer) for writer in range(4)))
    assert server._process is not None
    await asyncio.to_thread(server._process.wait, 30)  # Until then it counts as running.
    server.start()
    kept = {pending.raw for pending in await Inbox(pool).claim_notifications(100_000, 60.0)}
    assert len(acknowledged) >= 200
    assert set(acknowledged) <= kept
    await pool.close()


async def test_an_interrupted_work_leaves_the_connection_clean(database: str) -> None:
    pool = await open_pool(database, 1)
    await new_tenant(pool)
    entered = asyncio.Event()

    async def work() -> None:
        async with Orderings(pool).begin(1) as work:
            await work.tell(message())
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await Outbox(pool).depth() == (0, 0.0)
    await pool.close()


async def _tell_across_a_loss(pool: Pool, database: str) -> None:
    """One transaction whose connection is cut between its two statements."""
    async with Orderings(pool).begin(1) as work:
        await work.tell(message())
        await _terminate_others(database)
        await work.tell(message())


async def _terminate_others(database: str) -> None:
    """End every session of the database but our own, and wait for their ends."""
    killer = await asyncpg.connect(database)
    await killer.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await killer.close()


async def test_a_terminated_session_is_unavailable_and_replaced(database: str) -> None:
    pool = await open_pool(database, 1)
    await pool.fetch_one(ONE)
    await _terminate_others(database)
    with suppress(Unavailable):  # Unless the driver has seen the end of its connection before we ask.
        await pool.fetch_one(ONE)
    row = await pool.fetch_one(ONE)
    assert row is not None
    await pool.close()


async def test_a_session_terminated_inside_a_transaction_is_unavailable(database: str) -> None:
    pool = await open_pool(database, 1)
    await new_tenant(pool)
    with pytest.raises(Unavailable):
        await _tell_across_a_loss(pool, database)
    assert await Outbox(pool).depth() == (0, 0.0)
    await pool.close()


async def test_a_deadlock_is_tried_again(database: str) -> None:
    """Two writes that take the same two rows in opposite order: PostgreSQL gives one up, and it is done again."""
    pool = await open_pool(database, 3)
    for number in (1, 2):
        await new_session(pool, number)
    slow = Statement(
        "WITH first AS MATERIALIZED (SELECT transaction_id FROM sessions WHERE transaction_id = $1 FOR UPDATE), "
        "pause AS MATERIALIZED (SELECT pg_sleep(0.2) FROM first), "
        "second AS MATERIALIZED (SELECT transaction_id FROM sessions, pause WHERE transaction_id = $2 FOR UPDATE "
        "OF sessions) SELECT count(*) FROM second",
        ("one", "two"),
    )
    one, two = transaction(1).value, transaction(2).value
    rows = await asyncio.gather(pool.fetch_one(slow, one=one, two=two), pool.fetch_one(slow, one=two, two=one))
    assert [row["count"] for row in rows if row] == [1, 1]
    await pool.close()


async def test_our_own_faults_are_not_called_unavailable(database: str) -> None:
    pool = await open_pool(database, 1)
    with pytest.raises(asyncpg.UndefinedTableError):
        await pool.fetch_one(Statement("SELECT * FROM nowhere", ()))
    with pytest.raises(asyncpg.InterfaceError):
        await pool.fetch_one(Statement("SELECT $1::int, $2::int", ("a",)), a=1)
    with pytest.raises(KeyError, match="surplus"):
        await pool.fetch_one(ONE, surplus=1)
    await pool.close()

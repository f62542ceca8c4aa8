"""The database of set-up commands: the one of the settings, the running embedded one, or that one for the moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from server.settings import Settings
from store import migrate
from store.embedded import EmbeddedPostgres
from store.pool import Pool, open_pool


@contextmanager
def reached(settings: Settings) -> Iterator[str]:
    """The address of a migrated database. An embedded server nobody runs is started for the block, from this thread."""
    if settings.database_url:
        dsn = settings.database_url.reveal()
        migrate.upgrade(dsn)
        yield dsn
        return
    server = EmbeddedPostgres(settings.data_dir, settings.postgres_bin)
    running = server.attach()
    if running is not None:
        yield running
        return
    try:
        dsn = server.start()
        migrate.upgrade(dsn)
        yield dsn
    finally:
        server.stop()


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Pool]:
    """One connection for a command."""
    pool = await open_pool(dsn, 1)
    try:
        yield pool
    finally:
        await pool.close()

"""The database of set-up commands: the one of the settings, the running embedded one, or that one for the moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from server.settings import Settings
from store import migrate
from store.binaries import NoUsableDatabase
from store.embedded import EmbeddedPostgres
from store.pool import Pool, open_pool


@contextmanager
def reached(settings: Settings) -> Iterator[str]:
    """The address of a migrated database. An embedded server nobody runs is started for the block, from this thread."""
    with _running(settings) as (dsn, ours):
        if ours:
            migrate.upgrade(dsn)
        yield dsn


@contextmanager
def looked_at(settings: Settings) -> Iterator[str]:
    """The address of a database that is there and has this release's schema: reading makes and migrates nothing.

    Raises NoUsableDatabase, which says what to run.
    """
    if not settings.database_url and not EmbeddedPostgres(settings.data_dir).cluster.exists():
        raise NoUsableDatabase(f"there is no database in {settings.data_dir} yet: smdp db upgrade makes one")
    with _running(settings) as (dsn, _):
        revision, needed = migrate.current(dsn), migrate.head()
        if revision != needed:
            raise NoUsableDatabase(f"the schema is at {revision or 'nothing'}, not {needed}: run smdp db upgrade")
        yield dsn


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Pool]:
    """One connection for a command."""
    pool = await open_pool(dsn, 1)
    try:
        yield pool
    finally:
        await pool.close()


@contextmanager
def _running(settings: Settings) -> Iterator[tuple[str, bool]]:
    """The address of the database while it runs, and whether its schema is ours to bring up to date."""
    if settings.database_url:
        yield settings.database_url.reveal(), True
        return
    server = EmbeddedPostgres(settings.data_dir, settings.postgres_bin)
    running = server.attach()
    if running is not None:
        yield running, False
        return
    try:
        yield server.start(), True
    finally:
        server.stop()

"""Brings a database to the schema of this release: Alembic, run in process over asyncpg."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from rsp.errors import Unavailable
from store.blocking import wait_for

T = TypeVar("T")

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x736D_6470  # "smdp": two servers that start at once must not migrate at once.


def upgrade(dsn: str, revision: str = "head") -> None:
    """Applies the missing migrations in one transaction: all of them, or none. Raises Unavailable."""
    _run(dsn, lambda connection: command.upgrade(_config(connection), revision))


def downgrade(dsn: str, revision: str) -> None:
    """Takes migrations back down to `revision` (`base` for all); rows of dropped tables are lost."""
    _run(dsn, lambda connection: command.downgrade(_config(connection), revision))


def current(dsn: str) -> str | None:
    """The revision the database is at; None when it was never migrated. Raises Unavailable."""
    return _run(dsn, lambda connection: MigrationContext.configure(connection).get_current_revision())


def head() -> str:
    """The revision this release needs."""
    found = ScriptDirectory(str(_FOLDER)).get_current_head()
    if found is None:
        raise RuntimeError("the installation is incomplete: it has no migrations")
    return found


def inspect(dsn: str, look: Callable[[Connection], T]) -> T:
    """The result of `look` at a connection of SQLAlchemy, for tools and tests that compare schemas."""
    return _run(dsn, look)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    return config


def _run(dsn: str, work: Callable[[Connection], T]) -> T:
    async def main() -> T:
        engine = create_async_engine(make_url(dsn).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
        try:
            async with engine.begin() as connection:
                return await connection.run_sync(work)
        finally:
            await engine.dispose()

    try:
        return wait_for(main)
    except OSError as error:
        raise Unavailable(f"the database cannot be reached: {error}; check that it runs and database_url") from error

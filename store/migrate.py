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
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from rsp.errors import Unavailable
from store.blocking import wait_for

T = TypeVar("T")


class SchemaTooNew(Unavailable):
    """A later release has migrated this database; this one would not understand its rows."""


_FOLDER = Path(__file__).parent / "migrations"
_AWAY = frozenset({"08", "28", "3D", "53", "57"})
_LOCK = 0x736D_6470  # "smdp": two servers that start at once must not migrate at once.


def upgrade(dsn: str, revision: str = "head") -> None:
    """Applies the missing migrations in one transaction: all of them, or none. Raises Unavailable, SchemaTooNew."""

    def work(connection: Connection) -> None:
        config = _config(connection)
        _refuse_unknown(_revision(connection))
        command.upgrade(config, revision)

    _run(dsn, work)


def downgrade(dsn: str, revision: str) -> None:
    """Takes migrations back down to `revision` (`base` for all); rows of dropped tables are lost."""
    _run(dsn, lambda connection: command.downgrade(_config(connection), revision))


def current(dsn: str) -> str | None:
    """The revision the database is at; None when it was never migrated. Raises Unavailable."""
    return _run(dsn, _revision)


def head() -> str:
    """The revision this release needs."""
    found = ScriptDirectory(str(_FOLDER)).get_current_head()
    if found is None:
        raise RuntimeError("the installation is incomplete: it has no migrations")
    return found


def inspect(dsn: str, look: Callable[[Connection], T]) -> T:
    """The result of `look` at a connection of SQLAlchemy, for tools and tests that compare schemas."""
    return _run(dsn, look)


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_unknown(revision: str | None) -> None:
    known = {script.revision for script in ScriptDirectory(str(_FOLDER)).walk_revisions()}
    if revision is not None and revision not in known:
        raise SchemaTooNew(
            f"the database is at revision {revision}, which this release does not know: run the newer release again"
        )


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
    except DBAPIError as error:
        # Classes of SQLSTATE: connection, authorization, unknown database, resources, shutdown or start-up.
        if str(getattr(error.orig, "sqlstate", ""))[:2] not in _AWAY:
            raise
        raise Unavailable(f"the database does not let us in: {error.orig}; check database_url") from error

"""Looks over a database as an operator would: version, schema, and whether a commit survives a power cut."""

from __future__ import annotations

from dataclasses import dataclass

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from store import migrate
from store.binaries import MINIMUM_MAJOR
from store.schema import metadata

_DURABLE = {"fsync": "on", "full_page_writes": "on"}
_COMMITS = frozenset({"on", "local", "remote_write", "remote_apply"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where a database stands: PostgreSQL's version, the revision of its schema (None: none), and the one needed."""

    server_version: str
    revision: str | None
    needed: str
    size_bytes: int

    @property
    def is_current(self) -> bool:
        """Whether the schema is the one this release needs."""
        return self.revision == self.needed


def status(dsn: str) -> Status:
    """The state of the database at `dsn`. Raises Unavailable."""
    return migrate.inspect(dsn, _status)


def problems(dsn: str) -> list[str]:
    """What is wrong with the database at `dsn`, a sentence each, with what to do. Raises Unavailable."""
    return migrate.inspect(dsn, lambda connection: [*_server_problems(connection), *_schema_problems(connection)])


def _status(connection: Connection) -> Status:
    return Status(
        server_version=_setting(connection, "server_version"),
        revision=MigrationContext.configure(connection).get_current_revision(),
        needed=migrate.head(),
        size_bytes=connection.scalar(text("SELECT pg_database_size(current_database())")) or 0,
    )


def _server_problems(connection: Connection) -> list[str]:
    found = []
    if int(_setting(connection, "server_version_num")) < MINIMUM_MAJOR * 10_000:
        version = _setting(connection, "server_version")
        found.append(f"the server is PostgreSQL {version}: {MINIMUM_MAJOR} or later is needed")
    for name, needed in _DURABLE.items():
        if (value := _setting(connection, name)) != needed:
            found.append(f"{name} is {value}: set it to {needed}, or a crash of the machine loses the database")
    if (value := _setting(connection, "synchronous_commit")) not in _COMMITS:
        found.append(f"synchronous_commit is {value}: set it to on, or acknowledged notifications can be lost")
    if (value := _setting(connection, "server_encoding")) != "UTF8":
        found.append(f"the database's encoding is {value}: create it with ENCODING 'UTF8'")
    return found


def _schema_problems(connection: Connection) -> list[str]:
    standing = _status(connection)
    if not standing.is_current:
        return [f"the schema is at {standing.revision or 'nothing'}, not {standing.needed}: run smdp db upgrade"]
    differences = compare_metadata(MigrationContext.configure(connection), metadata)
    return [f"the schema differs from revision {standing.needed}: {_words(difference)}" for difference in differences]


def _setting(connection: Connection, name: str) -> str:
    return str(connection.scalar(text("SELECT current_setting(:name)"), {"name": name}))


def _words(difference: object) -> str:
    """A difference as Alembic reports it: a tuple of what to do, or a list of such tuples for one column."""
    parts = difference[0] if isinstance(difference, list) else difference
    assert isinstance(parts, tuple)
    return " ".join(str(getattr(part, "name", part)) for part in parts if part is not None)

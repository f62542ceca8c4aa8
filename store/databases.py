"""Creates and drops whole databases, from synchronous code, over a connection to the server's own `postgres`."""

from __future__ import annotations

import re

import asyncpg

from rsp.errors import Malformed
from store.blocking import wait_for

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}", re.ASCII)


def create(server: str, name: str, template: str | None = None) -> None:
    """Makes the database `name` on the server at `server`, as a copy of `template` when given."""
    source = f" TEMPLATE {_quoted(template)}" if template else ""
    _execute(server, f"CREATE DATABASE {_quoted(name)}{source}")


def create_if_missing(server: str, name: str) -> None:
    """Makes the database `name` unless it exists."""

    async def work() -> None:
        connection = await asyncpg.connect(server)
        try:
            if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name) is None:
                await connection.execute(f"CREATE DATABASE {_quoted(name)}")
        finally:
            await connection.close()

    wait_for(work)


def drop(server: str, name: str) -> None:
    """Drops the database `name` if it exists, and whoever is connected to it."""
    _execute(server, f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")


def _execute(server: str, statement: str) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(server)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    wait_for(work)


def _quoted(name: str) -> str:
    """A database name as an SQL identifier; statements of this kind take no parameters."""
    if not _NAME.fullmatch(name):
        raise Malformed("a database name is lower-case letters, digits and underscores, at most 63")
    return f'"{name}"'

"""Fixtures with a real PostgreSQL: one server for a test run's process, one fresh database for a test.

Loaded by `pytest_plugins = ["tests.postgres_fixtures"]` in the root conftest. A fresh database is a copy of a migrated
template, which takes some 60 ms where migrating takes ten times that.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from store import migrate
from store.embedded import EmbeddedPostgres

_TEMPLATE = "template_migrated"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A running server with a migrated template database; each worker of a parallel run has its own."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    server.start()
    try:
        migrate.upgrade(server.create_database(_TEMPLATE))
        yield server
    finally:
        server.stop()


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The address of a fresh, migrated database."""
    name = f"test_{next(_numbers)}"
    yield postgres.create_database(name, template=_TEMPLATE)
    postgres.drop_database(name)


@pytest.fixture
def other_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The address of another fresh, migrated database: that of somebody else's server."""
    name = f"test_{next(_numbers)}"
    yield postgres.create_database(name, template=_TEMPLATE)
    postgres.drop_database(name)


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The address of a fresh database without a schema."""
    name = f"test_{next(_numbers)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)

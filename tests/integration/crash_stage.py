"""The fixture `scene`: a server with its database behind a proxy, its operator and its devices, for one test file."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from crash_proxy import DatabaseProxy
from crash_world import World, world

from store.embedded import EmbeddedPostgres
from tests.server_fixtures import Template, serving

_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(
    postgres: EmbeddedPostgres, server_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """One server of two HTTP processes and a worker for all tests of a file; each job is an order of its own."""
    name = f"crash_{next(_numbers)}"
    dsn = postgres.create_database(name, template="template_migrated")
    folder = tmp_path_factory.mktemp("crash")
    with tempfile.TemporaryDirectory(prefix="pg") as sockets:
        async with DatabaseProxy(dsn, Path(sockets)) as proxy:
            running_server = serving(server_template, folder, database_url=proxy.dsn, processes=2)
            server = await asyncio.to_thread(running_server.__enter__)
            try:
                async with world(server, proxy, dsn) as made:
                    yield made
            finally:
                await asyncio.to_thread(running_server.__exit__, None, None, None)
    postgres.drop_database(name)

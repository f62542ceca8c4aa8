"""The fixture `scene`: a server with its database behind a proxy, and everybody who swaps carriers with it."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest
import pytest_asyncio
from crash_world import _issuer
from swap_proxy import SwapProxy
from swap_world import SwapWorld

from crypto.certificates import TrustStore
from hsm_mock import MockVault
from server import running
from server.clock import SystemClock
from server.eim_wiring import eim_of, identity_of
from store.embedded import EmbeddedPostgres
from store.pool import open_pool
from tests.server_fixtures import PASSPHRASE, ServerUnderTest, Template, serving

_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(
    postgres: EmbeddedPostgres, server_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[SwapWorld]:
    """One server of two HTTP processes and a worker for all tests of a file."""
    name = f"swaps_{next(_numbers)}"
    dsn = postgres.create_database(name, template="template_migrated")
    folder = tmp_path_factory.mktemp("swaps")
    with tempfile.TemporaryDirectory(prefix="pg") as sockets:
        proxy = SwapProxy(dsn, Path(sockets))
        async with proxy:
            running_server = serving(
                server_template, folder, ("tests.forking_serve",), database_url=proxy.dsn, processes=2
            )
            server = await asyncio.to_thread(running_server.__enter__)
            try:
                async with swap_world(server, proxy, dsn) as made:
                    yield made
            finally:
                await asyncio.to_thread(running_server.__exit__, None, None, None)
    postgres.drop_database(name)


@asynccontextmanager
async def swap_world(server: ServerUnderTest, proxy: SwapProxy, dsn: str) -> AsyncIterator[SwapWorld]:
    """The players around a running server."""

    def name_of(pid: int) -> str:
        found = running.read(server.settings.data_dir)
        names = [name for name, known in found.processes.items() if known == pid] if found else []
        return names[0] if names else ""

    proxy.name_of = name_of
    async with AsyncExitStack() as stack:
        pool = await open_pool(dsn, 4)
        stack.push_async_callback(pool.close)
        database = await asyncpg.connect(dsn)
        stack.push_async_callback(database.close)
        vault = MockVault.open(server.settings.vault_file, PASSPHRASE)
        identity = identity_of(server.settings, server.pki)
        assert identity is not None
        trust = TrustStore(server.pki.ci_certificates)
        tls = ssl.create_default_context(cadata=server.pki.ci_certificates[0])
        for ci in server.pki.ci_certificates[1:]:
            tls.load_verify_locations(cadata=ci)
        connector = aiohttp.TCPConnector(ssl=tls, force_close=True)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        made = SwapWorld(
            server=server,
            proxy=proxy,
            database=database,
            pool=pool,
            vault=vault,
            eim=eim_of(identity, pool, vault, trust, server.settings.server_names, SystemClock().now),
            issuer=_issuer(server),
            stack=stack,
            http=http,
        )
        await made.found()
        yield made

"""A server told to stop finishes what it has begun; a database that dies under a server is waited for."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
from crash_proxy import DatabaseProxy, Fault, Point
from crash_world import STEP, Job, World, world

from simulator.exchange import NoAnswer, Retries
from store.embedded import EmbeddedPostgres
from tests.server_fixtures import ServerUnderTest, Template, serving

_ONCE = Retries(attempts=1)


@asynccontextmanager
async def _started(template: Template, folder: Path, database_url: str) -> AsyncIterator[ServerUnderTest]:
    running_server = serving(template, folder, database_url=database_url)
    server = await asyncio.to_thread(running_server.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(running_server.__exit__, None, None, None)


async def _ready(server: ServerUnderTest, satisfied: Callable[[int, str], bool]) -> aiohttp.ClientResponse:
    """Ask /readyz until the answer's status and text are as wanted; the answer."""
    host, port = server.address("ops")
    async with aiohttp.ClientSession() as http, asyncio.timeout(60):
        while True:
            async with http.get(f"http://{host}:{port}/readyz") as answer:
                if satisfied(answer.status, await answer.text()):
                    return answer


async def test_request_in_hand_is_answered_while_the_server_stops(
    server_template: Template, tmp_path: Path, database: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="pg") as sockets:
        async with (
            DatabaseProxy(database, Path(sockets)) as proxy,
            _started(server_template, tmp_path, proxy.dsn) as server,
            world(server, proxy, database) as scene,
        ):
            job = await scene.job()
            await scene.order(job)
            initiated = await job.lpa.initiate_authentication(server.name)
            scene.proxy.arm(Point("authenticateClient", STEP), Fault.HELD)
            asked = asyncio.create_task(job.lpa.authenticate_client(initiated, job.matching_id))
            await proxy.fired.wait()
            stopped = asyncio.create_task(asyncio.to_thread(server.stop))
            await _turned_away(scene)
            assert not asked.done()
            proxy.release.set()
            assert (await asked).transaction_id == initiated.transaction_id
            assert job.wire.attempts["authenticateClient"] == 1
            assert await stopped == 0
            (order,) = await scene.rows("orders", "iccid", str(job.iccid))
            assert (order["state"], order["download_attempts"]) == ("released", 1)


async def _turned_away(scene: World) -> None:
    """Make new requests until one is turned away, as all must be once the server is stopping."""
    other = await scene.job()
    async with asyncio.timeout(60):
        while True:
            try:
                await other.lpa.initiate_authentication(scene.server.name, retries=_ONCE)
            except NoAnswer:
                return


async def test_database_killed_under_the_server_loses_nothing_that_was_acknowledged(
    server_template: Template, tmp_path: Path
) -> None:
    async with _started(server_template, tmp_path, "") as server:
        database = EmbeddedPostgres(server.settings.data_dir)
        with tempfile.TemporaryDirectory(prefix="pg") as sockets:
            async with (
                DatabaseProxy(database.dsn(), Path(sockets)) as proxy,
                world(server, proxy, proxy.dsn) as scene,
            ):
                before, under_way = await scene.job(), await scene.job()
                await scene.order(before)
                await scene.install(before)
                await scene.assert_installed(before)
                await scene.order(under_way)
                await _install_while_the_database_dies(scene, under_way, database)
                scene.database = await asyncpg.connect(proxy.dsn)
                for job in (before, under_way):
                    await scene.assert_installed(job)
                await scene.database.close()


async def _install_while_the_database_dies(scene: World, job: Job, database: EmbeddedPostgres) -> None:
    """The supervisor, which would start the database again at once, is held until the device was told to come again."""
    scene.wire = job.wire
    initiated = await job.lpa.initiate_authentication(scene.server.name)
    killed = database.pid
    assert killed is not None
    scene.server.process.send_signal(signal.SIGSTOP)
    os.kill(killed, signal.SIGKILL)
    away = await _ready(scene.server, lambda status, text: status == 503 and "database" in text)
    assert int(away.headers["Retry-After"]) > 0
    job.wire.paused.clear()
    asked = asyncio.create_task(job.lpa.authenticate_client(initiated, job.matching_id))
    await job.wire.paused.wait()
    assert 2.0 in job.wire.pauses, "503 names Retry-After"
    scene.server.process.send_signal(signal.SIGCONT)
    bound = await job.lpa.get_bound_profile_package(await asked)
    assert job.lpa.install(bound).iccid == job.iccid
    assert await job.lpa.send_notifications() == 1
    await _ready(scene.server, lambda status, _: status == 200)
    assert database.pid not in (None, killed)

"""The client of GSMA functions reads whole answers, in however many pieces they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from rsp.errors import Unreachable
from transport.client import GsmaClient

ANSWER = json.dumps({"header": {"functionExecutionStatus": {"status": "Executed-Success"}}, "iccid": "8" * 5000})


@pytest.fixture
async def client() -> AsyncIterator[GsmaClient]:
    async def in_pieces(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for at in range(0, len(ANSWER), 1000):
            await response.write(ANSWER[at : at + 1000].encode())
            for _ in range(20):  # the client, in the same loop, gets to see this piece alone
                await asyncio.sleep(0)
        return response

    async def endless(request: web.Request) -> web.Response:
        return web.Response(body=bytes(5 * 1024 * 1024))

    app = web.Application()
    app.router.add_post("/pieces", in_pieces)
    app.router.add_post("/endless", endless)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        yield GsmaClient(session, f"http://127.0.0.1:{runner.addresses[0][1]}", 5.0)
    await runner.cleanup()


async def test_answer_in_pieces_is_read_to_its_end(client: GsmaClient) -> None:
    assert (await client.call("/pieces", b"{}")).body["iccid"] == "8" * 5000


async def test_answer_that_is_too_long_is_none(client: GsmaClient) -> None:
    with pytest.raises(Unreachable):
        await client.call("/endless", b"{}")

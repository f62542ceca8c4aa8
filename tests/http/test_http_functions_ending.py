"""How connections to GSMA functions end: clients that go or do not come, closed gates, listeners that drain."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.functions_stage import HURRY, LONG, PATIENCE, Client, Functions, connected, request, served, watched
from transport.listening import Patience, listening


async def test_a_function_whose_client_goes_runs_to_its_end_which_the_drain_waits_for(functions: Functions) -> None:
    async with watched(functions) as (connections, port):
        async with connected(port) as client:
            await client.send(request("wait"))
            await functions.began.wait()
        draining = asyncio.create_task(connections.drain())
        async with connected(port) as late:
            # It is closed by then, so the loop has seen that the first one is lost.
            assert await late.rest() == b""
        assert not draining.done()
        functions.may_end.set()
        async with asyncio.timeout(LONG):
            await draining
        await connections.empty()
    assert functions.ended.is_set()
    assert not functions.cancelled


async def test_a_body_that_breaks_off_is_counted_and_nothing_is_called(functions: Functions) -> None:
    async with watched(functions) as (connections, port):
        async with connected(port) as client:
            await client.send(request("echo", b"abc", "Expect: 100-continue")[:-3])
            assert (await client.answer())[0] == 100
        await connections.empty()
    labels = {"interface": "p", "function": "echo", "status": "400"}
    assert functions.counted.get_sample_value("smdp_http_faults_total", labels) == 1
    assert functions.called == []


async def test_idle_connections_are_closed_at_once_and_running_requests_end_when_it_drains(
    functions: Functions,
) -> None:
    async with connected_while_draining(functions, PATIENCE) as (idle, half, busy):
        assert await idle.rest() == b""
        assert await half.rest() == b""
        functions.may_end.set()
        status, headers, body = await busy.answer()
        assert (status, headers["connection"], body) == (200, "close", b"{}")
        # What was sent after it is not begun any more.
        assert await busy.rest() == b""
    assert functions.called == [b"{}"]


async def test_the_drain_does_not_wait_for_a_client_to_take_its_answer(functions: Functions) -> None:
    functions.times = 20_000_000
    patience = replace(PATIENCE, drain_seconds=2 * LONG)
    async with watched(functions, patience) as (connections, port):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(request("wait"))
            await functions.began.wait()
            functions.may_end.set()
            async with asyncio.timeout(LONG):
                await connections.drain()


async def test_a_function_that_takes_longer_than_the_drain_is_cancelled_without_an_answer(
    functions: Functions,
) -> None:
    async with connected_while_draining(functions, HURRY) as (_, __, busy):
        assert await busy.rest() == b""
    assert functions.cancelled


@asynccontextmanager
async def connected_while_draining(
    functions: Functions, patience: Patience
) -> AsyncIterator[tuple[Client, Client, Client]]:
    """An idle client, one that has sent half a header, and one with a running function, when the listener closes."""
    before = asyncio.all_tasks()
    async with asyncio.timeout(LONG):
        listener = listening(functions.service(), ("127.0.0.1", 0), None, patience)
        port = await listener.__aenter__()
        async with connected(port) as idle, connected(port) as half, connected(port) as busy:
            await half.send(b"POST /p/echo HTTP/1.1\r\nHo")
            await idle.send(request("none", b"{}").replace(b"/p/none", b"/p/lost"))
            assert (await idle.answer())[0] == 404
            await busy.send(request("wait") + request("echo"))
            await functions.began.wait()
            draining = asyncio.create_task(listener.__aexit__(None, None, None))
            yield idle, half, busy
            await draining
    assert asyncio.all_tasks() == before


async def test_a_closed_gate_is_503_and_the_end(functions: Functions) -> None:
    async with served(functions.service()) as client:
        functions.gate.open = False
        await client.send(request("echo") * 2)
        status, headers, _ = await client.answer()
        assert (status, headers["retry-after"], headers["connection"]) == (503, "2", "close")
        assert await client.rest() == b""
    assert functions.called == []


@pytest.mark.parametrize("sent", [b"", b"POST /p/echo HTTP/1.1\r\nHost: x\r\nX-Slow: ", request("echo")])
async def test_client_that_sends_no_whole_header_in_time_is_let_go(functions: Functions, sent: bytes) -> None:
    async with served(functions.service(), HURRY) as client:
        await client.send(sent)
        assert (await client.rest()).count(b"HTTP/1.1") == (1 if sent.endswith(b"{}") else 0)


async def test_a_function_may_take_longer_than_an_idle_connection(functions: Functions) -> None:
    async with watched(functions, HURRY) as (_, port), connected(port) as busy, connected(port) as idle:
        await busy.send(request("wait"))
        assert await idle.rest() == b""
        functions.may_end.set()
        assert (await busy.answer())[0] == 200


async def test_nothing_looks_after_connections_when_there_are_none(functions: Functions) -> None:
    # Long enough for a machine that stops for a moment between two requests of the test.
    async with watched(functions, replace(PATIENCE, idle_seconds=2.0)) as (connections, port):
        looks = [connections.is_looking]
        async with connected(port) as one, connected(port) as two:
            for client in (one, two):
                await client.send(request("echo"))
                await client.answer()
            assert len(connections) == 2
            looks.append(connections.is_looking)
            assert await one.rest() == await two.rest() == b""
        await connections.empty()
        connections.look()
        assert [*looks, connections.is_looking] == [False, True, False]

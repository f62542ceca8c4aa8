"""The server of GSMA functions by itself: one answer to each request, in order, and what comes of refused ones."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest
from structlog.contextvars import bind_contextvars
from structlog.testing import capture_logs

from tests.functions_stage import HURRY, LARGE, LONG, PATIENCE, Client, Functions, connected, request, served, watched
from transport.connections import Connections
from transport.listening import listening

# Requests and answers -------------------------------------------------------------------------------------------------


async def test_pipelined_requests_run_one_at_a_time_and_are_answered_in_order(functions: Functions) -> None:
    sent = [request(name, b"%d" % n) for n, name in enumerate(("echo", "wait", "none", "lost", "wait", "echo") * 5)]
    functions.may_end.set()
    async with served(functions.service()) as client:
        await client.send(b"".join(sent))
        answers = [await client.answer() for _ in sent]
    expected = [(200, b"0"), (200, b"1"), (204, b""), (404, None), (200, b"4"), (200, b"5")]
    assert [status for status, _, __ in answers] == [status for status, _ in expected] * 5
    assert [body for status, _, body in answers if status == 200] == [
        b"%d" % n for n in range(30) if n % 6 not in (2, 3)
    ]
    assert functions.most_running == 1


@pytest.mark.parametrize("size", [1, 5, 100])
async def test_a_request_in_parts_is_answered_once(functions: Functions, size: int) -> None:
    sent = request("echo", b"abc") + request("echo", b"def", "Connection: close")
    async with served(functions.service()) as client:
        await client.send(*(sent[at : at + size] for at in range(0, len(sent), size)))
        assert (await client.rest()).count(b"HTTP/1.1 200 OK") == 2
    assert functions.called == [b"abc", b"def"]


async def test_what_comes_while_a_function_runs_waits_outside(functions: Functions) -> None:
    async with listening(functions.service(), ("127.0.0.1", 0), None, PATIENCE) as port:
        with socket.create_connection(("127.0.0.1", port)) as flood:
            flood.sendall(request("wait"))
            await functions.began.wait()
            flood.setblocking(False)
            block, sent = request("none", bytes(900)) * 64, 0
            while (more := _pushed(flood, block)) and sent < 64_000_000:
                sent += more
                # The server has its turn.
                await asyncio.sleep(0)
        assert 0 < sent < 64_000_000
        assert functions.called == [b"{}"]
        functions.may_end.set()


def _pushed(client: socket.socket, data: bytes) -> int:
    """How much of `data` the system takes without waiting; now and then it has room again, so 0 counts twice."""
    for _ in range(2):
        try:
            return client.send(data)
        except BlockingIOError:
            continue
    return 0


async def test_no_request_is_begun_for_a_client_that_leaves_answers_lying(functions: Functions) -> None:
    async with watched(functions, HURRY) as (connections, port):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(request("large") * 50)
            # It is let go once it has been idle too long.
            await connections.empty()
    assert 0 < len(functions.called) < 5


class Watched(asyncio.Transport):
    """A transport that keeps what is written, and delivers what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reads = True

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


async def test_what_comes_while_answers_are_not_taken_waits_until_they_are(functions: Functions) -> None:
    connections = Connections(functions.service(), PATIENCE)
    connection, transport = connections(), Watched()
    connection.connection_made(transport)
    connection.pause_writing()
    connection.data_received(request("echo", b"a"))
    connection.data_received(request("echo", b"b"))
    await asyncio.sleep(0)
    assert (functions.called, transport.reads) == ([], False)
    connection.resume_writing()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (functions.called, transport.reads) == ([b"a", b"b"], True)
    assert len(transport.written) == 2
    connection.connection_lost(None)
    await connections.drain()


@pytest.mark.parametrize("seed", range(30))
async def test_answers_are_to_the_requests_in_their_order_whatever_comes_when(functions: Functions, seed: int) -> None:
    chance = random.Random(seed)
    sent, expected = b"", []
    for number in range(40):
        function, status = chance.choice([("echo", 200), ("turns", 200), ("none", 204)])
        chunked = chance.random() < 0.3
        body = b"%d" % number * chance.choice((1, 1, 400))
        sent += in_chunks(function, body) if chunked else request(function, body)
        expected.append((status, body if status == 200 else None))
    connections = Connections(functions.service(), PATIENCE)
    connection, transport = connections(), Watched()
    connection.connection_made(transport)
    full = False
    async with asyncio.timeout(LONG):
        while sent or len(written(transport)) < len(expected):
            if chance.random() < 0.1:
                full = not full
                (connection.pause_writing if full else connection.resume_writing)()
            if transport.reads:
                size = chance.choice((1, 50, 300, 5000))
                connection.data_received(sent[:size])
                sent = sent[size:]
            await asyncio.sleep(0)
            assert functions.most_running <= 1
    assert [(status, body if status == 200 else None) for status, body in written(transport)] == expected
    connection.connection_lost(None)
    await connections.drain()


def in_chunks(function: str, body: bytes) -> bytes:
    """A request whose body has no length."""
    head = request(function, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def written(transport: Watched) -> list[tuple[int, bytes]]:
    """Status and body of each answer; every one was written in one piece."""
    parts = [answer.split(b"\r\n\r\n", 1) for answer in transport.written]
    return [(int(head.split(b" ")[1]), body) for head, body in parts]


async def test_a_client_that_takes_its_answers_late_gets_all_of_them(functions: Functions) -> None:
    async with served(functions.service()) as client:
        await client.send(request("large") * 5 + request("echo", b"last", "Connection: close"))
        answers = [await client.answer() for _ in range(6)]
    assert [len(body) for _, __, body in answers] == [*[LARGE] * 5, 4]


async def test_path_is_found_whatever_its_query_and_escapes(functions: Functions) -> None:
    async with served(functions.service()) as client:
        for target in ("echo?x=1", "%65cho", "echo#x"):
            await client.send(request(target))
            assert (await client.answer())[0] == 200
        for target in ("echo/", "Echo", "x/../echo", "echo%2F", ""):
            await client.send(request(target))
            assert (await client.answer())[0] == 404


async def test_other_methods_are_405_and_head_has_no_body(functions: Functions) -> None:
    async with served(functions.service()) as client:
        for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"):
            await client.send(request("echo", b"", method=method))
            status, headers, body = await client.answer()
            assert (status, headers["allow"], body) == (405, "post", b"Functions are called with POST.")
        await client.send(request("echo", b"", "Connection: close", method="HEAD"))
        head = await client.rest()
    assert head.startswith(b"HTTP/1.1 405 ")
    assert head.endswith(b"\r\n\r\n")
    assert b"Content-Length: 31" in head


async def test_every_answer_tells_protocol_server_and_time(functions: Functions) -> None:
    async with served(functions.service()) as client:
        for sent in (request("echo"), request("none"), request("lost"), request("broken"), request("forbidden")):
            await client.send(sent)
            _, headers, __ = await client.answer()
            assert headers["x-admin-protocol"] == "gsma/rsp/v2.5.0"
            assert headers["server"] == "smdp-flex"
            assert headers["date"].endswith(" gmt")
            assert "connection" not in headers


async def test_a_fault_of_ours_is_500_with_an_incident_that_the_log_knows(functions: Functions) -> None:
    with capture_logs() as logged:
        async with served(functions.service()) as client:
            await client.send(request("broken") + request("echo"))
            status, _, body = await client.answer()
            assert (await client.answer())[0] == 200
    (failed,) = [entry for entry in logged if entry["event"] == "failed"]
    assert status == 500
    assert failed["incident"].encode() in body
    assert b"secret" not in body


async def test_what_others_bind_to_log_lines_is_unknown_to_a_function(functions: Functions) -> None:
    bind_contextvars(of="whoever has begun to listen")
    async with served(functions.service()) as client:
        for _ in range(2):
            await client.send(request("bind"))
            await client.answer()
    assert functions.bound == [{}, {}]


async def test_connections_inherit_what_the_listener_sets(functions: Functions) -> None:
    async with served(functions.service()) as client:
        await client.send(request("wait"))
        await functions.began.wait()
        functions.may_end.set()
        await client.answer()
        await client.send(request("echo"))
        await client.answer()
        (http,) = functions.seen
        there = http.transport.get_extra_info("socket")
        assert there.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert http.remote == "127.0.0.1"


# Bodies that may not come, or not so ----------------------------------------------------------------------------------


async def test_continue_is_said_to_a_request_whose_body_may_come_and_to_no_other(functions: Functions) -> None:
    async with served(functions.service()) as client:
        await client.send(request("echo", b"abc", "Expect: 100-continue")[:-3])
        assert (await client.answer())[0] == 100
        await client.send(b"abc")
        assert await client.answer() == (200, *(await _same(client, b"abc")))
        await client.send(request("lost", b"abc", "Expect: 100-continue")[:-3])
        assert (await client.answer())[0] == 404


async def _same(client: Client, body: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body of the same answer, asked for once more."""
    await client.send(request("echo", body))
    _, headers, same = await client.answer()
    return headers, same


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("echo", bytes(60)), 413),
        (request("echo", b"abc").replace(b"application/json", b"text/plain"), 415),
        (request("lost", b"abc"), 404),
        (request("echo", b"abc", method="PUT"), 405),
    ],
)
async def test_a_refused_request_ends_the_connection_unless_all_of_it_came(
    functions: Functions, sent: bytes, status: int
) -> None:
    async with listening(functions.service(body_bytes=50), ("127.0.0.1", 0), None, PATIENCE) as port:
        async with connected(port) as client:
            await client.send(sent[:-2])
            found, headers, _ = await client.answer()
            assert (found, headers["connection"]) == (status, "close")
            # The rest of the body is no request, whatever it looks like.
            for part in (sent[-2:], request("echo", b"smuggled"), request("echo", b"smuggled")):
                await client.send(part)
                await asyncio.sleep(0)
            assert await client.rest() == b""
        async with connected(port) as client:
            await client.send(sent)
            assert (await client.answer())[0] == status
            if status != 413:
                await client.send(request("echo", b"next"))
                assert (await client.answer())[0] == 200
    assert functions.called == ([] if status == 413 else [b"next"])


async def test_too_many_requests_of_an_address_are_429(functions: Functions) -> None:
    async with served(functions.service(per_second=0.001)) as client:
        await client.send(request("echo") * 11)
        answers = [await client.answer() for _ in range(11)]
    assert [status for status, _, __ in answers] == [*[200] * 10, 429]
    assert 0 < int(answers[-1][1]["retry-after"]) <= 1000
    assert len(functions.called) == 10


@pytest.mark.parametrize("more", ["Transfer-Encoding: chunked\r\n\r\n", "Content-Length: 40\r\n\r\nabc"])
async def test_a_body_that_does_not_come_is_408_and_the_end(functions: Functions, more: str) -> None:
    start = "POST /p/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    async with served(functions.service(seconds=0.2)) as client:
        await client.send((start + more).encode())
        status, headers, body = await client.answer()
        assert (status, headers["connection"]) == (408, "close")
        assert b"0.2 seconds" in body
        assert await client.rest() == b""
    assert functions.called == []


@pytest.mark.parametrize("cut", [b"", b"5\r\nab"])
async def test_a_bad_chunk_is_400_and_what_follows_is_never_read(functions: Functions, cut: bytes) -> None:
    start = b"POST /p/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with served(functions.service()) as client:
        await client.send(start + cut)
        await client.send(b"XYZ\r\n\r\n" + request("echo"))
        assert (await client.rest()).count(b"HTTP/1.1 400 ") == 1
    assert functions.called == []


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /p/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /p/echo HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
        b"POST /p/echo HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /p/echo HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_400_and_what_follows_is_never_read(functions: Functions, sent: bytes) -> None:
    async with served(functions.service()) as client:
        await client.send(request("echo", b"before"))
        assert (await client.answer())[0] == 200
        await client.send(sent + request("echo", b"after"))
        status, headers, _ = await client.answer()
        assert (status, headers["connection"], headers["server"]) == (400, "close", "smdp-flex")
        assert await client.rest() == b""
    assert functions.called == [b"before"]


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
@pytest.mark.parametrize("method", ["POST", "CONNECT"])
async def test_who_wants_another_protocol_gets_its_answer_and_no_more(
    functions: Functions, method: str, protocol: str
) -> None:
    sent = request("echo", b"{}", "Connection: upgrade", f"Upgrade: {protocol}", method=method)
    sent = sent.replace(b"/p/echo", b"a:443") if method == "CONNECT" else sent
    async with served(functions.service()) as client:
        await client.send(sent + request("echo", b"after"))
        answers = await client.rest()
    assert answers.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in answers
    assert b"after" not in functions.called

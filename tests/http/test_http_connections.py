"""What a client may hold open and send: sizes, slow bodies, slow headers, unfinished handshakes, drained processes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from aiohttp import web

from tests.http_stage import ES9, NAME, Edge, Material, b64, edge
from transport.listening import Patience, listening
from transport.tls import server_context

_LONG = 30.0
"""Seconds after which a test says that something never comes."""
_START = f"POST {ES9}handleNotification HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/json\r\n"


@pytest.fixture
async def small(database: str, edge_material: Material, tmp_path: Path) -> AsyncIterator[Edge]:
    """A process that takes small and quick requests only."""
    async with edge(edge_material, database, tmp_path, max_body_bytes=4096, request_seconds=0.3) as opened:
        yield opened


@asynccontextmanager
async def _connected(edge: Edge) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", edge.settings.es9_port, ssl=edge.material.trust(), server_hostname=NAME
    )
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _everything(reader: asyncio.StreamReader) -> bytes:
    """All until the server closes; a test that would wait for ever fails instead."""
    async with asyncio.timeout(_LONG):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_body_larger_than_the_limit_is_413_and_nothing_is_kept(small: Edge) -> None:
    answer = await small.device("handleNotification", {"pendingNotification": b64(bytes(4096))})
    assert (answer.status, b"4096" in answer.body) == (413, True)
    assert (await small.rows())["notifications"] == []


async def test_body_of_exactly_the_limit_is_taken(small: Edge) -> None:
    body = b'{"pendingNotification":"AAAA"}'
    assert (await small.device("handleNotification", body.ljust(4096))).status == 204
    assert (await small.device("handleNotification", body.ljust(4097))).status == 413


async def test_announced_size_alone_is_refused_before_the_body_comes(small: Edge) -> None:
    async with _connected(small) as (reader, writer):
        writer.write(f"{_START}Content-Length: 99999999999\r\n\r\n".encode())
        answer = await _everything(reader)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_chunks_without_an_end_are_refused_at_the_limit(small: Edge) -> None:
    async with _connected(small) as (reader, writer):
        writer.write(f"{_START}Transfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(5):
            writer.write(b"400\r\n" + b" " * 1024 + b"\r\n")
        answer = await _everything(reader)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_chunked_body_within_the_limit_is_taken(small: Edge) -> None:
    async with _connected(small) as (reader, writer):
        writer.write(f"{_START}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode())
        for part in (b'{"pendingNotif', b'ication":"AAAA"}'):
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        writer.write(b"0\r\n\r\n")
        assert (await _everything(reader)).startswith(b"HTTP/1.1 204 ")


async def test_slow_body_is_408_and_the_connection_ends(small: Edge) -> None:
    async with _connected(small) as (reader, writer):
        writer.write(f'{_START}Content-Length: 40\r\n\r\n{{"pending'.encode())
        answer = await _everything(reader)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"0.3 seconds" in answer
    assert (await small.rows())["notifications"] == []


async def test_body_that_breaks_off_changes_nothing_and_the_next_client_is_served(small: Edge) -> None:
    async with _connected(small) as (_, writer):
        writer.write(f"{_START}Content-Length: 40\r\n\r\n".encode())
        await writer.drain()
    assert (await small.device("handleNotification", {"pendingNotification": ""})).status == 204


@pytest.mark.parametrize(
    "sent",
    [
        b"GET\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello" * 10 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nno colon\r\n\r\n",
        f"{_START}Content-Length: -1\r\n\r\n".encode(),
        f"{_START}Content-Length: 1\r\nContent-Length: 2\r\n\r\n".encode(),
        f"{_START}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n".encode(),
        f"{_START}Transfer-Encoding: chunked\r\n\r\nXYZ\r\n".encode(),
        f"{_START}X-Long: {'a' * 5000}\r\n\r\n".encode(),
        (_START + "".join(f"X-{n}: 1\r\n" for n in range(100)) + "\r\n").encode(),
        b"POST /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=[
        "one word", "version", "tls", "no colon", "negative", "two lengths", "length and chunks", "chunk size",
        "long header", "many headers", "long path",
    ],
)  # fmt: skip
async def test_what_is_no_http_or_too_much_of_it_is_a_4xx_and_the_end(small: Edge, sent: bytes) -> None:
    async with _connected(small) as (reader, writer):
        writer.write(sent)
        answer = await _everything(reader)
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    assert b"Traceback" not in answer


async def test_requests_one_after_the_other_on_one_connection_are_answered_in_order(small: Edge) -> None:
    body = b'{"pendingNotification":""}'
    one = f"{_START}Content-Length: {len(body)}\r\n\r\n".encode() + body
    last = one.replace(b"Host:", b"Connection: close\r\nHost:")
    async with _connected(small) as (reader, writer):
        writer.write(one + one + last)
        answers = await _everything(reader)
    assert answers.count(b"HTTP/1.1 204 ") == 3
    assert len((await small.rows())["notifications"]) == 3


# What no request has come of: bounded by the listener -----------------------------------------------------------------


@asynccontextmanager
async def _impatient(material: Material) -> AsyncIterator[int]:
    """A listener over TLS that waits a fifth of a second for anything; yields its port."""
    context = server_context(material.pki.tls_certificate, material.pki.tls_key)
    patience = Patience(handshake_seconds=0.2, idle_seconds=0.2, stall_seconds=0.2, drain_seconds=1.0)
    async with listening(web.Application(), ("127.0.0.1", 0), context, patience) as port:
        yield port


async def test_client_that_never_begins_its_handshake_is_let_go(edge_material: Material) -> None:
    async with _impatient(edge_material) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await _everything(reader) == b""
        writer.transport.abort()


async def test_client_that_stops_inside_its_handshake_is_let_go(edge_material: Material) -> None:
    outgoing = ssl.MemoryBIO()
    hello = edge_material.trust().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=NAME)
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    async with _impatient(edge_material) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(outgoing.read())
        assert await _everything(reader) != b""
        writer.transport.abort()


@pytest.mark.parametrize("sent", [b"", b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_client_that_never_ends_its_first_header_is_let_go(edge_material: Material, sent: bytes) -> None:
    async with _impatient(edge_material) as port:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=edge_material.trust(), server_hostname=NAME
        )
        writer.write(sent)
        assert await _everything(reader) == b""
        writer.transport.abort()


async def test_client_that_never_ends_its_second_header_is_let_go(edge_material: Material) -> None:
    async with _impatient(edge_material) as port:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=edge_material.trust(), server_hostname=NAME
        )
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHos")
        assert (await _everything(reader)).count(b"HTTP/1.1 404 ") == 1
        writer.transport.abort()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux bounds what a client leaves untaken")
async def test_client_that_never_takes_its_answer_is_let_go(edge_material: Material) -> None:
    given_up = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(65536))
        finally:
            given_up.set()

    app = web.Application()
    app.add_routes([web.get("/", endless)])
    patience = Patience(handshake_seconds=5.0, idle_seconds=5.0, stall_seconds=0.2, drain_seconds=1.0)
    async with listening(app, ("127.0.0.1", 0), None, patience) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            async with asyncio.timeout(_LONG):
                await given_up.wait()


async def test_plain_http_on_the_tls_port_ends_at_once(edge_material: Material) -> None:
    async with _impatient(edge_material) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in await _everything(reader)
        writer.transport.abort()


async def test_tls_before_1_2_is_refused(at_edge: Edge) -> None:
    context = at_edge.material.trust()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", at_edge.settings.es9_port, ssl=context, server_hostname=NAME)


async def test_listener_on_an_address_in_use_leaves_nothing_open(edge_material: Material) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        patience = Patience(handshake_seconds=1.0, idle_seconds=1.0, stall_seconds=1.0, drain_seconds=1.0)
        with pytest.raises(OSError, match="in use"):
            async with listening(web.Application(), taken.getsockname(), None, patience):
                pass


# The limit for each address -------------------------------------------------------------------------------------------


async def test_eleventh_request_at_once_is_429_and_says_when_to_come_back(
    database: str, edge_material: Material, tmp_path: Path
) -> None:
    body = {"pendingNotification": ""}
    async with edge(edge_material, database, tmp_path, requests_per_second=0.01) as limited:
        statuses = [(await limited.device("handleNotification", body)).status for _ in range(10)]
        refused = await limited.device("handleNotification", body)
        assert statuses == [204] * 10
        assert refused.status == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 100
        assert b"Retry-After" in refused.body
        assert len((await limited.rows())["notifications"]) == 10
        operator = [await limited.operator("releaseProfile", {"iccid": "8988211000000000000"}) for _ in range(12)]
        assert {answer.status for answer in operator} == {200}


@pytest.mark.parametrize(("version", "connection"), [("1.1", "close"), ("1.0", "keep-alive"), ("1.0", "close")])
@pytest.mark.parametrize("body", ['{"pendingNotification":"AAAA"}', '{"pendingNotification":"'], ids=["204", "400"])
async def test_client_of_any_version_and_habit_gets_one_whole_answer(
    at_edge: Edge, version: str, connection: str, body: str
) -> None:
    start = _START.replace("HTTP/1.1", f"HTTP/{version}")
    async with _connected(at_edge) as (reader, writer):
        writer.write(f"{start}Connection: {connection}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        if connection == "keep-alive":
            async with asyncio.timeout(_LONG):
                head = await reader.readuntil(b"\r\n\r\n")
            assert b"connection: keep-alive" in head.lower()
        else:
            head = await _everything(reader)
            assert b"connection: keep-alive" not in head.lower()
    assert head.split(b" ", 2)[1] == (b"204" if body.endswith("}") else b"400")
    assert b"\r\nX-Admin-Protocol: gsma/rsp/v2" in head
    assert b"\r\nServer: smdp-flex\r\n" in head
    assert b"\r\nDate: " in head


async def test_usual_answer_says_how_long_it_is_and_when_it_was_made(at_edge: Edge) -> None:
    challenge = {
        "euiccChallenge": b64(bytes(16)),
        "euiccInfo1": b64(bytes.fromhex("bf20098203020200a900aa00")),
        "smdpAddress": NAME,
    }
    answer = await at_edge.device("initiateAuthentication", challenge)
    assert answer.status == 200
    headers = {name.lower(): value for name, value in answer.headers.items()}
    assert int(headers["content-length"]) == len(answer.body)
    assert parsedate_to_datetime(headers["date"]).tzinfo is not None
    assert headers["server"] == "smdp-flex"

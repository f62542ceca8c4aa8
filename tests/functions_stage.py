"""Functions that do what a test wants, behind the server of GSMA functions on plain HTTP, and a client of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from structlog.contextvars import bind_contextvars, get_contextvars

from transport.connections import Connection, Connections
from transport.functions import Gate, Interface, Limits, Service, Turned
from transport.listening import Patience, listening
from transport.metrics import HttpMetrics
from transport.reading import Request
from transport.throttle import Throttle

LONG = 30.0
"""Seconds after which a test says that something never comes."""
LARGE = 4_000_000
PATIENCE = Patience(handshake_seconds=20.0, idle_seconds=20.0, stall_seconds=20.0, drain_seconds=20.0)
HURRY = Patience(handshake_seconds=0.2, idle_seconds=0.2, stall_seconds=20.0, drain_seconds=0.2)


def request(function: str, body: bytes = b"{}", *more: str, method: str = "POST") -> bytes:
    """A request in one piece."""
    lines = [f"{method} /p/{function} HTTP/1.1", "Host: x", "Content-Type: application/json", *more]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


@dataclass(slots=True)
class Functions:
    """What the server calls: `wait` ends when it may, `ended` tells how it did."""

    called: list[bytes] = field(default_factory=list)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: bool = False
    seen: list[Request] = field(default_factory=list)
    bound: list[dict[str, object]] = field(default_factory=list)
    gate: Gate = field(default_factory=Gate)
    counted: CollectorRegistry = field(default_factory=CollectorRegistry)
    times: int = 1
    running: int = 0
    most_running: int = 0

    async def echo(self, http: Request, body: bytes) -> bytes:
        self.called.append(body)
        self.seen.append(http)
        return body

    async def none(self, _: Request, body: bytes) -> None:
        self.called.append(body)

    async def wait(self, _: Request, body: bytes) -> bytes:
        self.called.append(body)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.began.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.running -= 1
            self.ended.set()
        return body * self.times

    async def turns(self, _: Request, body: bytes) -> bytes:
        """Like `echo`, after some turns of the loop."""
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        for _turn in range(body[0] % 5):
            await asyncio.sleep(0)
        self.running -= 1
        return body

    async def large(self, _: Request, body: bytes) -> bytes:
        self.called.append(body)
        return bytes(LARGE)

    async def broken(self, _: Request, __: bytes) -> bytes:
        raise ValueError("a secret of ours")

    async def forbidden(self, _: Request, __: bytes) -> bytes:
        raise Turned(status=403, text="Not you.")

    async def bind(self, _: Request, body: bytes) -> bytes:
        self.bound.append(dict(get_contextvars()))
        bind_contextvars(body=body)
        return b""

    def service(self, *, body_bytes: int = 100_000, seconds: float = 20.0, per_second: float = 0.0) -> Service:
        """All of them below /p/."""
        interface = Interface(
            name="p",
            prefix="/p",
            limits=Limits(body_bytes=body_bytes, seconds=seconds),
            metrics=HttpMetrics(self.counted),
            gate=self.gate,
            throttle=Throttle(per_second) if per_second else None,
        )
        calls = (self.echo, self.turns, self.none, self.wait, self.large, self.broken, self.forbidden, self.bind)
        return interface.application([interface.route(call.__name__, call) for call in calls])


@dataclass(frozen=True, slots=True)
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *sent: bytes) -> None:
        """Bytes that the server sees one after the other."""
        for part in sent:
            self.writer.write(part)
            await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer."""
        async with asyncio.timeout(LONG):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            return (
                int(lines[0].split(" ")[1]),
                headers,
                await self.reader.readexactly(int(headers.get("content-length", 0))),
            )

    async def rest(self) -> bytes:
        """All until the server closes."""
        async with asyncio.timeout(LONG):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def served(service: Service, patience: Patience = PATIENCE) -> AsyncIterator[Client]:
    """A client of a listener of its own."""
    async with listening(service, ("127.0.0.1", 0), None, patience) as port, connected(port) as client:
        yield client


class Watched(Connections):
    """Connections that tell when there are none."""

    def __init__(self, service: Service, patience: Patience) -> None:
        super().__init__(service, patience)
        self._none = asyncio.Event()

    def discard(self, connection: Connection) -> None:
        """It is lost."""
        super().discard(connection)
        if not len(self):
            self._none.set()

    async def empty(self) -> None:
        """Wait until the last one is lost."""
        async with asyncio.timeout(LONG):
            await self._none.wait()


@asynccontextmanager
async def watched(functions: Functions, patience: Patience = PATIENCE) -> AsyncIterator[tuple[Watched, int]]:
    """The same, with a look at its connections."""
    connections = Watched(functions.service(), patience)
    server = await asyncio.get_running_loop().create_server(connections, "127.0.0.1", 0)
    try:
        yield connections, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await connections.drain()

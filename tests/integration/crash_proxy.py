"""A PostgreSQL proxy that counts the writes of each process and lets one of them go wrong.

It reads just enough of the frontend/backend protocol (PostgreSQL documentation, chapter "Message Flow") to know which
statement is executed and when its answer is complete; every byte else passes as it came.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

_SOCKET = ".s.PGSQL.5432"
_CHANGES = re.compile(r"\b(?<!FOR )(INSERT INTO|UPDATE|DELETE FROM) (\w+)")
_NONE = bytes(8)
"""The bigint 0, in binary."""
_COMPLETE = (b"C", b"s")
_GONE = (asyncio.IncompleteReadError, ConnectionError, BrokenPipeError)


class Fault(Enum):
    """What happens at a write.

    BEFORE: the database does not get it. AFTER: the database has done it and its answer is lost. HELD: it waits for
    `release`. KILL ends the process that asked (SIGKILL), DROP its connection.
    """

    KILL_BEFORE = "killed before"
    KILL_AFTER = "killed after"
    DROP_BEFORE = "cut off before"
    DROP_AFTER = "cut off after"
    HELD = "held"

    @property
    def kills(self) -> bool:
        """Whether the process ends."""
        return self in {Fault.KILL_BEFORE, Fault.KILL_AFTER}

    @property
    def is_after(self) -> bool:
        """Whether the database has done the write."""
        return self in {Fault.KILL_AFTER, Fault.DROP_AFTER}


@dataclass(frozen=True, slots=True)
class Point:
    """The nth `write` of its kind in `step`: a function of ES2+ or ES9+, or what the worker does."""

    step: str
    write: str
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.step}, {self.write} #{self.nth}"


def write_of(sql: str) -> str:
    """What a statement changes, in words, or nothing when it only reads."""
    if sql.strip().upper().startswith("COMMIT"):
        return "COMMIT"
    changes = sorted({f"{verb} {table}" for verb, table in _CHANGES.findall(sql)})
    claim = "claim: " if "SKIP LOCKED" in sql and changes else ""
    return claim + ", ".join(changes)


@dataclass(slots=True, eq=False)
class _Connection:
    """One connection of a process; `write` is the statement whose answer is awaited, `held` that answer so far."""

    pid: int
    client: asyncio.StreamWriter
    database: asyncio.StreamWriter
    name: str = ""
    backend: int = 0
    """The process id of the database's own process for it."""
    statements: dict[bytes, str] = field(default_factory=dict)
    bound: str = ""
    write: str = ""
    changed: bool = False
    """Whether the transaction that runs has changed a row."""
    done: bytes = b""
    """What the database says the last statement did; nothing before it is done, or where it failed."""
    counted: bytes = b""
    """The first value of the row it answered last."""
    held: bytearray = field(default_factory=bytearray)

    @property
    def has_changed(self) -> bool:
        """Whether the last statement was done and met a row: one that counts what it changes says so by its number."""
        return bool(self.done) and not self.done.endswith(b" 0") and self.counted != _NONE

    def abort(self) -> None:
        self.client.transport.abort()
        self.database.transport.abort()


class DatabaseProxy:
    """Stands between the processes of a server and their database `dsn`, on a socket in `folder`.

    `name_of` tells the name of a process by its id. The steps of a worker are called `worker`; those of any other
    process by what `step` says, which the test sets to the function it calls.
    """

    def __init__(self, dsn: str, folder: Path) -> None:
        self._folder = folder
        parts = urlsplit(dsn)
        self._target = f"{parse_qs(parts.query)['host'][0]}/{_SOCKET}"
        self.dsn = f"{parts.scheme}://{parts.netloc}{parts.path}?host={quote(str(folder), safe='')}"
        self.name_of: Callable[[int], str] = lambda _: ""
        self.step = ""
        self.writes: list[Point] = []
        self.fired = asyncio.Event()
        self.release = asyncio.Event()
        self._armed: tuple[Point, Fault] | None = None
        self._seen: Counter[tuple[str, str]] = Counter()
        self._connections: set[_Connection] = set()
        self.cut: set[int] = set()
        """The database's own processes for those that were killed: a statement on its way is done after the death."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._moved = asyncio.Event()

    async def __aenter__(self) -> DatabaseProxy:
        self._server = await asyncio.start_unix_server(self._accept, self._folder / _SOCKET)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.release.set()
        for connection in tuple(self._connections):
            connection.abort()
        await asyncio.gather(*self._tasks)

    def arm(self, point: Point | None = None, fault: Fault = Fault.HELD) -> None:
        """Count writes from here on, and let that point go wrong, once."""
        self.writes.clear()
        self._seen.clear()
        self.fired.clear()
        self.release.clear()
        self._armed = (point, fault) if point else None

    def connected(self) -> set[str]:
        """The names of the processes that have a connection now."""
        return {self._name(connection) for connection in self._connections}

    async def until(self, satisfied: Callable[[], Awaitable[bool]], *, within: float = 60.0) -> None:
        """Ask `satisfied` after every answer of the database until it says so. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while True:
                self._moved.clear()
                if await satisfied():
                    return
                await self._moved.wait()

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            answers, database = await asyncio.open_unix_connection(self._target)
        except OSError:
            client.transport.abort()
            return
        connection = _Connection(_peer(client), client, database)
        self._connections.add(connection)
        self._moved.set()
        try:
            await asyncio.gather(self._ask(connection, reader), self._answer(connection, answers))
        finally:
            self._connections.discard(connection)
            connection.abort()
            self._moved.set()

    async def _ask(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        """From the process to the database."""
        with suppress(*_GONE):
            head = await reader.readexactly(4)
            connection.database.write(head + await reader.readexactly(struct.unpack("!I", head)[0] - 4))
            while True:
                kind, message = await _message(reader)
                if await self._goes_wrong_before(connection, kind, message[5:]):
                    break
                connection.database.write(message)
                await connection.database.drain()
        connection.abort()

    async def _answer(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        """From the database to the process; the answer to a write is held until it is complete."""
        with suppress(*_GONE):
            while True:
                kind, message = await _message(reader)
                connection.held += message
                if kind == b"K":
                    connection.backend = struct.unpack("!i", message[5:9])[0]
                if kind == b"D":
                    connection.counted = _first_value(message[5:])
                if kind in _COMPLETE:
                    # A statement asked for one row stops there with PortalSuspended, though all its changes are made.
                    connection.done = message[5:-1] or b"1"
                if kind == b"Z" and connection.write and self._goes_wrong_after(connection):
                    break
                if kind == b"Z" or not connection.write:
                    connection.client.write(bytes(connection.held))
                    connection.held.clear()
                    await connection.client.drain()
                if kind == b"Z":
                    connection.write = ""
                    self._moved.set()
        connection.abort()

    async def _goes_wrong_before(self, connection: _Connection, kind: bytes, content: bytes) -> bool:
        sql = ""
        if kind == b"P":
            name, text = content.split(b"\0")[:2]
            connection.statements[name] = text.decode()
        elif kind == b"B":
            connection.bound = connection.statements[content.split(b"\0")[1]]
            self._hear(connection, content)
        elif kind == b"E":
            sql = connection.bound
        elif kind == b"Q":
            sql = content[:-1].decode()
        return bool(sql) and await self._is_lost(connection, sql)

    async def _is_lost(self, connection: _Connection, sql: str) -> bool:
        """Whether the database does not get the statement that is to be executed."""
        write = self._write(connection, sql)
        connection.write, connection.done, connection.counted = write, b"", b""
        if not write:
            return False
        fault = self._fault_at(self._point(connection, self._seen[self._key(connection)] + 1))
        if fault is Fault.HELD:
            self._armed = None
            self.fired.set()
            await self.release.wait()
        if fault is None or fault.is_after or fault is Fault.HELD:
            return False
        self._strike(connection, fault)
        return True

    def _write(self, connection: _Connection, sql: str) -> str:
        """What a statement is counted as; nothing if it is not. A COMMIT of what changed nothing is no write."""
        if sql.strip().upper().startswith("BEGIN"):
            connection.changed = False
        write = write_of(sql)
        return write if connection.changed or write != "COMMIT" else ""

    def _hear(self, connection: _Connection, values: bytes) -> None:
        """The values of the statement that comes next."""

    def _goes_wrong_after(self, connection: _Connection) -> bool:
        """Count a write that was done; a statement that failed or met no row is none."""
        if not connection.has_changed:
            return False
        connection.changed = connection.write != "COMMIT"
        key = self._key(connection)
        self._seen[key] += 1
        point = self._point(connection, self._seen[key])
        self.writes.append(point)
        fault = self._fault_at(point)
        if fault is None or not fault.is_after:
            return False
        self._strike(connection, fault)
        return True

    def _strike(self, connection: _Connection, fault: Fault) -> None:
        self._armed = None
        if fault.kills:
            self.cut |= {other.backend for other in self._connections if other.pid == connection.pid}
            os.kill(connection.pid, signal.SIGKILL)
        connection.abort()
        self.fired.set()

    def _key(self, connection: _Connection) -> tuple[str, str]:
        name = self._name(connection)
        return "worker" if name.startswith("worker") else self.step if name else "", connection.write

    def _name(self, connection: _Connection) -> str:
        connection.name = connection.name or self.name_of(connection.pid)
        return connection.name

    def _point(self, connection: _Connection, nth: int) -> Point:
        return Point(*self._key(connection), nth)

    def _fault_at(self, point: Point) -> Fault | None:
        return self._armed[1] if self._armed and self._armed[0] == point else None


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """One message after the startup: its type, and all of it."""
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)


def _first_value(row: bytes) -> bytes:
    """Of a DataRow: the number of values, then of each its length (-1 for NULL) and its bytes."""
    (length,) = struct.unpack_from("!i", row, 2)
    return row[6 : 6 + max(length, 0)]


def _peer(writer: asyncio.StreamWriter) -> int:
    """Process id at the other end of a Unix socket."""
    peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", peer)[0])

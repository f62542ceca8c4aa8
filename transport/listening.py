"""One listening socket with bounds on what a client may hold open: handshake, headers, idle connections."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

_BACKLOG = 1024
_MOST_HEADERS = 64
_LONGEST_HEADER = 4096
_LINGER_SECONDS = 2.0
"""How long the rest of a refused body is read and dropped, so that the client gets to see its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a connection may stay without progress, in seconds.

    `handshake_seconds` bounds TLS, `idle_seconds` the wait for a complete request header (the first, and each one
    after an answer), `stall_seconds` the wait for a client to take what it was sent (Linux only), `drain_seconds` what
    running requests get when the listener closes.
    """

    handshake_seconds: float
    idle_seconds: float
    stall_seconds: float
    drain_seconds: float


@asynccontextmanager
async def listening(
    app: web.Application, address: tuple[str, int], context: ssl.SSLContext | None, patience: Patience
) -> AsyncIterator[int]:
    """Answer `app` on (host, port), which other processes may share; yields the port. Closed and drained at the end."""
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        keepalive_timeout=patience.idle_seconds,
        shutdown_timeout=patience.drain_seconds,
        lingering_time=_LINGER_SECONDS,
        max_headers=_MOST_HEADERS,
        max_line_size=_LONGEST_HEADER,
        max_field_size=_LONGEST_HEADER,
    )
    await runner.setup()
    try:
        server = await _bound(runner, _socket(address, patience.stall_seconds), context, patience)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
    finally:
        await runner.cleanup()


def _socket(address: tuple[str, int], stall_seconds: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.create_server(address, family=family, backlog=_BACKLOG, reuse_port=True)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Connections inherit it: the kernel ends one whose client acknowledges or takes nothing for so long.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall_seconds * 1000))
    return listener


async def _bound(
    runner: web.AppRunner, listener: socket.socket, context: ssl.SSLContext | None, patience: Patience
) -> asyncio.Server:
    """The running server. The handshake's bound is why this is no `web.SockSite`, which leaves it at a minute."""
    assert runner.server is not None
    handshake = None if context is None else patience.handshake_seconds
    return await asyncio.get_running_loop().create_server(
        runner.server, sock=listener, ssl=context, backlog=_BACKLOG, ssl_handshake_timeout=handshake
    )

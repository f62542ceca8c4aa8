"""One listening socket with bounds on what a client may hold open: handshake, headers, idle connections."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from transport.connections import BOUNDS, LINGER_SECONDS, Connections
from transport.functions import Service
from transport.patience import Patience

__all__ = ["Patience", "listening"]

_BACKLOG = 1024
_Protocols = Callable[[], asyncio.Protocol]


@asynccontextmanager
async def listening(
    app: Service | web.Application, address: tuple[str, int], context: ssl.SSLContext | None, patience: Patience
) -> AsyncIterator[int]:
    """Answer `app` on (host, port), which other processes may share; yields the port. Closed and drained at the end.

    A Service of GSMA functions is answered by `transport.connections`; an application of aiohttp by its own server.
    """
    made = _aiohttp(app, patience) if isinstance(app, web.Application) else _connections(app, patience)
    async with made as protocols:
        server = await _bound(protocols, _socket(address, patience.stall_seconds), context, patience)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()


@asynccontextmanager
async def _connections(service: Service, patience: Patience) -> AsyncIterator[_Protocols]:
    connections = Connections(service, patience)
    try:
        yield connections
    finally:
        await connections.drain()


@asynccontextmanager
async def _aiohttp(app: web.Application, patience: Patience) -> AsyncIterator[_Protocols]:
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        keepalive_timeout=patience.idle_seconds,
        shutdown_timeout=patience.drain_seconds,
        lingering_time=LINGER_SECONDS,
        max_headers=BOUNDS.lines,
        max_line_size=BOUNDS.line_bytes,
        max_field_size=BOUNDS.line_bytes,
    )
    await runner.setup()
    assert runner.server is not None
    try:
        yield runner.server
    finally:
        await runner.cleanup()


def _socket(address: tuple[str, int], stall_seconds: float) -> socket.socket:
    """A listening socket; connections inherit its options."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.create_server(address, family=family, backlog=_BACKLOG, reuse_port=True)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # The kernel ends a connection whose client acknowledges or takes nothing for so long.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall_seconds * 1000))
    return listener


async def _bound(
    protocols: _Protocols, listener: socket.socket, context: ssl.SSLContext | None, patience: Patience
) -> asyncio.Server:
    """The running server. The handshake's bound is why this is no `web.SockSite`, which leaves it at a minute."""
    handshake = None if context is None else patience.handshake_seconds
    return await asyncio.get_running_loop().create_server(
        protocols, sock=listener, ssl=context, backlog=_BACKLOG, ssl_handshake_timeout=handshake
    )

"""Certificates with which carriers' SM-DP+ call ES2+: let in by the listener as they are registered."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from rsp.errors import Unavailable
from server import logs
from server.repeating import repeated
from transport.tls import BadTls, admit

_log = logs.get("server.callers")

_SECONDS = 5.0
"""A certificate that is registered is let in after this time at the latest."""


class Callers(Protocol):
    """Where certificates of callers are kept."""

    async def callers(self) -> list[str]:
        """The certificates (PEM) with which carriers' SM-DP+ call."""


@asynccontextmanager
async def admitting(context: ssl.SSLContext, store: Callers) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Let registered callers in through `context`, those registered meanwhile too; yields what looks for them at once.

    One that is registered no more still gets a connection until the process ends, and 403 on it.
    """
    admitted: set[str] = set()

    async def look() -> None:
        await _look(context, store, admitted)

    await look()
    async with repeated("callers", look, _SECONDS):
        yield look


async def _look(context: ssl.SSLContext, store: Callers, admitted: set[str]) -> None:
    try:
        found = set(await store.callers()) - admitted
    except Unavailable:
        return
    for certificate in sorted(found):
        admitted.add(certificate)
        try:
            admit(context, certificate)
        except BadTls as error:
            _log.warning("caller not admitted", why=str(error))

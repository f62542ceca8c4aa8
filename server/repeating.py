"""What a process looks at again and again beside its requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from server import logs

_log = logs.get("server.repeating")


@asynccontextmanager
async def repeated(what: str, look: Callable[[], Awaitable[None]], seconds: float) -> AsyncIterator[None]:
    """`look` every so many seconds until the block ends. One that fails is logged as `what`, and is not the last."""
    task = asyncio.create_task(_repeat(what, look, seconds))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _repeat(what: str, look: Callable[[], Awaitable[None]], seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await look()
        except Exception as failed:  # noqa: BLE001 -- whatever it was may have passed at the next look
            _log.error("look failed", what=what, exc_info=failed)

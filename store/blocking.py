"""Lets synchronous code, such as a command or a test fixture, wait for database coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def wait_for(work: Callable[[], Awaitable[T]]) -> T:
    """The result of `work()`, run on an event loop of its own thread, so that a running loop is no obstacle."""

    async def main() -> T:
        return await work()

    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(lambda: asyncio.run(main())).result()

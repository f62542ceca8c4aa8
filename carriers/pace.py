"""Holds back calls to a platform that allows one at a time and so many in a second."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

Pause = Callable[[float], Awaitable[None]]
"""Waits for so many seconds."""


class Pace:
    """An asynchronous context for one call: no second one beside it, and at most `per_second` in any second.

    A call may start one second after the call `per_second` places before it has *ended*: however long the requests
    take to arrive, the platform never sees more of them within a second. It counts within one process, so one process
    alone (the worker) may use a credential, and all its adapters share the Pace of that credential.
    """

    def __init__(
        self, per_second: int = 5, clock: Callable[[], float] = time.monotonic, pause: Pause = asyncio.sleep
    ) -> None:
        if per_second < 1:
            raise ValueError("a pace is at least one call per second")
        self._one = asyncio.Lock()
        self._ends: deque[float] = deque(maxlen=per_second)
        self._clock = clock
        self._pause = pause

    async def __aenter__(self) -> None:
        await self._one.acquire()
        try:
            while (early := self._seconds_early()) > 0.0:
                await self._pause(early)
        except BaseException:
            self._one.release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._ends.append(self._clock())
        self._one.release()

    def _seconds_early(self) -> float:
        if len(self._ends) < (self._ends.maxlen or 0):
            return 0.0
        return self._ends[0] + 1.0 - self._clock()

"""Holds back calls to a platform that allows one at a time and so many in a second, for all processes of all hosts.

What is known about the calls of one credential is a `Line`, kept where every process reaches it: who calls now, when
the latest calls ended, who waits. Each process takes its turn by replacing the line it has read; who was slower reads
again. A caller that dies holds the others up until its lease runs out, and no longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import uuid4

import msgspec

from rsp.errors import Unavailable, Unreachable

Pause = Callable[[float], Awaitable[None]]
"""Waits for so many seconds."""

_SECOND = timedelta(seconds=1)
_ALIVE = timedelta(seconds=3)
"""For how long a waiting caller keeps its place without a word."""
_NEXT_LOOK = 0.05
_LATER_LOOK = 0.2
"""Seconds between the looks of who is next, and of those behind."""


class Busy(Unreachable):
    """The platform's other calls left no room within the time there was. Nothing was asked of it."""


class Waiter(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who waits for a turn; out of the line when nothing was heard of it until `until`."""

    ticket: str
    until: datetime


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of one credential. `holder` calls now, at the longest until `until`; `ends` are the latest, in order.

    All times are those of the clock beside which the line is kept: those of different hosts may differ.
    """

    holder: str = ""
    until: datetime | None = None
    ends: tuple[datetime, ...] = ()
    waiting: tuple[Waiter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A line as it was read: its version, and the time of the clock beside it."""

    line: Line
    version: int
    now: datetime


class Lines(Protocol):
    """Where lines are kept. Raises rsp.errors.Unavailable when it cannot be reached."""

    async def read(self, credential: str) -> Kept:
        """The line of a credential; an empty one of version 0 when there was none."""

    async def replace(self, credential: str, version: int, line: Line) -> bool:
        """Keep this line if it still has that version; whether it had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a platform allows, and what a caller bears.

    `lease` seconds is longer than any call takes; `patience` is how many seconds a caller waits for its turn.
    """

    per_second: int = 5
    lease: float = 35.0
    patience: float = 60.0

    def __post_init__(self) -> None:
        if self.per_second < 1:
            raise ValueError("a pace is at least one call per second")


def asked(line: Line, ticket: str, now: datetime, limits: Limits) -> tuple[Line, float | None]:
    """The line after `ticket` has asked for its turn, and how many seconds it waits before it asks again; None: now.

    First come, first served. A call may start one second after the call `per_second` places before it has *ended*:
    however long the requests take to arrive, the platform never sees more of them within a second.
    """
    line = _tidied(line, now, limits)
    places = [waiter.ticket for waiter in line.waiting]
    ahead = places.index(ticket) if ticket in places else len(places)
    early = _seconds_early(line, now, limits)
    if not line.holder and not ahead and early <= 0.0:
        rest = tuple(waiter for waiter in line.waiting if waiter.ticket != ticket)
        until = now + timedelta(seconds=limits.lease)
        return msgspec.structs.replace(line, holder=ticket, until=until, waiting=rest), None
    if line.holder or ahead:
        early = max(early, _LATER_LOOK if ahead else _NEXT_LOOK)
    return _seen(line, ticket, now), early


def left(line: Line, ticket: str, now: datetime, limits: Limits) -> Line:
    """The line without `ticket`, whether it called or waited."""
    rest = tuple(waiter for waiter in line.waiting if waiter.ticket != ticket)
    if line.holder != ticket:
        return msgspec.structs.replace(line, waiting=rest)
    ends = (*line.ends, now)[-limits.per_second :]
    return msgspec.structs.replace(line, holder="", until=None, ends=ends, waiting=rest)


def _tidied(line: Line, now: datetime, limits: Limits) -> Line:
    """Without the dead: a lease that ran out is a call that ended then, for all we know."""
    if line.holder and line.until is not None and line.until <= now:
        line = left(line, line.holder, line.until, limits)
    return msgspec.structs.replace(line, waiting=tuple(waiter for waiter in line.waiting if waiter.until > now))


def _seconds_early(line: Line, now: datetime, limits: Limits) -> float:
    if len(line.ends) < limits.per_second:
        return 0.0
    return (line.ends[-limits.per_second] + _SECOND - now).total_seconds()


def _seen(line: Line, ticket: str, now: datetime) -> Line:
    """The line with `ticket` in it, its place renewed once half of its time is over."""
    waiting = {waiter.ticket: waiter for waiter in line.waiting}
    known = waiting.get(ticket)
    if known is None or known.until < now + _ALIVE / 2:
        waiting[ticket] = Waiter(ticket=ticket, until=now + _ALIVE)
    return msgspec.structs.replace(line, waiting=tuple(waiting.values()))


class Pace:
    """An asynchronous context for one call with a credential; all adapters of a process share its Pace.

    Within the process, callers wait for each other here; one of them stands in the line of all processes. Raises Busy
    when its patience has ended.
    """

    def __init__(
        self, lines: Lines, credential: str, limits: Limits | None = None, pause: Pause = asyncio.sleep
    ) -> None:
        self._lines = lines
        self._credential = credential
        self._limits = limits or Limits()
        self._pause = pause
        self._one = asyncio.Lock()
        self._ticket = ""

    async def __aenter__(self) -> None:
        try:
            async with asyncio.timeout(self._limits.patience):
                await self._one.acquire()
                try:
                    await self._take_turn()
                except BaseException:
                    self._one.release()
                    raise
        except TimeoutError:
            text = f"the platform had no room for another call within {self._limits.patience:.0f} seconds: try again"
            raise Busy(text) from None

    async def __aexit__(self, *_: object) -> None:
        try:
            # Should this not get through, the lease ends by itself; the outcome of the call stands.
            with suppress(Unavailable):
                await self._leave(self._ticket)
        finally:
            self._one.release()

    async def _take_turn(self) -> None:
        ticket = uuid4().hex
        try:
            while (seconds := await self._ask(ticket)) is not None:
                if seconds > 0.0:
                    await self._pause(seconds)
        except BaseException:
            with suppress(Unavailable):
                await self._leave(ticket)
            raise
        self._ticket = ticket

    async def _ask(self, ticket: str) -> float | None:
        """Seconds until the next look, none at all when somebody else was quicker; None: it is our turn."""
        kept = await self._lines.read(self._credential)
        line, seconds = asked(kept.line, ticket, kept.now, self._limits)
        if line != kept.line and not await self._lines.replace(self._credential, kept.version, line):
            return 0.0
        return seconds

    async def _leave(self, ticket: str) -> None:
        while True:
            kept = await self._lines.read(self._credential)
            line = left(kept.line, ticket, kept.now, self._limits)
            if line == kept.line or await self._lines.replace(self._credential, kept.version, line):
                return

"""Takes messages from the outbox and sends them: in order per line, again and again until the other side has them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from rsp.errors import Unavailable, Unreachable
from smdp.ports import ClaimedMessage, Outbox

_log = structlog.get_logger("webhooks")


class Unwanted(Exception):  # noqa: N818 -- the name is the outcome
    """Nobody asked to be sent this message: it is done with, and nothing is wrong."""


class Undeliverable(Exception):  # noqa: N818 -- the name is the outcome
    """No try will ever get this message through; the text says why."""


Send = Callable[[ClaimedMessage], Awaitable[None]]
"""Sends one message. Raises Unreachable to be asked again later, Undeliverable to give up, Unwanted to drop it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How many messages at once, how long a claim holds (longer than any send), and the pauses between tries.

    `telling_seconds` are the pauses before the outbox is told again what became of a message.
    """

    most: int = 32
    lease_seconds: float = 60.0
    first_seconds: float = 1.0
    longest_seconds: float = 300.0
    telling_seconds: tuple[float, ...] = (0.1, 0.5, 2.0, 5.0)

    def pause(self, attempts: int) -> float:
        """Seconds until the next try after `attempts` failed ones (1 or more): doubling, bounded, with jitter."""
        return min(self.first_seconds * 2.0 ** min(attempts - 1, 30), self.longest_seconds) * random.uniform(0.8, 1.2)  # noqa: S311 -- spreads load


class Sender:
    """Works off the outbox. Any number of them may run: a claim belongs to one.

    Messages fly on their own: an operator that answers slowly holds up nobody else's.
    """

    def __init__(self, outbox: Outbox, kinds: Mapping[str, Send], pace: Pace | None = None) -> None:
        self._outbox = outbox
        self._kinds = kinds
        self._pace = pace or Pace()
        self._flying: set[asyncio.Task[None]] = set()

    async def send_due(self) -> int:
        """Start to send what is due, as far as there is room, and return how many messages were taken.

        Raises Unavailable, also when an earlier message met it: its lease runs out and it is sent again.
        """
        await self._land(asyncio.FIRST_COMPLETED if len(self._flying) >= self._pace.most else None)
        room = self._pace.most - len(self._flying)
        claimed = await self._outbox.claim_messages(room, self._pace.lease_seconds) if room else []
        for message in claimed:
            self._flying.add(asyncio.create_task(self._send(message)))
        return len(claimed)

    async def finish(self) -> None:
        """Wait until everything that flies has landed. Raises what the first failure among it raised."""
        await self._land(asyncio.ALL_COMPLETED)

    async def _land(self, until: str | None) -> None:
        """Put away what has landed, after waiting `until` for it; None does not wait."""
        if until is not None and self._flying:
            await asyncio.wait(self._flying, return_when=until)
        landed = {task for task in self._flying if task.done()}
        self._flying -= landed
        failures = [error for task in landed if (error := task.exception()) is not None]
        if failures:
            raise failures[0]

    async def _send(self, message: ClaimedMessage) -> None:
        send = self._kinds.get(message.kind)
        try:
            if send is None:
                raise Undeliverable(f"nothing here sends messages of kind {message.kind}")
            await send(message)
        except Unreachable as error:
            pause, why = self._pace.pause(message.attempts), str(error)
            await self._told(lambda: self._outbox.retry(message.id, pause, why))
            _log.warning("not delivered", message_id=message.id, line=message.line, attempts=message.attempts)
        except Unwanted as unwanted:
            why = str(unwanted)
            await self._told(lambda: self._outbox.bury(message.id, why))
            _log.debug("not wanted", message_id=message.id, line=message.line)
        except Undeliverable as error:
            why = str(error)
            await self._told(lambda: self._outbox.bury(message.id, why))
            _log.error("buried", message_id=message.id, line=message.line, why=why)
        else:
            await self._told(lambda: self._outbox.sent(message.id))
            _log.info("delivered", message_id=message.id, line=message.line)

    async def _told(self, tell: Callable[[], Awaitable[None]]) -> None:
        """Tell the outbox what became of a message, again after a pause when the database was away for a moment.

        The outcome is known, and without it the line waits for the lease to run out and the message is sent twice.
        """
        for pause in self._pace.telling_seconds:
            try:
                return await tell()
            except Unavailable:
                await asyncio.sleep(pause)
        return await tell()

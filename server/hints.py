"""Hints that a queue has work: they save the wait for the next look, carry nothing else, and any of them may be lost.

Within the worker they set events. From the other processes of a server they arrive as datagrams of one byte through a
socket pair that the supervisor made: no file, no statement, nothing that a commit would have to wait for.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from enum import Enum
from typing import Protocol

from eim.ports import Report, ResultVerdict, ResultWrite
from rsp.identifiers import Eid
from server.tally import CountedInbox, Tally
from smdp.ports import DownloadWrite, Verdict
from store.eim_results import Results
from store.pool import Pool
from store.swaps import Swaps
from swap.record import Change, NewSwap, Swap

_GATHER_SECONDS = 0.1
"""Notifications come in crowds: they are judged together, and none of them waits longer than this."""
_READ_BYTES = 16


class Queue(Enum):
    """A queue of the worker, by the byte that stands for it in a datagram."""

    NOTIFICATIONS = b"n"
    CALLBACKS = b"c"
    RESULTS = b"r"
    SWAPS = b"s"


class Hints(Protocol):
    """Whoever has put something into a queue says so."""

    def tell(self, queue: Queue) -> None:
        """There is work; never waits, never fails."""


class Unheard:
    """For a process without a worker: it looks when it looks."""

    def tell(self, queue: Queue) -> None:
        """Nobody listens."""


class Messenger:
    """Tells the worker of this server, in another process."""

    def __init__(self, sender: socket.socket) -> None:
        sender.settimeout(0)
        self._sender = sender
        self._gathering: asyncio.TimerHandle | None = None

    def tell(self, queue: Queue) -> None:
        """One datagram, at once or, for a crowd of notifications, soon; dropped when many before it are not read."""
        if queue is not Queue.NOTIFICATIONS:
            self._send(queue)
        elif self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(_GATHER_SECONDS, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        self._send(Queue.NOTIFICATIONS)

    def _send(self, queue: Queue) -> None:
        with suppress(OSError):
            self._sender.send(queue.value)


class Bell:
    """The bell of one queue, at which its jobs wait when they have looked and found nothing.

    Each hint wakes one of them, the one that has waited longest; while all are at work, hints are kept, and whoever
    comes to wait then looks once more. More hints than that say nothing new.
    """

    _MOST = 64

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.kept = 0

    def ring(self) -> None:
        """There is work."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return
        self.kept = min(self.kept + 1, self._MOST)

    def ring_all(self) -> None:
        """Everybody looks."""
        for _ in range(len(self._waiting)):
            self.ring()
        self.ring()

    async def wait(self, seconds: float) -> None:
        """Until there is a hint, or so many seconds."""
        if self.kept:
            self.kept -= 1
            return
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(seconds):
                await waiting
        except TimeoutError:
            return
        finally:
            if waiting.cancelled():
                # Who rang has taken it out; to look in vain costs a message about everything that waits.
                with suppress(ValueError):
                    self._waiting.remove(waiting)


class Bells:
    """The worker's side: a bell for each queue."""

    def __init__(self) -> None:
        self._bells = {queue: Bell() for queue in Queue}

    def bell(self, queue: Queue) -> Bell:
        """The bell that hints about `queue` ring."""
        return self._bells[queue]

    def tell(self, queue: Queue) -> None:
        """Ring the bell of that queue."""
        self._bells[queue].ring()

    def all(self) -> None:
        """Everybody looks."""
        for bell in self._bells.values():
            bell.ring_all()

    @contextmanager
    def listening(self, receiver: socket.socket) -> Iterator[None]:
        """Hear the other processes of the server while the block runs."""
        receiver.settimeout(0)
        loop = asyncio.get_running_loop()
        loop.add_reader(receiver, self._hear, receiver)
        try:
            yield
        finally:
            loop.remove_reader(receiver)

    def _hear(self, receiver: socket.socket) -> None:
        with suppress(OSError, ValueError):
            self.tell(Queue(receiver.recv(_READ_BYTES)))


def pair() -> tuple[socket.socket, socket.socket]:
    """Receiver and sender of the hints of one server; its processes inherit them."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)


class HintingInbox(CountedInbox):
    """The kept notifications; tells of new ones, and of the callbacks that judged ones cause."""

    def __init__(self, pool: Pool, tally: Tally, hints: Hints) -> None:
        super().__init__(pool, tally)
        self._hints = hints

    async def keep_notification(self, raw: bytes, received_at: datetime) -> None:
        """See `smdp.ports.NotificationStore`."""
        await super().keep_notification(raw, received_at)
        self._hints.tell(Queue.NOTIFICATIONS)

    async def judge(self, verdict: Verdict, write: DownloadWrite | None) -> None:
        """See `smdp.ports.NotificationStore`."""
        await super().judge(verdict, write)
        if write is not None and write.messages:
            self._hints.tell(Queue.CALLBACKS)

    async def judge_all(self, judgements: Sequence[tuple[Verdict, DownloadWrite | None]]) -> None:
        """See `smdp.ports.NotificationStore`."""
        await super().judge_all(judgements)
        if any(write is not None and write.messages for _, write in judgements):
            self._hints.tell(Queue.CALLBACKS)


class HintingResults(Results):
    """What devices hand in; tells of new results, of swaps that judged ones make due, and of notifications in them."""

    def __init__(self, pool: Pool, hints: Hints) -> None:
        super().__init__(pool)
        self._hints = hints

    async def keep_result(self, raw: bytes, eid: Eid | None, received_at: datetime) -> None:
        """See `eim.ports.ResultStore`."""
        await super().keep_result(raw, eid, received_at)
        self._hints.tell(Queue.RESULTS)

    async def settle(
        self, verdict: ResultVerdict, reports: tuple[Report, ...], now: datetime, write: ResultWrite | None = None
    ) -> None:
        """See `eim.ports.ResultStore`."""
        await super().settle(verdict, reports, now, write)
        if verdict.answered is not None:
            self._hints.tell(Queue.SWAPS)
        if reports:
            self._hints.tell(Queue.NOTIFICATIONS)
            self._hints.tell(Queue.CALLBACKS)


class HintingSwaps(Swaps):
    """Swaps; tells of those that others than the runner make due."""

    def __init__(self, pool: Pool, hints: Hints) -> None:
        super().__init__(pool)
        self._hints = hints

    async def add(self, new: NewSwap, now: datetime) -> Swap:
        """See `swap.ports.SwapStore`."""
        added = await super().add(new, now)
        self._hints.tell(Queue.SWAPS)
        return added

    async def change(self, change: Change, now: datetime) -> Swap:
        """See `swap.ports.SwapStore`."""
        changed = await super().change(change, now)
        self._hints.tell(Queue.SWAPS)
        return changed

    async def wake(self, eids: Collection[Eid], now: datetime) -> int:
        """See `swap.ports.SwapStore`."""
        woken = await super().wake(eids, now)
        if woken:
            self._hints.tell(Queue.SWAPS)
        return woken

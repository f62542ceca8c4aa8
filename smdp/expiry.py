"""Orders past their time: they fail and their owners are told, whether or not a device ever comes (SGP.22 3.1.3)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from rsp.status import Status
from smdp.order import Order, OrderChange, OrderEvent
from smdp.ports import DownloadWrite, TransitionLost
from smdp.progress import NotificationPoint, report


class ExpiringStore(Protocol):
    """Orders that have expired, and the write that ends one."""

    async def expired_orders(self, now: datetime, most: int) -> list[Order]:
        """Up to `most` orders that could be downloaded were it not for their age, the oldest first."""

    async def write(self, write: DownloadWrite) -> None:
        """One commit. Raises TransitionLost when the order is not as it was."""


class Expiry:
    """Ends orders whose lifetime is over. Any number may run: each order is ended once."""

    def __init__(self, store: ExpiringStore, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    async def expire_due(self, most: int) -> int:
        """End up to `most` orders and return how many there were. A late report of success still counts."""
        now = self._now()
        due = await self._store.expired_orders(now, most)
        for order in due:
            told = report(order, NotificationPoint.ELIGIBILITY, now, Status.ORDER_EXPIRED)
            with suppress(TransitionLost):
                await self._store.write(DownloadWrite(order=OrderChange.of(order, OrderEvent.FAIL), messages=(told,)))
        return len(due)

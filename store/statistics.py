"""Counts over the database, for gauges: one process asks, now and then. Those of whole tables cost with their size."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import func, select

from smdp.event import EventState
from store.compiled import compiled
from store.pool import Pool
from store.tables import notifications, orders, smds_events

_ORDERS = compiled(select(orders.c.state, func.count()).group_by(orders.c.state))
_NOTIFICATIONS = compiled(
    select(notifications.c.outcome, func.count())
    .where(notifications.c.judged_at.is_not(None))
    .group_by(notifications.c.outcome)
)
_PENDING = compiled(select(func.count().label("count")).where(notifications.c.judged_at.is_(None)))
_EVENTS = compiled(
    select(smds_events.c.state, func.count())
    .where(smds_events.c.state != EventState.WITHDRAWN.value)
    .group_by(smds_events.c.state)
)
_PING = compiled(select(func.now()))


class Counts:
    """What stands in the tables now."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ping(self) -> None:
        """Return when the database answers. Raises Unavailable."""
        await self._pool.fetch(_PING)

    async def orders_by_state(self) -> Mapping[str, int]:
        """How many orders stand in each state."""
        return dict(await self._pool.fetch(_ORDERS))

    async def events_by_state(self) -> Mapping[str, int]:
        """How many events at SM-DS stand in each state; withdrawn ones do not count."""
        return dict(await self._pool.fetch(_EVENTS))

    async def notifications_by_outcome(self) -> Mapping[str, int]:
        """How many judged notifications came to each outcome."""
        return dict(await self._pool.fetch(_NOTIFICATIONS))

    async def pending_notifications(self) -> int:
        """How many are not judged: few rows of an index, however many are kept."""
        row = await self._pool.fetch_one(_PENDING)
        return 0 if row is None else int(row["count"])

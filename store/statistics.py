"""Counts over the database, for gauges: one process asks, now and then."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import func, select

from store.compiled import compiled
from store.pool import Pool
from store.tables import notifications, orders

_ORDERS = compiled(select(orders.c.state, func.count()).group_by(orders.c.state))
_NOTIFICATIONS = compiled(
    select(func.coalesce(notifications.c.outcome, "pending"), func.count()).group_by(notifications.c.outcome)
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

    async def notifications_by_outcome(self) -> Mapping[str, int]:
        """How many kept notifications came to each outcome; `pending` for those not judged."""
        return dict(await self._pool.fetch(_NOTIFICATIONS))

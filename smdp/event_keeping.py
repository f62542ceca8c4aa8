"""Keeps SM-DS and orders in step: deletes events, registers again, and compares the two (SGP.22 3.6.3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from rsp.errors import Refused, Unreachable
from rsp.identifiers import Iccid
from rsp.status import Status
from smdp.eligibility import DOWNLOADABLE, has_expired
from smdp.event import DOUBT_SECONDS, Event, EventRefused, SmdsPolicy
from smdp.event_ports import Events, SmDs, Wanted, Window
from smdp.order import Order
from smdp.ports import OrderingStore, TransitionLost

_REMOVAL_SECONDS = 45.0
"""How long a removal keeps others from registering an event of the same name: longer than a call may take."""


class EventWanted(Exception):  # noqa: N818 -- the name is the fact
    """The event is not to be deleted (any more)."""


class EventKeeping:
    """What the worker does about events."""

    def __init__(
        self, store: OrderingStore, events: Events, smds: SmDs, policy: SmdsPolicy, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._events = events
        self._smds = smds
        self._policy = policy
        self._now = now
        self._events_after = 0
        self._orders_after = 0

    async def remove(self, number: int) -> None:
        """Delete an event at its SM-DS. Raises EventWanted, or Unreachable to be asked again."""
        event = await self._events.begin_removal(number, _REMOVAL_SECONDS)
        if event is None:
            raise EventWanted("the event is gone already, or was replaced")
        try:
            await self._smds.delete(event)
        except EventRefused as refused:
            if not refused.means(Status.EVENT_UNKNOWN):
                await self._events.not_removed(number, str(refused), 0.0)
                raise Unreachable(str(refused)) from refused
        except Unreachable as lost:
            await self._events.not_removed(number, str(lost), DOUBT_SECONDS)
            raise
        if not await self._events.removed(number):
            raise Unreachable("a lost call may still bring the event back: it will be deleted once more")

    async def give_up(self, number: int, error: str) -> None:
        """The event will not be deleted by us: whoever looks at its order is told, and why."""
        await self._events.not_removed(number, f"given up, the SM-DS may still have it: {error}", 0.0)

    async def reconcile(self, most: int, size: int = 5000) -> int:
        """Compare the next `size` events and orders, and register up to `most`; answers how many were seen to."""
        now = self._now()
        done = await self._events.withdraw_abandoned(now, most)
        window = Window(after=self._events_after, size=size)
        unneeded, self._events_after = await self._events.withdraw_unneeded(now, window)
        window = Window(after=self._orders_after, size=size)
        unannounced, self._orders_after = await self._events.unannounced(now, window)
        done += unneeded
        for tenant_id, iccid in unannounced:
            done += await self._intend(tenant_id, iccid)
        for event in await self._events.claim_due(now, most):
            await self._register(event)
            done += 1
        return done

    async def _intend(self, tenant_id: int, iccid: Iccid) -> bool:
        """Write the event of a released order down as due; False where something stands in the way for now."""
        try:
            async with self._store.begin(tenant_id) as work:
                order = await work.open_order(iccid)
                wanted = None if order is None else _wanted(order, self._now())
                if wanted is not None:
                    await work.events.intend(wanted, 0.0)
                return wanted is not None
        except (Refused, TransitionLost):
            return False

    async def _register(self, event: Event) -> None:
        try:
            await self._smds.register(event, forwarding=self._policy.forwards(event.smds_address))
        except Unreachable as lost:
            await self._events.note(event, str(lost))
        except EventRefused as refused:
            # The order is released under this EventID, so an event of that name is its own.
            if not refused.means(Status.EVENT_REGISTERED_ALREADY):
                await self._events.note(event, str(refused))
                return
            await self._events.confirmed(event)
        else:
            await self._events.confirmed(event)


def _wanted(order: Order, now: datetime) -> Wanted | None:
    """The event that an order needs where it stands."""
    if order.state not in DOWNLOADABLE or has_expired(order, now):
        return None
    if order.smds_address is None or order.eid is None or order.matching_id is None:
        return None
    return Wanted(order_id=order.id, smds_address=order.smds_address, eid=order.eid, event_id=order.matching_id)

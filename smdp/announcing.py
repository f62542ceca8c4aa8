"""An order is released only once the SM-DS has its event (SGP.22 3.6.1, 5.3.2), and no transaction waits for an SM-DS.

The step that releases is tried in a transaction. When it needs an event that is not registered it is undone; the
event is written down, registered, and the step done again, now with the event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from rsp.errors import NothingSent, Refused, Unreachable
from rsp.status import Status
from smdp.event import DOUBT_SECONDS, Event, EventRefused, SmdsPolicy
from smdp.event_ports import SmDs, Wanted
from smdp.order import Order, OrderChange, OrderState
from smdp.ports import OrderingStore, OrderingWork, TransitionLost

GRACE_SECONDS = 180.0
"""Longer than a registration takes with all that belongs to it."""
_RACES = 5
_T = TypeVar("_T")


class Unannounced(Exception):  # noqa: N818 -- the name is the fact
    """A step cannot be done before the event `wanted` is registered; nothing of it was stored."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(f"order {wanted.order_id} has no event at {wanted.smds_address} yet")
        self.wanted = wanted


class NoSmds:
    """For an SM-DP+ without ES12."""

    async def register(self, event: Event, *, forwarding: bool) -> None:  # noqa: ARG002 -- the interface names it
        """Raises Unreachable."""
        raise Unreachable(f"{event.smds_address} cannot be reached: this server has no ES12")

    async def delete(self, event: Event) -> None:
        """Raises Unreachable."""
        raise Unreachable(f"{event.smds_address} cannot be reached: this server has no ES12")


def wanted_event(order: Order, change: OrderChange, *, free: bool = False) -> Wanted | None:
    """The event the order needs after the change; None when it needs none."""
    address = change.smds_address or order.smds_address
    eid, matching_id = change.eid or order.eid, change.matching_id or order.matching_id
    if change.state is not OrderState.RELEASED or address is None or eid is None or matching_id is None:
        return None
    return Wanted(order_id=order.id, smds_address=address, eid=eid, event_id=matching_id, free=free)


async def announced(work: OrderingWork, wanted: Wanted | None, event: Event | None) -> None:
    """Let a step go on whose event is registered, or that needs none. Raises Unannounced, TransitionLost."""
    if wanted is None:
        return
    if event is None or _key(event) != _key(wanted):
        raise Unannounced(wanted)
    await work.events.registered(event)


def _key(event: Event | Wanted) -> tuple[object, ...]:
    return event.order_id, event.smds_address, event.eid, event.event_id


class Announcing:
    """Registers events for steps of ES2+."""

    def __init__(self, store: OrderingStore, smds: SmDs, policy: SmdsPolicy) -> None:
        self._store = store
        self._smds = smds
        self._policy = policy

    async def run(self, tenant_id: int, step: Callable[[Event | None], Awaitable[_T]]) -> _T:
        """Do `step`, a whole transaction, with the event it needs. Raises what it raises, and Refused for an SM-DS."""
        event: Event | None = None
        for _ in range(_RACES):
            try:
                return await step(event)
            except Unannounced as unannounced:
                event = await self._intended(tenant_id, unannounced.wanted)
                try:
                    await self._register(event)
                except Refused as refusal:
                    return await self._unless_done(step, refusal)
            except Refused:
                if event is not None:
                    await self._give_up(event, "the order was refused")
                raise
            except TransitionLost:
                if event is None:
                    raise
                event = None
        raise Refused(Status.EXECUTION_ERROR, "Other requests for this order keep coming first.")

    async def _intended(self, tenant_id: int, wanted: Wanted) -> Event:
        async with self._store.begin(tenant_id) as work:
            return await work.events.intend(wanted, GRACE_SECONDS)

    async def _register(self, event: Event) -> None:
        """Register the event. Raises Refused: then it is withdrawn; what went wrong on the way there is its cause."""
        try:
            await self._smds.register(event, forwarding=self._policy.forwards(event.smds_address))
        except Unreachable as lost:
            if isinstance(lost, NothingSent) and event.attempt == 1:
                await self._disown(event, str(lost))
            else:
                await self._give_up(event, str(lost), DOUBT_SECONDS)
            raise Refused(Status.SMDS_UNREACHABLE) from lost
        except EventRefused as refused:
            if not refused.means(Status.EVENT_REGISTERED_ALREADY):
                await self._give_up(event, str(refused))
                raise _told(refused) from refused
            if event.attempt == 1:
                await self._disown(event, str(refused))
                raise _told(refused) from refused
            # Registered at an earlier attempt whose answer, or whose end, was lost.

    async def _disown(self, event: Event, error: str) -> None:
        async with self._store.begin(event.tenant_id) as work:
            await work.events.disown(event, error)

    async def _give_up(self, event: Event, error: str, doubt_seconds: float = 0.0) -> None:
        async with self._store.begin(event.tenant_id) as work:
            await work.events.failed(event, error, doubt_seconds)

    async def _unless_done(self, step: Callable[[Event | None], Awaitable[_T]], refusal: Refused) -> _T:
        """What another call with the same content has brought about meanwhile, else the refusal."""
        try:
            return await step(None)
        except Unannounced:
            raise refusal from refusal.__cause__


def _told(refused: EventRefused) -> Refused:
    unreachable = refused.means(Status.SMDS_UNREACHABLE)
    return Refused(
        Status.SMDS_UNREACHABLE if unreachable else Status.SMDS_ERROR,
        f"The SM-DS refused the event with {'/'.join(refused.codes)}.",
    )

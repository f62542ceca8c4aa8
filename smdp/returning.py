"""Profiles that come back: the card that held one has deleted it under its signature, and its order ends."""

from __future__ import annotations

from rsp.errors import Refused
from rsp.identifiers import Eid, Iccid
from rsp.status import Status
from smdp.order import TRANSITIONS, Order, OrderChange, OrderEvent, ProfileState
from smdp.ports import Call, OrderingStore, OrderingWork


class Returning:
    """What an operator's own orders may undergo once a card has spoken. Each function is one transaction."""

    def __init__(self, store: OrderingStore) -> None:
        self._store = store

    async def order(self, tenant_id: int, iccid: Iccid, eid: Eid) -> Order | None:
        """The order that holds this profile for this card; None when there is none (any more)."""
        async with self._store.begin(tenant_id) as work:
            return await _order(work, iccid, eid)

    async def confirm_deletion(self, call: Call, iccid: Iccid, eid: Eid, *, reusable: bool) -> None:
        """End the order of a profile that `eid` holds no more; the profile returns to stock, or is withdrawn from it.

        The caller has verified the card's signed result. Raises Refused when no card was handed the profile.
        """
        async with self._store.begin(call.tenant_id) as work:
            if await work.earlier_result(call) is not None:
                return
            order = await _order(work, iccid, eid)
            if order is None:
                raise Refused(Status.ICCID_UNKNOWN)
            if (order.state, OrderEvent.CONFIRM_DELETION) not in TRANSITIONS:
                raise Refused(Status.ICCID_INVALID_TRANSITION, f"The order is {order.state}: no card got the profile.")
            await work.change_order(OrderChange.of(order, OrderEvent.CONFIRM_DELETION))
            state = ProfileState.AVAILABLE if reusable else ProfileState.UNAVAILABLE
            await work.change_profile(order.iccid, ProfileState.ORDERED, state)
            await work.keep_result(call, {})


async def _order(work: OrderingWork, iccid: Iccid, eid: Eid) -> Order | None:
    order = await work.open_order(iccid)
    return order if order is not None and order.eid == eid else None

"""Profiles that come back: the card that held one has deleted it under its signature, and its order ends."""

from __future__ import annotations

from rsp.errors import Refused
from rsp.identifiers import Eid, Iccid
from rsp.status import Status
from smdp.order import TRANSITIONS, Order, OrderChange, OrderEvent, OrderState, ProfileState
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
            order = await work.latest_order(iccid)
            if order is None or order.eid != eid or order.state is OrderState.CANCELLED:
                raise Refused(Status.ICCID_UNKNOWN)
            state = ProfileState.AVAILABLE if reusable else ProfileState.UNAVAILABLE
            await _end(work, order, state)
            await work.keep_result(call, {})


async def _end(work: OrderingWork, order: Order, state: ProfileState) -> None:
    """End the order, unless the card's own notification came first: then its owner's rule has ended or reopened it."""
    if order.state is OrderState.DELETED:
        profile = await work.profile(order.iccid)
        if profile is not None and profile.state is ProfileState.AVAILABLE and state is ProfileState.UNAVAILABLE:
            await work.change_profile(order.iccid, ProfileState.AVAILABLE, state)
        return
    reopened = order.state is OrderState.RELEASED and order.redownloads > 0 and not order.handed_out
    event = OrderEvent.CANCEL if reopened else OrderEvent.CONFIRM_DELETION
    if (order.state, event) not in TRANSITIONS:
        raise Refused(Status.ICCID_INVALID_TRANSITION, f"The order is {order.state}: no card got the profile.")
    await work.change_order(OrderChange.of(order, event))
    await work.change_profile(order.iccid, ProfileState.ORDERED, state)


async def _order(work: OrderingWork, iccid: Iccid, eid: Eid) -> Order | None:
    order = await work.open_order(iccid)
    return order if order is not None and order.eid == eid else None

"""Profiles taken out of stock by hand and brought back: never one that an order holds, or that a card may hold."""

from __future__ import annotations

from rsp.errors import Refused
from rsp.identifiers import Iccid
from rsp.status import Status
from smdp.order import TRANSITIONS, CardState, Order, OrderEvent, OrderState, ProfileState
from smdp.ports import OrderingStore, OrderingWork, StockProfile
from smdp.requests import FinalProfileStatus

_HELD = "A card got this profile and may hold it: see `smdp order show`; --anyway restores it all the same."


class Shelf:
    """The stock of operators, by hand. Each function is one transaction, and done again it changes nothing."""

    def __init__(self, store: OrderingStore) -> None:
        self._store = store

    async def withdraw(self, tenant_id: int, iccid: Iccid) -> None:
        """Take a profile out of stock: it cannot be ordered. Raises Refused for one that an order holds."""
        async with self._store.begin(tenant_id) as work:
            profile = await _known(work, iccid)
            if profile.state is ProfileState.ORDERED:
                raise await _ordered(work, iccid, FinalProfileStatus.UNAVAILABLE)
            if profile.state is ProfileState.AVAILABLE:
                await work.change_profile(iccid, ProfileState.AVAILABLE, ProfileState.UNAVAILABLE)

    async def restore(self, tenant_id: int, iccid: Iccid, *, anyway: bool = False) -> None:
        """Bring a withdrawn profile back. Raises Refused while a card may hold it, unless `anyway`."""
        async with self._store.begin(tenant_id) as work:
            profile = await _known(work, iccid)
            if profile.state is ProfileState.ORDERED:
                raise await _ordered(work, iccid, FinalProfileStatus.AVAILABLE)
            if profile.state is ProfileState.AVAILABLE:
                return
            order = await work.latest_order(iccid)
            if order is not None and not anyway and await _may_be_held(work, order):
                raise Refused(Status.ICCID_NOT_ALLOWED, _HELD)
            await work.change_profile(iccid, ProfileState.UNAVAILABLE, ProfileState.AVAILABLE)


async def _known(work: OrderingWork, iccid: Iccid) -> StockProfile:
    profile = await work.profile(iccid)
    if profile is None:
        raise Refused(Status.ICCID_UNKNOWN)
    return profile


async def _ordered(work: OrderingWork, iccid: Iccid, final: FinalProfileStatus) -> Refused:
    """The refusal of a profile that an order holds: whether cancelling helps, and how."""
    order = await work.latest_order(iccid)
    if order is None or (order.state, OrderEvent.CANCEL) in TRANSITIONS:
        text = f"An order holds this profile: cancel the order, with finalProfileStatusIndicator {final.value}."
    else:
        text = f"The order is {order.state}: a card has got this profile, and only its report of the deletion frees it."
    return Refused(Status.ICCID_IN_USE, text)


async def _may_be_held(work: OrderingWork, order: Order) -> bool:
    """Whether the card of the profile's last order may have it: it said so, or it got the package and said nothing."""
    if order.state is OrderState.DELETED or order.card_state is CardState.DELETED:
        return False
    if order.installed_seq is not None:
        return True
    return order.handed_out and await work.awaits_report(order.id)

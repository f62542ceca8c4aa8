"""Where swaps get profiles: from our own SM-DP+ by the use cases of ES2+ in process, or from a carrier's own."""

from __future__ import annotations

import hashlib

from rsp.errors import Refused, Unreachable
from rsp.identifiers import ActivationCode, Eid, Iccid, MatchingId
from smdp.order import OrderState
from smdp.ordering import CancelOrder, ConfirmOrder, DownloadOrder, FinalProfileStatus, Ordering
from smdp.policy import Policy
from smdp.ports import Call, StockStore, TransitionLost
from smdp.returning import Returning
from swap.plan import Stock
from swap.ports import ProfileRefused, ProfileSource, ProfileState, Returned

_STATES = {
    OrderState.ALLOCATED: ProfileState.RESERVED,
    OrderState.LINKED: ProfileState.RESERVED,
    OrderState.CONFIRMED: ProfileState.RESERVED,
    OrderState.RELEASED: ProfileState.RELEASED,
    OrderState.DOWNLOADED: ProfileState.HANDED_OUT,
    OrderState.INSTALLED: ProfileState.INSTALLED,
    OrderState.ERROR: ProfileState.FAILED,
}


class AllProfiles:
    """`swap.ports.ProfileSource` over both kinds: the stock says at which SM-DP+ the profile lies."""

    def __init__(self, own: ProfileSource, foreign: ProfileSource) -> None:
        self._own = own
        self._foreign = foreign

    def _of(self, stock: Stock) -> ProfileSource:
        return self._foreign if stock.peer_id else self._own

    async def available(self, stock: Stock) -> bool:
        """Whether a profile is left."""
        return await self._of(stock).available(stock)

    async def reserve(self, key: str, stock: Stock, eid: Eid) -> Iccid:
        """Order any profile of the stock for this eSIM alone."""
        return await self._of(stock).reserve(key, stock, eid)

    async def release(self, key: str, stock: Stock, iccid: Iccid, eid: Eid) -> str:
        """Let this eSIM download it; the activation code."""
        return await self._of(stock).release(key, stock, iccid, eid)

    async def state(self, stock: Stock, iccid: Iccid, eid: Eid) -> ProfileState | None:
        """Where the order stands."""
        return await self._of(stock).state(stock, iccid, eid)

    async def recall(self, key: str, stock: Stock, iccid: Iccid, eid: Eid) -> bool:
        """End the order of a profile that no card got."""
        return await self._of(stock).recall(key, stock, iccid, eid)

    async def give_back(self, key: str, stock: Stock, iccid: Iccid, eid: Eid, *, reusable: bool) -> Returned:
        """End the order of a profile that is on the card no more."""
        return await self._of(stock).give_back(key, stock, iccid, eid, reusable=reusable)


class OwnProfiles:
    """The stock of an operator of this SM-DP+. A key is the id of one call: a repetition gets its first result."""

    def __init__(self, ordering: Ordering, returning: Returning, stock: StockStore, policy: Policy) -> None:
        self._ordering = ordering
        self._returning = returning
        self._stock = stock
        self._policy = policy

    async def available(self, stock: Stock) -> bool:
        """Whether a profile is left."""
        found = await self._stock.list_profiles(
            tenant_id=stock.operator_id, state="available", profile_type=stock.profile_type, most=1
        )
        return bool(found)

    async def reserve(self, key: str, stock: Stock, eid: Eid) -> Iccid:
        """DownloadOrder for this eSIM alone. Raises ProfileRefused."""
        call = _call(key, stock, "DownloadOrder", str(eid), stock.profile_type)
        request = DownloadOrder(eid=eid, profile_type=stock.profile_type)
        try:
            return await self._ordering.download_order(call, request)
        except Refused as refused:
            raise ProfileRefused(str(refused)) from None
        except TransitionLost as raced:
            raise Unreachable(f"another order came first: {raced}") from None

    async def release(self, key: str, stock: Stock, iccid: Iccid, eid: Eid) -> str:
        """ConfirmOrder with release; the activation code. Raises ProfileRefused."""
        call = _call(key, stock, "ConfirmOrder", iccid.digits, str(eid))
        try:
            confirmed = await self._ordering.confirm_order(call, ConfirmOrder(iccid=iccid, release=True, eid=eid))
        except Refused as refused:
            raise ProfileRefused(str(refused)) from None
        except TransitionLost as raced:
            raise Unreachable(f"the order changed meanwhile: {raced}") from None
        code = ActivationCode(smdp_address=self._policy.address, matching_id=MatchingId(confirmed.matching_id))
        return str(code)

    async def state(self, stock: Stock, iccid: Iccid, eid: Eid) -> ProfileState | None:
        """Where the order stands; None when this eSIM has none of this profile (any more)."""
        order = await self._returning.order(stock.operator_id, iccid, eid)
        return None if order is None else _STATES[order.state]

    async def recall(self, key: str, stock: Stock, iccid: Iccid, eid: Eid) -> bool:
        """CancelOrder, back into stock; False when a card may hold the profile."""
        call = _call(key, stock, "CancelOrder", iccid.digits, str(eid))
        request = CancelOrder(iccid=iccid, final_status=FinalProfileStatus.AVAILABLE, eid=eid)
        try:
            await self._ordering.cancel_order(call, request)
        except Refused:
            # Refused because a card got it, or because the order is gone: its state tells which.
            return await self.state(stock, iccid, eid) is None
        except TransitionLost as raced:
            raise Unreachable(f"the order changed meanwhile: {raced}") from None
        return True

    async def give_back(self, key: str, stock: Stock, iccid: Iccid, eid: Eid, *, reusable: bool) -> Returned:
        """End the order of a profile that the card has told it holds no more. Raises ProfileRefused."""
        call = _call(key, stock, "ConfirmDeletion", iccid.digits, str(eid), str(reusable))
        try:
            await self._returning.confirm_deletion(call, iccid, eid, reusable=reusable)
        except Refused as refused:
            raise ProfileRefused(str(refused)) from None
        except TransitionLost as raced:
            raise Unreachable(f"the order changed meanwhile: {raced}") from None
        return Returned.IN_STOCK if reusable else Returned.WITHDRAWN


def _call(key: str, stock: Stock, function: str, *said: str) -> Call:
    digest = hashlib.sha256("\0".join((function, *said)).encode()).digest()
    return Call(tenant_id=stock.operator_id, call_id=key, function=function, digest=digest)

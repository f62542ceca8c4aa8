"""Use cases of ES2+: an operator orders, confirms, releases and cancels (SGP.22 5.3.1 to 5.3.4)."""

from __future__ import annotations

import secrets
from base64 import b32encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from crypto.confirmation import hash_of_code
from crypto.sealing import SealingKey
from crypto.vault import Vault
from rsp.errors import Refused
from rsp.identifiers import Eid, Iccid, MatchingId
from rsp.status import Status
from smdp.announcing import Announcing, NoSmds, announced, wanted_event
from smdp.event import Event
from smdp.event_ports import SmDs
from smdp.order import TRANSITIONS, Order, OrderChange, OrderEvent, OrderState, ProfileState
from smdp.policy import Policy
from smdp.ports import Call, Limits, OrderingStore, OrderingWork, StockProfile
from smdp.repeating import same_cancellation, same_code, same_confirmation, same_download_order, same_release
from smdp.requests import CancelOrder, ConfirmOrder, DownloadOrder, FinalProfileStatus
from smdp.sealing import confirmation_context, order_key_context

__all__ = ["CancelOrder", "ConfirmOrder", "Confirmed", "DownloadOrder", "FinalProfileStatus", "Ordering"]

_TOKEN_LETTERS = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789")
"""From base32 to letters that nobody takes for each other, five bits each."""
_TOKEN_LENGTH, _TOKEN_GROUP = 25, 5
_WITHDRAWN = "This profile is withdrawn from stock: have it restored first."
_UNREPORTED = "A card got this profile and has not reported: wait for it, or cancel with Unavailable."


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """Result of ConfirmOrder."""

    eid: str | None
    matching_id: str
    smdp_address: str


class Ordering:
    """ES2+ towards operators. Each function is one transaction; a repeated call gets its earlier result.

    A function that releases an order at an SM-DS is tried, and done again once the event is registered.
    """

    def __init__(
        self,
        store: OrderingStore,
        vault: Vault,
        policy: Policy,
        now: Callable[[], datetime],
        smds: SmDs | None = None,
    ) -> None:
        self._store = store
        self._vault = vault
        self._policy = policy
        self._now = now
        self._announcing = Announcing(store, smds or NoSmds(), policy.smds)

    async def download_order(self, call: Call, request: DownloadOrder) -> Iccid:
        """Reserve a profile: the one named, or any of the type. Raises Refused."""
        async with self._store.begin(call.tenant_id) as work:
            if earlier := await work.earlier_result(call):
                return Iccid(str(earlier["iccid"]))
            profile = await _pick(work, request)
            if profile.state is not ProfileState.AVAILABLE:
                await _same_order_again(work, profile, request)
            else:
                await self._open(work, call.tenant_id, profile, request.eid)
            await work.keep_result(call, {"iccid": profile.iccid.digits})
            return profile.iccid

    async def confirm_order(self, call: Call, request: ConfirmOrder) -> Confirmed:
        """Fix MatchingID and confirmation code, and release when asked. Raises Refused."""
        return await self._announcing.run(call.tenant_id, lambda event: self._confirm(call, request, event))

    async def _confirm(self, call: Call, request: ConfirmOrder, event: Event | None) -> Confirmed:
        async with self._store.begin(call.tenant_id) as work:
            if earlier := await work.earlier_result(call):
                await self._compare_code(work, request, str(earlier["matching_id"]))
                return Confirmed(
                    eid=earlier["eid"],
                    matching_id=str(earlier["matching_id"]),
                    smdp_address=str(earlier["smdp_address"]),
                )
            order = await existing(work, request.iccid)
            eid = _agreed_eid(order, request.eid)
            if eid is None and (request.smds_address or request.matching_id == ""):
                raise Refused(Status.EID_MISSING)
            smds_address = self._policy.smds.accepted(request.smds_address) if request.smds_address else None
            matching_id = order.matching_id
            if not await same_confirmation(self._vault, order, request):
                # The device presents the EventID as MatchingID, so an order at an SM-DS always has one.
                asked = request.matching_id or (None if smds_address else request.matching_id)
                matching_id = event.event_id if event and not asked else _chosen_token(asked)
                change = await self._confirmation(work, order, request, eid, matching_id)
                change = replace(change, smds_address=smds_address)
                await work.change_order(change)
                await announced(work, wanted_event(order, change, free=not asked), event)
            result = Confirmed(
                eid=str(eid) if eid else None,
                matching_id=str(matching_id or ""),
                smdp_address=self._policy.address,
            )
            kept = {"eid": result.eid, "matching_id": result.matching_id, "smdp_address": result.smdp_address}
            await work.keep_result(call, kept)
            return result

    async def cancel_order(self, call: Call, request: CancelOrder) -> None:
        """End an order that is not downloaded; the profile returns to stock or is withdrawn. Raises Refused."""
        async with self._store.begin(call.tenant_id) as work:
            if await work.earlier_result(call) is not None:
                return
            if not await _cancelled_so(work, request):
                await cancel(work, await existing(work, request.iccid), request)
            await work.keep_result(call, {})

    async def release_profile(self, call: Call, iccid: Iccid) -> None:
        """Let a confirmed order be downloaded, for its lifetime from now on. Raises Refused."""
        await self._announcing.run(call.tenant_id, lambda event: self._release(call, iccid, event))

    async def _release(self, call: Call, iccid: Iccid, event: Event | None) -> None:
        async with self._store.begin(call.tenant_id) as work:
            if await work.earlier_result(call) is not None:
                return
            order = await existing(work, iccid)
            if not same_release(order):
                if (order.state, OrderEvent.RELEASE) not in TRANSITIONS:
                    raise _not_now(order)
                change = replace(OrderChange.of(order, OrderEvent.RELEASE), expires_at=await self._expiry(work))
                await work.change_order(change)
                await announced(work, wanted_event(order, change), event)
            await work.keep_result(call, {})

    async def _open(self, work: OrderingWork, tenant_id: int, profile: StockProfile, eid: Eid | None) -> None:
        await work.change_profile(profile.iccid, ProfileState.AVAILABLE, ProfileState.ORDERED)
        await work.add_order(
            Order(
                id=0,
                tenant_id=tenant_id,
                iccid=profile.iccid,
                profile_type=profile.profile_type,
                state=OrderState.LINKED if eid else OrderState.ALLOCATED,
                version=0,
                eid=eid,
                eid_named=eid is not None,
            )
        )

    async def _expiry(self, work: OrderingWork) -> datetime:
        """When an order that is released now can no longer be downloaded."""
        return expiry(self._now(), await work.limits(), self._policy)

    async def _compare_code(self, work: OrderingWork, request: ConfirmOrder, matching_id: str) -> None:
        """A call that comes again brings the same code, as long as its order still knows it. Raises Refused."""
        order = await work.open_order(request.iccid)
        if order is None or order.key_sealed is None or str(order.matching_id or "") != matching_id:
            return
        if not await same_code(self._vault, order, request.confirmation_code):
            raise Refused(Status.CALL_ID_REUSED)

    async def _confirmation(
        self, work: OrderingWork, order: Order, request: ConfirmOrder, eid: Eid | None, matching_id: MatchingId | None
    ) -> OrderChange:
        event = OrderEvent.CONFIRM_AND_RELEASE if request.release else OrderEvent.CONFIRM
        if (order.state, event) not in TRANSITIONS:
            raise _not_now(order)
        key = SealingKey.generate()
        sealed = None
        if request.confirmation_code:
            sealed = key.seal(hash_of_code(request.confirmation_code), confirmation_context(order.id))
        return replace(
            OrderChange.of(order, event),
            eid=eid,
            eid_named=order.eid_named or eid is not None,
            imei=request.imei,
            matching_id=matching_id,
            key_sealed=await self._vault.wrap(key.to_bytes(), order_key_context(order.id)),
            confirmation_sealed=sealed,
            expires_at=await self._expiry(work),
        )


def expiry(now: datetime, limits: Limits, policy: Policy) -> datetime:
    """When an order that is released `now` expires, by the lifetime its operator has chosen."""
    return now + (timedelta(days=limits.order_days) if limits.order_days else policy.order_time)


async def cancel(work: OrderingWork, order: Order, request: CancelOrder) -> None:
    """End `order` as `request` says, and put its profile back or away. Raises Refused."""
    # An EID that the operator never named, because the first card to come brought it, is not asked of the operator.
    if order.eid_named and request.eid is None:
        raise Refused(Status.EID_MISSING)
    _agreed_eid(order, request.eid)
    if request.matching_id is not None and request.matching_id != str(order.matching_id or ""):
        raise Refused(Status.MATCHING_ID_ASSOCIATED_OTHERWISE)
    await withdraw_order(work, order, request.final_status.profile)


async def withdraw_order(work: OrderingWork, order: Order, profile: ProfileState) -> None:
    """End `order` and move its profile. Raises Refused when a card got the profile, or may have."""
    if (order.state, OrderEvent.CANCEL) not in TRANSITIONS:
        raise Refused(Status.ICCID_IN_USE, f"The order is {order.state} and can no longer be cancelled.")
    # Back in stock it could go to a second card while the first one holds it and is only slow to say so.
    if profile is ProfileState.AVAILABLE and order.handed_out and await work.awaits_report(order.id):
        raise Refused(Status.ICCID_IN_USE, _UNREPORTED)
    await work.change_order(OrderChange.of(order, OrderEvent.CANCEL))
    await work.change_profile(order.iccid, ProfileState.ORDERED, profile)


async def _pick(work: OrderingWork, request: DownloadOrder) -> StockProfile:
    """The profile the request names, or one of its type. Raises Refused."""
    if request.iccid is None:
        assert request.profile_type is not None
        is_open = await work.type_open(request.profile_type)
        if not is_open:
            raise Refused(Status.PROFILE_TYPE_UNKNOWN if is_open is None else Status.PROFILE_TYPE_NOT_ALLOWED)
        drawn = await work.draw(request.profile_type)
        if drawn is None:
            raise Refused(Status.PROFILE_TYPE_UNAVAILABLE)
        return drawn
    profile = await work.profile(request.iccid)
    if profile is None:
        raise Refused(Status.ICCID_UNKNOWN)
    if request.profile_type is not None and request.profile_type != profile.profile_type:
        is_open = await work.type_open(request.profile_type)
        raise Refused(Status.PROFILE_TYPE_UNKNOWN if is_open is None else Status.PROFILE_TYPE_MISMATCH)
    if profile.state is ProfileState.UNAVAILABLE:
        raise Refused(Status.ICCID_NOT_ALLOWED, _WITHDRAWN)
    if profile.state is ProfileState.AVAILABLE and not profile.orderable:
        raise Refused(Status.PROFILE_TYPE_NOT_ALLOWED)
    return profile


async def _same_order_again(work: OrderingWork, profile: StockProfile, request: DownloadOrder) -> None:
    """A resent order is answered as before; any other order of a profile in use is refused (SGP.23 4.2)."""
    order = await work.open_order(profile.iccid)
    if order is None or not same_download_order(order, request):
        raise Refused(Status.ICCID_IN_USE)


async def _cancelled_so(work: OrderingWork, request: CancelOrder) -> bool:
    """Whether the same cancellation came before, under another call id."""
    profile = await work.profile(request.iccid)
    if profile is None or profile.state is ProfileState.ORDERED:
        return False
    order = await work.latest_order(request.iccid)
    return order is not None and same_cancellation(order, profile.state, request)


async def existing(work: OrderingWork, iccid: Iccid) -> Order:
    """The order of that ICCID, locked. Raises Refused, also for a profile nobody has ordered or that is withdrawn."""
    order = await work.open_order(iccid)
    if order is not None:
        return order
    profile = await work.profile(iccid)
    if profile is None:
        raise Refused(Status.ICCID_UNKNOWN)
    if profile.state is ProfileState.UNAVAILABLE:
        raise Refused(Status.ICCID_NOT_ALLOWED, _WITHDRAWN)
    raise Refused(Status.ICCID_INVALID_TRANSITION)


def _agreed_eid(order: Order, eid: Eid | None) -> Eid | None:
    if order.eid is not None and eid is not None and order.eid != eid:
        raise Refused(Status.EID_ASSOCIATED_OTHERWISE)
    return order.eid or eid


def _not_now(order: Order) -> Refused:
    text = f"The order is {order.state}."
    if order.state is OrderState.ERROR:
        text = "The order has failed: recoverProfile (`smdp order recover`) opens it again."
    return Refused(Status.ICCID_INVALID_TRANSITION, text)


def _chosen_token(asked: str | None) -> MatchingId | None:
    """The operator's MatchingID, none at all when it asks for that, or a fresh one of 125 random bits."""
    if asked is None:
        token = b32encode(secrets.token_bytes(16)).translate(_TOKEN_LETTERS).decode()
        return MatchingId("-".join(token[at : at + _TOKEN_GROUP] for at in range(0, _TOKEN_LENGTH, _TOKEN_GROUP)))
    if not asked:
        return None
    try:
        return MatchingId(asked)
    except ValueError:
        raise Refused(Status.MATCHING_ID_MALFORMED) from None

"""Use cases of ES2+: an operator orders, confirms, releases and cancels (SGP.22 5.3.1 to 5.3.4)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from crypto.confirmation import hash_of_code
from crypto.sealing import SealingKey
from crypto.vault import Vault
from rsp.errors import Refused
from rsp.identifiers import Eid, Iccid, MatchingId
from rsp.status import Status
from smdp.order import TRANSITIONS, Order, OrderChange, OrderEvent, OrderState, ProfileState
from smdp.policy import Policy
from smdp.ports import Call, OrderingStore, OrderingWork, StockProfile
from smdp.sealing import confirmation_context, order_key_context

_TOKEN_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # noqa: S105 -- letters to draw from, no secret
_TOKEN_GROUPS, _TOKEN_GROUP = 5, 5
_UNREPORTED = "A card got this profile and has not reported: wait for it, or cancel with Unavailable."


class FinalProfileStatus(Enum):
    """finalProfileStatusIndicator of CancelOrder: what becomes of the profile."""

    AVAILABLE = "Available"
    UNAVAILABLE = "Unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadOrder:
    """Input of DownloadOrder: at least one of `iccid` and `profile_type`."""

    eid: Eid | None = None
    iccid: Iccid | None = None
    profile_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmOrder:
    """Input of ConfirmOrder. `matching_id` None: choose one; empty text: none, found by EID (default SM-DP+)."""

    iccid: Iccid
    release: bool
    eid: Eid | None = None
    matching_id: str | None = None
    confirmation_code: str | None = None
    smds_address: str | None = None

    def __repr__(self) -> str:
        return f"ConfirmOrder(iccid={self.iccid}, release={self.release})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """Result of ConfirmOrder."""

    eid: str | None
    matching_id: str
    smdp_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrder:
    """Input of CancelOrder."""

    iccid: Iccid
    final_status: FinalProfileStatus
    eid: Eid | None = None
    matching_id: str | None = None


class Ordering:
    """ES2+ towards operators. Each function is one transaction; a repeated call gets its earlier result."""

    def __init__(self, store: OrderingStore, vault: Vault, policy: Policy, now: Callable[[], datetime]) -> None:
        self._store = store
        self._vault = vault
        self._policy = policy
        self._now = now

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
        async with self._store.begin(call.tenant_id) as work:
            if earlier := await work.earlier_result(call):
                return Confirmed(
                    eid=earlier["eid"],
                    matching_id=str(earlier["matching_id"]),
                    smdp_address=str(earlier["smdp_address"]),
                )
            order = await _existing(work, request.iccid)
            eid = _agreed_eid(order, request.eid)
            if eid is None and (request.smds_address or request.matching_id == ""):
                raise Refused(Status.EID_MISSING)
            if request.smds_address:
                raise Refused(Status.SMDS_UNREACHABLE)
            matching_id = _chosen_token(request.matching_id)
            await work.change_order(await self._confirmation(order, request, eid, matching_id))
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
            order = await _existing(work, request.iccid)
            if order.eid is not None and request.eid is None:
                raise Refused(Status.EID_MISSING)
            _agreed_eid(order, request.eid)
            if request.matching_id is not None and request.matching_id != str(order.matching_id or ""):
                raise Refused(Status.MATCHING_ID_ASSOCIATED_OTHERWISE)
            if (order.state, OrderEvent.CANCEL) not in TRANSITIONS:
                raise Refused(Status.ICCID_IN_USE, f"The order is {order.state} and can no longer be cancelled.")
            reusable = request.final_status is FinalProfileStatus.AVAILABLE
            # Back in stock it could go to a second card while the first one holds it and is only slow to say so.
            if reusable and order.binding is not None and await work.awaits_report(order.id):
                raise Refused(Status.ICCID_IN_USE, _UNREPORTED)
            state = ProfileState.AVAILABLE if reusable else ProfileState.UNAVAILABLE
            await work.change_order(OrderChange.of(order, OrderEvent.CANCEL))
            await work.change_profile(order.iccid, ProfileState.ORDERED, state)
            await work.keep_result(call, {})

    async def release_profile(self, call: Call, iccid: Iccid) -> None:
        """Let a confirmed order be downloaded; one that is released already stays so. Raises Refused."""
        async with self._store.begin(call.tenant_id) as work:
            if await work.earlier_result(call) is not None:
                return
            order = await _existing(work, iccid)
            if order.state is not OrderState.RELEASED:
                if (order.state, OrderEvent.RELEASE) not in TRANSITIONS:
                    raise Refused(Status.ICCID_INVALID_TRANSITION, f"The order is {order.state}.")
                await work.change_order(OrderChange.of(order, OrderEvent.RELEASE))
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
            )
        )

    async def _confirmation(
        self, order: Order, request: ConfirmOrder, eid: Eid | None, matching_id: MatchingId | None
    ) -> OrderChange:
        event = OrderEvent.CONFIRM_AND_RELEASE if request.release else OrderEvent.CONFIRM
        if (order.state, event) not in TRANSITIONS:
            raise Refused(Status.ICCID_INVALID_TRANSITION, f"The order is {order.state}.")
        key = SealingKey.generate()
        sealed = None
        if request.confirmation_code:
            sealed = key.seal(hash_of_code(request.confirmation_code), confirmation_context(order.id))
        return replace(
            OrderChange.of(order, event),
            eid=eid,
            matching_id=matching_id,
            key_sealed=await self._vault.wrap(key.to_bytes(), order_key_context(order.id)),
            confirmation_sealed=sealed,
            expires_at=self._now() + self._policy.order_time,
        )


async def _pick(work: OrderingWork, request: DownloadOrder) -> StockProfile:
    """The profile the request names, or one of its type. Raises Refused."""
    if request.iccid is None:
        assert request.profile_type is not None
        if not await work.knows_type(request.profile_type):
            raise Refused(Status.PROFILE_TYPE_UNKNOWN)
        drawn = await work.draw(request.profile_type)
        if drawn is None:
            raise Refused(Status.PROFILE_TYPE_UNAVAILABLE)
        return drawn
    profile = await work.profile(request.iccid)
    if profile is None:
        raise Refused(Status.ICCID_UNKNOWN)
    if request.profile_type is not None and request.profile_type != profile.profile_type:
        known = await work.knows_type(request.profile_type)
        raise Refused(Status.PROFILE_TYPE_MISMATCH if known else Status.PROFILE_TYPE_UNKNOWN)
    return profile


async def _same_order_again(work: OrderingWork, profile: StockProfile, request: DownloadOrder) -> None:
    """A resent order is answered as before; any other order of a profile in use is refused (SGP.23 4.2)."""
    order = await work.open_order(profile.iccid)
    fresh = order is not None and order.state in (OrderState.ALLOCATED, OrderState.LINKED)
    if order is None or not fresh or order.eid != request.eid:
        raise Refused(Status.ICCID_IN_USE)


async def _existing(work: OrderingWork, iccid: Iccid) -> Order:
    """The order of that ICCID, locked. Raises Refused, also for a profile nobody has ordered."""
    order = await work.open_order(iccid)
    if order is not None:
        return order
    known = await work.profile(iccid)
    raise Refused(Status.ICCID_INVALID_TRANSITION if known else Status.ICCID_UNKNOWN)


def _agreed_eid(order: Order, eid: Eid | None) -> Eid | None:
    if order.eid is not None and eid is not None and order.eid != eid:
        raise Refused(Status.EID_ASSOCIATED_OTHERWISE)
    return order.eid or eid


def _chosen_token(asked: str | None) -> MatchingId | None:
    """The operator's MatchingID, none at all when it asks for that, or a fresh one of 125 random bits."""
    if asked is None:
        groups = ("".join(secrets.choice(_TOKEN_ALPHABET) for _ in range(_TOKEN_GROUP)) for _ in range(_TOKEN_GROUPS))
        return MatchingId("-".join(groups))
    if not asked:
        return None
    try:
        return MatchingId(asked)
    except ValueError:
        raise Refused(Status.MATCHING_ID_MALFORMED) from None

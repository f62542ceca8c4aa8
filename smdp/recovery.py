"""Vendor functions beside ES2+, as several SM-DP+ offer them: where profiles stand, and failed orders opened again.

SGP.22 has neither. A common LPA cancels with endUserRejection on every failure, which ends the order: without
recoverProfile the activation code that its user holds would be dead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from msgspec.structs import replace

from rsp.errors import Refused
from rsp.identifiers import Iccid
from rsp.status import Status
from smdp.announcing import Announcing, NoSmds, announced, wanted_event
from smdp.event import Event
from smdp.event_ports import SmDs
from smdp.order import TRANSITIONS, Order, OrderChange, OrderEvent, OrderState, ProfileState
from smdp.ordering import existing, expiry, withdraw_order
from smdp.policy import Policy
from smdp.ports import Call, OrderingStore, OrderingWork, ProfileStanding

MOST_PROFILES = 1000
"""ICCIDs in one question."""


class Target(Enum):
    """profileStatus of recoverProfile: what becomes of a failed order."""

    RELEASED = "Released"
    AVAILABLE = "Available"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileStatus:
    """Where a profile stands. `state` is a profile state of SGP.22, or what its card has told since, in capitals.

    `locked`: nothing can be ordered or downloaded with it, because it is withdrawn or its order has failed.
    """

    iccid: Iccid
    state: str
    locked: bool
    updated_at: datetime
    eid: str = ""
    matching_id: str = ""


class VendorFunctions:
    """getProfileStatus and recoverProfile."""

    def __init__(
        self, store: OrderingStore, policy: Policy, now: Callable[[], datetime], smds: SmDs | None = None
    ) -> None:
        self._store = store
        self._policy = policy
        self._now = now
        self._announcing = Announcing(store, smds or NoSmds(), policy.smds)

    async def profile_status(self, tenant_id: int, iccids: Sequence[Iccid]) -> list[ProfileStatus]:
        """Where the caller's own profiles among these stand, in the order asked for; others are left out."""
        async with self._store.begin(tenant_id) as work:
            found = {standing.iccid: standing for standing in await work.standings(iccids)}
        return [status_of(found[iccid]) for iccid in dict.fromkeys(iccids) if iccid in found]

    async def recover_profile(self, call: Call, iccid: Iccid, target: Target) -> None:
        """Open a failed order again under the same MatchingID, or give its profile back to stock. Raises Refused."""
        await self._announcing.run(call.tenant_id, lambda event: self._recover(call, iccid, target, event))

    async def _recover(self, call: Call, iccid: Iccid, target: Target, event: Event | None) -> None:
        async with self._store.begin(call.tenant_id) as work:
            if await work.earlier_result(call) is not None:
                return
            if target is Target.RELEASED:
                await self._release_again(work, await existing(work, iccid), event)
            elif not await _returned(work, iccid):
                await _give_back(work, await existing(work, iccid))
            await work.keep_result(call, {})

    async def _release_again(self, work: OrderingWork, order: Order, event: Event | None) -> None:
        """Counters and binding begin anew; card, MatchingID, confirmation code and the order's key stay."""
        if order.state is OrderState.RELEASED:
            return
        if (order.state, OrderEvent.RECOVER) not in TRANSITIONS:
            raise Refused(Status.ICCID_INVALID_TRANSITION, f"The order is {order.state}: only a failed one recovers.")
        change = replace(
            OrderChange.of(order, OrderEvent.RECOVER),
            expires_at=expiry(self._now(), await work.limits(), self._policy),
            reset_attempts=True,
            unbind=True,
        )
        await work.change_order(change)
        await announced(work, wanted_event(order, change), event)


async def _give_back(work: OrderingWork, order: Order) -> None:
    if order.state is not OrderState.ERROR:
        raise Refused(Status.ICCID_INVALID_TRANSITION, f"The order is {order.state}: only a failed one recovers.")
    await withdraw_order(work, order, ProfileState.AVAILABLE)


async def _returned(work: OrderingWork, iccid: Iccid) -> bool:
    """Whether the profile is back in stock already after an order of its own: the call came before."""
    profile = await work.profile(iccid)
    if profile is None or profile.state is not ProfileState.AVAILABLE:
        return False
    order = await work.latest_order(iccid)
    return order is not None and order.state is OrderState.CANCELLED


def status_of(standing: ProfileStanding) -> ProfileStatus:
    """What an operator is told of one profile; a closed order says nothing about a profile that is in stock again."""
    order = standing.order if standing.state is ProfileState.ORDERED else None
    state = standing.state.value
    if order is not None:
        state = order.card_state or order.state.value
    return ProfileStatus(
        iccid=standing.iccid,
        state=state.upper(),
        locked=standing.state is ProfileState.UNAVAILABLE or (order is not None and order.state is OrderState.ERROR),
        updated_at=standing.changed_at,
        eid=str(order.eid or "") if order else "",
        matching_id=str(order.matching_id or "") if order else "",
    )

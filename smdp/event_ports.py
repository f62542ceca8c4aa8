"""What events at SM-DS need from the world: storage, and the SM-DS itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rsp.identifiers import Eid, Iccid, MatchingId
from smdp.event import Event


class SmDs(Protocol):
    """ES12 (SGP.22 5.10)."""

    async def register(self, event: Event, *, forwarding: bool) -> None:
        """Raises smdp.event.EventRefused, rsp.errors.Unreachable: unless that is NothingSent it may be registered."""

    async def delete(self, event: Event) -> None:
        """Raises smdp.event.EventRefused, rsp.errors.Unreachable: then it may have been deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The event an order needs. `free`: nobody but this server chose its EventID, so another would do as well."""

    order_id: int
    smds_address: str
    eid: Eid
    event_id: MatchingId
    free: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """So many rows after this one: large tables are compared piece by piece. The first begins after 0."""

    after: int
    size: int


class EventWork(Protocol):
    """Events within one transaction of ES2+."""

    async def intend(self, wanted: Wanted, grace_seconds: float) -> Event:
        """Write down that the event is about to be registered; every other event of the order is withdrawn.

        Unless it gets further within `grace_seconds` it is seen to by reconciliation. An event of the order that is
        about to be registered is taken over: the same one, or for a free EventID one of the same EID and address.
        Raises Refused(MATCHING_ID_IN_USE) when the EventID serves another order, Refused(SMDS_ERROR) while an earlier
        event of the same name is being removed.
        """

    async def registered(self, event: Event) -> None:
        """The SM-DS has it. Raises TransitionLost when it was withdrawn meanwhile."""

    async def failed(self, event: Event, error: str, doubt_seconds: float) -> None:
        """It was not registered, or for so long perhaps: withdrawn, unless a later attempt is under way."""

    async def disown(self, event: Event, error: str) -> None:
        """Nothing of ours is at the SM-DS: it has an event of that name from somebody else, or never heard of ours."""


class Events(Protocol):
    """Events outside of ES2+. Every method is one round trip."""

    async def begin_removal(self, number: int, lease_seconds: float) -> Event | None:
        """The event to be deleted, kept for its remover for that long; None when it is wanted again, or gone."""

    async def removed(self, number: int) -> bool:
        """The SM-DS has it no more. False when a lost call may still bring it back: ask again later."""

    async def not_removed(self, number: int, error: str, doubt_seconds: float) -> None:
        """Whether the SM-DS has it is not known."""

    async def withdraw_abandoned(self, now: datetime, most: int) -> int:
        """Withdraw what was to be registered, was not, and is not needed; answers how many."""

    async def withdraw_unneeded(self, now: datetime, window: Window) -> tuple[int, int]:
        """Withdraw what of a window of registered events no open order needs: how many, and where the next begins."""

    async def unannounced(self, now: datetime, window: Window) -> tuple[Sequence[tuple[int, Iccid]], int]:
        """(tenant, ICCID) of released orders of a window that have no event at their SM-DS; where the next begins."""

    async def claim_due(self, now: datetime, most: int) -> Sequence[Event]:
        """Events of open orders that are to be registered (again) now; each is due again after a pause."""

    async def confirmed(self, event: Event) -> None:
        """The SM-DS has it, after `claim_due`; nothing happens to one that was withdrawn meanwhile."""

    async def note(self, event: Event, error: str) -> None:
        """It could not be registered again, for this reason."""

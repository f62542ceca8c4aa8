"""What the role swap needs from the world: agreements, platforms, cards, profiles, and storage of swaps.

Calls to the outside have three outcomes: they return, they raise CarrierRefused or ProfileRefused (nothing was
changed), or they raise rsp.errors.Unreachable (not known: ask again, the adapter reads before it acts). Each is
idempotent, by its key where it has one. What cannot reach our own database raises rsp.errors.Unavailable.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from rsp.identifiers import Eid, Iccid
from swap.plan import Account, Capabilities, Stock, Target, Terms
from swap.record import Action, Advance, Change, Claimed, Filter, History, NewSwap, Swap, Told
from swap.swap import StepName


class CarrierRefused(Exception):  # noqa: N818 -- the name is the outcome
    """The carrier's platform says no; a `permanent` no stays one until somebody changes something about this SIM."""

    def __init__(self, text: str, *, permanent: bool) -> None:
        super().__init__(text)
        self.permanent = permanent


class ProfileRefused(Exception):  # noqa: N818 -- the name is the outcome
    """The SM-DP+ says no: out of stock, or the order is not in a state for this."""


class TransitionLost(Exception):  # noqa: N818 -- the name is the fact
    """Somebody else moved the swap first: load it again and decide again."""


class SwapRunning(Exception):  # noqa: N818 -- the name is the fact
    """Another swap of this eSIM is running."""

    def __init__(self, swap_id: int) -> None:
        super().__init__(f"swap {swap_id} of this eSIM is running")
        self.swap_id = swap_id


# Agreements ------------------------------------------------------------------------------------------------------


class Agreements(Protocol):
    """Carriers, and what an enterprise has agreed on with them."""

    async def target(self, tenant_id: int, carrier_id: int) -> Target | None:
        """A carrier this enterprise may know; None for any other as for an unknown one."""

    async def lead(self, tenant_id: int) -> Target:
        """The enterprise's lead carrier."""

    async def terms(self, tenant_id: int, carrier_id: int, country: str | None) -> Terms | str:
        """The terms there for a device in that country (MCC, None if not known); text says why there are none."""


# Platforms -------------------------------------------------------------------------------------------------------


class Billed(StrEnum):
    """Whether a line costs money now, as its platform tells."""

    YES = "yes"
    NO = "no"
    ON_FIRST_USE = "on_first_use"
    COMMITMENT = "commitment"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimFacts:
    """What a platform said about a SIM. `raw_state` is its own word, `read_at` the time."""

    iccid: Iccid
    account: str
    raw_state: str
    billed: Billed
    read_at: datetime

    def __str__(self) -> str:
        return f"SIM {self.iccid} in account {self.account or 'unknown'}, {self.raw_state}, billable: {self.billed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The current or latest data session of a SIM."""

    active: bool
    since: datetime


class Platform(Protocol):
    """One carrier's platform."""

    async def find(self, iccid: Iccid) -> SimFacts | None:
        """What it says about the SIM; None when it does not know it or has no integration."""

    async def allocate(self, iccid: Iccid, target: Account) -> SimFacts:
        """From the inventory to the account, connectable and, where the platform can, not billable; read back."""

    async def release(self, iccid: Iccid, inventory_account: str, *, held_by: str) -> SimFacts:
        """Back to the inventory, from that account alone; read back."""

    async def activate(self, iccid: Iccid) -> SimFacts:
        """Make the line active, billable; read back."""

    async def session(self, iccid: Iccid) -> Session | None:
        """The current or latest session."""


class Platforms(Protocol):
    """Platforms by carrier."""

    async def platform(self, carrier_id: int) -> Platform:
        """The platform of a carrier. Raises CarrierRefused when its configuration cannot be used."""


# Cards -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CardProfile:
    """A profile on a card, as its signed results tell."""

    iccid: Iccid
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What is known about an eSIM. `listed_at`: its latest whole list. `country`: MCC of the network it polled over."""

    profiles: tuple[CardProfile, ...]
    listed_at: datetime | None
    last_poll_at: datetime | None
    country: str | None


class OperationState(StrEnum):
    """Where an operation on an eSIM stands; DOUBTFUL: perhaps executed, being cleared up."""

    QUEUED = "queued"
    SENT = "sent"
    DOUBTFUL = "doubtful"
    DONE = "done"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


OPEN = frozenset({OperationState.QUEUED, OperationState.SENT, OperationState.DOUBTFUL})


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationView:
    """An operation; `result_code` is the card's signed code (0 ok). `sent_at` is None while no device has had it.

    `hearsay` is what the device said of it without its card's signature, at `heard_at`: it proves nothing.
    """

    id: int
    state: OperationState
    result_code: int | None
    detail: str
    sent_at: datetime | None
    ended_at: datetime | None
    hearsay: str = ""
    heard_at: datetime | None = None


class CardControl(Protocol):
    """The eIM. `key` names an operation of the tenant for ever: the same key gives the same operation."""

    async def card(self, tenant_id: int, eid: Eid) -> Card | None:
        """What is known about an eSIM of the tenant."""

    async def download(self, tenant_id: int, key: str, eid: Eid, activation_code: str, expires_at: datetime) -> int:
        """Ask for a download; the id of the operation."""

    async def command(  # noqa: PLR0913, PLR0917 -- the shape the eIM offers
        self,
        tenant_id: int,
        key: str,
        eid: Eid,
        kind: str,
        iccid: Iccid | None,
        rollback: bool,  # noqa: FBT001 -- as above
        expires_at: datetime,
    ) -> int:
        """Ask for `enable`, `delete` or `list`; the id of the operation."""

    async def operation(self, tenant_id: int, operation_id: int) -> OperationView | None:
        """Where an operation stands."""

    async def named(self, tenant_id: int, key: str) -> OperationView | None:
        """The operation with that key, if it was ever asked for."""

    async def withdraw(self, tenant_id: int, operation_id: int) -> bool:
        """Take back an operation that no device has had; whether that came in time.

        So can a download be that the device says it could not do, once the card's signed list has come since.
        """


# Profiles --------------------------------------------------------------------------------------------------------


class ProfileState(StrEnum):
    """Where the order of a profile stands at the SM-DP+. HANDED_OUT: a card got it and may or may not hold it."""

    RESERVED = "reserved"
    RELEASED = "released"
    HANDED_OUT = "handed_out"
    INSTALLED = "installed"
    FAILED = "failed"


class Returned(StrEnum):
    """What became of a profile that came back. KEPT: its SM-DP+ does not let go of it, so a person has to see to it."""

    IN_STOCK = "in_stock"
    WITHDRAWN = "withdrawn"
    KEPT = "kept"


class ProfileSource(Protocol):
    """An SM-DP+ with a carrier's stock of profiles: ours, or the carrier's own."""

    async def available(self, stock: Stock) -> bool:
        """Whether a profile is left; True where the SM-DP+ tells only when one is ordered."""

    async def reserve(self, key: str, stock: Stock, eid: Eid) -> Iccid:
        """Order any profile of the stock for this eSIM alone. Raises ProfileRefused."""

    async def release(self, key: str, stock: Stock, iccid: Iccid, eid: Eid) -> str:
        """Let this eSIM download it; the activation code. Raises ProfileRefused."""

    async def state(self, stock: Stock, iccid: Iccid, eid: Eid) -> ProfileState | None:
        """Where the order stands; None when this eSIM has none of this profile (any more)."""

    async def recall(self, key: str, stock: Stock, iccid: Iccid, eid: Eid) -> bool:
        """End the order of a profile that no card got, and put it back into stock; False when a card may hold it.

        Raises ProfileRefused when neither is so.
        """

    async def give_back(self, key: str, stock: Stock, iccid: Iccid, eid: Eid, *, reusable: bool) -> Returned:
        """End the order of a profile that is proved to be on the card no more; back into stock if `reusable`."""


# Storage ---------------------------------------------------------------------------------------------------------


class SwapStore(Protocol):
    """Swaps, their ledgers, timelines, open actions."""

    async def add(self, new: NewSwap, now: datetime) -> Swap:
        """Store a new swap; a repetition of the same `request` gets the first one. Raises SwapRunning."""

    async def requested(self, tenant_id: int, request: str) -> Swap | None:
        """The tenant's swap that this request made."""

    async def swap(self, tenant_id: int, swap_id: int) -> Swap | None:
        """One swap of the tenant."""

    async def running(self, eid: Eid) -> int | None:
        """The swap of that eSIM that has not ended."""

    async def swaps(self, tenants: Sequence[int] | None, chosen: Filter) -> list[Swap]:
        """Swaps of these tenants, None: of all; newest first."""

    async def history(self, swap_id: int) -> History:
        """Ledger, timeline and actions of a swap, each in order."""

    async def owner_of(self, tenant_id: int, eid: Eid, iccid: Iccid) -> tuple[int, str] | None:
        """Id and name of the carrier from which an earlier swap of this eSIM brought that profile."""

    async def claim_due(self, now: datetime, most: int, lease_seconds: float) -> list[Claimed]:
        """Take up to `most` swaps that are due for `lease_seconds`; no two callers get the same.

        In the same commit the attempt of each is written down as begun, once, unless the swap can be undone and wants
        out at `now`. Writing an advance gives the claim up.
        """

    async def begin(self, swap: Swap, key: str, now: datetime) -> None:
        """Write down that the swap's step and attempt are about to run; once, however often it is repeated."""

    async def wake(self, eids: Collection[Eid], now: datetime) -> int:
        """The running swaps of these eSIMs are due; one that runs a step is due again right after it. How many."""

    async def advance(self, advance: Advance, seen: datetime, now: datetime) -> None:
        """Outcome of an attempt, the swap after it, what is told and asked: one commit. Raises TransitionLost.

        `seen` is when the swap was due as it was claimed: one that was woken since is due at once.
        """

    async def let_go(self, swap: Swap) -> None:
        """Give up the claim on a swap, if it is still ours: it may be claimed again at once."""

    async def change(self, change: Change, now: datetime) -> Swap:
        """What people decide about a running swap. Raises TransitionLost."""

    async def resolve(self, swap: Swap, action: Action, told: tuple[Told, ...], now: datetime) -> None:
        """What people choose about a swap that has ended. Raises TransitionLost."""


__all__ = [
    "OPEN",
    "Account",
    "Agreements",
    "Billed",
    "Capabilities",
    "Card",
    "CardControl",
    "CardProfile",
    "CarrierRefused",
    "OperationState",
    "OperationView",
    "Platform",
    "Platforms",
    "ProfileRefused",
    "ProfileSource",
    "ProfileState",
    "Returned",
    "Session",
    "SimFacts",
    "StepName",
    "Stock",
    "SwapRunning",
    "SwapStore",
    "Target",
    "Terms",
    "TransitionLost",
]

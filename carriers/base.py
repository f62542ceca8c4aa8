"""What a swap asks of a carrier's platform, in neutral words: SIM states, who is billed, sessions, three outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from rsp.identifiers import Iccid


class SimState(StrEnum):
    """Where a subscription stands. Whether it costs somebody money is `Billable` and not told by the state."""

    INVENTORY = "inventory"
    """With the carrier, belonging to no enterprise."""
    ALLOCATED = "allocated"
    """In an enterprise's account, not yet connectable."""
    TEST = "test"
    """Connectable and not billable."""
    READY = "ready"
    """Connectable; the first session makes it active."""
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DEACTIVATED = "deactivated"
    RETIRED = "retired"
    UNKNOWN = "unknown"
    """A word of the platform that the adapter does not know; it stands in `SimFacts.raw_state`."""


class Billable(StrEnum):
    """Whether the subscription costs its account money now; COMMITMENT: only while a minimum term runs."""

    YES = "yes"
    NO = "no"
    ON_FIRST_USE = "on_first_use"
    COMMITMENT = "commitment"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the platform can do for us. Where a member is False, the customer does it and tells us."""

    can_allocate: bool
    can_release: bool
    can_set_billable: bool
    has_connectable_unbilled_state: bool
    reports_sessions: bool
    settable_states: frozenset[SimState] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where a SIM is to go: the enterprise's account and its plans, in the platform's own names."""

    account: str
    rate_plan: str
    communication_plan: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SimFacts:
    """What the platform said about one SIM at `read_at`. `raw_state` is its own word for the state.

    `account`, the plans, `eid`, `imsi` and `msisdn` are empty where the platform does not tell.
    """

    iccid: Iccid
    account: str
    rate_plan: str
    communication_plan: str
    state: SimState
    billable: Billable
    raw_state: str
    read_at: datetime
    eid: str = ""
    imsi: str = ""
    msisdn: str = ""

    def is_in(self, target: Account) -> bool:
        """Whether the SIM is in this account under these plans."""
        return (self.account, self.rate_plan, self.communication_plan) == (
            target.account,
            target.rate_plan,
            target.communication_plan,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The current data session of a SIM, or its latest one; `ended` is None while it is active."""

    iccid: Iccid
    active: bool
    since: datetime
    ended: datetime | None = None


class PlatformRefused(Exception):  # noqa: N818 -- the name is the outcome
    """The platform, or the adapter on its behalf, says no; nothing was changed.

    `code` is the platform's own, or a word of the adapter's. A `permanent` refusal stays one until somebody changes
    something about this SIM or this request; any other may pass by itself or by an administrator's correction.
    """

    def __init__(self, code: str, message: str, *, permanent: bool) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.permanent = permanent


class Platform(Protocol):
    """One carrier's platform. Every call has one of three outcomes.

    It returns: done, and proved by reading back. It raises PlatformRefused: nothing was changed. It raises
    rsp.errors.Unreachable: what happened is not known; call again later, and the adapter reads before it acts.
    Calls are idempotent: what is already so is returned and not done again.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this platform can do."""

    async def find(self, iccid: Iccid) -> SimFacts | None:
        """What the platform says about the SIM; None when it does not know it."""

    async def allocate(self, iccid: Iccid, target: Account) -> SimFacts:
        """Move the SIM from the carrier's inventory to the account, connectable and not billable."""

    async def release(self, iccid: Iccid, inventory_account: str, *, held_by: str = "") -> SimFacts:
        """Move the SIM back to the inventory.

        `held_by` is the account it is to be taken from: a SIM that is elsewhere by now belongs to somebody else and
        is refused. Empty takes it from whoever has it.
        """

    async def set_state(self, iccid: Iccid, state: SimState, *, held_by: str = "") -> SimFacts:
        """Put the SIM into a state. With `held_by`, only in that account: elsewhere it is somebody else's line."""

    async def session(self, iccid: Iccid) -> Session | None:
        """The current or latest session; None when there was none or the platform does not tell."""

    async def check(self) -> None:
        """Try the credentials."""

"""A swap as it is stored: where it stands, its ledger of steps, its timeline, and what is asked of people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from rsp.identifiers import Eid, Iccid
from swap.plan import Plan
from swap.swap import Stage, StepName, SwapState


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One swap. `version` counts its changes and guards each of them.

    `step` and `attempt` name what runs next, or runs. `iccid` is the profile it brings, None until one is reserved;
    `activation_sealed` its activation code, wrapped by the vault, while it is needed. `ending` is what an undoing swap
    ends as. `reason` says why it did not go through, `attention` what a person should look at; both empty otherwise.
    `enabled_at` is when the pivot was passed. `source_billed` and `target_billed` are what was last read about the two
    lines. `request` names the request that made it.
    """

    id: int
    tenant_id: int
    eid: Eid
    plan: Plan
    state: SwapState
    step: StepName
    attempt: int
    version: int
    request: str
    ordered_by: str
    created_at: datetime
    due_at: datetime
    deadline_at: datetime
    iccid: Iccid | None = None
    activation_sealed: bytes | None = field(default=None, repr=False)
    confirmed: bool = False
    cancel_requested: bool = False
    ending: SwapState | None = None
    reason: str = ""
    attention: str = ""
    enabled_at: datetime | None = None
    source_billed: str = ""
    target_billed: str = ""
    ended_at: datetime | None = None

    def key(self, step: StepName, attempt: int) -> str:
        """What an attempt is called towards others: the same however often it is repeated."""
        return f"swap-{self.id}-{step.value}-{attempt}"


class Outcome(StrEnum):
    """What became of an attempt; none while it is not known."""

    DONE = "done"
    REFUSED = "refused"
    GIVEN_UP = "given_up"
    """It came to nothing, and another attempt follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the ledger: written before the attempt begins, completed when it ends; `evidence` proves it."""

    step: StepName
    attempt: int
    key: str
    started_at: datetime
    finished_at: datetime | None = None
    outcome: Outcome | None = None
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A line of the timeline, in words; `stage` is None while undoing. `evidence` is what it rests on."""

    text: str
    stage: Stage | None = None
    evidence: str = ""
    at: datetime | None = None


class ActionKind(StrEnum):
    """TASK: something only the customer can do. DECISION: one of several options is to be chosen."""

    TASK = "task"
    DECISION = "decision"


class About(StrEnum):
    """What an action is about."""

    SOURCE_LINE = "source_line"
    BILLING = "billing"
    NO_SESSION = "no_session"
    ALLOCATION = "allocation"
    KEPT_PROFILE = "kept_profile"
    KEPT_SIM = "kept_sim"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something asked of people. `number` counts from 1 in its swap; `chosen` is empty while it is open."""

    about: About
    kind: ActionKind
    text: str
    options: tuple[str, ...]
    number: int = 0
    created_at: datetime | None = None
    chosen: str = ""
    chosen_by: str = ""
    chosen_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What happened to a swap."""

    ledger: tuple[Entry, ...] = ()
    timeline: tuple[Told, ...] = ()
    actions: tuple[Action, ...] = ()

    def attempts(self, step: StepName) -> int:
        """How many attempts of a step began."""
        return max((entry.attempt for entry in self.ledger if entry.step is step), default=0)

    def entry(self, step: StepName, attempt: int) -> Entry | None:
        """The ledger's line of an attempt."""
        found = (entry for entry in self.ledger if (entry.step, entry.attempt) == (step, attempt))
        return next(found, None)

    def chosen(self) -> Mapping[About, str]:
        """What people have decided."""
        return {action.about: action.chosen for action in self.actions if action.chosen}

    def asked(self) -> frozenset[About]:
        """What people have been asked, answered or not."""
        return frozenset(action.about for action in self.actions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A swap taken by a runner, and what had happened to it before its step was begun with the claim."""

    swap: Swap
    history: History


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSwap:
    """A swap to be stored. `request` is stored once; `actions` are open from the start."""

    tenant_id: int
    eid: Eid
    plan: Plan
    state: SwapState
    request: str
    ordered_by: str
    deadline_at: datetime
    iccid: Iccid | None = None
    actions: tuple[Action, ...] = ()
    told: tuple[Told, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """One commit of the runner: `swap` as it is afterwards, still with the version it was read with.

    `entry` completes the ledger's line of the attempt that ran.
    """

    swap: Swap
    entry: Entry | None = None
    told: tuple[Told, ...] = ()
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One commit of people: `swap` afterwards, still with the version it was read with, and an action resolved."""

    swap: Swap
    told: tuple[Told, ...] = ()
    resolved: Action | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which swaps a list shows: at most `most`, with ids below `before`."""

    eid: Eid | None = None
    state: SwapState | None = None
    open_only: bool = False
    before: int | None = None
    most: int = 50

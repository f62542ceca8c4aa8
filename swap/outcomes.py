"""What a step gets to see, what it may come to, and the times swaps are given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from rsp.identifiers import Iccid
from swap.plan import Stock
from swap.record import Action, Entry, History, Swap
from swap.swap import StepName, SwapState

_FRACTION = 20
_DOUBLINGS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long things may take.

    `operation`: until a device has fetched and answered one operation. `verify`: from the enable until a session must
    be seen. `report`: how long two reports of one fact may lie apart. `skew`: by how much clocks of platforms differ.
    `swap`: the whole swap, up to the pivot. `doubt`: how long an outcome may stay unknown before a person should look.
    A waiting swap looks again after a twentieth of the time it has waited, within `soonest` and `latest`. One that
    waits for its device is woken when the card has answered, and looks only after twice the time, within `device`: that
    finds what no card said, such as an operation whose time ran out.
    """

    operation: timedelta = timedelta(hours=24)
    verify: timedelta = timedelta(minutes=15)
    report: timedelta = timedelta(minutes=10)
    skew: timedelta = timedelta(seconds=30)
    swap: timedelta = timedelta(days=7)
    doubt: timedelta = timedelta(minutes=10)
    retry: timedelta = timedelta(minutes=1)
    soonest: timedelta = timedelta(milliseconds=200)
    latest: timedelta = timedelta(seconds=60)
    device: timedelta = timedelta(hours=1)
    downloads: int = 3
    deletions: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One attempt of one step. `wants_out`: the customer has cancelled, or time ran out; it says why, else empty."""

    swap: Swap
    history: History
    entry: Entry
    now: datetime
    timing: Timing
    wants_out: str = ""

    @property
    def key(self) -> str:
        """What this attempt is called towards others."""
        return self.entry.key

    @property
    def iccid(self) -> Iccid:
        """The profile this swap brings; steps that use it come after it is known."""
        assert self.swap.iccid is not None, "the profile is reserved, supplied or held by now"
        return self.swap.iccid

    @property
    def stock(self) -> Stock:
        """Where the profile comes from; only plans with stock of ours have steps that ask."""
        assert self.swap.plan.target.stock is not None, "a plan with steps for stock names it"
        return self.swap.plan.target.stock

    @property
    def expires_at(self) -> datetime:
        """When an operation asked for now expires."""
        return self.now + self.timing.operation

    def later(self) -> datetime:
        """When to look again."""
        waited = (self.now - self.entry.started_at) / _FRACTION
        return self.now + min(max(waited, self.timing.soonest), self.timing.latest)

    def for_device(self) -> datetime:
        """When to look again for what the card's answer makes due before; not after a deadline that is to come."""
        waited = self.now - self.entry.started_at
        looks = self.now + min(max(waited, self.timing.soonest), self.timing.device)
        return min(looks, self.swap.deadline_at) if self.now < self.swap.deadline_at else looks

    def pause(self) -> timedelta:
        """Before an attempt like this one is made again: longer each time."""
        doublings = min(self.entry.attempt - 1, _DOUBLINGS)
        doubled: timedelta = self.timing.retry * 2**doublings
        return min(doubled, max(self.timing.device, self.timing.retry))

    def latest_key(self, step: StepName) -> str | None:
        """The key of the latest attempt of a step; None when none began."""
        attempts = self.history.attempts(step)
        return self.swap.key(step, attempts) if attempts else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """It is so, and `evidence` says what proves it. `swap` carries what was learnt; `actions` go to people."""

    evidence: str
    swap: Swap | None = None
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Not yet: look again at `until`. Nothing has failed; `attention` says that a person should look nevertheless."""

    until: datetime
    why: str
    attention: bool = False
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """It is not so, and will not be: undo, to end as `ending`. Where there is no way back, a person has to look."""

    why: str
    ending: SwapState = SwapState.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """It may or may not be so: neither go on nor undo; ask again with the same key."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """This attempt came to nothing, and left nothing behind: make another one, after a pause that people hear of."""

    why: str
    after: timedelta = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class FellBack:
    """The card's signed word: it went back to the profile before after all."""

    why: str


StepOutcome = Done | Wait | Refused | Unknown | Again | FellBack


class Step(Protocol):
    """One step; running it again with the same key repeats nothing."""

    async def run(self, context: Context) -> StepOutcome:
        """Bring the step on. May raise CarrierRefused, ProfileRefused, Unreachable."""

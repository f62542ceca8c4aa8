"""Runs or undoes swaps: claims what is due, runs one step, writes what became of it; a crash anywhere changes nothing.

Before a step runs, its attempt is written down; its outcome and everything that follows from it are one commit. A swap
that waits is a row with a time. Whoever continues it reads again, and asks again under the same keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from crypto.vault import Vault
from rsp.errors import Unreachable
from swap.allocation import Allocate, CheckAllocated, Customer, Prepare, Reserve
from swap.card_steps import ConfirmOnCard, Download, Enable
from swap.commitment import Close, Commit, Verify
from swap.outcomes import Again, Context, Done, FellBack, Refused, Step, StepOutcome, Timing, Unknown, Wait
from swap.ports import CardControl, CarrierRefused, Platforms, ProfileRefused, ProfileSource, SwapStore, TransitionLost
from swap.record import Advance, Entry, History, Outcome, Swap, Told
from swap.swap import ENDED, STAGE_OF, STATE_OF, UNDOABLE, StepName, SwapEvent, SwapState, after, onward, undone
from swap.undo import DeleteOnCard, Recall, Release, Return, Withdraw

_N = StepName
_OUT_OF_TIME = "the swap ran out of time"
_CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Everything a swap reaches."""

    profiles: ProfileSource
    platforms: Platforms
    cards: CardControl
    vault: Vault


def steps_of(outside: Outside) -> Mapping[StepName, Step]:
    """Every step with its port."""
    profiles, platforms, cards = outside.profiles, outside.platforms, outside.cards
    return {
        _N.RESERVE: Reserve(profiles),
        _N.ALLOCATE: Allocate(platforms),
        _N.CHECK: CheckAllocated(platforms),
        _N.CUSTOMER: Customer(),
        _N.PREPARE: Prepare(profiles, outside.vault),
        _N.DOWNLOAD: Download(cards, profiles, outside.vault),
        _N.CONFIRM: ConfirmOnCard(cards),
        _N.ENABLE: Enable(cards),
        _N.VERIFY: Verify(platforms, cards),
        _N.COMMIT: Commit(platforms, cards),
        _N.CLOSE: Close(platforms),
        _N.WITHDRAW: Withdraw(cards),
        _N.RECALL: Recall(profiles),
        _N.DELETE: DeleteOnCard(cards, profiles),
        _N.RETURN: Return(cards, profiles),
        _N.RELEASE: Release(platforms, cards),
    }


class Saga:
    """The runner. Several may run beside each other, in any number of processes."""

    def __init__(
        self, store: SwapStore, steps: Mapping[StepName, Step], timing: Timing, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._steps = steps
        self._timing = timing
        self._now = now

    async def run_due(self, most: int, lease_seconds: float) -> int:
        """Run one step of each of up to `most` due swaps; how many those were.

        The lease must be longer than any call to the outside takes.
        """
        now = self._now()
        claimed = await self._store.claim_due(now, most, lease_seconds)
        for one in claimed:
            await self._run(one.swap, one.history, _way_out(one.swap, now))
        return len(claimed)

    async def _run(self, swap: Swap, history: History, out: tuple[str, SwapState] | None) -> None:
        begun = history.entry(swap.step, swap.attempt)
        try:
            if out and begun is None and swap.state is not SwapState.ENABLING:
                # Nothing of this step can have happened: it is not begun to be undone.
                await self._store.advance(_undo(swap, out[0], out[1], self._now()), swap.due_at, self._now())
                return
            key = swap.key(swap.step, swap.attempt)
            if out:  # Whatever does not want out was begun with the claim.
                await self._store.begin(swap, key, self._now())
            entry = begun or Entry(step=swap.step, attempt=swap.attempt, key=key, started_at=self._now())
            context = Context(
                swap=swap,
                history=history,
                entry=entry,
                now=self._now(),
                timing=self._timing,
                wants_out=out[0] if out else "",
            )
            outcome = await self._outcome(context)
            await self._store.advance(_advance(context, outcome, self._now()), swap.due_at, self._now())
        except TransitionLost:
            # Somebody decided something meanwhile, or our lease ran out: the row says what is next.
            await self._store.let_go(swap)

    async def _outcome(self, context: Context) -> StepOutcome:
        """What the step comes to, with the refusals and doubts of others as outcomes."""
        try:
            return await self._steps[context.swap.step].run(context)
        except ProfileRefused as refused:
            return Refused(why=f"the SM-DP+ refuses: {refused}")
        except CarrierRefused as refused:
            why = f"{context.swap.plan.target.name} refuses: {refused}"
            if refused.permanent:
                return Refused(why=why)
            return Wait(until=self._now() + self._timing.retry, why=why, attention=True)
        except Unreachable as doubt:
            return Unknown(why=str(doubt))


def _way_out(swap: Swap, now: datetime) -> tuple[str, SwapState] | None:
    """Why a swap that can still be undone should be, and as what it then ends."""
    if swap.state not in UNDOABLE:
        return None
    if swap.cancel_requested:
        return _CANCELLED, SwapState.CANCELLED
    return (_OUT_OF_TIME, SwapState.FAILED) if now >= swap.deadline_at else None


def _advance(context: Context, outcome: StepOutcome, now: datetime) -> Advance:
    """The commit that follows from an outcome."""
    if isinstance(outcome, Done):
        return _done(context, outcome, now)
    if isinstance(outcome, Wait | Unknown):
        return _waits(context, outcome, now)
    if isinstance(outcome, FellBack):
        ended = _finished(context, Outcome.REFUSED, outcome.why, now)
        return replace(_undo(context.swap, outcome.why, SwapState.ROLLED_BACK, now, SwapEvent.FALL_BACK), entry=ended)
    if isinstance(outcome, Refused):
        return _refused(context, outcome, now)
    return _again(context, outcome, now)


def _done(context: Context, outcome: Done, now: datetime) -> Advance:
    swap = replace(outcome.swap or context.swap, attention="", due_at=now)
    told = _told(swap, f"{swap.step.value}: done", outcome.evidence)
    following = _next_step(swap)
    if following is not None:
        moved = replace(swap, state=onward(swap.state, following), step=following, attempt=1)
    else:
        end = after(swap.state, SwapEvent.COMPLETE) if swap.ending is None else undone(swap.ending)
        moved = replace(swap, state=end, ended_at=now, activation_sealed=None)
    told += _told_of_state(swap.state, moved)
    entry = _finished(context, Outcome.DONE, outcome.evidence, now)
    return Advance(swap=moved, entry=entry, told=told, actions=outcome.actions)


def _waits(context: Context, outcome: Wait | Unknown, now: datetime) -> Advance:
    """Nothing has moved. A swap that wants out leaves here, unless it is in doubt or the device decides."""
    swap, timing = context.swap, context.timing
    if isinstance(outcome, Unknown):
        long = now - context.entry.started_at >= timing.doubt
        due, why = context.later(), f"not known yet: {outcome.why}"
        return _stays(context, due, why, why if long else swap.attention)
    if context.wants_out and swap.state is not SwapState.ENABLING:
        return _left(context, outcome.why, now)
    attention = outcome.why if outcome.attention else ""
    return replace(_stays(context, outcome.until, outcome.why, attention), actions=outcome.actions)


def _stays(context: Context, due: datetime, why: str, attention: str) -> Advance:
    timeline = context.history.timeline
    text = f"{context.swap.step.value}: {why}"
    news = not timeline or timeline[-1].text != text
    told = _told(context.swap, text) if news else ()
    return Advance(swap=replace(context.swap, due_at=due, attention=attention), told=told)


def _left(context: Context, why: str, now: datetime) -> Advance:
    out = _way_out(context.swap, context.now)
    assert out is not None, "the context wants out for this very reason"
    entry = _finished(context, Outcome.GIVEN_UP, why, now)
    return replace(_undo(context.swap, out[0], out[1], now), entry=entry)


def _refused(context: Context, outcome: Refused, now: datetime) -> Advance:
    swap = context.swap
    entry = _finished(context, Outcome.REFUSED, outcome.why, now)
    if swap.state not in UNDOABLE:
        # There is no way back from here, or we are on it: a person looks, and we try again.
        again = replace(swap, attempt=swap.attempt + 1, due_at=now + context.timing.retry, attention=outcome.why)
        told = _told(swap, f"{swap.step.value}: refused, needs an operator", outcome.why)
        return Advance(swap=again, entry=entry, told=told)
    ending = outcome.ending
    if swap.cancel_requested and outcome.why == context.wants_out:
        ending = SwapState.CANCELLED
    return replace(_undo(swap, outcome.why, ending, now), entry=entry)


def _again(context: Context, outcome: Again, now: datetime) -> Advance:
    if context.wants_out and context.swap.state is not SwapState.ENABLING:
        return _left(context, outcome.why, now)
    swap = replace(context.swap, attempt=context.swap.attempt + 1, due_at=now + outcome.after)
    if outcome.after:
        swap = replace(swap, attention=outcome.why)
    told = _told(swap, f"{swap.step.value}: again", outcome.why)
    return Advance(swap=swap, entry=_finished(context, Outcome.GIVEN_UP, outcome.why, now), told=told)


def _undo(swap: Swap, why: str, ending: SwapState, now: datetime, event: SwapEvent = SwapEvent.UNDO) -> Advance:
    """Undoing begins: with the first step that undoes the plan."""
    moved = replace(
        swap,
        state=after(swap.state, event),
        step=swap.plan.undo[0],
        attempt=1,
        ending=ending,
        reason=why,
        attention="",
        due_at=now,
    )
    return Advance(swap=moved, told=(*_told(swap, f"{swap.step.value}: {why}"), *_told_of_state(swap.state, moved)))


def _next_step(swap: Swap) -> StepName | None:
    steps = swap.plan.undo if swap.state is SwapState.UNDOING else swap.plan.steps
    place = steps.index(swap.step) + 1
    return steps[place] if place < len(steps) else None


def _finished(context: Context, outcome: Outcome, evidence: str, now: datetime) -> Entry:
    return replace(context.entry, finished_at=now, outcome=outcome, evidence=evidence)


def _told(swap: Swap, text: str, evidence: str = "") -> tuple[Told, ...]:
    return (Told(text=text, stage=STAGE_OF.get(STATE_OF[swap.step]), evidence=evidence),)


def _told_of_state(before: SwapState, swap: Swap) -> tuple[Told, ...]:
    if before is swap.state:
        return ()
    text = f"the swap is {swap.state.value}"
    if swap.state in ENDED and swap.reason:
        text = f"{text}: {swap.reason}"
    return (Told(text=text, stage=STAGE_OF.get(swap.state)),)

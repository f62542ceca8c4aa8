"""The three stages of a swap as they are told: state, times and error of each, from its ledger. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from swap.record import Entry, History, Outcome, Swap
from swap.swap import STAGE_OF, STATE_OF, Stage, StepName, SwapState


class StageState(StrEnum):
    """How far a stage has come. SKIPPED: this swap has no need of it."""

    SKIPPED = "skipped"
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    NOT_REACHED = "not_reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    """One stage. `error` says why it failed."""

    stage: Stage
    state: StageState
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str = ""


def stages(swap: Swap, history: History) -> tuple[StageView, ...]:
    """All three, in order."""
    return tuple(_stage(stage, swap, history) for stage in Stage)


def _stage(stage: Stage, swap: Swap, history: History) -> StageView:
    steps = [step for step in swap.plan.steps if STAGE_OF[STATE_OF[step]] is stage]
    entries = [entry for entry in history.ledger if entry.step in steps]
    over = swap.ended_at is not None or swap.state is SwapState.UNDOING
    if not steps:
        return StageView(stage=stage, state=StageState.SKIPPED)
    if not entries:
        return StageView(stage=stage, state=StageState.NOT_REACHED if over else StageState.PENDING)
    began = min(entry.started_at for entry in entries)
    if all(_is_done(step, entries) for step in steps):
        ended = max(entry.finished_at for entry in entries if entry.finished_at is not None)
        return StageView(stage=stage, state=StageState.DONE, started_at=began, ended_at=ended)
    if not over:
        return StageView(stage=stage, state=StageState.RUNNING, started_at=began)
    ended_at = max((entry.finished_at for entry in entries if entry.finished_at), default=None)
    return StageView(stage=stage, state=StageState.FAILED, started_at=began, ended_at=ended_at, error=swap.reason)


def _is_done(step: StepName, entries: list[Entry]) -> bool:
    return any(entry.step is step and entry.outcome is Outcome.DONE for entry in entries)

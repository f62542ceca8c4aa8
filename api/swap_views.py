"""Swaps as callers of the API see them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from api.operation import View
from swap.plan import Plan, Source, Way
from swap.ports import Billed
from swap.record import Action, History, Swap
from swap.stages import StageState, stages
from swap.swap import Stage, SwapState


class LineView(View, frozen=True, kw_only=True):
    """A line: its carrier, its profile, and whether it costs money as its platform last told."""

    carrier: str
    iccid: str
    billable: Billed


class GateView(View, frozen=True, kw_only=True):
    """An obstacle: `missing` is stable and for programs, `text` says what to do."""

    missing: str
    text: str


class PlanView(View, frozen=True, kw_only=True):
    """What a swap would do now. It can be ordered when there are no gates; `digest` orders exactly this plan."""

    enterprise_id: int
    eid: str
    target_id: int
    target: str
    way: Way
    steps: tuple[str, ...]
    gates: tuple[GateView, ...]
    billing: tuple[str, ...]
    source: str | None
    held_iccid: str | None
    digest: str

    @classmethod
    def of(cls, tenant_id: int, plan: Plan) -> PlanView:
        """As callers see it."""
        return cls(
            enterprise_id=tenant_id,
            eid=plan.eid,
            target_id=plan.target.id,
            target=plan.target.name,
            way=plan.way,
            steps=tuple(step.value for step in plan.steps),
            gates=tuple(GateView(missing=gate.missing.value, text=gate.text) for gate in plan.gates),
            billing=plan.billing,
            source=plan.source.name if plan.source else None,
            held_iccid=plan.held or None,
            digest=plan.digest,
        )


class StageOfSwap(View, frozen=True, kw_only=True):
    """One of the three stages."""

    stage: Stage
    state: StageState
    started_at: datetime | None
    ended_at: datetime | None
    error: str


class TimelineView(View, frozen=True, kw_only=True):
    """A line of the timeline; `stage` is null while undoing, `evidence` says what it rests on."""

    at: datetime | None
    stage: Stage | None
    text: str
    evidence: str


class ActionView(View, frozen=True, kw_only=True):
    """Something asked of you: settle it with one of `options`. `chosen` is null while it is open."""

    number: int
    about: str
    kind: str
    text: str
    options: tuple[str, ...]
    created_at: datetime | None
    chosen: str | None
    chosen_by: str | None
    chosen_at: datetime | None

    @classmethod
    def of(cls, action: Action) -> ActionView:
        """As callers see it."""
        return cls(
            number=action.number,
            about=action.about.value,
            kind=action.kind.value,
            text=action.text,
            options=action.options,
            created_at=action.created_at,
            chosen=action.chosen or None,
            chosen_by=action.chosen_by or None,
            chosen_at=action.chosen_at,
        )


class SwapLineView(View, frozen=True, kw_only=True):
    """A swap in a list. `attention` says what a person should look at, null when nothing."""

    id: int
    enterprise_id: int
    eid: str
    target_id: int
    target: str
    way: Way
    state: SwapState
    step: str
    iccid: str | None
    reason: str | None
    attention: str | None
    ordered_by: str
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, swap: Swap) -> SwapLineView:
        """As callers see it."""
        return cls(
            id=swap.id,
            enterprise_id=swap.tenant_id,
            eid=str(swap.eid),
            target_id=swap.plan.target.id,
            target=swap.plan.target.name,
            way=swap.plan.way,
            state=swap.state,
            step=swap.step.value,
            iccid=swap.iccid.digits if swap.iccid else None,
            reason=swap.reason or None,
            attention=swap.attention or None,
            ordered_by=swap.ordered_by,
            created_at=swap.created_at,
            ended_at=swap.ended_at,
        )


class SwapView(View, frozen=True, kw_only=True):
    """A swap with its stages, its lines, what is asked of you, and its timeline, oldest first."""

    swap: SwapLineView
    deadline_at: datetime
    enabled_at: datetime | None
    cancel_requested: bool
    stages: tuple[StageOfSwap, ...]
    lines: tuple[LineView, ...]
    billing: tuple[str, ...]
    actions: tuple[ActionView, ...]
    timeline: tuple[TimelineView, ...]

    @classmethod
    def of(cls, swap: Swap, history: History) -> SwapView:
        """As callers see it."""
        told = (
            StageOfSwap(
                stage=one.stage, state=one.state, started_at=one.started_at, ended_at=one.ended_at, error=one.error
            )
            for one in stages(swap, history)
        )
        timeline = (
            TimelineView(at=one.at, stage=one.stage, text=one.text, evidence=one.evidence) for one in history.timeline
        )
        return cls(
            swap=SwapLineView.of(swap),
            deadline_at=swap.deadline_at,
            enabled_at=swap.enabled_at,
            cancel_requested=swap.cancel_requested,
            stages=tuple(told),
            lines=_lines(swap),
            billing=swap.plan.billing,
            actions=tuple(map(ActionView.of, history.actions)),
            timeline=tuple(timeline),
        )


def _lines(swap: Swap) -> tuple[LineView, ...]:
    source: Source | None = swap.plan.source
    before: tuple[LineView, ...] = ()
    if source is not None:
        before = (LineView(carrier=source.name, iccid=source.iccid, billable=Billed(swap.source_billed or "unknown")),)
    if swap.iccid is None:
        return before
    new = LineView(
        carrier=swap.plan.target.name, iccid=swap.iccid.digits, billable=Billed(swap.target_billed or "unknown")
    )
    return (*before, new)


_THEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
EXAMPLE_PLAN = PlanView(
    enterprise_id=3,
    eid="89049032123451234512345678901224",
    target_id=2,
    target="nordic-mobile",
    way=Way.FULL,
    steps=("reserve_profile", "allocate_sim", "prepare_profile", "download_profile"),
    gates=(),
    billing=("The new line of nordic-mobile is allocated in a state that connects without being billed.",),
    source="lead-mobile",
    held_iccid=None,
    digest="5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
)
EXAMPLE_LINE = SwapLineView(
    id=17,
    enterprise_id=3,
    eid="89049032123451234512345678901224",
    target_id=2,
    target="nordic-mobile",
    way=Way.FULL,
    state=SwapState.COMPLETED,
    step="close",
    iccid="8988211000000000001",
    reason=None,
    attention=None,
    ordered_by="enterprise:3",
    created_at=_THEN,
    ended_at=_THEN + timedelta(minutes=9),
)
EXAMPLE_ACTION = ActionView(
    number=1,
    about="source_line",
    kind="decision",
    text="Both lines may cost money. Keep the first as a way back, or end it.",
    options=("keep", "ended"),
    created_at=_THEN + timedelta(minutes=9),
    chosen=None,
    chosen_by=None,
    chosen_at=None,
)
EXAMPLE = SwapView(
    swap=EXAMPLE_LINE,
    deadline_at=_THEN + timedelta(days=7),
    enabled_at=_THEN + timedelta(minutes=8),
    cancel_requested=False,
    stages=(
        StageOfSwap(
            stage=Stage.ALLOCATION,
            state=StageState.DONE,
            started_at=_THEN,
            ended_at=_THEN + timedelta(minutes=1),
            error="",
        ),
    ),
    lines=(
        LineView(carrier="lead-mobile", iccid="8988211000000000002", billable=Billed.YES),
        LineView(carrier="nordic-mobile", iccid="8988211000000000001", billable=Billed.YES),
    ),
    billing=EXAMPLE_PLAN.billing,
    actions=(EXAMPLE_ACTION,),
    timeline=(TimelineView(at=_THEN, stage=None, text="ordered by enterprise:3: full", evidence=""),),
)

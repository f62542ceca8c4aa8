"""Swaps as rows: what a row says, and what a new one holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from rsp.identifiers import Eid, Iccid
from store.pool import Row
from swap.plan import Plan
from swap.record import About, Action, ActionKind, Entry, History, NewSwap, Outcome, Swap, Told
from swap.swap import Stage, StepName, SwapState

T = TypeVar("T")

LEDGER = ("step", "attempt", "key", "started_at", "finished_at", "outcome", "evidence")
TIMELINE = ("text", "stage", "evidence", "at")
ACTIONS = (
    "about",
    "kind",
    "text",
    "options",
    "number",
    "created_at",
    "chosen",
    "chosen_by",
    "chosen_at",
)
"""The columns of a swap's lines, by the names that they have in the role too."""
_Lines = list[list[Any]]
_decode = msgspec.json.Decoder(_Lines).decode


def swap_from(row: Row) -> Swap:
    """The swap in a row of `swaps`."""
    return Swap(
        id=row["id"],
        tenant_id=row["tenant_id"],
        eid=Eid(row["eid"]),
        plan=msgspec.json.decode(row["plan"], type=Plan),
        state=SwapState(row["state"]),
        step=StepName(row["step"]),
        attempt=row["attempt"],
        version=row["version"],
        request=row["request"],
        ordered_by=row["ordered_by"],
        created_at=row["created_at"],
        due_at=row["due_at"],
        deadline_at=row["deadline_at"],
        iccid=Iccid(row["iccid"]) if row["iccid"] else None,
        activation_sealed=row["activation_sealed"],
        confirmed=row["confirmed"],
        cancel_requested=row["cancel_requested"],
        ending=SwapState(row["ending"]) if row["ending"] else None,
        reason=row["reason"],
        attention=row["attention"],
        enabled_at=row["enabled_at"],
        source_billed=row["source_billed"],
        target_billed=row["target_billed"],
        ended_at=row["ended_at"],
    )


def swap_values(new: NewSwap, now: datetime) -> dict[str, object]:
    """The columns of a new swap, due at once."""
    return {
        "tenant_id": new.tenant_id,
        "eid": str(new.eid),
        "request": new.request,
        "target_id": new.plan.target.id,
        "target_name": new.plan.target.name,
        "plan": msgspec.json.encode(new.plan).decode(),
        "state": new.state.value,
        "step": new.plan.steps[0].value,
        "iccid": new.iccid.digits if new.iccid else None,
        "ordered_by": new.ordered_by,
        "due_at": now,
        "deadline_at": new.deadline_at,
        "created_at": now,
    }


def entry_from(row: Row) -> Entry:
    """The ledger's line in a row of `swap_steps`."""
    return Entry(
        step=StepName(row["step"]),
        attempt=row["attempt"],
        key=row["key"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        evidence=row["evidence"],
    )


def told_from(row: Row) -> Told:
    """The timeline's line in a row of `swap_events`."""
    stage = Stage(row["stage"]) if row["stage"] else None
    return Told(text=row["text"], stage=stage, evidence=row["evidence"], at=row["at"])


def action_from(row: Row) -> Action:
    """The action in a row of `swap_actions`."""
    return Action(
        about=About(row["about"]),
        kind=ActionKind(row["kind"]),
        text=row["text"],
        options=tuple(row["options"]),
        number=row["number"],
        created_at=row["created_at"],
        chosen=row["chosen"],
        chosen_by=row["chosen_by"],
        chosen_at=row["chosen_at"],
    )


def history_from(row: Row) -> History:
    """The lines that came along with a claimed swap: lists of LEDGER, TIMELINE and ACTIONS."""
    return History(
        ledger=tuple(_made(Entry, LEDGER, row["ledger"])),
        timeline=tuple(_made(Told, TIMELINE, row["timeline"])),
        actions=tuple(_made(Action, ACTIONS, row["actions"])),
    )


def _made(kind: type[T], names: tuple[str, ...], lines: str) -> Iterator[T]:
    for line in _decode(lines):
        yield msgspec.convert(dict(zip(names, line, strict=True)), kind)

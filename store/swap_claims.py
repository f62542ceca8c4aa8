"""The claim of due swaps: taken under a lease, their steps begun, and their histories, all in one statement."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, DateTime, Table, Uuid, bindparam, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.dialects.postgresql import insert as upsert

from store.claims import claim
from store.compiled import compiled
from store.swap_rows import ACTIONS, LEDGER, TIMELINE
from store.swap_tables import swap_actions, swap_events, swap_steps, swaps
from swap.swap import UNDOABLE

_NOW = bindparam("now", type_=DateTime(timezone=True))
_claimed = claim(
    swaps,
    select(swaps.c.id).where(swaps.c.ended_at.is_(None), swaps.c.due_at <= _NOW),
    (swaps.c.due_at, swaps.c.id),
    claimed_by=bindparam("worker", type_=Uuid),
).cte("claimed")
# What is to be undone before it began is not begun: `swap.saga` asks the same of the swap and the same time.
_wants_out = _claimed.c.state.in_([state.value for state in UNDOABLE]) & (
    _claimed.c.cancel_requested | (_claimed.c.deadline_at <= _NOW)
)
_begun = (
    upsert(swap_steps)
    .from_select(
        ["tenant_id", "swap_id", "step", "attempt", "key", "started_at"],
        select(
            _claimed.c.tenant_id,
            _claimed.c.id,
            _claimed.c.step,
            _claimed.c.attempt,
            func.concat("swap-", _claimed.c.id, "-", _claimed.c.step, "-", _claimed.c.attempt),
            _NOW,
        ).where(~_wants_out),
    )
    .on_conflict_do_nothing()
    .cte("begun")
)


def _of_claimed(table: Table, order: str, *names: str) -> ColumnElement[Any]:
    """The lines of a claimed swap in one value, so that they come along with it."""
    lines = func.json_agg(aggregate_order_by(func.json_build_array(*(table.c[name] for name in names)), table.c[order]))
    return select(func.coalesce(lines, "[]")).where(table.c.swap_id == _claimed.c.id).scalar_subquery()


CLAIM_DUE = compiled(
    select(
        *_claimed.c,
        _of_claimed(swap_steps, "id", *LEDGER).label("ledger"),
        _of_claimed(swap_events, "id", *TIMELINE).label("timeline"),
        _of_claimed(swap_actions, "number", *ACTIONS).label("actions"),
    ).add_cte(_begun)
)
"""Takes `now`, `most`, `lease_seconds` and `worker`; rows for `swap_from` and `history_from`."""

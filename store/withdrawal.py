"""Withdraws events at SM-DS as part of a statement: the row is marked, and its deletion put into the outbox."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CTE, ColumnElement, Text, case, cast, func, insert, literal, literal_column, null, select, update

from smdp.event import DOUBT_SECONDS, REMOVAL_KIND, EventState, EventStep, after, before
from store.tables import outbox, smds_events

_SECOND: ColumnElement[Any] = literal_column("interval '1 second'")
WITHDRAWABLE = [state.value for state in before(EventStep.WITHDRAW)]


def from_now(seconds: ColumnElement[float]) -> ColumnElement[Any]:
    """The database's time so many seconds ahead."""
    return func.clock_timestamp() + seconds * _SECOND


def withdrawal(which: ColumnElement[bool], doubt_seconds: ColumnElement[float] | None = None) -> tuple[CTE, CTE]:
    """Two parts of a statement: the events that are withdrawn, and the messages that have them deleted.

    What is about to be registered may yet arrive at its SM-DS, for `doubt_seconds` from now.
    """
    doubt = literal(DOUBT_SECONDS) if doubt_seconds is None else doubt_seconds
    about_to = smds_events.c.state == EventState.REGISTERING.value
    withdrawn = (
        update(smds_events)
        .where(which, smds_events.c.state.in_(WITHDRAWABLE))
        .values(
            state=after(EventState.REGISTERED, EventStep.WITHDRAW).value,
            due_at=null(),
            doubt_until=case(
                (about_to, func.greatest(smds_events.c.doubt_until, from_now(doubt))), else_=smds_events.c.doubt_until
            ),
        )
        .returning(smds_events.c.id, smds_events.c.tenant_id)
        .cte("withdrawn")
    )
    messages = select(
        withdrawn.c.tenant_id,
        literal(f"{REMOVAL_KIND}/").concat(cast(withdrawn.c.id, Text)),
        literal(REMOVAL_KIND),
        cast(func.json_build_object("event", withdrawn.c.id), Text),
    )
    removals = insert(outbox).from_select(["tenant_id", "line", "kind", "body"], messages).returning(outbox.c.id)
    return withdrawn, removals.cte("removals")

"""How rows of a queue are taken by one worker for a while: leases, claimed with SKIP LOCKED.

A worker that dies leaves its lease to run out; the row is then taken again, with the same bytes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    Integer,
    Select,
    Table,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

_SECOND: ColumnElement[Any] = literal_column("interval '1 second'")


def seconds_from_now(name: str) -> ColumnElement[Any]:
    """The database's time so many seconds ahead; every lease is measured by that one clock.

    clock_timestamp, not now: the time when the row is looked at, not when the transaction began.
    """
    return func.clock_timestamp() + bindparam(name, type_=Float) * _SECOND


def free(queue: Table) -> ColumnElement[bool]:
    """Whether no lease on a row of `queue` runs."""
    return or_(queue.c.claimed_until.is_(None), queue.c.claimed_until <= func.clock_timestamp())


def claim(
    queue: Table, candidates: Select[Any], order: tuple[ColumnElement[Any], ...], **marks: object
) -> ReturningUpdate[Any]:
    """Takes up to `most` of the `candidates`, a select of ids of `queue`, for `lease_seconds`; returns the rows.

    They are found again as elements of an array: PostgreSQL, which plans before it knows `most`, takes a join with them
    for one with a tenth of the table, and would read all of it.
    """
    chosen = (
        candidates.where(free(queue))
        .order_by(*order)
        .limit(bindparam("most", type_=Integer))
        .with_for_update(of=queue, skip_locked=True)
        .cte("chosen")
    )
    return (
        update(queue)
        .where(queue.c.id == func.any(func.array(select(chosen.c.id).scalar_subquery())))
        .values(claimed_until=seconds_from_now("lease_seconds"), attempts=queue.c.attempts + 1, **marks)
        .returning(*queue.c)
    )


def relaxed(step: ReturningUpdate[Any]) -> ReturningUpdate[Any]:
    """A step whose transaction does not wait for the disk: for what may be done twice, and follows from what is there.

    A crash of the database forgets the latest second of such commits at most, and none before a later one that waits.
    """
    setting = select(func.set_config("synchronous_commit", "off", true())).cte("relaxed")
    return step.where(exists(select(setting)))

"""PostgreSQL behind what is asked of eSIMs: `eim.ports.OperationStore` and `eim.ports.PollStore`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from eim.operation import OPEN, Operation, OperationChange, OperationEvent, OperationState, after
from eim.ports import EsimUnknown, InstallationTaken, NewOperation, Polled, TransitionLost
from rsp.esep import MAX_COUNTER
from rsp.identifiers import Eid
from store.compiled import compiled
from store.eim_rows import ASSOCIATION, OPERATION, association_from, operation_from, operation_values
from store.eim_tables import eim_results, esim_contacts, esim_operations, esims
from store.pool import Connection, Pool

_IN_FLIGHT = "uq_esim_operations_in_flight"
_INSTALLATION = "uq_esim_operations_eid_installation"
_COLUMNS = (
    "tenant_id",
    "key",
    "eid",
    "kind",
    "state",
    "transaction_id",
    "iccid",
    "rollback",
    "activation_sealed",
    "about",
    "expires_at",
)
_op = esim_operations.c
_MOMENT = DateTime(timezone=True)
_NOW = bindparam("now", type_=_MOMENT)
_ID = _op.id == bindparam("operation_id", type_=BigInteger)
_TENANT = _op.tenant_id == bindparam("tenant_id", type_=BigInteger)
_SECOND: ColumnElement[Any] = literal_column("interval '1 second'")

# The eSIM must be the tenant's own: its row is read in the statement that inserts.
QUEUE = compiled(
    insert(esim_operations)
    .from_select(
        list(_COLUMNS),
        select(*(bindparam(name, type_=_op[name].type) for name in _COLUMNS)).where(
            select(esims.c.eid)
            .where(
                esims.c.eid == bindparam("eid", type_=Text),
                esims.c.tenant_id == bindparam("tenant_id", type_=BigInteger),
            )
            .exists()
        ),
    )
    .on_conflict_do_nothing(index_elements=[_op.tenant_id, _op.key])
    .returning(*OPERATION)
)
"""Queues one operation unless its key is taken or the eSIM is another's; takes `operation_values`."""

_BY_KEY = compiled(select(*OPERATION).where(_TENANT, _op.key == bindparam("key", type_=Text)))
_BY_ID = compiled(select(*OPERATION).where(_TENANT, _ID))
_eid, _state = bindparam("eid", type_=Text), bindparam("state", type_=Text)
_before = bindparam("before", type_=BigInteger)
_LIST = compiled(
    select(*OPERATION)
    .where(
        _TENANT,
        or_(_eid.is_(None), _op.eid == _eid),
        or_(_state.is_(None), _op.state == _state),
        or_(_before.is_(None), _op.id < _before),
    )
    .order_by(_op.id.desc())
    .limit(bindparam("most", type_=Integer)),
    planned_by_values=True,
)

_ended = bindparam("ended", type_=Boolean)
MOVE = compiled(
    update(esim_operations)
    .where(_ID, _op.state == bindparam("expected", type_=Text))
    .values(
        state=bindparam("state", type_=Text),
        result_code=func.coalesce(bindparam("result_code", type_=Integer), _op.result_code),
        detail=bindparam("detail", type_=Text),
        previous=func.coalesce(bindparam("previous", type_=Text), _op.previous),
        installation=func.coalesce(bindparam("installation", type_=LargeBinary), _op.installation),
        ended_at=case((_ended, func.coalesce(_op.ended_at, _NOW)), else_=_op.ended_at),
        activation_sealed=case((_ended, null()), else_=_op.activation_sealed),
    )
    .returning(_op.id)
)
"""One guarded step; takes `move_arguments` and returns the id unless the operation was elsewhere."""

_due = (
    select(_op.id)
    .where(_op.ended_at.is_(None), _op.expires_at <= _NOW)
    .order_by(_op.expires_at)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True)
    .cte("due")
)
_EXPIRE = compiled(
    update(esim_operations)
    .where(_op.id == func.any(func.array(select(_due.c.id).scalar_subquery())))  # As in `store.claims.claim`.
    .values(state=OperationState.EXPIRED.value, ended_at=_NOW, activation_sealed=null(), detail="time ran out")
    .returning(_op.id)
)

_ABANDON = compiled(
    update(esim_operations)
    .where(
        _ID,
        _op.state == OperationState.SENT.value,
        _op.heard_at < select(esims.c.content_at).where(esims.c.eid == _op.eid).scalar_subquery(),
    )
    .values(
        state=OperationState.EXPIRED.value,
        ended_at=_NOW,
        activation_sealed=null(),
        detail=func.concat("the device said without signature that ", _op.hearsay),
    )
    .returning(_op.id)
)
HEAR = compiled(
    update(esim_operations)
    .where(_ID, _op.state == OperationState.SENT.value, _op.heard_at.is_(None))
    .values(hearsay=bindparam("said", type_=Text), heard_at=_NOW)
    .returning(_op.id)
)
"""Keeps what a device said first of an operation in its hands; returns the id, or nothing when it is not so."""


class Operations:
    """Operations as their tenants see them."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def queue(self, new: NewOperation) -> Operation:
        """Store `new`, or answer the operation that has its key already. Raises EsimUnknown."""
        row = await self._pool.fetch_one(QUEUE, **operation_values(new))
        if row is None:
            row = await self._pool.fetch_one(_BY_KEY, tenant_id=new.tenant_id, key=new.key)
        if row is None:
            raise EsimUnknown(f"there is no eSIM {new.eid}: onboard it first")
        return operation_from(row)

    async def operation(self, tenant_id: int, operation_id: int) -> Operation | None:
        """One operation of the tenant."""
        row = await self._pool.fetch_one(_BY_ID, tenant_id=tenant_id, operation_id=operation_id)
        return operation_from(row) if row else None

    async def named(self, tenant_id: int, key: str) -> Operation | None:
        """The tenant's operation with that key."""
        row = await self._pool.fetch_one(_BY_KEY, tenant_id=tenant_id, key=key)
        return operation_from(row) if row else None

    async def operations(
        self,
        tenant_id: int,
        *,
        eid: Eid | None = None,
        state: OperationState | None = None,
        before: int | None = None,
        most: int = 100,
    ) -> list[Operation]:
        """Operations of the tenant, newest first, with ids below `before`."""
        rows = await self._pool.fetch(
            _LIST,
            tenant_id=tenant_id,
            eid=str(eid) if eid else None,
            state=state.value if state else None,
            before=before,
            most=most,
        )
        return [operation_from(row) for row in rows]

    async def move(self, change: OperationChange, now: datetime) -> None:
        """Apply a guarded step. Raises TransitionLost."""
        if await self._pool.fetch_one(MOVE, **move_arguments(change, now)) is None:
            raise TransitionLost(f"operation {change.operation_id} is no longer {change.expected}")

    async def abandon(self, operation: Operation, now: datetime) -> None:
        """ABANDON a download of which the device has spoken, and its card's list since then. Raises TransitionLost."""
        after(operation.state, OperationEvent.ABANDON)
        if await self._pool.fetch_one(_ABANDON, operation_id=operation.id, now=now) is None:
            raise TransitionLost(f"operation {operation.id} is still the device's to answer")

    async def expire_due(self, now: datetime, most: int) -> int:
        """EXPIRE up to `most` open operations whose time is over; how many those were."""
        return len(await self._pool.fetch(_EXPIRE, now=now, most=most))


def move_arguments(change: OperationChange, now: datetime) -> dict[str, object]:
    """Parameters of MOVE."""
    return {
        "operation_id": change.operation_id,
        "expected": change.expected.value,
        "state": change.state.value,
        "result_code": change.result_code,
        "detail": change.detail,
        "previous": str(change.previous) if change.previous else None,
        "installation": change.installation,
        "ended": change.state not in OPEN,
        "now": now,
    }


async def moved(connection: Connection, change: OperationChange, now: datetime) -> None:
    """A guarded step inside a transaction. Raises TransitionLost, InstallationTaken."""
    try:
        row = await connection.fetch_one(MOVE, **move_arguments(change, now))
    except asyncpg.UniqueViolationError as taken:
        if taken.constraint_name != _INSTALLATION:
            raise
        raise InstallationTaken(f"operation {change.operation_id}: an earlier one ended by this result") from None
    if row is None:
        raise TransitionLost(f"operation {change.operation_id} is no longer {change.expected}")


# Polling --------------------------------------------------------------------------------------------------------------

_rplmn, _cause = bindparam("rplmn", type_=LargeBinary), bindparam("cause", type_=SmallInteger)
_contact = esim_contacts.c
# Nobody proves who polls: a second poll within the same second writes nothing unless the device has moved.
_SEEN = (
    update(esim_contacts)
    .where(
        _contact.eid == _eid,
        or_(
            _contact.polled_at.is_(None),
            _contact.polled_at < _NOW - _SECOND,
            func.coalesce(_rplmn, _contact.rplmn).is_distinct_from(_contact.rplmn),
            _cause.is_distinct_from(_contact.state_change_cause),
        ),
    )
    .values(polled_at=_NOW, rplmn=func.coalesce(_rplmn, _contact.rplmn), state_change_cause=_cause)
    .cte("seen")
)
# What clears a doubt up comes first, then what a device has in hand, then the doubt itself, which holds up the rest.
# What the device says it could not do holds up nothing, and is handed over again when there is nothing else.
_TURN = case(
    (_op.about.is_not(None), 0),
    (and_(_op.state == OperationState.SENT.value, _op.heard_at.is_(None)), 1),
    (_op.state == OperationState.DOUBTFUL.value, 2),
    (_op.state == OperationState.QUEUED.value, 3),
    else_=4,
)
_head = (
    select(esim_operations)
    .where(_op.eid == esims.c.eid, _op.ended_at.is_(None))
    .order_by(_TURN, _op.id)
    .limit(1)
    .lateral("head")
)
_POLL = compiled(
    select(
        *ASSOCIATION,
        *(column.label(f"op_{column.key}") for column in _head.c),
        exists().where(eim_results.c.eid == _eid, eim_results.c.judged_at.is_(None)).label("unjudged"),
    )
    .select_from(esims.outerjoin(_head, true()))
    .where(esims.c.eid == _eid)
    .add_cte(_SEEN)
)
_counted = (
    update(esims)
    .where(esims.c.eid == _eid, esims.c.counter < MAX_COUNTER)
    .values(counter=esims.c.counter + 1)
    .returning(esims.c.counter)
    .cte("counted")
)
_NUMBER = compiled(
    update(esim_operations)
    .where(_ID, _op.state == OperationState.QUEUED.value, _op.counter.is_(None))
    .values(counter=_counted.c.counter)
    .returning(_op.counter)
)
_HAND_OVER = compiled(
    update(esim_operations)
    .where(_ID, _op.state == OperationState.QUEUED.value, _op.request.is_(None))
    .values(state=OperationState.SENT.value, request=bindparam("request", type_=LargeBinary), sent_at=_NOW)
    .returning(_op.id)
)


class Polls:
    """What a poll reads and writes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.move = Operations(pool).move

    async def poll(self, eid: Eid, now: datetime, rplmn: bytes | None, cause: int | None) -> Polled | None:
        """One round trip: note the contact, find what to hand over; None when no eSIM has that EID."""
        row = await self._pool.fetch_one(_POLL, eid=str(eid), now=now, rplmn=rplmn, cause=cause)
        if row is None:
            return None
        operation = operation_from(row) if row["op_id"] is not None else None
        return Polled(association=association_from(row), operation=operation, unjudged=row["unjudged"])

    async def number(self, operation: Operation) -> int:
        """Take the eSIM's next counter for a queued operation, for ever. Raises TransitionLost."""
        row = await self._pool.fetch_one(_NUMBER, operation_id=operation.id, eid=str(operation.eid))
        if row is None:
            raise TransitionLost(f"operation {operation.id} is queued no longer, or has a counter")
        return int(row["counter"])

    async def hand_over(self, operation: Operation, request: bytes | None, now: datetime) -> None:
        """SEND a queued operation, with the signed package it is sent with. Raises TransitionLost."""
        try:
            row = await self._pool.fetch_one(_HAND_OVER, operation_id=operation.id, request=request, now=now)
        except asyncpg.UniqueViolationError as taken:
            if taken.constraint_name != _IN_FLIGHT:
                raise
            row = None
        if row is None:
            raise TransitionLost(f"operation {operation.id} is queued no longer, or another one is on its way")

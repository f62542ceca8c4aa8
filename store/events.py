"""Events of orders at SM-DS: `smdp.event_ports.EventWork` and `smdp.event_ports.Events`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg
from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    DateTime,
    Float,
    Integer,
    Text,
    Update,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    update,
)

from rsp.errors import Refused
from rsp.identifiers import Eid, Iccid, MatchingId
from rsp.status import Status
from smdp.eligibility import DOWNLOADABLE
from smdp.event import Event, EventState, EventStep, after
from smdp.event_ports import Wanted, Window
from smdp.ports import TransitionLost
from store.compiled import compiled
from store.pool import Connection, Pool, Row
from store.tables import orders, smds_events
from store.withdrawal import from_now, withdrawal

_NUMBER = bindparam("number", type_=BigInteger)
_ORDER = bindparam("order_id", type_=BigInteger)
_ATTEMPT = bindparam("this_attempt", type_=Integer)
_ERROR = bindparam("error", type_=Text)
_MOST = bindparam("most", type_=Integer)
_NOW = bindparam("at", type_=DateTime(timezone=True))
_CLOCK = func.clock_timestamp()
_LONGEST_ERROR = 500


def _seconds(name: str) -> ColumnElement[float]:
    return bindparam(name, type_=Float)


_NAME = (
    smds_events.c.smds_address == bindparam("smds_address", type_=Text),
    smds_events.c.eid == bindparam("eid", type_=Text),
    smds_events.c.event_id == bindparam("event_id", type_=Text),
)
_LIVE = smds_events.c.state != EventState.WITHDRAWN.value
_REGISTERING = smds_events.c.state == EventState.REGISTERING.value
_REGISTERED = smds_events.c.state == EventState.REGISTERED.value
_WITHDRAWING = smds_events.c.state == EventState.WITHDRAWING.value


def _step(start: EventState, step: EventStep) -> Update:
    """The guarded step of one event; takes `number`."""
    guarded = update(smds_events).where(smds_events.c.id == _NUMBER, smds_events.c.state == start.value)
    return guarded.values(state=after(start, step).value)


# Within a transaction of ES2+ -----------------------------------------------------------------------------------------

_TAKE_OVER = compiled(
    select(smds_events.c.event_id)
    .where(smds_events.c.order_id == _ORDER, _NAME[0], _NAME[1], _REGISTERING)
    .order_by(smds_events.c.id.desc())
    .limit(1)
)
_WITHDRAW_OTHERS = withdrawal(and_(smds_events.c.order_id == _ORDER, ~and_(*_NAME)))
_WITHDRAW_OTHERS_OF = compiled(select(func.count()).select_from(_WITHDRAW_OTHERS[0]).add_cte(*_WITHDRAW_OTHERS))
_FIND = compiled(
    select(smds_events, (smds_events.c.removing_until > _CLOCK).label("is_removed"))
    .where(*_NAME, _LIVE)
    .with_for_update()
)
_REPLACE = compiled(_step(EventState.WITHDRAWING, EventStep.REPLACE))
_ADD = compiled(
    insert(smds_events)
    .values(
        {name: bindparam(name) for name in ("tenant_id", "order_id", "smds_address", "eid", "event_id", "doubt_until")}
        | {"state": EventState.REGISTERING.value, "attempt": _ATTEMPT, "due_at": from_now(_seconds("grace_seconds"))}
    )
    .returning(*smds_events.c)
)
_AGAIN = compiled(
    update(smds_events)
    .where(smds_events.c.id == _NUMBER)
    .values(
        state=EventState.REGISTERING.value,
        attempt=smds_events.c.attempt + 1,
        due_at=from_now(_seconds("grace_seconds")),
    )
    .returning(*smds_events.c)
)
# While an earlier call may yet take effect, the last word is had later.
_CONFIRM = compiled(
    _step(EventState.REGISTERING, EventStep.CONFIRM)
    .values(
        due_at=case((smds_events.c.doubt_until > _CLOCK, smds_events.c.doubt_until), else_=null()), last_error=null()
    )
    .returning(smds_events.c.id)
)
_FAILED = withdrawal(
    and_(smds_events.c.id == _NUMBER, _REGISTERING, smds_events.c.attempt == _ATTEMPT), _seconds("doubt_seconds")
)
_FAIL = compiled(select(func.count()).select_from(_FAILED[0]).add_cte(*_FAILED))
_DISOWN = compiled(
    _step(EventState.REGISTERING, EventStep.DISOWN)
    .where(smds_events.c.attempt == _ATTEMPT)
    .values(due_at=null(), last_error=_ERROR)
)
_NOTE = compiled(update(smds_events).where(smds_events.c.id == _NUMBER).values(last_error=_ERROR))
_OF_ORDER = withdrawal(smds_events.c.order_id == _ORDER)
WITHDRAW_OF_ORDER = compiled(select(func.count()).select_from(_OF_ORDER[0]).add_cte(*_OF_ORDER))
"""Withdraws every event of an order; takes `order_id`."""


class EventRows:
    """Events within a transaction."""

    def __init__(self, connection: Connection, tenant_id: int) -> None:
        self._connection = connection
        self._tenant_id = tenant_id

    async def intend(self, wanted: Wanted, grace_seconds: float) -> Event:
        """Write down what is about to be registered. Raises Refused, TransitionLost."""
        name = {"smds_address": wanted.smds_address, "eid": str(wanted.eid), "event_id": str(wanted.event_id)}
        if wanted.free:
            place = {"smds_address": wanted.smds_address, "eid": str(wanted.eid)}
            held = await self._connection.fetch_one(_TAKE_OVER, order_id=wanted.order_id, **place)
            name["event_id"] = held["event_id"] if held else name["event_id"]
        await self._connection.execute(_WITHDRAW_OTHERS_OF, order_id=wanted.order_id, **name)
        found = await self._connection.fetch_one(_FIND, **name)
        if found is None:
            return await self._add(wanted.order_id, name, grace_seconds)
        if found["state"] == EventState.WITHDRAWING.value:
            if found["is_removed"]:
                raise Refused(Status.SMDS_ERROR, "An earlier event of this name is being removed. Try again.")
            await self._connection.execute(_REPLACE, number=found["id"])
            return await self._add(wanted.order_id, name, grace_seconds, found)
        if found["order_id"] != wanted.order_id:
            raise Refused(Status.MATCHING_ID_IN_USE)
        return _event(await self._connection.fetch_one(_AGAIN, number=found["id"], grace_seconds=grace_seconds))

    async def registered(self, event: Event) -> None:
        """The SM-DS has it. Raises TransitionLost."""
        if await self._connection.fetch_one(_CONFIRM, number=event.id) is None:
            raise TransitionLost(f"event {event.id} was withdrawn")

    async def failed(self, event: Event, error: str, doubt_seconds: float) -> None:
        """Withdrawn, unless a later attempt is under way."""
        await self._connection.execute(_NOTE, number=event.id, error=error[:_LONGEST_ERROR])
        await self._connection.execute(_FAIL, number=event.id, this_attempt=event.attempt, doubt_seconds=doubt_seconds)

    async def disown(self, event: Event, error: str) -> None:
        """Nothing of ours is at the SM-DS."""
        await self._connection.execute(
            _DISOWN, number=event.id, this_attempt=event.attempt, error=error[:_LONGEST_ERROR]
        )

    async def _add(self, order_id: int, name: dict[str, str], grace_seconds: float, former: Row | None = None) -> Event:
        values = {
            "tenant_id": self._tenant_id,
            "order_id": order_id,
            "this_attempt": former["attempt"] + 1 if former else 1,
            "doubt_until": former["doubt_until"] if former else None,
            "grace_seconds": grace_seconds,
        }
        try:
            return _event(await self._connection.fetch_one(_ADD, **name, **values))
        except asyncpg.UniqueViolationError:
            raise TransitionLost("another call writes the same event") from None


# Outside of ES2+ ------------------------------------------------------------------------------------------------------

_BEGIN_REMOVAL = compiled(
    update(smds_events)
    .where(smds_events.c.id == _NUMBER, _WITHDRAWING)
    .values(removing_until=from_now(_seconds("lease_seconds")))
    .returning(*smds_events.c)
)
_REMOVED = compiled(
    update(smds_events)
    .where(smds_events.c.id == _NUMBER, _WITHDRAWING)
    .values(
        state=case(
            (smds_events.c.doubt_until > _CLOCK, EventState.WITHDRAWING.value),
            else_=after(EventState.WITHDRAWING, EventStep.REMOVE).value,
        ),
        removing_until=null(),
    )
    .returning(smds_events.c.state)
)
_NOT_REMOVED = compiled(
    update(smds_events)
    .where(smds_events.c.id == _NUMBER)
    .values(
        removing_until=null(),
        doubt_until=func.greatest(smds_events.c.doubt_until, from_now(_seconds("doubt_seconds"))),
        last_error=_ERROR,
    )
)
_IS_OPEN = and_(
    orders.c.ended_at.is_(None),
    orders.c.state.in_(sorted(state.value for state in DOWNLOADABLE)),
    or_(orders.c.expires_at.is_(None), orders.c.expires_at > _NOW),
)
_IS_NEEDED = exists().where(
    orders.c.id == smds_events.c.order_id,
    orders.c.smds_address == smds_events.c.smds_address,
    orders.c.eid == smds_events.c.eid,
    orders.c.matching_id == smds_events.c.event_id,
    _IS_OPEN,
)
_IS_DUE = smds_events.c.due_at <= _CLOCK


def _next_after(window: CTE) -> ColumnElement[int]:
    """The last id of a full window; 0 after a shorter one: the next begins anew."""
    full = func.count() >= bindparam("size", type_=Integer)
    return select(case((full, func.max(window.c.id)), else_=0)).select_from(window).scalar_subquery()


_ABANDONED_ROWS = withdrawal(
    smds_events.c.id.in_(
        select(smds_events.c.id)
        .where(_REGISTERING, _IS_DUE, ~_IS_NEEDED)
        .limit(_MOST)
        .with_for_update(skip_locked=True)
    )
)
_ABANDONED = compiled(
    select(func.count().label("count")).select_from(_ABANDONED_ROWS[0]).add_cte(*_ABANDONED_ROWS),
    planned_by_values=True,
)
_AFTER = bindparam("after", type_=BigInteger)
_SIZE = bindparam("size", type_=Integer)
_EVENT_WINDOW = (
    select(smds_events.c.id)
    .where(_REGISTERED, smds_events.c.id > _AFTER)
    .order_by(smds_events.c.id)
    .limit(_SIZE)
    .cte("looked_at")
)
# Apart from the abandoned ones: a row that goes from one state to the other meanwhile must not meet either.
_UNNEEDED_ROWS = withdrawal(
    smds_events.c.id.in_(
        select(smds_events.c.id)
        .where(smds_events.c.id.in_(select(_EVENT_WINDOW.c.id)), _REGISTERED, ~_IS_NEEDED)
        .with_for_update(skip_locked=True)
    )
)
_UNNEEDED = compiled(
    select(
        select(func.count()).select_from(_UNNEEDED_ROWS[0]).scalar_subquery().label("count"),
        _next_after(_EVENT_WINDOW).label("next"),
    ).add_cte(*_UNNEEDED_ROWS),
    planned_by_values=True,
)
_ORDER_WINDOW = (
    select(orders.c.id)
    .where(orders.c.smds_address.is_not(None), orders.c.ended_at.is_(None), orders.c.id > _AFTER)
    .order_by(orders.c.id)
    .limit(_SIZE)
    .cte("looked_at")
)
_ORDERS_NEXT = compiled(select(_next_after(_ORDER_WINDOW).label("next")), planned_by_values=True)
_UNANNOUNCED = compiled(
    select(orders.c.tenant_id, orders.c.iccid)
    .where(
        orders.c.id.in_(select(_ORDER_WINDOW.c.id)),
        _IS_OPEN,
        orders.c.eid.is_not(None),
        orders.c.matching_id.is_not(None),
        ~exists().where(
            smds_events.c.order_id == orders.c.id,
            smds_events.c.smds_address == orders.c.smds_address,
            smds_events.c.eid == orders.c.eid,
            smds_events.c.event_id == orders.c.matching_id,
            or_(_REGISTERING, _REGISTERED),
        ),
    )
    .order_by(orders.c.id),
    planned_by_values=True,
)
_PAUSE = func.least(
    literal_column("30.0") * func.power(literal_column("2.0"), func.least(smds_events.c.attempt, 10)),
    literal_column("3600.0"),
)
_DUE = (
    select(smds_events.c.id)
    .where(_IS_DUE, or_(_REGISTERING, _REGISTERED), _IS_NEEDED)
    .order_by(smds_events.c.due_at)
    .limit(_MOST)
    .with_for_update(skip_locked=True)
)
_CLAIM_DUE = compiled(
    update(smds_events)
    .where(smds_events.c.id.in_(_DUE))
    .values(state=EventState.REGISTERING.value, attempt=smds_events.c.attempt + 1, due_at=from_now(_PAUSE))
    .returning(*smds_events.c),
    planned_by_values=True,
)


class Events:
    """Events outside of ES2+."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin_removal(self, number: int, lease_seconds: float) -> Event | None:
        """The event to be deleted; None when it is not to be (any more)."""
        row = await self._pool.fetch_one(_BEGIN_REMOVAL, number=number, lease_seconds=lease_seconds)
        return _event(row) if row else None

    async def removed(self, number: int) -> bool:
        """The SM-DS has it no more; False while a lost call may bring it back."""
        row = await self._pool.fetch_one(_REMOVED, number=number)
        return row is None or row["state"] != EventState.WITHDRAWING.value

    async def not_removed(self, number: int, error: str, doubt_seconds: float) -> None:
        """Whether the SM-DS has it is not known."""
        await self._pool.execute(_NOT_REMOVED, number=number, error=error[:_LONGEST_ERROR], doubt_seconds=doubt_seconds)

    async def withdraw_abandoned(self, now: datetime, most: int) -> int:
        """Withdraw intents that nobody followed up."""
        row = await self._pool.fetch_one(_ABANDONED, at=now, most=most)
        assert row is not None
        return int(row["count"])

    async def withdraw_unneeded(self, now: datetime, window: Window) -> tuple[int, int]:
        """Withdraw what orders left behind, in a window of events."""
        row = await self._pool.fetch_one(_UNNEEDED, at=now, after=window.after, size=window.size)
        assert row is not None
        return row["count"], row["next"]

    async def unannounced(self, now: datetime, window: Window) -> tuple[Sequence[tuple[int, Iccid]], int]:
        """Orders of a window that name an SM-DS and have no event there."""
        rows = await self._pool.fetch(_UNANNOUNCED, at=now, after=window.after, size=window.size)
        following = await self._pool.fetch_one(_ORDERS_NEXT, after=window.after, size=window.size)
        assert following is not None
        return [(row["tenant_id"], Iccid(row["iccid"])) for row in rows], following["next"]

    async def claim_due(self, now: datetime, most: int) -> Sequence[Event]:
        """Events to be registered (again) now; due again after a pause that doubles from a minute to an hour."""
        return [_event(row) for row in await self._pool.fetch(_CLAIM_DUE, at=now, most=most)]

    async def confirmed(self, event: Event) -> None:
        """The SM-DS has it."""
        await self._pool.execute(_CONFIRM, number=event.id)

    async def note(self, event: Event, error: str) -> None:
        """It could not be registered again."""
        await self._pool.execute(_NOTE, number=event.id, error=error[:_LONGEST_ERROR])


def _event(row: Row) -> Event:
    return Event(
        id=row["id"],
        tenant_id=row["tenant_id"],
        order_id=row["order_id"],
        smds_address=row["smds_address"],
        eid=Eid(row["eid"]),
        event_id=MatchingId(row["event_id"]),
        attempt=row["attempt"],
    )

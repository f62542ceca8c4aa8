"""Removes what nobody will ask for again: batches, oldest first, so that no delete holds the tables for long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    DateTime,
    Integer,
    Table,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    tuple_,
)

from smdp.event import EventState
from store.compiled import Statement, compiled
from store.pool import Pool
from store.tables import es2_calls, notifications, outbox, sessions, smds_events
from store.tenancy_tables import api_requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long rows stay.

    A session that delivered a package is kept for the card's report, which may come a year late: without it the report
    cannot be verified. One that delivered nothing is of no use once it has expired. Notifications nobody could verify
    are kept for people to look into, but not for ever: anybody can send them. So are messages that were given up, or
    that nobody asked for.
    """

    abandoned_sessions: timedelta = timedelta(days=1)
    delivered_sessions: timedelta = timedelta(days=400)
    unverified_notifications: timedelta = timedelta(days=30)
    verified_notifications: timedelta = timedelta(days=400)
    sent_messages: timedelta = timedelta(days=30)
    buried_messages: timedelta = timedelta(days=400)
    calls: timedelta = timedelta(days=30)
    withdrawn_events: timedelta = timedelta(days=120)
    requests: timedelta = timedelta(days=7)


def _before(name: str) -> ColumnElement[Any]:
    return bindparam(name, type_=DateTime(timezone=True))


def _removal(table: Table, key: tuple[Column[Any], ...], stale: ColumnElement[bool]) -> Statement:
    """Deletes up to `most` stale rows and counts them. Rows somebody works on are left for the next time."""
    batch = select(*key).where(stale).limit(bindparam("most", type_=Integer)).with_for_update(skip_locked=True)
    gone = delete(table).where(tuple_(*key).in_(batch)).returning(*key).cte("gone")
    return compiled(select(func.count().label("count")).select_from(gone), planned_by_values=True)


_SESSIONS = _removal(
    sessions,
    (sessions.c.transaction_id,),
    or_(
        sessions.c.created_at < _before("delivered_before"),
        and_(sessions.c.created_at < _before("abandoned_before"), sessions.c.secure_channel.is_(None)),
    ),
)
_NOTIFICATIONS = _removal(
    notifications,
    (notifications.c.id,),
    and_(
        notifications.c.judged_at.is_not(None),
        or_(
            notifications.c.received_at < _before("verified_before"),
            and_(notifications.c.received_at < _before("unverified_before"), ~notifications.c.verified),
        ),
    ),
)
_MESSAGES = _removal(
    outbox,
    (outbox.c.id,),
    or_(outbox.c.sent_at < _before("sent_before"), outbox.c.buried_at < _before("buried_before")),
)
_CALLS = _removal(es2_calls, (es2_calls.c.tenant_id, es2_calls.c.call_id), es2_calls.c.created_at < _before("before"))
_EVENTS = _removal(
    smds_events,
    (smds_events.c.id,),
    and_(smds_events.c.state == EventState.WITHDRAWN.value, smds_events.c.created_at < _before("before")),
)
_REQUESTS = _removal(
    api_requests,
    (api_requests.c.kind, api_requests.c.party_id, api_requests.c.key),
    api_requests.c.created_at < _before("before"),
)


class Retirement:
    """Removes rows past their time."""

    def __init__(self, pool: Pool, retention: Retention | None = None, most: int = 1000) -> None:
        """`most` rows of each table at a time."""
        self._pool = pool
        self._retention = retention or Retention()
        self._most = most

    async def remove(self, now: datetime) -> int:
        """One batch of each table; returns how many rows went. Raises Unavailable."""
        keep = self._retention
        removed = await self._removed(
            _SESSIONS, abandoned_before=now - keep.abandoned_sessions, delivered_before=now - keep.delivered_sessions
        )
        removed += await self._removed(
            _NOTIFICATIONS,
            unverified_before=now - keep.unverified_notifications,
            verified_before=now - keep.verified_notifications,
        )
        removed += await self._removed(
            _MESSAGES, sent_before=now - keep.sent_messages, buried_before=now - keep.buried_messages
        )
        removed += await self._removed(_REQUESTS, before=now - keep.requests)
        removed += await self._removed(_EVENTS, before=now - keep.withdrawn_events)
        return removed + await self._removed(_CALLS, before=now - keep.calls)

    async def _removed(self, statement: Statement, **before: datetime) -> int:
        row = await self._pool.fetch_one(statement, most=self._most, **before)
        assert row is not None
        return int(row["count"])

"""Orders, their sessions and what operators were told, for people to look at: `smdp.reading.OrderReading`."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, DateTime, Integer, Text, bindparam, func, or_, select

from rsp.identifiers import Iccid, MatchingId, TransactionId
from smdp.order import OrderState
from smdp.ports import Limits
from smdp.progress import line_of
from smdp.reading import OrderFilter, OrderHistory, OrderRow, SessionRow, ToldRow
from smdp.session import SessionState
from store.compiled import compiled
from store.pool import Pool, Row
from store.rows import labelled, order_from
from store.tables import orders, outbox, sessions, smds_events, tenants

_TENANT = bindparam("tenant_id", type_=BigInteger)
_STATE = bindparam("state", type_=Text)
_EID = bindparam("eid", type_=Text)
_TYPE = bindparam("profile_type", type_=Text)

_ORDERS = select(
    orders.c.iccid,
    tenants.c.name.label("tenant"),
    orders.c.profile_type,
    orders.c.state,
    func.coalesce(orders.c.eid, "").label("eid"),
    orders.c.download_attempts,
    orders.c.confirmation_attempts,
    orders.c.expires_at,
    orders.c.ended_at,
    orders.c.created_at,
).join(tenants, tenants.c.id == orders.c.tenant_id)
_LIST = compiled(
    _ORDERS.where(
        or_(_TENANT.is_(None), orders.c.tenant_id == _TENANT),
        or_(_STATE == "", orders.c.state == _STATE),
        or_(_EID == "", orders.c.eid == _EID),
        or_(_TYPE == "", orders.c.profile_type == _TYPE),
    )
    .order_by(orders.c.id.desc())
    .limit(bindparam("most", type_=Integer)),
    planned_by_values=True,
)


def _of_latest_event(column: Column[Any]) -> ColumnElement[Any]:
    latest = select(column).where(smds_events.c.order_id == orders.c.id).order_by(smds_events.c.id.desc()).limit(1)
    return func.coalesce(latest.correlate(orders).scalar_subquery(), "")


_LATEST = compiled(
    _ORDERS.add_columns(
        *labelled(orders, "order"),
        orders.c.id,
        orders.c.matching_id,
        func.coalesce(orders.c.smds_address, "").label("smds_address"),
        _of_latest_event(smds_events.c.state).label("event"),
        _of_latest_event(smds_events.c.last_error).label("event_error"),
        orders.c.confirmation_sealed.is_not(None).label("asks_code"),
        tenants.c.download_attempts.label("download_limit"),
        tenants.c.confirmation_attempts.label("confirmation_limit"),
    )
    .where(orders.c.iccid == bindparam("iccid", type_=Text))
    .order_by(orders.c.id.desc())
    .limit(1)
)
_SESSIONS = compiled(
    select(
        sessions.c.transaction_id,
        sessions.c.state,
        func.coalesce(sessions.c.eid, "").label("eid"),
        func.coalesce(sessions.c.refusal, "").label("refusal"),
        sessions.c.created_at,
        sessions.c.expires_at,
    )
    .where(sessions.c.order_id == bindparam("order_id", type_=BigInteger))
    .order_by(sessions.c.created_at)
)
_TOLD = compiled(
    select(
        outbox.c.body,
        outbox.c.attempts,
        func.coalesce(outbox.c.last_error, "").label("error"),
        outbox.c.created_at,
        outbox.c.sent_at,
        outbox.c.buried_at,
    )
    .where(
        outbox.c.line == bindparam("line", type_=Text),
        outbox.c.created_at >= bindparam("since", type_=DateTime(timezone=True)),
    )
    .order_by(outbox.c.id)
)


class OrderBook:
    """PostgreSQL behind what people see of orders."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_orders(self, wanted: OrderFilter) -> list[OrderRow]:
        """Orders, newest first."""
        rows = await self._pool.fetch(
            _LIST,
            tenant_id=wanted.tenant_id,
            state=wanted.state,
            eid=wanted.eid,
            profile_type=wanted.profile_type,
            most=wanted.most,
        )
        return [_order(row) for row in rows]

    async def order_history(self, iccid: Iccid) -> OrderHistory | None:
        """The latest order of a profile; messages that were sent long ago are gone (store.retention)."""
        row = await self._pool.fetch_one(_LATEST, iccid=str(iccid))
        if row is None:
            return None
        attempts = await self._pool.fetch(_SESSIONS, order_id=row["id"])
        told = await self._pool.fetch(_TOLD, line=line_of(iccid), since=row["created_at"])
        latest = order_from(row)
        return OrderHistory(
            order=_order(row),
            limits=Limits(download_attempts=row["download_limit"], confirmation_attempts=row["confirmation_limit"]),
            matching_id=MatchingId(row["matching_id"]) if row["matching_id"] else None,
            asks_code=row["asks_code"],
            sessions=tuple(map(_session, attempts)),
            told=tuple(map(told_from, told)),
            card=latest.card if latest.card_state is not None else None,
            imei=latest.imei or "",
            redownloads=latest.redownloads,
            smds_address=row["smds_address"],
            event=row["event"],
            event_error=row["event_error"],
        )


def _order(row: Row) -> OrderRow:
    return OrderRow(
        iccid=Iccid(row["iccid"]),
        tenant=row["tenant"],
        profile_type=row["profile_type"],
        state=OrderState(row["state"]),
        eid=row["eid"],
        download_attempts=row["download_attempts"],
        confirmation_attempts=row["confirmation_attempts"],
        expires_at=row["expires_at"],
        ended_at=row["ended_at"],
        created_at=row["created_at"],
    )


def _session(row: Row) -> SessionRow:
    return SessionRow(
        transaction_id=TransactionId(row["transaction_id"]),
        state=SessionState(row["state"]),
        eid=row["eid"],
        refusal=row["refusal"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )


def told_from(row: Row) -> ToldRow:
    """What an operator is told, in the columns of the outbox."""
    body = json.loads(row["body"])
    return ToldRow(
        point=body["point"],
        status=body["status"],
        attempts=row["attempts"],
        error=row["error"],
        created_at=row["created_at"],
        sent_at=row["sent_at"],
        buried_at=row["buried_at"],
    )

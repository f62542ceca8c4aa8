"""Sessions and the orders they download: `smdp.ports.DownloadStore`, at most one round trip for each method."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    Integer,
    LargeBinary,
    Select,
    Text,
    any_,
    bindparam,
    func,
    insert,
    select,
)

from rsp.identifiers import Eid, Iccid, MatchingId, TransactionId
from smdp.order import CLOSED, Order, OrderState
from smdp.ports import DownloadFacts, DownloadWrite, OwnedOrder
from smdp.session import Session
from store.changes import written
from store.compiled import compiled
from store.gathering import Gathering, Gatherings
from store.pool import Pool
from store.rows import LIMITS, facts_from, labelled, limits_from, order_from, session_values
from store.tables import orders, packages, profiles, sessions, tenants

_MATCHING_ID = bindparam("matching_id", type_=Text)
_EID = bindparam("eid", type_=Text)

_CLOSED = sorted(state.value for state in CLOSED)
_BY_TOKEN = (
    select(orders.c.id)
    .where(orders.c.matching_id == _MATCHING_ID, orders.c.state.not_in(_CLOSED))
    .order_by(orders.c.ended_at.is_not(None), orders.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
_BY_EID = (
    select(orders.c.id)
    .where(
        _MATCHING_ID.is_(None),
        orders.c.eid == _EID,
        orders.c.ended_at.is_(None),
        orders.c.state.in_([OrderState.RELEASED.value, OrderState.DOWNLOADED.value]),
    )
    # A downloaded order may be installed already: common LPAs report it late or never, and the next one is waited for.
    .order_by(orders.c.state == OrderState.DOWNLOADED.value, orders.c.id)
    .limit(1)
    .scalar_subquery()
)


_SESSION_AND_ORDER = (*labelled(sessions, "session"), *labelled(orders, "order"), *labelled(tenants, "tenant", *LIMITS))


def _facts(*also: ColumnElement[Any]) -> Select[Any]:
    """One session with its order, the profile of that and the limits of its owner."""
    return select(
        *_SESSION_AND_ORDER,
        *labelled(profiles, "profile", "metadata", "policy_rules"),
        *labelled(packages, "package", "id", "saip_major", "saip_minor", "size", "services", "segments", "key_sealed"),
        *also,
    ).where(sessions.c.transaction_id == bindparam("transaction_id"))


def _joined(facts: Select[Any], order_id: ColumnElement[int]) -> Select[Any]:
    return facts.select_from(
        sessions.outerjoin(
            orders.join(profiles, profiles.c.iccid == orders.c.iccid)
            .join(packages, packages.c.id == profiles.c.package_id)
            .join(tenants, tenants.c.id == orders.c.tenant_id),
            orders.c.id == order_id,
        )
    )


_TURN = bindparam("turn", type_=Integer).label("turn")
_STORED_COLUMNS = [column.key for column in sessions.c if column.key != "created_at"]
_OPEN_SESSION = compiled(insert(sessions).values({name: bindparam(name) for name in _STORED_COLUMNS}))
_FIND_FOR_AUTHENTICATION = compiled(_joined(_facts(_TURN), func.coalesce(sessions.c.order_id, _BY_TOKEN, _BY_EID)))
# What a card reports or cancels concerns no more than these.
_FIND_SESSIONS = compiled(
    select(*_SESSION_AND_ORDER)
    .select_from(
        sessions.outerjoin(orders.join(tenants, tenants.c.id == orders.c.tenant_id), orders.c.id == sessions.c.order_id)
    )
    .where(sessions.c.transaction_id == func.any(bindparam("transaction_ids", type_=ARRAY(LargeBinary))))
)
_FIND_FOR_DELIVERY = compiled(_joined(_facts(_TURN), sessions.c.order_id))

_FIND_ORDERS = compiled(
    select(*labelled(orders, "order"), *labelled(tenants, "tenant", *LIMITS))
    .join(tenants, tenants.c.id == orders.c.tenant_id)
    .where(orders.c.iccid == any_(bindparam("iccids", type_=ARRAY(Text))))
    .order_by(orders.c.id)
)
_EXPIRED = compiled(
    select(*labelled(orders, "order"))
    .where(
        orders.c.ended_at.is_(None),
        orders.c.expires_at <= bindparam("now", type_=DateTime(timezone=True)),
        orders.c.state.in_([OrderState.RELEASED.value, OrderState.DOWNLOADED.value]),
    )
    .order_by(orders.c.expires_at)
    .limit(bindparam("most", type_=Integer)),
    planned_by_values=True,
)


class Downloads:
    """PostgreSQL behind the download path."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._opening = Gathering(pool, _OPEN_SESSION)
        self._finding_for_authentication = Gathering(pool, _FIND_FOR_AUTHENTICATION)
        self._finding_for_delivery = Gathering(pool, _FIND_FOR_DELIVERY)
        self._writing = Gatherings(pool, sorted_by="order_id")

    async def open_session(self, session: Session) -> None:
        """Store a fresh session."""
        await self._opening.run(**session_values(session))

    async def find_for_authentication(
        self, transaction_id: TransactionId, matching_id: MatchingId | None, eid: Eid | None
    ) -> DownloadFacts | None:
        """The session and the order it has, else the one its MatchingID or its EID leads to."""
        rows = await self._finding_for_authentication.run(
            transaction_id=transaction_id.value,
            matching_id=str(matching_id) if matching_id else None,
            eid=str(eid) if eid else None,
        )
        return facts_from(rows[0]) if rows else None

    async def find_for_delivery(self, transaction_id: TransactionId) -> DownloadFacts | None:
        """The session with its order, profile and protected package."""
        rows = await self._finding_for_delivery.run(transaction_id=transaction_id.value)
        return facts_from(rows[0]) if rows else None

    async def find_session(self, transaction_id: TransactionId) -> DownloadFacts | None:
        """The session and its order, however old."""
        return (await self.find_sessions((transaction_id,))).get(transaction_id)

    async def find_sessions(self, transaction_ids: Collection[TransactionId]) -> Mapping[TransactionId, DownloadFacts]:
        """Those sessions that exist, with their orders, however old."""
        if not transaction_ids:
            return {}
        rows = await self._pool.fetch(_FIND_SESSIONS, transaction_ids=[one.value for one in transaction_ids])
        found = (facts_from(row, with_profile=False) for row in rows)
        return {facts.session.transaction_id: facts for facts in found}

    async def find_orders(self, iccids: Collection[Iccid]) -> Mapping[Iccid, Sequence[OwnedOrder]]:
        """All orders of these profiles, oldest first."""
        found: dict[Iccid, list[OwnedOrder]] = {}
        if iccids:
            rows = await self._pool.fetch(_FIND_ORDERS, iccids=[str(iccid) for iccid in iccids])
            for row in rows:
                owned = OwnedOrder(order=order_from(row), limits=limits_from(row))
                found.setdefault(owned.order.iccid, []).append(owned)
        return found

    async def expired_orders(self, now: datetime, most: int) -> list[Order]:
        """Up to `most` orders that could be downloaded were it not for their age, the oldest first."""
        return [order_from(row) for row in await self._pool.fetch(_EXPIRED, now=now, most=most)]

    async def write(self, write: DownloadWrite) -> None:
        """One statement, one commit. Raises TransitionLost."""
        statement, values = written(write)
        await self._writing.of(statement).run(**values)

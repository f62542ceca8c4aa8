"""ES2+ functions as transactions: `smdp.ports.OrderingStore`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import asyncpg
import msgspec
from sqlalchemy import ARRAY, BigInteger, Text, any_, bindparam, exists, func, insert, lateral, select, true, update
from sqlalchemy.dialects.postgresql import insert as upsert

from rsp.errors import Refused
from rsp.identifiers import Iccid
from rsp.status import Status
from smdp.order import CLOSED, Order, OrderChange, ProfileState
from smdp.ports import Call, Limits, ProfileStanding, StockProfile, TransitionLost
from smdp.progress import Message
from smdp.session import SessionState
from store.changes import order_step, told
from store.compiled import compiled
from store.events import WITHDRAW_OF_ORDER, EventRows
from store.pool import Connection, Pool, Row
from store.rows import LIMITS, labelled, limits_from, order_from, order_values
from store.tables import es2_calls, orders, profile_types, profiles, sessions, tenants

_TENANT = bindparam("tenant_id", type_=BigInteger)
_ICCID = bindparam("iccid", type_=Text)
_TYPE = bindparam("profile_type", type_=Text)
_THIS_CALL = (es2_calls.c.tenant_id == _TENANT, es2_calls.c.call_id == bindparam("call_id", type_=Text))

_RESERVE_CALL = compiled(
    upsert(es2_calls)
    .values({name: bindparam(name) for name in ("tenant_id", "call_id", "function", "digest")})
    .on_conflict_do_nothing()
    .returning(es2_calls.c.call_id)
)
_FIND_CALL = compiled(select(es2_calls.c.function, es2_calls.c.digest, es2_calls.c.result).where(*_THIS_CALL))
_KEEP_RESULT = compiled(update(es2_calls).where(*_THIS_CALL).values(result=bindparam("kept", type_=Text)))
_TYPE_OPEN = compiled(
    select(profile_types.c.open).where(profile_types.c.tenant_id == _TENANT, profile_types.c.name == _TYPE)
)
_LIMITS = compiled(select(*labelled(tenants, "tenant", *LIMITS)).where(tenants.c.id == _TENANT))
_STOCK = select(
    profiles.c.iccid,
    profile_types.c.name.label("profile_type"),
    profiles.c.state,
    profile_types.c.open.label("orderable"),
).join(profile_types)
_FIND_PROFILE = compiled(
    _STOCK.where(profiles.c.tenant_id == _TENANT, profiles.c.iccid == _ICCID).with_for_update(of=profiles)
)
# The oldest first, by a column that only the index of what is in stock has: by id or ICCID PostgreSQL could choose an
# index of all profiles and walk over everything that was ever sold.
_DRAW = compiled(
    select(profiles.c.iccid, _TYPE.label("profile_type"), profiles.c.state, true().label("orderable"))
    .where(
        profiles.c.profile_type_id
        == select(profile_types.c.id)
        .where(profile_types.c.tenant_id == _TENANT, profile_types.c.name == _TYPE)
        .scalar_subquery(),
        profiles.c.state == ProfileState.AVAILABLE.value,
    )
    .order_by(profiles.c.created_at)
    .limit(1)
    .with_for_update(of=profiles, skip_locked=True)
)
_CLOSED = sorted(state.value for state in CLOSED)
_NEWEST = (
    select(*labelled(orders, "order"))
    .where(orders.c.tenant_id == _TENANT, orders.c.iccid == _ICCID)
    .order_by(orders.c.id.desc())
    .limit(1)
    .with_for_update()
)
_OPEN_ORDER = compiled(_NEWEST.where(orders.c.state.not_in(_CLOSED)))
_LATEST_ORDER = compiled(_NEWEST)
_LATEST = lateral(
    select(*labelled(orders, "order"))
    .where(orders.c.iccid == profiles.c.iccid, orders.c.tenant_id == profiles.c.tenant_id)
    .order_by(orders.c.id.desc())
    .limit(1)
).alias("latest")
_STANDINGS = compiled(
    select(
        profiles.c.iccid,
        profiles.c.state,
        func.coalesce(_LATEST.c.order_changed_at, profiles.c.created_at).label("changed_at"),
        *_LATEST.c,
    )
    .select_from(profiles.outerjoin(_LATEST, true()))
    .where(profiles.c.tenant_id == _TENANT, profiles.c.iccid == any_(bindparam("iccids", type_=ARRAY(Text))))
)
# Reads the whole table: it is asked only when a failed order that was handed out is to return to stock, which is rare,
# and an index would cost every download.
_AWAITS_REPORT = compiled(
    select(
        exists()
        .where(
            sessions.c.order_id == bindparam("order_id", type_=BigInteger),
            sessions.c.secure_channel.is_not(None),
            sessions.c.state != SessionState.REPORTED.value,
        )
        .label("awaits")
    )
)
_NEW_COLUMNS = (
    "tenant_id",
    "iccid",
    "profile_type",
    "state",
    "version",
    "eid",
    "matching_id",
    "key_sealed",
    "confirmation_sealed",
    "expires_at",
    "eid_named",
)
_ADD_ORDER = compiled(
    insert(orders).values({name: bindparam(name) for name in _NEW_COLUMNS}).returning(*labelled(orders, "order"))
)
_OF_TENANT = orders.c.tenant_id == _TENANT
_CHANGE_PROFILE = compiled(
    update(profiles)
    .where(
        profiles.c.tenant_id == _TENANT,
        profiles.c.iccid == bindparam("this_iccid", type_=Text),
        profiles.c.state == bindparam("expected", type_=Text),
    )
    .values(state=bindparam("next_state", type_=Text))
    .returning(profiles.c.id)
)
_MATCHING_ID_TAKEN = "uq_orders_open_matching_id"


class Work:
    """One ES2+ function in one transaction; it sees the rows of its tenant only."""

    def __init__(self, connection: Connection, tenant_id: int) -> None:
        self._connection = connection
        self._tenant_id = tenant_id

    @property
    def events(self) -> EventRows:
        """The events of orders at SM-DS."""
        return EventRows(self._connection, self._tenant_id)

    async def earlier_result(self, call: Call) -> Mapping[str, str | None] | None:
        """The stored result of the same call; None for a new one, which then is ours. Raises Refused.

        A call that another work has reserved is waited for: the unique key holds us until that work ends.
        """
        key: dict[str, object] = {"tenant_id": self._tenant_id, "call_id": call.call_id}
        fresh = {"function": call.function, "digest": call.digest}
        if await self._connection.fetch_one(_RESERVE_CALL, **key, **fresh):
            return None
        row = await self._connection.fetch_one(_FIND_CALL, **key)
        if row is None or (row["function"], row["digest"]) != (call.function, call.digest):
            raise Refused(Status.CALL_ID_REUSED)
        if row["result"] is None:
            return None
        return msgspec.json.decode(row["result"], type=dict[str, str | None])

    async def keep_result(self, call: Call, result: Mapping[str, str | None]) -> None:
        """Store the result of a call reserved by earlier_result."""
        kept = msgspec.json.encode(dict(result)).decode()
        await self._connection.execute(_KEEP_RESULT, tenant_id=self._tenant_id, call_id=call.call_id, kept=kept)

    async def type_open(self, profile_type: str) -> bool | None:
        """Whether the tenant's profile type of that name is open for ordering; None when it has none."""
        row = await self._connection.fetch_one(_TYPE_OPEN, tenant_id=self._tenant_id, profile_type=profile_type)
        return None if row is None else bool(row["open"])

    async def limits(self) -> Limits:
        """What the tenant has set."""
        row = await self._connection.fetch_one(_LIMITS, tenant_id=self._tenant_id)
        return limits_from(row)

    async def standings(self, iccids: Sequence[Iccid]) -> list[ProfileStanding]:
        """The profiles of the tenant among these, nothing locked."""
        wanted = [str(iccid) for iccid in iccids]
        rows = await self._connection.fetch(_STANDINGS, tenant_id=self._tenant_id, iccids=wanted)
        return [
            ProfileStanding(
                iccid=Iccid(row["iccid"]),
                state=ProfileState(row["state"]),
                changed_at=row["changed_at"],
                order=order_from(row) if row["order_id"] is not None else None,
            )
            for row in rows
        ]

    async def profile(self, iccid: Iccid) -> StockProfile | None:
        """The profile, locked for this work."""
        return _profile(
            await self._connection.fetch_one(_FIND_PROFILE, tenant_id=self._tenant_id, iccid=str(iccid)),
        )

    async def draw(self, profile_type: str) -> StockProfile | None:
        """Any available profile of the type, locked; those other works hold are passed over."""
        return _profile(
            await self._connection.fetch_one(_DRAW, tenant_id=self._tenant_id, profile_type=profile_type),
        )

    async def open_order(self, iccid: Iccid) -> Order | None:
        """The order of that ICCID that is not cancelled, locked for this work."""
        row = await self._connection.fetch_one(_OPEN_ORDER, tenant_id=self._tenant_id, iccid=str(iccid))
        return order_from(row) if row else None

    async def latest_order(self, iccid: Iccid) -> Order | None:
        """The newest order of that ICCID, ended or not, locked for this work."""
        row = await self._connection.fetch_one(_LATEST_ORDER, tenant_id=self._tenant_id, iccid=str(iccid))
        return order_from(row) if row else None

    async def awaits_report(self, order_id: int) -> bool:
        """Whether a session of this order delivered its package and no report of it was verified."""
        row = await self._connection.fetch_one(_AWAITS_REPORT, order_id=order_id)
        return row is not None and bool(row["awaits"])

    async def add_order(self, order: Order) -> Order:
        """Store a new order and return it with its id. Raises TransitionLost when the profile has an open one."""
        values = order_values(order) | {"tenant_id": self._tenant_id}
        try:
            return order_from(await self._connection.fetch_one(_ADD_ORDER, **values))
        except asyncpg.UniqueViolationError as taken:
            raise _lost_to(taken) from None

    async def change_order(self, change: OrderChange) -> None:
        """Apply a guarded step. Raises TransitionLost, Refused(MATCHING_ID_IN_USE)."""
        statement, values = order_step(change, _OF_TENANT)
        try:
            row = await self._connection.fetch_one(statement, **values, tenant_id=self._tenant_id)
        except asyncpg.UniqueViolationError as taken:
            raise _lost_to(taken) from None
        if row is None:
            raise TransitionLost(f"order {change.order_id} is no longer {change.expected}")
        if change.withdraws:
            await self._connection.execute(WITHDRAW_OF_ORDER, order_id=change.order_id)

    async def change_profile(self, iccid: Iccid, expected: ProfileState, state: ProfileState) -> None:
        """Move a profile in stock. Raises TransitionLost."""
        row = await self._connection.fetch_one(
            _CHANGE_PROFILE,
            tenant_id=self._tenant_id,
            this_iccid=str(iccid),
            expected=expected.value,
            next_state=state.value,
        )
        if row is None:
            raise TransitionLost(f"profile {iccid} is no longer {expected}")

    async def tell(self, message: Message) -> None:
        """Put a message into the outbox."""
        statement, values = told((message,))
        await self._connection.execute(statement, **values)


class Orderings:
    """PostgreSQL behind ES2+."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def begin(self, tenant_id: int) -> AsyncIterator[Work]:
        """One transaction for one tenant."""
        async with self._pool.transaction() as connection:
            yield Work(connection, tenant_id)


def _profile(row: Row | None) -> StockProfile | None:
    if row is None:
        return None
    return StockProfile(
        iccid=Iccid(row["iccid"]),
        profile_type=row["profile_type"],
        state=ProfileState(row["state"]),
        orderable=row["orderable"],
    )


def _lost_to(taken: asyncpg.UniqueViolationError) -> Exception:
    if taken.constraint_name == _MATCHING_ID_TAKEN:
        return Refused(Status.MATCHING_ID_IN_USE)
    return TransitionLost("the profile has an open order already")

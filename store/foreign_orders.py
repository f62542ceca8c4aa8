"""Our record of orders at carriers' own SM-DP+: `swap.foreign.ForeignOrders`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import asyncpg
from sqlalchemy import (
    BigInteger,
    DateTime,
    Integer,
    LargeBinary,
    Text,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from rsp.identifiers import Eid, Iccid
from store.compiled import Statement, compiled
from store.foreign_tables import foreign_orders as orders
from store.pool import Pool, Row
from swap.foreign import KEPT, ForeignOrder, Told

_ID = bindparam("order_id", type_=BigInteger)
_CARRIER = bindparam("carrier_id", type_=BigInteger)
_KEY = bindparam("key", type_=Text)
_NOW = bindparam("now", type_=DateTime(timezone=True))
_NEW = ("carrier_id", "key", "token", "eid", "profile_type", "created_at")
_OPEN = and_(orders.c.ended_at.is_(None), ~orders.c.surplus)
_RANK = case(*[(orders.c.told == told.value, rank) for rank, told in enumerate(Told)], else_=0)


def _added(*more: str) -> Any:
    names = (*_NEW, *more)
    values: dict[str, Any] = {name: bindparam(name, type_=orders.c[name].type) for name in names}
    return insert(orders).values(values | {"asks": literal(1)})


def _changed(**values: object) -> Statement:
    return compiled(update(orders).where(orders.c.id == _ID).values(values).returning(*orders.c))


_ASKED = compiled(
    _added()
    .on_conflict_do_update(
        index_elements=[orders.c.carrier_id, orders.c.key],
        # One that was given up without a profile is asked for anew.
        set_={
            "asks": orders.c.asks + 1,
            "ended_at": case((orders.c.iccid.is_(None), null()), else_=orders.c.ended_at),
        },
    )
    .returning(*orders.c)
)
_RESERVED = _changed(iccid=func.coalesce(orders.c.iccid, bindparam("iccid", type_=Text)))
_FORGET = compiled(delete(orders).where(orders.c.id == _ID, orders.c.iccid.is_(None)))
_EID = bindparam("eid", type_=Text)
_OF_PROFILE = compiled(
    select(*orders.c)
    .where(orders.c.carrier_id == _CARRIER, orders.c.iccid == bindparam("iccid", type_=Text), _OPEN)
    .where(or_(_EID.is_(None), orders.c.eid == _EID))
    .order_by(orders.c.ending != "", orders.c.id.desc())
    .limit(1)
)
_ENDED_BY = compiled(
    select(*orders.c)
    .where(orders.c.carrier_id == _CARRIER, orders.c.ended_key == _KEY, orders.c.ended_key != "")
    .limit(1)
)
_CONFIRMING = _changed(
    confirms=orders.c.confirms + 1,
    matching_sealed=func.coalesce(orders.c.matching_sealed, bindparam("sealed", type_=LargeBinary)),
)
_RELEASED = _changed(
    released=true(), matching_sealed=bindparam("sealed", type_=LargeBinary), address=bindparam("at", type_=Text)
)
_CANCELLING = _changed(cancels=orders.c.cancels + 1)
_KEPT_BACK = _changed(ending=literal(KEPT), matching_sealed=null())
_KEPT_OUT = _changed(out=true())
_NOTED = _changed(word=bindparam("new_word", type_=Text))
_TOLD = compiled(
    update(orders)
    .where(orders.c.id == _ID, orders.c.ended_at.is_(None), bindparam("rank", type_=Integer) >= _RANK)
    .values(told=bindparam("said", type_=Text), told_detail=bindparam("detail", type_=Text), told_at=_NOW)
)
_ENDED = compiled(
    update(orders)
    .where(orders.c.id == _ID, orders.c.ended_at.is_(None))
    .values(
        ended_at=_NOW,
        ending=bindparam("how", type_=Text),
        ended_key=bindparam("by", type_=Text),
        matching_sealed=null(),
    )
)
_ADD_SURPLUS = compiled(
    _added("iccid", "surplus")
    .on_conflict_do_update(index_elements=[orders.c.carrier_id, orders.c.key], set_={"asks": orders.c.asks})
    .returning(*orders.c)
)
_SURPLUS = compiled(
    select(*orders.c)
    .where(orders.c.surplus, orders.c.ended_at.is_(None))
    .order_by(orders.c.id)
    .limit(bindparam("most", type_=Integer)),
    planned_by_values=True,
)
_OPEN_PROFILE = "uq_foreign_orders_open"


class ForeignOrders:
    """PostgreSQL behind orders at other servers. Every write is committed when the call returns."""

    def __init__(self, pool: Pool, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._now = now

    async def asked(self, carrier_id: int, key: str, eid: Eid, profile_type: str) -> ForeignOrder:
        """Write down that a profile is about to be asked for; a known `key` counts one ask more. The row."""
        new = self._new(carrier_id, key, eid, profile_type)
        return _order(await self._pool.fetch_one(_ASKED, **new))

    async def reserved(self, order_id: int, iccid: Iccid) -> Iccid | None:
        """Keep the profile that came back, unless one is kept already; the one that is kept.

        None when another open order of that carrier has it.
        """
        try:
            row = await self._pool.fetch_one(_RESERVED, order_id=order_id, iccid=iccid.digits)
        except asyncpg.UniqueViolationError:
            return None
        return _order(row).iccid

    async def forget(self, order_id: int) -> None:
        """Drop an order that never came to be."""
        await self._pool.execute(_FORGET, order_id=order_id)

    async def open_order(self, carrier_id: int, iccid: Iccid, eid: Eid | None = None) -> ForeignOrder | None:
        """The order of a profile that has not ended and is no surplus; for that eSIM, if one is named.

        One that was kept comes after one that was not.
        """
        wanted = str(eid) if eid else None
        row = await self._pool.fetch_one(_OF_PROFILE, carrier_id=carrier_id, iccid=iccid.digits, eid=wanted)
        return None if row is None else _order(row)

    async def ended_by(self, carrier_id: int, key: str) -> ForeignOrder | None:
        """The order that the call of this key has ended."""
        row = await self._pool.fetch_one(_ENDED_BY, carrier_id=carrier_id, key=key)
        return None if row is None else _order(row)

    async def confirming(self, order_id: int, matching_sealed: bytes) -> ForeignOrder:
        """Count a confirmation that is about to be asked for; the MatchingID that was chosen first stays. The row."""
        return _order(await self._pool.fetch_one(_CONFIRMING, order_id=order_id, sealed=matching_sealed))

    async def released(self, order_id: int, matching_sealed: bytes, address: str) -> ForeignOrder:
        """The order can be downloaded. The row."""
        return _order(await self._pool.fetch_one(_RELEASED, order_id=order_id, sealed=matching_sealed, at=address))

    async def cancelling(self, order_id: int) -> ForeignOrder:
        """Count a cancellation that is about to be asked for. The row."""
        return _order(await self._pool.fetch_one(_CANCELLING, order_id=order_id))

    async def kept_back(self, order_id: int) -> None:
        """The server does not take the profile back; another order may get it once it does."""
        await self._pool.execute(_KEPT_BACK, order_id=order_id)

    async def kept_out(self, order_id: int) -> None:
        """A card may hold the profile."""
        await self._pool.execute(_KEPT_OUT, order_id=order_id)

    async def noted(self, order_id: int, word: str) -> None:
        """The server's own word for the state."""
        await self._pool.execute(_NOTED, order_id=order_id, new_word=word)

    async def told(self, order_id: int, told: Told, detail: str) -> None:
        """What was reported; less than what was reported before changes nothing."""
        rank = list(Told).index(told)
        await self._pool.execute(_TOLD, order_id=order_id, rank=rank, said=told.value, detail=detail, now=self._now())

    async def ended(self, order_id: int, ending: str, key: str) -> None:
        """The order is over, by the call of that key; its MatchingID is forgotten."""
        await self._pool.execute(_ENDED, order_id=order_id, how=ending, by=key, now=self._now())

    async def add_surplus(self, order: ForeignOrder, iccid: Iccid) -> ForeignOrder | None:
        """Keep a second profile of a reservation, to be given back; the same again gets the same row.

        None when an open order of that carrier has it: then it is none too many.
        """
        new = self._new(order.carrier_id, f"{order.key}-surplus-{iccid}", order.eid, order.profile_type)
        try:
            row = await self._pool.fetch_one(_ADD_SURPLUS, **new, iccid=iccid.digits, surplus=True)
        except asyncpg.UniqueViolationError:
            return None
        return _order(row)

    async def surplus(self, most: int) -> list[ForeignOrder]:
        """Profiles to be given back."""
        return [_order(row) for row in await self._pool.fetch(_SURPLUS, most=most)]

    def _new(self, carrier_id: int, key: str, eid: Eid, profile_type: str) -> dict[str, object]:
        return {
            "carrier_id": carrier_id,
            "key": key,
            "token": uuid4().hex,
            "eid": str(eid),
            "profile_type": profile_type,
            "created_at": self._now(),
        }


def _order(row: Row) -> ForeignOrder:
    plain = ("id", "carrier_id", "key", "token", "profile_type", "created_at", "asks", "confirms", "cancels")
    more = ("matching_sealed", "address", "released", "out", "surplus", "word", "ending", "ended_at")
    return ForeignOrder(
        **{name: row[name] for name in (*plain, *more)},
        eid=Eid(row["eid"]),
        iccid=Iccid(row["iccid"]) if row["iccid"] else None,
        told=Told(row["told"]),
    )

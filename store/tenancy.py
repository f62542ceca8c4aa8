"""Carriers, enterprises and partnerships: `tenancy.ports.TenancyStore`."""

from __future__ import annotations

from typing import Any

import asyncpg
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    LargeBinary,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    exists,
    func,
    literal,
    or_,
    select,
)

from store.audited import act_arguments, addition, change, new_arguments
from store.compiled import Statement, compiled
from store.pool import Pool, Row
from store.tenancy_tables import carriers, enterprises, partnerships
from tenancy.partners import Carrier, CarrierRole, Enterprise, Model, Partnership, Plans, PlatformAccess, SmdpAccess
from tenancy.ports import Page
from tenancy.principal import Act, BadTerms, Changed, Principal, Taken

_PLATFORM = {"kind": "platform_kind", "base_url": "platform_url", "username": "platform_username"}
_PLATFORM |= {"secret_sealed": "platform_secret_sealed"}
_SMDP = {"base_url": "smdp_url", "requester_id": "smdp_requester_id", "certificate": "smdp_certificate"}
_SMDP |= {"ca": "smdp_ca", "address": "smdp_address", "caller_certificate": "smdp_caller_certificate"}
_SMDP |= {"caller": "smdp_caller", "key_sealed": "smdp_key_sealed"}
_NO_SMDP = dict.fromkeys(_SMDP.values(), "") | {"smdp_caller": None, "smdp_key_sealed": None}
_PLANS = ("account", "rate_plan", "communication_plan")
_CARRIER = ("role", "operator_id", "profile_type", "inventory_account", *_PLATFORM.values(), *_SMDP.values())
_TERMS = ("model", *_PLANS, "territory", "enterprise_may_order", "lead_agrees", "partner_agrees")
_PARTIES = ("enterprise_id", "lead_id", "partner_id")

_KIND: ColumnElement[Any] = bindparam("viewer_kind", type_=Text)
_PARTY: ColumnElement[Any] = bindparam("viewer_party", type_=BigInteger)
_ADMIN: ColumnElement[bool] = literal("admin") == _KIND
_AS_CARRIER: ColumnElement[bool] = literal("carrier") == _KIND
_AS_ENTERPRISE: ColumnElement[bool] = literal("enterprise") == _KIND

_MEETS_LEAD = and_(partnerships.c.lead_id == _PARTY, partnerships.c.partner_id == carriers.c.id)
_MEETS_PARTNER = and_(partnerships.c.partner_id == _PARTY, partnerships.c.lead_id == carriers.c.id)
_SERVES = and_(partnerships.c.enterprise_id == _PARTY, partnerships.c.partner_id == carriers.c.id)
# A carrier becomes known to others when it agrees to something with them, and not because they name it.
_CARRIER_SEEN = or_(
    _ADMIN,
    and_(_AS_CARRIER, carriers.c.id == _PARTY),
    and_(_AS_CARRIER, exists().where(_MEETS_LEAD, partnerships.c.partner_agrees)),
    and_(_AS_CARRIER, exists().where(_MEETS_PARTNER, partnerships.c.lead_agrees)),
    and_(_AS_ENTERPRISE, exists().where(enterprises.c.id == _PARTY, enterprises.c.lead_id == carriers.c.id)),
    and_(_AS_ENTERPRISE, exists().where(_SERVES, partnerships.c.partner_agrees)),
)
_ENTERPRISE_SEEN = or_(
    _ADMIN,
    and_(_AS_CARRIER, enterprises.c.lead_id == _PARTY),
    and_(_AS_ENTERPRISE, enterprises.c.id == _PARTY),
)
_PARTNERSHIP_SEEN = or_(
    _ADMIN,
    and_(_AS_CARRIER, or_(partnerships.c.lead_id == _PARTY, partnerships.c.partner_id == _PARTY)),
    and_(_AS_ENTERPRISE, partnerships.c.enterprise_id == _PARTY),
)


def _one(table: Table, seen: ColumnElement[bool]) -> Statement:
    return compiled(select(*table.c).where(table.c.id == bindparam("row_id", type_=BigInteger), seen))


def _page(table: Table, seen: ColumnElement[bool], *filters: ColumnElement[bool]) -> Statement:
    rows: Select[Any] = select(*table.c).where(table.c.id > bindparam("after", type_=BigInteger), seen, *filters)
    return compiled(rows.order_by(table.c.id).limit(bindparam("most", type_=Integer)), planned_by_values=True)


def _made(table: Table) -> Statement:
    return compiled(select(*table.c).where(table.c.made_by == bindparam("request", type_=Text)))


def _named(table: Table) -> ColumnElement[bool]:
    return func.strpos(func.lower(table.c.name), func.lower(bindparam("name", type_=Text))) > 0


def _if_given(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    wanted: ColumnElement[Any] = bindparam(name, type_=column.type)
    return or_(wanted.is_(None), column == wanted)


_READ = {carriers: _one(carriers, _CARRIER_SEEN), enterprises: _one(enterprises, _ENTERPRISE_SEEN)}
_READ |= {partnerships: _one(partnerships, _PARTNERSHIP_SEEN)}
_MADE = {table: _made(table) for table in (carriers, enterprises, partnerships)}
_CARRIERS = _page(carriers, _CARRIER_SEEN, _named(carriers), _if_given(carriers.c.role, "role"))
_ENTERPRISES = _page(enterprises, _ENTERPRISE_SEEN, _named(enterprises))
_PARTNERSHIPS = _page(
    partnerships,
    _PARTNERSHIP_SEEN,
    _if_given(partnerships.c.enterprise_id, "enterprise_id"),
    _if_given(partnerships.c.partner_id, "partner_id"),
)
_OF_CALLER = compiled(
    select(carriers.c.id).where(carriers.c.smdp_caller == bindparam("fingerprint", type_=LargeBinary))
)
_CALLERS = compiled(select(carriers.c.smdp_caller_certificate).where(carriers.c.smdp_caller.is_not(None)))
_ADD = {
    carriers: addition(carriers, ("name", *_CARRIER)),
    enterprises: addition(enterprises, ("name", "lead_id", *_PLANS)),
    partnerships: addition(partnerships, (*_PARTIES, *_TERMS)),
}
_CHANGE = {
    carriers: change(carriers, _CARRIER),
    enterprises: change(enterprises, ("name", *_PLANS)),
    partnerships: change(partnerships, _TERMS),
}


class Tenancy:
    """PostgreSQL behind carriers, enterprises and partnerships."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def carrier(self, viewer: Principal, carrier_id: int) -> Carrier | None:
        """A carrier the viewer may know."""
        row = await self._row(carriers, viewer, carrier_id)
        return None if row is None else _carrier(row)

    async def carriers(
        self, viewer: Principal, page: Page, *, name: str = "", role: CarrierRole | None = None
    ) -> list[Carrier]:
        """The carriers the viewer may know."""
        wanted = {"name": name, "role": role.value if role else None}
        return [_carrier(row) for row in await self._pool.fetch(_CARRIERS, **_viewed(viewer, page), **wanted)]

    async def carrier_of_caller(self, fingerprint: bytes) -> int | None:
        """Id of the carrier whose SM-DP+ calls with the certificate of this SHA-256."""
        row = await self._pool.fetch_one(_OF_CALLER, fingerprint=fingerprint)
        return None if row is None else int(row["id"])

    async def callers(self) -> list[str]:
        """The certificates (PEM) with which carriers' SM-DP+ call."""
        return [row["smdp_caller_certificate"] for row in await self._pool.fetch(_CALLERS)]

    async def add_carrier(self, act: Act, carrier: Carrier) -> Carrier:
        """Store a carrier. Raises Taken."""
        return _carrier(await self._add(carriers, act, {"name": carrier.name, **_carrier_values(carrier)}))

    async def change_carrier(self, act: Act, carrier: Carrier) -> Carrier:
        """Store all but the name. Raises Changed."""
        return _carrier(await self._change(carriers, act, carrier, _carrier_values(carrier)))

    async def enterprise(self, viewer: Principal, enterprise_id: int) -> Enterprise | None:
        """An enterprise the viewer may know."""
        row = await self._row(enterprises, viewer, enterprise_id)
        return None if row is None else _enterprise(row)

    async def enterprises(self, viewer: Principal, page: Page, *, name: str = "") -> list[Enterprise]:
        """The enterprises the viewer may know."""
        rows = await self._pool.fetch(_ENTERPRISES, **_viewed(viewer, page), name=name)
        return [_enterprise(row) for row in rows]

    async def add_enterprise(self, act: Act, enterprise: Enterprise) -> Enterprise:
        """Store an enterprise. Raises Taken."""
        values = {"name": enterprise.name, "lead_id": enterprise.lead_id, **_plan_values(enterprise.plans)}
        return _enterprise(await self._add(enterprises, act, values))

    async def change_enterprise(self, act: Act, enterprise: Enterprise) -> Enterprise:
        """Store name and plans. Raises Changed, Taken."""
        values = {"name": enterprise.name, **_plan_values(enterprise.plans)}
        return _enterprise(await self._change(enterprises, act, enterprise, values))

    async def partnership(self, viewer: Principal, partnership_id: int) -> Partnership | None:
        """A partnership the viewer may know."""
        row = await self._row(partnerships, viewer, partnership_id)
        return None if row is None else _partnership(row)

    async def partnerships(
        self, viewer: Principal, page: Page, *, enterprise_id: int | None = None, partner_id: int | None = None
    ) -> list[Partnership]:
        """The partnerships the viewer may know."""
        wanted = {"enterprise_id": enterprise_id, "partner_id": partner_id}
        return [_partnership(row) for row in await self._pool.fetch(_PARTNERSHIPS, **_viewed(viewer, page), **wanted)]

    async def add_partnership(self, act: Act, partnership: Partnership) -> Partnership:
        """Store a partnership. Raises Taken."""
        parties = {name: getattr(partnership, name) for name in _PARTIES}
        return _partnership(await self._add(partnerships, act, parties | _term_values(partnership)))

    async def change_partnership(self, act: Act, partnership: Partnership) -> Partnership:
        """Store terms and agreements. Raises Changed."""
        return _partnership(await self._change(partnerships, act, partnership, _term_values(partnership)))

    async def _row(self, table: Table, viewer: Principal, row_id: int) -> Row | None:
        values = {"viewer_kind": viewer.kind.value, "viewer_party": viewer.party_id}
        wanted = {name: value for name, value in values.items() if name in _READ[table].names}
        return await self._pool.fetch_one(_READ[table], row_id=row_id, **wanted)

    async def _add(self, table: Table, act: Act, values: dict[str, object]) -> Row:
        given = new_arguments({**values, "made_by": act.request or None})
        try:
            row = await self._pool.fetch_one(_ADD[table], **given, **act_arguments(act))
        except asyncpg.UniqueViolationError as taken:
            raise _taken(table, taken) from None
        except asyncpg.ForeignKeyViolationError:
            raise BadTerms("operatorId is no operator of this server") from None
        return row or await self._pool.fetch_one(_MADE[table], request=act.request)

    async def _change(
        self, table: Table, act: Act, old: Carrier | Enterprise | Partnership, values: dict[str, object]
    ) -> Row:
        guard = {"row_id": old.id, "row_version": old.version}
        try:
            row = await self._pool.fetch_one(_CHANGE[table], **new_arguments(values), **guard, **act_arguments(act))
        except asyncpg.UniqueViolationError as taken:
            raise _taken(table, taken) from None
        except asyncpg.ForeignKeyViolationError:
            raise BadTerms("operatorId is no operator of this server") from None
        if row is None:
            raise Changed("somebody else has changed it meanwhile: read it again")
        return row


def _viewed(viewer: Principal, page: Page) -> dict[str, object]:
    return {
        "viewer_kind": viewer.kind.value,
        "viewer_party": viewer.party_id,
        "after": page.after,
        "most": page.most,
    }


def _taken(table: Table, violation: asyncpg.UniqueViolationError) -> Taken:
    if violation.constraint_name == "uq_carriers_smdp_caller":
        return Taken("this callerCertificate is that of another carrier's SM-DP+: each needs one of its own")
    what = {"partnerships": "this enterprise has a partnership with this carrier already"}
    return Taken(what.get(table.name, "this name is taken"))


def _carrier_values(carrier: Carrier) -> dict[str, object]:
    platform = {column: getattr(carrier.platform, name) for name, column in _PLATFORM.items()}
    names = ("operator_id", "profile_type", "inventory_account")
    smdp = {column: getattr(carrier.smdp, name) for name, column in _SMDP.items()} if carrier.smdp else _NO_SMDP
    return {"role": carrier.role.value, **{name: getattr(carrier, name) for name in names}, **platform, **smdp}


def _plan_values(plans: Plans) -> dict[str, object]:
    return {name: getattr(plans, name) for name in _PLANS}


def _term_values(partnership: Partnership) -> dict[str, object]:
    flags = ("enterprise_may_order", "lead_agrees", "partner_agrees")
    return {
        "model": partnership.model.value,
        "territory": list(partnership.territory),
        **_plan_values(partnership.plans),
        **{name: getattr(partnership, name) for name in flags},
    }


def _carrier(row: Row) -> Carrier:
    return Carrier(
        id=row["id"],
        name=row["name"],
        role=CarrierRole(row["role"]),
        platform=PlatformAccess(**{name: row[column] for name, column in _PLATFORM.items()}),
        operator_id=row["operator_id"],
        profile_type=row["profile_type"],
        inventory_account=row["inventory_account"],
        smdp=SmdpAccess(**{name: row[column] for name, column in _SMDP.items()}) if row["smdp_url"] else None,
        version=row["version"],
    )


def _plans(row: Row) -> Plans:
    return Plans(**{name: row[name] for name in _PLANS})


def _enterprise(row: Row) -> Enterprise:
    return Enterprise(id=row["id"], name=row["name"], lead_id=row["lead_id"], plans=_plans(row), version=row["version"])


def _partnership(row: Row) -> Partnership:
    return Partnership(
        id=row["id"],
        enterprise_id=row["enterprise_id"],
        lead_id=row["lead_id"],
        partner_id=row["partner_id"],
        model=Model(row["model"]),
        plans=_plans(row),
        territory=tuple(row["territory"]),
        enterprise_may_order=row["enterprise_may_order"],
        lead_agrees=row["lead_agrees"],
        partner_agrees=row["partner_agrees"],
        version=row["version"],
    )

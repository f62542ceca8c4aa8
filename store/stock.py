"""Profiles put into stock and listed: `smdp.ports.StockStore`."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Integer,
    Text,
    any_,
    bindparam,
    func,
    insert,
    lateral,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from rsp.identifiers import Iccid
from smdp.order import ProfileState
from smdp.ports import NewProfile, ProfileExists, ProfileRow
from store.compiled import compiled
from store.pool import Pool
from store.tables import orders, packages, profile_types, profiles, tenants

_TENANT = bindparam("tenant_id", type_=BigInteger)
_STATE = bindparam("state", type_=Text)
_TYPE = bindparam("profile_type", type_=Text)

_ADD_TYPE = compiled(
    upsert(profile_types).values(tenant_id=bindparam("tenant_id"), name=bindparam("name")).on_conflict_do_nothing()
)
_PACKAGE_COLUMNS = ("segments", "key_sealed", "size", "saip_major", "saip_minor", "services")
_ADD_PACKAGE = compiled(
    insert(packages).values({name: bindparam(name) for name in ("id", "tenant_id", *_PACKAGE_COLUMNS)})
)
_PROFILE_COLUMNS = ("tenant_id", "iccid", "package_id", "metadata", "policy_rules", "state")
_ADD_PROFILE = compiled(
    insert(profiles).values(
        {name: bindparam(name) for name in _PROFILE_COLUMNS}
        | {
            "profile_type_id": select(profile_types.c.id)
            .where(profile_types.c.tenant_id == _TENANT, profile_types.c.name == _TYPE)
            .scalar_subquery()
        }
    )
)
_LATEST = lateral(
    select(orders.c.state, orders.c.eid, orders.c.matching_id)
    .where(orders.c.iccid == profiles.c.iccid)
    .order_by(orders.c.id.desc())
    .limit(1)
).alias("latest")
_LIST = compiled(
    select(
        profiles.c.iccid,
        profile_types.c.name.label("profile_type"),
        tenants.c.name.label("tenant"),
        profiles.c.state,
        func.coalesce(_LATEST.c.state, "").label("order_state"),
        func.coalesce(_LATEST.c.eid, "").label("eid"),
        func.coalesce(_LATEST.c.matching_id, "").label("matching_id"),
        profiles.c.created_at,
    )
    .select_from(
        profiles.join(profile_types, profile_types.c.id == profiles.c.profile_type_id)
        .join(tenants, tenants.c.id == profiles.c.tenant_id)
        .outerjoin(_LATEST, true())
    )
    .where(
        or_(_TENANT.is_(None), profiles.c.tenant_id == _TENANT),
        or_(_STATE == "", profiles.c.state == _STATE, _LATEST.c.state == _STATE),
        or_(_TYPE == "", profile_types.c.name == _TYPE),
    )
    .order_by(profiles.c.id.desc())
    .limit(bindparam("most", type_=Integer)),
    planned_by_values=True,
)
_OPEN_TYPE = compiled(
    update(profile_types)
    .where(profile_types.c.tenant_id == _TENANT, profile_types.c.name == _TYPE)
    .values(open=bindparam("is_open", type_=Boolean))
    .returning(profile_types.c.id)
)
_KNOWN = compiled(select(profiles.c.iccid).where(profiles.c.iccid == any_(bindparam("iccids", type_=ARRAY(Text)))))
# Both ends are digits of one length, so that the order of texts is that of numbers.
_ENDS = compiled(
    select(func.min(profiles.c.iccid).label("lowest"), func.max(profiles.c.iccid).label("highest")).where(
        profiles.c.iccid >= bindparam("low", type_=Text),
        profiles.c.iccid <= bindparam("high", type_=Text),
        func.length(profiles.c.iccid) == func.length(bindparam("low", type_=Text)),
    )
)


class Stock:
    """PostgreSQL behind the stock of profiles."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add_profile(self, profile: NewProfile) -> None:
        """Store package and profile, and the profile type when it is new. Raises ProfileExists."""
        facts = profile.facts
        try:
            async with self._pool.transaction() as connection:
                await connection.execute(_ADD_TYPE, tenant_id=profile.tenant_id, name=profile.profile_type)
                await connection.execute(
                    _ADD_PACKAGE,
                    id=facts.package_id,
                    tenant_id=profile.tenant_id,
                    segments=profile.package.segments,
                    key_sealed=profile.package.key_sealed,
                    size=facts.size,
                    saip_major=facts.saip_version[0],
                    saip_minor=facts.saip_version[1],
                    services=sorted(facts.services),
                )
                await connection.execute(
                    _ADD_PROFILE,
                    tenant_id=profile.tenant_id,
                    iccid=str(profile.iccid),
                    profile_type=profile.profile_type,
                    package_id=facts.package_id,
                    metadata=facts.metadata,
                    policy_rules=sorted(facts.policy_rules),
                    state=ProfileState.AVAILABLE.value,
                )
        except asyncpg.UniqueViolationError:
            raise ProfileExists(f"a profile with ICCID {profile.iccid} is in stock already") from None

    async def open_type(self, tenant_id: int, profile_type: str, *, is_open: bool) -> bool:
        """Open a profile type for ordering or close it; False when the tenant has none of this name."""
        values = {"tenant_id": tenant_id, "profile_type": profile_type, "is_open": is_open}
        return await self._pool.fetch_one(_OPEN_TYPE, **values) is not None

    async def known(self, iccids: Sequence[Iccid]) -> frozenset[Iccid]:
        """Which of these ICCIDs are in stock, whoever owns them."""
        rows = await self._pool.fetch(_KNOWN, iccids=[str(iccid) for iccid in iccids])
        return frozenset(Iccid(row["iccid"]) for row in rows)

    async def ends(self, low: Iccid, high: Iccid) -> tuple[Iccid, Iccid] | None:
        """The lowest and the highest ICCID in stock from `low` to `high`, as long as these; None when there is none."""
        row = await self._pool.fetch_one(_ENDS, low=str(low), high=str(high))
        return (Iccid(row["lowest"]), Iccid(row["highest"])) if row and row["lowest"] else None

    async def list_profiles(
        self, *, tenant_id: int | None = None, state: str = "", profile_type: str = "", most: int = 100
    ) -> list[ProfileRow]:
        """Profiles, newest first; `state` matches the stock state or the state of the latest order."""
        rows = await self._pool.fetch(_LIST, tenant_id=tenant_id, state=state, profile_type=profile_type, most=most)
        return [
            ProfileRow(
                iccid=Iccid(row["iccid"]),
                profile_type=row["profile_type"],
                tenant=row["tenant"],
                state=row["state"],
                order_state=row["order_state"],
                eid=row["eid"],
                matching_id=row["matching_id"],
                created_at=row["created_at"],
            )
            for row in rows
        ]

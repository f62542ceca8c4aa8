"""PostgreSQL behind eSIMs and what is known of their cards: `eim.ports.AssociationStore`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ARRAY, BigInteger, Boolean, DateTime, Integer, Text, bindparam, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from eim.ports import Association, CardFacts, CardProfile, EsimExists
from rsp.identifiers import Eid
from store.compiled import compiled
from store.eim_rows import ASSOCIATION, association_from, profile_from
from store.eim_tables import esim_contacts, esim_profiles, esims
from store.pool import Pool, Row

_NEW = ("eid", "tenant_id", "eim_id", "token", "counter", "eum_certificate", "euicc_certificate")
_EID = bindparam("eid", type_=Text)
_TENANT = bindparam("tenant_id", type_=BigInteger)
_after = bindparam("after", type_=Text)

_added = (
    insert(esims)
    .values({name: bindparam(name, type_=esims.c[name].type) for name in _NEW})
    .on_conflict_do_nothing(index_elements=[esims.c.eid])
    .returning(esims.c.eid, esims.c.tenant_id)
    .cte("added")
)
_ADD = compiled(
    insert(esim_contacts)
    .from_select(["eid", "tenant_id"], select(_added.c.eid, _added.c.tenant_id))
    .returning(esim_contacts.c.eid)
)
_ASSOCIATION = compiled(select(*ASSOCIATION).where(esims.c.eid == _EID))
_CARD = (
    select(esims, esim_contacts.c.polled_at, esim_contacts.c.rplmn)
    .select_from(esims.join(esim_contacts, esim_contacts.c.eid == esims.c.eid))
    .where(esims.c.tenant_id == _TENANT)
)
_ONE = compiled(_CARD.where(esims.c.eid == _EID))
_SEVERAL = compiled(
    _CARD.where(or_(_after.is_(None), esims.c.eid > _after))
    .order_by(esims.c.eid)
    .limit(bindparam("most", type_=Integer)),
    planned_by_values=True,
)
PROFILES = compiled(
    select(esim_profiles)
    .where(esim_profiles.c.eid == func.any(bindparam("eids", type_=ARRAY(Text))))
    .order_by(esim_profiles.c.iccid)
)
"""The known profiles of the cards `eids`."""


class Esims:
    """eSIMs and their cards."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add_association(self, association: Association) -> Association:
        """Store a new eSIM; an equal one of the same tenant is answered as it stands. Raises EsimExists."""
        values: dict[str, object] = {name: getattr(association, name) for name in _NEW}
        row = await self._pool.fetch_one(_ADD, **{**values, "eid": str(association.eid)})
        if row is not None:
            return association
        stored = await self.association(association.eid)
        if stored is None or not _is_same(stored, association):
            raise EsimExists(f"eUICC {association.eid} is associated already, with other particulars")
        return stored

    async def association(self, eid: Eid) -> Association | None:
        """The association of that EID, whoever owns it."""
        row = await self._pool.fetch_one(_ASSOCIATION, eid=str(eid))
        return association_from(row) if row else None

    async def card(self, tenant_id: int, eid: Eid) -> CardFacts | None:
        """What is known about an eSIM of the tenant."""
        row = await self._pool.fetch_one(_ONE, tenant_id=tenant_id, eid=str(eid))
        if row is None:
            return None
        profiles = await self._pool.fetch(PROFILES, eids=[str(eid)])
        return _card(row, profiles)

    async def cards(self, tenant_id: int, *, after: Eid | None, most: int) -> list[CardFacts]:
        """The tenant's eSIMs in order of their EIDs, from behind `after`."""
        rows = await self._pool.fetch(_SEVERAL, tenant_id=tenant_id, after=str(after) if after else None, most=most)
        profiles: dict[str, list[Row]] = {row["eid"]: [] for row in rows}
        for profile in await self._pool.fetch(PROFILES, eids=list(profiles)):
            profiles[profile["eid"]].append(profile)
        return [_card(row, profiles[row["eid"]]) for row in rows]


def _is_same(stored: Association, given: Association) -> bool:
    """Counters apart, which move."""
    names = (name for name in _NEW if name != "counter")
    return all(getattr(stored, name) == getattr(given, name) for name in names)


def _card(row: Row, profiles: list[Row]) -> CardFacts:
    features = row["features"]
    return CardFacts(
        eid=Eid(row["eid"]),
        tenant_id=row["tenant_id"],
        profiles=tuple(map(profile_from, profiles)),
        listed_at=row["content_at"],
        last_poll_at=row["polled_at"],
        rplmn=row["rplmn"],
        features=None if features is None else frozenset(features),
        euicc_info2=row["euicc_info2"],
        device_info=row["device_info"],
        created_at=row["created_at"],
    )


def profile_arguments(profiles: tuple[CardProfile, ...]) -> dict[str, list[Any]]:
    """One array per column."""
    return {
        "iccids": [str(profile.iccid) for profile in profiles],
        "enabled": [profile.enabled for profile in profiles],
        "moments": [profile.as_of for profile in profiles],
    }


_dropped = (
    delete(esim_profiles)
    .where(esim_profiles.c.eid == _EID, ~(esim_profiles.c.iccid == func.any(bindparam("iccids", type_=ARRAY(Text)))))
    .cte("dropped")
)
_put = (
    insert(esim_profiles)
    .from_select(
        ["eid", "tenant_id", "iccid", "enabled", "as_of"],
        select(
            bindparam("eid", type_=Text),
            bindparam("tenant_id", type_=BigInteger),
            func.unnest(bindparam("iccids", type_=ARRAY(Text))),
            func.unnest(bindparam("enabled", type_=ARRAY(Boolean))),
            func.unnest(bindparam("moments", type_=ARRAY(DateTime(timezone=True)))),
        ),
    )
    .add_cte(_dropped)
)
PUT_PROFILES = compiled(
    _put.on_conflict_do_update(
        index_elements=[esim_profiles.c.eid, esim_profiles.c.iccid],
        set_={"enabled": _put.excluded.enabled, "as_of": _put.excluded.as_of},
    )
)
"""Makes the profiles of a card these; takes `profile_arguments` and its EID and tenant."""

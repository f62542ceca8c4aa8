"""API keys and the audit of writes: `tenancy.ports.KeyStore` and `AuditStore`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer, Text, and_, bindparam, exists, or_, select

from store.audited import NOTE, act_arguments, addition, change, new_arguments
from store.compiled import compiled
from store.pool import Pool, Row
from store.tenancy_tables import api_keys, audit, enterprises
from tenancy.keys import ApiKey, NewKey
from tenancy.ports import AuditRow, Page
from tenancy.principal import Act, Principal, PrincipalKind, Scope

_KIND: ColumnElement[Any] = bindparam("viewer_kind", type_=Text)
_PARTY: ColumnElement[Any] = bindparam("viewer_party", type_=BigInteger)
_ID: ColumnElement[Any] = bindparam("row_id", type_=BigInteger)
_LED = exists().where(enterprises.c.id == api_keys.c.party_id, enterprises.c.lead_id == _PARTY)
_SEEN = or_(
    _KIND == "admin",
    and_(api_keys.c.kind == _KIND, api_keys.c.party_id == _PARTY),
    and_(_KIND == "carrier", api_keys.c.kind == "enterprise", _LED),
)

_KEY = compiled(select(*api_keys.c).where(api_keys.c.id == _ID))
_VISIBLE = compiled(select(*api_keys.c).where(api_keys.c.id == _ID, _SEEN))
_KEYS = compiled(
    select(*api_keys.c)
    .where(api_keys.c.id > bindparam("after", type_=BigInteger), _SEEN)
    .order_by(api_keys.c.id)
    .limit(bindparam("most", type_=Integer)),
    planned_by_values=True,
)
_MADE = compiled(select(*api_keys.c).where(api_keys.c.made_by == bindparam("request", type_=Text)))
_ADD = addition(api_keys, ("kind", "party_id", "name", "scopes", "digest", "expires_at"))
_REVOKE = change(api_keys, ("revoked_at",))
_AUDIT = compiled(
    select(*audit.c)
    .where(
        audit.c.id > bindparam("after", type_=BigInteger),
        or_(_KIND == "admin", and_(audit.c.kind == _KIND, audit.c.party_id == _PARTY)),
    )
    .order_by(audit.c.id)
    .limit(bindparam("most", type_=Integer)),
    planned_by_values=True,
)


class ApiKeys:
    """PostgreSQL behind API keys."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def key(self, key_id: int) -> ApiKey | None:
        """One key, whoever owns it."""
        row = await self._pool.fetch_one(_KEY, row_id=key_id)
        return None if row is None else _key(row)

    async def visible_key(self, viewer: Principal, key_id: int) -> ApiKey | None:
        """A key of the viewer, of an enterprise it leads, or of anybody for an admin."""
        row = await self._pool.fetch_one(_VISIBLE, row_id=key_id, **_viewer(viewer))
        return None if row is None else _key(row)

    async def keys(self, viewer: Principal, page: Page) -> list[ApiKey]:
        """All such keys."""
        rows = await self._pool.fetch(_KEYS, after=page.after, most=page.most, **_viewer(viewer))
        return [_key(row) for row in rows]

    async def add_key(self, act: Act, key: NewKey) -> ApiKey:
        """Store a key, or answer the one this request has made."""
        values: dict[str, object] = {
            "kind": key.principal.kind.value,
            "party_id": key.principal.party_id,
            "name": key.name,
            "scopes": sorted(scope.value for scope in key.scopes),
            "digest": key.digest,
            "expires_at": key.expires_at,
            "made_by": act.request or None,
        }
        row = await self._pool.fetch_one(_ADD, **new_arguments(values), **act_arguments(act))
        return _key(row or await self._pool.fetch_one(_MADE, request=act.request))

    async def revoke_key(self, act: Act, key_id: int, now: datetime) -> None:
        """Make the key useless; one that somebody revokes at the same moment stays as it is."""
        row = await self._pool.fetch_one(_KEY, row_id=key_id)
        if row is not None and row["revoked_at"] is None:
            guard = {"row_id": key_id, "row_version": row["version"]}
            await self._pool.fetch_one(_REVOKE, **new_arguments({"revoked_at": now}), **guard, **act_arguments(act))

    async def note(self, act: Act, action: str, subject: str, detail: str) -> None:
        """Keep a row for a write that another role has stored."""
        noted = {"noted_action": action, "noted_subject": subject, "noted_detail": detail}
        await self._pool.execute(NOTE, **act_arguments(act), **noted)

    async def audit(self, viewer: Principal, page: Page) -> list[AuditRow]:
        """Writes of the viewer, or of everybody for an admin."""
        rows = await self._pool.fetch(_AUDIT, after=page.after, most=page.most, **_viewer(viewer))
        return [_audit_row(row) for row in rows]


def _viewer(viewer: Principal) -> dict[str, object]:
    return {"viewer_kind": viewer.kind.value, "viewer_party": viewer.party_id}


def _principal(row: Row) -> Principal:
    return Principal(kind=PrincipalKind(row["kind"]), party_id=row["party_id"])


def _key(row: Row) -> ApiKey:
    return ApiKey(
        id=row["id"],
        principal=_principal(row),
        name=row["name"],
        scopes=frozenset(Scope(scope) for scope in row["scopes"]),
        digest=row["digest"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )


def _audit_row(row: Row) -> AuditRow:
    names = ("id", "at", "key_id", "correlator", "action", "subject", "detail")
    return AuditRow(principal=_principal(row), **{name: row[name] for name in names})

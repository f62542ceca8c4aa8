"""Operators and the certificates they call with: `tenancy.operator.Directory`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import asyncpg
from sqlalchemy import BigInteger, LargeBinary, Text, bindparam, delete, func, insert, select, update

from store.compiled import compiled
from store.pool import Pool, Row
from store.rows import LIMITS
from store.tables import tenant_certificates, tenants
from tenancy.operator import Operator, OperatorExists
from tenancy.rules import notification_points, written_points

_CHANGEABLE = ("callback_url", "active", *LIMITS, "notification_points")
_COLUMNS = ("name", "requester_id", *_CHANGEABLE)
_LISTS = ("tacs_allowed", "tacs_denied", "eums_allowed", "eums_denied")
_OPERATORS = select(tenants.c.id, *(tenants.c[name] for name in _COLUMNS))
_ID = tenants.c.id == bindparam("operator_id", type_=BigInteger)

_CERTIFICATE = tenant_certificates.c.fingerprint == bindparam("fingerprint", type_=LargeBinary)

_BY_CERTIFICATE = compiled(_OPERATORS.join(tenant_certificates).where(_CERTIFICATE, tenants.c.active))
_INACTIVE = compiled(select(tenants.c.id).join(tenant_certificates).where(_CERTIFICATE, ~tenants.c.active))
_BY_ID = compiled(_OPERATORS.where(_ID))
_BY_NAME = compiled(_OPERATORS.where(tenants.c.name == bindparam("name", type_=Text)))
_LIST = compiled(
    _OPERATORS.where(func.strpos(func.lower(tenants.c.name), func.lower(bindparam("part", type_=Text))) > 0).order_by(
        tenants.c.name
    )
)
_ADD = compiled(insert(tenants).values({name: bindparam(name) for name in _COLUMNS}).returning(tenants.c.id))
_ADD_CERTIFICATE = compiled(
    insert(tenant_certificates).values(fingerprint=bindparam("fingerprint"), tenant_id=bindparam("tenant_id"))
)
_REMOVE_CERTIFICATE = compiled(
    delete(tenant_certificates)
    .where(
        tenant_certificates.c.fingerprint == bindparam("fingerprint", type_=LargeBinary),
        tenant_certificates.c.tenant_id == bindparam("tenant_id", type_=BigInteger),
    )
    .returning(tenant_certificates.c.tenant_id)
)
_FINGERPRINTS = compiled(
    select(tenant_certificates.c.tenant_id, tenant_certificates.c.fingerprint).order_by(
        tenant_certificates.c.created_at, tenant_certificates.c.fingerprint
    )
)
_CHANGE = compiled(
    update(tenants)
    .where(_ID)
    .values({name: bindparam(f"new_{name}", type_=tenants.c[name].type) for name in _CHANGEABLE})
)


class Operators:
    """PostgreSQL behind the directory of operators."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def by_certificate(self, fingerprint: bytes) -> Operator | None:
        """The active operator whose client certificate has this SHA-256 fingerprint."""
        return _operator(await self._pool.fetch_one(_BY_CERTIFICATE, fingerprint=fingerprint))

    async def is_inactive(self, fingerprint: bytes) -> bool:
        """Whether this is a client certificate of an operator that is not active."""
        return await self._pool.fetch_one(_INACTIVE, fingerprint=fingerprint) is not None

    async def by_id(self, operator_id: int) -> Operator | None:
        """The operator with this id."""
        return _operator(await self._pool.fetch_one(_BY_ID, operator_id=operator_id))

    async def by_name(self, name: str) -> Operator | None:
        """The operator with this name."""
        return _operator(await self._pool.fetch_one(_BY_NAME, name=name))

    async def list_operators(self, *, name_contains: str = "") -> list[Operator]:
        """Operators in order of their names; case does not matter for `name_contains`."""
        rows = await self._pool.fetch(_LIST, part=name_contains)
        return [found for row in rows if (found := _operator(row))]

    async def fingerprints(self) -> dict[int, tuple[bytes, ...]]:
        """SHA-256 fingerprints of the client certificates of each operator by its id, the oldest first."""
        found: dict[int, tuple[bytes, ...]] = {}
        for row in await self._pool.fetch(_FINGERPRINTS):
            found[row["tenant_id"]] = (*found.get(row["tenant_id"], ()), row["fingerprint"])
        return found

    async def add_operator(self, operator: Operator, fingerprints: tuple[bytes, ...]) -> Operator:
        """Store a new operator and the certificates it may call with. Raises OperatorExists."""
        values = _values(operator, _COLUMNS)
        try:
            async with self._pool.transaction() as connection:
                row = await connection.fetch_one(_ADD, **values)
                assert row is not None
                for fingerprint in fingerprints:
                    await connection.execute(_ADD_CERTIFICATE, fingerprint=fingerprint, tenant_id=row["id"])
        except asyncpg.UniqueViolationError as taken:
            raise _exists(taken) from None
        return replace(operator, id=row["id"])

    async def add_certificate(self, operator_id: int, fingerprint: bytes) -> None:
        """Let the operator call with one more certificate. Raises OperatorExists."""
        try:
            await self._pool.execute(_ADD_CERTIFICATE, fingerprint=fingerprint, tenant_id=operator_id)
        except asyncpg.UniqueViolationError as taken:
            raise _exists(taken) from None

    async def remove_certificate(self, operator_id: int, fingerprint: bytes) -> bool:
        """The operator calls with this certificate no longer; False when it never did."""
        values = {"fingerprint": fingerprint, "tenant_id": operator_id}
        return await self._pool.fetch_one(_REMOVE_CERTIFICATE, **values) is not None

    async def change_operator(self, operator: Operator) -> None:
        """Store callback address, limits, rules and activity."""
        values = {f"new_{name}": value for name, value in _values(operator, _CHANGEABLE).items()}
        await self._pool.execute(_CHANGE, operator_id=operator.id, **values)


def _operator(row: Row | None) -> Operator | None:
    if row is None:
        return None
    found = {name: row[name] for name in _COLUMNS}
    lists = {name: tuple(found[name]) for name in _LISTS if found[name] is not None}
    points = notification_points(found["notification_points"])
    return Operator(id=row["id"], **{**found, **lists, "notification_points": points})


def _values(operator: Operator, names: Sequence[str]) -> dict[str, object]:
    values = {name: getattr(operator, name) for name in names}
    return values | {"notification_points": written_points(operator.notification_points)}


def _exists(taken: asyncpg.UniqueViolationError) -> OperatorExists:
    """Says which of the three is taken."""
    what = {"uq_tenants_name": "this name", "uq_tenants_requester_id": "this requester id"}
    return OperatorExists(f"an operator with {what.get(taken.constraint_name, 'this certificate')} exists already")

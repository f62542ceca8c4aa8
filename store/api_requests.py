"""Requests of the API that are done once: claimed, answered, kept (`Idempotency-Key`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    LargeBinary,
    SmallInteger,
    Text,
    bindparam,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from store.claims import seconds_from_now
from store.compiled import compiled
from store.pool import Pool
from store.tenancy_tables import api_requests
from tenancy.principal import Principal

_KIND: ColumnElement[Any] = bindparam("owner_kind", type_=Text)
_PARTY: ColumnElement[Any] = bindparam("owner_party", type_=BigInteger)
_KEY: ColumnElement[Any] = bindparam("request_key", type_=Text)
_DIGEST: ColumnElement[Any] = bindparam("request_digest", type_=LargeBinary)
_IS_KEY = (api_requests.c.kind == _KIND, api_requests.c.party_id == _PARTY, api_requests.c.key == _KEY)
_IS_IT = (*_IS_KEY, api_requests.c.digest == _DIGEST)

_new = insert(api_requests).values(
    kind=_KIND, party_id=_PARTY, key=_KEY, digest=_DIGEST, claimed_until=seconds_from_now("lease_seconds")
)
_CLAIM = compiled(
    _new.on_conflict_do_update(
        index_elements=[api_requests.c.kind, api_requests.c.party_id, api_requests.c.key],
        set_={"claimed_until": _new.excluded.claimed_until},
        where=(
            api_requests.c.status.is_(None)
            & (api_requests.c.digest == _new.excluded.digest)
            & (api_requests.c.claimed_until <= func.clock_timestamp())
        ),
    ).returning(api_requests.c.key)
)
_READ = compiled(select(*api_requests.c).where(*_IS_KEY))
_KEEP = compiled(
    update(api_requests)
    .where(*_IS_IT)
    .values(
        status=bindparam("new_status", type_=SmallInteger),
        location=bindparam("new_location", type_=Text),
        body=bindparam("new_body", type_=LargeBinary),
    )
)
_FORGET = compiled(delete(api_requests).where(*_IS_IT, api_requests.c.status.is_(None)))
_LEAVE = compiled(
    update(api_requests).where(*_IS_IT, api_requests.c.status.is_(None)).values(claimed_until=func.clock_timestamp())
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRequest:
    """What is known of a key that could not be claimed; `status` is None while there is no answer."""

    digest: bytes
    status: int | None
    location: str
    body: bytes | None


class ApiRequests:
    """PostgreSQL behind requests that are done once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, owner: Principal, key: str, digest: bytes, lease_seconds: float) -> StoredRequest | None:
        """None: claimed for `lease_seconds`. Else what is known of the key."""
        row = await self._pool.fetch_one(
            _CLAIM, **_names(owner, key), request_digest=digest, lease_seconds=lease_seconds
        )
        if row is not None:
            return None
        row = await self._pool.fetch_one(_READ, **_names(owner, key))
        if row is None:  # Given up in between: the caller comes again.
            return StoredRequest(digest=digest, status=None, location="", body=None)
        return StoredRequest(digest=row["digest"], status=row["status"], location=row["location"], body=row["body"])

    async def keep(self, owner: Principal, key: str, digest: bytes, answer: tuple[int, str, bytes]) -> None:
        """The request is done; `answer` is status, location and body."""
        kept = {"new_status": answer[0], "new_location": answer[1], "new_body": answer[2]}
        await self._pool.execute(_KEEP, **_names(owner, key), request_digest=digest, **kept)

    async def give_up(self, owner: Principal, key: str, digest: bytes, *, forget: bool) -> None:
        """End the claim, and with `forget` drop the key."""
        await self._pool.execute(_FORGET if forget else _LEAVE, **_names(owner, key), request_digest=digest)


def _names(owner: Principal, key: str) -> dict[str, object]:
    return {"owner_kind": owner.kind.value, "owner_party": owner.party_id, "request_key": key}

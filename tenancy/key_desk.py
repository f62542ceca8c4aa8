"""Use cases on API keys: who may make and revoke whose, with which scopes; and the audit of writes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from tenancy.keys import SECRET_BYTES, ApiKey, NewKey, token
from tenancy.ports import AuditRow, AuditStore, KeyStore, Page, TenancyStore
from tenancy.principal import Act, BadTerms, NotAllowed, Principal, PrincipalKind, Scope, Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeKey:
    """A key and, this once, the token to call with; None when the same request has made the key before."""

    key: ApiKey
    token: str | None = field(repr=False)


class KeyDesk:
    """What principals do with API keys. Raises Unknown, NotAllowed, BadTerms, rsp.errors.Unavailable."""

    def __init__(
        self,
        keys: KeyStore,
        parties: TenancyStore,
        audit: AuditStore,
        random: Callable[[int], bytes],
        now: Callable[[], datetime],
    ) -> None:
        self._keys = keys
        self._parties = parties
        self._audit = audit
        self._random = random
        self._now = now

    async def create(
        self, act: Act, name: str, owner: Principal, scopes: frozenset[Scope], expires_at: datetime | None = None
    ) -> MadeKey:
        """Make a key for `owner`: admins for everybody, carriers for themselves and enterprises they lead, enterprises
        for themselves. It gets no scope that the caller lacks.
        """
        if act.principal.kind is not PrincipalKind.ADMIN and act.principal != owner:
            await self._led(act.principal, owner)
        await self._exists(owner)
        if missing := sorted(scope.value for scope in scopes - act.scopes):
            raise NotAllowed(f"you cannot give scopes you do not have: {', '.join(missing)}")
        now = self._now()
        if expires_at is not None and expires_at <= now:
            raise BadTerms("a key expires in the future")
        secret = self._random(SECRET_BYTES)
        new = NewKey(
            principal=owner,
            name=name,
            scopes=scopes,
            digest=hashlib.sha256(secret).digest(),
            created_at=now,
            expires_at=expires_at,
        )
        made = await self._keys.add_key(act, new)
        return MadeKey(key=made, token=token(made.id, secret) if made.opens(secret, now) else None)

    async def key(self, viewer: Principal, key_id: int) -> ApiKey:
        """One key the viewer may know."""
        found = await self._keys.visible_key(viewer, key_id)
        if found is None:
            raise Unknown("there is no key of this id")
        return found

    async def keys(self, viewer: Principal, page: Page) -> list[ApiKey]:
        """Keys the viewer may know."""
        return await self._keys.keys(viewer, page)

    async def revoke(self, act: Act, key_id: int) -> ApiKey:
        """Make a key useless from now on; again is no error."""
        await self.key(act.principal, key_id)
        await self._keys.revoke_key(act, key_id, self._now())
        return await self.key(act.principal, key_id)

    async def audit(self, viewer: Principal, page: Page) -> list[AuditRow]:
        """Writes of the viewer, or of everybody for an admin."""
        return await self._audit.audit(viewer, page)

    async def _led(self, carrier: Principal, owner: Principal) -> None:
        """Raises unless `carrier` leads the enterprise `owner`."""
        found = None
        if owner.kind is PrincipalKind.ENTERPRISE and carrier.kind is PrincipalKind.CARRIER:
            found = await self._parties.enterprise(carrier, owner.party_id)
        if found is None:
            raise NotAllowed("keys are made for oneself, and by carriers for the enterprises they lead")

    async def _exists(self, owner: Principal) -> None:
        anybody = Principal(kind=PrincipalKind.ADMIN)
        found: object = (owner.kind is PrincipalKind.ADMIN and owner.party_id == 0) or None
        if owner.kind is PrincipalKind.CARRIER:
            found = await self._parties.carrier(anybody, owner.party_id)
        if owner.kind is PrincipalKind.ENTERPRISE:
            found = await self._parties.enterprise(anybody, owner.party_id)
        if found is None:
            raise BadTerms(f"there is no {owner.kind.value} {owner.party_id}")

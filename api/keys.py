"""`/v1/keys`: API keys, their scopes and their end; `/v1/audit`: what was written by whom."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from api.fields import Id, Name
from api.operation import AnyOperation, Body, Listed, Nothing, Operation, Query, Request, View, page_end
from tenancy.key_desk import KeyDesk
from tenancy.keys import ApiKey
from tenancy.ports import AuditRow
from tenancy.principal import Principal, PrincipalKind, Scope

_PATH = "/v1/keys"
Moment = Annotated[datetime, Meta(tz=True)]


class KeyInput(Body, frozen=True, kw_only=True):
    """A key to be made for a principal: admin (no `principalId`), carrier or enterprise."""

    name: Name
    kind: PrincipalKind
    principal_id: Id | None = None
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=50)]
    expires_at: Moment | None = None


class KeyView(View, frozen=True, kw_only=True):
    """A key. `token` is what a client sends; it is there in the answer that makes the key, and never again."""

    id: int
    name: str
    kind: PrincipalKind
    principal_id: int | None
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    token: str | None = None

    def __repr__(self) -> str:
        return f"KeyView(id={self.id})"

    @classmethod
    def of(cls, key: ApiKey, token: str | None = None) -> KeyView:
        """As callers see it."""
        return cls(
            id=key.id,
            name=key.name,
            kind=key.principal.kind,
            principal_id=key.principal.party_id or None,
            scopes=sorted(key.scopes),
            created_at=key.created_at,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
            token=token,
        )


class KeyList(View, frozen=True, kw_only=True):
    """A page of keys; `next` is the `after` of the next one, null at the end."""

    items: list[KeyView]
    next: int | None


class AuditView(View, frozen=True, kw_only=True):
    """One write. `detail` is the row afterwards, without secrets."""

    id: int
    at: datetime
    kind: PrincipalKind
    principal_id: int | None
    key_id: int | None
    correlator: str
    action: str
    subject: str
    detail: str

    @classmethod
    def of(cls, row: AuditRow) -> AuditView:
        """As callers see it."""
        return cls(
            id=row.id,
            at=row.at,
            kind=row.principal.kind,
            principal_id=row.principal.party_id or None,
            key_id=row.key_id,
            correlator=row.correlator,
            action=row.action,
            subject=row.subject,
            detail=row.detail,
        )


class AuditList(View, frozen=True, kw_only=True):
    """A page of writes; `next` is the `after` of the next one, null at the end."""

    items: list[AuditView]
    next: int | None


_THEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
_EXAMPLE = KeyView(
    id=7,
    name="fleet service",
    kind=PrincipalKind.ENTERPRISE,
    principal_id=3,
    scopes=[Scope.ESIMS_READ, Scope.SWAPS_READ, Scope.SWAPS_WRITE],
    created_at=_THEN,
    expires_at=None,
    revoked_at=None,
)
_EXAMPLE_AUDIT = AuditView(
    id=1,
    at=_THEN,
    kind=PrincipalKind.CARRIER,
    principal_id=1,
    key_id=2,
    correlator="c0ffee",
    action="created",
    subject="enterprises/3",
    detail='{"id": 3}',
)


class Keys:
    """The resources."""

    def __init__(self, desk: KeyDesk) -> None:
        self._desk = desk

    def operations(self) -> tuple[AnyOperation, ...]:
        """Everything that can be done with keys, and the audit."""
        return (*self._writing(), *self._reading())

    def _writing(self) -> tuple[AnyOperation, ...]:
        return (
            Operation(
                name="createKey",
                method="POST",
                path=_PATH,
                summary="Make an API key; its token is shown once",
                scope=Scope.KEYS_WRITE,
                call=self.create,
                body=KeyInput,
                body_example=KeyInput(
                    name="fleet service", kind=PrincipalKind.ENTERPRISE, principal_id=3, scopes=_EXAMPLE.scopes
                ),
                query=Query,
                answer=KeyView,
                example=msgspec.structs.replace(_EXAMPLE, token="smdp_7_..."),  # noqa: S106 -- no secret
                status=201,
                creates=True,
                location=lambda view: f"{_PATH}/{view.id}",
                kept=lambda view: msgspec.structs.replace(view, token=None),
                problems=("unprocessable",),
            ),
            Operation(
                name="revokeKey",
                method="POST",
                path=f"{_PATH}/{{key_id}}/revoke",
                summary="Make an API key useless",
                scope=Scope.KEYS_WRITE,
                call=self.revoke,
                body=Nothing,
                query=Query,
                answer=KeyView,
                example=msgspec.structs.replace(_EXAMPLE, revoked_at=_THEN),
            ),
        )

    def _reading(self) -> tuple[AnyOperation, ...]:
        return (
            Operation(
                name="listKeys",
                method="GET",
                path=_PATH,
                summary="List API keys: your own, and those of enterprises you lead",
                scope=Scope.KEYS_READ,
                call=self.list,
                body=Nothing,
                query=Listed,
                answer=KeyList,
                example=KeyList(items=[_EXAMPLE], next=None),
            ),
            Operation(
                name="readKey",
                method="GET",
                path=f"{_PATH}/{{key_id}}",
                summary="Read an API key, without its token",
                scope=Scope.KEYS_READ,
                call=self.read,
                body=Nothing,
                query=Query,
                answer=KeyView,
                example=_EXAMPLE,
            ),
            Operation(
                name="listAudit",
                method="GET",
                path="/v1/audit",
                summary="List your writes; all writes for admins",
                scope=Scope.AUDIT_READ,
                call=self.audit,
                body=Nothing,
                query=Listed,
                answer=AuditList,
                example=AuditList(items=[_EXAMPLE_AUDIT], next=None),
            ),
        )

    async def create(self, request: Request[KeyInput, Query]) -> KeyView:
        """Makes a key."""
        body = request.body
        owner = Principal(kind=body.kind, party_id=body.principal_id or 0)
        made = await self._desk.create(request.act, body.name, owner, frozenset(body.scopes), body.expires_at)
        return KeyView.of(made.key, made.token)

    async def revoke(self, request: Request[Body, Query]) -> KeyView:
        """Ends a key."""
        return KeyView.of(await self._desk.revoke(request.act, request.id("key_id")))

    async def read(self, request: Request[Body, Query]) -> KeyView:
        """One key."""
        return KeyView.of(await self._desk.key(request.act.principal, request.id("key_id")))

    async def list(self, request: Request[Body, Listed]) -> KeyList:
        """A page of keys."""
        query = request.query
        found = await self._desk.keys(request.act.principal, query.page())
        items = [KeyView.of(one) for one in found[: query.limit]]
        return KeyList(items=items, next=page_end(query.limit, [one.id for one in found]))

    async def audit(self, request: Request[Body, Listed]) -> AuditList:
        """A page of writes."""
        query = request.query
        found = await self._desk.audit(request.act.principal, query.page())
        items = [AuditView.of(one) for one in found[: query.limit]]
        return AuditList(items=items, next=page_end(query.limit, [one.id for one in found]))

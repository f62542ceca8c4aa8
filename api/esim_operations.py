"""`/v1/esims/{eid}/operations`: eSIM functions for customers who steer their devices themselves (SGP.32)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta

from api.esims import OnEnterprise
from api.fields import IccidText, Id
from api.operation import LARGEST_PAGE, AnyOperation, Body, Nothing, Request, View
from api.operation import Operation as ApiOperation
from api.problems import Problem
from eim.operation import Operation, OperationKind, OperationState
from eim.packages import Packages
from rsp.identifiers import Iccid
from tenancy.desk import Desk
from tenancy.ports import AuditStore
from tenancy.principal import Scope, Unknown

_PATH = "/v1/esims/{eid}/operations"
_LONGEST_SECONDS = 365 * 86400


class OperationInput(Body, frozen=True, kw_only=True):
    """What the eSIM is to do at its next contact, within `expiresInSeconds`.

    `iccid` belongs to enable, disable and delete; `rollback` to enable: the card goes back by itself when it reaches
    nobody; `activationCode` to download.
    """

    kind: OperationKind
    iccid: IccidText | None = None
    rollback: bool = False
    activation_code: Annotated[str, Meta(max_length=255)] = ""
    expires_in_seconds: Annotated[int, Meta(ge=60, le=_LONGEST_SECONDS)] = 7 * 86400

    def __repr__(self) -> str:
        return f"OperationInput(kind={self.kind!r})"


class OperationsQuery(OnEnterprise, frozen=True, kw_only=True):
    """A page of operations, newest first, and a state."""

    limit: Annotated[int, Meta(ge=1, le=LARGEST_PAGE)] = 50
    after: Id | None = None
    state: OperationState | None = None


class OperationView(View, frozen=True, kw_only=True):
    """An operation. `resultCode` is the card's code for the command, 0 for done, null while there is none.

    `deviceSays` is what the device told of it without its card's signature, null if nothing: it moves no state. Such a
    download can be cancelled once the card's list of profiles is newer.
    """

    id: int
    enterprise_id: int
    eid: str
    kind: OperationKind
    state: OperationState
    iccid: str | None
    rollback: bool
    result_code: int | None
    detail: str
    device_says: str | None
    created_at: datetime | None
    sent_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime

    @classmethod
    def of(cls, found: Operation) -> OperationView:
        """As callers see it."""
        return cls(
            id=found.id,
            enterprise_id=found.tenant_id,
            eid=str(found.eid),
            kind=found.kind,
            state=found.state,
            iccid=str(found.iccid) if found.iccid else None,
            rollback=found.rollback,
            result_code=found.result_code,
            detail=found.detail,
            device_says=found.hearsay or None,
            created_at=found.created_at,
            sent_at=found.sent_at,
            ended_at=found.ended_at,
            expires_at=found.expires_at,
        )


class OperationList(View, frozen=True, kw_only=True):
    """A page of operations; `next` is the `after` of the next one, null at the end."""

    items: list[OperationView]
    next: int | None


_THEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
_EXAMPLE = OperationView(
    id=11,
    enterprise_id=3,
    eid="89049032123451234512345678901224",
    kind=OperationKind.ENABLE,
    state=OperationState.QUEUED,
    iccid="8988211000000000001",
    rollback=True,
    result_code=None,
    detail="",
    device_says=None,
    created_at=_THEN,
    sent_at=None,
    ended_at=None,
    expires_at=_THEN + timedelta(days=7),
)


class EsimOperations:
    """The resource."""

    def __init__(self, desk: Desk, packages: Packages, audit: AuditStore, now: Callable[[], datetime]) -> None:
        self._desk = desk
        self._packages = packages
        self._audit = audit
        self._now = now

    def operations(self) -> tuple[AnyOperation, ...]:
        """Everything that can be done with operations."""
        return (
            ApiOperation(
                name="createOperation",
                method="POST",
                path=_PATH,
                summary="Ask an eSIM to download, enable, disable, delete or list profiles",
                scope=Scope.ESIMS_WRITE,
                call=self.create,
                body=OperationInput,
                body_example=OperationInput(kind=OperationKind.ENABLE, iccid="8988211000000000001", rollback=True),
                query=OnEnterprise,
                answer=OperationView,
                example=_EXAMPLE,
                status=202,
                creates=True,
                location=lambda view: f"/v1/esims/{view.eid}/operations/{view.id}?enterpriseId={view.enterprise_id}",
                problems=("conflict", "unprocessable"),
            ),
            ApiOperation(
                name="listOperations",
                method="GET",
                path=_PATH,
                summary="List operations of an eSIM, newest first",
                scope=Scope.ESIMS_READ,
                call=self.list,
                body=Nothing,
                query=OperationsQuery,
                answer=OperationList,
                example=OperationList(items=[_EXAMPLE], next=None),
                problems=("unprocessable",),
            ),
            ApiOperation(
                name="readOperation",
                method="GET",
                path=f"{_PATH}/{{operation_id}}",
                summary="Read an operation",
                scope=Scope.ESIMS_READ,
                call=self.read,
                body=Nothing,
                query=OnEnterprise,
                answer=OperationView,
                example=_EXAMPLE,
                problems=("unprocessable",),
            ),
            ApiOperation(
                name="cancelOperation",
                method="POST",
                path=f"{_PATH}/{{operation_id}}/cancel",
                summary="Withdraw an operation the device has not fetched, or a download it says it could not do",
                scope=Scope.ESIMS_WRITE,
                call=self.cancel,
                body=Nothing,
                query=OnEnterprise,
                answer=OperationView,
                example=_EXAMPLE,
                problems=("conflict", "unprocessable"),
            ),
        )

    async def create(self, request: Request[OperationInput, OnEnterprise]) -> OperationView:
        """Queues an operation, once for each request."""
        body, eid = request.body, request.eid()
        enterprise = await self._desk.steered(request.act.principal, request.query.enterprise_id)
        made = await self._packages.queue(
            enterprise.id,
            f"api-{request.act.request}",
            eid,
            body.kind,
            expires_at=self._now() + timedelta(seconds=body.expires_in_seconds),
            iccid=Iccid.parse(body.iccid) if body.iccid else None,
            rollback=body.rollback,
            activation_code=body.activation_code.removeprefix("LPA:"),
        )
        await self._audit.note(request.act, "asked", f"esims/{eid}/operations/{made.id}", f'{{"kind": "{made.kind}"}}')
        return OperationView.of(made)

    async def list(self, request: Request[Body, OperationsQuery]) -> OperationList:
        """A page of operations."""
        query, eid = request.query, request.eid()
        enterprise = await self._desk.steered(request.act.principal, query.enterprise_id)
        found = await self._packages.operations(
            enterprise.id, eid=eid, state=query.state, before=query.after, most=query.limit + 1
        )
        items = [OperationView.of(one) for one in found[: query.limit]]
        return OperationList(items=items, next=items[-1].id if len(found) > query.limit else None)

    async def read(self, request: Request[Body, OnEnterprise]) -> OperationView:
        """One operation."""
        return OperationView.of(await self._found(request))

    async def cancel(self, request: Request[Body, OnEnterprise]) -> OperationView:
        """Withdraws an operation; again is no error."""
        found = await self._found(request)
        if await self._packages.cancel(found.tenant_id, found.id):
            await self._audit.note(request.act, "withdrawn", f"esims/{found.eid}/operations/{found.id}", "{}")
        after = await self._found(request)
        if after.state is not OperationState.CANCELLED:
            raise Problem("conflict", f"The operation is {after.state.value}: the device has it, or it has ended.")
        return OperationView.of(after)

    async def _found(self, request: Request[Body, OnEnterprise]) -> Operation:
        enterprise = await self._desk.steered(request.act.principal, request.query.enterprise_id)
        found = await self._packages.operation(enterprise.id, request.id("operation_id"))
        if found is None or found.eid != request.eid():
            raise Unknown("there is no operation of this id")
        return found

"""`/v1/enterprises`: who owns eSIMs, each under its lead carrier."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from api.fields import Id, Name, PlansBody, PlansView, changes_of
from api.operation import AnyOperation, Body, Listed, Nothing, Operation, Query, Request, View, page_end
from tenancy.desk import Desk
from tenancy.partners import Enterprise
from tenancy.principal import Scope

_PATH = "/v1/enterprises"


class EnterpriseInput(Body, frozen=True, kw_only=True):
    """An enterprise to be registered. `plans` are those at its lead carrier."""

    name: Name
    lead_id: Id
    plans: PlansBody = PlansBody()


class EnterpriseChange(Body, frozen=True, kw_only=True):
    """Members to be replaced; those left out stay."""

    name: Name | UnsetType = UNSET
    plans: PlansBody | UnsetType = UNSET


class EnterpriseView(View, frozen=True, kw_only=True):
    """An enterprise."""

    id: int
    name: str
    lead_id: int
    plans: PlansView
    version: int

    @classmethod
    def of(cls, enterprise: Enterprise) -> EnterpriseView:
        """As callers see it."""
        return cls(
            id=enterprise.id,
            name=enterprise.name,
            lead_id=enterprise.lead_id,
            plans=PlansView.of(enterprise.plans),
            version=enterprise.version,
        )


class EnterpriseList(View, frozen=True, kw_only=True):
    """A page of enterprises; `next` is the `after` of the next one, null at the end."""

    items: list[EnterpriseView]
    next: int | None


class EnterpriseQuery(Listed, frozen=True, kw_only=True):
    """Filter: part of the name."""

    name: str = ""


_PLANS = PlansBody(account="100000001", rate_plan="flat-5", communication_plan="data")
_EXAMPLE = EnterpriseView(
    id=3,
    name="acme-meters",
    lead_id=1,
    plans=PlansView(account="100000001", rate_plan="flat-5", communication_plan="data"),
    version=0,
)


class Enterprises:
    """The resource."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def operations(self) -> tuple[AnyOperation, ...]:
        """Everything that can be done with enterprises."""
        return (
            Operation(
                name="createEnterprise",
                method="POST",
                path=_PATH,
                summary="Register an enterprise (its lead carrier, admins)",
                scope=Scope.TENANCY_WRITE,
                call=self.create,
                body=EnterpriseInput,
                body_example=EnterpriseInput(name="acme-meters", lead_id=1, plans=_PLANS),
                query=Query,
                answer=EnterpriseView,
                example=_EXAMPLE,
                status=201,
                creates=True,
                location=lambda view: f"{_PATH}/{view.id}",
                problems=("not_found", "conflict", "unprocessable"),
            ),
            Operation(
                name="listEnterprises",
                method="GET",
                path=_PATH,
                summary="List enterprises",
                scope=Scope.TENANCY_READ,
                call=self.list,
                body=Nothing,
                query=EnterpriseQuery,
                answer=EnterpriseList,
                example=EnterpriseList(items=[_EXAMPLE], next=None),
            ),
            Operation(
                name="readEnterprise",
                method="GET",
                path=f"{_PATH}/{{enterprise_id}}",
                summary="Read an enterprise",
                scope=Scope.TENANCY_READ,
                call=self.read,
                body=Nothing,
                query=Query,
                answer=EnterpriseView,
                example=_EXAMPLE,
            ),
            Operation(
                name="changeEnterprise",
                method="PATCH",
                path=f"{_PATH}/{{enterprise_id}}",
                summary="Replace members of an enterprise (its lead carrier, admins)",
                scope=Scope.TENANCY_WRITE,
                call=self.change,
                body=EnterpriseChange,
                body_example=EnterpriseChange(plans=_PLANS),
                query=Query,
                answer=EnterpriseView,
                example=_EXAMPLE,
                problems=("conflict",),
            ),
        )

    async def create(self, request: Request[EnterpriseInput, Query]) -> EnterpriseView:
        """Registers an enterprise."""
        body = request.body
        made = await self._desk.add_enterprise(request.act, body.name, body.lead_id, body.plans.plans())
        return EnterpriseView.of(made)

    async def list(self, request: Request[Body, EnterpriseQuery]) -> EnterpriseList:
        """A page of enterprises."""
        query = request.query
        found = await self._desk.enterprises(request.act.principal, query.page(), name=query.name)
        return EnterpriseList(
            items=[EnterpriseView.of(one) for one in found[: query.limit]],
            next=page_end(query.limit, [one.id for one in found]),
        )

    async def read(self, request: Request[Body, Query]) -> EnterpriseView:
        """One enterprise."""
        return EnterpriseView.of(await self._desk.enterprise(request.act.principal, request.id("enterprise_id")))

    async def change(self, request: Request[EnterpriseChange, Query]) -> EnterpriseView:
        """Replaces members."""
        changes = changes_of(request.body)
        return EnterpriseView.of(await self._desk.change_enterprise(request.act, request.id("enterprise_id"), changes))

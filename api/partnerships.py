"""`/v1/partnerships`: what an enterprise's lead carrier and a partner have agreed on; without it there is no swap."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from api.fields import Id, PlansBody, PlansView, changes_of
from api.operation import AnyOperation, Body, Listed, Nothing, Operation, Query, Request, View, page_end
from tenancy.desk import Desk, NewPartnership
from tenancy.partners import Model, Partnership
from tenancy.principal import Scope

_PATH = "/v1/partnerships"
_Mcc = Annotated[str, Meta(pattern=r"^[0-9]{3}$", description="a mobile country code is 3 decimal digits")]
Territory = Annotated[tuple[_Mcc, ...], Meta(max_length=300)]


class PartnershipInput(Body, frozen=True, kw_only=True):
    """A partnership to be proposed. `territory` lists mobile country codes; empty means everywhere."""

    enterprise_id: Id
    partner_id: Id
    model: Model
    plans: PlansBody
    territory: Territory = ()
    enterprise_may_order: bool = False


class PartnershipChange(Body, frozen=True, kw_only=True):
    """Terms to be replaced, and whether the caller's side agrees. New terms take the other side's agreement away."""

    model: Model | UnsetType = UNSET
    plans: PlansBody | UnsetType = UNSET
    territory: Territory | UnsetType = UNSET
    enterprise_may_order: bool | UnsetType = UNSET
    agrees: bool | UnsetType = UNSET


class PartnershipView(View, frozen=True, kw_only=True):
    """A partnership; `active` while both sides agree."""

    id: int
    enterprise_id: int
    lead_id: int
    partner_id: int
    model: Model
    plans: PlansView
    territory: tuple[str, ...]
    enterprise_may_order: bool
    lead_agrees: bool
    partner_agrees: bool
    active: bool
    version: int

    @classmethod
    def of(cls, found: Partnership) -> PartnershipView:
        """As callers see it."""
        return cls(
            id=found.id,
            enterprise_id=found.enterprise_id,
            lead_id=found.lead_id,
            partner_id=found.partner_id,
            model=found.model,
            plans=PlansView.of(found.plans),
            territory=found.territory,
            enterprise_may_order=found.enterprise_may_order,
            lead_agrees=found.lead_agrees,
            partner_agrees=found.partner_agrees,
            active=found.active,
            version=found.version,
        )


class PartnershipList(View, frozen=True, kw_only=True):
    """A page of partnerships; `next` is the `after` of the next one, null at the end."""

    items: list[PartnershipView]
    next: int | None


class PartnershipQuery(Listed, frozen=True, kw_only=True):
    """Filters: an enterprise, a partner."""

    enterprise_id: Id | None = None
    partner_id: Id | None = None


_PLANS = PlansBody(account="200000001", rate_plan="partner-flat", communication_plan="data")
_EXAMPLE = PartnershipView(
    id=4,
    enterprise_id=3,
    lead_id=1,
    partner_id=2,
    model=Model.HANDOVER,
    plans=PlansView(account="200000001", rate_plan="partner-flat", communication_plan="data"),
    territory=("242", "244"),
    enterprise_may_order=False,
    lead_agrees=True,
    partner_agrees=True,
    active=True,
    version=1,
)


class Partnerships:
    """The resource."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def operations(self) -> tuple[AnyOperation, ...]:
        """Everything that can be done with partnerships."""
        return (
            Operation(
                name="createPartnership",
                method="POST",
                path=_PATH,
                summary="Propose a partnership (lead carrier), or record one (admins)",
                scope=Scope.TENANCY_WRITE,
                call=self.create,
                body=PartnershipInput,
                body_example=PartnershipInput(
                    enterprise_id=3, partner_id=2, model=Model.HANDOVER, plans=_PLANS, territory=("242", "244")
                ),
                query=Query,
                answer=PartnershipView,
                example=_EXAMPLE,
                status=201,
                creates=True,
                location=lambda view: f"{_PATH}/{view.id}",
                problems=("not_found", "conflict", "unprocessable"),
            ),
            Operation(
                name="listPartnerships",
                method="GET",
                path=_PATH,
                summary="List partnerships",
                scope=Scope.TENANCY_READ,
                call=self.list,
                body=Nothing,
                query=PartnershipQuery,
                answer=PartnershipList,
                example=PartnershipList(items=[_EXAMPLE], next=None),
            ),
            Operation(
                name="readPartnership",
                method="GET",
                path=f"{_PATH}/{{partnership_id}}",
                summary="Read a partnership",
                scope=Scope.TENANCY_READ,
                call=self.read,
                body=Nothing,
                query=Query,
                answer=PartnershipView,
                example=_EXAMPLE,
            ),
            Operation(
                name="changePartnership",
                method="PATCH",
                path=f"{_PATH}/{{partnership_id}}",
                summary="Replace terms of a partnership, agree or disagree (its carriers, admins)",
                scope=Scope.TENANCY_WRITE,
                call=self.change,
                body=PartnershipChange,
                body_example=PartnershipChange(agrees=True),
                query=Query,
                answer=PartnershipView,
                example=_EXAMPLE,
                problems=("conflict", "unprocessable"),
            ),
        )

    async def create(self, request: Request[PartnershipInput, Query]) -> PartnershipView:
        """Proposes or records a partnership."""
        body = request.body
        new = NewPartnership(
            enterprise_id=body.enterprise_id,
            partner_id=body.partner_id,
            model=body.model,
            plans=body.plans.plans(),
            territory=body.territory,
            enterprise_may_order=body.enterprise_may_order,
        )
        return PartnershipView.of(await self._desk.add_partnership(request.act, new))

    async def list(self, request: Request[Body, PartnershipQuery]) -> PartnershipList:
        """A page of partnerships."""
        query = request.query
        found = await self._desk.partnerships(
            request.act.principal, query.page(), enterprise_id=query.enterprise_id, partner_id=query.partner_id
        )
        return PartnershipList(
            items=[PartnershipView.of(one) for one in found[: query.limit]],
            next=page_end(query.limit, [one.id for one in found]),
        )

    async def read(self, request: Request[Body, Query]) -> PartnershipView:
        """One partnership."""
        return PartnershipView.of(await self._desk.partnership(request.act.principal, request.id("partnership_id")))

    async def change(self, request: Request[PartnershipChange, Query]) -> PartnershipView:
        """Replaces terms, agrees or disagrees."""
        changes = changes_of(request.body)
        agrees = changes.pop("agrees", None)
        changed = await self._desk.change_partnership(request.act, request.id("partnership_id"), changes, agrees=agrees)
        return PartnershipView.of(changed)

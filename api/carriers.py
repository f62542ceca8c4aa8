"""`/v1/carriers`: the mobile operators between which eSIMs are swapped, and how their platforms are reached."""

from __future__ import annotations

import re
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from api.fields import Id, Name, Text, changes_of
from api.operation import AnyOperation, Body, Listed, Nothing, Operation, Query, Request, View, page_end
from tenancy.desk import Desk, NewCarrier
from tenancy.partners import Carrier, CarrierRole, PlatformAccess
from tenancy.principal import BadTerms, Principal, PrincipalKind, Scope

_PATH = "/v1/carriers"
_ADDRESS = re.compile(r"(https://|http://(?=(localhost|127\.0\.0\.1)([:/]|$)))[^\s/?#@]+(/[^\s?#@]*)?")


class PlatformInput(Body, frozen=True, kw_only=True):
    """How the carrier's platform is reached. `kind` is control_center or external; `apiKey` is never shown again."""

    kind: Annotated[str, Meta(min_length=1, max_length=50, pattern=r"^[a-z0-9_]+$")]
    base_url: Text = ""
    username: Text = ""
    api_key: Text = ""

    def __repr__(self) -> str:
        return f"PlatformInput(kind={self.kind!r})"

    def access(self, kinds: frozenset[str]) -> PlatformAccess:
        """Everything but the key. Raises BadTerms for a kind without adapter or an address that is not one."""
        if self.kind not in kinds:
            raise BadTerms(f"platform.kind must be one of {', '.join(sorted(kinds))}")
        if self.base_url and not _ADDRESS.fullmatch(self.base_url):
            raise BadTerms("platform.baseUrl reads https://host/path, without credentials and query")
        return PlatformAccess(kind=self.kind, base_url=self.base_url, username=self.username)


class CarrierInput(Body, frozen=True, kw_only=True):
    """A carrier to be registered. `operatorId` is the operator of this SM-DP+ whose stock holds its profiles."""

    name: Name
    role: CarrierRole
    platform: PlatformInput
    operator_id: Id | None = None
    profile_type: Text = ""
    inventory_account: Text = ""


class CarrierChange(Body, frozen=True, kw_only=True):
    """Members to be replaced; those left out stay."""

    role: CarrierRole | UnsetType = UNSET
    platform: PlatformInput | UnsetType = UNSET
    operator_id: int | UnsetType | None = UNSET
    profile_type: Text | UnsetType = UNSET
    inventory_account: Text | UnsetType = UNSET


class PlatformView(View, frozen=True, kw_only=True):
    """How the platform is reached; `hasApiKey` in place of the key."""

    kind: str
    base_url: str
    username: str
    has_api_key: bool


class CarrierView(View, frozen=True, kw_only=True):
    """A carrier. What concerns its own operation is null for everybody but itself and admins."""

    id: int
    name: str
    role: CarrierRole
    platform: PlatformView | None
    operator_id: int | None
    profile_type: str | None
    inventory_account: str | None
    version: int


class CarrierList(View, frozen=True, kw_only=True):
    """A page of carriers; `next` is the `after` of the next one, null at the end."""

    items: list[CarrierView]
    next: int | None


class CarrierQuery(Listed, frozen=True, kw_only=True):
    """Filters: part of the name, and a role."""

    name: str = ""
    role: CarrierRole | None = None


_EXAMPLE_INPUT = CarrierInput(
    name="nordic-mobile",
    role=CarrierRole.PARTNER,
    platform=PlatformInput(
        kind="control_center", base_url="https://restapi.nordic.example", username="flex", api_key="an-api-key"
    ),
    operator_id=2,
    profile_type="iot-basic",
    inventory_account="100000000",
)
_EXAMPLE = CarrierView(
    id=2,
    name="nordic-mobile",
    role=CarrierRole.PARTNER,
    platform=PlatformView(
        kind="control_center", base_url="https://restapi.nordic.example", username="flex", has_api_key=True
    ),
    operator_id=2,
    profile_type="iot-basic",
    inventory_account="100000000",
    version=0,
)


class Carriers:
    """The resource."""

    def __init__(self, desk: Desk, platform_kinds: frozenset[str]) -> None:
        self._desk = desk
        self._kinds = platform_kinds

    def operations(self) -> tuple[AnyOperation, ...]:
        """Everything that can be done with carriers."""
        return (
            Operation(
                name="createCarrier",
                method="POST",
                path=_PATH,
                summary="Register a carrier (admins)",
                scope=Scope.TENANCY_WRITE,
                call=self.create,
                body=CarrierInput,
                body_example=_EXAMPLE_INPUT,
                query=Query,
                answer=CarrierView,
                example=_EXAMPLE,
                status=201,
                creates=True,
                location=lambda view: f"{_PATH}/{view.id}",
                problems=("conflict", "unprocessable"),
            ),
            Operation(
                name="listCarriers",
                method="GET",
                path=_PATH,
                summary="List carriers: those you have to do with",
                scope=Scope.TENANCY_READ,
                call=self.list,
                body=Nothing,
                query=CarrierQuery,
                answer=CarrierList,
                example=CarrierList(items=[_EXAMPLE], next=None),
            ),
            Operation(
                name="readCarrier",
                method="GET",
                path=f"{_PATH}/{{carrier_id}}",
                summary="Read a carrier",
                scope=Scope.TENANCY_READ,
                call=self.read,
                body=Nothing,
                query=Query,
                answer=CarrierView,
                example=_EXAMPLE,
            ),
            Operation(
                name="changeCarrier",
                method="PATCH",
                path=f"{_PATH}/{{carrier_id}}",
                summary="Replace members of a carrier (admins)",
                scope=Scope.TENANCY_WRITE,
                call=self.change,
                body=CarrierChange,
                body_example=CarrierChange(profile_type="iot-plus"),
                query=Query,
                answer=CarrierView,
                example=_EXAMPLE,
                problems=("conflict", "unprocessable"),
            ),
        )

    async def create(self, request: Request[CarrierInput, Query]) -> CarrierView:
        """Registers a carrier."""
        body = request.body
        new = NewCarrier(
            name=body.name,
            role=body.role,
            platform=body.platform.access(self._kinds),
            operator_id=body.operator_id,
            profile_type=body.profile_type,
            inventory_account=body.inventory_account,
            secret=body.platform.api_key,
        )
        return carrier_view(await self._desk.add_carrier(request.act, new), request.act.principal)

    async def list(self, request: Request[Body, CarrierQuery]) -> CarrierList:
        """A page of carriers."""
        query, viewer = request.query, request.act.principal
        found = await self._desk.carriers(viewer, query.page(), name=query.name, role=query.role)
        return CarrierList(
            items=[carrier_view(one, viewer) for one in found[: query.limit]],
            next=page_end(query.limit, [one.id for one in found]),
        )

    async def read(self, request: Request[Body, Query]) -> CarrierView:
        """One carrier."""
        viewer = request.act.principal
        return carrier_view(await self._desk.carrier(viewer, request.id("carrier_id")), viewer)

    async def change(self, request: Request[CarrierChange, Query]) -> CarrierView:
        """Replaces members; the platform is replaced as a whole, with its key."""
        changes: dict[str, Any] = changes_of(request.body)
        platform, secret = changes.pop("platform", None), None
        carrier_id = request.id("carrier_id")
        if platform is not None:
            changes["platform"], secret = platform.access(self._kinds), platform.api_key
        changed = await self._desk.change_carrier(request.act, carrier_id, changes, secret)
        return carrier_view(changed, request.act.principal)


def carrier_view(carrier: Carrier, viewer: Principal) -> CarrierView:
    """A carrier as `viewer` may see it."""
    own = Principal(kind=PrincipalKind.CARRIER, party_id=carrier.id)
    inside = viewer.kind is PrincipalKind.ADMIN or viewer == own
    access = carrier.platform
    platform = PlatformView(
        kind=access.kind,
        base_url=access.base_url,
        username=access.username,
        has_api_key=access.secret_sealed is not None,
    )
    return CarrierView(
        id=carrier.id,
        name=carrier.name,
        role=carrier.role,
        platform=platform if inside else None,
        operator_id=carrier.operator_id if inside else None,
        profile_type=carrier.profile_type if inside else None,
        inventory_account=carrier.inventory_account if inside else None,
        version=carrier.version,
    )

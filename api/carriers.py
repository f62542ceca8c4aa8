"""`/v1/carriers`: the mobile operators between which eSIMs are swapped, and how their platforms are reached."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

from msgspec import UNSET, Meta, UnsetType

from api.fields import Id, Name, Pem, Text, changes_of
from api.operation import AnyOperation, Body, Listed, Nothing, Operation, Query, Request, View, page_end
from rsp.errors import Malformed
from rsp.identifiers import fqdn
from tenancy.desk import Desk, NewCarrier
from tenancy.partners import Carrier, CarrierRole, PlatformAccess, SmdpAccess
from tenancy.principal import BadTerms, Principal, PrincipalKind, Scope
from transport.tls import BadTls, fingerprint, peer_context

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

    def access(self, check: PlatformCheck) -> PlatformAccess:
        """Everything but the key. Raises BadTerms for what could never be used to reach a platform."""
        try:
            check(self)
        except Malformed as error:
            raise BadTerms(str(error)) from None
        if self.base_url and not _ADDRESS.fullmatch(self.base_url):
            raise BadTerms("platform.baseUrl reads https://host/path, without credentials and query")
        return PlatformAccess(kind=self.kind, base_url=self.base_url, username=self.username)


PlatformCheck = Callable[[PlatformInput], None]
"""Raises Malformed for a kind without adapter, and when a platform of that kind cannot be reached so."""


class SmdpInput(Body, frozen=True, kw_only=True):
    """An SM-DP+ of the carrier's own that has its profiles: how it is called over ES2+, and how it calls us.

    We call `baseUrl` as `requesterId` and show `certificate`, whose `key` is never shown again; its TLS certificate
    must come from `ca`. It reports downloads with `callerCertificate`; leave it out where it reports none. `address` is
    its ES9+ name for activation codes; left out, it is the host of `baseUrl`. Certificates and key are PEM.
    """

    base_url: Annotated[str, Meta(min_length=1, max_length=255)]
    requester_id: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]
    certificate: Pem
    key: Pem
    ca: Pem
    address: Text = ""
    caller_certificate: Pem = ""

    def __repr__(self) -> str:
        return f"SmdpInput(base_url={self.base_url!r})"

    def access(self) -> SmdpAccess:
        """Everything but the key. Raises BadTerms for what could never be used to call it."""
        host = _smdp_host(self.base_url)
        try:
            peer_context(self.ca, self.certificate, self.key)
            caller = fingerprint(self.caller_certificate) if self.caller_certificate else None
            address = fqdn(self.address or host)
        except BadTls as error:
            raise BadTerms(f"smdp: {error}") from None
        except Malformed as error:
            raise BadTerms(f"smdp.address: {error}") from None
        return SmdpAccess(
            base_url=self.base_url.rstrip("/"),
            requester_id=self.requester_id,
            certificate=self.certificate,
            ca=self.ca,
            address=address,
            caller_certificate=self.caller_certificate,
            caller=caller,
        )


def _smdp_host(url: str) -> str:
    """The host of an address that may be called: https, and no place that only this machine's network has a use for."""
    if not url.startswith("https://") or not _ADDRESS.fullmatch(url):
        raise BadTerms("smdp.baseUrl reads https://host/path, without credentials and query")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise BadTerms("smdp.baseUrl reads https://host/path, with a port up to 65535") from None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        raise BadTerms("smdp.baseUrl names an address at which no server can be: use its host name")
    return host


class CarrierInput(Body, frozen=True, kw_only=True):
    """A carrier to be registered.

    Its profiles of `profileType` lie in the stock of `operatorId`, an operator of this SM-DP+, or at its own `smdp`.
    """

    name: Name
    role: CarrierRole
    platform: PlatformInput
    operator_id: Id | None = None
    profile_type: Text = ""
    inventory_account: Text = ""
    smdp: SmdpInput | None = None


class CarrierChange(Body, frozen=True, kw_only=True):
    """Members to be replaced; those left out stay."""

    role: CarrierRole | UnsetType = UNSET
    platform: PlatformInput | UnsetType = UNSET
    operator_id: int | UnsetType | None = UNSET
    profile_type: Text | UnsetType = UNSET
    inventory_account: Text | UnsetType = UNSET
    smdp: SmdpInput | UnsetType | None = UNSET


class PlatformView(View, frozen=True, kw_only=True):
    """How the platform is reached; `hasApiKey` in place of the key."""

    kind: str
    base_url: str
    username: str
    has_api_key: bool


class SmdpView(View, frozen=True, kw_only=True):
    """How the carrier's own SM-DP+ is reached; `hasKey` in place of the key."""

    base_url: str
    requester_id: str
    certificate: str
    ca: str
    address: str
    caller_certificate: str
    has_key: bool


class CarrierView(View, frozen=True, kw_only=True):
    """A carrier. What concerns its own operation is null for everybody but itself and admins."""

    id: int
    name: str
    role: CarrierRole
    platform: PlatformView | None
    operator_id: int | None
    profile_type: str | None
    inventory_account: str | None
    smdp: SmdpView | None
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
    smdp=None,
    version=0,
)
_PEM = "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n"
_EXAMPLE_CHANGE = CarrierChange(
    operator_id=None,
    profile_type="iot-plus",
    smdp=SmdpInput(
        base_url="https://es2.nordic.example",
        requester_id="your-name-there",
        certificate=_PEM,
        key="-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n",
        ca=_PEM,
        address="rsp.nordic.example",
        caller_certificate=_PEM,
    ),
)


class Carriers:
    """The resource."""

    def __init__(self, desk: Desk, check: PlatformCheck) -> None:
        self._desk = desk
        self._check = check

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
                body_example=_EXAMPLE_CHANGE,
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
            platform=body.platform.access(self._check),
            operator_id=body.operator_id,
            profile_type=body.profile_type,
            inventory_account=body.inventory_account,
            smdp=body.smdp.access() if body.smdp else None,
            secret=body.platform.api_key,
            smdp_key=body.smdp.key if body.smdp else "",
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
        """Replaces members; the platform is replaced as a whole, with its key, and so is the SM-DP+."""
        changes: dict[str, Any] = changes_of(request.body)
        platform, secret, smdp_key = changes.pop("platform", None), None, ""
        carrier_id = request.id("carrier_id")
        if platform is not None:
            changes["platform"], secret = platform.access(self._check), platform.api_key
        if (smdp := changes.get("smdp")) is not None:
            changes["smdp"], smdp_key = smdp.access(), smdp.key
        changed = await self._desk.change_carrier(request.act, carrier_id, changes, secret, smdp_key)
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
        smdp=_smdp_view(carrier.smdp) if inside and carrier.smdp else None,
        version=carrier.version,
    )


def _smdp_view(smdp: SmdpAccess) -> SmdpView:
    return SmdpView(
        base_url=smdp.base_url,
        requester_id=smdp.requester_id,
        certificate=smdp.certificate,
        ca=smdp.ca,
        address=smdp.address,
        caller_certificate=smdp.caller_certificate,
        has_key=smdp.key_sealed is not None,
    )

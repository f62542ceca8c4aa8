"""`/v1/esims`: the eSIMs of an enterprise, and what is known of their cards."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

from api.fields import EidText, Id
from api.operation import LARGEST_PAGE, AnyOperation, Body, Nothing, Operation, Query, Request, View
from eim.association import Onboarding
from eim.ports import CardFacts
from rsp.errors import Malformed
from rsp.identifiers import Eid
from rsp.plmn import plmn_to_text
from tenancy.desk import Desk
from tenancy.ports import AuditStore
from tenancy.principal import NotAllowed, Scope, Unknown
from tenancy.terms import may_onboard

_PATH = "/v1/esims"
Certificate = Annotated[bytes, Meta(min_length=1, max_length=8192, description="DER in base64")]


class EsimInput(Body, frozen=True, kw_only=True):
    """An eSIM to be onboarded: its card's configuration names this eIM already.

    `associationToken` is the one the card made, left out where it has none; `counter` the counter value it was
    configured with.
    """

    enterprise_id: Id
    eid: EidText
    eum_certificate: Certificate
    euicc_certificate: Certificate
    association_token: Id | None = None
    counter: Annotated[int, Meta(ge=0, le=2**31)] = 0


class OnEnterprise(Query, frozen=True, kw_only=True):
    """Whose eSIM it is; an enterprise's own key need not say so."""

    enterprise_id: Id | None = None


class EsimQuery(OnEnterprise, frozen=True, kw_only=True):
    """A page of an enterprise's eSIMs, in order of their EIDs from behind `after`."""

    limit: Annotated[int, Meta(ge=1, le=LARGEST_PAGE)] = 50
    after: EidText | None = None


class ProfileView(View, frozen=True, kw_only=True):
    """A profile on the card, as a signed result of the card told at `asOf`."""

    iccid: str
    enabled: bool
    as_of: datetime


class EsimView(View, frozen=True, kw_only=True):
    """An eSIM. `listedAt` is the time of the card's last whole list, null before the first: profiles may be missing.

    `lastNetwork` is the network (MCC and MNC) the device last polled over, as the device said.
    """

    eid: str
    enterprise_id: int
    profiles: tuple[ProfileView, ...]
    listed_at: datetime | None
    last_contact_at: datetime | None
    last_network: str | None
    onboarded_at: datetime

    @classmethod
    def of(cls, facts: CardFacts) -> EsimView:
        """As callers see it."""
        return cls(
            eid=str(facts.eid),
            enterprise_id=facts.tenant_id,
            profiles=tuple(
                ProfileView(iccid=str(one.iccid), enabled=one.enabled, as_of=one.as_of) for one in facts.profiles
            ),
            listed_at=facts.listed_at,
            last_contact_at=facts.last_poll_at,
            last_network=_network(facts.rplmn),
            onboarded_at=facts.created_at,
        )


class EsimList(View, frozen=True, kw_only=True):
    """A page of eSIMs; `next` is the `after` of the next one, null at the end."""

    items: list[EsimView]
    next: str | None


_THEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
_EID = "89049032123451234512345678901224"
_EXAMPLE = EsimView(
    eid=_EID,
    enterprise_id=3,
    profiles=(ProfileView(iccid="8988211000000000001", enabled=True, as_of=_THEN),),
    listed_at=_THEN,
    last_contact_at=_THEN,
    last_network="24201",
    onboarded_at=_THEN,
)


class Esims:
    """The resource."""

    def __init__(self, desk: Desk, onboarding: Onboarding, audit: AuditStore) -> None:
        self._desk = desk
        self._onboarding = onboarding
        self._audit = audit

    def operations(self) -> tuple[AnyOperation, ...]:
        """Everything that can be done with eSIMs."""
        return (
            Operation(
                name="onboardEsim",
                method="POST",
                path=_PATH,
                summary="Onboard an eSIM for an enterprise (its lead carrier)",
                scope=Scope.ESIMS_WRITE,
                call=self.onboard,
                body=EsimInput,
                body_example=EsimInput(
                    enterprise_id=3, eid=_EID, eum_certificate=b"DER", euicc_certificate=b"DER", association_token=1
                ),
                query=Query,
                answer=EsimView,
                example=_EXAMPLE,
                status=201,
                creates=True,
                location=lambda view: f"{_PATH}/{view.eid}?enterpriseId={view.enterprise_id}",
                problems=("not_found", "conflict", "unprocessable"),
            ),
            Operation(
                name="listEsims",
                method="GET",
                path=_PATH,
                summary="List the eSIMs of an enterprise",
                scope=Scope.ESIMS_READ,
                call=self.list,
                body=Nothing,
                query=EsimQuery,
                answer=EsimList,
                example=EsimList(items=[_EXAMPLE], next=None),
                problems=("not_found", "unprocessable"),
            ),
            Operation(
                name="readEsim",
                method="GET",
                path=f"{_PATH}/{{eid}}",
                summary="Read an eSIM: profiles on the card, last contact",
                scope=Scope.ESIMS_READ,
                call=self.read,
                body=Nothing,
                query=OnEnterprise,
                answer=EsimView,
                example=_EXAMPLE,
                problems=("unprocessable",),
            ),
        )

    async def onboard(self, request: Request[EsimInput, Query]) -> EsimView:
        """Onboards an eSIM."""
        body, principal = request.body, request.act.principal
        enterprise = await self._desk.enterprise(principal, body.enterprise_id)
        if not may_onboard(principal, enterprise):
            raise NotAllowed("eSIMs are onboarded by the lead carrier of their enterprise")
        eid = Eid(body.eid)
        await self._onboarding.onboard(
            enterprise.id, eid, body.eum_certificate, body.euicc_certificate, body.association_token, body.counter
        )
        await self._audit.note(request.act, "onboarded", f"esims/{eid}", f'{{"enterprise_id": {enterprise.id}}}')
        return EsimView.of(await self._card(enterprise.id, eid))

    async def list(self, request: Request[Body, EsimQuery]) -> EsimList:
        """A page of eSIMs."""
        query = request.query
        enterprise = await self._desk.steered(request.act.principal, query.enterprise_id)
        after = Eid(query.after) if query.after else None
        found = await self._onboarding.cards(enterprise.id, after=after, most=query.limit + 1)
        items = [EsimView.of(one) for one in found[: query.limit]]
        return EsimList(items=items, next=items[-1].eid if len(found) > query.limit else None)

    async def read(self, request: Request[Body, OnEnterprise]) -> EsimView:
        """One eSIM."""
        enterprise = await self._desk.steered(request.act.principal, request.query.enterprise_id)
        return EsimView.of(await self._card(enterprise.id, request.eid()))

    async def _card(self, enterprise_id: int, eid: Eid) -> CardFacts:
        found = await self._onboarding.card(enterprise_id, eid)
        if found is None:
            raise Unknown("there is no eSIM with this EID")
        return found


def _network(rplmn: bytes | None) -> str | None:
    try:
        return plmn_to_text(rplmn) if rplmn else None
    except Malformed:
        return None

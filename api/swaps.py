"""`/v1/swaps`: plan, order and follow carrier swaps; confirm, cancel, decide."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from msgspec import Meta

from api.esims import OnEnterprise
from api.fields import EidText, IccidText, Id
from api.operation import LARGEST_PAGE, AnyOperation, Body, Nothing, Operation, Request, View
from api.problems import Problem
from api.swap_views import (
    EXAMPLE,
    EXAMPLE_ACTION,
    EXAMPLE_LINE,
    EXAMPLE_PLAN,
    ActionView,
    PlanView,
    SwapLineView,
    SwapView,
)
from rsp.errors import Unreachable
from rsp.identifiers import Eid, Iccid
from swap.desk import CannotBegin, Confirmation, Desk, MayNotOrder, Order, PlanChanged, SwapUnknown, TooLate
from swap.ports import CarrierRefused, ProfileRefused, SwapRunning, TransitionLost
from swap.record import Filter
from swap.swap import SwapState
from tenancy.desk import Desk as TenancyDesk
from tenancy.ports import AuditStore
from tenancy.principal import NotAllowed, PrincipalKind, Scope, Unknown

_PATH = "/v1/swaps"
_ONE = f"{_PATH}/{{swap_id}}"


class PlanInput(Body, frozen=True, kw_only=True):
    """The eSIM, and the carrier it is to go to. An enterprise's own key need not name the enterprise."""

    eid: EidText
    target_id: Id
    enterprise_id: Id | None = None


class SwapInput(PlanInput, frozen=True, kw_only=True):
    """A swap to be ordered. With `digest` exactly the plan that was shown is carried out, or nothing."""

    digest: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")] = ""


class ConfirmationInput(Body, frozen=True, kw_only=True):
    """The line you have had allocated; both stay out where the card holds its profile already."""

    iccid: IccidText | None = None
    activation_code: Annotated[str, Meta(max_length=255)] = ""

    def __repr__(self) -> str:
        return "ConfirmationInput()"


class DecisionInput(Body, frozen=True, kw_only=True):
    """One of the options of an action."""

    choice: Annotated[str, Meta(min_length=1, max_length=50)]


class SwapsQuery(OnEnterprise, frozen=True, kw_only=True):
    """A page of swaps, newest first; `open` leaves out those that have ended."""

    limit: Annotated[int, Meta(ge=1, le=LARGEST_PAGE)] = 50
    after: Id | None = None
    eid: EidText | None = None
    state: SwapState | None = None
    open: bool = False


class SwapList(View, frozen=True, kw_only=True):
    """A page of swaps; `next` is the `after` of the next one, null at the end."""

    items: list[SwapLineView]
    next: int | None


class Swaps:
    """The resource."""

    def __init__(self, swaps: Desk, parties: TenancyDesk, audit: AuditStore) -> None:
        self._swaps = swaps
        self._parties = parties
        self._audit = audit

    def operations(self) -> tuple[AnyOperation, ...]:
        """Everything that can be done with swaps."""
        return (*self._beginnings(), *self._readings(), *self._steering())

    def _beginnings(self) -> tuple[AnyOperation, ...]:
        return (
            Operation(
                name="planSwap",
                method="POST",
                path=f"{_PATH}/plan",
                summary="See what a swap would do now, what stands against it, and what becomes billable when",
                scope=Scope.SWAPS_READ,
                call=self.plan,
                body=PlanInput,
                body_example=PlanInput(eid=EXAMPLE_PLAN.eid, target_id=2),
                query=OnEnterprise,
                answer=PlanView,
                example=EXAMPLE_PLAN,
                problems=("unprocessable",),
            ),
            Operation(
                name="createSwap",
                method="POST",
                path=_PATH,
                summary="Order a swap",
                scope=Scope.SWAPS_WRITE,
                call=self.create,
                body=SwapInput,
                body_example=SwapInput(eid=EXAMPLE_PLAN.eid, target_id=2, digest=EXAMPLE_PLAN.digest),
                query=OnEnterprise,
                answer=SwapView,
                example=EXAMPLE,
                status=202,
                creates=True,
                location=lambda view: f"{_PATH}/{view.swap.id}?enterpriseId={view.swap.enterprise_id}",
                problems=("conflict", "unprocessable"),
            ),
        )

    def _readings(self) -> tuple[AnyOperation, ...]:
        return (
            Operation(
                name="listSwaps",
                method="GET",
                path=_PATH,
                summary="List swaps of an enterprise, newest first",
                scope=Scope.SWAPS_READ,
                call=self.list,
                body=Nothing,
                query=SwapsQuery,
                answer=SwapList,
                example=SwapList(items=[EXAMPLE_LINE], next=None),
                problems=("unprocessable",),
            ),
            Operation(
                name="readSwap",
                method="GET",
                path=_ONE,
                summary="Read a swap with its stages, lines, open actions and timeline",
                scope=Scope.SWAPS_READ,
                call=self.read,
                body=Nothing,
                query=OnEnterprise,
                answer=SwapView,
                example=EXAMPLE,
                problems=("unprocessable",),
            ),
        )

    def _steering(self) -> tuple[AnyOperation, ...]:
        return (
            Operation(
                name="confirmSwap",
                method="POST",
                path=f"{_ONE}/confirm",
                summary="Say that a carrier without integration has allocated the line",
                scope=Scope.SWAPS_WRITE,
                call=self.confirm,
                body=ConfirmationInput,
                body_example=ConfirmationInput(
                    iccid="8988211000000000001", activation_code="1$smdp.nordic.example$ABCDE-FGHIJ"
                ),
                query=OnEnterprise,
                answer=SwapView,
                example=EXAMPLE,
                problems=("conflict", "unprocessable"),
            ),
            Operation(
                name="cancelSwap",
                method="POST",
                path=f"{_ONE}/cancel",
                summary="Undo a swap that has not passed its pivot",
                scope=Scope.SWAPS_WRITE,
                call=self.cancel,
                body=Nothing,
                query=OnEnterprise,
                answer=SwapView,
                example=EXAMPLE,
                problems=("conflict", "unprocessable"),
            ),
            Operation(
                name="decideOnSwap",
                method="POST",
                path=f"{_ONE}/decisions/{{number}}",
                summary="Settle something that is asked of you",
                scope=Scope.SWAPS_WRITE,
                call=self.decide,
                body=DecisionInput,
                body_example=DecisionInput(choice="keep"),
                query=OnEnterprise,
                answer=ActionView,
                example=EXAMPLE_ACTION,
                problems=("conflict", "unprocessable"),
            ),
        )

    async def plan(self, request: Request[PlanInput, OnEnterprise]) -> PlanView:
        """What would be done; nothing is."""
        body = request.body
        tenant_id = await self._tenant(request, body.enterprise_id)
        with _problems():
            return PlanView.of(tenant_id, await self._swaps.plan(tenant_id, Eid(body.eid), body.target_id))

    async def create(self, request: Request[SwapInput, OnEnterprise]) -> SwapView:
        """Orders a swap, once for each request."""
        body, principal = request.body, request.act.principal
        tenant_id = await self._tenant(request, body.enterprise_id)
        order = Order(
            tenant_id=tenant_id,
            eid=Eid(body.eid),
            target_id=body.target_id,
            request=request.act.request,
            by=str(principal),
            by_lead=principal.kind is PrincipalKind.CARRIER,
            digest=body.digest,
        )
        with _problems():
            made = await self._swaps.order(order)
        await self._audit.note(request.act, "ordered", f"swaps/{made.id}", f'{{"target": {body.target_id}}}')
        return SwapView.of(*await self._swaps.read(tenant_id, made.id))

    async def list(self, request: Request[Body, SwapsQuery]) -> SwapList:
        """A page of swaps."""
        query = request.query
        tenant_id = await self._tenant(request)
        chosen = Filter(
            eid=Eid(query.eid) if query.eid else None,
            state=query.state,
            open_only=query.open,
            before=query.after,
            most=query.limit + 1,
        )
        found = await self._swaps.list((tenant_id,), chosen)
        items = [SwapLineView.of(one) for one in found[: query.limit]]
        return SwapList(items=items, next=items[-1].id if len(found) > query.limit else None)

    async def read(self, request: Request[Body, OnEnterprise]) -> SwapView:
        """One swap."""
        tenant_id = await self._tenant(request)
        with _problems():
            return SwapView.of(*await self._swaps.read(tenant_id, request.id("swap_id")))

    async def confirm(self, request: Request[ConfirmationInput, OnEnterprise]) -> SwapView:
        """Goes on with a swap that waits for its customer; again is no error."""
        tenant_id, swap_id = await self._tenant(request), request.id("swap_id")
        body = request.body
        said = Confirmation(
            iccid=Iccid.parse(body.iccid) if body.iccid else None,
            activation_code=body.activation_code.removeprefix("LPA:"),
        )
        with _problems():
            await self._swaps.confirm(tenant_id, swap_id, said, str(request.act.principal))
        await self._audit.note(request.act, "confirmed", f"swaps/{swap_id}", "{}")
        return SwapView.of(*await self._swaps.read(tenant_id, swap_id))

    async def cancel(self, request: Request[Body, OnEnterprise]) -> SwapView:
        """Begins to undo a swap; again is no error."""
        tenant_id, swap_id = await self._tenant(request), request.id("swap_id")
        with _problems():
            await self._swaps.cancel(tenant_id, swap_id, str(request.act.principal))
        await self._audit.note(request.act, "cancelled", f"swaps/{swap_id}", "{}")
        return SwapView.of(*await self._swaps.read(tenant_id, swap_id))

    async def decide(self, request: Request[DecisionInput, OnEnterprise]) -> ActionView:
        """Settles an action; the same again is no error."""
        tenant_id, swap_id, number = await self._tenant(request), request.id("swap_id"), request.id("number")
        choice = request.body.choice
        with _problems():
            action = await self._swaps.decide(tenant_id, swap_id, number, choice, str(request.act.principal))
        await self._audit.note(request.act, "decided", f"swaps/{swap_id}/decisions/{number}", "{}")
        return ActionView.of(action)

    async def _tenant(self, request: Request[Any, Any], named: int | None = None) -> int:
        """The enterprise whose swaps are meant. Raises Unknown, NotAllowed, BadTerms."""
        enterprise = await self._parties.steered(request.act.principal, named or request.query.enterprise_id)
        return enterprise.id


@contextmanager
def _problems() -> Iterator[None]:
    """What the role refuses, as problems."""
    try:
        yield
    except SwapUnknown as unknown:
        raise Unknown(str(unknown)) from None
    except SwapRunning as running:
        raise Problem("conflict", str(running), existing=f"{_PATH}/{running.swap_id}") from None
    except (TooLate, PlanChanged, TransitionLost) as late:
        raise Problem("conflict", str(late)) from None
    except MayNotOrder as refused:
        raise NotAllowed(str(refused)) from None
    except CannotBegin as gates:
        raise Problem("unprocessable", str(gates)) from None
    except (CarrierRefused, ProfileRefused) as refused:
        raise Problem("unprocessable", str(refused)) from None
    except Unreachable as away:
        raise Problem("unavailable", f"The carrier's platform cannot be asked now: {away}", retry_after=10) from None

"""Use cases of people: plan a swap, order it, follow it, confirm, cancel, decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from crypto.vault import Vault
from rsp.errors import Malformed
from rsp.identifiers import ActivationCode, Eid, Iccid
from swap.allocation import activation_context
from swap.outcomes import Timing
from swap.plan import Facts, Held, Missing, Plan, Source, Target, Way, planned
from swap.ports import (
    Agreements,
    Card,
    CardControl,
    CardProfile,
    CarrierRefused,
    Platforms,
    ProfileSource,
    SwapRunning,
    SwapStore,
)
from swap.record import About, Action, ActionKind, Change, Filter, History, NewSwap, Swap, Told
from swap.swap import ENDED, STATE_OF, UNDOABLE, SwapState


class SwapUnknown(Exception):  # noqa: N818 -- the name is the fact
    """This tenant has no such swap, carrier or action; another's answers the same."""


class MayNotOrder(Exception):  # noqa: N818 -- the name is the outcome
    """Under these terms somebody else orders swaps."""


class CannotBegin(Exception):  # noqa: N818 -- the name is the fact
    """The plan has gates: each names a fact that is missing."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("; ".join(gate.text for gate in plan.gates))
        self.plan = plan


class PlanChanged(Exception):  # noqa: N818 -- the name is the fact
    """The facts are no longer those of the plan that was asked for: plan again."""


class TooLate(Exception):  # noqa: N818 -- the name is the fact
    """The swap is past the point where this is possible; the text says where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A swap that is asked for. `request` names the request: a repetition gets the same swap.

    `digest` is that of a plan that was shown before; empty takes the plan as it comes. `by` says who orders;
    `by_lead` that it is the enterprise's lead carrier and not the enterprise itself.
    """

    tenant_id: int
    eid: Eid
    target_id: int
    request: str
    by: str
    by_lead: bool = False
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What the customer tells about a line it has allocated: the ICCID, and the activation code unless it is held."""

    iccid: Iccid | None = None
    activation_code: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Everything the desk reads and reaches."""

    agreements: Agreements
    cards: CardControl
    platforms: Platforms
    profiles: ProfileSource
    vault: Vault


class Desk:
    """What tenants do with swaps. Every method sees the swaps of its tenants alone."""

    def __init__(self, store: SwapStore, outlook: Outlook, timing: Timing, now: Callable[[], datetime]) -> None:
        self._store = store
        self._look = outlook
        self._timing = timing
        self._now = now

    async def plan(self, tenant_id: int, eid: Eid, target_id: int) -> Plan:
        """What a swap would do now. Raises SwapUnknown for a carrier the tenant does not know, Unreachable."""
        target = await self._look.agreements.target(tenant_id, target_id)
        if target is None:
            raise SwapUnknown("there is no carrier of this id")
        card = await self._look.cards.card(tenant_id, eid)
        source = await self._source(tenant_id, eid, card)
        in_stock = target.stock is not None and await self._look.profiles.available(target.stock)
        facts = Facts(
            eid=eid,
            known=card is not None,
            listed=card is not None and card.listed_at is not None,
            source=source,
            target=target,
            terms=await self._look.agreements.terms(tenant_id, target_id, card.country if card else None),
            held=await self._held(tenant_id, eid, card, target),
            in_stock=in_stock,
            running=await self._store.running(eid) if card else None,
        )
        return planned(facts)

    async def order(self, order: Order) -> Swap:
        """Begin a swap. Raises SwapUnknown, MayNotOrder, SwapRunning, CannotBegin, PlanChanged, Unreachable."""
        earlier = await self._store.requested(order.tenant_id, order.request)
        if earlier is not None:
            return earlier
        plan = await self.plan(order.tenant_id, order.eid, order.target_id)
        if plan.terms is not None and not (order.by_lead or plan.terms.enterprise_may_order):
            text = "under resale, swaps are ordered by the lead carrier, unless the partnership says otherwise"
            raise MayNotOrder(text)
        if any(gate.missing is Missing.RUNNING for gate in plan.gates):
            running = await self._store.running(order.eid)
            if running is not None:
                raise SwapRunning(running)
        if plan.gates:
            raise CannotBegin(plan)
        if order.digest and order.digest != plan.digest:
            raise PlanChanged("the facts have changed since this plan was made: plan again")
        new = NewSwap(
            tenant_id=order.tenant_id,
            eid=order.eid,
            plan=plan,
            state=STATE_OF[plan.steps[0]],
            request=order.request,
            ordered_by=order.by,
            deadline_at=self._now() + self._timing.swap,
            iccid=Iccid(plan.held) if plan.held else None,
            actions=_first_actions(plan),
            told=(Told(text=f"ordered by {order.by}: {plan.way.value}", evidence=plan.digest),),
        )
        return await self._store.add(new, self._now())

    async def read(self, tenant_id: int, swap_id: int) -> tuple[Swap, History]:
        """A swap and what happened to it. Raises SwapUnknown."""
        swap = await self._known(tenant_id, swap_id)
        return swap, await self._store.history(swap_id)

    async def list(self, tenants: Sequence[int], chosen: Filter) -> list[Swap]:
        """Swaps of these tenants, newest first."""
        return await self._store.swaps(tenants, chosen)

    async def confirm(self, tenant_id: int, swap_id: int, confirmation: Confirmation, by: str) -> Swap:
        """The customer has allocated. The same again changes nothing. Raises SwapUnknown, TooLate, Malformed."""
        swap, history = await self.read(tenant_id, swap_id)
        if swap.state is not SwapState.AWAITING_CUSTOMER:
            if swap.confirmed and confirmation.iccid in (None, swap.iccid):
                return swap
            raise TooLate(f"swap {swap_id} is {swap.state.value} and waits for no confirmation")
        supplied = await self._supplied(swap, confirmation)
        confirmed = replace(supplied, confirmed=True, due_at=self._now())
        told = Told(text=f"allocation confirmed by {by}")
        asked = next((one for one in history.actions if one.about is About.ALLOCATION and not one.chosen), None)
        resolved = replace(asked, chosen="confirmed", chosen_by=by) if asked else None
        return await self._store.change(Change(swap=confirmed, told=(told,), resolved=resolved), self._now())

    async def cancel(self, tenant_id: int, swap_id: int, by: str) -> Swap:
        """Undo a swap that is before its pivot. The same again changes nothing. Raises SwapUnknown, TooLate.

        What a device has in its hands is waited for: should it be the enable that is done, the swap goes on.
        """
        swap = await self._known(tenant_id, swap_id)
        if swap.cancel_requested:
            return swap
        if swap.state not in UNDOABLE:
            raise TooLate(f"swap {swap_id} is {swap.state.value}: it can be cancelled no more")
        changed = replace(swap, cancel_requested=True, due_at=self._now())
        told = Told(text=f"cancellation asked for by {by}")
        return await self._store.change(Change(swap=changed, told=(told,)), self._now())

    async def decide(self, tenant_id: int, swap_id: int, number: int, choice: str, by: str) -> Action:
        """Settle an open action. The same again changes nothing. Raises SwapUnknown, TooLate, Malformed."""
        swap, history = await self.read(tenant_id, swap_id)
        action = next((one for one in history.actions if one.number == number), None)
        if action is None:
            raise SwapUnknown("there is no action of this number")
        if action.chosen:
            if action.chosen == choice:
                return action
            raise TooLate(f"action {number} is settled already: {action.chosen}")
        if choice not in action.options:
            raise Malformed(f"choose one of: {', '.join(action.options) or 'none; confirm the swap instead'}")
        settled = replace(action, chosen=choice, chosen_by=by, chosen_at=self._now())
        told = (Told(text=f"{by} decided on {action.about.value}: {choice}"),)
        if swap.state in ENDED:
            await self._store.resolve(swap, settled, told, self._now())
        else:
            due = replace(swap, due_at=self._now())
            await self._store.change(Change(swap=due, told=told, resolved=settled), self._now())
        return settled

    async def _known(self, tenant_id: int, swap_id: int) -> Swap:
        swap = await self._store.swap(tenant_id, swap_id)
        if swap is None:
            raise SwapUnknown("there is no swap of this id")
        return swap

    async def _supplied(self, swap: Swap, confirmation: Confirmation) -> Swap:
        """The swap with what a confirmation adds to it. Raises Malformed."""
        if swap.plan.way is Way.CUSTOMER_HELD:
            if confirmation.activation_code or confirmation.iccid not in (None, swap.iccid):
                raise Malformed(f"the card holds profile {swap.iccid} already: confirm without an activation code")
            return swap
        if confirmation.iccid is None or not confirmation.activation_code:
            raise Malformed("give the ICCID of the line and its activation code")
        ActivationCode.parse(confirmation.activation_code)
        sealed = await self._look.vault.wrap(confirmation.activation_code.encode(), activation_context(swap))
        return replace(swap, iccid=confirmation.iccid, activation_sealed=sealed)

    # Facts ------------------------------------------------------------------------------------------------------------

    async def _source(self, tenant_id: int, eid: Eid, card: Card | None) -> Source | None:
        """The line in use: from the carrier an earlier swap brought it from, else the lead's."""
        enabled = next((one for one in card.profiles if one.enabled), None) if card else None
        if enabled is None:
            return None
        owner = await self._owner(tenant_id, eid, enabled.iccid)
        return Source(carrier_id=owner[0], name=owner[1], iccid=enabled.iccid.digits)

    async def _owner(self, tenant_id: int, eid: Eid, iccid: Iccid) -> tuple[int, str]:
        """Id and name of the carrier a profile is from: what no swap has brought was there from the factory."""
        owner = await self._store.owner_of(tenant_id, eid, iccid)
        if owner is not None:
            return owner
        lead = await self._look.agreements.lead(tenant_id)
        return lead.id, lead.name

    async def _held(self, tenant_id: int, eid: Eid, card: Card | None, target: Target) -> tuple[Held, ...]:
        """The target's profiles on the card: those its platform knows, or that earlier swaps brought from there."""
        profiles = card.profiles if card else ()
        found = [await self._held_profile(tenant_id, eid, profile, target) for profile in profiles]
        mine = [held for held in found if held is not None]
        return tuple(sorted(mine, key=lambda held: not held.enabled))

    async def _held_profile(self, tenant_id: int, eid: Eid, profile: CardProfile, target: Target) -> Held | None:
        facts = None
        if target.capabilities.can_allocate:
            try:
                platform = await self._look.platforms.platform(target.id)
                facts = await platform.find(profile.iccid)
            except CarrierRefused as refused:
                raise Malformed(f"the platform of {target.name} cannot be asked: {refused}") from None
        if facts is not None:
            return Held(iccid=profile.iccid, enabled=profile.enabled, on_platform=True, account=facts.account)
        if (await self._owner(tenant_id, eid, profile.iccid))[0] != target.id:
            return None
        return Held(iccid=profile.iccid, enabled=profile.enabled, on_platform=False)


def _first_actions(plan: Plan) -> tuple[Action, ...]:
    name = plan.target.name
    if plan.way is Way.CUSTOMER:
        text = f"Have {name} allocate a line for eSIM {plan.eid}, then confirm with its ICCID and activation code."
    elif plan.way is Way.CUSTOMER_HELD:
        text = f"Check with {name} that line {plan.held} may be used, then confirm."
    else:
        return ()
    return (Action(about=About.ALLOCATION, kind=ActionKind.TASK, text=text, options=()),)

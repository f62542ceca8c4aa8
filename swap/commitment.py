"""The steps after the pivot: line in use, line billable, and what is left for the customer to decide."""

from __future__ import annotations

from dataclasses import replace

from swap.card_steps import DEVICE, fresh_list, profile_on_card
from swap.outcomes import Context, Done, FellBack, StepOutcome, Wait
from swap.ports import Billed, CardControl, CarrierRefused, OperationState, Platforms, Session
from swap.record import About, Action, ActionKind
from swap.swap import StepName

_COMMIT, _LEAVE = "commit", "leave"


class Verify:
    """The new line is in use: a session at its platform, or where none are told, the card's word over the new network.

    Nothing is billed before.
    """

    def __init__(self, platforms: Platforms, cards: CardControl) -> None:
        self._platforms = platforms
        self._cards = cards

    async def run(self, context: Context) -> StepOutcome:
        """Looks for the session; after the window it asks people, and goes on looking."""
        if await has_fallen_back(self._cards, context):
            return FellBack(why="the acknowledgement did not reach the card: it went back, says its signed result")
        if not context.swap.plan.target.capabilities.reports_sessions:
            return await self._by_card(context)
        platform = await self._platforms.platform(context.swap.plan.target.id)
        session = await platform.session(context.iccid)
        if session is not None and _is_new(session, context):
            return Done(evidence=f"session of {context.iccid} at the platform since {session.since.isoformat()}")
        chosen = context.history.chosen().get(About.NO_SESSION)
        if chosen:
            return Done(evidence=f"no session seen; the customer chose to {chosen}")
        return _no_session(context)

    async def _by_card(self, context: Context) -> StepOutcome:
        listed = await fresh_list(self._cards, context)
        if listed.state is not OperationState.DONE:
            return Wait(until=context.for_device(), why=DEVICE)
        profile = await profile_on_card(self._cards, context)
        if profile is None or not profile.enabled:
            why = f"the card's signed list says that {context.iccid} is not enabled any more: look at the device"
            return Wait(until=context.now + context.timing.retry, why=why, attention=True)
        return Done(evidence=f"the card's signed list over the new network: profile {context.iccid} is enabled")


def _is_new(session: Session, context: Context) -> bool:
    assert context.swap.enabled_at is not None, "the pivot is passed"
    enabled = context.history.entry(StepName.ENABLE, context.history.attempts(StepName.ENABLE))
    begun = enabled.started_at if enabled else context.swap.enabled_at
    return session.active and session.since >= begun - context.timing.skew


def _no_session(context: Context) -> Wait:
    swap = context.swap
    assert swap.enabled_at is not None, "the pivot is passed"
    if context.now < swap.enabled_at + context.timing.verify:
        return Wait(until=context.later(), why=f"waiting for a session of {context.iccid} at {swap.plan.target.name}")
    why = f"the card uses profile {context.iccid}, and {swap.plan.target.name} tells of no session"
    text = f"{why}. Commit makes the line billable without one; leave keeps it unbilled and ends the swap."
    action = Action(about=About.NO_SESSION, kind=ActionKind.DECISION, text=text, options=(_COMMIT, _LEAVE))
    asked = About.NO_SESSION in context.history.asked()
    return Wait(until=context.now + context.timing.latest, why=why, attention=True, actions=() if asked else (action,))


async def has_fallen_back(cards: CardControl, context: Context) -> bool:
    """Whether the card has said, after its first result, that it went back."""
    key = context.latest_key(StepName.ENABLE)
    operation = await cards.named(context.swap.tenant_id, key) if key else None
    return operation is not None and operation.state is OperationState.ROLLED_BACK


class Commit:
    """The line becomes billable where the platform lets us; elsewhere an action stays open for the customer."""

    def __init__(self, platforms: Platforms, cards: CardControl) -> None:
        self._platforms = platforms
        self._cards = cards

    async def run(self, context: Context) -> StepOutcome:
        """Activates; the platform's answer was read back."""
        target = context.swap.plan.target
        if await has_fallen_back(self._cards, context):
            return FellBack(why="the card went back after all, says its signed result")
        if context.history.chosen().get(About.NO_SESSION) == _LEAVE:
            return _left(context, "the customer chose not to commit without a session")
        if not target.capabilities.can_set_billable:
            return _left(context, f"{target.name} lets nobody but you set its billing state")
        try:
            facts = await (await self._platforms.platform(target.id)).activate(context.iccid)
        except CarrierRefused as refused:
            if not refused.permanent:
                raise
            return _left(context, f"{target.name} refuses to make the line active: {refused}")
        return Done(evidence=str(facts), swap=replace(context.swap, target_billed=facts.billed.value))


def _left(context: Context, why: str) -> Done:
    text = f"{why}: bring line {context.iccid} of {context.swap.plan.target.name} into its billing state, then say so"
    action = Action(about=About.BILLING, kind=ActionKind.TASK, text=text, options=("done",))
    return Done(evidence=f"{why}; left to the customer", actions=(action,))


class Close:
    """The line before is as it was. What becomes of it is the customer's decision, and stays open until it is made."""

    def __init__(self, platforms: Platforms) -> None:
        self._platforms = platforms

    async def run(self, context: Context) -> StepOutcome:
        """Reads what both lines cost now and opens the decision."""
        plan = context.swap.plan
        assert plan.source is not None, "a plan that is carried out names the line before"
        billed = await self._billed(context)
        lines = f"line {plan.source.iccid} of {plan.source.name} (billable: {billed})"
        lines += (
            f" and line {context.iccid} of {plan.target.name} (billable: {context.swap.target_billed or 'unknown'})"
        )
        text = f"Both lines may cost money: {lines}. Keep the first as a way back, or end it at {plan.source.name}."
        action = Action(about=About.SOURCE_LINE, kind=ActionKind.DECISION, text=text, options=("keep", "ended"))
        return Done(evidence=lines, swap=replace(context.swap, source_billed=billed.value), actions=(action,))

    async def _billed(self, context: Context) -> Billed:
        source = context.swap.plan.source
        assert source is not None, "as above"
        try:
            platform = await self._platforms.platform(source.carrier_id)
            facts = await platform.find(type(context.iccid)(source.iccid))
        except CarrierRefused:
            return Billed.UNKNOWN
        return Billed.UNKNOWN if facts is None else facts.billed

"""The steps that undo a swap before the pivot: first nothing new may happen, then what happened is taken back.

A profile that a card may hold returns to stock only after the card has deleted it under its signature, and its SIM only
after that; what cannot be taken back stays allocated, and a person is told.
"""

from __future__ import annotations

from enum import Enum

from swap.card_steps import DEVICE, ask
from swap.outcomes import Again, Context, Done, StepOutcome, Wait
from swap.plan import Way
from swap.ports import (
    CardControl,
    CarrierRefused,
    OperationState,
    OperationView,
    Platforms,
    ProfileSource,
    ProfileState,
    Returned,
)
from swap.record import About, Action, ActionKind
from swap.swap import StepName

_S = OperationState
_NOT_FOUND = 1
_REPLAY = 4
_ON_CARD = (StepName.DOWNLOAD, StepName.CONFIRM, StepName.ENABLE)


class Fate(Enum):
    """What the card has said under its signature about the profile that was to be deleted."""

    DELETED = "deleted"
    ABSENT = "not there"
    KEPT = "kept"
    OPEN = "open"
    LOST = "no answer"


def fate_of(operation: OperationView) -> Fate:
    """What the outcome of a delete says."""
    if operation.state is _S.DONE:
        return Fate.DELETED
    if operation.state is _S.FAILED and operation.result_code == _NOT_FOUND:
        return Fate.ABSENT
    if operation.state is _S.FAILED and operation.result_code != _REPLAY:
        return Fate.KEPT
    return Fate.LOST if operation.state in (_S.FAILED, _S.EXPIRED, _S.CANCELLED) else Fate.OPEN


class Withdraw:
    """Operations that no device has had are taken back, so that nothing new begins."""

    def __init__(self, cards: CardControl) -> None:
        self._cards = cards

    async def run(self, context: Context) -> StepOutcome:
        """Takes back what is still queued. What a device has is dealt with by the steps that follow."""
        swap, withdrawn = context.swap, 0
        for step in _ON_CARD:
            for attempt in range(1, context.history.attempts(step) + 1):
                operation = await self._cards.named(swap.tenant_id, swap.key(step, attempt))
                if operation is not None and operation.state is _S.QUEUED:
                    withdrawn += await self._cards.withdraw(swap.tenant_id, operation.id)
        return Done(evidence=f"operations withdrawn: {withdrawn}", actions=_left_with_customer(context))


def _left_with_customer(context: Context) -> tuple[Action, ...]:
    plan = context.swap.plan
    if plan.way is not Way.CUSTOMER or not context.swap.confirmed:
        return ()
    text = (
        f"Line {context.iccid} of {plan.target.name} is yours to end there. Its profile may be on the card, disabled:"
        " delete it if you do not want to keep it."
    )
    return (Action(about=About.KEPT_PROFILE, kind=ActionKind.TASK, text=text, options=("done",)),)


class Recall:
    """A profile that no card got goes back into stock at once; with it goes the right to download it."""

    def __init__(self, profiles: ProfileSource) -> None:
        self._profiles = profiles

    async def run(self, context: Context) -> StepOutcome:
        """Ends the order unless a card may hold the profile."""
        if context.swap.iccid is None:
            return Done(evidence="no profile was reserved")
        if await self._profiles.recall(context.key, context.stock, context.iccid, context.swap.eid):
            return Done(evidence=f"no card got profile {context.iccid}: its order is cancelled, it is back in stock")
        return Done(evidence=f"a card may hold profile {context.iccid}: it is to be deleted there first")


class DeleteOnCard:
    """The profile is deleted on the card, by a package of ours and a signed result of the card's."""

    def __init__(self, cards: CardControl, profiles: ProfileSource) -> None:
        self._cards = cards
        self._profiles = profiles

    async def run(self, context: Context) -> StepOutcome:
        """Deletes unless no card ever got it."""
        if not await is_out(self._profiles, context):
            return Done(evidence="no card holds the profile")
        operation = await ask(self._cards, context, "delete")
        fate = fate_of(operation)
        if fate is Fate.OPEN:
            return Wait(until=context.for_device(), why=DEVICE)
        last = context.entry.attempt >= context.timing.deletions
        if fate is Fate.LOST or (fate is Fate.KEPT and not last):
            return Again(why=f"the card did not delete the profile: {operation.detail or operation.state}")
        if fate is Fate.KEPT:
            return Done(
                evidence=f"the card keeps the profile: {operation.detail}", actions=(_kept(context, operation),)
            )
        return Done(evidence=f"the card's signed result: profile {context.iccid} is {fate.value}")


def _kept(context: Context, operation: OperationView) -> Action:
    text = (
        f"The card does not delete profile {context.iccid} ({operation.detail}). It stays out of stock, and its SIM in"
        f" account {context.swap.plan.terms.account.account if context.swap.plan.terms else ''}, not billable."
    )
    return Action(about=About.KEPT_PROFILE, kind=ActionKind.TASK, text=text, options=("done",))


async def is_out(profiles: ProfileSource, context: Context) -> bool:
    """Whether a card may hold the swap's profile."""
    if context.swap.iccid is None:
        return False
    state = await profiles.state(context.stock, context.iccid, context.swap.eid)
    return state in (ProfileState.HANDED_OUT, ProfileState.INSTALLED, ProfileState.FAILED)


async def _fate(cards: CardControl, context: Context) -> Fate | None:
    key = context.latest_key(StepName.DELETE)
    operation = await cards.named(context.swap.tenant_id, key) if key else None
    return fate_of(operation) if operation else None


class Return:
    """The deleted profile goes back into stock; one the card says it never had is withdrawn from it."""

    def __init__(self, cards: CardControl, profiles: ProfileSource) -> None:
        self._cards = cards
        self._profiles = profiles

    async def run(self, context: Context) -> StepOutcome:
        """Ends the order according to what the card has said."""
        if not await is_out(self._profiles, context):
            return Done(evidence="no order is open")
        fate = await _fate(self._cards, context)
        if fate not in (Fate.DELETED, Fate.ABSENT):
            return Done(evidence=f"profile {context.iccid} stays out of stock")
        reusable = fate is Fate.DELETED
        swap = context.swap
        profiles, stock = self._profiles, context.stock
        came = await profiles.give_back(context.key, stock, context.iccid, swap.eid, reusable=reusable)
        if came is Returned.KEPT:
            return _still_ordered(context)
        where = "back in stock"
        if came is Returned.WITHDRAWN:
            where = "withdrawn from stock, because no card has told where it went"
        return Done(evidence=f"order of profile {context.iccid} ended, {where}")


def _still_ordered(context: Context) -> StepOutcome:
    """It may have to hear of the deletion first, from the card's own notification: that is waited for, for a while."""
    why = f"the SM-DP+ of {context.swap.plan.target.name} does not say that profile {context.iccid} is back in stock"
    if context.now < context.entry.started_at + context.timing.report:
        return Wait(until=context.later(), why=f"{why} yet")
    text = f"{why}, although the card holds it no more: have the carrier see to it, then say so"
    action = Action(about=About.KEPT_PROFILE, kind=ActionKind.TASK, text=text, options=("done",))
    return Done(evidence=why, actions=(action,))


class Release:
    """The SIM goes back to the carrier's inventory."""

    def __init__(self, platforms: Platforms, cards: CardControl) -> None:
        self._platforms = platforms
        self._cards = cards

    async def run(self, context: Context) -> StepOutcome:
        """Gives the SIM back unless it was never taken, or the card keeps its profile."""
        swap, target = context.swap, context.swap.plan.target
        if not context.history.attempts(StepName.ALLOCATE) or swap.iccid is None or swap.plan.terms is None:
            return Done(evidence="no SIM was allocated")
        if await _fate(self._cards, context) is Fate.KEPT:
            return Done(evidence=f"SIM {swap.iccid} stays allocated, because the card keeps its profile")
        if not target.capabilities.can_release:
            return _sim_kept(context, f"{target.name} does not take SIMs back from here")
        try:
            platform = await self._platforms.platform(target.id)
            account = swap.plan.terms.account.account
            facts = await platform.release(swap.iccid, target.inventory_account, held_by=account)
        except CarrierRefused as refused:
            if not refused.permanent:
                raise
            return _sim_kept(context, f"{target.name} refuses to take the SIM back: {refused}")
        return Done(evidence=str(facts))


def _sim_kept(context: Context, why: str) -> Done:
    text = f"{why}: have SIM {context.iccid} brought back to the inventory, then say so"
    action = Action(about=About.KEPT_SIM, kind=ActionKind.TASK, text=text, options=("done",))
    return Done(evidence=why, actions=(action,))

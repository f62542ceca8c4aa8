"""The steps on the card: download, a signed list that confirms it, and the enable that is the pivot (SGP.32 3)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from crypto.vault import Vault
from swap.allocation import activation_context
from swap.outcomes import Again, Context, Done, Refused, StepOutcome, Wait
from swap.ports import CardControl, CardProfile, OperationState, OperationView, ProfileSource, ProfileState
from swap.swap import SwapState

_S = OperationState
_LOST = frozenset({_S.EXPIRED, _S.FAILED, _S.CANCELLED})
DEVICE = "waiting for the device to poll and answer"
_FAILED = "the download failed"


async def ask(
    cards: CardControl, context: Context, kind: str, *, key: str = "", rollback: bool = False
) -> OperationView:
    """Ask a command of the card under a key, this attempt's unless told; where it stands."""
    swap, name = context.swap, key or context.key
    found = await cards.named(swap.tenant_id, name)
    if found is not None:
        return found
    iccid = None if kind == "list" else context.iccid
    number = await cards.command(swap.tenant_id, name, swap.eid, kind, iccid, rollback, context.expires_at)
    return await looked_up(cards, context, number)


async def looked_up(cards: CardControl, context: Context, number: int) -> OperationView:
    """Where an operation stands that was just asked for."""
    found = await cards.operation(context.swap.tenant_id, number)
    assert found is not None, "an operation that was asked for stays on record"
    return found


async def fresh_list(cards: CardControl, context: Context) -> OperationView:
    """A list of profiles asked for within this attempt; one that got no answer is asked for again."""
    number = 1
    while True:
        key = f"{context.key}-list-{number}"
        found = await cards.named(context.swap.tenant_id, key)
        if found is None:
            return await ask(cards, context, "list", key=key)
        if found.state not in _LOST:
            return found
        number += 1


async def profile_on_card(cards: CardControl, context: Context) -> CardProfile | None:
    """The swap's profile as the card's latest signed results have it."""
    card = await cards.card(context.swap.tenant_id, context.swap.eid)
    found = card.profiles if card else ()
    return next((profile for profile in found if profile.iccid == context.iccid), None)


class Download:
    """The device downloads over ES9+. Two sides report it, each of them perhaps late or never: both are heard."""

    def __init__(self, cards: CardControl, profiles: ProfileSource, vault: Vault) -> None:
        self._cards = cards
        self._profiles = profiles
        self._vault = vault

    async def run(self, context: Context) -> StepOutcome:
        """Triggers the download, then compares the reports."""
        swap = context.swap
        assert swap.activation_sealed is not None, "the activation code was kept when it came"
        code = await self._vault.unwrap(swap.activation_sealed, activation_context(swap))
        number = await self._cards.download(swap.tenant_id, context.key, swap.eid, code.decode(), context.expires_at)
        operation = await looked_up(self._cards, context, number)
        if not swap.plan.from_our_stock:
            outcome = _told_by_card(context, operation)
        else:
            state = await self._profiles.state(context.stock, context.iccid, swap.eid)
            outcome = _told_by_both(context, operation, state)
        if isinstance(outcome, Wait) and operation.state is _S.SENT and operation.heard_at is not None:
            return await self._after_hearsay(context, operation, operation.heard_at)
        return outcome

    async def _after_hearsay(self, context: Context, operation: OperationView, heard_at: datetime) -> StepOutcome:
        """The device says that it could not, and neither card nor SM-DP+ does: the card's signed list decides.

        An attempt that ends like this counts for nothing but the pause before the next: anybody may have spoken.
        """
        why = f"the device says, unsigned, that {operation.hearsay}"
        card = await self._cards.card(context.swap.tenant_id, context.swap.eid)
        if card is None or card.listed_at is None or card.listed_at <= heard_at:
            text = f"{why}; asking the card for its signed list"
            return Wait(until=context.for_device(), why=text, attention=True)
        if not await self._cards.withdraw(context.swap.tenant_id, operation.id):
            return Wait(until=context.later(), why=why, attention=True)
        if any(profile.iccid == context.iccid for profile in card.profiles):
            return _downloaded(context, f"the card's signed list: profile {context.iccid} is there, though {why}")
        text = f"{why}, and profile {context.iccid} is not on the card's signed list: it is told again after a pause"
        return Again(why=text, after=context.pause())


def _told_by_card(context: Context, operation: OperationView) -> StepOutcome:
    if operation.state is _S.DONE:
        return _downloaded(context, "the card's signed installation result")
    return _not_yet(context, operation)


def _told_by_both(context: Context, operation: OperationView, state: ProfileState | None) -> StepOutcome:
    if operation.state is _S.DONE and state is ProfileState.INSTALLED:
        return _downloaded(context, "the card's signed installation result at the eIM, and the SM-DP+: installed")
    if operation.state is _S.DONE:
        assert operation.ended_at is not None, "what is done has ended"
        if context.now < operation.ended_at + context.timing.report:
            return Wait(until=context.later(), why="the card has reported to the eIM, and not yet to the SM-DP+")
        return _downloaded(context, "the card's signed installation result at the eIM; the SM-DP+ has no report")
    if state is ProfileState.INSTALLED and operation.state in _LOST:
        return _downloaded(context, "the SM-DP+: installed; the eIM has no report")
    if state is None or state is ProfileState.FAILED:
        return Refused(why=f"the SM-DP+ lets nobody download profile {context.iccid} any more: {operation.detail}")
    return _not_yet(context, operation)


def _not_yet(context: Context, operation: OperationView) -> StepOutcome:
    if operation.state is _S.CANCELLED:
        return Refused(why="somebody withdrew the download")
    if operation.state is _S.EXPIRED:
        return Again(why="the device did not report the download in time")
    if operation.state is _S.FAILED:
        before = sum(entry.evidence.startswith(_FAILED) for entry in context.history.ledger)
        last = before + 1 >= context.timing.downloads
        why = f"{_FAILED}: {operation.detail}"
        return Refused(why=why) if last else Again(why=why)
    return Wait(until=context.for_device(), why=DEVICE)


def _downloaded(context: Context, evidence: str) -> Done:
    return Done(evidence=evidence, swap=replace(context.swap, activation_sealed=None))


class ConfirmOnCard:
    """The card's signed list: the profile is there, and disabled."""

    def __init__(self, cards: CardControl) -> None:
        self._cards = cards

    async def run(self, context: Context) -> StepOutcome:
        """Asks for the list and reads what it says about the profile."""
        operation = await ask(self._cards, context, "list")
        if operation.state in _LOST:
            return Again(why=f"the card did not list its profiles: {operation.detail or operation.state}")
        if operation.state is not _S.DONE:
            return Wait(until=context.for_device(), why=DEVICE)
        profile = await profile_on_card(self._cards, context)
        if profile is None:
            return Refused(why=f"the card's signed list does not name profile {context.iccid}")
        if profile.enabled:
            return Refused(why=f"profile {context.iccid} is enabled already, and not by this swap")
        return Done(evidence=f"the card's signed list: profile {context.iccid} is there, disabled")


class Enable:
    """The pivot: a signed enable with permission to go back; its signed result decides."""

    def __init__(self, cards: CardControl) -> None:
        self._cards = cards

    async def run(self, context: Context) -> StepOutcome:
        """Asks once. What a device has in its hands cannot be taken back: its outcome is waited for."""
        operation = await self._cards.named(context.swap.tenant_id, context.key)
        if operation is None and context.wants_out:
            return Refused(why=context.wants_out)
        if operation is None:
            operation = await ask(self._cards, context, "enable", rollback=True)
        return await self._judged(context, operation)

    async def _judged(self, context: Context, operation: OperationView) -> StepOutcome:
        if operation.state is _S.DONE:
            return _enabled(context, f"the card's signed result, acknowledged: profile {context.iccid} enabled")
        if operation.state is _S.ROLLED_BACK:
            return Refused(why="the card went back, says its signed result", ending=SwapState.ROLLED_BACK)
        if operation.state in _LOST:
            return await self._without_result(context, operation)
        if operation.state is _S.QUEUED and context.wants_out:
            withdrawn = await self._cards.withdraw(context.swap.tenant_id, operation.id)
            return Refused(why=context.wants_out) if withdrawn else Wait(until=context.for_device(), why=DEVICE)
        return Wait(until=context.for_device(), why=DEVICE)

    async def _without_result(self, context: Context, operation: OperationView) -> StepOutcome:
        if operation.state is _S.CANCELLED:
            return Refused(why=context.wants_out or "somebody withdrew the enable")
        if operation.state is _S.EXPIRED and operation.sent_at is None:
            return Refused(why=context.wants_out) if context.wants_out else Again(why="the device did not poll in time")
        return await self._cleared_up(context, operation)

    async def _cleared_up(self, context: Context, operation: OperationView) -> StepOutcome:
        """No result, or an error: only the card's signed list says which profile is enabled now.

        A card that has answered a later package obeys the earlier one no more, so the list is the last word.
        """
        listed = await fresh_list(self._cards, context)
        why = f"the enable came to '{operation.detail or operation.state}'"
        if listed.state is not _S.DONE:
            text = f"{why}; asking the card which profile is enabled"
            return Wait(until=context.for_device(), why=text, attention=True)
        profile = await profile_on_card(self._cards, context)
        if profile is not None and profile.enabled:
            return _enabled(context, f"{why}, and the card's signed list: profile {context.iccid} is enabled")
        return Refused(why=f"{why}, and the card's signed list: profile {context.iccid} is not enabled")


def _enabled(context: Context, evidence: str) -> Done:
    return Done(evidence=evidence, swap=replace(context.swap, enabled_at=context.now))

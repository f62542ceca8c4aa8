"""The steps of the stage allocation: profile reserved, SIM in the enterprise's account, activation code at hand."""

from __future__ import annotations

from dataclasses import replace

from crypto.vault import Vault
from swap.outcomes import Context, Done, Refused, StepOutcome, Wait
from swap.plan import Account
from swap.ports import Platforms, ProfileSource
from swap.record import Swap


def activation_context(swap: Swap) -> bytes:
    """Context of the sealed activation code: the eSIM it is for, which is known before the swap has an id."""
    return f"swap-activation-code:{swap.tenant_id}:{swap.eid}".encode()


class Reserve:
    """A profile of the carrier's stock, ordered for this eSIM alone."""

    def __init__(self, profiles: ProfileSource) -> None:
        self._profiles = profiles

    async def run(self, context: Context) -> StepOutcome:
        """Orders any profile; the same key gets the same one."""
        iccid = await self._profiles.reserve(context.key, context.stock, context.swap.eid)
        return Done(
            evidence=f"profile {iccid} ordered for eSIM {context.swap.eid} alone",
            swap=replace(context.swap, iccid=iccid),
        )


class Allocate:
    """The SIM moves from the carrier's inventory to the enterprise's account, connectable and not billable."""

    def __init__(self, platforms: Platforms) -> None:
        self._platforms = platforms

    async def run(self, context: Context) -> StepOutcome:
        """Allocates; the platform's answer was read back."""
        platform = await self._platforms.platform(context.swap.plan.target.id)
        facts = await platform.allocate(context.iccid, account_of(context))
        return Done(evidence=str(facts), swap=replace(context.swap, target_billed=facts.billed.value))


class CheckAllocated:
    """The card holds the profile already: its SIM must be in this enterprise's account, says the platform."""

    def __init__(self, platforms: Platforms) -> None:
        self._platforms = platforms

    async def run(self, context: Context) -> StepOutcome:
        """Reads; changes nothing."""
        platform = await self._platforms.platform(context.swap.plan.target.id)
        facts = await platform.find(context.iccid)
        if facts is None or facts.account != account_of(context).account:
            where = "not known to the platform" if facts is None else f"in account {facts.account}"
            return Refused(why=f"SIM {context.iccid} is {where} and not in this enterprise's account any more")
        return Done(evidence=str(facts), swap=replace(context.swap, target_billed=facts.billed.value))


class Customer:
    """A carrier without integration: the customer allocates there, and says so here."""

    async def run(self, context: Context) -> StepOutcome:
        """Waits for the confirmation, which makes the swap due at once."""
        swap = context.swap
        if not swap.confirmed:
            return Wait(until=swap.deadline_at, why=f"waiting for you to allocate at {swap.plan.target.name}")
        code = "" if swap.activation_sealed is None else " and supplied the activation code"
        return Done(evidence=f"the customer confirmed the allocation of {context.iccid}{code}")


class Prepare:
    """The order is released, bound to this eSIM; the activation code is kept sealed."""

    def __init__(self, profiles: ProfileSource, vault: Vault) -> None:
        self._profiles = profiles
        self._vault = vault

    async def run(self, context: Context) -> StepOutcome:
        """Releases; the same key gets the same activation code."""
        swap = context.swap
        code = await self._profiles.release(context.key, context.stock, context.iccid, swap.eid)
        sealed = await self._vault.wrap(code.encode(), activation_context(swap))
        return Done(
            evidence=f"order of {context.iccid} released for eSIM {swap.eid} alone",
            swap=replace(swap, activation_sealed=sealed),
        )


def account_of(context: Context) -> Account:
    """Where the SIM goes; a plan that is carried out has terms."""
    assert context.swap.plan.terms is not None, "a plan without terms is never carried out"
    return context.swap.plan.terms.account

"""Cisco IoT Control Center behind the neutral contract: read, change at most once, read back.

The API has no idempotency key. So nothing is asked for twice before a read has shown that it is still not so, and
nothing counts as done before a read has shown that it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from weakref import WeakValueDictionary

from carriers import control_center_values as values
from carriers.base import Account, Capabilities, PlatformRefused, Session, SimFacts, SimState
from carriers.control_center_rest import ControlCenterRest
from rsp.errors import Unreachable
from rsp.identifiers import Iccid

_CAPABILITIES = Capabilities(
    can_allocate=True,
    can_release=True,
    can_set_billable=True,
    has_connectable_unbilled_state=True,
    reports_sessions=True,
    settable_states=frozenset(values.WORDS),
)
_NEEDS_ACCOUNT = (SimState.TEST, SimState.READY, SimState.ACTIVE)
_Proof = Callable[[SimFacts], bool]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ControlCenter:
    """One carrier's Control Center. See carriers.base.Platform for the outcomes of every call."""

    capabilities = _CAPABILITIES

    def __init__(
        self, rest: ControlCenterRest, inventory_account: str = "", clock: Callable[[], datetime] = _utc_now
    ) -> None:
        """With `inventory_account`, SIMs are taken from that account alone; without, wherever they are in stock."""
        self._rest = rest
        self._inventory = inventory_account
        self._clock = clock
        self._locks: WeakValueDictionary[Iccid, asyncio.Lock] = WeakValueDictionary()

    async def find(self, iccid: Iccid) -> SimFacts | None:
        """What the platform says about the SIM; None when it does not know it."""
        async with self._bounded():
            return self._facts(iccid, await self._rest.read(values.DEVICE.format(iccid=iccid)))

    async def allocate(self, iccid: Iccid, target: Account) -> SimFacts:
        """Move the SIM to the account in TEST_READY. One that is there already, tested or active, is left as it is."""
        values.check_target(target)

        def allocated(facts: SimFacts) -> bool:
            return facts.is_in(target) and facts.state in (SimState.TEST, SimState.ACTIVE)

        async with self._alone(iccid):
            facts = await self._known(iccid)
            if allocated(facts):
                return facts
            if facts.account == target.account:
                _check_adjustable(facts)
                return await self._edit(iccid, _differences(facts, target), allocated)
            self._check_in_stock(facts)
            body = {
                "accountId": target.account,
                "iccids": [iccid.digits],
                "ratePlanName": target.rate_plan,
                "commPlanName": target.communication_plan,
                "simState": values.WORDS[SimState.TEST],
            }
            return await self._change(iccid, "POST", values.TRANSFER, body, allocated)

    async def release(self, iccid: Iccid, inventory_account: str, *, held_by: str = "") -> SimFacts:
        """Move the SIM back to the inventory account and state; a billed one has to be deactivated first."""

        def released(facts: SimFacts) -> bool:
            return facts.account == inventory_account and facts.raw_state == values.IN_STOCK

        async with self._alone(iccid):
            facts = await self._known(iccid)
            if released(facts):
                return facts
            if facts.state is SimState.ACTIVE:
                raise PlatformRefused("billed", f"{iccid} is active and billed; deactivate it first", permanent=True)
            if facts.account == inventory_account:
                return await self._edit(iccid, {"status": values.IN_STOCK}, released)
            _check_holder(facts, held_by)
            body = {"accountId": inventory_account, "iccids": [iccid.digits], "simState": values.IN_STOCK}
            return await self._change(iccid, "POST", values.TRANSFER, body, released)

    async def set_state(self, iccid: Iccid, state: SimState, *, held_by: str = "") -> SimFacts:
        """Set the SIM's status; one that has it already is not touched."""
        if state not in values.WORDS:
            known = ", ".join(sorted(values.WORDS))
            raise PlatformRefused("unsupported_state", f"{state} is none of {known}", permanent=True)

        def reached(facts: SimFacts) -> bool:
            # The first session turns READY into ACTIVE by itself, perhaps before we read.
            return facts.state is state or (state is SimState.READY and facts.state is SimState.ACTIVE)

        async with self._alone(iccid):
            facts = await self._known(iccid)
            _check_holder(facts, held_by)
            if facts.state is state:
                return facts
            if facts.state is SimState.INVENTORY and state in _NEEDS_ACCOUNT:
                raise PlatformRefused("not_allocated", f"{iccid} is in the inventory; allocate it", permanent=True)
            return await self._edit(iccid, {"status": values.WORDS[state]}, reached)

    async def session(self, iccid: Iccid) -> Session | None:
        """The current or latest session; None when there was none or the SIM is not known."""
        path = values.SESSION.format(iccid=iccid)
        async with self._bounded():
            members = await self._rest.read(path)
        try:
            return None if members is None else values.read_session(iccid, members)
        except (ValueError, TypeError) as error:
            raise Unreachable(f"the platform's answer to GET {path} cannot be understood") from error

    async def check(self) -> None:
        """Try the credentials. Raises PlatformRefused, Unreachable."""
        if await self._rest.read_once(values.ECHO) is None:
            raise PlatformRefused("no_echo", "the platform has no echo here: check base_url", permanent=False)

    @asynccontextmanager
    async def _alone(self, iccid: Iccid) -> AsyncIterator[None]:
        """Between the read and the read back of one SIM, nobody else changes it from here."""
        lock = self._locks.setdefault(iccid, asyncio.Lock())
        async with self._bounded(), lock:
            yield

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._rest.timing.longest):
                yield
        except TimeoutError as error:
            raise Unreachable("the platform took too long; whether it did what was asked is not known") from error

    async def _known(self, iccid: Iccid) -> SimFacts:
        facts = await self.find(iccid)
        if facts is None:
            raise PlatformRefused("not_found", f"the platform does not know {iccid}", permanent=True)
        return facts

    async def _edit(self, iccid: Iccid, body: Mapping[str, object], proof: _Proof) -> SimFacts:
        return await self._change(iccid, "PUT", values.DEVICE.format(iccid=iccid), body, proof)

    async def _change(
        self, iccid: Iccid, method: str, path: str, body: Mapping[str, object], proof: _Proof
    ) -> SimFacts:
        """Ask once, then read until it is so. A refusal, too, is read back: an earlier call may have come late."""
        doubt = "it was accepted and is not seen yet"
        try:
            await self._rest.change(method, path, body)
        except Unreachable as error:
            doubt = str(error)
        except PlatformRefused:
            facts = await self._known(iccid)
            if proof(facts):
                return facts
            raise
        for pause in self._rest.timing.settling:
            await self._rest.pause(pause)
            seen = await self._seen(iccid)
            if seen is not None and proof(seen):
                return seen
        raise Unreachable(f"whether {method} {path} was done for {iccid} is not known: {doubt}")

    async def _seen(self, iccid: Iccid) -> SimFacts | None:
        try:
            return self._facts(iccid, await self._rest.read_once(values.DEVICE.format(iccid=iccid)))
        except Unreachable:
            return None

    def _facts(self, iccid: Iccid, members: Mapping[str, object] | None) -> SimFacts | None:
        if members is None:
            return None
        try:
            facts = values.read_facts(members, self._inventory, self._clock())
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise Unreachable(f"the platform's details of {iccid} cannot be understood") from error
        if facts.iccid != iccid:
            raise Unreachable(f"the platform answered with the details of {facts.iccid} instead of {iccid}")
        return facts

    def _check_in_stock(self, facts: SimFacts) -> None:
        elsewhere = facts.account != self._inventory if self._inventory else facts.raw_state != values.IN_STOCK
        if elsewhere or facts.state in (SimState.ACTIVE, SimState.RETIRED, SimState.UNKNOWN):
            text = f"{facts.iccid} is in account {facts.account} as {facts.raw_state}, not in the inventory"
            raise PlatformRefused("not_in_stock", text, permanent=True)


def _check_holder(facts: SimFacts, held_by: str) -> None:
    if held_by and facts.account != held_by:
        text = f"{facts.iccid} is in account {facts.account} and not in {held_by} any more"
        raise PlatformRefused("elsewhere", text, permanent=True)


def _check_adjustable(facts: SimFacts) -> None:
    """Whether a SIM that is in the account already may be put under other plans or into the test state."""
    if facts.state in (SimState.ACTIVE, SimState.RETIRED, SimState.UNKNOWN):
        text = f"{facts.iccid} is {facts.raw_state} under {facts.rate_plan} and {facts.communication_plan} already"
        raise PlatformRefused("in_use", text, permanent=True)


def _differences(facts: SimFacts, target: Account) -> dict[str, object]:
    """What an edit must say so that a SIM in the right account gets its plans and the test state."""
    wanted = {
        "ratePlan": (facts.rate_plan, target.rate_plan),
        "communicationPlan": (facts.communication_plan, target.communication_plan),
        "status": (facts.raw_state, values.WORDS[SimState.TEST]),
    }
    return {name: after for name, (before, after) in wanted.items() if before != after}

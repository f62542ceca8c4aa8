"""A server that dies between any two steps of a registration leaves nothing half-done (SGP.22 3.6.1, 5.3.2, 5.3.4)."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

import pytest

from rsp.errors import Refused
from rsp.status import Status
from simulator.card import Card
from simulator.lpa_messages import CancelReason
from simulator.smds import Trouble
from smdp.event import Event
from smdp.event_ports import SmDs
from smdp.ordering import Ordering
from smdp.ports import OrderingStore, OrderingWork
from smdp.recovery import Target, VendorFunctions
from store.ordering import Orderings
from tests.protocol_attempt import attempt
from tests.protocol_stage import NAME, Clock, Material, Ordered
from tests.smds_stage import EventStage, es12_client, es12_session


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


@dataclass(slots=True)
class Fate:
    """Dies at the step of this number, counted from 1; `passed` names those that went well."""

    dies_at: int
    passed: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        """Go on, or die."""
        if len(self.passed) + 1 == self.dies_at:
            raise Killed(name)
        self.passed.append(name)


@dataclass(slots=True)
class MortalStore:
    """The store, for a process that may die before and after each commit."""

    store: OrderingStore
    fate: Fate

    @asynccontextmanager
    async def begin(self, tenant_id: int) -> AsyncIterator[OrderingWork]:
        """One transaction."""
        self.fate.step("begin")
        async with self.store.begin(tenant_id) as work:
            yield work
            self.fate.step("before the commit")
        self.fate.step("after the commit")


@dataclass(slots=True)
class MortalSmDs:
    """ES12, for a process that may die before and after each call."""

    smds: SmDs
    fate: Fate

    async def register(self, event: Event, *, forwarding: bool) -> None:
        """RegisterEvent."""
        self.fate.step("before the call")
        await self.smds.register(event, forwarding=forwarding)
        self.fate.step("after the call")

    async def delete(self, event: Event) -> None:
        """DeleteEvent: the worker's, which is another process."""
        raise AssertionError("no function of ES2+ deletes an event itself")


class Afterwards(Enum):
    """What the operator does about a call that broke off."""

    SAME_ID = "the same call again"
    NEW_ID = "the same under another call id"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One function that releases an order: how it is prepared, called, and where the order stands before it."""

    before: str
    prepare: Callable[[EventStage, Card], Awaitable[Ordered]]
    call: Callable[[EventStage, Ordered, str, Ordering, VendorFunctions], Awaitable[object]]


async def _linked(at: EventStage, card: Card) -> Ordered:
    return await at.linked(card.eid)


async def _confirmed(at: EventStage, card: Card) -> Ordered:
    return await at.confirm(await at.linked(card.eid), release=False)


async def _failed(at: EventStage, card: Card) -> Ordered:
    ordered = await at.announced(card.eid)
    trial = await attempt(at.stage, card, ordered.matching_id).begun()
    await trial.cancel(CancelReason.END_USER_REJECTION)
    await at.settle()
    return ordered


async def _confirm(at: EventStage, ordered: Ordered, call_id: str, own: Ordering, _: VendorFunctions) -> object:
    return await at.confirm(ordered, call_id=call_id, ordering=own)


async def _release(at: EventStage, ordered: Ordered, call_id: str, own: Ordering, _: VendorFunctions) -> None:
    await own.release_profile(at.stage.call(ordered.tenant_id, call_id), ordered.iccid)


async def _recover(at: EventStage, ordered: Ordered, call_id: str, _: Ordering, vendor: VendorFunctions) -> None:
    await vendor.recover_profile(at.stage.call(ordered.tenant_id, call_id), ordered.iccid, Target.RELEASED)


CASES = {
    "confirmOrder": Case(before="linked", prepare=_linked, call=_confirm),
    "releaseProfile": Case(before="confirmed", prepare=_confirmed, call=_release),
    "recoverProfile": Case(before="error", prepare=_failed, call=_recover),
}
TROUBLES = (None, Trouble.DROP_BEFORE, Trouble.DROP_AFTER, Status.SMDS_ERROR)


@pytest.fixture
async def at(database: str, material: Material, clock: Clock) -> AsyncIterator[EventStage]:
    async with EventStage.opened(database, material, clock) as opened:
        yield opened


@pytest.mark.parametrize("trouble", TROUBLES, ids=str)
@pytest.mark.parametrize("function", CASES)
@pytest.mark.parametrize("afterwards", Afterwards)
async def test_death_at_every_step_leaves_an_order_with_its_event_or_neither(
    at: EventStage, function: str, trouble: Trouble | Status | None, afterwards: Afterwards
) -> None:
    deaths = []
    for dies_at in itertools.count(1):
        death = await _life(at, CASES[function], trouble, afterwards, dies_at)
        if death is None:
            break
        deaths.append(death)
    # First try, intent, call, and then the release or the withdrawal.
    assert deaths[:3] == ["begin", "begin", "before the commit"]
    assert {"before the call", "after the commit"} <= set(deaths)
    assert len(deaths) >= 8


async def _life(
    at: EventStage, case: Case, trouble: Trouble | Status | None, afterwards: Afterwards, dies_at: int
) -> str | None:
    """One order whose release dies at a step; answers which, or None when it ended before. States what must hold."""
    card = at.stage.card()
    ordered = await case.prepare(at, card)
    if trouble is not None:
        at.smds.fail_next("registerEvent", trouble)
    async with es12_session(at.stage.material.pki, at.smds) as http:
        fate = Fate(dies_at)
        store, smds = MortalStore(Orderings(at.stage.pool), fate), MortalSmDs(es12_client(http), fate)
        stage = at.stage
        own = Ordering(store, stage.material.vault, stage.policy, stage.clock.now, smds)
        vendor = VendorFunctions(store, stage.policy, stage.clock.now, smds)
        death = None
        try:
            await case.call(at, ordered, "first", own, vendor)
        except Killed as killed:
            death = str(killed)
        except Refused:
            assert trouble is not None
    at.smds.forget_troubles()
    await _afterwards(at, case, ordered, afterwards)
    await _consistent(at, ordered, card, case.before, must_be_released=afterwards is not Afterwards.NOTHING)
    # Nobody else may meet what is left of this one under its call id.
    await at.stage.tables.execute("DELETE FROM es2_calls")
    return death


async def _afterwards(at: EventStage, case: Case, ordered: Ordered, afterwards: Afterwards) -> None:
    if afterwards is Afterwards.NOTHING:
        return
    call_id = "first" if afterwards is Afterwards.SAME_ID else "second"
    await case.call(at, ordered, call_id, at.stage.ordering, at.vendor)


async def _consistent(at: EventStage, ordered: Ordered, card: Card, before: str, *, must_be_released: bool) -> None:
    """Once the worker has done its part, the order has its one event, or stands where it stood and has none."""
    await at.settle()
    order = await at.stage.order_row(ordered.iccid)
    live = [state for state in await at.rows(ordered) if state != "withdrawn"]
    if order["state"] == "released":
        assert (at.smds.events(card.eid), live) == ([(order["matching_id"], NAME)], ["registered"])
    else:
        assert not must_be_released
        assert (order["state"], at.smds.events(card.eid), live) == (before, [], [])
    assert await at.unsent() == 0

"""Whole swaps over a troublesome platform: whatever it answers at whatever call, nothing is done twice or too early."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from eim.operation import Operation, OperationKind
from simulator.platforms.control_center import Trouble
from simulator.platforms.control_center_book import Transfer
from smdp.policy import Policy
from store.embedded import EmbeddedPostgres
from swap.record import Outcome, Swap
from swap.swap import StepName
from tests.eim_stage import LEAD, SMDP, Device
from tests.protocol_stage import Clock, Material
from tests.swap_stage import ACCOUNT, INVENTORY, QUICK, Operator, SimLine, SwapStage, no_attach

pytestmark = pytest.mark.asyncio(loop_scope="module")

_numbers = itertools.count(1)
_TURNS_OF_TROUBLE = 3
_HASTY = replace(QUICK, timeout=0.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a swap to a platform: the step that makes it, and how many of its kind come before it in the swap."""

    step: StepName
    operation: str
    after: int = 0

    def __str__(self) -> str:
        return f"{self.step}-{self.operation}-{self.after}"


_S = StepName
FORWARD = [
    Call(step=_S.ALLOCATE, operation="read"),
    Call(step=_S.ALLOCATE, operation="transfer"),
    Call(step=_S.ALLOCATE, operation="read", after=1),
    Call(step=_S.VERIFY, operation="session"),
    Call(step=_S.COMMIT, operation="read", after=2),
    Call(step=_S.COMMIT, operation="edit"),
    Call(step=_S.COMMIT, operation="read", after=3),
    Call(step=_S.CLOSE, operation="read"),
]
BACK = [
    Call(step=_S.RELEASE, operation="read", after=2),
    Call(step=_S.RELEASE, operation="transfer", after=1),
    Call(step=_S.RELEASE, operation="read", after=3),
]
EVERYWHERE = [
    Trouble.RATE_LIMIT,
    Trouble.ERROR_BEFORE,
    Trouble.ERROR_AFTER,
    Trouble.DROP_BEFORE,
    Trouble.DROP_AFTER,
    Trouble.BUSY_AFTER,
]
CHANGES = [*EVERYWHERE, Trouble.GATEWAY_AFTER, Trouble.LATER, Trouble.TWICE]
NOT_DONE = {Trouble.RATE_LIMIT, Trouble.ERROR_BEFORE, Trouble.DROP_BEFORE}


def _cases(calls: list[Call]) -> list[Any]:
    return [
        pytest.param(call, trouble, id=f"{call}-{trouble.value}")
        for call in calls
        for trouble in (CHANGES if call.operation in ("transfer", "edit") else EVERYWHERE)
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres: EmbeddedPostgres, material: Material) -> AsyncIterator[SwapStage]:
    """One world for all; each test has a partner and a device of its own."""
    name = f"swap_troubles_{next(_numbers)}"
    database = postgres.create_database(name, template="template_migrated")
    async with SwapStage.opened(database, material, Clock(), Policy(server_names=(SMDP,))) as opened:
        _watch(opened)
        yield opened
    postgres.drop_database(name)


def _watch(world: SwapStage) -> None:
    """No download is asked of a card before the platform has shown that its SIM is allocated."""
    packages = world.eim.eim.packages
    queue = packages.queue

    async def watched(tenant_id: int, key: str, eid: Any, kind: OperationKind, **more: Any) -> Operation:
        if kind is OperationKind.DOWNLOAD:
            (row,) = await world.smdp.tables.fetch(
                "SELECT swaps.iccid, swap_steps.outcome, swap_steps.evidence FROM swaps JOIN swap_steps"
                " ON swap_steps.swap_id = swaps.id AND swap_steps.step = 'allocate_sim' AND outcome = 'done'"
                " WHERE swaps.eid = $1 AND swaps.ended_at IS NULL",
                str(eid),
            )
            assert row["evidence"].startswith(f"SIM {row['iccid']} in account {ACCOUNT}, TEST_READY, billable: no")
        return await queue(tenant_id, key, eid, kind, **more)

    packages.queue = watched  # type: ignore[method-assign]  # a listener on the way in


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A device that is to be swapped to a partner with one profile in stock."""

    world: SwapStage
    partner: Operator
    device: Device
    iccid: Any
    swap: Swap

    def fail(self, call: Call, trouble: Trouble, times: int = 1) -> None:
        """Let a call go wrong."""
        whose = self.world.lead if call.step is _S.CLOSE else self.partner
        assert whose.platform is not None
        whose.platform.fail_next(call.operation, trouble, times, after=call.after)

    async def ends(self) -> Swap:
        """The swap at its end; before its allocation is proved, nothing of the card's is touched."""
        for _ in range(60):
            found, history = await self.world.read(self.swap)
            if found.ended_at is not None:
                return found
            if not any(one.step is _S.ALLOCATE and one.outcome is Outcome.DONE for one in history.ledger):
                await self.untouched()
            await self.world.turn(self.device)
        raise AssertionError(f"the swap is {found.state}: {[one.text for one in history.timeline]}")

    async def untouched(self) -> None:
        """Nothing waits for the card but the list from before the swap, nothing is on it, nobody can download."""
        operations = [(one.kind, one.state) for one in await self.world.eim.seen(self.device.card.eid)]
        assert operations == [("list", "done")]
        assert self.device.states() == {str(LEAD): True}
        order = await self.world.smdp.order_row(self.iccid)
        assert order is None or order["state"] in ("allocated", "linked")

    def completed(self) -> None:
        """Transferred once, billed once, after the enable; the lead's line is as it was."""
        world, book = self.world, self.partner.book
        assert self.device.states() == {str(LEAD): False, str(self.iccid): True}
        assert world.line(self.partner, self.iccid) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
        assert book.transfers == [Transfer(iccid=self.iccid, source=INVENTORY, target=ACCOUNT)]
        assert [one.after for one in book.changes if one.field == "status"] == ["TEST_READY", "ACTIVATED"]
        assert world.line(world.lead, LEAD) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)

    def rolled_back(self) -> None:
        """There and back once, never billed."""
        book = self.partner.book
        assert self.device.states() == {str(LEAD): True}
        assert self.world.line(self.partner, self.iccid) == SimLine(account=INVENTORY, status="INVENTORY", billed=0)
        there = Transfer(iccid=self.iccid, source=INVENTORY, target=ACCOUNT)
        assert book.transfers == [there, Transfer(iccid=self.iccid, source=ACCOUNT, target=INVENTORY)]
        assert [one.after for one in book.changes if one.field == "status"] == ["TEST_READY", "INVENTORY"]

    async def each_step_once(self, ended: Swap) -> None:
        """The ledger has one attempt of each step, done."""
        _, history = await self.world.read(ended)
        assert [(one.step, one.attempt, one.outcome) for one in history.ledger] == [
            (step, 1, Outcome.DONE) for step in ended.plan.steps
        ]


async def _scene(world: SwapStage) -> Scene:
    partner = await world.partner(f"partner-{next(_numbers)}")
    iccid = await world.stocked(partner)
    device = await world.device()
    swap = await world.order(device.card.eid, partner)
    return Scene(world=world, partner=partner, device=device, iccid=iccid, swap=swap)


@pytest.mark.parametrize(("call", "trouble"), _cases(FORWARD))
async def test_a_swap_is_carried_out_once_whatever_a_platform_answers(
    world: SwapStage, call: Call, trouble: Trouble
) -> None:
    scene = await _scene(world)
    scene.fail(call, trouble)
    ended = await scene.ends()
    assert (ended.state, ended.attention) == ("completed", "")
    scene.completed()
    await scene.each_step_once(ended)
    if call.operation in ("transfer", "edit"):
        assert scene.partner.platform is not None
        assert scene.partner.platform.count(call.operation) == (2 if trouble in NOT_DONE else 1)


@pytest.mark.parametrize(("call", "trouble"), _cases(BACK))
async def test_a_swap_is_undone_once_whatever_a_platform_answers(
    world: SwapStage, call: Call, trouble: Trouble
) -> None:
    scene = await _scene(world)
    no_attach(scene.device, scene.iccid)
    scene.fail(call, trouble)
    ended = await scene.ends()
    assert ended.state == "rolled_back"
    scene.rolled_back()
    assert await world.stock_of(scene.iccid) == ("available", "deleted")


@pytest.mark.parametrize("call", [one for one in FORWARD if one.operation in ("transfer", "edit")], ids=str)
async def test_a_slow_answer_is_waited_for(world: SwapStage, call: Call) -> None:
    scene = await _scene(world)
    scene.fail(call, Trouble.HELD)
    assert scene.partner.platform is not None
    platform = scene.partner.platform
    waiting = asyncio.create_task(scene.ends())
    await platform.wait_until_held(within=30.0)
    platform.resume()
    ended = await waiting
    assert ended.state == "completed"
    scene.completed()
    await scene.each_step_once(ended)
    assert platform.count(call.operation) == 1


@pytest.mark.parametrize("call", FORWARD[:2] + FORWARD[4:6], ids=str)
async def test_no_answer_at_all_holds_the_swap_and_an_answer_too_late_is_found_by_reading(
    world: SwapStage, call: Call
) -> None:
    world.registry.timing = _HASTY
    scene = await _scene(world)
    scene.fail(call, Trouble.HELD)
    assert scene.partner.platform is not None
    platform = scene.partner.platform
    for _ in range(60):
        await world.turn(scene.device)
        if platform.held:
            break
    for _ in range(_TURNS_OF_TROUBLE):
        await world.turn(scene.device)
    held, history = await world.read(scene.swap)
    assert (held.step, held.attempt, held.ended_at) == (call.step, 1, None)
    assert history.timeline[-1].text.startswith(f"{call.step.value}: not known yet")
    if call.step is _S.ALLOCATE:
        await scene.untouched()
    # What was asked for so long ago is done now, and nobody hears the answer.
    platform.resume()
    world.registry.timing = QUICK
    ended = await scene.ends()
    assert ended.state == "completed"
    scene.completed()
    await scene.each_step_once(ended)
    assert (platform.count("transfer"), platform.count("edit")) == (1, 1)


@pytest.mark.parametrize("trouble", [*EVERYWHERE, Trouble.GATEWAY_AFTER])
@pytest.mark.parametrize("call", FORWARD[:3], ids=str)
async def test_nothing_is_triggered_while_an_allocation_is_not_proved(
    world: SwapStage, call: Call, trouble: Trouble
) -> None:
    scene = await _scene(world)
    scene.fail(call, trouble, times=10_000)
    assert scene.partner.platform is not None
    for _ in range(_TURNS_OF_TROUBLE):
        await world.turn(scene.device)
        found, _ = await world.read(scene.swap)
        if found.step is not _S.ALLOCATE:
            break
        await scene.untouched()
    # A transfer that was done counts as soon as a read shows it; without one that can be read, nothing goes on.
    proved = call.operation == "transfer" and trouble not in NOT_DONE
    assert (found.step is not _S.ALLOCATE) is proved
    scene.partner.platform.recover()
    ended = await scene.ends()
    assert ended.state == "completed"
    scene.completed()
    await scene.each_step_once(ended)


@pytest.mark.parametrize("trouble", EVERYWHERE)
async def test_a_platform_in_trouble_for_long_bills_nothing_twice(world: SwapStage, trouble: Trouble) -> None:
    scene = await _scene(world)
    for call in FORWARD[4:]:
        scene.fail(call, trouble, times=5)
    ended = await scene.ends()
    assert ended.state == "completed"
    scene.completed()
    await scene.each_step_once(ended)

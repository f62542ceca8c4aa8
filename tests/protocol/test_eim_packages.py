"""The eIM and strict cards over ESipa: packages executed, repeated, lost, refused; state of tables and cards."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from crypto.curves import Curve
from eim.operation import OperationKind
from simulator.ipa import Did, Ipa
from tests.eim_stage import LEAD, OTHER, TARGET, EimStage, SeenOperation, poll_request
from tests.protocol_stage import CURVES, Clock, Material

NOTHING = bytes.fromhex("bf4f03020101")
UNKNOWN_EID = bytes.fromhex("bf4f03020102")


@pytest.fixture
async def eim(database: str, material: Material, clock: Clock) -> AsyncIterator[EimStage]:
    async with EimStage.opened(database, material, clock) as opened:
        yield opened


async def closing(*ipas: Ipa) -> None:
    for ipa in ipas:
        await ipa.close()


@pytest.mark.parametrize("curve", CURVES)
async def test_an_enable_is_executed_acknowledged_and_known(eim: EimStage, curve: Curve) -> None:
    device = await eim.device(curve=curve)
    eid = device.card.eid
    asked = await eim.queue(eid, OperationKind.ENABLE, iccid=TARGET, rollback=True)
    polled = await device.ipa.poll()
    await closing(device.ipa)
    assert (polled.did, polled.delivered, polled.rolled_back, polled.detail) == (Did.EXECUTED, True, False, "")
    assert await eim.judge() == [("done", True)]
    assert await eim.seen(eid) == [SeenOperation(kind="enable", state="done", counter=1, code=0)]
    assert device.states() == {str(LEAD): False, str(TARGET): True}
    assert await eim.known(eid) == {str(TARGET): True}
    assert device.card.iot.results == []
    assert device.card.iot.permission is None
    row = await eim.row(asked)
    assert row["ended_at"] == eim.clock.now()


async def test_a_list_tells_every_profile_and_an_enable_moves_them(eim: EimStage) -> None:
    device = await eim.device(profiles=(TARGET, OTHER))
    eid = device.card.eid
    await eim.queue(eid, OperationKind.LIST)
    await eim.queue(eid, OperationKind.ENABLE, iccid=TARGET)
    await device.ipa.poll()
    await eim.judge()
    assert await eim.known(eid) == {str(LEAD): True, str(TARGET): False, str(OTHER): False}
    await device.ipa.poll()
    await eim.judge()
    await closing(device.ipa)
    assert await eim.known(eid) == device.states() == {str(LEAD): False, str(TARGET): True, str(OTHER): False}
    assert await eim.seen(eid) == [
        SeenOperation(kind="list", state="done", counter=1, code=0),
        SeenOperation(kind="enable", state="done", counter=2, code=0),
    ]


async def test_disable_and_delete_are_executed_and_known(eim: EimStage) -> None:
    device = await eim.device()
    eid = device.card.eid
    for kind, iccid in ((OperationKind.LIST, None), (OperationKind.DELETE, TARGET)):
        await eim.queue(eid, kind, iccid=iccid)
        await device.ipa.poll()
        await eim.judge()
    await closing(device.ipa)
    assert await eim.known(eid) == device.states() == {str(LEAD): True}


async def test_nothing_waits_and_an_unknown_card_is_told_apart(eim: EimStage) -> None:
    device = await eim.device()
    assert await eim.post(poll_request(device.card.eid)) == (200, NOTHING)
    stranger = eim.material.issuers[Curve.P256].eid(99)
    assert await eim.post(poll_request(stranger)) == (200, UNKNOWN_EID)
    await closing(device.ipa)


async def test_the_same_bytes_are_handed_over_until_the_result_is_here(eim: EimStage) -> None:
    device = await eim.device()
    eid = device.card.eid
    await eim.queue(eid, OperationKind.ENABLE, iccid=TARGET, rollback=True)
    await eim.queue(eid, OperationKind.LIST)
    first = await eim.post(poll_request(eid))
    assert [await eim.post(poll_request(eid)) for _ in range(3)] == [first] * 3
    assert await eim.counter(eid) == 1
    assert [one.state for one in await eim.seen(eid)] == ["sent", "queued"]
    await closing(device.ipa)


async def test_a_package_is_not_repeated_while_its_result_waits_for_judgement(eim: EimStage) -> None:
    device = await eim.device()
    eid = device.card.eid
    await eim.queue(eid, OperationKind.LIST)
    await eim.queue(eid, OperationKind.ENABLE, iccid=TARGET)
    await device.ipa.poll()
    assert (await device.ipa.poll()).did is Did.FOUND_NOTHING
    await eim.judge()
    assert (await device.ipa.poll()).did is Did.EXECUTED
    await closing(device.ipa)
    assert await eim.judge() == [("done", True), ("done", True)]


async def test_a_code_of_the_card_is_the_end_of_the_operation(eim: EimStage) -> None:
    device = await eim.device()
    eid = device.card.eid
    await eim.queue(eid, OperationKind.ENABLE, iccid=OTHER)
    await device.ipa.poll()
    await closing(device.ipa)
    assert await eim.judge() == [("failed", True)]
    assert await eim.seen(eid) == [SeenOperation(kind="enable", state="failed", counter=1, code=1)]
    assert device.states() == {str(LEAD): True, str(TARGET): False}


async def test_no_attach_rolls_back_and_the_report_arrives_over_the_old_network(eim: EimStage) -> None:
    from simulator.network import Line

    device = await eim.device()
    device.network.lines[TARGET] = Line(attaches=False)
    eid = device.card.eid
    await eim.queue(eid, OperationKind.LIST)
    await device.ipa.poll()
    await eim.judge()
    await eim.queue(eid, OperationKind.ENABLE, iccid=TARGET, rollback=True)
    polled = await device.ipa.poll()
    await closing(device.ipa)
    assert (polled.rolled_back, polled.delivered) == (True, True)
    assert await eim.judge() == [("done", True), ("rolled_back", True)]
    assert (await eim.seen(eid))[1] == SeenOperation(kind="enable", state="rolled_back", counter=2, code=0)
    assert await eim.known(eid) == device.states() == {str(LEAD): True, str(TARGET): False}
    assert device.network.attached == LEAD


async def test_lost_acknowledgements_roll_back_what_was_already_done(eim: EimStage) -> None:
    device = await eim.device()
    eid = device.card.eid
    await eim.queue(eid, OperationKind.LIST)
    await device.ipa.poll()
    await eim.judge()
    device.losses.lose_answers("provideEimPackageResult", 2)
    await eim.queue(eid, OperationKind.ENABLE, iccid=TARGET, rollback=True)
    polled = await device.ipa.poll()
    await closing(device.ipa)
    assert polled.rolled_back is True
    assert [outcome for outcome, _ in await eim.judge()] == ["done", "done", "repeated", "rolled_back"]
    assert (await eim.seen(eid))[1].state == "rolled_back"
    assert await eim.known(eid) == device.states() == {str(LEAD): True, str(TARGET): False}


async def test_lost_acknowledgements_without_permission_leave_it_done_once(eim: EimStage) -> None:
    device = await eim.device()
    eid = device.card.eid
    device.losses.lose_answers("provideEimPackageResult", 2)
    await eim.queue(eid, OperationKind.ENABLE, iccid=TARGET)
    await device.ipa.poll()
    await device.ipa.poll()
    await closing(device.ipa)
    outcomes = await eim.judge()
    assert outcomes == [("done", True), ("repeated", True), ("repeated", True)]
    assert await eim.seen(eid) == [SeenOperation(kind="enable", state="done", counter=1, code=0)]
    assert device.states() == {str(LEAD): False, str(TARGET): True}


async def test_a_lost_package_is_fetched_again(eim: EimStage) -> None:
    device = await eim.device()
    eid = device.card.eid
    await eim.queue(eid, OperationKind.ENABLE, iccid=TARGET)
    device.losses.lose_answers("getEimPackage", 1)
    lost = await device.ipa.poll()
    assert lost.did is Did.FOUND_NO_CONTACT
    polled = await device.ipa.poll()
    await closing(device.ipa)
    assert polled.delivered is True
    await eim.judge()
    assert await eim.seen(eid) == [SeenOperation(kind="enable", state="done", counter=1, code=0)]

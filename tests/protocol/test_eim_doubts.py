"""What the eIM must not believe, and how it clears up what it cannot know: replays, forged and unsigned results."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from eim.operation import OperationKind
from eim.ports import KeyReused
from rsp import tlv
from rsp.identifiers import Eid
from simulator import ipa_messages
from simulator.eim_association import AssociatedEim
from simulator.ipa import Did
from simulator.lpa_messages import Device as DeviceInfo
from simulator.misbehaviour import Misbehaviour
from tests.eim_stage import LEAD, OTHER, STRANGER, TARGET, TENANT, Device, EimStage, SeenOperation, poll_request
from tests.protocol_stage import Clock, Material

NOTHING = bytes.fromhex("bf4f03020101")


@pytest.fixture
async def eim(database: str, material: Material, clock: Clock) -> AsyncIterator[EimStage]:
    async with EimStage.opened(database, material, clock) as opened:
        yield opened


async def package(eim: EimStage, eid: Eid) -> bytes:
    """What a poll gives."""
    status, answer = await eim.post(poll_request(eid))
    assert status == 200
    return next(tlv.read_only(answer, 0xBF4F).children()).raw


async def hand_in(eim: EimStage, eid: Eid, result: bytes) -> bytes:
    """ProvideEimPackageResult as anybody can send it."""
    status, answer = await eim.post(tlv.wrap(0xBF50, tlv.wrap(0x5A, eid.to_bytes()), result))
    assert status == 200
    return answer


async def executed_and_refused(eim: EimStage, device: Device) -> None:
    """The card executes a package, its result is lost, and the same package again is a replay."""
    eid = device.card.eid
    device.card.load_euicc_package(await package(eim, eid))
    await hand_in(eim, eid, device.card.load_euicc_package(await package(eim, eid)))
    await eim.judge()


async def test_a_replay_asks_for_the_stored_result_and_believes_it(eim: EimStage) -> None:
    device = await eim.device()
    eid = device.card.eid
    await eim.queue(eid, OperationKind.ENABLE, iccid=TARGET, rollback=True)
    await eim.queue(eid, OperationKind.LIST)
    await executed_and_refused(eim, device)
    assert [(one.kind, one.state) for one in await eim.seen(eid)] == [
        ("enable", "doubtful"),
        ("list", "queued"),
        ("read", "queued"),
    ]
    request = tlv.read_only(await package(eim, eid), 0xBF52)
    answer = ipa_messages.answer_data_request(request, device.card, DeviceInfo())
    await hand_in(eim, eid, answer.raw)
    await eim.judge()
    assert await eim.seen(eid) == [
        SeenOperation(kind="enable", state="done", counter=1, code=0),
        SeenOperation(kind="list", state="queued", counter=None, code=None),
        SeenOperation(kind="read", state="done", counter=None, code=0),
    ]


@pytest.mark.parametrize(("happened", "state", "code"), [(True, "done", 0), (False, "failed", 4)])
async def test_a_replay_without_a_stored_result_is_cleared_up_by_the_cards_list(
    eim: EimStage, happened: bool, state: str, code: int
) -> None:
    device = await eim.device()
    eid = device.card.eid
    await eim.queue(eid, OperationKind.ENABLE, iccid=TARGET, rollback=True)
    if happened:
        await executed_and_refused(eim, device)
    else:
        device.card.iot.eims[0] = _with_counter(device, 1)
        await hand_in(eim, eid, device.card.load_euicc_package(await package(eim, eid)))
        await eim.judge()
    device.card.iot.results.clear()
    assert (await device.ipa.poll()).did is Did.TOLD
    await eim.judge()
    assert [(one.kind, one.state) for one in await eim.seen(eid)] == [
        ("enable", "doubtful"),
        ("read", "done"),
        ("list", "queued"),
    ]
    assert (await device.ipa.poll()).did is Did.EXECUTED
    await device.ipa.close()
    await eim.judge()
    assert await eim.seen(eid) == [
        SeenOperation(kind="enable", state=state, counter=1, code=code),
        SeenOperation(kind="read", state="done", counter=None, code=0),
        SeenOperation(kind="list", state="done", counter=2, code=0),
    ]
    assert await eim.known(eid) == device.states() == {str(LEAD): not happened, str(TARGET): happened}


def _with_counter(device: Device, counter: int) -> AssociatedEim:
    return replace(device.card.iot.eims[0], counter=counter)


async def test_a_card_that_refuses_every_counter_fails_and_asks_no_further(eim: EimStage) -> None:
    device = await eim.device()
    eid = device.card.eid
    device.card.iot.eims[0] = _with_counter(device, 1000)
    await eim.queue(eid, OperationKind.DELETE, iccid=TARGET)
    for _ in range(5):
        await device.ipa.poll()
        await eim.judge()
    await device.ipa.close()
    assert await eim.seen(eid) == [
        SeenOperation(kind="delete", state="failed", counter=1, code=4),
        SeenOperation(kind="read", state="done", counter=None, code=0),
        SeenOperation(kind="list", state="failed", counter=2, code=4),
    ]
    assert device.states() == {str(LEAD): True, str(TARGET): False}


@pytest.mark.parametrize(
    ("misbehaviour", "outcome"),
    [
        (Misbehaviour.UNSIGNED_PACKAGE_ERROR, ("unsigned-error", False)),
        (Misbehaviour.WRONG_PACKAGE_RESULT_SIGNATURE, ("bad-signature", False)),
        (Misbehaviour.ECALL_ACTIVE, ("postponed", True)),
    ],
)
async def test_what_proves_nothing_moves_nothing(
    eim: EimStage, misbehaviour: Misbehaviour, outcome: tuple[str, bool]
) -> None:
    device = await eim.device()
    eid = device.card.eid
    await eim.queue(eid, OperationKind.DISABLE, iccid=LEAD)
    device.card.misbehave = frozenset({misbehaviour})
    before = await package(eim, eid)
    await hand_in(eim, eid, device.card.load_euicc_package(before))
    assert await eim.judge() == [outcome]
    assert await eim.seen(eid) == [SeenOperation(kind="disable", state="sent", counter=1, code=None)]
    assert await eim.known(eid) == {}
    assert await package(eim, eid) == before


async def test_a_signature_of_version_1_0_is_believed(eim: EimStage) -> None:
    device = await eim.device()
    device.card.misbehave = frozenset({Misbehaviour.OLD_PACKAGE_RESULT_SIGNATURE})
    await eim.queue(device.card.eid, OperationKind.ENABLE, iccid=TARGET)
    await device.ipa.poll()
    await device.ipa.close()
    assert await eim.judge() == [("done", True)]


async def test_a_card_without_a_token_is_believed(eim: EimStage) -> None:
    device = await eim.device(token=False)
    await eim.queue(device.card.eid, OperationKind.ENABLE, iccid=TARGET)
    await device.ipa.poll()
    await device.ipa.close()
    assert await eim.judge() == [("done", True)]


async def test_a_result_handed_in_again_moves_nothing(eim: EimStage) -> None:
    device = await eim.device(profiles=(TARGET, OTHER))
    eid = device.card.eid
    results = []
    for iccid in (TARGET, OTHER):
        await eim.queue(eid, OperationKind.ENABLE, iccid=iccid)
        results.append(device.card.load_euicc_package(await package(eim, eid)))
        await hand_in(eim, eid, results[-1])
        await eim.judge()
    await hand_in(eim, eid, results[0])
    assert await eim.judge() == [("done", True), ("done", True), ("repeated", True)]
    assert await eim.known(eid) == {str(TARGET): False, str(OTHER): True}


async def test_a_result_of_another_card_is_no_result(eim: EimStage) -> None:
    ours, foreign = await eim.device(), await eim.device()
    await eim.queue(ours.card.eid, OperationKind.ENABLE, iccid=TARGET)
    await eim.queue(foreign.card.eid, OperationKind.ENABLE, iccid=TARGET)
    theirs = foreign.card.load_euicc_package(await package(eim, foreign.card.eid))
    await package(eim, ours.card.eid)
    await hand_in(eim, ours.card.eid, theirs)
    assert await eim.judge() == [("mismatch", False)]
    assert [one.state for one in await eim.seen(ours.card.eid)] == ["sent"]
    assert [one.state for one in await eim.seen(foreign.card.eid)] == ["sent"]


async def test_garbage_is_refused_or_kept_as_malformed(eim: EimStage) -> None:
    assert (await eim.post(b""))[0] == 400
    assert (await eim.post(b"\xbf\x99\x00"))[0] == 400
    assert (await eim.post(b"\xbf\x4f\x00")) == (200, bytes.fromhex("bf4f03020104"))
    assert (await eim.post(bytes.fromhex("bf4f035a01ff"))) == (200, bytes.fromhex("bf4f03020103"))
    assert (await eim.post(b"{}", **{"Content-Type": "application/json"}))[0] == 415
    assert (await eim.post(b"\xbf\x50\x00")) == (200, bytes.fromhex("bf50023000"))
    assert await eim.judge() == [("malformed", False)]


async def test_an_expired_operation_is_not_handed_over_and_a_late_result_still_counts(eim: EimStage) -> None:
    device = await eim.device()
    eid = device.card.eid
    await eim.queue(eid, OperationKind.ENABLE, iccid=TARGET)
    result = device.card.load_euicc_package(await package(eim, eid))
    eim.clock.advance(days=2)
    assert await eim.post(poll_request(eid)) == (200, NOTHING)
    assert [one.state for one in await eim.seen(eid)] == ["expired"]
    await hand_in(eim, eid, result)
    assert await eim.judge() == [("done", True)]
    assert await eim.seen(eid) == [SeenOperation(kind="enable", state="done", counter=1, code=0)]


async def test_a_late_result_does_not_undo_what_a_later_one_told(eim: EimStage) -> None:
    device = await eim.device()
    eid = device.card.eid
    await eim.queue(eid, OperationKind.ENABLE, iccid=TARGET)
    late = device.card.load_euicc_package(await package(eim, eid))
    eim.clock.advance(days=2)
    await eim.queue(eid, OperationKind.ENABLE, iccid=LEAD)
    await hand_in(eim, eid, device.card.load_euicc_package(await package(eim, eid)))
    await eim.judge()
    await hand_in(eim, eid, late)
    assert await eim.judge() == [("done", True), ("done", True)]
    assert await eim.known(eid) == {str(LEAD): True}
    assert device.states() == {str(LEAD): True, str(TARGET): False}


async def test_the_sweep_expires_what_nobody_fetched(eim: EimStage) -> None:
    device = await eim.device()
    await eim.queue(device.card.eid, OperationKind.LIST)
    assert await eim.eim.packages.expire_due() == 0
    eim.clock.advance(days=1)
    assert await eim.eim.packages.expire_due() == 1
    assert [one.state for one in await eim.seen(device.card.eid)] == ["expired"]


async def test_a_key_names_one_operation_and_no_tenant_sees_anothers(eim: EimStage) -> None:
    device = await eim.device()
    eid, control = device.card.eid, eim.eim.control()
    until = eim.clock.now() + timedelta(hours=1)
    first = await control.command(TENANT, "k", eid, "enable", TARGET, True, until)
    assert await control.command(TENANT, "k", eid, "enable", TARGET, True, until) == first
    with pytest.raises(KeyReused):
        await control.command(TENANT, "k", eid, "enable", OTHER, True, until)
    assert await control.operation(STRANGER, first) is None
    assert await control.card(STRANGER, eid) is None
    assert await control.withdraw(STRANGER, first) is False
    assert await control.withdraw(TENANT, first) is True
    assert await control.withdraw(TENANT, first) is False
    view = await control.operation(TENANT, first)
    assert view is not None
    assert view.state.value == "cancelled"


async def test_an_operation_handed_over_is_not_withdrawn(eim: EimStage) -> None:
    device = await eim.device()
    asked = await eim.queue(device.card.eid, OperationKind.LIST)
    await package(eim, device.card.eid)
    assert await eim.eim.packages.cancel(TENANT, asked.id) is False


async def test_used_up_counters_end_the_operation_with_a_reason(eim: EimStage) -> None:
    device = await eim.device(counter=8_388_606)
    eid = device.card.eid
    for _ in range(2):
        await eim.queue(eid, OperationKind.LIST)
        await device.ipa.poll()
        await eim.judge()
    await device.ipa.close()
    assert await eim.seen(eid) == [
        SeenOperation(kind="list", state="done", counter=8_388_607, code=0),
        SeenOperation(kind="list", state="failed", counter=None, code=None),
    ]


async def test_onboarding_refuses_a_certificate_of_another_card_and_another_tenant(eim: EimStage) -> None:
    from eim.association import OnboardingRefused
    from eim.ports import EsimExists

    device, other = await eim.device(), await eim.device()
    assert (await eim.onboard(device.card)).tenant_id == TENANT
    with pytest.raises(EsimExists):
        await eim.onboard(device.card, tenant_id=STRANGER)
    chain = other.card.credentials[0]
    with pytest.raises(OnboardingRefused, match="is that of eUICC"):
        await eim.eim.onboarding.onboard(
            TENANT, device.card.eid, chain.eum_certificate, chain.euicc_certificate, None, 0
        )
    with pytest.raises(OnboardingRefused, match="not trusted"):
        await eim.eim.onboarding.onboard(TENANT, device.card.eid, b"", b"", None, 0)

"""What a device says without its card's signature moves nothing, and is not waited out in silence (SGP.32 6.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from eim.operation import OperationKind
from rsp import tlv
from smdp.policy import Policy
from swap.record import Swap
from swap.swap import StepName
from tests.conformance import conforms
from tests.eim_stage import LEAD, SMDP, Device, SeenOperation, poll_request
from tests.protocol_stage import Clock, Material
from tests.swap_stage import ACCOUNT, INVENTORY, Operator, SimLine, SwapStage

SAID = "the device says, unsigned, that it could not download: undefined error"


@pytest.fixture
async def world(database: str, material: Material, clock: Clock, policy: Policy) -> AsyncIterator[SwapStage]:
    async with SwapStage.opened(database, material, clock, policy) as opened:
        yield opened


async def _begun(world: SwapStage) -> tuple[Operator, Device, Swap]:
    """A swap whose download the device is told of."""
    partner = await world.partner("partner")
    await world.stocked(partner)
    device = await world.device()
    swap = await world.order(device.card.eid, partner)
    await world.run()
    assert (await world.read(swap))[0].step is StepName.DOWNLOAD
    return partner, device, swap


async def _downloads(world: SwapStage, device: Device) -> list[tuple[str, str]]:
    return [(one.kind, one.state) for one in await world.eim.seen(device.card.eid)][1:]


@conforms(
    "SGP.32 3.2.3",
    "an unsigned error of a download ends nothing: the card is asked, and its signed list decides",
    function="provideEimPackageResult",
    binding="asn1",
    where="eim/results.py",
)
async def test_a_device_that_could_not_download_is_asked_at_once_and_told_again(world: SwapStage) -> None:
    partner, device, swap = await _begun(world)
    device.losses.lose_requests("authenticateClient", 1)
    await device.ipa.poll()
    await world.judged()
    world.clock.advance(seconds=2)
    await world.run()
    waiting, _ = await world.read(swap)
    assert (waiting.step, waiting.attempt) == (StepName.DOWNLOAD, 1)
    assert waiting.attention == f"{SAID}; asking the card for its signed list"
    # The download has not moved; the question about it goes first.
    assert await _downloads(world, device) == [("download", "sent"), ("list", "queued")]
    await device.ipa.poll()
    await world.judged()
    await world.run()
    again, history = await world.read(swap)
    assert (again.step, again.attempt) == (StepName.DOWNLOAD, 2)
    assert again.attention.startswith(SAID)
    assert "is not on the card's signed list" in history.ledger[-1].evidence
    assert await _downloads(world, device) == [("download", "expired"), ("list", "done")]
    ended = await world.until(swap, device)
    assert (ended.state, ended.attention) == ("completed", "")
    assert ended.iccid is not None
    assert world.line(partner, ended.iccid) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
    assert len(partner.book.transfers) == 1
    assert device.states() == {str(LEAD): False, str(ended.iccid): True}


async def test_a_device_that_goes_on_failing_neither_ends_the_swap_nor_is_told_without_pause(world: SwapStage) -> None:
    partner, device, swap = await _begun(world)
    device.losses.lose_requests("initiateAuthentication")
    for _ in range(30):
        await world.turn(device)
    found, history = await world.read(swap)
    attempts = history.attempts(StepName.DOWNLOAD)
    # More than the failures a signed word allows; between them the card is asked, and there is a pause.
    assert found.state == "downloading"
    assert world.swaps.desk._timing.downloads < attempts <= 11
    assert found.attention.startswith(SAID)
    device.losses.lose_requests("initiateAuthentication", 0)
    ended = await world.until(swap, device)
    assert ended.state == "completed"
    assert ended.iccid is not None
    assert world.line(partner, ended.iccid).billed == 1


async def test_a_device_that_goes_on_failing_can_be_given_up_and_nothing_is_left(world: SwapStage) -> None:
    partner, device, swap = await _begun(world)
    device.losses.lose_requests("initiateAuthentication")
    for _ in range(5):
        await world.turn(device)
    await world.swaps.desk.cancel(world.tenant_id, swap.id, "test")
    ended = await world.until(swap, device)
    assert ended.state == "cancelled"
    assert ended.iccid is not None
    assert world.line(partner, ended.iccid) == SimLine(account=INVENTORY, status="INVENTORY", billed=0)
    assert device.states() == {str(LEAD): True}
    # What the device may still have in hand stands in the way of nothing else.
    await world.eim.queue(device.card.eid, OperationKind.LIST, tenant_id=world.tenant_id)
    await device.ipa.poll()
    await world.judged()
    assert (await world.eim.seen(device.card.eid))[-1].state == "done"


async def test_a_profile_the_card_lists_is_there_whatever_its_device_says(world: SwapStage) -> None:
    partner, device, swap = await _begun(world)
    device.losses.lose_answers("provideEimPackageResult", 2)
    device.losses.lose_requests("handleNotification")
    await device.ipa.poll()
    row = await world.smdp.tables.fetchrow("SELECT transaction_id FROM esim_operations WHERE kind = 'download'")
    # The installation result is lost on the way; what comes in its place is an error.
    await world.smdp.tables.execute("DELETE FROM eim_results WHERE judged_at IS NULL")
    await _says(world, device, row["transaction_id"])
    device.ipa._unsent.clear()
    ended = await world.until(swap, device)
    assert ended.state == "completed"
    assert ended.iccid is not None
    _, history = await world.read(swap)
    evidence = history.ledger[3].evidence
    assert evidence.startswith("the card's signed list: profile")
    assert world.line(partner, ended.iccid).billed == 1


async def test_who_knows_an_eid_can_neither_end_a_download_nor_keep_the_device_from_it(world: SwapStage) -> None:
    partner, device, swap = await _begun(world)
    for _ in range(3):
        _, answer = await world.eim.post(poll_request(device.card.eid))
        assert answer
        row = await world.smdp.tables.fetchrow(
            "SELECT transaction_id FROM esim_operations WHERE kind = 'download' AND ended_at IS NULL"
        )
        if row is not None:
            await _says(world, device, row["transaction_id"])
        await world.run()
    found, _ = await world.read(swap)
    assert (found.step, found.attempt) == (StepName.DOWNLOAD, 1)
    ended = await world.until(swap, device)
    assert ended.state == "completed"
    assert ended.iccid is not None
    assert world.line(partner, ended.iccid).billed == 1


async def test_a_download_of_a_customer_shows_what_the_device_says_and_can_be_withdrawn(world: SwapStage) -> None:
    device = await world.device()
    tenant, eim = world.tenant_id, world.eim.eim
    code = f"1${SMDP}$NOBODY-KNOWS"
    made = await world.eim.queue(device.card.eid, OperationKind.DOWNLOAD, activation_code=code, tenant_id=tenant)
    await device.ipa.poll()
    await world.judged()
    told = await eim.packages.operation(tenant, made.id)
    assert told is not None
    assert (told.state, told.hearsay) == ("sent", "it could not download: undefined error")
    assert not await eim.packages.cancel(tenant, made.id)
    world.clock.advance(seconds=1)
    await device.ipa.poll()
    await world.judged()
    assert await eim.packages.cancel(tenant, made.id)
    assert (await world.eim.seen(device.card.eid))[1] == SeenOperation(
        kind="download", state="expired", counter=None, code=None
    )


async def _says(world: SwapStage, device: Device, transaction_id: bytes) -> None:
    """Anybody says that the download could not be done."""
    world.clock.advance(seconds=1)
    error = tlv.wrap(0xBF54, tlv.wrap(0x82, transaction_id) + tlv.wrap(0x30, tlv.wrap(0x80, b"\x7f")))
    status, _ = await world.eim.post(tlv.wrap(0xBF50, tlv.wrap(0x5A, device.card.eid.to_bytes()) + error))
    assert status == 200
    await world.judged()
    world.clock.advance(seconds=1)

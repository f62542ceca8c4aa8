"""What operators let their orders do: devices and eUICCs, lifetime, binding of packages (SGP.22 5.6.3, 3.1.3)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rsp import saip, tlv
from rsp.errors import Refused
from rsp.status import Status
from simulator.card import Card
from simulator.euicc_info import EuiccProperties
from simulator.lpa_messages import Device
from smdp.ordering import ConfirmOrder, DownloadOrder
from smdp.policy import Policy
from tests.conformance import conforms
from tests.protocol_attempt import attempt
from tests.protocol_stage import NAME, START, Ordered, Seen, Stage, installed_on, refuses

TAC, OTHER_TAC = "35290611", "86012345"
IMEI, OTHER_IMEI = "352906110000019", "352906110000027"
IOT = EuiccProperties(extra_info2=tlv.wrap(0xB4, tlv.wrap(0xA0, tlv.wrap(0x04, b"\x01\x02\x00"))))


async def refused(stage: Stage, ordered: Ordered, card: Card, device: Device, words: str) -> None:
    """Refused as not eligible with these words, told to the operator with the same; and no attempt is used up."""
    before = await stage.seen(ordered)
    trial = attempt(stage, card, ordered.matching_id, device)
    await trial.initiate()
    with pytest.raises(Refused, match=words) as raised:
        await trial.authenticate()
    detail = raised.value.detail
    assert raised.value.status is Status.NOT_ELIGIBLE
    assert (len(detail) < 128, detail.isascii()) == (True, True)
    after = await stage.seen(ordered)
    assert (after.order, after.downloads, after.eid) == (before.order, before.downloads, before.eid)
    assert after.told == (*before.told, (1, "NOT_ELIGIBLE"))
    told = (await stage.reports(ordered.iccid))[-1]
    assert (told["detail"], told["eid"]) == (detail, str(card.eid))


@conforms(
    "SGP.22 5.6.3",
    "a device or eUICC that does not suit is refused and its operator told why",
    Status.NOT_ELIGIBLE,
    function="authenticateClient",
    where="smdp/device_rules.py",
)
@pytest.mark.parametrize(
    ("rules", "good", "bad", "words"),
    [
        ({"tacs_allowed": (TAC,)}, Device(tac=TAC), Device(tac=OTHER_TAC), "other device types than TAC 86012345"),
        ({"tacs_denied": (OTHER_TAC,)}, Device(tac=TAC), Device(tac=OTHER_TAC), "other device types"),
        ({"tacs_allowed": ()}, None, Device(tac=TAC), "other device types"),
        (
            {"tacs_allowed": (TAC, OTHER_TAC), "tacs_denied": (OTHER_TAC,)},
            Device(tac=TAC),
            Device(tac=OTHER_TAC),
            "other device types",
        ),
    ],
    ids=["allowed", "denied", "none-allowed", "denied-beats-allowed"],
)
async def test_device_types_are_allowed_and_denied(
    stage: Stage, rules: dict[str, Any], good: Device | None, bad: Device, words: str
) -> None:
    ordered = await stage.order(tenant_id=await stage.operator(**rules))
    await refused(stage, ordered, stage.card(), bad, words)
    if good is not None:
        assert await attempt(stage, stage.card(), ordered.matching_id, good).delivered()


@pytest.mark.parametrize("rule", ["eums_allowed", "eums_denied"])
async def test_makers_of_euiccs_are_allowed_and_denied(stage: Stage, rule: str) -> None:
    card = stage.card()
    maker = str(card.eid)[:8]
    outside = ("89033023",) if rule == "eums_allowed" else ("89033023", maker)
    inside = ("89033023", maker) if rule == "eums_allowed" else ("89033023",)
    strict = await stage.order(tenant_id=await stage.operator(**{rule: outside}))
    await refused(stage, strict, card, Device(), "eUICCs of other manufacturers")
    open_ = await stage.order(tenant_id=await stage.operator(**{rule: inside}))
    assert (await attempt(stage, card, open_.matching_id).installed()).succeeded


async def test_profile_for_consumer_devices_does_not_go_to_an_iot_euicc(stage: Stage) -> None:
    ordered = await stage.order(tenant_id=await stage.operator(iot_euiccs=False))
    await refused(stage, ordered, stage.card(properties=IOT), Device(), "this eUICC is one for IoT")
    assert (await attempt(stage, stage.card(), ordered.matching_id).installed()).succeeded
    anybody = await stage.order()
    assert (await attempt(stage, stage.card(properties=IOT), anybody.matching_id).installed()).succeeded


async def test_euicc_must_read_the_version_the_operator_asks_for(stage: Stage) -> None:
    ordered = await stage.order(tenant_id=await stage.operator(minimum_saip="2.4"))
    await refused(stage, ordered, stage.card(), Device(), "read profile packages 2.4")
    newer = EuiccProperties(extra_info2=tlv.wrap(0xAF, tlv.wrap(0x04, b"\x03\x01\x00")))
    assert (await attempt(stage, stage.card(properties=newer), ordered.matching_id).installed()).succeeded


async def test_services_that_the_profile_needs_must_be_announced(stage: Stage) -> None:
    ordered = await stage.order()
    needed = await stage.tables.fetchval("SELECT services FROM packages")
    assert needed == sorted(saip.read_header(ordered.upp).capabilities) == [1, 4]
    await refused(
        stage,
        ordered,
        stage.card(properties=EuiccProperties(uicc_capability=(1, 14))),
        Device(),
        r"lacks \(UICCCapability 4\)",
    )
    for announced in ((1, 4), ()):
        again = await stage.order()
        card = stage.card(properties=EuiccProperties(uicc_capability=announced))
        assert (await attempt(stage, card, again.matching_id).installed()).succeeded, announced


# One device -----------------------------------------------------------------------------------------------------------


async def test_order_for_one_device_goes_to_no_other(stage: Stage) -> None:
    stocked = await stage.stock(await stage.operator())
    owner, iccid = stocked.tenant_id, stocked.iccid
    await stage.ordering.download_order(stage.call(owner), DownloadOrder(iccid=iccid))
    request = ConfirmOrder(iccid=iccid, release=True, matching_id="TOKEN-1", imei=IMEI[:14])
    await stage.ordering.confirm_order(stage.call(owner), request)
    ordered = Ordered(tenant_id=owner, iccid=iccid, matching_id="TOKEN-1", upp=stocked.upp)
    for stranger in (Device(imei=OTHER_IMEI), Device()):
        await refused(stage, ordered, stage.card(), stranger, "for another device")
    trial = attempt(stage, stage.card(), "TOKEN-1", Device(imei=IMEI))
    assert (await trial.installed()).succeeded


async def test_first_device_keeps_the_order_where_the_operator_wants_so(stage: Stage) -> None:
    card, ordered = stage.card(), await stage.order(tenant_id=await stage.operator(bind_imei=True))
    await attempt(stage, card, ordered.matching_id, Device()).begun()
    assert (await stage.order_row(ordered.iccid))["imei"] is None
    await attempt(stage, card, ordered.matching_id, Device(imei=IMEI)).begun()
    assert (await stage.order_row(ordered.iccid))["imei"] == IMEI[:14]
    for stranger in (Device(imei=OTHER_IMEI), Device()):
        await refused(stage, ordered, card, stranger, "for another device")
    assert (await attempt(stage, card, ordered.matching_id, Device(imei=IMEI)).installed()).succeeded


async def test_device_does_not_matter_otherwise(stage: Stage) -> None:
    card, ordered = stage.card(), await stage.order()
    for device in (Device(imei=IMEI), Device(imei=OTHER_IMEI), Device()):
        await attempt(stage, card, ordered.matching_id, device).begun()
    assert (await stage.order_row(ordered.iccid))["imei"] is None


# Binding again (3.1.3): same euiccOtpk, another one, none offered -----------------------------------------------------


def segments(bpp: bytes) -> list[tuple[int, bytes]]:
    """The members of a bound profile package: BF23, A0, A1, A2, A3."""
    return [(one.tag, one.raw) for one in tlv.read_only(bpp, 0xBF36).children()]


@conforms("SGP.22 5.6.2", "the same one-time key gets the same segments", function="getBoundProfilePackage")
@pytest.mark.parametrize("rebinding", [True, False])
async def test_same_one_time_key_gets_the_same_segments_and_a_new_signature(stage: Stage, rebinding: bool) -> None:
    card, ordered = stage.card(), await stage.order(tenant_id=await stage.operator(rebinding=rebinding))
    first = segments(await attempt(stage, card, ordered.matching_id).delivered())
    second = segments(await attempt(stage, card, ordered.matching_id).delivered())
    assert [tag for tag, _ in second] == [0xBF23, 0xA0, 0xA1, 0xA2, 0xA3]
    assert second[1:] == first[1:]
    assert second[0] != first[0]
    old, new = (tlv.read_only(one[0][1], 0xBF23).members() for one in (first, second))
    assert new[0x5F49].raw == old[0x5F49].raw  # smdpOtpk
    assert new[0xA6].raw == old[0xA6].raw  # hostId with it
    assert new[0x80].raw != old[0x80].raw  # transactionId
    assert new[0x5F37].raw != old[0x5F37].raw


@conforms("SGP.22 5.6.2", "another one-time key gets fresh keys", function="getBoundProfilePackage")
async def test_another_one_time_key_gets_fresh_keys_where_the_operator_lets_it(stage: Stage) -> None:
    card, ordered = stage.card(), await stage.order()
    first = segments(await attempt(stage, card, ordered.matching_id).delivered())
    card.memory.one_time_keys.clear()
    trial = attempt(stage, card, ordered.matching_id)
    bpp = await trial.delivered()
    second = segments(bpp)
    old, new = (tlv.read_only(one[0][1], 0xBF23).members() for one in (first, second))
    assert new[0x5F49].raw != old[0x5F49].raw
    assert [raw for tag, raw in second if tag in (0xA0, 0xA1, 0xA2)] != [
        raw for tag, raw in first if tag in (0xA0, 0xA1, 0xA2)
    ]
    assert trial.install(bpp).succeeded
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}


@conforms(
    "SGP.22 5.6.2",
    "another one-time key is refused where the order may not be bound again",
    Status.REBINDING_REFUSED,
    function="getBoundProfilePackage",
    where="smdp/delivery.py",
)
async def test_another_one_time_key_is_refused_where_the_operator_forbids_it(stage: Stage) -> None:
    card, ordered = stage.card(), await stage.order(tenant_id=await stage.operator(rebinding=False))
    await attempt(stage, card, ordered.matching_id).delivered()
    card.memory.one_time_keys.clear()
    trial = await attempt(stage, card, ordered.matching_id).begun()
    message = trial.prepared()
    for _ in range(2):
        with refuses(Status.REBINDING_REFUSED):
            await trial.deliver(message=message)
    assert await stage.seen(ordered) == Seen(
        order="downloaded",
        eid=str(card.eid),
        downloads=2,
        sealed=("key", "otsk"),
        told=((1, ""), (3, ""), (1, ""), (3, "REBINDING_REFUSED")),
        sessions=(("delivered", None), ("ended", "REBINDING_REFUSED")),
    )


# Lifetime -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def policy() -> Policy:
    return Policy(server_names=(NAME,), order_time=timedelta(days=90))


async def test_operators_lifetime_beats_the_servers(stage: Stage) -> None:
    short, usual = await stage.order(tenant_id=await stage.operator(order_days=7)), await stage.order()
    days = {ordered.iccid: (await stage.order_row(ordered.iccid))["expires_at"] - START for ordered in (short, usual)}
    assert days == {short.iccid: timedelta(days=7), usual.iccid: timedelta(days=90)}


async def test_lifetime_begins_with_the_release(stage: Stage) -> None:
    stocked = await stage.stock(await stage.operator())
    owner, iccid = stocked.tenant_id, stocked.iccid
    await stage.ordering.download_order(stage.call(owner), DownloadOrder(iccid=iccid))
    await stage.ordering.confirm_order(stage.call(owner), ConfirmOrder(iccid=iccid, release=False))
    stage.clock.advance(days=100)
    await stage.ordering.release_profile(stage.call(owner), iccid)
    assert (await stage.order_row(iccid))["expires_at"] == START + timedelta(days=190)

"""Metadata from import to card: what a device is shown is what the card stores, byte for byte (SGP.22 3.1.3, 5.5.3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crypto.curves import Curve
from rsp import tlv
from rsp.errors import Malformed
from rsp.identifiers import Iccid
from rsp.metadata import (
    NotificationConfiguration,
    NotificationEvent,
    OperatorId,
    PolicyRule,
    ProfileClass,
    ProfileMetadata,
    standard_notifications,
)
from rsp.status import Status
from rsp.vendor_data import AccessRule, VendorData, access_rules, vendor_data
from simulator.card import Card
from simulator.euicc_info import EuiccProperties
from simulator.metadata import ALLOW_ALL_RULES
from smdp.binding import Protection
from smdp.offer import Offer
from smdp.policy import Policy
from tests.conformance import conforms
from tests.pictures import jpeg, png_of
from tests.protocol_attempt import Attempt, attempt
from tests.protocol_stage import CURVES, NAME, Stage, installed_on, refuses

PLAIN = Offer(profile_type="prepaid", service_provider_name="Provider", profile_name="Profile")
OWNER = OperatorId.of_network("262-01", gid1=b"\x0a", gid2=b"\x0b\x0c")
UNKNOWN = bytes.fromhex("bf3f06800472657374")
FULL = replace(
    PLAIN,
    service_provider_name="Größter Anbieter " + "電" * 15,
    profile_name="n" * 64,
    icon=png_of(1024),
    notifications=(
        *standard_notifications(NAME),
        NotificationConfiguration(events=frozenset({NotificationEvent.DELETE}), address="stock.example.net"),
    ),
    owner=OWNER,
    policy_rules=frozenset({PolicyRule.PPR2_DELETION_NOT_ALLOWED}),
    stored_data=vendor_data(0xBF22, [VendorData(oid="2.999.10", data=tlv.wrap(0x04, bytes(700)))]),
    other_data=vendor_data(0xBF23, [VendorData(oid="2.999.11", data=tlv.wrap(0x04, bytes(1500)))]),
    fallback_allowed=True,
    ecall_indication=False,
    extra=access_rules([AccessRule(certificate=bytes(range(32)), package="com.example.carrier")]) + UNKNOWN,
)


@pytest.fixture(params=list(Protection))
def policy(request: pytest.FixtureRequest) -> Policy:
    return Policy(server_names=(NAME,), protection=request.param)


async def offered(stage: Stage, card: Card, offer: Offer) -> Attempt:
    """A download of a profile that is offered like this, up to its package."""
    ordered = await stage.order_again(await stage.stock(await stage.operator(), offer=offer))
    trial = await attempt(stage, card, ordered.matching_id).begun()
    bpp = await trial.deliver()
    segments = list(tlv.read(bpp).members()[0xA1].children())
    assert len(segments) == -(-len(shown(trial)) // 1008)
    assert max(len(segment.raw) for segment in segments) <= 1020
    assert trial.install(bpp).succeeded, card.last_fault
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}
    return trial


def shown(trial: Attempt) -> bytes:
    assert trial.authenticated is not None
    return trial.authenticated.metadata


@conforms(
    "SGP.22 5.5.3",
    "the metadata in the package is that of AuthenticateClient, over several 88",
    where="smdp/binding.py",
)
@pytest.mark.parametrize("offer", [PLAIN, FULL, replace(FULL, icon=jpeg())], ids=["plain", "full", "jpeg"])
@pytest.mark.parametrize("curve", CURVES)
async def test_card_stores_what_the_device_was_shown(stage: Stage, curve: Curve, offer: Offer) -> None:
    card = stage.card(curves=[curve])
    card.rat = ALLOW_ALL_RULES
    trial = await offered(stage, card, offer)
    (profile,) = card.profiles
    assert profile.metadata == shown(trial) == offer.metadata(profile.iccid, NAME).encode()
    details = profile.details()
    assert (details.fallback_allowed, details.ecall) == (offer.fallback_allowed is True, False)
    assert details.addresses(3) == ([NAME, "stock.example.net"] if offer is not PLAIN else [NAME])


async def test_metadata_without_wishes_reports_all_four_events_to_this_server(stage: Stage) -> None:
    card = stage.card()
    trial = await offered(stage, card, PLAIN)
    assert ProfileMetadata.parse(shown(trial)).notifications == standard_notifications(NAME)
    assert [card.profiles[0].details().addresses(event) for event in range(4)] == [[NAME]] * 4


async def test_notifications_may_be_switched_off(stage: Stage) -> None:
    card = stage.card()
    trial = await offered(stage, card, replace(PLAIN, notifications=()))
    assert 0xB6 not in tlv.read(shown(trial)).members()
    assert card.profiles[0].details().notifications == ()


async def test_metadata_an_operator_has_coded_arrives_byte_for_byte(stage: Stage) -> None:
    card = stage.card()
    subscriber = await stage.stock(await stage.operator())
    value = tlv.read(replace(FULL, policy_rules=frozenset()).metadata(subscriber.iccid, NAME).encode()).value
    ready = tlv.wrap(0xBF25, value, bytes.fromhex("9f7e03010203 bf7f04 8002abcd"))
    await stage.tables.execute("DELETE FROM profiles WHERE iccid = $1", str(subscriber.iccid))
    stocked = await stage.stock(
        subscriber.tenant_id, upp=subscriber.upp, offer=replace(PLAIN, profile_name="not used", ready=ready)
    )
    ordered = await stage.order_again(stocked)
    trial = await attempt(stage, card, ordered.matching_id).begun()
    assert trial.install(await trial.deliver()).succeeded, card.last_fault
    assert card.profiles[0].metadata == shown(trial) == ready


@pytest.mark.parametrize(
    ("offer", "says"),
    [
        (
            replace(PLAIN, ready=PLAIN.metadata(Iccid("8988211999999999999"), NAME).encode()),
            "for ICCID 8988211999999999999",
        ),
        (replace(PLAIN, ready=b"\xbf\x25\x00"), "no member 5A"),
        (replace(PLAIN, policy_rules=frozenset({PolicyRule.PPR1_DISABLING_NOT_ALLOWED})), "names its owner"),
        (replace(PLAIN, icon=b"GIF89a"), "JPEG or PNG"),
        (replace(PLAIN, profile_name="n" * 65), "at most 64"),
    ],
)
async def test_metadata_no_card_would_take_is_refused_at_the_import(stage: Stage, offer: Offer, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        await stage.stock(await stage.operator(), offer=offer)
    assert await stage.tables.fetchval("SELECT count(*) FROM profiles") == 0


async def test_a_test_profile_goes_to_a_card_that_takes_them(stage: Stage) -> None:
    trial = await offered(stage, stage.card(), replace(PLAIN, profile_class=ProfileClass.TEST))
    assert tlv.read(shown(trial)).members()[0x95].value == b"\x00"


@conforms(
    "SGP.22 3.1.3",
    "a test profile is not eligible for an eUICC without testProfileSupport",
    Status.NOT_ELIGIBLE,
    function="authenticateClient",
    where="smdp/device_rules.py",
)
async def test_a_test_profile_is_no_download_for_a_card_that_takes_none(stage: Stage) -> None:
    offer = replace(PLAIN, profile_class=ProfileClass.TEST)
    ordered = await stage.order_again(await stage.stock(await stage.operator(), offer=offer))
    card = stage.card(properties=EuiccProperties(rsp_capability=(0,)))
    with refuses(Status.NOT_ELIGIBLE):
        await attempt(stage, card, ordered.matching_id).begun()
    seen = await stage.seen(ordered)
    assert (seen.order, seen.downloads, seen.told) == ("released", 0, ((1, "NOT_ELIGIBLE"),))


async def test_bytes_like_those_of_the_test_class_make_no_test_profile(stage: Stage) -> None:
    card = stage.card(properties=EuiccProperties(rsp_capability=(0,)))
    other = vendor_data(0xBF23, [VendorData(oid="2.999.10", data=tlv.wrap(0x04, b"\x95\x01\x00"))])
    trial = await offered(stage, card, replace(PLAIN, other_data=other))
    assert b"\x95\x01\x00" in shown(trial)


async def test_rule_that_no_line_of_the_card_allows_fails_the_installation(stage: Stage) -> None:
    offer = replace(PLAIN, owner=OWNER, policy_rules=frozenset({PolicyRule.PPR2_DELETION_NOT_ALLOWED}))
    ordered = await stage.order_again(await stage.stock(await stage.operator(), offer=offer))
    result = await attempt(stage, stage.card(), ordered.matching_id).installed()
    assert (result.bpp_command_id, result.error_reason) == (2, 15)
    assert (await stage.seen(ordered)).order == "error"


async def test_rule_that_the_card_forbids_is_no_download(stage: Stage) -> None:
    offer = replace(PLAIN, owner=OWNER, policy_rules=frozenset({PolicyRule.PPR2_DELETION_NOT_ALLOWED}))
    ordered = await stage.order_again(await stage.stock(await stage.operator(), offer=offer))
    card = stage.card(properties=EuiccProperties(forbidden_policy_rules=(2,)))
    with refuses(Status.NOT_ELIGIBLE):
        await attempt(stage, card, ordered.matching_id).begun()

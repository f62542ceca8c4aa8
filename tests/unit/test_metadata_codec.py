"""StoreMetadata: our coding against published types, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import asn1tools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsp import tlv
from rsp.errors import Malformed
from rsp.identifiers import Iccid
from rsp.metadata import (
    IconType,
    NotificationConfiguration,
    NotificationEvent,
    OperatorId,
    PolicyRule,
    ProfileClass,
    ProfileMetadata,
    read_ready,
    standard_notifications,
)
from rsp.vendor_data import AccessRule, VendorData, access_rules, vendor_data

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the reference data is not beside the project")

TYPES = [
    "Iccid",
    "StoreMetadataRequest",
    "NotificationEvent",
    "NotificationConfigurationInformation",
    "OperatorId",
    "PprIds",
    "IconType",
    "ProfileClass",
    "VendorSpecificExtension",
]
IOT_TYPES = {"StoreMetadataRequest": "SGP32-StoreMetadataRequest"}

ACCESS_RULES = bytes.fromhex(
    "bf7633 e231 e123 c114 0000000000000000000000000000000000000000 ca0b 636f6d2e6578616d706c65"
    "e30a db08 0000000000000001"
)
PLAIN = ProfileMetadata(
    iccid=Iccid("8900012345678901234"), service_provider_name="Example Telecom", profile_name="Example IoT"
)


@pytest.fixture(scope="module")
def published() -> Any:
    """The types of the published modules that metadata needs, the request as SGP.32 has it.

    The information object class becomes an object identifier and, in the explicit tag of an open type, octets.
    """
    text = (DATA / "asn1" / "RSPDefinitions.asn").read_text()
    text = text.replace("OPENTYPE.&typeId", "OBJECT IDENTIFIER")
    text = text.replace("vendorSpecificData [1] OPENTYPE.&Type", "vendorSpecificData [1] EXPLICIT OCTET STRING")
    iot = (DATA / "asn1" / "SGP32Definitions.asn").read_text()
    cut = [
        re.search(rf"^{IOT_TYPES.get(name, name)} ::=.*?(?=^\w[\w-]* ::=|^--|\Z)", source, re.M | re.S)
        for name in TYPES
        for source in (iot if name in IOT_TYPES else text,)
    ]
    assert all(cut)
    body = "\n".join(found.group() for found in cut if found)
    return asn1tools.compile_string(f"M DEFINITIONS AUTOMATIC TAGS ::= BEGIN\n{body}\nEND", "der")


def as_published(metadata: ProfileMetadata) -> dict[str, Any]:
    """The same metadata as the value the published types take; their reader knows integers by number only."""
    value: dict[str, Any] = {
        "iccid": metadata.iccid.to_bytes(),
        "serviceProviderName": metadata.service_provider_name,
        "profileName": metadata.profile_name,
    }
    if metadata.profile_class is not ProfileClass.OPERATIONAL:
        value["profileClass"] = int(metadata.profile_class)
    if metadata.icon_type is not None:
        value["iconType"] = int(metadata.icon_type)
    if metadata.icon is not None:
        value["icon"] = metadata.icon
    if metadata.notifications:
        value["notificationConfigurationInfo"] = [
            {"profileManagementOperation": bit_string(item.events), "notificationAddress": item.address}
            for item in metadata.notifications
        ]
    if metadata.owner:
        gids = {"gid1": metadata.owner.gid1, "gid2": metadata.owner.gid2}
        present = {name: gid for name, gid in gids.items() if gid is not None}
        value["profileOwner"] = {"mccMnc": metadata.owner.mcc_mnc, **present}
    if metadata.policy_rules:
        value["profilePolicyRules"] = bit_string(metadata.policy_rules)
    return value | rest_as_published(metadata)


def rest_as_published(metadata: ProfileMetadata) -> dict[str, Any]:
    data = {
        "serviceSpecificDataStoredInEuicc": metadata.stored_data,
        "serviceSpecificDataNotStoredInEuicc": metadata.other_data,
    }
    flags = {"ecallIndication": metadata.ecall_indication, "fallbackAllowed": metadata.fallback_allowed}
    pairs = {name: [vendor_pair(entry) for entry in tlv.read(raw).children()] for name, raw in data.items() if raw}
    return pairs | {name: flag for name, flag in flags.items() if flag is not None}


def vendor_pair(entry: tlv.Tlv) -> dict[str, Any]:
    members = entry.members()
    data = tlv.read_only(members[0xA1].value, 0x04).value
    return {"vendorOid": tlv.oid_from_bytes(members[0x80].value), "vendorSpecificData": data}


def bit_string(members: frozenset[Any]) -> tuple[bytes, int]:
    text = "".join("1" if place in {member.value for member in members} else "0" for place in range(4)).rstrip("0")
    return bytes((int(text.ljust(8, "0"), 2),)) if text else b"", len(text)


names = st.text(st.characters(exclude_categories=["Cs"]))
notifications = st.builds(
    NotificationConfiguration,
    events=st.frozensets(st.sampled_from(NotificationEvent)),
    address=st.sampled_from(["smdp.example.com", "a", "Host.Example.ORG"]),
)
gids = st.none() | st.binary(max_size=20)
owners = st.builds(OperatorId, mcc_mnc=st.binary(min_size=3, max_size=3), gid1=gids, gid2=gids)
flags = st.sampled_from([None, False, True])
vendors = st.lists(
    st.builds(
        VendorData,
        oid=st.sampled_from(["1.2.3", "2.23.146.1", "1.3.6.1.4.1.99999"]),
        data=st.binary(max_size=200).map(lambda value: tlv.wrap(0x04, value)),
    ),
    max_size=3,
)
icons = st.none() | st.tuples(st.sampled_from(IconType), st.none() | st.binary(max_size=1024))


@st.composite
def metadata_values(draw: st.DrawFn) -> ProfileMetadata:
    icon = draw(icons)
    return ProfileMetadata(
        iccid=draw(st.from_regex(re.compile(r"[0-9]{18,20}", re.ASCII), fullmatch=True).map(Iccid)),
        service_provider_name=draw(names.map(lambda text: text[:32])),
        profile_name=draw(names.map(lambda text: text[:64])),
        profile_class=draw(st.sampled_from(ProfileClass)),
        icon_type=icon[0] if icon else None,
        icon=icon[1] if icon else None,
        notifications=tuple(draw(st.lists(notifications, max_size=3))),
        owner=draw(st.none() | owners),
        policy_rules=draw(st.frozensets(st.sampled_from(PolicyRule))),
        stored_data=draw(st.none() | vendors.map(lambda entries: vendor_data(0xBF22, entries))),
        other_data=draw(st.none() | vendors.map(lambda entries: vendor_data(0xBF23, entries))),
        ecall_indication=draw(flags),
        fallback_allowed=draw(flags),
    )


@needs_data
def test_recorded_metadata_is_read_and_written_again_unchanged() -> None:
    recorded = (DATA / "session" / "store-metadata.der").read_bytes()
    metadata = ProfileMetadata.parse(recorded)
    assert metadata == ProfileMetadata(
        iccid=Iccid("89000123456789012341"),
        service_provider_name="euicc-rsp",
        profile_name="euicc-rsp test profile",
    )
    assert metadata.encode() == recorded


@needs_data
@settings(max_examples=100, deadline=None)
@given(metadata=metadata_values())
def test_coding_is_that_of_the_published_types(published: Any, metadata: ProfileMetadata) -> None:
    assert metadata.encode() == published.encode("SGP32-StoreMetadataRequest", as_published(metadata))


@settings(max_examples=100, deadline=None)
@given(metadata_values())
def test_metadata_survives_the_round_trip(metadata: ProfileMetadata) -> None:
    assert ProfileMetadata.parse(metadata.encode()) == metadata


@settings(max_examples=100, deadline=None)
@given(metadata_values(), st.data())
def test_damaged_metadata_is_read_or_refused(metadata: ProfileMetadata, data: st.DataObject) -> None:
    coded = bytearray(metadata.encode())
    coded[data.draw(st.integers(0, len(coded) - 1))] = data.draw(st.integers(0, 255))
    try:
        ProfileMetadata.parse(bytes(coded)).encode()
    except Malformed:
        return


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(value: bytes) -> None:
    for data in (value, tlv.wrap(0xBF25, value)):
        try:
            ProfileMetadata.parse(data).encode()
        except Malformed:
            continue


def test_operational_is_the_class_left_out() -> None:
    assert 0x95 not in tlv.read(PLAIN.encode()).members()
    explicit = tlv.wrap(0xBF25, tlv.read(PLAIN.encode()).value, b"\x95\x01\x02")
    assert ProfileMetadata.parse(explicit) == PLAIN


def test_test_class_is_not_taken_for_operational() -> None:
    test = replace(PLAIN, profile_class=ProfileClass.TEST)
    assert ProfileMetadata.parse(test.encode()).profile_class is ProfileClass.TEST


def test_unknown_members_are_kept_and_sent_on() -> None:
    vendor, unknown = bytes.fromhex("bf2209300780022a03810178"), bytes.fromhex("bf240101") + ACCESS_RULES
    data = tlv.wrap(0xBF25, tlv.read(PLAIN.encode()).value, vendor, unknown)
    metadata = read_ready(data)
    assert (metadata.stored_data, metadata.extra) == (vendor, unknown)
    assert metadata.encode() == data


def test_the_flags_of_iot_profiles_have_the_tags_of_the_standard() -> None:
    flagged = replace(PLAIN, fallback_allowed=True, ecall_indication=False).encode()
    assert flagged == tlv.wrap(0xBF25, tlv.read(PLAIN.encode()).value, bytes.fromhex("9f7b0100 9f6701ff"))


def test_vendor_data_and_access_rules_are_written_from_text() -> None:
    entry = VendorData.parse("2.999.10:0403414243")
    assert vendor_data(0xBF22, [entry]).hex() == "bf220e300c" + "80038837" + "0a" + "a1050403414243"
    assert access_rules([AccessRule.parse("00" * 20 + ":com.example")]) == ACCESS_RULES


@pytest.mark.parametrize(
    "text", ["", "2.999.10", "2.999.10:", "2.999.10:zz", "2.999.10:0403", "x:0400", "2.999.10:04000400"]
)
def test_vendor_data_without_number_or_object_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        VendorData.parse(text)


@pytest.mark.parametrize("text", ["", "00", "00" * 19, "zz" * 20, "00" * 20 + ":näme", "00" * 32 + ":" + "n" * 128])
def test_an_access_rule_without_a_hash_or_with_a_strange_name_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="access rule"):
        AccessRule.parse(text)


@settings(max_examples=100, deadline=None)
@given(metadata_values())
def test_ready_metadata_is_taken_as_it_is(metadata: ProfileMetadata) -> None:
    assert read_ready(metadata.encode()).encode() == metadata.encode()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda head, rest: (rest, head), "order of the standard"),
        (lambda head, rest: (head, rest, b"\x95\x01\x02"), "default"),
        (lambda head, rest: (head, rest, b"\xbf\x3f\x00", b"\x95\x01\x00"), "unknown ones last"),
        (lambda head, rest: (head, rest.replace(b"\x92\x0b", b"\x92\x81\x0b")), "shortest lengths"),
        (lambda head, rest: (head, rest, tlv.wrap(0xBF3F, bytes(16_384))), "at most 16384"),
    ],
)
def test_ready_metadata_that_a_card_would_not_read_is_refused(change: Any, says: str) -> None:
    value = tlv.read(PLAIN.encode()).value
    with pytest.raises(Malformed, match=says):
        read_ready(tlv.wrap(0xBF25, *change(value[:12], value[12:])))


def test_extra_must_not_repeat_a_known_member() -> None:
    with pytest.raises(Malformed, match="known member 95"):
        replace(PLAIN, extra=b"\x95\x01\x00")


def test_standard_notifications_report_all_four_events() -> None:
    (configured,) = standard_notifications("SMDP.example.com:8443")
    assert configured.address == "smdp.example.com"
    assert configured.events == frozenset(NotificationEvent)
    assert configured.encode().hex().startswith("3016800204f08110")


def test_policy_rules_are_the_bits_of_the_standard() -> None:
    rules = frozenset({PolicyRule.PPR1_DISABLING_NOT_ALLOWED, PolicyRule.PPR2_DELETION_NOT_ALLOWED})
    assert tlv.read(replace(PLAIN, policy_rules=rules).encode()).members()[0x99].value.hex() == "0560"


def test_owner_is_written_as_a_network_code() -> None:
    owner = OperatorId.of_network("310-410", gid1=b"\x01")
    assert owner.mcc_mnc.hex() == "130014"
    assert owner.network == "310-410"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"service_provider_name": "x" * 33}, "at most 32"),
        ({"profile_name": "x" * 65}, "at most 64"),
        ({"profile_name": "\ud800"}, "UTF-8"),
        ({"icon_type": IconType.PNG, "icon": bytes(1025)}, "at most 1024"),
        ({"icon": b"x"}, "iconType"),
        ({"stored_data": b"\xbf\x23\x00"}, "expected tag BF22"),
        ({"other_data": b"\xbf\x23\x02\x04\x00"}, "vendorOid"),
    ],
)
def test_values_beyond_the_limits_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(Malformed, match=says):
        replace(PLAIN, **change)


def test_names_are_limited_in_characters_not_bytes() -> None:
    name = "電" * 64
    assert ProfileMetadata.parse(replace(PLAIN, profile_name=name).encode()).profile_name == name


@pytest.mark.parametrize(
    ("member", "says"),
    [
        ("950103", "not one of 0, 1, 2"),
        ("99020410", "does not define"),
        ("99020810", "not a bit string"),
        ("990104", "not a bit string"),
        ("9900", "not a bit string"),
        ("b600b600", "twice"),
        ("b6023000", "operation and address"),
        ("b6028000", "operation and address"),
        ("b7028100", "no mccMnc"),
        ("b7048002ffff", "mccMnc is 3 bytes"),
        ("940100", "iconType"),
        ("b609 3007 800204f0 810120", "host name"),
        ("b60d 300b 800204f0 8105 613a383434", "without a port"),
        ("9f670101", "not a boolean"),
        ("9f7b00", "not a boolean"),
        ("bf22020400", "vendorOid"),
        ("bf2207 3005 80012a 0400", "vendorOid"),
        ("bf2305 3003 80012a", "vendorOid"),
        ("bf2209 3007 800182 a1020400", "object identifier"),
    ],
)
def test_a_wrong_member_is_refused_with_its_reason(member: str, says: str) -> None:
    data = tlv.wrap(0xBF25, tlv.read(PLAIN.encode()).value, bytes.fromhex(member))
    with pytest.raises(Malformed, match=says):
        ProfileMetadata.parse(data)


@pytest.mark.parametrize("tag", [0x5A, 0x91, 0x92])
def test_a_missing_mandatory_member_is_named(tag: int) -> None:
    members = tlv.read(PLAIN.encode()).members()
    data = tlv.wrap(0xBF25, *(found.raw for place, found in members.items() if place != tag))
    with pytest.raises(Malformed, match=f"no member {tag:X}"):
        ProfileMetadata.parse(data)

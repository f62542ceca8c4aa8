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
    standard_notifications,
)

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

PLAIN = ProfileMetadata(
    iccid=Iccid("8900012345678901234"), service_provider_name="Example Telecom", profile_name="Example IoT"
)


@pytest.fixture(scope="module")
def published() -> Any:
    """The types of the published module that metadata needs; the information object class becomes a plain string."""
    text = (DATA / "asn1" / "RSPDefinitions.asn").read_text()
    text = text.replace("OPENTYPE.&typeId", "OBJECT IDENTIFIER").replace("OPENTYPE.&Type", "OCTET STRING")
    cut = [re.search(rf"^{name} ::=.*?(?=^\w[\w-]* ::=|^--|\Z)", text, re.M | re.S) for name in TYPES]
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
    return value


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
    assert metadata.encode() == published.encode("StoreMetadataRequest", as_published(metadata))


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
    vendor = bytes.fromhex("bf2209300780022a03810178") + bytes.fromhex("bf240101")
    data = tlv.wrap(0xBF25, tlv.read(PLAIN.encode()).value, vendor)
    metadata = ProfileMetadata.parse(data)
    assert metadata.extra == vendor
    assert metadata.encode() == data


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

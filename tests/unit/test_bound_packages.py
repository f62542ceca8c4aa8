"""Whole packages at the card's own secure channel: segments at every border, both protections, nothing indefinite."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crypto.agreement import SessionKeys
from rsp import es8plus, tlv
from rsp.identifiers import TransactionId
from simulator import der
from simulator import secure_messaging as card
from simulator.bpp_segments import split_bound_profile_package
from smdp.binding import Content, Package, Protection, bound_profile_package, protect
from tests.conformance import conforms

SESSION, OWN = (SessionKeys.from_bytes(bytes(range(start, start + 48))) for start in (0, 100))
OPENING = es8plus.initialise_secure_channel(
    transaction_id=TransactionId(bytes(16)), host_id=bytes(16), smdp_otpk=b"\x04" + bytes(64), smdp_sign=bytes(64)
)
BORDERS = sorted(
    {times * size + off for times in range(1, 6) for size in (1007, 1008, 1020) for off in (-2, -1, 0, 1, 2)}
    | {
        1,
        2,
        15,
        16,
        17,
        100,
        111,
        112,
        113,
        127,
        128,
        129,
        239,
        240,
        241,
        242,
        243,
        244,
        245,
        246,
        247,
        248,
        249,
        255,
        256,
    }
)
sizes = st.sampled_from(BORDERS) | st.integers(1, 6000)


def bound(upp: bytes, metadata: bytes, protection: Protection, proprietary: bytes = b"") -> bytes:
    return bound_profile_package(
        secure_channel=OPENING,
        keys=SESSION,
        content=Content(proprietary=proprietary, metadata=metadata, package_id=UUID(int=1), protection=protection),
        package=Package(segments=protect(upp, OWN), keys=OWN),
    )


def opened(bpp: bytes) -> dict[int, bytes]:
    """What the card reads in each sequence, with keys replaced where it is told so."""
    channel, found = _channel(SESSION), {}
    for sequence in list(tlv.read_only(bpp, 0xBF36).children())[1:]:
        found[sequence.tag] = b"".join(_opened(channel, sequence))
        if sequence.tag == 0xA2:
            channel = _channel(OWN)
    return found


def _opened(channel: card.SecureChannel, sequence: tlv.Tlv) -> Iterator[bytes]:
    for segment in sequence.children():
        der.check_shortest(segment)
        assert len(segment.raw) <= 1020
        yield channel.open_plain(segment) if segment.tag == 0x88 else channel.open_encrypted(segment)


def _channel(keys: SessionKeys) -> card.SecureChannel:
    return card.SecureChannel(
        card.SessionKeys(encryption=keys.s_enc, mac=keys.s_mac, chaining_value=keys.mac_chaining_value)
    )


@conforms("SGP.22 2.5.4", "segments of at most 1020 bytes, each filled before the next begins", where="crypto/bsp.py")
@pytest.mark.parametrize("protection", list(Protection))
@settings(max_examples=60)
@given(package=sizes, metadata=sizes)
@example(package=1007, metadata=1008)
@example(package=2014, metadata=2016)
@example(package=1008, metadata=1009)
def test_the_card_reads_back_what_was_bound(protection: Protection, package: int, metadata: int) -> None:
    upp, shown = bytes(index % 251 for index in range(package)), bytes(index % 241 for index in range(metadata))
    bpp = bound(upp, shown, protection)
    found = opened(bpp)
    assert (found[0xA1], found[0xA3]) == (shown, upp)
    sequences = tlv.read_only(bpp, 0xBF36).members()
    assert len(list(sequences[0xA1].children())) == -(-metadata // 1008)
    assert len(list(sequences[0xA3].children())) == -(-package // 1007)


@pytest.mark.parametrize("size", BORDERS)
def test_full_segments_are_as_long_as_they_may_be(size: int) -> None:
    segments = [len(segment.raw) for segment in tlv.objects(protect(bytes(size), OWN))]
    assert segments[:-1] == [1020] * (len(segments) - 1)
    assert segments[-1] <= 1020


@conforms("SGP.22 2.5.4", "BF23, A0, A1, A2 where keys are replaced, A3; definite lengths", where="rsp/es8plus.py")
@pytest.mark.parametrize("protection", list(Protection))
def test_the_sequences_come_in_the_order_of_the_standard(protection: Protection) -> None:
    bpp = bound(bytes(3000), bytes(1500), protection)
    middle = [0xA2] if protection is Protection.PPK else []
    assert [child.tag for child in tlv.read_only(bpp, 0xBF36).children()] == [0xBF23, 0xA0, 0xA1, *middle, 0xA3]
    der.check_shortest(tlv.read_only(bpp, 0xBF36))
    assert b"".join(split_bound_profile_package(bpp)) == bpp
    replaced = opened(bpp).get(0xA2)
    keys = {"initial_mcv": OWN.mac_chaining_value, "ppk_enc": OWN.s_enc, "ppk_cmac": OWN.s_mac}
    assert replaced == (es8plus.replace_session_keys(**keys) if protection is Protection.PPK else None)


@conforms("SGP.22 5.5.2", "dpProprietaryData of at most 128 bytes travels in ConfigureISDP", where="rsp/es8plus.py")
@pytest.mark.parametrize("more", [0, 1, 110, 116])
@pytest.mark.parametrize("protection", list(Protection))
def test_proprietary_data_reaches_the_card(protection: Protection, more: int) -> None:
    data = es8plus.dp_proprietary_data("2.999.10", tlv.wrap(0x81, bytes(more)))
    assert len(data) <= 128
    assert opened(bound(bytes(10), bytes(10), protection, data))[0xA0] == tlv.wrap(0xBF24, data)


@settings(max_examples=100)
@given(st.binary(max_size=40), st.binary(min_size=1, max_size=40), st.uuids(), st.sampled_from(Protection))
def test_a_host_id_belongs_to_one_content_whatever_its_protection(
    proprietary: bytes, metadata: bytes, package_id: UUID, protection: Protection
) -> None:
    content = Content(proprietary=proprietary, metadata=metadata, package_id=package_id, protection=protection)
    host_id = content.new_host_id()
    assert len(host_id) == 16
    assert content.new_host_id() != host_id
    for now in Protection:
        asked = Content(proprietary=proprietary, metadata=metadata, package_id=package_id, protection=now)
        assert asked.kept(host_id) == content
    moved = Content(
        proprietary=proprietary + metadata[:1], metadata=metadata[1:], package_id=package_id, protection=protection
    )
    assert moved.kept(host_id) is None
    assert content.kept(bytes(16)) is None
    assert content.kept(b"") is None

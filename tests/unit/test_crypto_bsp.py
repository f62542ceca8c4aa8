"""The BSP channel: segment sizes, chaining, and refusal of whatever is not the next segment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.agreement import SessionKeys
from crypto.bsp import MAX_ENCRYPTED_SLICE, MAX_MAC_ONLY_SLICE, MAX_SEGMENT, BadMac, Bsp, random_protection_keys
from rsp import tlv

KEYS = SessionKeys.from_bytes(bytes(range(48)))
SIZES = st.one_of(st.integers(1, 60), st.integers(95, 300), st.integers(1000, 1030), st.integers(2010, 2020))


def pieces(segments: bytes) -> Iterator[bytes]:
    return (segment.raw for segment in tlv.objects(segments))


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES, SIZES)
def test_channel_opens_what_it_closed(first: int, second: int, third: int) -> None:
    ours, theirs = Bsp(KEYS), Bsp(KEYS)
    assert theirs.decrypt_and_verify(0x87, ours.encrypt_and_mac(0x87, b"\x80" * first)) == b"\x80" * first
    assert theirs.verify_only(0x88, ours.mac_only(0x88, b"m" * second)) == b"m" * second
    assert theirs.decrypt_and_verify(0x86, ours.encrypt_and_mac(0x86, bytes(third))) == bytes(third)


@settings(max_examples=60, deadline=None)
@given(SIZES)
def test_no_segment_is_longer_than_the_limit(size: int) -> None:
    encrypted = list(pieces(Bsp(KEYS).encrypt_and_mac(0x86, bytes(size))))
    plain = list(pieces(Bsp(KEYS).mac_only(0x88, bytes(size))))
    assert max(map(len, encrypted + plain)) <= MAX_SEGMENT
    assert len(encrypted) == -(-size // 1007)
    assert len(plain) == -(-size // 1008)


def test_full_slices_fill_a_segment_exactly() -> None:
    assert (MAX_ENCRYPTED_SLICE, MAX_MAC_ONLY_SLICE) == (1007, 1008)
    assert len(Bsp(KEYS).encrypt_and_mac(0x86, bytes(1007))) == MAX_SEGMENT
    assert len(Bsp(KEYS).mac_only(0x88, bytes(1008))) == MAX_SEGMENT


def test_counter_steps_for_mac_only_segments_too() -> None:
    stepped, fresh = Bsp(KEYS), Bsp(KEYS)
    stepped.mac_only(0x88, b"metadata")
    second = tlv.read(stepped.encrypt_and_mac(0x86, b"profile")).value
    fresh.encrypt_and_mac(0x87, b"anything")
    assert second[:16] == tlv.read(fresh.encrypt_and_mac(0x86, b"profile")).value[:16]


def test_equal_plaintexts_give_different_segments() -> None:
    one, two = pieces(Bsp(KEYS).encrypt_and_mac(0x86, bytes(2 * 1007)))
    assert one != two


def test_segments_in_another_order_are_refused() -> None:
    one, two = pieces(Bsp(KEYS).encrypt_and_mac(0x86, bytes(2 * 1007)))
    with pytest.raises(BadMac):
        Bsp(KEYS).decrypt_and_verify(0x86, two + one)


def test_failed_opening_leaves_the_channel_where_it_stood() -> None:
    good = Bsp(KEYS).encrypt_and_mac(0x86, b"profile" * 300)
    channel = Bsp(KEYS)
    with pytest.raises(BadMac):
        channel.decrypt_and_verify(0x86, good[:-1] + bytes((good[-1] ^ 1,)))
    with pytest.raises(BadMac):
        channel.verify_only(0x86, good[:-1] + bytes((good[-1] ^ 1,)))
    assert channel.decrypt_and_verify(0x86, good) == b"profile" * 300


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.data())
def test_any_flipped_bit_is_refused(size: int, draw: st.DataObject) -> None:
    segments = bytearray(Bsp(KEYS).encrypt_and_mac(0x86, bytes(size)))
    bit = draw.draw(st.integers(0, 8 * len(segments) - 1))
    segments[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadMac):
        Bsp(KEYS).decrypt_and_verify(0x86, bytes(segments))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60).map(lambda rest: b"\x86" + rest) | st.binary(max_size=60))
def test_any_bytes_raise_the_declared_error(segments: bytes) -> None:
    with pytest.raises(BadMac):
        Bsp(KEYS).decrypt_and_verify(0x86, segments)
    with pytest.raises(BadMac):
        Bsp(KEYS).verify_only(0x86, segments)


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=1, max_size=48))
def test_right_mac_over_bad_padding_raises_the_declared_error(body: bytes) -> None:
    other = SessionKeys(mac_chaining_value=KEYS.mac_chaining_value, s_enc=bytes(16), s_mac=KEYS.s_mac)
    segments = Bsp(KEYS).mac_only(0x86, body)
    with suppress(BadMac):
        assert len(Bsp(other).decrypt_and_verify(0x86, segments)) < len(body)


def test_segment_of_another_tag_is_refused() -> None:
    with pytest.raises(BadMac, match="tag 87"):
        Bsp(KEYS).decrypt_and_verify(0x87, Bsp(KEYS).encrypt_and_mac(0x86, b"data"))


def test_length_written_in_more_bytes_than_needed_is_refused() -> None:
    channel = Bsp(KEYS)
    headed = bytes((0x88, 0x81, 4 + 8)) + b"data"
    with pytest.raises(BadMac, match="not a segment"):
        channel.verify_only(0x88, headed + channel._next_chain(headed)[:8])


def test_longer_segment_than_allowed_is_refused() -> None:
    channel = Bsp(KEYS)
    with pytest.raises(BadMac):
        Bsp(KEYS).verify_only(0x88, channel._close(0x88, bytes(1009)))


@pytest.mark.parametrize("tag", [0, 0x9F, 0xBF27, -1])
def test_tag_of_another_size_is_refused(tag: int) -> None:
    with pytest.raises(ValueError, match="one byte"):
        Bsp(KEYS).encrypt_and_mac(tag, b"data")


def test_nothing_to_protect_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to protect"):
        Bsp(KEYS).encrypt_and_mac(0x86, b"")
    with pytest.raises(ValueError, match="nothing to protect"):
        Bsp(KEYS).mac_only(0x88, b"")


def test_protection_keys_are_fresh_each_time() -> None:
    assert random_protection_keys() != random_protection_keys()

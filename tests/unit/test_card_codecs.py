"""The virtual eUICC's strict DER reader, its segments cutter, and key derivation against a published vector."""

from __future__ import annotations

import pytest
from card_test_server import Protection
from hypothesis import given, settings
from hypothesis import strategies as st

from rsp.tlv import header, read, wrap
from simulator import der
from simulator.bpp_segments import split_bound_profile_package
from simulator.secure_messaging import SecureChannel, SegmentMalformed, SessionKeys, x963_kdf

BITS = st.frozensets(st.integers(0, 40))
GOOD = (
    wrap(0xBF23, b"\x80\x00"),
    wrap(0xA0, wrap(0x87, b"c")),
    wrap(0xA1, wrap(0x88, b"m")),
    wrap(0xA3, wrap(0x86, b"p")),
)


def test_the_derivation_agrees_with_the_published_vector() -> None:
    # NIST CAVP, ANSI X9.63 KDF, SHA-256, shared secret of 192 bits, key data of 128 bits.
    secret = bytes.fromhex("96c05619d56c328ab95fe84b18264b08725b85e33fd34f08")
    assert x963_kdf(secret, b"", 16).hex() == "443024c3dae66b95e6f5670601558f71"


@pytest.mark.parametrize("padded", [bytes(16), b"x" * 16, b"x" * 15 + b"\x80" + bytes(16)])
def test_faulty_padding_is_refused(padded: bytes) -> None:
    class Unpadded(Protection):
        def pad(self, data: bytes) -> bytes:
            return data

    segment = read(Unpadded(b"e" * 16, b"m" * 16, bytes(16)).segment(0x86, padded))
    keys = SessionKeys(encryption=b"e" * 16, mac=b"m" * 16, chaining_value=bytes(16))
    with pytest.raises(SegmentMalformed, match="padded"):
        SecureChannel(keys).open_encrypted(segment)


@settings(max_examples=100)
@given(BITS)
def test_named_bits_are_read_as_written(chosen: frozenset[int]) -> None:
    assert der.bits(read(der.wrap_bits(0x80, chosen))) == chosen


@pytest.mark.parametrize("value", [b"", b"\x08\x00", b"\x01", b"\x01\x01"])
def test_a_faulty_bit_string_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="tag 80"):
        der.bits(read(wrap(0x80, value)))


def test_trailing_zero_bits_are_accepted() -> None:
    assert der.bits(read(wrap(0x81, b"\x00\x80"))) == {0}


@pytest.mark.parametrize(
    "data", ["308100", "30820001 00", "30038081 00", "bf1e00", "bf8020 00", "30 06 bf23 03 808100"]
)
def test_tags_and_lengths_are_the_shortest(data: str) -> None:
    raw = bytes.fromhex(data)
    with pytest.raises(ValueError, match=r"shortest|announces|follow"):
        der.parse(raw, read(raw).tag)


def test_deep_nesting_is_refused() -> None:
    data = b""
    for _ in range(40):
        data = wrap(0x30, data)
    with pytest.raises(ValueError, match="deeper"):
        der.parse(data, 0x30)


@pytest.mark.parametrize("number", [b"\x00\x01", b"\xff", b""])
def test_an_integer_is_unsigned_and_shortest(number: bytes) -> None:
    with pytest.raises(ValueError, match="tag 80"):
        der.integer(read(wrap(0x80, number)))


def test_members_come_in_order_and_complete() -> None:
    parent = read(wrap(0x30, wrap(0x80, b"a"), wrap(0x82, b"b")))
    assert list(der.members(parent, 0x80, 0x81, 0x82, optional=(0x81,))) == [0x80, 0x82]
    for order, fault in (((0x82, 0x80), "order"), ((0x80,), "belong"), ((0x80, 0x81, 0x82), "missing")):
        with pytest.raises(ValueError, match=fault):
            der.members(parent, *order)


@settings(max_examples=100)
@given(st.binary(max_size=80))
def test_any_bytes_raise_nothing_but_value_errors(data: bytes) -> None:
    for attempt in (lambda: der.parse(data, 0x30), lambda: split_bound_profile_package(data)):
        try:
            attempt()
        except ValueError:
            continue


@pytest.mark.parametrize("middle", [(), (wrap(0xA2, wrap(0x87, b"k")),)])
def test_a_package_is_cut_as_a_device_sends_it(middle: tuple[bytes, ...]) -> None:
    package = wrap(0xBF36, *GOOD[:3], *middle, GOOD[3])
    pieces = split_bound_profile_package(package)
    opening = header(0xBF36, len(package) - 3) + GOOD[0]
    assert pieces == [opening, GOOD[1], b"\xa1\x03", wrap(0x88, b"m"), *middle, b"\xa3\x03", wrap(0x86, b"p")]


@pytest.mark.parametrize(
    "parts",
    [
        GOOD[1:],
        GOOD[:3],
        (*GOOD[:2], GOOD[3], GOOD[2]),
        (*GOOD, GOOD[3]),
        (*GOOD[:3], wrap(0xA3)),
        (*GOOD[:3], wrap(0xA3, wrap(0x88, b"p"))),
        (*GOOD[:3], GOOD[3], wrap(0xA2, wrap(0x87, b"k"))),
        (),
    ],
)
def test_a_package_out_of_shape_is_not_cut(parts: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match=r"sequence|order"):
        split_bound_profile_package(wrap(0xBF36, *parts))

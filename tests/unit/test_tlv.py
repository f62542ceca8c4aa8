"""The TLV cutter: round trips, rejects, and object identifiers above 2.39."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsp import tlv
from rsp.errors import Malformed

TAGS = st.sampled_from([0x04, 0x30, 0x5A, 0x80, 0xA0, 0x5F37, 0x5F49, 0xBF38, 0x9F70, 0xBF8101])


@given(TAGS, st.binary(max_size=70_000 // 100))
def test_what_is_wrapped_reads_back(tag: int, value: bytes) -> None:
    found = tlv.read_only(tlv.wrap(tag, value), tag)
    assert (found.tag, found.value) == (tag, value)


@pytest.mark.parametrize("size", [0, 127, 128, 255, 256, 65535, 65536])
def test_lengths_take_the_shortest_form(size: int) -> None:
    raw = tlv.wrap(0x04, bytes(size))
    assert tlv.read_only(raw, 0x04).value == bytes(size)
    assert len(raw) - size == {0: 2, 127: 2, 128: 3, 255: 3, 256: 4, 65535: 4, 65536: 5}[size]


@pytest.mark.parametrize(
    "raw", ["", "30", "3080", "3005aabb", "bf", "bfff", "bfffffff01", "3085000000000100", "308200", "0481", "04830000"]
)
def test_broken_objects_are_malformed(raw: str) -> None:
    with pytest.raises(Malformed):
        tlv.read_only(bytes.fromhex(raw), 0x30)


def test_a_child_may_not_reach_beyond_its_parent() -> None:
    outer = tlv.read(bytes.fromhex("3003040500aabbccdd"))
    with pytest.raises(Malformed):
        list(outer.children())


def test_a_member_sent_twice_is_malformed() -> None:
    with pytest.raises(Malformed, match="twice"):
        tlv.read(bytes.fromhex("3006800101800102")).members()


@given(st.binary(max_size=200))
def test_any_bytes_either_read_or_are_malformed(data: bytes) -> None:
    try:
        for found in tlv.objects(data):
            list(found.children())
    except Malformed:
        pass


def one_by_one(data: bytes) -> list[tlv.Tlv]:
    found, offset = [], 0
    while offset < len(data):
        found.append(tlv.read(data, offset))
        offset = found[-1].end
    return found


@given(st.lists(st.tuples(TAGS, st.binary(max_size=200)), max_size=5), st.integers(0, 3), st.binary(max_size=3))
def test_objects_are_those_that_are_read_one_by_one(written: list[tuple[int, bytes]], lost: int, more: bytes) -> None:
    raw = b"".join(tlv.wrap(tag, value) for tag, value in written)
    data = raw[: len(raw) - lost] + more
    try:
        expected = one_by_one(data)
    except Malformed as why:
        with pytest.raises(Malformed, match=re.escape(str(why))):
            tlv.objects(data)
    else:
        assert list(tlv.objects(data)) == expected


@given(st.integers(-(2**40), 2**40))
def test_integers_round_trip(number: int) -> None:
    raw = tlv.wrap_integer(0x02, number)
    assert tlv.read_only(raw, 0x02).integer() == number
    assert len(raw) == 3 or raw[2:4] not in (b"\x00\x00", b"\xff\xff")


@pytest.mark.parametrize(
    ("dotted", "raw"), [("2.999.10", "88370a"), ("1.2.840.10045", "2a8648ce3d"), ("2.23.146.1.2.1.4", "67811201020104")]
)
def test_object_identifiers_follow_x690(dotted: str, raw: str) -> None:
    assert tlv.oid_to_bytes(dotted).hex() == raw
    assert tlv.oid_from_bytes(bytes.fromhex(raw)) == dotted


@pytest.mark.parametrize("text", ["", "1", "3.1", "1.40", "1.x", "2..1"])
def test_text_that_is_no_object_identifier_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        tlv.oid_to_bytes(text)


def test_an_endless_object_identifier_is_malformed() -> None:
    with pytest.raises(Malformed, match="too long"):
        tlv.oid_from_bytes(b"\x2a" + b"\xff" * 10_000 + b"\x01")

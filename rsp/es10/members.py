"""How the members of an ES10 structure are read, each with an error that names it (SGP.22 v2.5, 5.7)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from rsp import tlv
from rsp.errors import Malformed
from rsp.identifiers import Iccid, TransactionId
from rsp.tlv import Tlv

Version = tuple[int, int, int]

_INTEGER_OCTETS = 8
_REMEMBERED_BITS = 1024
"""Cards of one make say the same of what they can do."""


def member(members: Mapping[int, Tlv], tag: int, name: str) -> Tlv:
    found = members.get(tag)
    if found is None:
        raise Malformed(f"{name} (tag {tag:X}) is missing: send every mandatory member")
    return found


def octets(found: Tlv, name: str, shortest: int, longest: int) -> bytes:
    value = found.value
    if not shortest <= len(value) <= longest:
        raise Malformed(f"{name} has {len(value)} bytes: send {shortest} to {longest}")
    return value


def integer(members: Mapping[int, Tlv], tag: int, name: str) -> int:
    """An INTEGER of at most eight octets, so that whoever stores it needs no larger type."""
    found = member(members, tag, name)
    octets(found, name, 1, _INTEGER_OCTETS)
    return found.integer()


def version(found: Tlv) -> Version:
    major, minor, revision = octets(found, "VersionType", 3, 3)
    return major, minor, revision


def bit_string(found: Tlv) -> int:
    """A BIT STRING as a number in which bit n of the string counts 2 to the power of n."""
    return sum(1 << n for n in bit_numbers(found))


def bit_numbers(found: Tlv | None) -> frozenset[int]:
    """The numbers of the bits of a BIT STRING that are set; none where it is absent."""
    return _bits(octets(found, "BIT STRING", 1, 64), found.tag) if found else frozenset()


@lru_cache(_REMEMBERED_BITS)
def _bits(value: bytes, tag: int) -> frozenset[int]:
    unused = value[0]
    if unused > 7 or (len(value) == 1 and unused):
        raise Malformed(f"BIT STRING under tag {tag:X} announces {unused} unused bits")
    kept = (len(value) - 1) * 8 - unused
    return frozenset(n for n in range(kept) if value[1 + n // 8] & 0x80 >> n % 8)


def transaction_id(members: Mapping[int, Tlv]) -> TransactionId:
    return TransactionId(member(members, 0x80, "transactionId").value)


def signature_value(found: Tlv) -> bytes:
    return octets(found, "a signature (r and s side by side)", 64, 64)


def iccid(members: Mapping[int, Tlv]) -> Iccid | None:
    found = members.get(0x5A)
    return Iccid.from_bytes(found.value) if found else None


def alternative(outer: Tlv, name: str) -> Tlv:
    """The one member a CHOICE holds."""
    found = tlv.read(outer.data, outer.value_start, outer.end)
    if found.end != outer.end:
        raise Malformed(f"{name} is a choice: send one alternative, not several")
    return found


def in_order(outer: Tlv, *expected: tuple[int, str]) -> list[Tlv]:
    """The first members of a SEQUENCE in which a tag occurs more than once; what follows them is skipped."""
    children = list(outer.children())
    for place, (tag, name) in enumerate(expected):
        if place >= len(children) or children[place].tag != tag:
            raise Malformed(f"{name} (tag {tag:X}) is missing from its place in {outer.tag:X}")
    return children[: len(expected)]

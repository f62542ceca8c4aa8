"""Strict reading of DER for the virtual eUICC (ITU-T X.690): shortest lengths, members in order, BIT STRINGs."""

from __future__ import annotations

from collections.abc import Container, Iterable

from rsp import tlv

_MAX_DEPTH = 16


def parse(data: bytes, tag: int) -> tlv.Tlv:
    """The one object of `tag` that fills `data`, every tag and length inside it in the shortest form.

    Raises ValueError that names the first fault.
    """
    found = tlv.read_only(data, tag)
    check_shortest(found)
    return found


def check_shortest(found: tlv.Tlv, depth: int = 0) -> None:
    """Raise ValueError unless `found` and all inside it have the shortest tag and length (X.690, 8.1.2 and 10.1)."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"objects are nested deeper than {_MAX_DEPTH}: flatten the message")
    written = found.data[found.start : found.value_start]
    if written != tlv.header(found.tag, found.end - found.value_start):
        raise ValueError(f"tag {found.tag:X}: the length is not in the shortest form, as DER asks for")
    tag = written[:3]
    if tag[0] & 0x1F == 0x1F and (tag[1] == 0x80 or tag[1] < 0x1F):
        raise ValueError(f"tag {found.tag:X} is not in the shortest form, as DER asks for")
    if tag[0] & 0x20:
        for child in found.children():
            check_shortest(child, depth + 1)


def members(parent: tlv.Tlv, *order: int, optional: Container[int] = ()) -> dict[int, tlv.Tlv]:
    """The children by tag: only tags of `order`, in that order, each once, none missing but the `optional` ones."""
    found = parent.members()
    unknown = [tag for tag in found if tag not in order]
    if unknown:
        raise ValueError(f"tag {unknown[0]:X} does not belong into {parent.tag:X}")
    if list(found) != [tag for tag in order if tag in found]:
        raise ValueError(f"the members of {parent.tag:X} are not in the order of the standard")
    missing = [tag for tag in order if tag not in found and tag not in optional]
    if missing:
        raise ValueError(f"tag {missing[0]:X} is missing in {parent.tag:X}")
    return found


def only_child(parent: tlv.Tlv) -> tlv.Tlv:
    """The single object inside `parent`."""
    children = list(parent.children())
    if len(children) != 1:
        raise ValueError(f"{parent.tag:X} holds exactly one object")
    return children[0]


def sized(found: tlv.Tlv, smallest: int, largest: int | None = None) -> bytes:
    """The value, whose length must lie between `smallest` and `largest` bytes (exactly `smallest` when alone)."""
    value = found.value
    if not smallest <= len(value) <= (smallest if largest is None else largest):
        raise ValueError(f"tag {found.tag:X} holds {len(value)} bytes, which the standard does not allow")
    return value


def integer(found: tlv.Tlv) -> int:
    """The value as a non-negative INTEGER in the shortest form."""
    number = found.integer()
    if number < 0 or tlv.wrap_integer(found.tag, number) != found.raw:
        raise ValueError(f"tag {found.tag:X} is not an unsigned integer in the shortest form")
    return number


def boolean(found: tlv.Tlv) -> bool:
    """The value as a DER BOOLEAN: 00 or FF."""
    if found.value not in (b"\x00", b"\xff"):
        raise ValueError(f"tag {found.tag:X} is not a DER boolean: send 00 or FF")
    return found.value == b"\xff"


def text(found: tlv.Tlv, longest: int) -> str:
    """The value as UTF-8 text of at most `longest` characters."""
    read = found.text()
    if len(read) > longest:
        raise ValueError(f"tag {found.tag:X} is longer than {longest} characters")
    return read


def bits(found: tlv.Tlv) -> frozenset[int]:
    """The numbers of the bits that are set in a BIT STRING; trailing zero bits are accepted."""
    value = found.value
    if not value or value[0] > 7 or (len(value) == 1 and value[0]):
        raise ValueError(f"tag {found.tag:X} is not a BIT STRING")
    if len(value) > 1 and value[-1] & ((1 << value[0]) - 1):
        raise ValueError(f"tag {found.tag:X}: unused bits are not zero")
    return frozenset(
        place * 8 + bit for place, byte in enumerate(value[1:]) for bit in range(8) if byte & (0x80 >> bit)
    )


def wrap_bits(tag: int, numbers: Iterable[int]) -> bytes:
    """A BIT STRING with named bits under `tag`: trailing zero bits left out (X.690, 11.2.2)."""
    chosen = set(numbers)
    if not chosen:
        return tlv.wrap(tag, b"\x00")
    size = max(chosen) // 8 + 1
    value = sum(0x80 >> (number % 8) << 8 * (size - 1 - number // 8) for number in chosen)
    return tlv.wrap(tag, bytes((7 - max(chosen) % 8,)) + value.to_bytes(size, "big"))

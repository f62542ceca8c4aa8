"""Cut and wrap raw BER-TLV, so that signed bytes stay the received bytes (ISO/IEC 8825-1, definite lengths only)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import msgspec

from rsp.errors import Malformed

_MAX_TAG_BYTES = 3
_MAX_LENGTH_BYTES = 4
_MAX_OID_BYTES = 128
_REMEMBERED_HEADERS = 1024
"""A download writes some forty headers, nearly all of them the same as those of the one before."""
_REMEMBERED_OIDS = 256


class Tlv(msgspec.Struct, frozen=True, gc=False):
    """One data object inside a buffer: where its tag starts, where its value starts, where it ends.

    `tag` is the integer of the tag bytes as written, for example 0xBF38. A download makes hundreds of these objects,
    and a struct is made several times faster than a frozen dataclass.
    """

    data: bytes
    tag: int
    start: int
    value_start: int
    end: int

    @property
    def raw(self) -> bytes:
        """The whole object, tag and length included, exactly as received."""
        return self.data[self.start : self.end]

    @property
    def value(self) -> bytes:
        """The content octets."""
        return self.data[self.value_start : self.end]

    def children(self) -> Iterator[Tlv]:
        """The data objects of a constructed value, in order."""
        return objects(self.data, self.value_start, self.end)

    def members(self) -> dict[int, Tlv]:
        """The children by tag. Raises Malformed when a tag occurs twice."""
        children = _objects(self.data, self.value_start, self.end)
        found = {child.tag: child for child in children}
        if len(found) != len(children):
            tags = [child.tag for child in children]
            twice = next(tag for tag in tags if tags.count(tag) > 1)
            raise Malformed(f"tag {twice:X} occurs twice in {self.tag:X}: send each member once")
        return found

    def integer(self) -> int:
        """The value as a two's complement integer."""
        if self.value_start == self.end:
            raise Malformed(f"tag {self.tag:X} is empty: an integer needs at least one byte")
        return int.from_bytes(self.value, "big", signed=True)

    def text(self) -> str:
        """The value as UTF-8 text."""
        try:
            return self.value.decode()
        except UnicodeDecodeError as error:
            raise Malformed(f"tag {self.tag:X} is not UTF-8 text") from error


def read(data: bytes, offset: int = 0, end: int | None = None) -> Tlv:
    """Read the object that starts at `offset`; it must fit before `end`.

    Raises Malformed on a truncated object, an indefinite length, or a tag of more than three bytes.
    """
    limit = len(data) if end is None else end
    try:
        position = offset + 1
        tag = data[offset]
        if tag & 0x1F == 0x1F:
            more = True
            while more:
                if position - offset == _MAX_TAG_BYTES:
                    raise Malformed(f"tag at byte {offset} is longer than {_MAX_TAG_BYTES} bytes")
                byte = data[position]
                tag = tag << 8 | byte
                more = bool(byte & 0x80)
                position += 1
        length = data[position]
        position += 1
        if length > 0x7F:
            count = length & 0x7F
            if not 1 <= count <= _MAX_LENGTH_BYTES:
                raise Malformed(
                    f"length of tag {tag:X} at byte {offset} is indefinite or too long: use definite lengths"
                )
            length = int.from_bytes(data[position : position + count], "big")
            position += count
    except IndexError:
        raise Malformed(f"data ends inside the object at byte {offset}") from None
    if position > limit or length > limit - position:
        raise Malformed(f"tag {tag:X} at byte {offset} announces {length} bytes but {max(limit - position, 0)} follow")
    return Tlv(data, tag, offset, position, position + length)


def read_only(data: bytes, tag: int) -> Tlv:
    """Read one object that must carry `tag` and fill `data` to its end."""
    found = read(data)
    if found.tag != tag:
        raise Malformed(f"expected tag {tag:X}, found {found.tag:X}")
    if found.end != len(data):
        raise Malformed(f"{len(data) - found.end} bytes follow the object {tag:X}: send exactly one")
    return found


def objects(data: bytes, offset: int = 0, end: int | None = None) -> Iterator[Tlv]:
    """The objects that fill `data[offset:end]` one after another. Raises Malformed as `read` does."""
    return iter(_objects(data, offset, len(data) if end is None else end))


def _objects(data: bytes, offset: int, limit: int) -> list[Tlv]:
    found = []
    while offset < limit:
        tag, value = data[offset], offset + 2
        # Most have a tag and a length of one byte each; every other one, and one that does not fit, is for `read`.
        if tag & 0x1F != 0x1F and value <= limit and (length := data[offset + 1]) < 0x80 and value + length <= limit:
            one = Tlv(data, tag, offset, value, value + length)
        else:
            one = read(data, offset, limit)
        found.append(one)
        offset = one.end
    return found


@lru_cache(_REMEMBERED_HEADERS)
def header(tag: int, length: int) -> bytes:
    """Tag and length octets, DER: the shortest definite form."""
    head = tag.to_bytes((tag.bit_length() + 7) // 8 or 1, "big")
    if length < 0x80:
        return head + bytes((length,))
    size = (length.bit_length() + 7) // 8
    return head + bytes((0x80 | size,)) + length.to_bytes(size, "big")


def wrap(tag: int, *parts: bytes) -> bytes:
    """One object of `tag` around the concatenated `parts`."""
    value = parts[0] if len(parts) == 1 else b"".join(parts)
    return header(tag, len(value)) + value


def wrap_integer(tag: int, number: int) -> bytes:
    """An INTEGER under `tag` in the shortest two's complement form."""
    size = (number.bit_length() if number >= 0 else (number + 1).bit_length()) // 8 + 1
    return wrap(tag, number.to_bytes(size, "big", signed=True))


@lru_cache(_REMEMBERED_OIDS)
def oid_from_bytes(value: bytes) -> str:
    """Dotted form of the content octets of an OBJECT IDENTIFIER (ITU-T X.690, 8.19)."""
    if not value or value[-1] & 0x80:
        raise Malformed("an object identifier is empty or cut off")
    if len(value) > _MAX_OID_BYTES:
        # Python refuses to print integers of thousands of digits, with an error that is not ours.
        raise Malformed(f"an object identifier of {len(value)} bytes is too long: send at most {_MAX_OID_BYTES}")
    arcs: list[int] = []
    number = 0
    for byte in value:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(number)
            number = 0
    top = min(arcs[0] // 40, 2)
    return ".".join(map(str, (top, arcs[0] - 40 * top, *arcs[1:])))


def oid_to_bytes(dotted: str) -> bytes:
    """Content octets of an OBJECT IDENTIFIER from its dotted form."""
    parts = dotted.split(".")
    if len(parts) < 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise Malformed(f"{dotted!r} is not an object identifier: write numbers joined by dots, such as 2.999.10")
    top, second, *rest = map(int, parts)
    if top > 2 or (top < 2 and second > 39):
        raise Malformed(f"{dotted!r} is not an object identifier: its first two numbers are out of range")
    out = bytearray()
    for arc in (top * 40 + second, *rest):
        chunk = [arc & 0x7F]
        while arc := arc >> 7:
            chunk.append(0x80 | arc & 0x7F)
        out += bytes(reversed(chunk))
    return bytes(out)

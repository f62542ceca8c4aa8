"""Makes wrong messages of right ones: knows TLV, JSON and base64 inside JSON, and breaks them on purpose.

Everything follows from the seed of the random generator, so that a finding can be made again.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from rsp import tlv

LARGEST = 64 * 1024
"""Bytes of the longest input that is made."""

_DEPTH_BOMB = 3000
_NUMBERS = (0, 1, -1, 127, 128, 255, 256, 2**31 - 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 1.5, -0.0, 1e308)
_TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "\U0001f4a9",
    "é\u202e\uffff",
    "٣" * 19,
    "²" * 32,
    "0" * 5000,
    "A" * 20_000,
    "-1",
    "1e9",
    "NaN",
    "null",
    "true",
    "../../etc/passwd",
    "'; DROP TABLE orders; --",
    "${jndi:ldap://x}",
    "%s%n%x",
    "<script>",
    "2026-13-45T99:99:99Z",
    "=" * 64,
    "////",
)
_OCTETS = (
    b"",
    b"\x00",
    b"\xff",
    b"\x80",
    b"\x7f",
    b"\x00" * 10,
    b"\xff" * 10,
    b"\xff" * 16,
    b"\x80" * 9,
    b"\x00" * 300,
    b"\xff" * 20_000,
    b"\xc3\x28",
    b"\xed\xa0\x80",
    "é".encode() * 40,
    b"\x04" + b"\xff" * 64,
    bytes(65),
    b"\x30\x80\x00\x00",
)
_TAGS: tuple[int, ...] = (
    *(0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x13, 0x1F00, 0x30, 0x31, 0x5A, 0x5F37, 0x80, 0x81, 0x82, 0xA0),
    *(0xA1, 0xA2, 0xBF20, 0xBF22, 0xBF25, 0xBF2D, 0xBF2F, 0xBF37, 0xBF38, 0xBF51, 0xBF8101, 0xBFFFFF, 0xDFFF7F),
)
_LENGTHS: tuple[bytes, ...] = (
    *(b"\x80", b"\x81", b"\x84\xff\xff\xff\xff", b"\x84\x7f\xff\xff\xff", b"\x85\x00\x00\x00\x00\x01", b"\x83"),
    *(b"\xff" + b"\x7f" * 127, b"\x82\x00\x01", b"\x81\x00", b"\x00", b"\x01", b"\x7f", b"\x88" + bytes(8)),
)


@dataclass(slots=True)
class _Node:
    """One object; `children` is None for a primitive one. `head` replaces its tag and length by a lie.

    Without a tag `value` is a whole object that is not looked into.
    """

    tag: bytes
    value: bytes
    children: list[_Node] | None = None
    head: bytes | None = None

    def encode(self) -> bytes:
        value = self.value if self.children is None else b"".join(child.encode() for child in self.children)
        if self.head is not None:
            return self.head + value
        return self.tag + _length(len(value)) + value if self.tag else value


@cache
def _hole(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = b"\x30" + _length(len(data)) + data
    return data


def _length(size: int) -> bytes:
    return bytes((size,)) if size < 0x80 else tlv.header(0, size)[1:]


def _parsed(data: bytes, depth: int = 0) -> list[_Node] | None:
    """The objects that fill `data`, or None when it is something else."""
    try:
        found = list(tlv.objects(data))
    except ValueError:
        return None
    return [_node(one, depth) for one in found]


def _node(found: tlv.Tlv, depth: int) -> _Node:
    tag = found.tag.to_bytes((found.tag.bit_length() + 7) // 8 or 1, "big")
    inner = _parsed(found.value, depth + 1) if tag[0] & 0x20 and depth < 40 else None
    return _Node(tag, found.value, inner)


@dataclass(slots=True)
class Mutator:
    """Breaks messages; `pool` are whole right ones whose parts may turn up anywhere."""

    random: random.Random
    pool: Sequence[bytes] = field(default=(), repr=False)
    _donors: list[_Node] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        """Every object of the pool, at whatever depth, as one that is not looked into."""
        pending = [node for data in self.pool for node in _parsed(data) or ()]
        while pending:
            node = pending.pop()
            pending += node.children or ()
            raw = node.encode()
            self._donors.append(_Node(b"", raw))

    def octets(self, data: bytes) -> bytes:
        """Without knowledge of any form."""
        out = bytearray(data)
        for _ in range(self.random.choice((1, 1, 1, 2, 4, 16))):
            self.random.choice((self._flip, self._cut, self._insert, self._overwrite, self._repeat))(out)
        return bytes(out[:LARGEST])

    def tlv(self, data: bytes) -> bytes:
        """One to four faults in the tree of objects, sometimes in the bytes as well."""
        nodes = _parsed(data)
        if not nodes or self.random.random() < 0.15:
            return self.octets(data)
        for _ in range(self.random.choice((1, 1, 1, 2, 2, 4))):
            self._break_node(nodes)
        out = b"".join(node.encode() for node in nodes)
        return self.octets(out) if self.random.random() < 0.05 else out[:LARGEST]

    def json(self, data: bytes) -> bytes:
        """One to three faults in the members; base64 in them is opened and broken inside."""
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return self.octets(data)
        if self.random.random() < 0.12:
            return self._raw_json(data)
        for _ in range(self.random.choice((1, 1, 2, 3))):
            value = self._break_json(value)
        text = json.dumps(value, ensure_ascii=self.random.random() < 0.8)
        return text.encode("utf-8", "surrogatepass")[:LARGEST]

    def text(self, data: bytes) -> bytes:
        """Text of identifiers."""
        kind = self.random.random()
        if kind < 0.2:
            return self.random.choice(_TEXTS).encode("utf-8", "surrogatepass")
        if kind < 0.6:
            return self.octets(data)
        letters = list(data.decode("utf-8", "replace"))
        for _ in range(self.random.randint(1, 4)):
            letters.insert(
                self.random.randint(0, len(letters)), chr(self.random.choice((0, 9, 32, 0x24, 0x660, 0xFF10, 0xB2)))
            )
        return "".join(letters).encode()

    # Bytes ------------------------------------------------------------------------------------------------------------

    def _flip(self, out: bytearray) -> None:
        if out:
            out[self.random.randrange(len(out))] ^= 1 << self.random.randrange(8)

    def _cut(self, out: bytearray) -> None:
        start = self.random.randint(0, len(out))
        del out[start : start + self.random.choice((1, 1, 2, 5, 20, len(out)))]

    def _insert(self, out: bytearray) -> None:
        place = self.random.randint(0, len(out))
        out[place:place] = self.random.choice(_OCTETS)

    def _overwrite(self, out: bytearray) -> None:
        place = self.random.randint(0, len(out))
        noise = self.random.choice(
            (self.random.choice(_OCTETS), self.random.choice(_LENGTHS), self.random.randbytes(4))
        )
        out[place : place + len(noise)] = noise

    def _repeat(self, out: bytearray) -> None:
        start = self.random.randint(0, len(out))
        piece = bytes(out[start : start + self.random.randint(1, 40)])
        out[start:start] = piece * self.random.choice((1, 2, 50))

    # Objects ----------------------------------------------------------------------------------------------------------

    def _break_node(self, nodes: list[_Node]) -> None:
        siblings, place = self._place(nodes)
        if not siblings:
            siblings.append(_Node(b"\x30", b"", []))
            return
        kinds: tuple[Callable[[list[_Node], int], None], ...] = (
            self._drop,
            self._double,
            self._swap,
            self._fill,
            self._retag,
            self._lie,
            self._long_form,
            self._nest,
            self._transplant,
            self._shorten,
            self._dig,
        )
        self.random.choice(kinds)(siblings, place)

    def _place(self, nodes: list[_Node]) -> tuple[list[_Node], int]:
        """A random object: its siblings and its place among them."""
        siblings = nodes
        while True:
            if not siblings:
                return siblings, 0
            place = self.random.randrange(len(siblings))
            inner = siblings[place].children
            # At the very top a fault leaves little to read.
            if inner is None or self.random.random() < (0.04 if siblings is nodes else 0.25):
                return siblings, place
            siblings = inner

    def _drop(self, siblings: list[_Node], place: int) -> None:
        del siblings[place]

    def _double(self, siblings: list[_Node], place: int) -> None:
        siblings[place:place] = [siblings[place]] * self.random.choice((1, 1, 1, 2, 2, 2, 3, 200))

    def _swap(self, siblings: list[_Node], place: int) -> None:
        other = self.random.randrange(len(siblings))
        siblings[place], siblings[other] = siblings[other], siblings[place]

    def _fill(self, siblings: list[_Node], place: int) -> None:
        filling = self.random.choice((self.random.choice(_OCTETS), self.random.randbytes(self.random.randint(0, 40))))
        siblings[place] = _Node(siblings[place].tag, filling)

    def _retag(self, siblings: list[_Node], place: int) -> None:
        tag = self.random.choice(_TAGS)
        siblings[place].tag = tag.to_bytes((tag.bit_length() + 7) // 8 or 1, "big")

    def _lie(self, siblings: list[_Node], place: int) -> None:
        node = siblings[place]
        size = len(node.encode())
        told = self.random.choice((self.random.choice(_LENGTHS), _length(max(0, size + self.random.randint(-9, 9)))))
        node.head = node.tag + told

    def _long_form(self, siblings: list[_Node], place: int) -> None:
        """The right length in more bytes than it needs."""
        node = siblings[place]
        size = len(node.encode()) - len(node.tag) - len(_length(len(node.value)))
        count = self.random.choice((3, 4, 5))
        node.head = node.tag + bytes((0x80 | count,)) + max(size, 0).to_bytes(count, "big")

    def _nest(self, siblings: list[_Node], place: int) -> None:
        data, depth = siblings[place].encode(), self.random.choice((1, 1, 2, 2, 5, 20, 60))
        for _ in range(depth):
            data = siblings[place].tag + _length(len(data)) + data
        siblings[place] = _Node(b"\x30", data)

    def _dig(self, siblings: list[_Node], place: int) -> None:
        """A deep hole of empty objects."""
        siblings[place] = _Node(siblings[place].tag, _hole(self.random.choice((5, 50, _DEPTH_BOMB))))

    def _transplant(self, siblings: list[_Node], place: int) -> None:
        if self._donors:
            siblings[place] = self.random.choice(self._donors)

    def _shorten(self, siblings: list[_Node], place: int) -> None:
        node = siblings[place]
        value = node.encode()[len(node.tag) + 1 :]
        siblings[place] = _Node(node.tag, value[: self.random.randint(0, len(value))])

    # JSON -------------------------------------------------------------------------------------------------------------

    def _raw_json(self, data: bytes) -> bytes:
        bomb = self.random.choice((200, _DEPTH_BOMB, 30_000))
        bombs = (b"[" * bomb, b'{"a":' * (bomb // 2), b"[" * bomb + b"]" * bomb)
        kinds = (
            lambda: self.octets(data),
            lambda: self.random.choice(bombs)[:LARGEST],
            lambda: data[:-1] + b',"x":' + self.random.choice(bombs)[: LARGEST // 2] + b"}",
            lambda: data[:-1] + b"," + data[1:],
            lambda: data + data,
            lambda: data.decode("utf-8", "replace").encode("utf-16"),
            lambda: b"\xef\xbb\xbf" + data,
            lambda: data.replace(b'"', b"'"),
            lambda: data.replace(b":", b":NaN,", 1),
            lambda: self._colossal_number(data),
        )
        return self.random.choice(kinds)()

    def _colossal_number(self, data: bytes) -> bytes:
        """One value becomes a number of more digits than Python prints."""
        places = [place for place, byte in enumerate(data) if byte == ord(":")]
        if not places:
            return b"9" * 5000
        place = self.random.choice(places) + 1
        end = min((found for found in (data.find(b",", place), data.find(b"}", place)) if found > 0), default=place)
        return data[:place] + b"9" * self.random.choice((400, 5000, 30_000)) + data[end:]

    def _break_json(self, value: Any) -> Any:
        holder, key = self._member(value)
        if holder is None:
            return self._other(value)
        kind = self.random.random()
        if kind < 0.15:
            del holder[key]
        elif kind < 0.25 and isinstance(holder, dict):
            holder[self.random.choice(("x", "", "\0", key.upper(), key + " "))] = holder[key]
        else:
            holder[key] = self._other(holder[key])
        return value

    def _member(self, value: Any) -> tuple[Any, Any]:
        """A random holder and the key of one of its members; (None, None) when there is none."""
        holder, key = None, None
        while isinstance(value, dict | list) and value:
            holder = value
            key = self.random.choice(list(value)) if isinstance(value, dict) else self.random.randrange(len(value))
            if self.random.random() < 0.2:
                break
            value = value[key]
        return holder, key

    def _other(self, value: Any) -> Any:
        if isinstance(value, str) and self.random.random() < 0.6:
            return self._other_text(value)
        return self.random.choice(
            (
                None,
                self.random.random() < 0.5,
                self.random.choice(_NUMBERS),
                self.random.choice(_TEXTS),
                [value],
                {"a": value},
                [],
                {},
                [value] * (1000 if isinstance(value, int | str) and self.random.random() < 0.1 else 2),
            )
        )

    def _other_text(self, value: str) -> str:
        """Base64 of a broken object where it was base64 of one, else a text like it."""
        try:
            inner = base64.b64decode(value, validate=True) if len(value) >= 8 else b""
        except ValueError:
            inner = b""
        if inner and self.random.random() < 0.8:
            return base64.b64encode(self.tlv(inner)).decode()
        if self.random.random() < 0.3:
            return self.random.choice(_TEXTS)
        return self.text(value.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")

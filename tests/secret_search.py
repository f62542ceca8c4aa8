"""Looks for secrets in anything a server leaves behind: raw, hexadecimal, base64 at any offset, UTF-16, percent."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes


def spellings(secret: bytes) -> dict[str, bytes]:
    """The bytes by which a secret would be found, by the name of the spelling."""
    found = {
        "raw": secret,
        "hex": secret.hex().encode(),
        "HEX": secret.hex().upper().encode(),
        "spaced hex": secret.hex(" ").encode(),
        "colon hex": secret.hex(":").encode(),
        "escaped": str(secret)[2:-1].encode(),
        "percent": quote_from_bytes(secret, safe="").encode(),
        "decimal": str(int.from_bytes(secret, "big")).encode(),
        "hex of hex": secret.hex().encode().hex().encode(),
    }
    for offset in range(3):
        # The first and last characters depend on the neighbours and are left out.
        coded = base64.b64encode(bytes(offset) + secret + bytes(2))
        inner = coded[-(-offset * 4 // 3) + (offset > 0) : (offset + len(secret)) * 4 // 3]
        found[f"base64+{offset}"] = inner
        found[f"base64url+{offset}"] = inner.translate(bytes.maketrans(b"+/", b"-_"))
    if secret.isascii():
        found |= {"utf-16-le": secret.decode().encode("utf-16-le"), "utf-16-be": secret.decode().encode("utf-16-be")}
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Needle:
    """One secret that must not be found."""

    name: str
    secret: bytes

    def within(self, place: bytes) -> list[str]:
        """The spellings in which `place` holds it."""
        return [name for name, spelling in spellings(self.secret).items() if spelling in place]


def search(needles: list[Needle], places: Mapping[str, bytes]) -> list[str]:
    """Every find, as `secret, spelling, place`."""
    return [
        f"{needle.name}, {spelling}, {name}"
        for name, place in places.items()
        for needle in needles
        for spelling in needle.within(place)
    ]


def files_below(folder: Path, *without: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every regular file that is there long enough to be read."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or any(path.is_relative_to(left) for left in without):
            continue
        try:
            yield str(path.relative_to(folder)), path.read_bytes()
        except FileNotFoundError:
            continue

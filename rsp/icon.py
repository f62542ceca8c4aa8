"""The icon of a profile: a JPEG or PNG picture of 64 by 64 pixels (SGP.22 5.5.3), known by its first bytes."""

from __future__ import annotations

from rsp.errors import Malformed
from rsp.metadata import MAX_ICON, IconType

SIDE = 64
"""Pixels of an icon, both ways."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = b"\x00\x00\x00\rIHDR"
_JPEG = b"\xff\xd8"
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
# C4, C8 and CC lie among the frame headers (SOF) and are none.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_icon(icon: bytes, claimed: IconType | None = None) -> IconType:
    """The format of `icon`, which must be the `claimed` one where given.

    Raises Malformed unless it is a JPEG or PNG of 64 by 64 pixels and at most 1024 bytes.
    """
    if len(icon) > MAX_ICON:
        raise Malformed(f"an icon is at most {MAX_ICON} bytes, this one has {len(icon)}: compress it more")
    if icon.startswith(_PNG):
        found, size = IconType.PNG, _png_size(icon)
    elif icon.startswith(_JPEG):
        found, size = IconType.JPG, _jpeg_size(icon)
    else:
        raise Malformed("an icon is a JPEG or PNG picture: this is neither")
    if size is None:
        raise Malformed("the icon does not say its size: the file is damaged")
    if size != (SIDE, SIDE):
        raise Malformed(f"an icon is {SIDE} by {SIDE} pixels, this one is {size[0]} by {size[1]}")
    if claimed not in (None, found):
        raise Malformed(f"iconType and icon differ: the picture is a {found.name}")
    return found


def _png_size(icon: bytes) -> tuple[int, int] | None:
    start = len(_PNG)
    if icon[start : start + 8] != _PNG_HEADER or len(icon) < start + 16:
        return None
    return int.from_bytes(icon[start + 8 : start + 12], "big"), int.from_bytes(icon[start + 12 : start + 16], "big")


def _jpeg_size(icon: bytes) -> tuple[int, int] | None:
    """Width and height in the first frame header; None when the segments do not lead to one."""
    place = len(_JPEG)
    while place + 4 <= len(icon) and icon[place] == 0xFF:
        marker = icon[place + 1]
        if marker == 0xFF or marker in _STANDALONE:
            place += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAMES and place + 9 <= len(icon):
            height, width = icon[place + 5 : place + 7], icon[place + 7 : place + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        length = int.from_bytes(icon[place + 2 : place + 4], "big")
        if length < 2:
            return None
        place += 2 + length
    return None

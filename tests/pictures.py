"""Pictures for icons, made here: whole PNG files, and JPEG files as far as a reader of their size looks."""

from __future__ import annotations

import struct
import zlib


def png(width: int = 64, height: int = 64, *, filler: int = 0) -> bytes:
    """A grey picture; `filler` bytes of a text chunk make the file longer."""
    rows = b"".join(b"\x00" + bytes(width) for _ in range(height))
    text = _chunk(b"tEXt", b"Comment\x00" + b"x" * filler) if filler else b""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = _chunk(b"IHDR", header), text, _chunk(b"IDAT", zlib.compress(rows, 9)), _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png_of(size: int) -> bytes:
    """A picture of 64 by 64 pixels in a file of exactly `size` bytes."""
    made = png(filler=size - len(png(filler=1)) + 1)
    assert len(made) == size
    return made


def jpeg(width: int = 64, height: int = 64, frame: int = 0xC0, padding: bytes = b"") -> bytes:
    """The head of a JPEG file: application segment, tables, frame header."""
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"),
            _segment(0xDB, bytes(65)),
            padding,
            _segment(frame, b"\x08" + struct.pack(">HH", height, width) + b"\x01\x01\x11\x00"),
            b"\xff\xd9",
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data

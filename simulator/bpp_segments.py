"""The LPA's cutting of a bound profile package into the pieces it sends to the card (SGP.22 2.5.5)."""

from __future__ import annotations

from rsp import tlv

_INITIALISE = 0xBF23
_ORDER = (_INITIALISE, 0xA0, 0xA1, 0xA2, 0xA3)
_INNER = {0xA0: 0x87, 0xA1: 0x88, 0xA2: 0x87, 0xA3: 0x86}
_SENT_WHOLE = (0xA0, 0xA2)
_OPTIONAL = (0xA2,)


def split_bound_profile_package(bpp: bytes) -> list[bytes]:
    """The pieces of a BF36 object in sending order; joined, they are the package again.

    BF36 header with BF23; A0 whole; A1 header, then each 88; A2 whole when present; A3 header, then each 86.
    Raises ValueError when a sequence is missing, empty, misplaced or of foreign segments.
    """
    package = tlv.read_only(bpp, 0xBF36)
    children = list(package.children())
    expected = [tag for tag in _ORDER if tag not in _OPTIONAL or any(child.tag == tag for child in children)]
    if [child.tag for child in children] != expected:
        raise ValueError("a bound profile package is BF23, A0, A1, A2 where keys are replaced, A3, in this order")
    pieces = [bpp[: children[0].end]]
    for child in children[1:]:
        pieces += _pieces(child)
    return pieces


def _pieces(sequence: tlv.Tlv) -> list[bytes]:
    segments = list(sequence.children())
    if not segments or any(segment.tag != _INNER[sequence.tag] for segment in segments):
        raise ValueError(
            f"sequence {sequence.tag:X} holds one or more segments {_INNER[sequence.tag]:X} and nothing else"
        )
    if sequence.tag in _SENT_WHOLE:
        return [sequence.raw]
    return [sequence.data[sequence.start : sequence.value_start], *(segment.raw for segment in segments)]

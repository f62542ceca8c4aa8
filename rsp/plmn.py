"""Network codes (MCC and MNC) as three bytes (3GPP TS 24.008, 10.5.1.3)."""

from __future__ import annotations

import re

from rsp.errors import Malformed

_TEXT = re.compile(r"([0-9]{3})-?([0-9]{2,3})", re.ASCII)
_BYTES = re.compile(r"[0-9]{3}[0-9f][0-9]{2}", re.ASCII)


def plmn_to_bytes(text: str) -> bytes:
    """Three bytes from text such as `310-410` or `26201`; a two-digit MNC is padded with F."""
    found = _TEXT.fullmatch(text)
    if not found:
        raise Malformed(f"{text!r} is not a network code: write MCC and MNC such as 262-01 or 310-410")
    mcc, mnc = found.groups()
    third = mnc[2] if len(mnc) == 3 else "f"
    return bytes.fromhex(mcc[1] + mcc[0] + third + mcc[2] + mnc[1] + mnc[0])


def plmn_to_text(value: bytes) -> str:
    """`MCC-MNC` from the three bytes. Raises Malformed when a digit is not decimal."""
    nibbles = value.hex()
    if len(nibbles) != 6:
        raise Malformed(f"a network code is 3 bytes, found {len(value)}")
    digits = nibbles[1] + nibbles[0] + nibbles[3] + nibbles[2] + nibbles[5] + nibbles[4]
    if not _BYTES.fullmatch(digits):
        raise Malformed(f"{value.hex()} is not a network code: MCC and MNC are decimal digits")
    return f"{digits[:3]}-{digits[4:]}{digits[3].rstrip('f')}"

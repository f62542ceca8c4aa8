"""Deliberate faults in the form of what a card answers: cut off, wrong lengths, more than there should be (X.690)."""

from __future__ import annotations

from collections.abc import Set

from cryptography.hazmat.primitives.asymmetric import ec

from rsp import tlv
from simulator.misbehaviour import Misbehaviour

_EXTRA = tlv.wrap(0xBF7E, tlv.wrap(0x80, b"from a later version"))
_HUGE_LENGTH = b"\x84\x7f\xff\xff\xff"


def mangled(answer: bytes, misbehave: Set[Misbehaviour]) -> bytes:
    """`answer`, one TLV, with the faults of form that the card was told to make."""
    if Misbehaviour.LONG_LENGTHS in misbehave:
        answer = _long_form(tlv.read(answer))
    if Misbehaviour.INDEFINITE_LENGTH in misbehave:
        found = tlv.read(answer)
        answer = _tag(found) + b"\x80" + found.value + b"\x00\x00"
    if Misbehaviour.OVERSIZED_LENGTH in misbehave:
        found = tlv.read(answer)
        answer = _tag(found) + _HUGE_LENGTH + found.value
    if Misbehaviour.TRAILING_BYTES in misbehave:
        answer += b"\x00\x00"
    return answer[: len(answer) // 2] if Misbehaviour.TRUNCATED_RESPONSE in misbehave else answer


def extra_members(misbehave: Set[Misbehaviour]) -> bytes:
    """What a card of a later version adds to what it signs, if it was told to."""
    return _EXTRA if Misbehaviour.UNKNOWN_MEMBERS in misbehave else b""


def curve_for(asked: ec.EllipticCurve, misbehave: Set[Misbehaviour]) -> ec.EllipticCurve:
    """The curve of a one-time key: the one asked for, or the other one."""
    if Misbehaviour.OTHER_CURVE not in misbehave:
        return asked
    return ec.BrainpoolP256R1() if asked.name == "secp256r1" else ec.SECP256R1()


def _tag(found: tlv.Tlv) -> bytes:
    return found.tag.to_bytes((found.tag.bit_length() + 7) // 8, "big")


def _long_form(found: tlv.Tlv) -> bytes:
    """The outermost length in four octets, which BER allows and DER does not; what is signed inside stays as it is."""
    return _tag(found) + b"\x84" + (found.end - found.value_start).to_bytes(4, "big") + found.value

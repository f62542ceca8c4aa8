"""The certificate of an eUICC read by slices of its DER (SGP.22 v2.5, 4.5.2.1; RFC 5280).

Every download brings a certificate nobody has seen before, and few of its fields are ever asked for. `euicc` reads the
one form that eUICC manufacturers write, byte for byte as DER wants it, a sixth of the time the whole reader takes. Of
anything else it says nothing: the whole reader judges that. Whatever it reads the whole reader reads alike.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from crypto.curves import Curve


class Sliced(NamedTuple):
    """What the slices hold. `point` is the uncompressed public key, not yet known to lie on the curve."""

    serial_number: int
    subject_key_id: bytes
    authority_key_id: bytes
    not_before: datetime
    not_after: datetime
    eid: str
    organization: str
    curve: Curve
    point: bytes
    signed_part: bytes
    signature: bytes


class _Unusual(Exception):  # noqa: N818 -- the name is the fact
    """Not the usual form: for the whole reader to judge."""


_VERSION_3 = bytes.fromhex("a003020102")
_ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
_KEYS = {
    Curve.P256: bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200"),
    Curve.BRAINPOOL_P256R1: bytes.fromhex("305a301406072a8648ce3d020106092b2403030208010107034200"),
}
_POINT_LENGTH = 65
_UTC_TIME = re.compile(rb"\x17\x0d([0-9]{12})Z")
_LATE_TIME = re.compile(rb"\x18\x0f([2-9][0-9]{13})Z")
_FIRST_LATE_YEAR = 2050

_COUNTRY, _COMMON_NAME, _SERIAL_NUMBER, _ORGANIZATION, _UNIT = (
    b"\x06\x03\x55\x04" + bytes((last,)) for last in (6, 3, 5, 10, 11)
)
_NAMES = frozenset({_COUNTRY, _COMMON_NAME, _SERIAL_NUMBER, _ORGANIZATION, _UNIT})
_TEXT = re.compile(rb"[A-Za-z0-9 '()+,./:=?-]{1,64}")
"""The letters that every string type of a name has in common."""
_TEXT_TAGS = b"\x0c\x13"

_CRITICAL = b"\x01\x01\xff"
_SUBJECT_KEY_ID = bytes.fromhex("0603551d0e")
_AUTHORITY_KEY_ID = bytes.fromhex("0603551d23")
_FIXED = {
    bytes.fromhex("0603551d0f"): bytes.fromhex("04040302" + "0780"),  # keyUsage: digitalSignature alone
    bytes.fromhex("0603551d20"): bytes.fromhex("040d300b3009060767811201020101"),  # certificatePolicies: role eUICC
}
_REQUIRED = frozenset({_SUBJECT_KEY_ID, _AUTHORITY_KEY_ID, *_FIXED})
_SUBJECT_KEY = bytes.fromhex("04160414")
_AUTHORITY_KEY = bytes.fromhex("041830168014")
_KEY_ID_LENGTH = 20
_REMEMBERED = 256
_LONGEST = 0xFFFF


def euicc(der: bytes) -> Sliced | None:
    """The usual certificate of an eUICC; None for anything else, well formed or not."""
    try:
        return _certificate(der)
    except (_Unusual, ValueError, IndexError):
        return None


def _certificate(der: bytes) -> Sliced:
    start, end = _open(der, 0, 0x30)
    signed_start, signed_end = _open(der, start, 0x30)
    serial_number, at = _integer(der, _exactly(der, signed_start, _VERSION_3))
    at = _exactly(der, at, _ECDSA_WITH_SHA256)
    issuer_end = _open(der, at, 0x30)[1]
    _usual_issuer(der[at:issuer_end])
    not_before, not_after, at = _validity(der, issuer_end)
    subject_end = _open(der, at, 0x30)[1]
    subject = _attributes(der[at:subject_end])
    curve, point, at = _key(der, subject_end)
    subject_key_id, authority_key_id = _extensions(der, at, signed_end)
    signature_start, signature_end = _open(der, _exactly(der, signed_end, _ECDSA_WITH_SHA256), 0x03)
    if signature_end != end or end != len(der) or der[signature_start] or signature_end - signature_start < 2:
        raise _Unusual
    return Sliced(
        serial_number,
        subject_key_id,
        authority_key_id,
        not_before,
        not_after,
        subject.get(_SERIAL_NUMBER, ""),
        subject.get(_ORGANIZATION, ""),
        curve,
        point,
        der[start:signed_end],
        der[signature_start + 1 : end],
    )


def _open(der: bytes, at: int, tag: int) -> tuple[int, int]:
    """Where the value of the object at `at` begins and ends; its length is written as short as it can be."""
    if der[at] != tag:
        raise _Unusual
    length, start = der[at + 1], at + 2
    if length == 0x81:
        length, start = der[at + 2], at + 3
        if length < 0x80:
            raise _Unusual
    elif length == 0x82:
        length, start = int.from_bytes(der[at + 2 : at + 4], "big"), at + 4
        if length < 0x100:
            raise _Unusual
    elif length > 0x7F:
        raise _Unusual
    if start + length > len(der):
        raise _Unusual
    return start, start + length


def _exactly(der: bytes, at: int, wanted: bytes) -> int:
    """The end of `wanted`, which is all there may be."""
    if not der.startswith(wanted, at):
        raise _Unusual
    return at + len(wanted)


def _integer(der: bytes, at: int) -> tuple[int, int]:
    """A serial number and its end: positive, of 1 to 20 bytes, and no byte too many."""
    start, end = _open(der, at, 0x02)
    first = der[start]
    if not 1 <= end - start <= 20 or first > 0x7F or (first == 0 and (end - start == 1 or der[start + 1] < 0x80)):
        raise _Unusual
    return int.from_bytes(der[start:end], "big"), end


def _attributes(name: bytes) -> dict[bytes, str]:
    """What a name says, by OID: attributes that are known, each once and in a set of its own."""
    found: dict[bytes, str] = {}
    at, end = _open(name, 0, 0x30)
    while at < end:
        # Set, pair, OID, text: as long as the longest text is short, so are all their lengths.
        length = name[at + 1]
        set_end = at + 2 + length
        kind, text = name[at + 4 : at + 9], name[at + 11 : set_end]
        if name[at] != 0x31 or name[at + 2] != 0x30 or length > 0x7F or name[at + 3] != length - 2:
            raise _Unusual
        if kind not in _NAMES or kind in found or name[at + 9] not in _TEXT_TAGS or name[at + 10] != len(text):
            raise _Unusual
        if not _TEXT.fullmatch(text) or (kind == _COUNTRY and len(text) != 2):
            raise _Unusual
        found[kind] = text.decode("ascii")
        at = set_end
    if at != end or not found:
        raise _Unusual
    return found


@lru_cache(_REMEMBERED)
def _usual_issuer(name: bytes) -> None:
    """All cards of one make have the same."""
    _attributes(name)


def _validity(der: bytes, at: int) -> tuple[datetime, datetime, int]:
    start, end = _open(der, at, 0x30)
    middle = start + 2 + der[start + 1]
    return _moment(der[start:middle]), _moment(der[middle:end]), end


@lru_cache(_REMEMBERED)
def _moment(time: bytes) -> datetime:
    """Seconds of UTC: in two digits of the year up to 2049, in four after (RFC 5280, 4.1.2.5)."""
    found = _UTC_TIME.fullmatch(time)
    if found is not None:
        digits = found[1].decode("ascii")
        digits = ("19" if digits >= "5" else "20") + digits
    else:
        found = _LATE_TIME.fullmatch(time)
        if found is None:
            raise _Unusual
        digits = found[1].decode("ascii")
        if int(digits[:4]) < _FIRST_LATE_YEAR:
            raise _Unusual
    month, day, hour, minute, second = (int(digits[place : place + 2]) for place in range(4, 14, 2))
    return datetime(int(digits[:4]), month, day, hour, minute, second, tzinfo=UTC)


def _key(der: bytes, at: int) -> tuple[Curve, bytes, int]:
    for curve, head in _KEYS.items():
        if der.startswith(head, at):
            start = at + len(head)
            point = der[start : start + _POINT_LENGTH]
            if len(point) == _POINT_LENGTH and point[0] == 0x04:
                return curve, point, start + _POINT_LENGTH
    raise _Unusual


def _extensions(der: bytes, at: int, end: int) -> tuple[bytes, bytes]:
    """Both key ids of the four extensions, each of which is there once."""
    at, wrapped = _open(der, at, 0xA3)
    at, inner = _open(der, at, 0x30)
    if wrapped != end or inner != end:
        raise _Unusual
    found: dict[bytes, bytes] = {}
    while at < end:
        at, next_at = _open(der, at, 0x30)
        kind = der[at : at + 5]
        value = der[at + 5 : next_at].removeprefix(_CRITICAL)
        if kind in found or value != _FIXED.get(kind, value):
            raise _Unusual
        found[kind] = value
        at = next_at
    if at != end or found.keys() != _REQUIRED:
        raise _Unusual
    return _key_id(found[_SUBJECT_KEY_ID], _SUBJECT_KEY), _key_id(found[_AUTHORITY_KEY_ID], _AUTHORITY_KEY)


def _key_id(value: bytes, head: bytes) -> bytes:
    if not value.startswith(head) or len(value) != len(head) + _KEY_ID_LENGTH:
        raise _Unusual
    return value[len(head) :]

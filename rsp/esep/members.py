"""How the members of SGP.32 structures are read and written, each with an error that names it (SGP.32 v1.2, 6.3)."""

from __future__ import annotations

from collections.abc import Mapping

from rsp import tlv
from rsp.errors import Malformed
from rsp.es10.members import member, octets
from rsp.identifiers import Eid, TransactionId
from rsp.tlv import Tlv

_INTEGER_OCTETS = 8
_CODE_OCTETS = 4
_MAX_EIM_ID = 128
_SCALAR = 32


class EidMissing(Malformed):
    """A request that must name its eUICC does not: answered with missingEid."""


class EidInvalid(Malformed):
    """An EID that is not 32 decimal digits in 16 bytes: answered with invalidEid."""


def eid(found: Tlv) -> Eid:
    try:
        return Eid.from_bytes(octets(found, "eidValue", 16, 16))
    except Malformed as error:
        raise EidInvalid(str(error)) from None


def number(found: Tlv, name: str) -> int:
    """An INTEGER of at most eight octets, so that whoever stores it needs no larger type."""
    octets(found, name, 1, _INTEGER_OCTETS)
    return found.integer()


def result_code(found: Tlv, name: str) -> int:
    """A result or error code: an INTEGER of at most four octets, many times what the standard names."""
    octets(found, name, 1, _CODE_OCTETS)
    return found.integer()


def optional_number(members: Mapping[int, Tlv], tag: int, name: str) -> int | None:
    found = members.get(tag)
    return number(found, name) if found else None


def optional_text(members: Mapping[int, Tlv], tag: int) -> str | None:
    found = members.get(tag)
    return found.text() if found else None


def optional_raw(members: Mapping[int, Tlv], tag: int) -> bytes | None:
    found = members.get(tag)
    return found.raw if found else None


def optional_flag(members: Mapping[int, Tlv], tag: int, name: str) -> bool | None:
    found = members.get(tag)
    return None if found is None else octets(found, name, 1, 1) != b"\x00"


def optional_transaction_id(members: Mapping[int, Tlv], tag: int) -> TransactionId | None:
    found = members.get(tag)
    return TransactionId(found.value) if found else None


def eim_id(members: Mapping[int, Tlv]) -> str:
    return checked_eim_id(member(members, 0x80, "eimId").text())


def checked_eim_id(text: str) -> str:
    if not 1 <= len(text) <= _MAX_EIM_ID:
        raise Malformed(f"an eimId is 1 to {_MAX_EIM_ID} characters, this one has {len(text)}")
    return text


def wrap_text(tag: int, text: str, name: str) -> bytes:
    try:
        return tlv.wrap(tag, text.encode())
    except UnicodeEncodeError:
        raise Malformed(f"the {name} cannot be written in UTF-8") from None


def signature_value(found: Tlv) -> bytes:
    """A signature as 64 bytes, r and s side by side; some cards send the DER form that X.509 uses."""
    value = found.value
    if len(value) == 2 * _SCALAR:
        return value
    scalars = list(tlv.read_only(value, 0x30).children())
    if [scalar.tag for scalar in scalars] != [0x02, 0x02]:
        raise Malformed("a signature is 64 bytes, r and s side by side")
    return b"".join(map(_scalar, scalars))


def _scalar(found: Tlv) -> bytes:
    octets(found, "a half of a signature", 1, _SCALAR + 1)
    value = found.integer()
    if not 0 <= value < 1 << 8 * _SCALAR:
        raise Malformed(f"a half of a signature is a positive number of at most {_SCALAR} bytes")
    return value.to_bytes(_SCALAR, "big")


def der_object(found: Tlv, shape: tuple[int, ...], name: str) -> bytes:
    """A SEQUENCE under another tag, as DER of its own.

    The tag replaces that of the SEQUENCE; some devices put the whole SEQUENCE inside instead. `shape` tells them apart.
    """
    children = list(found.children())
    if len(children) == 1 and children[0].tag == 0x30:
        inner = children[0]
        children = list(inner.children())
    else:
        inner = found
    if tuple(child.tag for child in children) != shape:
        raise Malformed(f"{name} (tag {found.tag:X}) does not hold what its kind holds")
    return tlv.wrap(0x30, inner.value)


CERTIFICATE = (0x30, 0x30, 0x03)
PUBLIC_KEY = (0x30, 0x03)

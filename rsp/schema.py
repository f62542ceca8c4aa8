"""The ASN.1 modules of `rsp/asn1`, compiled on first use: whole messages to values and back (SGP.22 v2.5, SGP.32 v1.2).

The only user of asn1tools, and the place where its faults are worked round. The download path slices with `rsp.tlv`.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import asn1tools

from rsp.errors import Malformed

_OBJECT_IDENTIFIERS = frozenset({"smdpOid", "dpOid", "vendorOid"})


@cache
def _module() -> Any:
    folder = files("rsp").joinpath("asn1")
    sources = [folder.joinpath(name).read_text(encoding="ascii") for name in ("rsp.asn", "iot.asn")]
    return asn1tools.compile_string("\n".join(sources), "der")


def encode(type_name: str, value: object) -> bytes:
    """DER of `value`, a structure as asn1tools takes it: dict, list, (alternative, value), (octets, bit count).

    Certificates and other open types are whole TLVs. Raises Malformed when the value does not fit the type or its
    sizes, KeyError for a type the modules do not have.
    """
    kind = _module().types[type_name]
    try:
        kind.check_types(value)
        kind.check_constraints(value)
        return bytes(kind.encode(value))
    except (asn1tools.EncodeError, asn1tools.ConstraintsError, ValueError) as error:
        raise Malformed(f"{type_name} cannot be written: {error}") from None


def decode(type_name: str, data: bytes) -> Any:
    """Value of `data`, which holds one object of the type and nothing more; in the forms `encode` takes.

    Unknown members after the known ones are skipped. Raises Malformed, or KeyError for a type the modules do not have.
    """
    kind = _module().types[type_name]
    try:
        value, length = kind.decode_with_length(data)
        kind.check_constraints(value)
    except (asn1tools.DecodeError, asn1tools.ConstraintsError, IndexError, ValueError) as error:
        # The decoder lets an index run past the end of cut-off data, and texts that are no UTF-8, pass as they are.
        raise Malformed(f"the data is no {type_name}: {error}") from None
    if length != len(data):
        raise Malformed(f"{len(data) - length} bytes follow the {type_name}: send exactly one")
    return _mended(value)


def _mended(value: Any, member: str = "") -> Any:
    """`value` with object identifiers put right and every run of octets as bytes."""
    if isinstance(value, dict):
        return {name: _mended(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_mended(inner) for inner in value]
    if isinstance(value, tuple):
        return tuple(_mended(inner) for inner in value)
    if isinstance(value, bytearray):
        return bytes(value)
    return _mended_oid(value) if member in _OBJECT_IDENTIFIERS else value


def _mended_oid(dotted: str) -> str:
    """Below the arc 2 the second number may exceed 39; asn1tools carries the excess over into the first."""
    first, second, *rest = dotted.split(".")
    if int(first) <= 2:
        return dotted
    return ".".join(("2", str(40 * int(first) + int(second) - 80), *rest))

"""The outer shape of a profile package and the eUICC's answer to it (TCA profile package, EUICCResponse)."""

from __future__ import annotations

from rsp import tlv
from rsp.identifiers import Iccid

HEADER, END = 0xA0, 0xAA
_HEADER_ICCID = 0x83
STATUS_OK, STATUS_BAD_VALUES, STATUS_NOT_ENOUGH_MEMORY = 0, 3, 4
_CONSTRUCTED_CONTEXT, _CLASS_MASK = 0xA0, 0xE0


class ElementRefused(Exception):  # noqa: N818 -- the name is the outcome
    """The package is no sequence of profile elements from header to end."""


class WrongIccid(Exception):  # noqa: N818 -- the name is the outcome
    """The ICCID of the header differs from that of the metadata."""


def check(package: bytes, iccid: Iccid) -> None:
    """Check that the package runs from one header, with this ICCID, to one end, of whole elements between.

    Raises ElementRefused or WrongIccid.
    """
    try:
        elements = list(tlv.objects(package))
        tags = [element.tag for element in elements]
        if tags[:1] != [HEADER] or tags[-1:] != [END] or tags.count(HEADER) + tags.count(END) != 2:
            raise ElementRefused("a profile package starts with one header (A0) and stops with one end (AA)")
        foreign = [element for element in elements if element.raw[0] & _CLASS_MASK != _CONSTRUCTED_CONTEXT]
        if foreign:
            raise ElementRefused(f"tag {foreign[0].tag:X} is no profile element")
        header = elements[0].members()
        found = header[_HEADER_ICCID].value if _HEADER_ICCID in header else b""
    except ValueError as error:
        raise ElementRefused("the profile package is not a sequence of whole profile elements") from error
    # The header has the digits in reading order, unlike EF ICCID and tag 5A (SAIP, ProfileHeader).
    if found != bytes.fromhex(iccid.digits.ljust(20, "f")):
        raise WrongIccid("the ICCID of the profile header is not that of the metadata")


def shortest(iccid: Iccid) -> bytes:
    """A package of header and end alone, for profiles whose content no test looks at."""
    version = tlv.wrap(0x80, b"\x02") + tlv.wrap(0x81, b"\x03")
    number = tlv.wrap(_HEADER_ICCID, bytes.fromhex(iccid.digits.ljust(20, "f")))
    return tlv.wrap(HEADER, version, number, tlv.wrap(0xA5), tlv.wrap(0xA6)) + tlv.wrap(END, tlv.wrap(0xA0))


def response(status: int = STATUS_OK) -> bytes:
    """An EUICCResponse with one PEStatus; anything but 0 also says that the installation was aborted."""
    statuses = tlv.wrap(0xA0, tlv.wrap(0x30, tlv.wrap_integer(0x80, status)))
    return tlv.wrap(0x30, statuses, b"" if status == STATUS_OK else tlv.wrap(0x81))

"""Makes up subscribers for test profiles: ICCIDs in a row, with check digits, and random keys."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from rsp.errors import Malformed
from rsp.identifiers import Iccid
from rsp.personalisation import Personalisation
from smdp.offer import Offer

TEST_RANGE = "898800"
"""First digits of the ICCIDs that are made up unless somebody names others; 19 digits with the check digit."""

_IMSI_PREFIX = "00101"
"""Test network 001-01: no real network admits these subscribers."""


def bounds(first: str, last: str) -> tuple[Iccid, Iccid]:
    """The lowest and the highest ICCID of 19 digits that begin with these 18."""
    return Iccid(f"{first}0"), Iccid(f"{last}9")


def continued(highest: Iccid | None, count: int) -> str:
    """The first of the next `count` numbers of the test range (18 digits), above `highest`. Raises Malformed."""
    room = 18 - len(TEST_RANGE)
    following = int(highest.digits[len(TEST_RANGE) : 18]) + 1 if highest else 0
    left = 10**room - following
    if count > left:
        raise Malformed(f"the test range {TEST_RANGE}... has room for {left} more: name another with --first-iccid")
    return f"{TEST_RANGE}{following:0{room}d}"


def last_of(first_iccid: str, count: int) -> str:
    """The last of `count` numbers from `first_iccid` on (18 digits each). Raises Malformed."""
    if len(first_iccid) != 18 or not (first_iccid.isascii() and first_iccid.isdigit()):
        raise Malformed("the first ICCID is given as 18 digits; its check digit is appended")
    last = f"{int(first_iccid) + count - 1:018d}"
    if len(last) > 18:
        raise Malformed(f"there are no {count} ICCIDs from {first_iccid} on: give a lower --first-iccid")
    return last


def personalisations(first_iccid: str, count: int, offer: Offer, padding: int = 0) -> Iterator[Personalisation]:
    """`count` subscribers from `first_iccid` on (18 digits, the check digit is appended). Raises Malformed."""
    for number in range(int(first_iccid), int(last_of(first_iccid, count)) + 1):
        iccid = _with_check_digit(f"{number:018d}")
        yield Personalisation(
            iccid=iccid,
            imsi=_IMSI_PREFIX + iccid.digits[8:18],
            ki=secrets.token_bytes(16),
            opc=secrets.token_bytes(16),
            adm1=secrets.token_bytes(8),
            pin1=_digits(4),
            pin2=_digits(4),
            puk1=_digits(8),
            puk2=_digits(8),
            service_provider_name=offer.service_provider_name,
            profile_type=offer.profile_name,
            padding=padding,
        )


def _digits(count: int) -> str:
    return "".join(secrets.choice("0123456789") for _ in range(count))


def _with_check_digit(digits: str) -> Iccid:
    return next(iccid for last in "0123456789" if (iccid := Iccid(digits + last)).has_valid_check())

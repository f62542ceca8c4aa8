"""Makes up subscribers for test profiles: ICCIDs in a row, with check digits, and random keys."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from rsp.errors import Malformed
from rsp.identifiers import Iccid
from rsp.personalisation import Personalisation
from smdp.stocking import Offer

_IMSI_PREFIX = "00101"
"""Test network 001-01: no real network admits these subscribers."""


def personalisations(first_iccid: str, count: int, offer: Offer, padding: int = 0) -> Iterator[Personalisation]:
    """`count` subscribers from `first_iccid` on (18 digits, the check digit is appended). Raises Malformed."""
    if len(first_iccid) != 18 or not first_iccid.isdigit():
        raise Malformed("the first ICCID is given as 18 digits; its check digit is appended")
    for number in range(int(first_iccid), int(first_iccid) + count):
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

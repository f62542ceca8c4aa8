"""What makes one profile differ from the next: numbers, keys, codes and names (3GPP TS 31.102, ETSI TS 102 221)."""

from __future__ import annotations

from dataclasses import dataclass, field

from rsp.errors import Malformed
from rsp.identifiers import Iccid

MAX_PADDING = 60_000
MAX_SERVICE_PROVIDER_NAME = 16

_GSM_ALPHABET = frozenset(" !\"#%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True, slots=True, kw_only=True)
class OtaKeys:
    """AES-128 keys of the operator's security domain for remote management by SCP80, key version 1; 16 bytes each."""

    kic: bytes = field(repr=False)
    kid: bytes = field(repr=False)
    kik: bytes = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("kic", "kid", "kik"):
            _check_size(name, getattr(self, name), 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Personalisation:
    """What differs from one profile to the next. No secret shows in the repr.

    `imsi` is 6 to 15 digits, `mnc_digits` 2 or 3; `ki`, `opc` 16 bytes; PINs 4 to 8 digits, PUKs 8 digits, `adm1` 8
    bytes; the service provider name fits EF SPN: 16 characters of the GSM alphabet or 7 of any other. Without
    `ota_keys` the profile takes no remote management. `padding` adds as many bytes of filler files, always the same for
    one ICCID, at most 60000. Raises Malformed.
    """

    iccid: Iccid
    imsi: str
    mnc_digits: int = 2
    ki: bytes = field(repr=False)
    opc: bytes = field(repr=False)
    pin1: str = field(repr=False)
    puk1: str = field(repr=False)
    pin2: str = field(repr=False)
    puk2: str = field(repr=False)
    adm1: bytes = field(repr=False)
    ota_keys: OtaKeys | None = None
    service_provider_name: str
    profile_type: str
    padding: int = 0

    def __post_init__(self) -> None:
        for name, size in (("ki", 16), ("opc", 16), ("adm1", 8)):
            _check_size(name, getattr(self, name), size)
        _check_digits("imsi", self.imsi, 6, 15)
        for name, least in (("pin1", 4), ("pin2", 4), ("puk1", 8), ("puk2", 8)):
            _check_digits(name, getattr(self, name), least, 8)
        if self.mnc_digits not in (2, 3):
            raise Malformed("mnc_digits is 2 or 3")
        if not 1 <= len(self.profile_type) <= 100:
            raise Malformed("profile_type is 1 to 100 characters")
        if not 0 <= self.padding <= MAX_PADDING:
            raise Malformed(f"padding is 0 to {MAX_PADDING} bytes")
        spn_bytes(self.service_provider_name)
        _text("profile_type", self.profile_type)


def spn_bytes(name: str) -> bytes:
    """Name in EF SPN: the GSM alphabet where it is enough, else UCS2 marked by 80 (ETSI TS 102 221, annex A)."""
    if _GSM_ALPHABET.issuperset(name):
        coded = name.encode()
    else:
        coded = b"\x80" + _text("service_provider_name", name).decode().encode("utf-16-be")
    if not name or len(coded) > MAX_SERVICE_PROVIDER_NAME or any(ord(letter) > 0xFFFF for letter in name):
        raise Malformed("service_provider_name is 1 to 16 characters of the GSM alphabet, or 7 of the basic plane")
    return coded.ljust(MAX_SERVICE_PROVIDER_NAME, b"\xff")


def _check_size(name: str, value: bytes, size: int) -> None:
    if len(value) != size:
        raise Malformed(f"{name} is {size} bytes, found {len(value)}")


def _check_digits(name: str, text: str, least: int, most: int) -> None:
    if not (text.isascii() and text.isdecimal() and least <= len(text) <= most):
        wanted = f"{least} to {most}" if least != most else str(most)
        raise Malformed(f"{name} is {wanted} decimal digits")


def _text(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Malformed(f"{name} cannot be written in UTF-8") from None

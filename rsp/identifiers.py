"""Identifiers as types: EID, ICCID, MatchingID, TransactionID, activation code (SGP.22 4.1, 4.3; SGP.29)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from rsp.errors import Malformed

_EID = re.compile(r"[0-9]{32}", re.ASCII)
_ICCID = re.compile(r"[0-9]{18,20}", re.ASCII)
_IMEI = re.compile(r"[0-9]{14,16}", re.ASCII)
_MATCHING_ID = re.compile(r"[A-Z0-9-]{1,255}", re.ASCII)
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_FQDN = re.compile(rf"(?=.{{1,255}}$){_LABEL}(\.{_LABEL})*")
_MAX_ACTIVATION_CODE = 255


_SWAPPED = bytes((byte & 0x0F) << 4 | byte >> 4 for byte in range(256))


def swap_nibbles(value: bytes) -> bytes:
    """BCD as numbers are written on cards and in telephony: the low half of each byte first."""
    return value.translate(_SWAPPED)


class Eid(msgspec.Struct, frozen=True, order=True):
    """eUICC identifier: 32 decimal digits (SGP.29). The check digits are `has_valid_check`, for human input only."""

    digits: str

    def __post_init__(self) -> None:
        if not _EID.fullmatch(self.digits):
            raise Malformed("an EID is 32 decimal digits")

    def __str__(self) -> str:
        return self.digits

    @classmethod
    def from_bytes(cls, value: bytes) -> Eid:
        """From the 16 BCD bytes of tag 5A."""
        return cls(value.hex())

    def to_bytes(self) -> bytes:
        """16 BCD bytes, most significant digit first."""
        return bytes.fromhex(self.digits)

    def has_valid_check(self) -> bool:
        """Whether the number modulo 97 is 1; real test cards may fail this, so no protocol step asks it."""
        return int(self.digits) % 97 == 1


class Iccid(msgspec.Struct, frozen=True, order=True):
    """Profile identifier: 18 to 20 decimal digits without padding (ITU-T E.118)."""

    digits: str

    def __post_init__(self) -> None:
        if not _ICCID.fullmatch(self.digits):
            raise Malformed("an ICCID is 18 to 20 decimal digits, the padding F left out")

    def __str__(self) -> str:
        return self.digits

    @classmethod
    def parse(cls, text: str) -> Iccid:
        """From JSON or human input: 18 to 20 characters, trailing padding F accepted."""
        return cls(text.rstrip("Ff") if len(text) <= 20 else text)

    @classmethod
    def from_bytes(cls, value: bytes) -> Iccid:
        """From the 10 bytes of tag 5A: nibble-swapped BCD, padded with F."""
        if len(value) != 10:
            raise Malformed("an ICCID is coded in 10 bytes")
        return cls(swap_nibbles(value).hex().rstrip("f"))

    def to_bytes(self) -> bytes:
        """10 bytes, nibble-swapped BCD, padded with F."""
        return swap_nibbles(bytes.fromhex(self.digits.ljust(20, "f")))

    def to_json(self) -> str:
        """Wire form of the JSON binding: F appended to 19 digits only."""
        return self.digits + "F" if len(self.digits) == 19 else self.digits

    def has_valid_check(self) -> bool:
        """Whether the Luhn digit is right; asked of human input only."""
        total = 0
        for place, digit in enumerate(reversed(self.digits)):
            number = int(digit) * (2 if place % 2 else 1)
            total += number - 9 if number > 9 else number
        return total % 10 == 0


class MatchingId(msgspec.Struct, frozen=True, order=True):
    """The token of an activation code or an SM-DS event id: upper-case letters, digits, hyphen (SGP.22 4.1.1)."""

    text: str

    def __post_init__(self) -> None:
        if not _MATCHING_ID.fullmatch(self.text):
            raise Malformed("a MatchingID is 1 to 255 upper-case letters, digits and hyphens")

    def __str__(self) -> str:
        return self.text


class TransactionId(msgspec.Struct, frozen=True, order=True):
    """The id of one RSP session: 1 to 16 bytes, in JSON upper-case hexadecimal."""

    value: bytes

    def __post_init__(self) -> None:
        if not 1 <= len(self.value) <= 16:
            raise Malformed("a transactionId is 1 to 16 bytes")

    def __str__(self) -> str:
        return self.value.hex().upper()

    @classmethod
    def parse(cls, text: str) -> TransactionId:
        """From hexadecimal text of either case."""
        try:
            return cls(bytes.fromhex(text) if text.isalnum() else b"")
        except ValueError:
            raise Malformed("a transactionId is 2 to 32 hexadecimal digits") from None


def imei_without_check(text: str) -> str:
    """The 14 digits of an IMEI that name the device: 15 with check digit, or 16 with software version, are accepted."""
    if not _IMEI.fullmatch(text):
        raise Malformed("an IMEI is 14 to 16 decimal digits")
    return text[:14]


def fqdn(text: str) -> str:
    """A server address as lower-case host name; an upper-case spelling or an appended port is accepted and dropped."""
    host, _, port = text.partition(":")
    if not _FQDN.fullmatch(host) or (port and not port.isdigit()):
        raise Malformed("an SM-DP+ address is a host name such as smdp.example.com")
    return host.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationCode:
    """What a device scans: `1$address$matchingId[$oid[$1]]` (SGP.22 4.1)."""

    smdp_address: str
    matching_id: MatchingId | None
    smdp_oid: str = ""
    confirmation_code_required: bool = False

    def __str__(self) -> str:
        parts = ["1", self.smdp_address, str(self.matching_id or "")]
        if self.smdp_oid or self.confirmation_code_required:
            parts.append(self.smdp_oid)
        if self.confirmation_code_required:
            parts.append("1")
        return "$".join(parts)

    def for_qr(self) -> str:
        """The text of the QR code, with its scheme."""
        return f"LPA:{self}"

    @classmethod
    def parse(cls, text: str) -> ActivationCode:
        """From text with or without the `LPA:` prefix."""
        parts = text.removeprefix("LPA:").split("$")
        if len(text) > _MAX_ACTIVATION_CODE or not 3 <= len(parts) <= 5 or parts[0] != "1":
            raise Malformed("an activation code reads 1$address$matchingId, at most 255 characters")
        parts += [""] * (5 - len(parts))
        return cls(
            smdp_address=fqdn(parts[1]),
            matching_id=MatchingId(parts[2]) if parts[2] else None,
            smdp_oid=parts[3],
            confirmation_code_required=parts[4] == "1",
        )

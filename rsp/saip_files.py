"""Writes files and access rules of profile elements (TCA Interoperable Profile; ETSI TS 102 221 and 102 222)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rsp import tlv

TRANSPARENT = bytes.fromhex("4121")
DIRECTORY = bytes.fromhex("7821")


def linear_fixed(record_size: int) -> bytes:
    """File descriptor of a linear fixed EF with records of `record_size` bytes."""
    return bytes.fromhex("4221") + record_size.to_bytes(2, "big")


def shortest(number: int) -> bytes:
    """A size on the fewest bytes, at least one, as efFileSize asks."""
    return number.to_bytes((number.bit_length() + 7) // 8 or 1, "big")


class Key(Enum):
    """Who may do something to a file: the key reference, or everybody, or nobody."""

    ALWAYS = None
    NEVER = 0x00
    PIN1 = 0x01
    ADM1 = 0x0A
    PIN2 = 0x81

    def condition(self) -> bytes:
        """Security condition data object (ETSI TS 102 221, 9.2.5)."""
        if self is Key.ALWAYS:
            return bytes.fromhex("9000")
        if self is Key.NEVER:
            return bytes.fromhex("9700")
        return tlv.wrap(0xA4, tlv.wrap(0x83, bytes((self.value,))), bytes.fromhex("950108"))


# Access mode bits of an EF: read, update, and administration (deactivate, activate, delete).
_READ = 0x01
_UPDATE = 0x02
_ADMINISTER = 0x58
# Access mode bits of a directory: create EF and DF, deactivate, activate, delete itself and children.
_DIRECTORY = 0x5F


@dataclass(frozen=True, slots=True)
class Access:
    """One record of EF ARR: who reads and who updates an EF. Administration always takes ADM1."""

    read: Key
    update: Key

    def encode(self) -> bytes:
        """The access rule in expanded format."""
        modes: dict[Key, int] = {}
        for key, mode in ((self.read, _READ), (self.update, _UPDATE), (Key.ADM1, _ADMINISTER)):
            modes[key] = modes.get(key, 0) | mode
        return b"".join(tlv.wrap(0x80, bytes((mode,))) + key.condition() for key, mode in modes.items())


RULES = (
    Access(Key.ALWAYS, Key.ADM1),
    Access(Key.ALWAYS, Key.NEVER),
    Access(Key.ALWAYS, Key.PIN1),
    Access(Key.PIN1, Key.ADM1),
    Access(Key.PIN1, Key.PIN1),
    Access(Key.PIN1, Key.PIN2),
)
DIRECTORY_RULE = tlv.wrap(0x80, bytes((_DIRECTORY,))) + Key.ADM1.condition()
ARR_RECORD = 0x30


def rule_reference(arr: int, access: Access | None) -> bytes:
    """securityAttributesReferenced: file id of EF ARR and record number; None is the record for directories."""
    record = 1 if access is None else 2 + RULES.index(access)
    return arr.to_bytes(2, "big") + bytes((record,))


def access_rules() -> tuple[bytes, ...]:
    """The records of EF ARR, each filled to `ARR_RECORD` bytes: first that of directories, then `RULES` in order."""
    return tuple(rule.ljust(ARR_RECORD, b"\xff") for rule in (DIRECTORY_RULE, *(rule.encode() for rule in RULES)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fcp:
    """File control parameters. A field left None is the template's; sizes in bytes, `fill` by ETSI TS 102 222."""

    rule: bytes
    descriptor: bytes | None = None
    file_id: int | None = None
    df_name: bytes | None = None
    size: int | None = None
    pin_status: bytes | None = None
    short_id: bytes | None = None
    special: int = 0
    fill: bytes | None = None
    repeat: bytes | None = None

    def encode(self) -> bytes:
        """The members of Fcp in DER, defaults left out (lcsi is always the default, activated)."""
        info = tlv.wrap(0xC0, bytes((self.special,))) if self.special else b""
        info += _member(0xC1, self.fill) + _member(0xC2, self.repeat)
        members = (
            _member(0x82, self.descriptor),
            _member(0x83, None if self.file_id is None else self.file_id.to_bytes(2, "big")),
            _member(0x84, self.df_name),
            tlv.wrap(0x8B, self.rule),
            _member(0x80, None if self.size is None else shortest(self.size)),
            _member(0xC6, self.pin_status),
            _member(0x88, self.short_id),
            tlv.wrap(0xA5, info) if info else b"",
        )
        return b"".join(members)


def _member(tag: int, value: bytes | None) -> bytes:
    return b"" if value is None else tlv.wrap(tag, value)


def file(tag: int, fcp: Fcp, content: bytes | None = None) -> bytes:
    """One file of a template element under its context tag: descriptor, then content from the first byte on."""
    return tlv.wrap(tag, tlv.wrap(0xA1, fcp.encode()), _member(0x83, content))

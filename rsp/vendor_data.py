"""Data in profile metadata that the standard leaves to others: vendor extensions and access rules.

VendorSpecificExtension is SGP.22 5.5.3 (objects BF22 and BF23). Access rules (BF76) tell a device which applications
the operator trusts; their objects are those of GlobalPlatform's Secure Element Access Control.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rsp import tlv
from rsp.errors import Malformed
from rsp.tlv import Tlv

_ENTRY = 0x30
_OID = 0x80
# The published module has an open type here. Under automatic tags that is an explicit A1; some coders write 81.
_DATA = 0xA1
_DATA_FORMS = (0xA1, 0x81)
_ACCESS_RULES = 0xBF76
_HASH_SIZES = (20, 32)
_MAX_PACKAGE_NAME = 127
_ALL_PERMISSIONS = bytes(7) + b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorData:
    """One entry: the vendor's object identifier in dotted form and one whole object of its own making."""

    oid: str
    data: bytes

    @classmethod
    def parse(cls, text: str) -> VendorData:
        """From `oid:hexadecimal`, for example `2.999.10:0403414243`. Raises Malformed."""
        oid, _, digits = text.partition(":")
        try:
            data = bytes.fromhex(digits)
        except ValueError:
            data = b""
        if not data:
            raise Malformed(f"{text!r} is not vendor data: write OID:HEX, for example 2.999.10:0403414243")
        tlv.read_only(data, tlv.read(data).tag)
        tlv.oid_to_bytes(oid)
        return cls(oid=oid, data=data)

    def encode(self) -> bytes:
        """One entry of VendorSpecificExtension."""
        return tlv.wrap(_ENTRY, tlv.wrap(_OID, tlv.oid_to_bytes(self.oid)), tlv.wrap(_DATA, self.data))


def vendor_data(tag: int, entries: Iterable[VendorData]) -> bytes:
    """VendorSpecificExtension under `tag`."""
    return tlv.wrap(tag, *(entry.encode() for entry in entries))


def check_vendor_data(found: Tlv) -> None:
    """Raise Malformed unless `found` is a sequence of entries of an object identifier and data."""
    for entry in found.children():
        members = list(entry.children()) if entry.tag == _ENTRY else []
        if len(members) != 2 or members[0].tag != _OID or members[1].tag not in _DATA_FORMS:
            raise Malformed(f"{found.tag:X} lists sequences of vendorOid (80) and vendorSpecificData (A1)")
        tlv.oid_from_bytes(members[0].value)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """An application that may use the operator's functions of a device.

    `certificate` is the SHA-1 or SHA-256 hash of what it is signed with, `package` its name or empty for any.
    """

    certificate: bytes
    package: str = ""

    @classmethod
    def parse(cls, text: str) -> AccessRule:
        """From `hash` or `hash:package.name`, the hash in hexadecimal. Raises Malformed."""
        digits, _, package = text.partition(":")
        try:
            certificate = bytes.fromhex(digits)
        except ValueError:
            certificate = b""
        named = package.isascii() and len(package) <= _MAX_PACKAGE_NAME
        if len(certificate) not in _HASH_SIZES or not named:
            raise Malformed(
                f"{text!r} is not an access rule: write the SHA-1 or SHA-256 hash of the application's certificate in "
                f"hexadecimal, and after a colon its package name of at most {_MAX_PACKAGE_NAME} characters"
            )
        return cls(certificate=certificate, package=package)

    def encode(self) -> bytes:
        """REF-AR-DO: whom it is about, and that everything is allowed."""
        package = tlv.wrap(0xCA, self.package.encode()) if self.package else b""
        subject = tlv.wrap(0xE1, tlv.wrap(0xC1, self.certificate), package)
        return tlv.wrap(0xE2, subject, tlv.wrap(0xE3, tlv.wrap(0xDB, _ALL_PERMISSIONS)))


def access_rules(rules: Iterable[AccessRule]) -> bytes:
    """The object BF76, a member of metadata that SGP.22 does not name and devices read."""
    return tlv.wrap(_ACCESS_RULES, *(rule.encode() for rule in rules))

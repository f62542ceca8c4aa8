"""What an LPA itself writes and reads of ES10: requests to the card, parts of its answers (SGP.22 5.7)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType

from rsp import tlv
from rsp.identifiers import Iccid, TransactionId

_MAC_BYTES = 8


class CancelReason(IntEnum):
    """Why a session is cancelled (SGP.22 5.7.14)."""

    END_USER_REJECTION = 0
    POSTPONED = 1
    TIMEOUT = 2
    PPR_NOT_ALLOWED = 3
    METADATA_MISMATCH = 4
    LOAD_BPP_EXECUTION_ERROR = 5
    UNDEFINED = 127


class Capability(IntEnum):
    """A member of DeviceCapabilities by its tag number (SGP.22 4.2)."""

    GSM = 0
    UTRAN = 1
    CDMA2000_1X = 2
    CDMA2000_HRPD = 3
    CDMA2000_EHRPD = 4
    EUTRAN_EPC = 5
    CONTACTLESS = 6
    RSP_CRL = 7
    NR_EPC = 8
    NR_5GC = 9
    EUTRAN_5GC = 10


_SMARTPHONE: Mapping[Capability, tuple[int, int, int]] = MappingProxyType(
    {
        Capability.GSM: (11, 0, 0),
        Capability.UTRAN: (11, 0, 0),
        Capability.EUTRAN_EPC: (15, 0, 0),
        Capability.CONTACTLESS: (9, 0, 0),
        Capability.RSP_CRL: (1, 1, 0),
        Capability.NR_EPC: (15, 0, 0),
        Capability.NR_5GC: (15, 0, 0),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device: its TAC (8 digits), its releases by capability, and its IMEI (15 digits) unless that stays untold.

    `later` and `later_capabilities` are raw TLVs that follow in DeviceInfo and DeviceCapabilities: members of later
    versions.
    """

    tac: str = "35290611"
    capabilities: Mapping[Capability, tuple[int, int, int]] = field(default_factory=lambda: _SMARTPHONE)
    imei: str | None = None
    later: bytes = b""
    later_capabilities: bytes = b""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9]{8}", self.tac, re.ASCII):
            raise ValueError("a TAC is 8 digits: the first 8 of the IMEI")
        if self.imei is not None and not re.fullmatch(r"[0-9]{15}", self.imei, re.ASCII):
            raise ValueError("an IMEI is 15 digits, its check digit included")

    def device_info(self, tag: int = 0xA1) -> bytes:
        """DeviceInfo under `tag`: 80 TAC, A1 capabilities, 82 IMEI. Digits are telephony BCD (3GPP TS 29.002)."""
        releases = (tlv.wrap(0x80 | number, bytes(self.capabilities[number])) for number in sorted(self.capabilities))
        parts = [tlv.wrap(0x80, _swapped(self.tac)), tlv.wrap(0xA1, *releases, self.later_capabilities)]
        if self.imei is not None:
            # The last octet holds the check digit in its high half and a filler in its low half, so is not swapped.
            parts.append(tlv.wrap(0x82, _swapped(self.imei[:14]) + bytes.fromhex(self.imei[14] + "F")))
        return tlv.wrap(tag, *parts, self.later)


def _swapped(digits: str) -> bytes:
    return bytes.fromhex("".join(digits[at + 1] + digits[at] for at in range(0, len(digits), 2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationResult:
    """A ProfileInstallationResult: success, or the step and reason of the failure; `raw` is the BF37 as signed."""

    raw: bytes
    transaction_id: TransactionId
    sequence_number: int
    address: str
    iccid: Iccid | None
    bpp_command_id: int | None = None
    error_reason: int | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the profile is on the card."""
        return self.error_reason is None


def authenticate_server_request(server: tuple[bytes, ...], matching_id: str | None, device: Device) -> bytes:
    """AuthenticateServer BF38 from `server` = (serverSigned1, serverSignature1, euiccCiPKIdToBeUsed, certificate)."""
    parts = [] if matching_id is None else [tlv.wrap(0x80, matching_id.encode())]
    return tlv.wrap(0xBF38, *server, tlv.wrap(0xA0, *parts, device.device_info()))


def prepare_download_request(signed2: bytes, signature2: bytes, certificate: bytes, hash_cc: bytes | None) -> bytes:
    """PrepareDownload BF21."""
    return tlv.wrap(0xBF21, signed2, signature2, b"" if hash_cc is None else tlv.wrap(0x04, hash_cc), certificate)


def cancel_session_request(transaction_id: TransactionId, reason: CancelReason) -> bytes:
    """CancelSession BF41."""
    return tlv.wrap(0xBF41, tlv.wrap(0x80, transaction_id.value), tlv.wrap_integer(0x81, reason))


def retrieve_all_notifications_request() -> bytes:
    """RetrieveNotificationsList BF2B without a search criterion."""
    return tlv.wrap(0xBF2B, b"")


def notification_sent_request(sequence_number: int) -> bytes:
    """NotificationSent BF30."""
    return tlv.wrap(0xBF30, tlv.wrap_integer(0x80, sequence_number))


def hashed_confirmation_code(code: str, transaction_id: TransactionId) -> bytes:
    """hashCc: SHA-256 of (SHA-256 of the code's text, then the transactionId), 32 bytes (SGP.22 5.6.3)."""
    return hashlib.sha256(hashlib.sha256(code.encode()).digest() + transaction_id.value).digest()


def euicc_challenge(response: bytes) -> bytes:
    """The 16 bytes inside BF2E. Raises ValueError."""
    return _member(tlv.read_only(response, 0xBF2E), 0x80).value


def confirmation_code_required(signed2: bytes) -> bool:
    """ccRequiredFlag of SmdpSigned2. Raises ValueError when it is absent."""
    return _member(tlv.read_only(signed2, 0x30), 0x01).value != b"\x00"


def transaction_inside(signed: bytes, tag: int = 0x30) -> TransactionId:
    """The transactionId under 80 of a structure. Raises ValueError."""
    return TransactionId(_member(tlv.read_only(signed, tag), 0x80).value)


class MetadataMismatch(ValueError):  # noqa: N818 -- the name is the outcome
    """The profile would store other metadata than was shown to the user."""


def check_server_signed1(signed1: bytes, transaction_id: TransactionId, challenge: bytes, address: str) -> None:
    """Check that ServerSigned1 repeats the transactionId, our challenge and the address asked. Raises ValueError."""
    found = tlv.read_only(signed1, 0x30)
    if transaction_inside(signed1) != transaction_id:
        raise ValueError("transactionId differs from the one inside serverSigned1")
    if _member(found, 0x81).value != challenge:
        raise ValueError("serverSigned1 does not repeat the euiccChallenge")
    if _member(found, 0x83).text().lower() != address.lower():
        raise ValueError(f"serverSigned1 names {_member(found, 0x83).text()!r} instead of {address!r}")
    _member(found, 0x84)


def check_bound_profile_package(bpp: bytes, transaction_id: TransactionId, shown: bytes) -> None:
    """Check that a BPP belongs to this session and stores the metadata that was `shown` (BF25).

    Raises ValueError about the session, MetadataMismatch about the metadata.
    """
    parts = tlv.read_only(bpp, 0xBF36).members()
    if 0xBF23 not in parts or 0xA1 not in parts:
        raise ValueError("the bound profile package lacks BF23 or A1")
    if transaction_inside(parts[0xBF23].raw, 0xBF23) != transaction_id:
        raise ValueError("the bound profile package carries the transactionId of another session")
    stored = b"".join(segment.value[:-_MAC_BYTES] for segment in parts[0xA1].children())
    if stored != shown:
        raise MetadataMismatch("the metadata in the bound profile package differs from what was shown")


def notifications(response: bytes) -> list[bytes]:
    """The pending notifications of a BF2B, each as raw TLV: BF37 or 30. Raises ValueError on an error answer."""
    found = tlv.read_only(response, 0xBF2B).members()
    if 0xA0 not in found:
        raise ValueError("the card does not list its notifications")
    return [each.raw for each in found[0xA0].children()]


def sequence_and_address(notification: bytes) -> tuple[int, str]:
    """Sequence number and recipient of a notification, BF37 or otherSignedNotification 30. Raises ValueError."""
    outer = tlv.read(notification)
    holder = outer if outer.tag == 0x30 else _member(outer, 0xBF27)
    metadata = _member(holder, 0xBF2F)
    return _member(metadata, 0x80).integer(), _member(metadata, 0x0C).text()


def read_installation_result(raw: bytes) -> InstallationResult:
    """Read a BF37 of the card. Raises ValueError."""
    data = _member(tlv.read_only(raw, 0xBF37), 0xBF27)
    iccid = _member(data, 0xBF2F).members().get(0x5A)
    number, address = sequence_and_address(raw)
    error = _member(data, 0xA2).members().get(0xA1)
    return InstallationResult(
        raw=raw,
        transaction_id=TransactionId(_member(data, 0x80).value),
        sequence_number=number,
        address=address,
        iccid=Iccid.from_bytes(iccid.value) if iccid else None,
        bpp_command_id=_member(error, 0x80).integer() if error else None,
        error_reason=_member(error, 0x81).integer() if error else None,
    )


def _member(holder: tlv.Tlv, tag: int) -> tlv.Tlv:
    # Two certificates share the tag 30 in an otherSignedNotification, so repeated tags are no fault here.
    for child in holder.children():
        if child.tag == tag:
            return child
    raise ValueError(f"{holder.tag:X} holds no {tag:X}")

"""Pending notifications: the result of an installation, and the eUICC's later reports (SGP.22 v2.5, 2.5.6, 5.7.10)."""

from __future__ import annotations

from enum import IntEnum, IntFlag

import msgspec

from rsp import tlv
from rsp.errors import Malformed
from rsp.es10.members import (
    alternative,
    bit_string,
    iccid,
    in_order,
    integer,
    member,
    octets,
    signature_value,
    transaction_id,
)
from rsp.identifiers import Iccid, TransactionId
from rsp.tlv import Tlv


class BppCommand(IntEnum):
    """The ES8+ command in which an installation failed (2.5.6)."""

    INITIALISE_SECURE_CHANNEL = 0
    CONFIGURE_ISDP = 1
    STORE_METADATA = 2
    STORE_METADATA_2 = 3
    REPLACE_SESSION_KEYS = 4
    LOAD_PROFILE_ELEMENTS = 5


class InstallationReason(IntEnum):
    """Why an installation failed (2.5.6)."""

    INCORRECT_INPUT_VALUES = 1
    INVALID_SIGNATURE = 2
    INVALID_TRANSACTION_ID = 3
    UNSUPPORTED_CRT_VALUES = 4
    UNSUPPORTED_REMOTE_OPERATION_TYPE = 5
    UNSUPPORTED_PROFILE_CLASS = 6
    SCP03T_STRUCTURE_ERROR = 7
    SCP03T_SECURITY_ERROR = 8
    ICCID_ALREADY_EXISTS_ON_EUICC = 9
    INSUFFICIENT_MEMORY_FOR_PROFILE = 10
    INTERRUPTION = 11
    PE_PROCESSING_ERROR = 12
    DATA_MISMATCH = 13
    TEST_PROFILE_INVALID_NAA_KEY = 14
    PPR_NOT_ALLOWED = 15
    UNKNOWN_ERROR = 127


class NotificationEvent(IntFlag):
    """Profile management operations; the value of bit n of the BIT STRING is 2 to the power of n."""

    INSTALL = 1
    ENABLE = 2
    DISABLE = 4
    DELETE = 8


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """SuccessResult (2.5.6): AID of the ISD-P and the profile interpreter's answer."""

    aid: bytes
    sima_response: bytes


class InstallationError(msgspec.Struct, frozen=True, kw_only=True):
    """ErrorResult (2.5.6): `BppCommand` and `InstallationReason` as numbers, and the profile interpreter's answer."""

    command_id: int
    reason: int
    sima_response: bytes | None


class ProfileInstallationResult(msgspec.Struct, frozen=True, kw_only=True):
    """ProfileInstallationResult (2.5.6). `signed` is ProfileInstallationResultData as received.

    `events` is the sum of `NotificationEvent` values, plus bits that have no name here.
    """

    transaction_id: TransactionId
    signed: bytes
    signature: bytes
    seq_number: int
    events: int
    notification_address: str
    iccid: Iccid | None
    smdp_oid: str
    result: Installed | InstallationError


class OtherSignedNotification(msgspec.Struct, frozen=True, kw_only=True):
    """OtherSignedNotification (5.7.10). `signed` is NotificationMetadata as received, the certificates are DER."""

    signed: bytes
    signature: bytes
    seq_number: int
    event: NotificationEvent
    notification_address: str
    iccid: Iccid | None
    euicc_certificate: bytes
    eum_certificate: bytes


def parse_pending_notification(data: bytes) -> ProfileInstallationResult | OtherSignedNotification:
    """Read a PendingNotification (BF37 or 30, 5.7.10). Raises Malformed."""
    if tlv.read(data).tag == 0x30:
        return _other_notification(tlv.read_only(data, 0x30))
    return _installation_result(tlv.read_only(data, 0xBF37))


def _installation_result(outer: Tlv) -> ProfileInstallationResult:
    parts = outer.members()
    signed = member(parts, 0xBF27, "profileInstallationResultData")
    members = signed.members()
    metadata = member(members, 0xBF2F, "notificationMetadata").members()
    return ProfileInstallationResult(
        transaction_id=transaction_id(members),
        signed=signed.raw,
        signature=signature_value(member(parts, 0x5F37, "euiccSignPIR")),
        seq_number=integer(metadata, 0x80, "seqNumber"),
        events=bit_string(member(metadata, 0x81, "profileManagementOperation")),
        notification_address=member(metadata, 0x0C, "notificationAddress").text(),
        iccid=iccid(metadata),
        smdp_oid=tlv.oid_from_bytes(member(members, 0x06, "smdpOid").value),
        result=_final_result(alternative(member(members, 0xA2, "finalResult"), "finalResult")),
    )


def _final_result(arm: Tlv) -> Installed | InstallationError:
    if arm.tag == 0xA0:
        members = arm.members()
        return Installed(
            aid=octets(member(members, 0x4F, "aid"), "aid", 5, 16),
            sima_response=member(members, 0x04, "simaResponse").value,
        )
    if arm.tag != 0xA1:
        raise Malformed(f"finalResult has no alternative with tag {arm.tag:X}: send A0 or A1")
    members = arm.members()
    sima_response = members.get(0x82)
    return InstallationError(
        command_id=integer(members, 0x80, "bppCommandId"),
        reason=integer(members, 0x81, "errorReason"),
        sima_response=sima_response.value if sima_response else None,
    )


def _other_notification(outer: Tlv) -> OtherSignedNotification:
    signed, signature, euicc, eum = in_order(
        outer,
        (0xBF2F, "tbsOtherNotification"),
        (0x5F37, "euiccNotificationSignature"),
        (0x30, "euiccCertificate"),
        (0x30, "eumCertificate"),
    )
    metadata = signed.members()
    bits = bit_string(member(metadata, 0x81, "profileManagementOperation"))
    if bits not in list(NotificationEvent):
        raise Malformed("profileManagementOperation of a notification sets one of its bits 0 to 3, and only one")
    return OtherSignedNotification(
        signed=signed.raw,
        signature=signature_value(signature),
        seq_number=integer(metadata, 0x80, "seqNumber"),
        event=NotificationEvent(bits),
        notification_address=member(metadata, 0x0C, "notificationAddress").text(),
        iccid=iccid(metadata),
        euicc_certificate=euicc.raw,
        eum_certificate=eum.raw,
    )

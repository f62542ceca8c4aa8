"""The eUICC's answers to AuthenticateServer, PrepareDownload and CancelSession (SGP.22 v2.5, 5.7.13, 5.7.5, 5.7.14)."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from rsp import tlv
from rsp.errors import Malformed
from rsp.es10.infos import DeviceInfo, device_info
from rsp.es10.members import alternative, in_order, integer, member, octets, signature_value, transaction_id
from rsp.identifiers import TransactionId


class CancelReason(IntEnum):
    """Why a session was cancelled (5.7.14). A reason from a later version has no name here and stays a number."""

    END_USER_REJECTION = 0
    POSTPONED = 1
    TIMEOUT = 2
    PPR_NOT_ALLOWED = 3
    METADATA_MISMATCH = 4
    LOAD_BPP_EXECUTION_ERROR = 5
    UNDEFINED_REASON = 127


class AuthenticateServerOk(msgspec.Struct, frozen=True, kw_only=True):
    """AuthenticateResponseOk (5.7.13). `signed`, `signature_tlv`, `euicc_info2` and certificates are TLVs as received.

    `matching_id` is None when absent and "" when sent empty; its alphabet is not checked here.
    """

    transaction_id: TransactionId
    signed: bytes
    signature: bytes
    signature_tlv: bytes
    server_address: str
    server_challenge: bytes
    euicc_info2: bytes
    matching_id: str | None
    device_info: DeviceInfo
    euicc_certificate: bytes
    eum_certificate: bytes


class AuthenticateServerError(msgspec.Struct, frozen=True, kw_only=True):
    """AuthenticateResponseError (5.7.13)."""

    transaction_id: TransactionId
    code: int


class PrepareDownloadOk(msgspec.Struct, frozen=True, kw_only=True):
    """PrepareDownloadResponseOk (5.7.5). `euicc_otpk` is an uncompressed point of 65 bytes.

    `hash_cc` is None when absent, 32 bytes, or b"": some LPAs send it empty when no confirmation code is asked for.
    It and `signed` around it are kept out of `repr`: whoever holds it can try short codes until one fits.
    """

    transaction_id: TransactionId
    signed: bytes
    signature: bytes
    signature_tlv: bytes
    euicc_otpk: bytes
    hash_cc: bytes | None

    def __repr__(self) -> str:
        return f"PrepareDownloadOk(transaction_id={self.transaction_id})"


class PrepareDownloadError(msgspec.Struct, frozen=True, kw_only=True):
    """PrepareDownloadResponseError (5.7.5)."""

    transaction_id: TransactionId
    code: int


class CancelSessionOk(msgspec.Struct, frozen=True, kw_only=True):
    """CancelSessionResponseOk (5.7.14); `reason` is a `CancelReason` where this version names it."""

    transaction_id: TransactionId
    signed: bytes
    signature: bytes
    smdp_oid: str
    reason: int


class CancelSessionError(msgspec.Struct, frozen=True, kw_only=True):
    """cancelSessionResponseError (5.7.14)."""

    code: int


def parse_authenticate_server_response(data: bytes) -> AuthenticateServerOk | AuthenticateServerError:
    """Read the eUICC's answer to AuthenticateServer (BF38, 5.7.13). Raises Malformed."""
    arm = alternative(tlv.read_only(data, 0xBF38), "AuthenticateServerResponse")
    if arm.tag == 0xA1:
        members = arm.members()
        code = integer(members, 0x02, "authenticateErrorCode")
        return AuthenticateServerError(transaction_id=transaction_id(members), code=code)
    if arm.tag != 0xA0:
        raise Malformed(f"AuthenticateServerResponse has no alternative with tag {arm.tag:X}: send A0 or A1")
    signed, signature, euicc, eum = in_order(
        arm,
        (0x30, "euiccSigned1"),
        (0x5F37, "euiccSignature1"),
        (0x30, "euiccCertificate"),
        (0x30, "eumCertificate"),
    )
    members = signed.members()
    context = member(members, 0xA0, "ctxParamsForCommonAuthentication").members()
    matching_id = context.get(0x80)
    return AuthenticateServerOk(
        transaction_id=transaction_id(members),
        signed=signed.raw,
        signature=signature_value(signature),
        signature_tlv=signature.raw,
        server_address=member(members, 0x83, "serverAddress").text(),
        server_challenge=octets(member(members, 0x84, "serverChallenge"), "serverChallenge", 16, 16),
        euicc_info2=member(members, 0xBF22, "euiccInfo2").raw,
        matching_id=matching_id.text() if matching_id else None,
        device_info=device_info(member(context, 0xA1, "deviceInfo")),
        euicc_certificate=euicc.raw,
        eum_certificate=eum.raw,
    )


def parse_prepare_download_response(data: bytes) -> PrepareDownloadOk | PrepareDownloadError:
    """Read the eUICC's answer to PrepareDownload (BF21, 5.7.5). Raises Malformed."""
    arm = alternative(tlv.read_only(data, 0xBF21), "PrepareDownloadResponse")
    if arm.tag == 0xA1:
        members = arm.members()
        code = integer(members, 0x02, "downloadErrorCode")
        return PrepareDownloadError(transaction_id=transaction_id(members), code=code)
    if arm.tag != 0xA0:
        raise Malformed(f"PrepareDownloadResponse has no alternative with tag {arm.tag:X}: send A0 or A1")
    signed, signature = in_order(arm, (0x30, "euiccSigned2"), (0x5F37, "euiccSignature2"))
    members = signed.members()
    hash_cc = members.get(0x04)
    if hash_cc is not None and len(hash_cc.value) not in (0, 32):
        raise Malformed(f"hashCc has {len(hash_cc.value)} bytes: send 32, or leave it out")
    return PrepareDownloadOk(
        transaction_id=transaction_id(members),
        signed=signed.raw,
        signature=signature_value(signature),
        signature_tlv=signature.raw,
        euicc_otpk=octets(member(members, 0x5F49, "euiccOtpk"), "euiccOtpk (an uncompressed point)", 65, 65),
        hash_cc=hash_cc.value if hash_cc else None,
    )


def parse_cancel_session_response(data: bytes) -> CancelSessionOk | CancelSessionError:
    """Read the eUICC's answer to CancelSession (BF41, 5.7.14). Raises Malformed."""
    arm = alternative(tlv.read_only(data, 0xBF41), "CancelSessionResponse")
    if arm.tag == 0x81:
        return CancelSessionError(code=integer({0x81: arm}, 0x81, "cancelSessionResponseError"))
    if arm.tag != 0xA0:
        raise Malformed(f"CancelSessionResponse has no alternative with tag {arm.tag:X}: send A0 or 81")
    signed, signature = in_order(arm, (0x30, "euiccCancelSessionSigned"), (0x5F37, "euiccCancelSessionSignature"))
    members = signed.members()
    return CancelSessionOk(
        transaction_id=transaction_id(members),
        signed=signed.raw,
        signature=signature_value(signature),
        smdp_oid=tlv.oid_from_bytes(member(members, 0x81, "smdpOid").value),
        reason=integer(members, 0x82, "reason"),
    )

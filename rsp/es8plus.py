"""What travels inside a Bound Profile Package: ES8+ commands and their order (SGP.22 v2.5, 2.5.4, 5.5)."""

from __future__ import annotations

from rsp import tlv
from rsp.errors import Malformed
from rsp.identifiers import TransactionId

_INSTALL_BOUND_PROFILE_PACKAGE = tlv.wrap_integer(0x82, 1)
_AES_128 = tlv.wrap(0x80, b"\x88") + tlv.wrap(0x81, b"\x10")
"""keyType and keyLen."""
_POINT_BYTES = 65
_SIGNATURE_BYTES = 64
_KEY_BYTES = 16
_MAX_PROPRIETARY_DATA = 128


def _sized(value: bytes, name: str, shortest: int, longest: int) -> bytes:
    if not shortest <= len(value) <= longest:
        raise Malformed(f"{name} has {len(value)} bytes: {shortest} to {longest} are needed")
    return value


def _point(value: bytes, name: str) -> bytes:
    return tlv.wrap(0x5F49, _sized(value, name, _POINT_BYTES, _POINT_BYTES))


def _opening(transaction_id: TransactionId, host_id: bytes, smdp_otpk: bytes) -> bytes:
    """Remote operation, session, key reference and one-time key: what BF23 holds and its signature begins with."""
    key_reference = tlv.wrap(0xA6, _AES_128, tlv.wrap(0x84, _sized(host_id, "hostId", 1, 16)))
    session = tlv.wrap(0x80, transaction_id.value)
    return _INSTALL_BOUND_PROFILE_PACKAGE + session + key_reference + _point(smdp_otpk, "smdpOtpk")


def initialise_secure_channel(
    *, transaction_id: TransactionId, host_id: bytes, smdp_otpk: bytes, smdp_sign: bytes
) -> bytes:
    """InitialiseSecureChannelRequest (BF23, 5.5.1).

    `host_id` is 1 to 16 bytes, `smdp_otpk` an uncompressed point of 65, `smdp_sign` the 64 bytes of r and s made
    over `initialise_secure_channel_signed_part`. Raises Malformed on other sizes.
    """
    signature = tlv.wrap(0x5F37, _sized(smdp_sign, "smdpSign", _SIGNATURE_BYTES, _SIGNATURE_BYTES))
    return tlv.wrap(0xBF23, _opening(transaction_id, host_id, smdp_otpk), signature)


def initialise_secure_channel_signed_part(
    *, transaction_id: TransactionId, host_id: bytes, smdp_otpk: bytes, euicc_otpk: bytes
) -> bytes:
    """What smdpSign is computed over (5.5.1): the members of BF23 before it, then the eUICC's one-time key."""
    return _opening(transaction_id, host_id, smdp_otpk) + _point(euicc_otpk, "euiccOtpk")


def dp_proprietary_data(dp_oid: str, more: bytes = b"") -> bytes:
    """DpProprietaryData (B8): the OID of the profile's maker, then further objects of its own.

    Raises Malformed when it would exceed 128 bytes, tag and length included, or `more` is not whole objects.
    """
    for _ in tlv.objects(more):
        pass
    proprietary = tlv.wrap(0xB8, tlv.wrap(0x80, tlv.oid_to_bytes(dp_oid)), more)
    return _sized(proprietary, "dpProprietaryData", 1, _MAX_PROPRIETARY_DATA)


def configure_isdp(proprietary: bytes = b"") -> bytes:
    """ConfigureISDPRequest (BF24, 5.5.2), with the DpProprietaryData of its maker when there is one."""
    return tlv.wrap(0xBF24, proprietary)


def replace_session_keys(*, initial_mcv: bytes, ppk_enc: bytes, ppk_cmac: bytes) -> bytes:
    """ReplaceSessionKeysRequest (BF26, 5.5.4); each part is 16 bytes. Holds secrets: encrypt it, never log it."""
    parts = ((0x80, initial_mcv, "initialMacChainingValue"), (0x81, ppk_enc, "ppkEnc"), (0x82, ppk_cmac, "ppkCmac"))
    return tlv.wrap(0xBF26, *(tlv.wrap(tag, _sized(value, name, _KEY_BYTES, _KEY_BYTES)) for tag, value, name in parts))


def bound_profile_package(
    *, bf23: bytes, first87: bytes, segments88: bytes, second87: bytes, segments86: bytes
) -> bytes:
    """BoundProfilePackage (BF36, 2.5.4) from whole TLVs: BF23, and per part the segments one after another.

    `second87` is b"" in session-key mode, where no ReplaceSessionKeys is sent and A2 is left out.
    """
    return tlv.wrap(
        0xBF36,
        bf23,
        tlv.wrap(0xA0, first87),
        tlv.wrap(0xA1, segments88),
        tlv.wrap(0xA2, second87) if second87 else b"",
        tlv.wrap(0xA3, segments86),
    )

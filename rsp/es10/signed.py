"""What the SM-DP+ signs for an eUICC, and what signatures are computed over (SGP.22 v2.5, 5.7.13, 5.7.5, 2.6.7.2)."""

from __future__ import annotations

from rsp import tlv
from rsp.errors import Malformed
from rsp.identifiers import TransactionId


def server_signed1(
    *, transaction_id: TransactionId, euicc_challenge: bytes, server_address: str, server_challenge: bytes
) -> bytes:
    """ServerSigned1 (5.7.13), the object signed into serverSignature1; both challenges are 16 bytes."""
    if len(euicc_challenge) != 16 or len(server_challenge) != 16:
        raise Malformed("a challenge is 16 bytes")
    return tlv.wrap(
        0x30,
        tlv.wrap(0x80, transaction_id.value),
        tlv.wrap(0x81, euicc_challenge),
        tlv.wrap(0x83, server_address.encode()),
        tlv.wrap(0x84, server_challenge),
    )


def smdp_signed2(
    *, transaction_id: TransactionId, confirmation_code_required: bool, bpp_euicc_otpk: bytes | None
) -> bytes:
    """SmdpSigned2 (5.7.5); `bpp_euicc_otpk` is the 65-byte one-time key of a package already bound for this eUICC."""
    key = b"" if bpp_euicc_otpk is None else tlv.wrap(0x5F49, bpp_euicc_otpk)
    required = b"\xff" if confirmation_code_required else b"\x00"
    return tlv.wrap(0x30, tlv.wrap(0x80, transaction_id.value), tlv.wrap(0x01, required), key)


def signature_object(signature: bytes) -> bytes:
    """The TLV 5F37 around a signature of 64 bytes, r and s side by side (2.6.7.2)."""
    if len(signature) != 64:
        raise Malformed(f"a signature is 64 bytes, r and s side by side, not {len(signature)}")
    return tlv.wrap(0x5F37, signature)


def smdp_signature2_input(signed2: bytes, euicc_signature1_tlv: bytes) -> bytes:
    """What smdpSignature2 is computed over: SmdpSigned2 and the eUICC's signature TLV of the same session (5.7.5)."""
    return signed2 + euicc_signature1_tlv


def euicc_signature2_input(signed2: bytes, smdp_signature2_tlv: bytes) -> bytes:
    """What euiccSignature2 is computed over: EUICCSigned2 as received and our signature TLV (5.7.5)."""
    return signed2 + smdp_signature2_tlv

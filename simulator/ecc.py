"""The eUICC's elliptic curves: ECDSA in plain format (BSI TR-03111), one-time keys, ECDH (SGP.22 2.6.5, 2.6.7)."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from rsp import tlv
from simulator import der

SIGNATURE_TAG = 0x5F37
ONE_TIME_KEY_TAG = 0x5F49
_FIELD_BYTES = 32

# A private key is drawn from the card's own random source, so that a test can fix it; the orders are those of
# FIPS 186-4 D.1.2.3 and RFC 5639 3.4.
_CURVES: dict[str, tuple[ec.EllipticCurve, int]] = {
    "secp256r1": (ec.SECP256R1(), 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551),
    "brainpoolP256r1": (ec.BrainpoolP256R1(), 0xA9FB57DBA1EEA9BC3E660A909D838D718C397AA3B561A6F7901E0E82974856A7),
}


class SignatureWrong(Exception):  # noqa: N818 -- the name is the outcome
    """A signature does not verify, or is not 64 bytes r||s under tag 5F37."""


def is_supported(curve: ec.EllipticCurve) -> bool:
    """Whether the card knows the curve: NIST P-256 or brainpoolP256r1."""
    return curve.name in _CURVES


def sign(key: ec.EllipticCurvePrivateKey, *parts: bytes) -> bytes:
    """The 5F37 TLV with r||s over the concatenated parts, SHA-256."""
    r, s = decode_dss_signature(key.sign(b"".join(parts), ec.ECDSA(hashes.SHA256())))
    return tlv.wrap(SIGNATURE_TAG, r.to_bytes(_FIELD_BYTES, "big") + s.to_bytes(_FIELD_BYTES, "big"))


def verify(key: ec.EllipticCurvePublicKey, signature: tlv.Tlv, *parts: bytes) -> None:
    """Check the 5F37 TLV over the concatenated parts. Raises SignatureWrong."""
    value = signature.value
    if signature.tag != SIGNATURE_TAG or len(value) != 2 * _FIELD_BYTES:
        raise SignatureWrong("a signature is 64 bytes under tag 5F37")
    r, s = int.from_bytes(value[:_FIELD_BYTES], "big"), int.from_bytes(value[_FIELD_BYTES:], "big")
    try:
        key.verify(encode_dss_signature(r, s), b"".join(parts), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise SignatureWrong("the signature does not verify over the received bytes") from None


def one_time_key(curve: ec.EllipticCurve, random: Callable[[int], bytes]) -> ec.EllipticCurvePrivateKey:
    """A fresh one-time key pair; 320 random bits make the bias of the reduction negligible (FIPS 186-4 B.4.1)."""
    known, order = _CURVES[curve.name]
    return ec.derive_private_key(int.from_bytes(random(40), "big") % (order - 1) + 1, known)


def public_point(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public key as uncompressed point: 04, X, Y."""
    return key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def shared_secret(key: ec.EllipticCurvePrivateKey, point: tlv.Tlv) -> bytes:
    """ECDH: the x-coordinate, 32 bytes. Raises ValueError when the 5F49 TLV is no point of the key's curve."""
    value = der.sized(point, 1 + 2 * _FIELD_BYTES)
    if value[0] != 4:
        raise ValueError("a one-time public key is an uncompressed point: 04, X, Y")
    return key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(key.curve, value))

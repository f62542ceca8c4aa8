"""ECDSA with SHA-256 in the plain form r||s of BSI TR-03111, which SGP.22 v2.5, 2.6 asks for."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from crypto.curves import COORDINATE_LENGTH

SIGNATURE_LENGTH = 2 * COORDINATE_LENGTH
_ALGORITHM = ec.ECDSA(hashes.SHA256())


class BadSignature(Exception):  # noqa: N818 -- the name is the outcome
    """The signature does not belong to this data and this key."""


def sign(private_key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """Sign `data`; the answer is r||s, 64 bytes, without any tag."""
    r, s = decode_dss_signature(private_key.sign(data, _ALGORITHM))
    return r.to_bytes(COORDINATE_LENGTH, "big") + s.to_bytes(COORDINATE_LENGTH, "big")


def verify(public_key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> None:
    """Check that `signature` (r||s, 64 bytes) was made over exactly `data`. Raises BadSignature."""
    if len(signature) != SIGNATURE_LENGTH:
        raise BadSignature(f"a signature has {SIGNATURE_LENGTH} bytes r||s, this one has {len(signature)}")
    r = int.from_bytes(signature[:COORDINATE_LENGTH], "big")
    s = int.from_bytes(signature[COORDINATE_LENGTH:], "big")
    try:
        public_key.verify(encode_dss_signature(r, s), data, _ALGORITHM)
    except InvalidSignature:
        raise BadSignature("the signature does not match the data under this key") from None

"""One-time keys and the session keys made from them (SGP.22 v2.5, annex G; ANSI X9.63)."""

from __future__ import annotations

from functools import lru_cache

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF

from crypto.curves import COORDINATE_LENGTH, Curve

KEY_TYPE = 0x88
"""AES, as the control reference template of InitialiseSecureChannel names it."""

KEY_LENGTH = 16
_EID_LENGTH = 16
_MAX_HOST_ID = 16
_UNCOMPRESSED = 0x04
_REMEMBERED_KEYS = 1024


class BadPoint(ValueError):  # noqa: N818 -- the name is the outcome
    """The other side's public key is not a point of the curve."""


class SessionKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The three 16-byte values of a secure channel; also what ReplaceSessionKeys carries, in this order.

    Its repr shows none of them.
    """

    mac_chaining_value: bytes
    s_enc: bytes
    s_mac: bytes

    def __post_init__(self) -> None:
        if not len(self.mac_chaining_value) == len(self.s_enc) == len(self.s_mac) == KEY_LENGTH:
            raise ValueError(f"session keys are three values of {KEY_LENGTH} bytes each")

    def __repr__(self) -> str:
        return "SessionKeys()"

    @classmethod
    def from_bytes(cls, data: bytes) -> SessionKeys:
        """Cut 48 bytes: initial MAC chaining value, S-ENC, S-MAC. Raises ValueError on another length."""
        if len(data) != 3 * KEY_LENGTH:
            raise ValueError(f"session keys are {3 * KEY_LENGTH} bytes, not {len(data)}")
        return cls(mac_chaining_value=data[:16], s_enc=data[16:32], s_mac=data[32:])

    def to_bytes(self) -> bytes:
        """The 48 bytes that `from_bytes` reads. Secret: seal them before they leave memory."""
        return self.mac_chaining_value + self.s_enc + self.s_mac


class OneTimeKey:
    """A key pair for one binding (otSK.DP.KA / otPK.DP.KA). Its repr does not show the secret."""

    __slots__ = ("_numbers", "_private", "curve", "public")

    def __init__(self, private_key: ec.EllipticCurvePrivateKey, curve: Curve) -> None:
        self._private = private_key
        self.curve = curve
        # Both halves in one call, which takes no longer than to ask for either.
        self._numbers = private_key.private_numbers()
        point = self._numbers.public_numbers
        self.public = b"\x04" + point.x.to_bytes(COORDINATE_LENGTH, "big") + point.y.to_bytes(COORDINATE_LENGTH, "big")

    def __repr__(self) -> str:
        return f"OneTimeKey(curve={self.curve.name}, public={self.public.hex()})"

    @classmethod
    def generate(cls, curve: Curve) -> OneTimeKey:
        """A fresh random key pair."""
        return cls(ec.generate_private_key(curve.instance), curve)

    @classmethod
    def from_bytes(cls, curve: Curve, secret: bytes) -> OneTimeKey:
        """The key pair of a stored scalar: 32 bytes, big endian, from 1 to the group order - 1. Else ValueError."""
        if len(secret) != COORDINATE_LENGTH:
            raise ValueError(f"the secret of a one-time key has {COORDINATE_LENGTH} bytes, not {len(secret)}")
        try:
            private_key = ec.derive_private_key(int.from_bytes(secret, "big"), curve.instance)
        except ValueError:
            # The library's own text could quote the number, which is the secret.
            raise ValueError("the secret of a one-time key lies outside the group: it was damaged") from None
        return cls(private_key, curve)

    def to_bytes(self) -> bytes:
        """The scalar, 32 bytes big endian. Secret: seal it before it leaves memory."""
        return self._numbers.private_value.to_bytes(COORDINATE_LENGTH, "big")

    def shared_x(self, peer_public: bytes) -> bytes:
        """The x coordinate of the ECDH point, 32 bytes. Raises BadPoint."""
        return self._private.exchange(ec.ECDH(), read_point(self.curve, peer_public))


def read_point(curve: Curve, data: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of an uncompressed point (65 bytes, 04||x||y). Raises BadPoint when it is not on the curve."""
    if len(data) != 1 + 2 * COORDINATE_LENGTH or data[0] != _UNCOMPRESSED:
        raise BadPoint("a public key must be an uncompressed point: 65 bytes that start with 04")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve.instance, data)
    except ValueError:
        raise BadPoint(f"the public key is not a point of {curve.value}") from None


@lru_cache(_REMEMBERED_KEYS)
def card_key(curve: Curve, data: bytes) -> ec.EllipticCurvePublicKey:
    """The same for the key in a card's certificate: what reads the certificate and what verifies next share it."""
    return read_point(curve, data)


def derive_session_keys(key: OneTimeKey, peer_public: bytes, host_id: bytes, eid: bytes) -> SessionKeys:
    """Session keys between our one-time key and the eUICC's (`peer_public`, 65 bytes).

    `host_id` has 1 to 16 bytes, `eid` is the 16-byte binary form. Raises BadPoint on the peer's key and
    ValueError on a wrong length. The derived 48 bytes are initial MAC chaining value, S-ENC, S-MAC, in this order.
    """
    if not 1 <= len(host_id) <= _MAX_HOST_ID:
        raise ValueError(f"the host id has 1 to {_MAX_HOST_ID} bytes, not {len(host_id)}")
    if len(eid) != _EID_LENGTH:
        raise ValueError(f"the binary EID has {_EID_LENGTH} bytes, not {len(eid)}")
    shared_info = bytes((KEY_TYPE, KEY_LENGTH, len(host_id))) + host_id + bytes((len(eid),)) + eid
    return SessionKeys.from_bytes(expand(key.shared_x(peer_public), shared_info, 3 * KEY_LENGTH))


def expand(secret: bytes, shared_info: bytes, length: int) -> bytes:
    """The X9.63 key derivation function with SHA-256: `length` bytes from a shared secret."""
    return X963KDF(algorithm=hashes.SHA256(), length=length, sharedinfo=shared_info).derive(secret)

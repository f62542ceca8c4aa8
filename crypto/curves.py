"""The two elliptic curves an SM-DP+ must handle (SGP.22 v2.5, 2.6)."""

from __future__ import annotations

from enum import Enum

from cryptography.hazmat.primitives.asymmetric import ec

COORDINATE_LENGTH = 32
"""Bytes of a coordinate, a scalar and half a signature: the same on both curves."""


class UnsupportedCurve(ValueError):  # noqa: N818 -- the name is the outcome
    """A key lies on a curve that is not one of ours."""


class Curve(Enum):
    """A curve; the value is the name that key files and certificates carry."""

    P256 = "secp256r1"
    BRAINPOOL_P256R1 = "brainpoolP256r1"

    @property
    def instance(self) -> ec.EllipticCurve:
        """The curve object the `cryptography` library asks for."""
        return _INSTANCES[self]

    @classmethod
    def of(cls, key: object) -> Curve:
        """The curve of a public or private key. Raises UnsupportedCurve, also for a key that is no EC key."""
        if not isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
            raise UnsupportedCurve("the key is not an elliptic curve key: use P-256 or brainpoolP256r1")
        try:
            return cls(key.curve.name)
        except ValueError:
            raise UnsupportedCurve(f"curve {key.curve.name} is not used here: use P-256 or brainpoolP256r1") from None


_INSTANCES: dict[Curve, ec.EllipticCurve] = {
    Curve.P256: ec.SECP256R1(),
    Curve.BRAINPOOL_P256R1: ec.BrainpoolP256R1(),
}

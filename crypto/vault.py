"""What a key vault does for us: long-lived private keys sign and wrap inside it and never leave it."""

from __future__ import annotations

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from crypto.sealing import BadSeal

__all__ = ["BadSeal", "KeyUnknown", "Vault", "VaultUnavailable"]


class VaultUnavailable(Exception):  # noqa: N818 -- the name is the outcome
    """The vault cannot be reached now. Nothing was signed or unwrapped; the same call may succeed later."""


class KeyUnknown(Exception):  # noqa: N818 -- the name is the outcome
    """The vault holds no key of this label."""


class Vault(Protocol):
    """Every operation may raise VaultUnavailable. Labels name key pairs; wrapping keys have no label."""

    async def sign(self, label: str, data: bytes) -> bytes:
        """ECDSA-SHA256 over `data`: r||s, 64 bytes (BSI TR-03111). Raises KeyUnknown."""
        ...

    async def public_key(self, label: str) -> ec.EllipticCurvePublicKey:
        """The public half of a key pair. Raises KeyUnknown."""
        ...

    async def labels(self) -> tuple[str, ...]:
        """The labels of all key pairs, sorted."""
        ...

    async def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Seal `secret` under a key that stays in the vault; opening it needs the vault and the same `context`.

        The wrapped form starts with a version and the id of the wrapping key, so that keys can be changed over time.
        """
        ...

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Undo `wrap`. Raises BadSeal on altered bytes, another context or a wrapping key this vault lacks."""
        ...

    async def check(self) -> None:
        """Return when the vault can work now. Raises VaultUnavailable."""
        ...

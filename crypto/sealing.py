"""Sealed secrets: AES-256-GCM under a key of its own, bound to the place they belong to (NIST SP 800-38D)."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_LENGTH = 32
_NONCE_LENGTH = 12
_TAG_LENGTH = 16


class BadSeal(Exception):  # noqa: N818 -- the name is the outcome
    """Sealed bytes were altered, belong elsewhere, or were sealed under another key."""


class SealingKey:
    """A random 256-bit key. Its repr does not show it.

    Sealed bytes are nonce (12) || ciphertext || tag (16). `context` names the place the secret belongs to (a table, a
    column, an id); opening needs the same context. Nonces are random: seal fewer than 2**32 secrets under one key.
    """

    __slots__ = ("_aead", "_secret")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != _KEY_LENGTH:
            raise ValueError(f"a sealing key has {_KEY_LENGTH} bytes, not {len(secret)}")
        self._secret = secret
        self._aead = AESGCM(secret)

    def __repr__(self) -> str:
        return "SealingKey()"

    @classmethod
    def generate(cls) -> SealingKey:
        """A fresh random key."""
        return cls(secrets.token_bytes(_KEY_LENGTH))

    @classmethod
    def from_bytes(cls, secret: bytes) -> SealingKey:
        """The key of 32 stored bytes. Raises ValueError on another length."""
        return cls(secret)

    def to_bytes(self) -> bytes:
        """The 32 bytes of the key. Secret: let a vault wrap them before they are stored."""
        return self._secret

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """Encrypt and authenticate `plaintext`, and authenticate `context` with it."""
        nonce = secrets.token_bytes(_NONCE_LENGTH)
        return nonce + self._aead.encrypt(nonce, plaintext, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """The plaintext that was sealed for `context`. Raises BadSeal."""
        if len(sealed) < _NONCE_LENGTH + _TAG_LENGTH:
            raise BadSeal("sealed bytes are cut off")
        try:
            return self._aead.decrypt(sealed[:_NONCE_LENGTH], sealed[_NONCE_LENGTH:], context)
        except InvalidTag:
            raise BadSeal("sealed bytes were altered, or belong to another place or key") from None

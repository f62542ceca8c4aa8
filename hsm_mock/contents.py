"""What the mock vault's file holds, parsed: key pairs by label, and the wrapping key with its id."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric import ec

from crypto.curves import COORDINATE_LENGTH, Curve
from crypto.sealing import BadSeal, SealingKey
from hsm_mock.key_file import BadVaultFile

_VERSION = b"\x01"
_ID_LENGTH = 8
_PREFIX_LENGTH = len(_VERSION) + _ID_LENGTH


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappingKey:
    """Seals other people's keys. Wrapped bytes are version (1) || key id (8) || sealed bytes."""

    key_id: bytes
    key: SealingKey

    @classmethod
    def generate(cls) -> WrappingKey:
        """A fresh key with a random id."""
        return cls(key_id=secrets.token_bytes(_ID_LENGTH), key=SealingKey.generate())

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Seal `secret` for `context`; the prefix is authenticated too."""
        prefix = _VERSION + self.key_id
        return prefix + self.key.seal(secret, prefix + context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Undo `wrap`. Raises BadSeal."""
        prefix = _VERSION + self.key_id
        if wrapped[:_PREFIX_LENGTH] != prefix:
            raise BadSeal("the bytes were not wrapped by this vault's wrapping key: open the vault that wrapped them")
        return self.key.open(wrapped[_PREFIX_LENGTH:], prefix + context)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """One state of the vault. Only labels show in its repr."""

    keys: MappingProxyType[str, ec.EllipticCurvePrivateKey] = field(repr=False)
    wrapping: WrappingKey = field(repr=False)

    @classmethod
    def new(cls) -> Contents:
        """No key pairs, and a fresh wrapping key."""
        return cls(keys=MappingProxyType({}), wrapping=WrappingKey.generate())

    def plus(self, label: str, private_key: ec.EllipticCurvePrivateKey) -> Contents:
        """The contents with one more key pair."""
        return Contents(keys=MappingProxyType({**self.keys, label: private_key}), wrapping=self.wrapping)

    def to_bytes(self) -> bytes:
        """The JSON form that goes, encrypted, into the file."""
        keys = {label: {"curve": Curve.of(key).value, "secret": _secret(key)} for label, key in self.keys.items()}
        wrapping = {"id": self.wrapping.key_id.hex(), "key": self.wrapping.key.to_bytes().hex()}
        return json.dumps({"keys": keys, "wrapping": wrapping}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Contents:
        """Read the JSON form. Raises BadVaultFile when a version other than this one wrote it."""
        try:
            fields = json.loads(data)
            keys = {
                label: ec.derive_private_key(int(key["secret"], 16), Curve(key["curve"]).instance)
                for label, key in fields["keys"].items()
            }
            wrapping = WrappingKey(
                key_id=bytes.fromhex(fields["wrapping"]["id"]),
                key=SealingKey.from_bytes(bytes.fromhex(fields["wrapping"]["key"])),
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            # Nothing of the cause is repeated: its text may quote a secret.
            raise BadVaultFile("the body of the vault file was written by another version of this software") from None
        return cls(keys=MappingProxyType(keys), wrapping=wrapping)


def _secret(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_numbers().private_value.to_bytes(COORDINATE_LENGTH, "big").hex()

"""The mock vault: `crypto.vault.Vault` over one encrypted file, with keys parsed in memory."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from time import monotonic

from cryptography.hazmat.primitives.asymmetric import ec

from crypto import signatures
from crypto.curves import Curve
from crypto.vault import KeyUnknown, VaultUnavailable
from hsm_mock import key_file
from hsm_mock.contents import Contents
from hsm_mock.key_file import BadVaultFile, FileKey, Stamp, WrongPassphrase

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class MockVault:
    """Private keys in one file. Operations look at the file first: move it away and the vault is out of reach.

    When the file was rewritten under the same passphrase (another process imported a key) the new state is taken up.
    When it is gone, or is another file, every operation raises VaultUnavailable until it is back. One that signs, wraps
    or unwraps goes by the last look where that is not older than `look_seconds`.
    """

    is_mock = True
    """A server that starts on this vault warns loudly: its keys are only as safe as a file and a passphrase."""

    __slots__ = ("_contents", "_file_key", "_look_seconds", "_looked_at", "_name", "_path", "_stamp")

    def __init__(
        self, path: Path, file_key: FileKey, stamp: Stamp, contents: Contents, look_seconds: float = 0.0
    ) -> None:
        """For `create` and `open`, which callers use."""
        self._path = path
        self._name = str(path)
        self._file_key = file_key
        self._stamp = stamp
        self._contents = contents
        self._look_seconds = look_seconds
        self._looked_at = -math.inf

    def __repr__(self) -> str:
        return f"MockVault(path={str(self._path)!r}, labels={tuple(sorted(self._contents.keys))})"

    @classmethod
    def create(cls, path: Path | str, passphrase: str, *, cost: int = key_file.DEFAULT_COST) -> MockVault:
        """Make an empty vault file with a fresh wrapping key. Raises FileExistsError rather than overwrite one.

        `cost` is log2 of scrypt's N, 10 to 20; it is written into the file.
        """
        path = Path(path)
        file_key, contents = FileKey.create(passphrase, cost), Contents.new()
        with key_file.locked(path):
            if path.exists():
                raise FileExistsError(f"{path} exists: open it, or choose another path")
            stamp = key_file.write(path, file_key.encrypt(contents.to_bytes()))
        return cls(path, file_key, stamp, contents)

    @classmethod
    def open(cls, path: Path | str, passphrase: str, *, look_seconds: float = 0.0) -> MockVault:
        """Open a vault file. Raises WrongPassphrase, BadVaultFile, or VaultUnavailable when it cannot be read."""
        path = Path(path)
        try:
            stamp, header, body = key_file.read(path)
        except OSError as error:
            raise VaultUnavailable(
                f"vault file {path} cannot be read ({error.strerror}): check the path or create it"
            ) from error
        file_key = FileKey.derive(header, passphrase)
        return cls(path, file_key, stamp, Contents.from_bytes(file_key.decrypt(body)), look_seconds)

    def import_key(self, label: str, private_key: ec.EllipticCurvePrivateKey) -> None:
        """Add a key pair and rewrite the file. Raises ValueError on a bad or taken label or another curve."""
        if not _LABEL.fullmatch(label):
            raise ValueError(
                "a label has 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first"
            )
        Curve.of(private_key)
        try:
            self._rewrite(label, private_key)
        except OSError as error:
            raise VaultUnavailable(f"vault file {self._path} cannot be written: {error.strerror}") from error

    def generate_key(self, label: str, curve: Curve) -> ec.EllipticCurvePublicKey:
        """Make a key pair inside the vault and rewrite the file; the answer is its public half."""
        private_key = ec.generate_private_key(curve.instance)
        self.import_key(label, private_key)
        return private_key.public_key()

    async def sign(self, label: str, data: bytes) -> bytes:
        """See `crypto.vault.Vault.sign`."""
        return signatures.sign(self._key(label), data)

    async def public_key(self, label: str) -> ec.EllipticCurvePublicKey:
        """See `crypto.vault.Vault.public_key`."""
        return self._key(label).public_key()

    async def labels(self) -> tuple[str, ...]:
        """See `crypto.vault.Vault.labels`."""
        return tuple(sorted(self._looked().keys))

    async def wrap(self, secret: bytes, context: bytes) -> bytes:
        """See `crypto.vault.Vault.wrap`."""
        return self._current().wrapping.wrap(secret, context)

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See `crypto.vault.Vault.unwrap`."""
        return self._current().wrapping.unwrap(wrapped, context)

    async def check(self) -> None:
        """See `crypto.vault.Vault.check`."""
        self._looked()

    def _rewrite(self, label: str, private_key: ec.EllipticCurvePrivateKey) -> None:
        with key_file.locked(self._path):
            contents = self._looked()
            if label in contents.keys:
                raise ValueError(f"the vault has a key {label!r} already: choose another label")
            contents = contents.plus(label, private_key)
            self._stamp = key_file.write(self._path, self._file_key.encrypt(contents.to_bytes()))
            self._contents = contents

    def _key(self, label: str) -> ec.EllipticCurvePrivateKey:
        key = self._current().keys.get(label) or self._looked().keys.get(label)
        if key is None:
            raise KeyUnknown(f"the vault has no key {label!r}: import or generate it")
        return key

    def _current(self) -> Contents:
        """What the last look found, if it was not long ago: a look costs more than to unwrap a key."""
        return self._contents if monotonic() - self._looked_at < self._look_seconds else self._looked()

    def _looked(self) -> Contents:
        now, self._looked_at = monotonic(), -math.inf
        try:
            # Through Path it takes twice as long.
            if Stamp.of(os.stat(self._name)) != self._stamp:
                self._take_up()
        except OSError as error:
            raise VaultUnavailable(f"vault file {self._path} cannot be reached: {error.strerror}") from error
        self._looked_at = now
        return self._contents

    def _take_up(self) -> None:
        """Read the changed file with the key we hold; another vault's file, or a damaged one, does not open with it."""
        try:
            stamp, header, body = key_file.read(self._path)
            if header != self._file_key.header:
                raise BadVaultFile("it has another header")
            contents = Contents.from_bytes(self._file_key.decrypt(body))
        except (BadVaultFile, WrongPassphrase):
            raise VaultUnavailable(
                f"{self._path} is not the vault file that was opened: put it back, or start again"
            ) from None
        self._stamp, self._contents = stamp, contents

"""The file of the mock vault: a readable header with the scrypt parameters (RFC 7914), then an AES-256-GCM body."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from crypto.sealing import BadSeal, SealingKey

FORMAT = "smdp-flex mock vault 1"
DEFAULT_COST = 16
"""log2 of scrypt's N: with 8 blocks, 64 MiB and about a fifth of a second for each guess of the passphrase."""

_COSTS = range(10, 21)
_BLOCKS = 8
_MAX_SIZE = 4 * 1024 * 1024


class WrongPassphrase(Exception):  # noqa: N818 -- the name is the outcome
    """The passphrase does not open this file (or the file's body was altered, which looks the same)."""


class BadVaultFile(ValueError):  # noqa: N818 -- the name is the outcome
    """The file is not a vault of ours."""


class Stamp(NamedTuple):
    """What tells one state of a file from another without reading it: a tuple, compared at every use of the vault."""

    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """The stamp of a stat result."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKey:
    """The key of one vault file and the header line it belongs to. The key has no repr."""

    header: bytes
    key: SealingKey

    @classmethod
    def create(cls, passphrase: str, cost: int) -> FileKey:
        """Derive the key of a new file; `cost` is log2 of scrypt's N."""
        header = {"format": FORMAT, "cost": cost, "blocks": _BLOCKS, "salt": secrets.token_hex(16)}
        return cls.derive(json.dumps(header).encode(), passphrase)

    @classmethod
    def derive(cls, header: bytes, passphrase: str) -> FileKey:
        """Derive the key that `header` describes. Raises BadVaultFile on a header we did not write."""
        if not passphrase:
            raise WrongPassphrase("the passphrase is empty: give the one the vault was created with")
        try:
            fields = json.loads(header)
            if fields["format"] != FORMAT or fields["blocks"] != _BLOCKS or fields["cost"] not in _COSTS:
                raise BadVaultFile("the vault file has a format or scrypt parameters this version does not use")
            scrypt = Scrypt(salt=bytes.fromhex(fields["salt"]), length=32, n=1 << fields["cost"], r=_BLOCKS, p=1)
        except BadVaultFile:
            raise
        except (ValueError, TypeError, KeyError, RecursionError):
            raise BadVaultFile("the file does not start with the header of a mock vault: check the path") from None
        return cls(header=header, key=SealingKey(scrypt.derive(passphrase.encode())))

    def decrypt(self, body: bytes) -> bytes:
        """The plain body. Raises WrongPassphrase."""
        try:
            return self.key.open(body, self.header)
        except BadSeal:
            raise WrongPassphrase("wrong passphrase for this vault file, or its body was altered") from None

    def encrypt(self, plain: bytes) -> bytes:
        """Header line and encrypted body: the whole content of the file. The header is authenticated with the body."""
        return self.header + b"\n" + self.key.seal(plain, self.header)


def read(path: Path) -> tuple[Stamp, bytes, bytes]:
    """Stamp, header line and encrypted body. Raises OSError, and BadVaultFile on a file without a header."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        content = file.read(_MAX_SIZE + 1)
    header, newline, body = content.partition(b"\n")
    if not newline or len(content) > _MAX_SIZE:
        raise BadVaultFile(f"{path} is not a vault file: it has no header line, or is longer than {_MAX_SIZE} bytes")
    return Stamp.of(status), header, body


def write(path: Path, content: bytes) -> Stamp:
    """Put `content` in the place of the file at once: readers see the old state or the new one, also after a crash.

    The file is readable by its owner only. Hold `locked` meanwhile.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            stamp = Stamp.of(os.fstat(file.fileno()))
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    return stamp


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other writers of the file away; on a good end, its place in the folder is on disk."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
        os.fsync(folder)
    finally:
        os.close(folder)

"""Reading and writing certificates and keys as files: whole or not at all, keys for their owner's eyes only."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certs.errors import BadPki
from certs.recipe import Credential

_PUBLIC = 0o644
_PRIVATE = 0o600


def write(path: Path, data: bytes, mode: int = _PUBLIC) -> None:
    """Write `data` to `path` so that a reader sees the old content or the new one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_key(path: Path, pem: bytes) -> None:
    """Write a private key for its owner only (mode 0600, from its first byte on)."""
    write(path, pem, _PRIVATE)


def write_pem_pair(folder: Path, stem: str, credential: Credential) -> None:
    """`<stem>.pem` and `<stem>.key.pem`."""
    write_key(folder / f"{stem}.key.pem", credential.key_pem)
    write(folder / f"{stem}.pem", credential.pem)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A scratch folder that becomes `path` when the block ends well and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        scratch.rename(path)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    _sync_folder(path.parent)


def read(path: Path) -> bytes:
    """The bytes of a file. Raises BadPki when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadPki(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from None


def read_certificate(path: Path) -> bytes:
    """The DER of the one certificate in a DER or PEM file."""
    data = read(path)
    if b"-----BEGIN" not in data:
        return data
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise BadPki(f"{path} holds no readable certificate: give a DER or PEM file") from None
    if len(found) != 1:
        raise BadPki(f"{path} holds {len(found)} certificates: give a file with exactly one")
    return found[0].public_bytes(serialization.Encoding.DER)


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The elliptic-curve private key in a PEM file, SEC1 or PKCS#8, without a passphrase."""
    data = read(path)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except TypeError:
        raise BadPki(f"{path} is protected by a passphrase: decrypt it first with `openssl pkey`") from None
    except Exception:  # noqa: BLE001 -- the library's errors may quote the input, and the input is a secret
        raise BadPki(f"{path} holds no readable private key: give PEM, SEC1 or PKCS#8") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadPki(f"{path} is not an elliptic-curve key: RSP uses NIST P-256 and brainpoolP256r1")
    return key


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

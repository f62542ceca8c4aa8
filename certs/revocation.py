"""Revocation lists of a PKI folder: what lies in `crl/`, which of it is believed, and how new ones come in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certs import files, layout
from certs.errors import BadPki
from crypto.certificates import TrustStore
from crypto.revocation import MAX_LENGTH, BadRevocationList, NotYet, RevocationList, Revocations

_FOLDER = "crl"
_PEM_MARK = b"-----BEGIN"

State = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFile:
    """A list and the file that holds it."""

    file: Path
    found: RevocationList

    def days_left(self, now: datetime) -> int:
        """Whole days until the next one is due; negative when it is overdue."""
        return (self.found.next_update - now).days


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the folder holds: of each issuer and scope the newest list, and `faults`, files that are ignored and why.

    `is_early` tells that one of those begins later.
    """

    lists: tuple[ListFile, ...]
    faults: tuple[tuple[Path, str], ...]
    is_early: bool


def candidates(path: Path) -> list[Path]:
    """The files of the PKI folder `path` that should be lists; files that are just being written are none."""
    folder = path / _FOLDER
    return sorted(file for file in folder.glob("[!.]*") if file.is_file())


def state(path: Path) -> State:
    """What tells one state of the lists from another without reading them. Raises OSError."""
    stats = [(file.name, file.stat()) for file in candidates(path)]
    return tuple((name, found.st_ino, found.st_size, found.st_mtime_ns) for name, found in stats)


def read(path: Path, trust: TrustStore, now: datetime) -> Found:
    """Read all lists of the PKI folder `path`. Nothing in it stops this: what cannot be believed is told."""
    proved: list[ListFile] = []
    faults: list[tuple[Path, str]] = []
    is_early = False
    for file in candidates(path):
        try:
            proved.append(ListFile(file=file, found=trust.read_revocation_list(read_file(file), now)))
        except (BadPki, BadRevocationList) as error:
            faults.append((file, str(error)))
            is_early |= isinstance(error, NotYet)
    newest = Revocations()
    for one in sorted(proved, key=lambda one: one.found.number):
        try:
            newest.take(one.found)
        except BadRevocationList as error:
            faults.append((one.file, str(error)))
    chosen = {id(found) for found in newest}
    lists = tuple(one for one in proved if id(one.found) in chosen)
    return Found(lists=lists, faults=tuple(faults), is_early=is_early)


def read_file(path: Path) -> bytes:
    """The DER of the one list in a DER or PEM file. Raises BadPki."""
    data = files.read(path)
    if _PEM_MARK not in data:
        return data
    if data.count(_PEM_MARK) != 1 or len(data) > 2 * MAX_LENGTH:
        raise BadPki(f"{path} holds more than one list: give a file with exactly one")
    try:
        return x509.load_pem_x509_crl(data).public_bytes(serialization.Encoding.DER)
    except ValueError:
        raise BadPki(f"{path} holds no readable revocation list: give a DER or PEM file") from None


def trusting(path: Path, ci_certificates: Iterable[bytes], now: datetime) -> TrustStore:
    """A store of these CIs that knows what the lists of the PKI folder `path` revoke. Raises BadCertificate."""
    trust = TrustStore(ci_certificates)
    for one in read(path, trust, now).lists:
        trust.revocations.take(one.found)
    return trust


def import_lists(path: Path, given: Sequence[Path], *, now: datetime) -> tuple[ListFile, ...]:
    """Bring lists of the CIs of the PKI folder `path`, each in the place of the one before it; answers them.

    A running server takes them up by itself. The same list again changes nothing. Raises BadPki, before anything is
    written, for a list that is not to be believed, or older than what the folder has.
    """
    index = layout.read_index(path)
    trust = trusting(path, [files.read_certificate(path / name) for name in index.ci], now)
    judged = [_judge(file, trust, now) for file in given]
    taken = tuple(ListFile(file=path / _FOLDER / f"{_name(found)}.crl", found=found) for found in judged)
    for one in taken:
        files.write(one.file, one.found.der)
    return taken


def _judge(file: Path, trust: TrustStore, now: datetime) -> RevocationList:
    der = read_file(file)
    try:
        found = trust.read_revocation_list(der, now)
        trust.revocations.take(found)
    except BadRevocationList as error:
        raise BadPki(f"{file} is not taken: {error}") from None
    return found


def _name(found: RevocationList) -> str:
    return found.issuer_key_id.hex() + _scope_name(found)


def short_name(found: RevocationList) -> str:
    """What tells a list from others for people: eight digits of its issuer's key id, and of its scope if it has one."""
    return found.issuer_key_id.hex()[:8] + _scope_name(found)


def _scope_name(found: RevocationList) -> str:
    return f"-{sha256(found.scope).hexdigest()[:8]}" if found.scope else ""

"""One PKI folder on disk: where everything lies, what the index names, how it is read (layout: certs/README.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from certs import files
from certs.errors import BadPki
from crypto.certificates import BadCertificate, Certificate, parse_certificate
from crypto.curves import Curve

INDEX = "pki.json"
GUARD = ".gitignore"
MARKER = "GENERATED-TEST-MATERIAL.txt"
MARKER_TEXT = """\
The certificates and keys in this folder were generated for tests and demonstrations.
The private key of the issuer lies beside them: whoever reads this folder can be the issuer, any card and any server.
No real eUICC trusts them. Do not protect anything with them.
"""
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DpEntry:
    """One SM-DP+ set in the index: its folder below `dp/` and the vault labels of its two keys."""

    directory: str
    auth_key: str
    pb_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EimEntry:
    """The eIM in the index: the vault label of the key that signs packages, and the folder of its TLS pair."""

    signing_key: str
    tls: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """`pki.json`: what of the folder is in use. Files it does not name are leftovers and are ignored."""

    version: int = _VERSION
    ci: tuple[str, ...] = ()
    dp: tuple[DpEntry, ...] = ()
    tls: str = ""
    eim: EimEntry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DpCredentials:
    """The SM-DP+ under one CI: certificates in DER, keys by vault label, `oid` dotted, `ci_key_id` 20 bytes."""

    ci_key_id: bytes
    curve: Curve
    auth_certificate: bytes
    auth_key: str
    pb_certificate: bytes
    pb_key: str
    oid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EimCredentials:
    """The eIM: the vault label of the key that signs packages, its TLS pair (PEM), and the DNS `names` in that."""

    signing_key: str
    tls_certificate: Path
    tls_key: Path
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFiles:
    """What plays the other side of one curve in a generated folder: a CI, an EUM and a card. DER and PEM files."""

    ci_certificate: Path
    ci_key: Path
    eum_certificate: Path
    eum_key: Path
    euicc_certificate: Path
    euicc_key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PkiFolder:
    """A folder as read: certificates in DER, TLS material as paths, `generated` for test material, `names` DNS."""

    path: Path
    ci_certificates: tuple[bytes, ...]
    dp: tuple[DpCredentials, ...]
    tls_certificate: Path
    tls_key: Path
    operator_ca: Path
    generated: bool
    names: tuple[str, ...]
    eim: EimCredentials | None = None

    @property
    def callback_certificate(self) -> Path:
        """TLS certificate (PEM) of a callback receiver for tests, issued by the operators' CA."""
        return self.path / "callback" / "certificate.pem"

    @property
    def callback_key(self) -> Path:
        """The private key (PEM) of `callback_certificate`."""
        return self.path / "callback" / "certificate.key.pem"

    def operator_files(self, name: str) -> tuple[Path, Path]:
        """Client certificate and key (PEM) of an operator."""
        return self.path / "operators" / f"{name}.pem", self.path / "operators" / f"{name}.key.pem"

    def device_files(self, curve: Curve) -> DeviceFiles:
        """The simulator's credentials on `curve`; they exist in generated folders only."""
        folder = device_folder(self.path, curve)
        return DeviceFiles(
            ci_certificate=folder / "ci.der",
            ci_key=folder / "ci.key.pem",
            eum_certificate=folder / "eum.der",
            eum_key=folder / "eum.key.pem",
            euicc_certificate=folder / "euicc.der",
            euicc_key=folder / "euicc.key.pem",
        )


def device_folder(path: Path, curve: Curve) -> Path:
    """Where the simulator's credentials of one curve lie."""
    return path / "simulator" / curve.name.lower().replace("_", "-")


def read_index(path: Path) -> Index:
    """The index of a folder. Raises BadPki when there is none or it cannot be understood."""
    file = path / INDEX
    if not file.is_file():
        raise BadPki(
            f"{path} holds no {INDEX}: make a test PKI with `smdp pki init` or bring one with `smdp pki import`"
        )
    try:
        index = msgspec.json.decode(files.read(file), type=Index)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadPki(f"{file} is damaged ({error}): restore it or run `smdp pki init` on a new folder") from None
    if index.version != _VERSION:
        raise BadPki(f"{file} has version {index.version}, this program reads {_VERSION}: use a matching release")
    return index


def write_index(path: Path, index: Index) -> None:
    """Put a new index into force, in one step."""
    files.write(path / INDEX, msgspec.json.format(msgspec.json.encode(index), indent=2) + b"\n")


def write_guard(path: Path) -> None:
    """Keep the folder's keys out of a repository that happens to be around it."""
    files.write(path / GUARD, b"*\n")


def load(path: Path) -> PkiFolder:
    """Read a PKI folder. Raises BadPki naming the file at fault and the remedy; judges no chain (that is `check`)."""
    index = read_index(path)
    if not index.dp or not index.tls:
        raise BadPki(f"{path / INDEX} names no SM-DP+ set or no TLS certificate: bring them with `smdp pki import`")
    tls = path / index.tls / "certificate.pem"
    return PkiFolder(
        path=path,
        ci_certificates=tuple(files.read_certificate(path / name) for name in index.ci),
        dp=tuple(_read_set(path, entry) for entry in index.dp),
        tls_certificate=tls,
        tls_key=path / index.tls / "certificate.key.pem",
        operator_ca=path / "operators" / "ca.pem",
        generated=(path / MARKER).exists(),
        names=_names(tls),
        eim=_read_eim(path, index.eim) if index.eim else None,
    )


def _names(tls: Path) -> tuple[str, ...]:
    return tuple(name.lower() for name in parse(files.read_certificate(tls), str(tls)).dns_names)


def _read_eim(path: Path, entry: EimEntry) -> EimCredentials:
    tls = path / entry.tls / "certificate.pem"
    return EimCredentials(
        signing_key=entry.signing_key,
        tls_certificate=tls,
        tls_key=path / entry.tls / "certificate.key.pem",
        names=_names(tls),
    )


def parse(der: bytes, what: str) -> Certificate:
    """Parse a certificate; `what` names it in the error."""
    try:
        return parse_certificate(der)
    except BadCertificate as error:
        raise BadPki(f"{what} is not a usable certificate: {error}") from None


def _read_set(path: Path, entry: DpEntry) -> DpCredentials:
    folder = path / entry.directory
    auth, pb = (files.read_certificate(folder / name) for name in ("auth.der", "pb.der"))
    parsed = parse(auth, str(folder / "auth.der"))
    return DpCredentials(
        ci_key_id=parsed.authority_key_id,
        curve=parsed.curve,
        auth_certificate=auth,
        auth_key=entry.auth_key,
        pb_certificate=pb,
        pb_key=entry.pb_key,
        oid=parsed.oid,
    )

"""One row for each certificate a PKI folder has in use, for people and tools to read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from certs import files
from certs.layout import PkiFolder

ROLES = ("ci", "auth", "pb", "tls", "eim-tls", "operator-ca", "operator", "callback", "eum", "euicc")

PEERS = ("operator", "callback", "eum", "euicc")
"""Roles of those who call the server and of what is simulated: the server works on when they expire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A certificate: its role (one of ROLES), subject (RFC 4514), curve, key id (hex), validity, where it came from."""

    role: str
    subject: str
    curve: str
    key_id: str
    not_before: datetime
    not_after: datetime
    source: str

    def days_left(self, now: datetime) -> int:
        """Whole days until it expires; negative when it has."""
        return (self.not_after - now).days


def entries(pki: PkiFolder) -> tuple[Entry, ...]:
    """All certificates of the folder that are in use, issuers first. Raises BadPki when a file cannot be read."""
    rows = [entry("ci", der, "ci") for der in pki.ci_certificates]
    for dp in pki.dp:
        rows.append(entry("auth", dp.auth_certificate, f"vault key {dp.auth_key}"))
        rows.append(entry("pb", dp.pb_certificate, f"vault key {dp.pb_key}"))
    rows += _from_files(pki)
    return tuple(rows)


def entry(role: str, der: bytes, source: str) -> Entry:
    """The row of one certificate."""
    certificate = x509.load_der_x509_certificate(der)
    public_key = certificate.public_key()
    extensions = certificate.extensions
    try:
        key_id = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex().upper()
    except x509.ExtensionNotFound:
        key_id = ""
    return Entry(
        role=role,
        subject=certificate.subject.rfc4514_string(),
        curve=str(getattr(getattr(public_key, "curve", None), "name", "not elliptic")),
        key_id=key_id,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        source=source,
    )


def _from_files(pki: PkiFolder) -> list[Entry]:
    found: list[tuple[str, Path]] = [("tls", pki.tls_certificate), ("operator-ca", pki.operator_ca)]
    if pki.eim is not None:
        found.append(("eim-tls", pki.eim.tls_certificate))
    operators = sorted(pki.operator_ca.parent.glob("*.pem"))
    found += [("operator", file) for file in operators if file != pki.operator_ca and ".key." not in file.name]
    if pki.callback_certificate.exists():
        found.append(("callback", pki.callback_certificate))
    found += [("eum", file) for file in sorted(pki.path.glob("simulator/*/eum.der"))]
    found += [("euicc", file) for file in sorted(pki.path.glob("simulator/*/euicc.der"))]
    return [entry(role, files.read_certificate(file), str(file.relative_to(pki.path))) for role, file in found]

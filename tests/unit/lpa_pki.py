"""TLS certificates for tests of HTTP peers: one CA, a server certificate for given names, a client certificate."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_CA_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@dataclass(frozen=True, kw_only=True)
class Pki:
    folder: Path
    ca_file: Path

    def _context(self, purpose: ssl.Purpose, stem: str) -> ssl.SSLContext:
        context = ssl.create_default_context(purpose, cafile=str(self.ca_file))
        context.load_cert_chain(self.folder / f"{stem}.pem", self.folder / f"{stem}.key")
        return context

    def server(self) -> ssl.SSLContext:
        return self._context(ssl.Purpose.CLIENT_AUTH, "server")

    def client(self, stem: str = "client") -> ssl.SSLContext:
        return self._context(ssl.Purpose.SERVER_AUTH, stem)


def make_pki(folder: Path, *names: str) -> Pki:
    key = ec.generate_private_key(ec.SECP256R1())
    # The key usage, too: Python 3.13 and later read chains by the letter of RFC 5280.
    ca = _certificate("Test CA", key, name("Test CA"), key, [x509.BasicConstraints(ca=True, path_length=0), _CA_USAGE])
    _write(folder, "ca", key, ca)
    alternatives = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
    for stem, extensions in (("server", [alternatives]), ("client", [])):
        own = ec.generate_private_key(ec.SECP256R1())
        _write(folder, stem, own, _certificate(stem, own, ca.subject, key, extensions))
    stranger = ec.generate_private_key(ec.SECP256R1())
    _write(folder, "stranger", stranger, _certificate("stranger", stranger, name("Other CA"), stranger, []))
    return Pki(folder=folder, ca_file=folder / "ca.pem")


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    extensions: Sequence[x509.ExtensionType],
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if subject != "Test CA":
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(authority, critical=False)
    for extension in extensions:
        builder = builder.add_extension(
            extension, critical=isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
        )
    return builder.sign(issuer_key, hashes.SHA256())


def _write(folder: Path, stem: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    (folder / f"{stem}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{stem}.key").write_bytes(pem)

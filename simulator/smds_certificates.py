"""The certificates of a simulated SM-DS: DSauth and DStls as a CI issues them (SGP.22 4.5.2.1, SGP.26)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

ROLE_DS_TLS = "2.23.146.1.2.1.6"
ROLE_DS_AUTH = "2.23.146.1.2.1.7"
OID = "2.999.15"
_LIFE = timedelta(days=398)
_BACKDATED = timedelta(hours=1)
_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    def write(self, path: Path) -> Path:
        """Certificate and key in one PEM file that its owner alone can read, as TLS libraries load them."""
        path.touch(mode=0o600)
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(self.certificate.public_bytes(Encoding.PEM) + key)
        return path


class SmdsIssuer:
    """A CI, as far as it certifies an SM-DS: its certificate (DER) and private key. `now` is when it issues."""

    def __init__(self, ci_certificate: bytes, ci_key: ec.EllipticCurvePrivateKey, now: datetime | None = None) -> None:
        self.ci_certificate = ci_certificate
        self._ci = x509.load_der_x509_certificate(ci_certificate)
        if self._ci.public_key() != ci_key.public_key():
            raise ValueError("the private key does not belong to the CI certificate: give the two of one CI")
        self._key = ci_key
        self._now = now or datetime.now(UTC)
        self.ci_key_id = self._ci.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest

    def auth(self) -> Issued:
        """CERT.DSauth, which cards verify."""
        return self._issued("SM-DS", [x509.RegisteredID(ObjectIdentifier(OID))], ROLE_DS_AUTH)

    def tls(self, name: str) -> Issued:
        """CERT.DS.TLS for the DNS `name`, as server and as client."""
        names = [x509.DNSName(name), x509.RegisteredID(ObjectIdentifier(OID))]
        return self._issued(name, names, ROLE_DS_TLS)

    def _issued(self, common_name: str, names: list[x509.GeneralName], role: str) -> Issued:
        key = ec.generate_private_key(self._key.curve)
        tls = role == ROLE_DS_TLS
        policy = x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier(role), None)])
        builder = (
            x509.CertificateBuilder()
            .issuer_name(self._ci.subject)
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])]))
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _BACKDATED)
            .not_valid_after(self._now + _LIFE)
            .public_key(key.public_key())
            .add_extension(x509.AuthorityKeyIdentifier(self.ci_key_id, None, None), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_KEY_USAGE, critical=True)
            .add_extension(policy, critical=not tls)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )
        if tls:
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=True)
        return Issued(certificate=builder.sign(self._key, hashes.SHA256()), key=key)

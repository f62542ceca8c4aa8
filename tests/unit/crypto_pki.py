"""A small PKI for tests: certificates as the GSMA's RSP writes them, and with one thing wrong where a test says so."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROLE = "2.23.146.1.2.1."
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
EID = "89049032000000000000000000000070"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What goes into one certificate. Defaults fit an eUICC."""

    common_name: str = "card"
    organization: str = "Test EUM"
    serial_number: str = EID
    role: str = ROLE + "1"
    ca: bool = False
    cert_sign: bool = False
    crl_sign: bool = False
    digital_signature: bool = True
    oid: str = ""
    second_oid: str = ""
    second_serial_number: str = ""
    subject_key_id: bytes = b""
    dns_name: str = ""
    tls_server: bool = False
    permitted: tuple[tuple[str, str], ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    unknown_critical: bool = False
    curve: ec.EllipticCurve = field(default_factory=ec.SECP256R1)
    digest: hashes.SHA256 | hashes.SHA384 = field(default_factory=hashes.SHA256)
    not_before: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    not_after: datetime = datetime(2050, 1, 1, tzinfo=UTC)


CI = Plan(
    common_name="CI",
    organization="CI",
    serial_number="",
    role=ROLE + "0",
    ca=True,
    cert_sign=True,
    crl_sign=True,
    oid="2.999.1",
)
EUM = Plan(
    common_name="EUM",
    serial_number="",
    role=ROLE + "2",
    ca=True,
    cert_sign=True,
    digital_signature=False,
    permitted=(("Test EUM", "89049032"),),
)
EUICC = Plan()
DP_AUTH = Plan(common_name="DP", organization="ACME", serial_number="", role=ROLE + "4", oid="2.999.10")
DP_TLS = replace(DP_AUTH, role=ROLE + "3", dns_name="smdp.example.com", tls_server=True)


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key."""

    der: bytes
    key: ec.EllipticCurvePrivateKey

    @property
    def name(self) -> x509.Name:
        return x509.load_der_x509_certificate(self.der).subject


def issue(
    plan: Plan,
    issuer: Issued | None = None,
    signer: Issued | None = None,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Issued:
    """A certificate below `issuer`, self-signed when None; `signer` may sign in the issuer's place, to cheat.

    `key` renews the certificate of a key that exists.
    """
    key = key or ec.generate_private_key(plan.curve)
    signing = (signer or issuer or Issued(b"", key)).key
    subject = _name(plan.organization, plan.serial_number, plan.common_name, plan.second_serial_number)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(plan.not_before)
        .not_valid_after(plan.not_after)
    )
    authority = key.public_key() if issuer is None else issuer.key.public_key()
    for extension, critical in (*_identity(plan, key.public_key(), authority), *_powers(plan)):
        builder = builder.add_extension(extension, critical)
    return Issued(builder.sign(signing, plan.digest).public_bytes(Encoding.DER), key)


def _identity(
    plan: Plan, subject: ec.EllipticCurvePublicKey, issuer: ec.EllipticCurvePublicKey
) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = [
        (_subject_key_id(plan, subject), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), False),
    ]
    names: list[x509.GeneralName] = []
    if plan.dns_name:
        names.append(x509.DNSName(plan.dns_name))
    names.extend(x509.RegisteredID(x509.ObjectIdentifier(oid)) for oid in (plan.oid, plan.second_oid) if oid)
    if names:
        found.append((x509.SubjectAlternativeName(names), False))
    return found


def _subject_key_id(plan: Plan, key: ec.EllipticCurvePublicKey) -> x509.SubjectKeyIdentifier:
    if plan.subject_key_id:
        return x509.SubjectKeyIdentifier(plan.subject_key_id)
    return x509.SubjectKeyIdentifier.from_public_key(key)


def _powers(plan: Plan) -> list[tuple[x509.ExtensionType, bool]]:
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(plan.role), None)]), True),
        (
            x509.KeyUsage(
                digital_signature=plan.digital_signature,
                key_cert_sign=plan.cert_sign,
                crl_sign=plan.crl_sign,
                encipher_only=False,
                decipher_only=False,
                **usage,
            ),
            True,
        ),
    ]
    if plan.ca:
        found.append((x509.BasicConstraints(ca=True, path_length=None), True))
    if plan.tls_server:
        found.append((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), True))
    if plan.permitted or plan.excluded:
        found.append((x509.NameConstraints(_subtrees(plan.permitted), _subtrees(plan.excluded)), True))
    if plan.unknown_critical:
        found.append((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True))
    return found


def _subtrees(names: tuple[tuple[str, str], ...]) -> list[x509.DirectoryName] | None:
    return [x509.DirectoryName(_name(organization, iin, "")) for organization, iin in names] or None


def _name(organization: str, serial_number: str, common_name: str, second_serial_number: str = "") -> x509.Name:
    parts = (
        (NameOID.ORGANIZATION_NAME, organization),
        (NameOID.SERIAL_NUMBER, serial_number),
        (NameOID.COMMON_NAME, common_name),
        (NameOID.SERIAL_NUMBER, second_serial_number),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])

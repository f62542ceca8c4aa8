"""A small certificate tree for tests of the virtual eUICC, on either curve, made with code of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

from simulator.credentials import CardCredentials

NOW = datetime(2026, 6, 1, tzinfo=UTC)
EID = "89049032123451234512345678901235"
OWNER = "2.999.10"
ROLES = {"ci": "0", "euicc": "1", "eum": "2", "dp_auth": "4", "dp_pb": "5", "ds_auth": "7"}
CURVES = {"nist": ec.SECP256R1, "brainpool": ec.BrainpoolP256R1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a certificate shall look like; a test changes one field to make it wrong."""

    role: str = "dp_auth"
    owner: str | None = OWNER
    start: datetime = NOW - timedelta(days=30)
    end: datetime = NOW + timedelta(days=300)
    signs: bool = True
    certifies: bool = False
    critical_usage: bool = True
    critical_policy: bool = True
    curve: ec.EllipticCurve | None = None
    issuer_key_id: bytes | None = None
    extra_critical: bool = False
    ca: bool = False
    issuer_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key_id(self) -> bytes:
        return x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()).digest


def name(common: str, serial: str | None = None) -> x509.Name:
    parts = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Card Tests"),
        x509.NameAttribute(NameOID.COMMON_NAME, common),
    ]
    if serial:
        parts.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
    return x509.Name(parts)


def usage(wish: Wish) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=wish.signs,
        key_cert_sign=wish.certifies,
        content_commitment=not wish.signs and not wish.certifies,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def mint(subject: x509.Name, curve: ec.EllipticCurve, issuer: Entity | None, wish: Wish) -> Entity:
    key = ec.generate_private_key(wish.curve or curve)
    signer = issuer.key if issuer else key
    issuer_name = issuer.certificate.subject if issuer else subject
    if wish.issuer_name:
        issuer_name = name(wish.issuer_name)
    authority = wish.issuer_key_id or x509.SubjectKeyIdentifier.from_public_key(signer.public_key()).digest
    policy = ObjectIdentifier(f"2.23.146.1.2.1.{ROLES[wish.role]}")
    builder = (
        x509.CertificateBuilder(
            issuer_name, subject, key.public_key(), x509.random_serial_number(), wish.start, wish.end
        )
        .add_extension(x509.AuthorityKeyIdentifier(authority, None, None), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(usage(wish), critical=wish.critical_usage)
        .add_extension(x509.CertificatePolicies([x509.PolicyInformation(policy, None)]), critical=wish.critical_policy)
    )
    if wish.owner:
        owner = x509.SubjectAlternativeName([x509.RegisteredID(ObjectIdentifier(wish.owner))])
        builder = builder.add_extension(owner, critical=False)
    if wish.ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if wish.extra_critical:
        builder = builder.add_extension(x509.OCSPNoCheck(), critical=True)
    return Entity(certificate=builder.sign(signer, hashes.SHA256()), key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pki:
    curve: ec.EllipticCurve
    ci: Entity
    eum: Entity
    euicc: Entity

    def server(self, wish: Wish) -> Entity:
        return mint(name("server"), self.curve, self.ci, wish)

    def credentials(self) -> CardCredentials:
        return CardCredentials(
            euicc_certificate=self.euicc.der,
            eum_certificate=self.eum.der,
            ci_certificates=(self.ci.der,),
            private_key=self.euicc.key,
        )


@cache
def pki(curve_name: str) -> Pki:
    curve = CURVES[curve_name]()
    issuer = Wish(role="ci", owner="2.999.1", certifies=True, ca=True, signs=False)
    ci = mint(name(f"ci {curve_name}"), curve, None, issuer)
    eum = mint(name("eum"), curve, ci, Wish(role="eum", owner="2.999.5", certifies=True, ca=True, signs=False))
    euicc = mint(name("euicc", EID), curve, eum, Wish(role="euicc", owner=None))
    return Pki(curve=curve, ci=ci, eum=eum, euicc=euicc)


@cache
def server_entity(curve_name: str, wish: Wish) -> Entity:
    return pki(curve_name).server(wish)

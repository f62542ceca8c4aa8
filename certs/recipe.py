"""Makes a GSMA-style test PKI shaped like SGP.26 variant O, and an operators' CA (SGP.22 4.5.2).

No files and no clock: time and serial numbers come in, DER and keys go out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from crypto.curves import Curve
from rsp.identifiers import Eid

_ROLE = "2.23.146.1.2.1."  # id-rspRole; the last arc names the role
_CI_OID = "2.999.1"
_EUM_OID = "2.999.5"
DP_OID = "2.999.10"
IIN = "89049032"  # the issuer number SGP.26 uses for its own test cards

_CRL_A = "http://ci.smdp-flex.example/CRL-A.crl"
_CRL_B = "http://ci.smdp-flex.example/CRL-B.crl"

# A device whose clock is a little slow must still accept a certificate made this minute.
_BACKDATED = timedelta(hours=1)
_CI_LIFE = timedelta(days=35 * 365)
_EUM_LIFE = timedelta(days=34 * 365)
_EUICC_LIFE = timedelta(days=2_000_000)  # cards cannot be re-certified: the year is past 7400, as in SGP.26
_DP_LIFE = timedelta(days=10 * 365)
_TLS_LIFE = timedelta(days=398)
_OPERATORS_LIFE = timedelta(days=10 * 365)

_NO_USAGE = {
    "digital_signature": False,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "encipher_only": False,
    "decipher_only": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A certificate with its private key; the key never shows in a repr."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key, PKCS#8 PEM without a passphrase: for files of mode 0600 only."""
        return key_pem(self.key)

    @property
    def key_id(self) -> bytes:
        """SubjectKeyIdentifier, 20 bytes."""
        return self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is outside the recipe's control: the time of issue (aware), the serial number, a key made elsewhere."""

    now: datetime
    serial: int
    key: ec.EllipticCurvePrivateKey | None = field(default=None, repr=False)

    def key_on(self, curve: Curve) -> ec.EllipticCurvePrivateKey:
        """The given key, or a fresh one on `curve`."""
        return self.key or ec.generate_private_key(curve.instance)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """The parts in which the certificates differ: subject, life, (extension, critical) in order."""

    subject: x509.Name
    life: timedelta
    extensions: tuple[tuple[x509.ExtensionType, bool], ...]


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PKCS#8 PEM without a passphrase."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def sample_eid(number: int) -> Eid:
    """The `number`-th EID of the recipe's EUM, its check digits right (SGP.29: modulo 97 is 1)."""
    body = f"{IIN}{number:022d}"
    return Eid(f"{body}{98 - int(body) * 100 % 97:02d}")


def ci(terms: Terms, curve: Curve) -> Credential:
    """A self-signed certificate issuer."""
    name = _name(CN=f"smdp-flex Test CI {curve.name}", OU="TESTCERT", O="smdp-flex", C="IT")
    shape = _Shape(
        subject=name,
        life=_CI_LIFE,
        extensions=(
            (x509.BasicConstraints(ca=True, path_length=None), True),
            (_role("0"), True),
            (_usage("key_cert_sign", "crl_sign"), True),
            (_san(oid=_CI_OID), False),
            (_crls(_CRL_A, _CRL_B), False),
        ),
    )
    return _self_signed(shape, terms, curve)


def eum(issuer: Credential, terms: Terms, organization: str = "smdp-flex Test EUM", iin: str = IIN) -> Credential:
    """An eUICC manufacturer that may certify EIDs starting with `iin` (8 digits) under its own organization name."""
    shape = _Shape(
        subject=_name(C="ES", O=organization, CN="smdp-flex EUM"),
        life=_EUM_LIFE,
        extensions=(
            (_usage("key_cert_sign"), True),
            (_role("2"), True),
            (_san(oid=_EUM_OID), False),
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (_crls(_CRL_B), False),
            (x509.NameConstraints([x509.DirectoryName(_name(O=organization, serialNumber=iin))], None), True),
        ),
    )
    return _issued(shape, issuer, terms)


def euicc(issuer: Credential, terms: Terms, eid: Eid) -> Credential:
    """A card of `issuer`, whose organization it takes over."""
    organization = issuer.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value
    shape = _Shape(
        subject=_name(C="ES", O=str(organization), serialNumber=str(eid), CN="smdp-flex eUICC"),
        life=_EUICC_LIFE,
        extensions=((_usage("digital_signature"), True), (_role("1"), True)),
    )
    return _issued(shape, issuer, terms)


def dp_auth(issuer: Credential, terms: Terms, oid: str = DP_OID) -> Credential:
    """The SM-DP+ certificate that signs authentications (CERT.DPauth.ECDSA)."""
    return _issued(_dp_shape("4", oid), issuer, terms)


def dp_pb(issuer: Credential, terms: Terms, oid: str = DP_OID) -> Credential:
    """The SM-DP+ certificate that signs profile bindings (CERT.DPpb.ECDSA); its OID is the one of DPauth."""
    return _issued(_dp_shape("5", oid), issuer, terms)


def dp_tls(issuer: Credential, terms: Terms, names: Sequence[str], oid: str = DP_OID) -> Credential:
    """The SM-DP+ certificate of TLS for the DNS `names`, as server and as client (CERT.DP.TLS)."""
    shape = _Shape(
        subject=_name(O="smdp-flex", CN=_common_name(names[0])),
        life=_TLS_LIFE,
        extensions=(
            (_usage("digital_signature"), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), True),
            (_role("3"), False),
            (_san(*names, oid=oid), False),
            (_crls(_CRL_A, _CRL_B), False),
        ),
    )
    return _issued(shape, issuer, terms)


def operator_ca(terms: Terms) -> Credential:
    """An ordinary CA for the client certificates with which operators call ES2+ (SGP.22 leaves it to the parties)."""
    shape = _Shape(
        subject=_name(O="smdp-flex", CN="smdp-flex operators CA"),
        life=_OPERATORS_LIFE,
        extensions=(
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (_usage("key_cert_sign", "crl_sign"), True),
        ),
    )
    return _self_signed(shape, terms, Curve.P256)


def operator(issuer: Credential, terms: Terms, name: str) -> Credential:
    """The client certificate of the operator `name` (CN, at most 64 characters)."""
    return _issued(_plain_shape(name, ExtendedKeyUsageOID.CLIENT_AUTH), issuer, terms)


def eim_tls(issuer: Credential, terms: Terms, names: Sequence[str]) -> Credential:
    """The TLS certificate under which devices find the eIM; cards may be told to trust its key, or its issuer."""
    return callback_server(issuer, terms, names)


def callback_server(issuer: Credential, terms: Terms, names: Sequence[str]) -> Credential:
    """The TLS certificate of an operator's server that receives our callbacks; `names` are hosts or IP addresses."""
    shape = _plain_shape(_common_name(names[0]), ExtendedKeyUsageOID.SERVER_AUTH)
    san = (x509.SubjectAlternativeName([_host(name) for name in names]), False)
    return _issued(_Shape(subject=shape.subject, life=shape.life, extensions=(*shape.extensions, san)), issuer, terms)


def _dp_shape(role: str, oid: str) -> _Shape:
    return _Shape(
        subject=_name(O="smdp-flex", CN="smdp-flex SM-DP+"),
        life=_DP_LIFE,
        extensions=(
            (_san(oid=oid), False),
            (_usage("digital_signature"), True),
            (_role(role), True),
            (_crls(_CRL_A, _CRL_B), False),
        ),
    )


def _plain_shape(common_name: str, purpose: ObjectIdentifier) -> _Shape:
    return _Shape(
        subject=_name(CN=common_name),
        life=_TLS_LIFE,
        extensions=(
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage("digital_signature"), True),
            (x509.ExtendedKeyUsage([purpose]), False),
        ),
    )


def _self_signed(shape: _Shape, terms: Terms, curve: Curve) -> Credential:
    key = terms.key_on(curve)
    builder = _builder(shape, terms, key.public_key()).issuer_name(shape.subject)
    return Credential(certificate=builder.sign(key, hashes.SHA256()), key=key)


def _issued(shape: _Shape, issuer: Credential, terms: Terms) -> Credential:
    key = terms.key_on(Curve.of(issuer.key))
    authority = x509.AuthorityKeyIdentifier(issuer.key_id, None, None)
    builder = _builder(shape, terms, key.public_key()).issuer_name(issuer.certificate.subject)
    builder = builder.add_extension(authority, critical=False)
    return Credential(certificate=builder.sign(issuer.key, hashes.SHA256()), key=key)


def _builder(shape: _Shape, terms: Terms, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    start = terms.now.astimezone(UTC).replace(microsecond=0) - _BACKDATED
    builder = (
        x509.CertificateBuilder()
        .subject_name(shape.subject)
        .public_key(public_key)
        .serial_number(terms.serial)
        .not_valid_before(start)
        .not_valid_after(start + shape.life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
    for extension, critical in shape.extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder


_ATTRIBUTES = {
    "C": NameOID.COUNTRY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
    "serialNumber": NameOID.SERIAL_NUMBER,
}


def _name(**attributes: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(_ATTRIBUTES[short], value) for short, value in attributes.items()])


def _common_name(host: str) -> str:
    # X.520 ends a common name at 64 characters; a longer host stands in the alternative names only.
    return host if len(host) <= 64 else "smdp-flex"


def _role(arc: str) -> x509.CertificatePolicies:
    return x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier(_ROLE + arc), None)])


def _usage(*uses: str) -> x509.KeyUsage:
    return x509.KeyUsage(**(_NO_USAGE | dict.fromkeys(uses, True)))


def _san(*names: str, oid: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([*map(x509.DNSName, names), x509.RegisteredID(ObjectIdentifier(oid))])


def _crls(*urls: str) -> x509.CRLDistributionPoints:
    return x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None) for url in urls]
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)

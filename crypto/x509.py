"""One certificate of the GSMA's RSP, read once into typed values (SGP.22 v2.5, 4.5.2; RFC 5280)."""

from __future__ import annotations

import warnings
from contextlib import suppress
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier, SignatureAlgorithmOID

from crypto import slices
from crypto.agreement import card_key
from crypto.curves import Curve, UnsupportedCurve

_MAX_LENGTH = 8192
_ECDSA = ec.ECDSA(hashes.SHA256())
_REMEMBERED = 1024

UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for bytes that are no certificate or no list of them, at the first look or at a later one."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


class BadCertificate(ValueError):  # noqa: N818 -- the name is the outcome
    """A certificate cannot be read or used; the text says why."""


class Role(Enum):
    """What a certificate is for; the value is its certificate policy."""

    CI = "2.23.146.1.2.1.0"
    EUICC = "2.23.146.1.2.1.1"
    EUM = "2.23.146.1.2.1.2"
    DP_TLS = "2.23.146.1.2.1.3"
    DP_AUTH = "2.23.146.1.2.1.4"
    DP_PB = "2.23.146.1.2.1.5"
    DS_TLS = "2.23.146.1.2.1.6"
    DS_AUTH = "2.23.146.1.2.1.7"


_EUICC_ALONE = frozenset({Role.EUICC})
_ROLES = {role.value: role for role in Role}


class PermittedName(msgspec.Struct, frozen=True, kw_only=True):
    """One name an EUM may certify: an organization and the first digits of its EIDs (IIN)."""

    organization: str
    iin: str


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate as read; nothing about it is proved yet.

    `oid` is the registered id of SubjectAltName in dotted form, `eid` the serial number of the subject, as written;
    both are empty when absent, as is `authority_key_id`. `point` is the public key, uncompressed. `path_length` is None
    when there is no limit.
    """

    der: bytes
    serial_number: int
    subject_key_id: bytes
    authority_key_id: bytes
    not_before: datetime
    not_after: datetime
    roles: frozenset[Role]
    oid: str
    dns_names: tuple[str, ...]
    eid: str
    organization: str
    curve: Curve
    public_key: ec.EllipticCurvePublicKey
    point: bytes
    permitted_names: tuple[PermittedName, ...]
    is_ca: bool
    path_length: int | None
    may_sign_data: bool
    may_sign_certificates: bool
    may_sign_lists: bool
    tls_server: bool
    tls_client: bool
    signed_part: bytes
    signature: bytes

    def __repr__(self) -> str:
        names = "+".join(sorted(role.name for role in self.roles))
        return f"Certificate({names}, subject_key_id={self.subject_key_id.hex()}, eid={self.eid!r})"

    @property
    def iin_prefixes(self) -> tuple[str, ...]:
        """The first digits of the EIDs an EUM may certify."""
        return tuple(name.iin for name in self.permitted_names)

    def is_valid_at(self, moment: datetime) -> bool:
        """Whether `moment` (aware) lies within the validity dates, both included."""
        return self.not_before <= moment <= self.not_after

    def check_signed_by(self, issuer: Certificate) -> None:
        """Check curve and signature against the issuer's key. Raises BadCertificate."""
        if self.curve is not issuer.curve:
            raise BadCertificate(f"its key is on {self.curve.value}, its issuer's on {issuer.curve.value}")
        try:
            issuer.public_key.verify(self.signature, self.signed_part, _ECDSA)
        except InvalidSignature:
            raise BadCertificate("its signature does not match its issuer's key") from None


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate says first: who issued it and when it holds. The rest of it may be beyond reading."""

    authority_key_id: bytes
    not_before: datetime
    not_after: datetime

    def is_valid_at(self, moment: datetime) -> bool:
        """Whether `moment` (aware) lies within the validity dates, both included."""
        return self.not_before <= moment <= self.not_after


def glance(der: bytes) -> Glance | None:
    """Look at a certificate that `parse_certificate` refuses; None where not even so much can be read."""
    if len(der) > _MAX_LENGTH:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            source = x509.load_der_x509_certificate(der)
            issuer = source.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
            return Glance(
                authority_key_id=issuer.key_identifier or b"",
                not_before=source.not_valid_before_utc,
                not_after=source.not_valid_after_utc,
            )
    except (x509.ExtensionNotFound, *UNREADABLE):
        return None


def same_organization(one: str, other: str) -> bool:
    """Compare two organization names as RFC 5280, 7.1 does: case and runs of blanks do not count."""
    return " ".join(one.casefold().split()) == " ".join(other.casefold().split())


@lru_cache(_REMEMBERED)
def parse_certificate(der: bytes) -> Certificate:
    """Read one DER certificate of at most 8192 bytes. Raises BadCertificate on anything that cannot be read."""
    found = slices.euicc(der)
    if found is not None:
        with suppress(ValueError):  # The point is not on the curve.
            return _of_slices(der, found)
    return read_whole(der)


def read_whole(der: bytes) -> Certificate:
    """The same, every field read by the library: for certificates that are not of the usual form."""
    if len(der) > _MAX_LENGTH:
        raise BadCertificate(f"a certificate has at most {_MAX_LENGTH} bytes, this one has {len(der)}")
    try:
        with warnings.catch_warnings():
            # The library grumbles at negative serial numbers and long names. Cards in the field have them, and what
            # matters here is judged here.
            warnings.simplefilter("ignore", UserWarning)
            return _read(der, x509.load_der_x509_certificate(der))
    except BadCertificate:
        raise
    except UnsupportedCurve as error:
        raise BadCertificate(str(error)) from None
    except UNREADABLE as error:
        raise BadCertificate(f"the bytes are not a certificate that can be read: {error}") from error


def _of_slices(der: bytes, found: slices.Sliced) -> Certificate:
    return Certificate(
        der=der,
        serial_number=found.serial_number,
        subject_key_id=found.subject_key_id,
        authority_key_id=found.authority_key_id,
        not_before=found.not_before,
        not_after=found.not_after,
        roles=_EUICC_ALONE,
        oid="",
        dns_names=(),
        eid=found.eid,
        organization=found.organization,
        curve=found.curve,
        public_key=card_key(found.curve, found.point),
        point=found.point,
        permitted_names=(),
        is_ca=False,
        path_length=None,
        may_sign_data=True,
        may_sign_certificates=False,
        may_sign_lists=False,
        tls_server=False,
        tls_client=False,
        signed_part=found.signed_part,
        signature=found.signature,
    )


def _read(der: bytes, source: x509.Certificate) -> Certificate:
    if source.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
        raise BadCertificate("it is not signed with ECDSA and SHA-256")
    if not der.endswith(b"\x00" + source.signature):
        raise BadCertificate("its signature is not made of whole bytes")
    public_key = source.public_key()
    curve = Curve.of(public_key)
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    extensions = _Extensions(source.extensions)
    ca, path_length = extensions.basic_constraints()
    usage = extensions.find(x509.KeyUsage)
    extended = extensions.find(x509.ExtendedKeyUsage) or ()
    return Certificate(
        der=der,
        serial_number=source.serial_number,
        subject_key_id=extensions.subject_key_id(),
        authority_key_id=extensions.authority_key_id(),
        not_before=source.not_valid_before_utc,
        not_after=source.not_valid_after_utc,
        roles=extensions.roles(),
        oid=extensions.registered_id(),
        dns_names=extensions.dns_names(),
        eid=_attribute(source.subject, NameOID.SERIAL_NUMBER),
        organization=_attribute(source.subject, NameOID.ORGANIZATION_NAME),
        curve=curve,
        public_key=public_key,
        point=public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        permitted_names=extensions.permitted_names(),
        is_ca=ca,
        path_length=path_length,
        may_sign_data=usage is not None and usage.digital_signature,
        may_sign_certificates=usage is not None and usage.key_cert_sign,
        may_sign_lists=usage is not None and usage.crl_sign,
        tls_server=ExtendedKeyUsageOID.SERVER_AUTH in extended,
        tls_client=ExtendedKeyUsageOID.CLIENT_AUTH in extended,
        signed_part=source.tbs_certificate_bytes,
        signature=source.signature,
    )


class _Extensions:
    """The extensions of one certificate by type. A critical one that we do not understand is an error."""

    __slots__ = ("_found",)

    def __init__(self, extensions: x509.Extensions) -> None:
        self._found = {type(extension.value): extension.value for extension in extensions}
        for extension in extensions:
            if extension.critical and not isinstance(extension.value, _UNDERSTOOD):
                raise BadCertificate(f"it has a critical extension {extension.oid.dotted_string} we do not know")

    def find(self, kind: type[_Extension]) -> _Extension | None:
        value = self._found.get(kind)
        return value if isinstance(value, kind) else None

    def basic_constraints(self) -> tuple[bool, int | None]:
        value = self.find(x509.BasicConstraints)
        return (False, None) if value is None else (value.ca, value.path_length)

    def subject_key_id(self) -> bytes:
        value = self.find(x509.SubjectKeyIdentifier)
        if value is None or not value.digest:
            raise BadCertificate("it has no subject key identifier")
        return value.digest

    def authority_key_id(self) -> bytes:
        value = self.find(x509.AuthorityKeyIdentifier)
        return b"" if value is None else value.key_identifier or b""

    def roles(self) -> frozenset[Role]:
        policies = self.find(x509.CertificatePolicies) or ()
        dotted = (policy.policy_identifier.dotted_string for policy in policies)
        return frozenset(_ROLES[policy] for policy in dotted if policy in _ROLES)

    def registered_id(self) -> str:
        value = self.find(x509.SubjectAlternativeName)
        ids = [] if value is None else value.get_values_for_type(x509.RegisteredID)
        if len(ids) > 1:
            raise BadCertificate("it has more than one registered id")
        return ids[0].dotted_string if ids else ""

    def dns_names(self) -> tuple[str, ...]:
        value = self.find(x509.SubjectAlternativeName)
        return () if value is None else tuple(value.get_values_for_type(x509.DNSName))

    def permitted_names(self) -> tuple[PermittedName, ...]:
        value = self.find(x509.NameConstraints)
        if value is None:
            return ()
        if value.excluded_subtrees:
            raise BadCertificate("its name constraints exclude names, which has no meaning here")
        subtrees = value.permitted_subtrees or ()
        read = (_permitted(subtree.value) for subtree in subtrees if isinstance(subtree, x509.DirectoryName))
        return tuple(name for name in read if name.organization and name.iin)


_UNDERSTOOD = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.CertificatePolicies,
    x509.NameConstraints,
    x509.SubjectAlternativeName,
    x509.SubjectKeyIdentifier,
    x509.AuthorityKeyIdentifier,
    x509.CRLDistributionPoints,
)


def _permitted(name: x509.Name) -> PermittedName:
    iin = _attribute(name, NameOID.SERIAL_NUMBER)
    if iin and not (iin.isascii() and iin.isdigit()):
        raise BadCertificate("its name constraints hold an issuer number that is not made of digits")
    return PermittedName(organization=_attribute(name, NameOID.ORGANIZATION_NAME), iin=iin)


def _attribute(name: x509.Name, oid: ObjectIdentifier) -> str:
    values = [attribute.value for attribute in name.get_attributes_for_oid(oid)]
    if len(values) > 1:
        raise BadCertificate(f"a name in it has more than one {oid.dotted_string}")
    if values and isinstance(values[0], str):
        return values[0]
    return ""

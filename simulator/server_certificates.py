"""The eUICC's checks of a server certificate: chain, role, validity, key usage, owner (SGP.22 4.5.2.1, 4.5.2.2)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID

from simulator import ecc

ROLE_DP_AUTH = "2.23.146.1.2.1.4"
ROLE_DP_BINDING = "2.23.146.1.2.1.5"
ROLE_DS_AUTH = "2.23.146.1.2.1.7"

_KNOWN_EXTENSIONS = (
    x509.AuthorityKeyIdentifier,
    x509.SubjectKeyIdentifier,
    x509.KeyUsage,
    x509.CertificatePolicies,
    x509.SubjectAlternativeName,
    x509.BasicConstraints,
    x509.CRLDistributionPoints,
)


_UNREADABLE = (x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


class Fault(Enum):
    """Why a certificate is refused, as far as the error codes of the standard tell it apart."""

    UNKNOWN_CI = auto()
    UNSUPPORTED_CURVE = auto()
    INVALID = auto()
    WRONG_ROLE = auto()


class CertificateRefused(Exception):  # noqa: N818 -- the name is the outcome
    """A server certificate is not acceptable; `fault` says in which respect."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificate:
    """A certificate that passed every check: its key, the dotted OID of its owner and the key id of its CI."""

    key: ec.EllipticCurvePublicKey
    owner_oid: str
    ci_key_id: bytes
    role: str


def check(
    certificate: bytes, *, roles: tuple[str, ...], trusted: Mapping[bytes, bytes], now: datetime
) -> ServerCertificate:
    """Check a DER certificate against the trusted CI certificates (by key id).

    Raises CertificateRefused.
    """
    try:
        # The library only warns of some faults, such as a serial number that is not positive; a card refuses them.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            parsed = x509.load_der_x509_certificate(certificate)
            extensions = parsed.extensions
            key = parsed.public_key()
    except UnsupportedAlgorithm as error:
        raise CertificateRefused(Fault.UNSUPPORTED_CURVE, "the curve of the certificate is not supported") from error
    except (ValueError, Warning, *_UNREADABLE) as error:
        raise CertificateRefused(Fault.INVALID, "the certificate cannot be read") from error
    try:
        ci_key_id = _issuing_ci(extensions, trusted)
        key = _supported(key)
        _check_issuer(parsed, trusted[ci_key_id])
        _check_validity(parsed, now)
        _check_extensions(extensions)
        role = _role(extensions, roles)
        return ServerCertificate(key=key, owner_oid=_owner(extensions), ci_key_id=ci_key_id, role=role)
    except x509.ExtensionNotFound as error:
        fault = Fault.WRONG_ROLE if error.oid == ExtensionOID.CERTIFICATE_POLICIES else Fault.INVALID
        raise CertificateRefused(fault, f"extension {error.oid.dotted_string} is missing") from error


def _issuing_ci(extensions: x509.Extensions, trusted: Mapping[bytes, bytes]) -> bytes:
    identifier = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    if identifier is None or identifier not in trusted:
        raise CertificateRefused(Fault.UNKNOWN_CI, "the certificate was issued by a CI this card does not know")
    return identifier


def _supported(key: object) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not ecc.is_supported(key.curve):
        raise CertificateRefused(Fault.UNSUPPORTED_CURVE, "the key is on neither P-256 nor brainpoolP256r1")
    return key


def _check_issuer(parsed: x509.Certificate, ci_certificate: bytes) -> None:
    ci = x509.load_der_x509_certificate(ci_certificate)
    try:
        parsed.verify_directly_issued_by(ci)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateRefused(Fault.INVALID, "the certificate was not signed by the CI it names") from error
    ci_key, own_key = ci.public_key(), parsed.public_key()
    assert isinstance(ci_key, ec.EllipticCurvePublicKey)
    assert isinstance(own_key, ec.EllipticCurvePublicKey)
    if ci_key.curve.name != own_key.curve.name or not isinstance(parsed.signature_hash_algorithm, hashes.SHA256):
        raise CertificateRefused(Fault.INVALID, "curve or hash of the certificate differ from those of its CI")


def _check_validity(parsed: x509.Certificate, now: datetime) -> None:
    if not parsed.not_valid_before_utc <= now <= parsed.not_valid_after_utc:
        raise CertificateRefused(Fault.INVALID, "the certificate is not valid at this time")


def _check_extensions(extensions: x509.Extensions) -> None:
    for extension in extensions:
        if extension.critical and not isinstance(extension.value, _KNOWN_EXTENSIONS):
            raise CertificateRefused(Fault.INVALID, f"critical extension {extension.oid.dotted_string} is unknown")
        if isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            raise CertificateRefused(Fault.INVALID, "a server certificate is not a CA certificate")
    extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    if not usage.critical or not usage.value.digital_signature or usage.value.key_cert_sign:
        raise CertificateRefused(Fault.INVALID, "key usage is not a critical digitalSignature")


def _role(extensions: x509.Extensions, roles: tuple[str, ...]) -> str:
    policies = extensions.get_extension_for_class(x509.CertificatePolicies)
    found = [str(policy.policy_identifier.dotted_string) for policy in policies.value]
    if not policies.critical or len(found) != 1 or found[0] not in roles:
        raise CertificateRefused(Fault.WRONG_ROLE, f"the certificate does not carry the role {' or '.join(roles)}")
    return found[0]


def _owner(extensions: x509.Extensions) -> str:
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    owners = [str(name.value.dotted_string) for name in names if isinstance(name, x509.RegisteredID)]
    if len(owners) != 1:
        raise CertificateRefused(Fault.INVALID, "the certificate does not name its owner by one registered OID")
    return owners[0]

"""A server's checks of an eUICC: certificate chain, range of EIDs, signature (SGP.22 4.5.2.2, 5.6.3)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rsp import tlv
from rsp.identifiers import Eid
from rsp.status import Status
from simulator import ecc

_ROLE_EUM, _ROLE_EUICC = "2.23.146.1.2.1.2", "2.23.146.1.2.1.1"


class EuiccRefused(Exception):  # noqa: N818 -- the name is the outcome
    """The eUICC is not what it says; `status` is what a server answers."""

    def __init__(self, status: Status, detail: str = "") -> None:
        super().__init__(detail or status.message)
        self.status = status


def verify_euicc(
    signed: tlv.Tlv, signature: tlv.Tlv, chain: tuple[bytes, bytes], trusted: Mapping[bytes, bytes], now: datetime
) -> Eid:
    """The EID of the eUICC that signed `signed`; `chain` is (eUICC, EUM) in DER, `trusted` the CIs by key id.

    Raises EuiccRefused.
    """
    euicc, eum = (x509.load_der_x509_certificate(der) for der in chain)
    authority = eum.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    if authority is None or authority not in trusted:
        raise EuiccRefused(Status.CI_UNKNOWN)
    ci = x509.load_der_x509_certificate(trusted[authority])
    _check(eum, ci, _ROLE_EUM, now, (Status.EUM_CERTIFICATE_INVALID, Status.EUM_CERTIFICATE_EXPIRED))
    _check(euicc, eum, _ROLE_EUICC, now, (Status.EUICC_CERTIFICATE_INVALID, Status.EUICC_CERTIFICATE_EXPIRED))
    eid = _eid(euicc, eum)
    key = euicc.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    try:
        ecc.verify(key, signature, signed.raw)
    except ecc.SignatureWrong as error:
        raise EuiccRefused(Status.EUICC_SIGNATURE_INVALID) from error
    return eid


def _check(
    certificate: x509.Certificate, issuer: x509.Certificate, role: str, now: datetime, faults: tuple[Status, Status]
) -> None:
    invalid, expired = faults
    try:
        certificate.verify_directly_issued_by(issuer)
        policies = certificate.extensions.get_extension_for_class(x509.CertificatePolicies).value
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise EuiccRefused(invalid) from error
    if role not in [policy.policy_identifier.dotted_string for policy in policies]:
        raise EuiccRefused(invalid)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise EuiccRefused(expired)


def _eid(euicc: x509.Certificate, eum: x509.Certificate) -> Eid:
    """The serial number of the subject, within what the name constraints of its EUM permit."""
    number = str(euicc.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)[0].value)
    constraints = eum.extensions.get_extension_for_class(x509.NameConstraints).value
    for permitted in constraints.permitted_subtrees or ():
        starts = permitted.value.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
        if starts and number.startswith(str(starts[0].value)):
            return Eid(number)
    raise EuiccRefused(Status.EUICC_CERTIFICATE_INVALID)

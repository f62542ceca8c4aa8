"""X.509 certificates of the GSMA's RSP, variant O, and the chains they form (SGP.22 v2.5, 4.5.2)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import Enum, auto
from functools import lru_cache

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from crypto.curves import Curve
from crypto.revocation import RevocationList, Revocations, read_list
from crypto.x509 import (
    BadCertificate,
    Certificate,
    Glance,
    PermittedName,
    Role,
    glance,
    parse_certificate,
    same_organization,
)

__all__ = [
    "BadCertificate",
    "Certificate",
    "CertificateRejected",
    "EuiccIdentity",
    "Fault",
    "PermittedName",
    "Role",
    "TrustStore",
    "parse_certificate",
]

_REMEMBERED_EUMS = 256
_REMEMBERED_EUICCS = 4096


class Fault(Enum):
    """Why a chain is refused; AuthenticateClient has one status code for each."""

    CI_UNKNOWN = auto()
    EUM_INVALID = auto()
    EUM_EXPIRED = auto()
    EUM_REVOKED = auto()
    EUICC_INVALID = auto()
    EUICC_EXPIRED = auto()


class CertificateRejected(Exception):  # noqa: N818 -- the name is the outcome
    """A certificate chain is not trusted: `fault` says whose fault it is, `detail` what is wrong."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault.name}: {detail}")
        self.fault = fault
        self.detail = detail


class EuiccIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What a trusted chain proves about a card. `eid` is 32 digits, key ids are the issuers' subject key ids.

    `point` is the public key, uncompressed.
    """

    eid: str
    public_key: ec.EllipticCurvePublicKey
    point: bytes
    ci_key_id: bytes
    eum_key_id: bytes
    curve: Curve


class TrustStore:
    """The CI certificates we trust, and judgement of the chains below them.

    Issuers are found by key identifier, not by name: the same CI key has been published under more than one name.
    Signatures and structure of chains that proved good are remembered, at most 4096 of them; dates and revocation are
    judged at every call. Bad chains are not remembered, so nobody can fill the memory with them. `revocations` are the
    lists in force: what is taken up there holds from the next call on.
    """

    def __init__(self, ci_certificates: Iterable[bytes]) -> None:
        """Take the DER of self-signed CI certificates. Raises BadCertificate, which says what is wrong with one."""
        self.revocations = Revocations()
        self._anchors: dict[bytes, Certificate] = {}
        for der in ci_certificates:
            self._add(_check_ci(parse_certificate(der)))
        self._checked_eum = lru_cache(_REMEMBERED_EUMS)(self._check_eum)
        self._checked_euicc = lru_cache(_REMEMBERED_EUICCS)(self._check_euicc)

    @property
    def key_ids(self) -> tuple[bytes, ...]:
        """The subject key ids of the trusted CIs, in the order given."""
        return tuple(self._anchors)

    def read_revocation_list(self, der: bytes, now: datetime) -> RevocationList:
        """Read and prove a list of one of the CIs; it is not in force yet. Raises BadRevocationList, NotYet."""
        return read_list(der, self._anchors, now)

    def verify_euicc(
        self, eum_der: bytes, euicc_der: bytes, now: datetime, under: bytes | None = None
    ) -> EuiccIdentity:
        """Judge the chain CI - EUM - eUICC at `now` (aware). Raises CertificateRejected with the first fault found.

        The order is fixed: unknown CI, then the EUM's dates before its other faults, then the same for the eUICC. The
        certificate of an eUICC is on no list: that of its EUM is.
        `under` is the key id of the CI that was agreed on; any other is as good as unknown.
        """
        eum, unusable = _looked_at(eum_der, Fault.EUM_INVALID)
        self._check_ci_of(eum, now, under)
        if not eum.is_valid_at(now):
            raise CertificateRejected(Fault.EUM_EXPIRED, _dates(eum, "EUM"))
        if unusable is not None:
            raise unusable
        proved = self._checked_eum(eum_der)
        if (proved.authority_key_id, proved.serial_number) in self.revocations.revoked:
            raise CertificateRejected(
                Fault.EUM_REVOKED, f"EUM certificate {proved.serial_number:X} is revoked by its CI"
            )
        euicc, unusable = _looked_at(euicc_der, Fault.EUICC_INVALID)
        if not euicc.is_valid_at(now):
            raise CertificateRejected(Fault.EUICC_EXPIRED, _dates(euicc, "eUICC"))
        if unusable is not None:
            raise unusable
        return self._checked_euicc(eum_der, euicc_der)

    def _check_ci_of(self, eum: Certificate | Glance, now: datetime, under: bytes | None) -> None:
        ci = self._anchors.get(eum.authority_key_id)
        if ci is None or not ci.is_valid_at(now):
            state = "is not trusted here" if ci is None else "is outside its validity dates"
            raise CertificateRejected(Fault.CI_UNKNOWN, f"CI {eum.authority_key_id.hex()} {state}")
        if (ci.subject_key_id, ci.serial_number) in self.revocations.revoked:
            raise CertificateRejected(Fault.CI_UNKNOWN, f"CI {eum.authority_key_id.hex()} has revoked itself")
        if under is not None and eum.authority_key_id != under:
            raise CertificateRejected(Fault.CI_UNKNOWN, f"CI {eum.authority_key_id.hex()} is not the one agreed on")

    def verify_server_certificate(self, der: bytes, role: Role, now: datetime) -> Certificate:
        """Judge one of our own certificates, directly under a trusted CI, for use in `role`. Raises BadCertificate."""
        certificate = parse_certificate(der)
        name = f"certificate {certificate.subject_key_id.hex()}"
        ci = self._anchors.get(certificate.authority_key_id)
        if ci is None:
            raise BadCertificate(f"{name}: its CI {certificate.authority_key_id.hex()} is not trusted here: add the CI")
        if not certificate.is_valid_at(now) or not ci.is_valid_at(now):
            raise BadCertificate(f"{name}: it or its CI is outside its validity dates: renew it")
        _check_end_entity(certificate, ci, role)
        if role is Role.DP_TLS and not certificate.tls_server:
            raise BadCertificate(f"{name} may not serve TLS: its extended key usage lacks serverAuth")
        for whose, named in (("it", certificate), ("itself", ci)):
            revoking = self.revocations.naming(named)
            if revoking is not None:
                raise BadCertificate(f"{name}: its CI has revoked {whose}, see its list number {revoking.number}")
        return certificate

    def _add(self, ci: Certificate) -> None:
        known = self._anchors.get(ci.subject_key_id)
        if known is not None and known.public_key != ci.public_key:
            raise BadCertificate(f"two CI certificates claim key id {ci.subject_key_id.hex()}: remove the wrong one")
        if known is None or ci.not_after > known.not_after:
            self._anchors[ci.subject_key_id] = ci

    def _check_eum(self, eum_der: bytes) -> Certificate:
        eum = parse_certificate(eum_der)
        try:
            _check_issuer_role(eum, Role.EUM)
            eum.check_signed_by(self._anchors[eum.authority_key_id])
            if not eum.permitted_names:
                raise BadCertificate("its name constraints permit no organization with an issuer number")
        except BadCertificate as error:
            raise CertificateRejected(Fault.EUM_INVALID, str(error)) from None
        return eum

    def _check_euicc(self, eum_der: bytes, euicc_der: bytes) -> EuiccIdentity:
        eum, euicc = self._checked_eum(eum_der), parse_certificate(euicc_der)
        try:
            _check_end_entity(euicc, eum, Role.EUICC)
            _check_permitted(euicc, eum)
        except BadCertificate as error:
            raise CertificateRejected(Fault.EUICC_INVALID, str(error)) from None
        return EuiccIdentity(
            eid=euicc.eid,
            public_key=euicc.public_key,
            point=euicc.point,
            ci_key_id=eum.authority_key_id,
            eum_key_id=eum.subject_key_id,
            curve=euicc.curve,
        )


def _looked_at(der: bytes, fault: Fault) -> tuple[Certificate | Glance, CertificateRejected | None]:
    """The certificate; or what it says of issuer and dates, which are judged first, and why it cannot be used."""
    try:
        return parse_certificate(der), None
    except BadCertificate as error:
        unusable = CertificateRejected(fault, str(error))
        seen = glance(der)
        if seen is None:
            raise unusable from None
        return seen, unusable


def _dates(certificate: Certificate | Glance, whose: str) -> str:
    return f"{whose} certificate is valid from {certificate.not_before} to {certificate.not_after} only"


def _check_ci(ci: Certificate) -> Certificate:
    _check_issuer_role(ci, Role.CI)
    ci.check_signed_by(ci)
    return ci


def _check_issuer_role(certificate: Certificate, role: Role) -> None:
    if role not in certificate.roles:
        raise BadCertificate(f"its policies lack role {role.name} ({role.value})")
    if not certificate.is_ca or not certificate.may_sign_certificates:
        raise BadCertificate("it may not issue certificates: CA flag or key usage keyCertSign is missing")


def _check_end_entity(certificate: Certificate, issuer: Certificate, role: Role) -> None:
    if certificate.authority_key_id != issuer.subject_key_id:
        raise BadCertificate("it names another issuer key than the one presented with it")
    if role not in certificate.roles:
        raise BadCertificate(f"its policies lack role {role.name} ({role.value})")
    if certificate.is_ca or not certificate.may_sign_data:
        raise BadCertificate("it is not a signer's certificate: key usage digitalSignature without CA flag is needed")
    certificate.check_signed_by(issuer)


def _check_permitted(euicc: Certificate, eum: Certificate) -> None:
    # General X.509 code compares a whole directory name with the constraint, which never fits: the EUM's constraint
    # holds the first digits of the EID. Hence this check of our own.
    if len(euicc.eid) != 32 or not (euicc.eid.isascii() and euicc.eid.isdigit()):
        raise BadCertificate("its subject serial number is not an EID of 32 digits")
    of_organization = [name for name in eum.permitted_names if same_organization(name.organization, euicc.organization)]
    if not of_organization:
        raise BadCertificate(f"organization {euicc.organization!r} is not permitted by the EUM certificate")
    if not any(euicc.eid.startswith(name.iin) for name in of_organization):
        raise BadCertificate(f"EID {euicc.eid} is outside the issuer numbers of the EUM certificate")

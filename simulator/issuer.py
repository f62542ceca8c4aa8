"""An EUM that makes eUICCs: EIDs of its range and eUICC certificates of Variant O (SGP.22 4.5.2.1, SGP.26, SGP.29)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier

from rsp.identifiers import Eid
from simulator.credentials import CardCredentials

_EUICC_ROLE = ObjectIdentifier("2.23.146.1.2.1.1")
_EID_DIGITS = 32
_CHECK_DIGITS = 2
# An eUICC certificate does not expire in practice (RFC 5280, 4.1.2.5).
_NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
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
class _Range:
    """What the EUM certificate permits: the organisation it must keep, and how its EIDs start."""

    organisation: str
    iin: str


class EumIssuer:
    """Makes cards under one EUM certificate (DER) with the EUM's key; `ci_certificates` (DER) are what the cards trust.

    Raises ValueError when the key does not fit, or the certificate names no range of EIDs in its name constraints.
    """

    def __init__(
        self,
        eum_certificate: bytes,
        eum_private_key: ec.EllipticCurvePrivateKey,
        ci_certificates: tuple[bytes, ...] = (),
    ) -> None:
        self._eum = x509.load_der_x509_certificate(eum_certificate)
        if self._eum.public_key() != eum_private_key.public_key():
            raise ValueError("the private key does not belong to the EUM certificate: give the two of one EUM")
        self._der = eum_certificate
        self._key = eum_private_key
        self._ci_certificates = ci_certificates
        self._range = _permitted_range(self._eum)
        key_id = self._eum.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.key_identifier
        self._authority = x509.AuthorityKeyIdentifier(key_id, None, None)

    def eid(self, number: int) -> Eid:
        """The EID with serial `number` in the EUM's range, check digits included (SGP.29: modulo 97 is 1)."""
        room = _EID_DIGITS - _CHECK_DIGITS - len(self._range.iin)
        if not 0 <= number < 10**room:
            raise ValueError(f"{number} does not fit: the EIDs of this EUM have {room} digits of their own")
        body = f"{self._range.iin}{number:0{room}d}"
        return Eid(f"{body}{98 - int(body) * 100 % 97:02d}")

    def issue(self, eid: Eid) -> CardCredentials:
        """A fresh key and its certificate for `eid`, on the curve of the EUM's key."""
        if not eid.digits.startswith(self._range.iin):
            raise ValueError(f"EID {eid} is outside the range {self._range.iin} of this EUM")
        key = ec.generate_private_key(self._key.curve)
        certificate = self._builder(eid, key.public_key()).sign(self._key, hashes.SHA256())
        return CardCredentials(
            euicc_certificate=certificate.public_bytes(Encoding.DER),
            eum_certificate=self._der,
            ci_certificates=self._ci_certificates,
            private_key=key,
        )

    def _builder(self, eid: Eid, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        policy = x509.CertificatePolicies([x509.PolicyInformation(_EUICC_ROLE, None)])
        return (
            x509.CertificateBuilder()
            .issuer_name(self._eum.subject)
            .subject_name(self._subject(eid))
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._eum.not_valid_before_utc)
            .not_valid_after(_NEVER)
            .public_key(key)
            .add_extension(self._authority, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(_KEY_USAGE, critical=True)
            .add_extension(policy, critical=True)
        )

    def _subject(self, eid: Eid) -> x509.Name:
        countries = self._eum.subject.get_attributes_for_oid(NameOID.COUNTRY_NAME)
        return x509.Name(
            [
                *countries[:1],
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, self._range.organisation),
                x509.NameAttribute(NameOID.SERIAL_NUMBER, eid.digits),
                x509.NameAttribute(NameOID.COMMON_NAME, "Simulated eUICC"),
            ]
        )


def _permitted_range(eum: x509.Certificate) -> _Range:
    try:
        constraints = eum.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        raise ValueError("the EUM certificate has no name constraints: give one of Variant O") from None
    for permitted in constraints.permitted_subtrees or ():
        if isinstance(permitted, x509.DirectoryName):
            numbers = permitted.value.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
            organisations = permitted.value.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
            if numbers and organisations:
                return _Range(organisation=str(organisations[0].value), iin=str(numbers[0].value))
    raise ValueError("the name constraints of the EUM certificate permit no organisation and EID range")

"""What identifies a virtual eUICC: its certificate chain, its key and the CIs it trusts (SGP.22 2.4.2, 4.5.2)."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_KEY_ID_BYTES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CardCredentials:
    """One chain CI, EUM, eUICC: certificates in DER, the eUICC's key, and the CI certificates it verifies servers with.

    Raises ValueError when the key does not belong to the eUICC certificate.
    """

    euicc_certificate: bytes
    eum_certificate: bytes
    ci_certificates: tuple[bytes, ...]
    private_key: ec.EllipticCurvePrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        if self.private_key.public_key() != x509.load_der_x509_certificate(self.euicc_certificate).public_key():
            raise ValueError("the private key does not belong to the eUICC certificate")

    @property
    def ci_key_id(self) -> bytes:
        """The 20-byte key identifier of the CI under which this chain signs: the EUM certificate's authority key id."""
        eum = x509.load_der_x509_certificate(self.eum_certificate)
        identifier = eum.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        if identifier is None or len(identifier) != _KEY_ID_BYTES:
            raise ValueError("the EUM certificate does not name its CI by a 20-byte key identifier")
        return identifier

    def key_to_bytes(self) -> bytes:
        """The private key as unencrypted PKCS #8, for the state file of a simulated card."""
        return self.private_key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @classmethod
    def from_bytes(
        cls, *, euicc_certificate: bytes, eum_certificate: bytes, ci_certificates: tuple[bytes, ...], key: bytes
    ) -> CardCredentials:
        """From DER certificates and a PKCS #8 key."""
        private_key = serialization.load_der_private_key(key, password=None)
        if not isinstance(private_key, ec.EllipticCurvePrivateKey):
            raise ValueError("the key of an eUICC is an elliptic-curve key")
        return cls(
            euicc_certificate=euicc_certificate,
            eum_certificate=eum_certificate,
            ci_certificates=ci_certificates,
            private_key=private_key,
        )


def ci_key_identifier(certificate: bytes) -> bytes:
    """The subject key identifier of a CI certificate."""
    extensions = x509.load_der_x509_certificate(certificate).extensions
    return extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def forge(certificate: bytes, issuer_key_id: bytes | None = None) -> bytes:
    """A copy of a certificate, signed by a fresh key nobody trusts; `issuer_key_id` replaces the authority key id."""
    original = x509.load_der_x509_certificate(certificate)
    copy = (
        x509.CertificateBuilder()
        .subject_name(original.subject)
        .issuer_name(original.issuer)
        .serial_number(original.serial_number)
        .public_key(original.public_key())
        .not_valid_before(original.not_valid_before_utc)
        .not_valid_after(original.not_valid_after_utc)
    )
    for extension in original.extensions:
        value = extension.value
        if issuer_key_id and isinstance(value, x509.AuthorityKeyIdentifier):
            value = x509.AuthorityKeyIdentifier(issuer_key_id, None, None)
        copy = copy.add_extension(value, critical=extension.critical)
    curve = original.public_key()
    assert isinstance(curve, ec.EllipticCurvePublicKey)
    signed = copy.sign(ec.generate_private_key(curve.curve), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)

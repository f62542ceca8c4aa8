"""Makes certificate revocation lists as a CI publishes them, and with one thing wrong where a test says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

THIS_UPDATE = datetime(2026, 11, 1, tzinfo=UTC)

EndOfEntry = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.23.146.1.2.0.1"), b"\x17\x0d491231235959Z")
Unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


def part(of: int, oid: str = "2.23.146.1.2.0.2") -> x509.UnrecognizedExtension:
    """SGP.22's number of parts of a list, or with the other OID the number of one."""
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), bytes((2, 1, of)))


def point(
    url: str = "",
    *,
    cas: bool = False,
    users: bool = False,
    reasons: frozenset[x509.ReasonFlags] | None = None,
    indirect: bool = False,
    attributes: bool = False,
) -> x509.IssuingDistributionPoint:
    """An issuing distribution point."""
    return x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(url)] if url else None,
        relative_name=None,
        only_contains_user_certs=users,
        only_contains_ca_certs=cas,
        only_some_reasons=reasons,
        indirect_crl=indirect,
        only_contains_attribute_certs=attributes,
    )


@dataclass(frozen=True, kw_only=True)
class ListPlan:
    """What goes into one list. Defaults fit one of a CI that has revoked nothing."""

    number: int | None = 1
    serials: tuple[int, ...] = ()
    this_update: datetime = THIS_UPDATE
    next_update: datetime = THIS_UPDATE + timedelta(days=60)
    names_issuer: bool = True
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    entry_extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (
        (x509.CRLReason(x509.ReasonFlags.key_compromise), False),
    )
    digest: hashes.SHA256 | hashes.SHA384 = field(default_factory=hashes.SHA256)


def signed_list(
    issuer: bytes, key: ec.EllipticCurvePrivateKey, plan: ListPlan, signer: ec.EllipticCurvePrivateKey | None = None
) -> bytes:
    """The DER of a list of `issuer` (its certificate); `signer` may sign in the place of its `key`, to cheat."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(x509.load_der_x509_certificate(issuer).subject)
        .last_update(plan.this_update)
        .next_update(plan.next_update)
    )
    if plan.names_issuer:
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
    if plan.number is not None:
        builder = builder.add_extension(x509.CRLNumber(plan.number), critical=False)
    for extension, critical in plan.extensions:
        builder = builder.add_extension(extension, critical)
    for serial in plan.serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(plan.this_update)
        for extension, critical in plan.entry_extensions:
            entry = entry.add_extension(extension, critical)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(signer or key, plan.digest).public_bytes(Encoding.DER)


def serial_of(certificate: bytes) -> int:
    """The serial number of a certificate (DER)."""
    return x509.load_der_x509_certificate(certificate).serial_number

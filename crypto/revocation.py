"""Certificate revocation lists of the CIs: read and proved, and which are in force (SGP.22 4.6; RFC 5280, 5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import ObjectIdentifier, SignatureAlgorithmOID

from crypto.x509 import UNREADABLE, Certificate, Role

MAX_LENGTH = 1 << 20
"""Bytes of a list: some 20,000 certificates. A CI of the RSP has issued fewer of all kinds."""

# The extensions of SGP.22 v2 (id-rspExt): parts of a list for eUICCs with little memory, and when an entry ends.
_EXPIRATION_DATE = ObjectIdentifier("2.23.146.1.2.0.1")
_TOTAL_OF_PARTS = ObjectIdentifier("2.23.146.1.2.0.2")
_PART = ObjectIdentifier("2.23.146.1.2.0.3")
_ONE = b"\x02\x01\x01"


class BadRevocationList(ValueError):  # noqa: N818 -- the name is the outcome
    """A revocation list cannot be read, is not to be believed, or is older than what is in force; the text says why."""


class NotYet(BadRevocationList):
    """The list begins in the future: it may be brought again then."""


class Revoked(NamedTuple):
    """What a list names: a certificate by the key id of its issuer and its serial number."""

    issuer_key_id: bytes
    serial_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationList:
    """A list that its issuer has signed.

    `issuer` is the name in it (RFC 4514). Lists of one issuer with different `scope` (the DER of its issuing
    distribution point, empty without one) stand side by side; numbers count within a scope.
    """

    der: bytes = field(repr=False)
    issuer_key_id: bytes
    issuer: str
    scope: bytes
    number: int
    this_update: datetime
    next_update: datetime
    revoked: frozenset[Revoked] = field(repr=False)

    def is_overdue(self, now: datetime) -> bool:
        """Whether the issuer has promised a newer one by `now` (aware)."""
        return now > self.next_update


class Revocations:
    """The lists in force: of each issuer and scope the newest that came."""

    def __init__(self) -> None:
        self.revoked: frozenset[tuple[bytes, int]] = frozenset()
        """All that they name; a tuple of key id and serial number may be looked up as it is."""
        self._in_force: dict[tuple[bytes, bytes], RevocationList] = {}

    def __iter__(self) -> Iterator[RevocationList]:
        """The lists, in the order in which their scopes came."""
        return iter(self._in_force.values())

    def take(self, found: RevocationList) -> bool:
        """Put a list in force; False when it is already.

        Raises BadRevocationList when the one in force is newer, or another with the same number.
        """
        place = found.issuer_key_id, found.scope
        known = self._in_force.get(place)
        if known is not None:
            if known.der == found.der:
                return False
            if known.number > found.number:
                raise BadRevocationList(f"its number {found.number} is older than {known.number}, which is in force")
            if known.number == found.number:
                raise BadRevocationList(f"another list with its number {found.number} is in force")
        self._in_force[place] = found
        self.revoked = frozenset[tuple[bytes, int]]().union(*(one.revoked for one in self._in_force.values()))
        return True

    def naming(self, certificate: Certificate) -> RevocationList | None:
        """The list that revokes `certificate`; None when none does."""
        # A CI's own certificate need not name its key as that of its issuer.
        issuer = certificate.subject_key_id if Role.CI in certificate.roles else certificate.authority_key_id
        wanted = Revoked(issuer, certificate.serial_number)
        return next((one for one in self if wanted in one.revoked), None)


def read_list(der: bytes, issuers: Mapping[bytes, Certificate], now: datetime) -> RevocationList:
    """Read a list and prove it against the certificate of its issuer, found by key id.

    Raises BadRevocationList on anything that cannot be read or believed, NotYet when it begins after `now` (aware).
    """
    if len(der) > MAX_LENGTH:
        raise BadRevocationList(f"a revocation list has at most {MAX_LENGTH} bytes, this one has {len(der)}")
    try:
        return _read(der, x509.load_der_x509_crl(der), issuers, now)
    except BadRevocationList:
        raise
    except UNREADABLE as error:
        raise BadRevocationList(f"the bytes are not a revocation list that can be read: {error}") from error


def _read(
    der: bytes, source: x509.CertificateRevocationList, issuers: Mapping[bytes, Certificate], now: datetime
) -> RevocationList:
    issuer = _issuer(source, issuers)
    if source.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
        raise BadRevocationList("it is not signed with ECDSA and SHA-256")
    if not source.is_signature_valid(issuer.public_key):
        raise BadRevocationList(f"its signature does not match the key of CI {issuer.subject_key_id.hex().upper()}")
    if not der.endswith(b"\x00" + source.signature):
        raise BadRevocationList("its signature is not made of whole bytes")
    scope, number = _extensions(source)
    this_update, next_update = source.last_update_utc, source.next_update_utc
    if next_update is None or next_update <= this_update:
        raise BadRevocationList(
            "it does not say when the next one comes: nextUpdate is missing or not after thisUpdate"
        )
    if this_update > now:
        raise NotYet(f"it begins on {this_update:%Y-%m-%d at %H:%M} UTC only: check the clock of this machine")
    return RevocationList(
        der=der,
        issuer_key_id=issuer.subject_key_id,
        issuer=source.issuer.rfc4514_string(),
        scope=scope,
        number=number,
        this_update=this_update,
        next_update=next_update,
        revoked=frozenset(Revoked(issuer.subject_key_id, _serial_number(entry)) for entry in source),
    )


def _issuer(source: x509.CertificateRevocationList, issuers: Mapping[bytes, Certificate]) -> Certificate:
    try:
        named = source.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        named = None
    if not named:
        raise BadRevocationList("it does not name the key of its issuer (authority key identifier)")
    issuer = issuers.get(named)
    if issuer is None:
        raise BadRevocationList(f"its issuer {named.hex().upper()} is no CI that is trusted here")
    if not issuer.may_sign_lists:
        raise BadRevocationList(f"CI {named.hex().upper()} may not issue lists: key usage cRLSign is missing")
    return issuer


def _extensions(source: x509.CertificateRevocationList) -> tuple[bytes, int]:
    """Scope and number. What would make its entries mean something else is refused, known or not."""
    scope, number = b"", None
    for extension in source.extensions:
        if isinstance(extension.value, x509.CRLNumber):
            number = extension.value.crl_number
        elif isinstance(extension.value, x509.IssuingDistributionPoint):
            scope = _scope(extension.value)
        else:
            _check_extension(extension)
    if number is None:
        raise BadRevocationList("it has no number (cRLNumber), so nobody can tell whether it is the newest")
    return scope, number


def _check_extension(extension: x509.Extension[x509.ExtensionType]) -> None:
    if isinstance(extension.value, x509.DeltaCRLIndicator):
        raise BadRevocationList("it is a delta, which only tells what changed: bring the complete list")
    if extension.oid in {_TOTAL_OF_PARTS, _PART}:
        if extension.value.public_bytes() != _ONE:
            raise BadRevocationList("it is one part of a list in parts (for eUICCs): bring the complete list")
    elif extension.critical and not isinstance(extension.value, x509.AuthorityKeyIdentifier):
        raise BadRevocationList(f"it has a critical extension {extension.oid.dotted_string} we do not know")


def _scope(point: x509.IssuingDistributionPoint) -> bytes:
    # That a list covers certificates of one kind or of some reasons only does not matter: what it names is revoked.
    if point.indirect_crl:
        raise BadRevocationList("it speaks for other issuers, too (indirect CRL): bring the list of the CI itself")
    if point.only_contains_attribute_certs:
        raise BadRevocationList("it is of attribute certificates, which have no meaning here")
    return point.public_bytes()


def _serial_number(entry: x509.RevokedCertificate) -> int:
    for extension in entry.extensions:
        known = isinstance(extension.value, (x509.CRLReason, x509.InvalidityDate)) or extension.oid == _EXPIRATION_DATE
        if extension.critical and not known:
            raise BadRevocationList(
                f"an entry has a critical extension {extension.oid.dotted_string} that is not understood here"
            )
    return entry.serial_number

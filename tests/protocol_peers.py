"""Makers of cards with faulty or foreign certificates, for refusals (SGP.22 4.5.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from certs import recipe
from certs.recipe import Terms
from crypto.curves import Curve
from simulator.card import Card
from simulator.credentials import CardCredentials
from simulator.issuer import EumIssuer
from tests.protocol_stage import START, Stage
from tests.revocation_lists import ListPlan, serial_of, signed_list

EXPIRED = START - timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What of a certificate is to be another: its end, or the EID in its subject."""

    not_after: datetime | None = None
    eid: str | None = None


def signing_key(stage: Stage, curve: Curve, owner: str) -> ec.EllipticCurvePrivateKey:
    """The private key of the generated `ci` or `eum`."""
    files = stage.material.pki.device_files(curve)
    key = load_pem_private_key((files.ci_key if owner == "ci" else files.eum_key).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def reissued(certificate: bytes, key: ec.EllipticCurvePrivateKey, change: Change) -> bytes:
    """The same certificate with a change, properly signed by its issuer's `key`."""
    original = x509.load_der_x509_certificate(certificate)
    subject = original.subject
    if change.eid is not None:
        subject = x509.Name(
            x509.NameAttribute(entry.oid, change.eid if entry.oid == NameOID.SERIAL_NUMBER else entry.value)
            for entry in subject
        )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(original.issuer)
        .serial_number(original.serial_number)
        .public_key(original.public_key())
        .not_valid_before(original.not_valid_before_utc)
        .not_valid_after(change.not_after or original.not_valid_after_utc)
    )
    for extension in original.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def card_of_expired_eum(stage: Stage) -> Card:
    """A card whose EUM certificate ended yesterday."""
    card = stage.card()
    eum = reissued(card.credentials[0].eum_certificate, signing_key(stage, Curve.P256, "ci"), Change(not_after=EXPIRED))
    return _with(card, replace(card.credentials[0], eum_certificate=eum))


def expired_card(stage: Stage) -> Card:
    """A card whose own certificate ended yesterday."""
    return _changed(stage, Change(not_after=EXPIRED))


def card_outside_its_range(stage: Stage) -> Card:
    """A card with an EID that its EUM may not give, in a certificate its EUM signed."""
    return _changed(stage, Change(eid="89033023" + "1" * 24))


def _changed(stage: Stage, change: Change) -> Card:
    card = stage.card()
    euicc = reissued(card.credentials[0].euicc_certificate, signing_key(stage, Curve.P256, "eum"), change)
    return _with(card, replace(card.credentials[0], euicc_certificate=euicc))


def list_revoking(stage: Stage, *certificates: bytes, number: int = 1) -> bytes:
    """A revocation list of the generated NIST CI."""
    ci = stage.material.pki.device_files(Curve.P256).ci_certificate.read_bytes()
    plan = ListPlan(number=number, serials=tuple(serial_of(certificate) for certificate in certificates))
    return signed_list(ci, signing_key(stage, Curve.P256, "ci"), plan)


def revoke(stage: Stage, *certificates: bytes) -> None:
    """Put a list in force that names `certificates`, as the running server does when its folder has a new one."""
    found = stage.trust.read_revocation_list(list_revoking(stage, *certificates), stage.clock.now())
    assert stage.trust.revocations.take(found)


def foreign_card(stage: Stage, *, trusting: tuple[bytes, ...] = ()) -> Card:
    """A card under a CI the server does not know; it verifies `trusting`, or that CI when nothing is given."""
    ci = recipe.ci(Terms(now=START, serial=1), Curve.P256)
    eum = recipe.eum(ci, Terms(now=START, serial=2))
    issuer = EumIssuer(eum.der, eum.key, trusting or (ci.der,))
    eid = issuer.eid(next(stage.numbers))
    return Card(eid, [issuer.issue(eid)], now=stage.clock.now)


def card_trusting(stage: Stage, *ci_certificates: bytes) -> Card:
    """A card that signs under the generated NIST CI and verifies servers under others."""
    card = stage.card()
    return _with(card, replace(card.credentials[0], ci_certificates=ci_certificates))


def foreign_ci() -> bytes:
    """A CI certificate nobody here knows."""
    return recipe.ci(Terms(now=START, serial=3), Curve.P256).der


def _with(card: Card, credentials: CardCredentials) -> Card:
    return Card(card.eid, [credentials], now=card.now)

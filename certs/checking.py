"""Judges a PKI folder: chains, roles, OIDs, keys in the vault, names, dates. What `smdp pki check` tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from certs import files, listing, revocation
from certs.errors import BadPki
from certs.layout import DpCredentials, PkiFolder
from crypto.certificates import BadCertificate, Certificate, Role, TrustStore, parse_certificate
from crypto.curves import Curve
from crypto.vault import KeyUnknown, Vault

PublicKeys = Mapping[str, ec.EllipticCurvePublicKey]

# The published SGP.26 test CIs: their private keys are known to everybody.
_PUBLISHED_CIS = {
    bytes.fromhex("F54172BDF98A95D65CBEB88A38A1C11D800A85C3"),
    bytes.fromhex("C0BC70BA36929D43B467FF57570530E57AB8FCD8"),
}


class Severity(IntEnum):
    """How much a finding matters; from ERROR on the server cannot do its work."""

    NOTICE = 1
    WARNING = 2
    URGENT = 3
    ERROR = 4


_ALARMS = ((7, Severity.URGENT), (30, Severity.WARNING), (90, Severity.NOTICE))

_TLS_REMEDY = "`smdp pki import --tls`"
_EIM_REMEDY = "`smdp pki eim` and `smdp pki import --eim-tls`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about `subject` that somebody should know; `text` says what to do."""

    severity: Severity
    subject: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judge:
    """What the SM-DP+ certificates are held against."""

    trust: TrustStore
    vault: PublicKeys
    now: datetime


async def vault_keys(pki: PkiFolder, vault: Vault) -> dict[str, ec.EllipticCurvePublicKey]:
    """The public keys the vault holds under the folder's labels; a label it lacks is left out."""
    found = {}
    labels = [name for dp in pki.dp for name in (dp.auth_key, dp.pb_key)]
    for name in (*labels, *([pki.eim.signing_key] if pki.eim else [])):
        try:
            found[name] = await vault.public_key(name)
        except KeyUnknown:
            continue
    return found


def check(
    pki: PkiFolder, vault: PublicKeys, now: datetime, names: Sequence[str] = (), eim_names: Sequence[str] = ()
) -> list[Finding]:
    """All findings, the worst first; an empty list means nothing to do. `vault` comes from `vault_keys`.

    `names` are the names devices will use, each of which DPtls must carry; `eim_names` those the eIM's certificate
    must carry. Certificates expiring within 90, 30 and 7 days are NOTICE, WARNING and URGENT, expired ones an ERROR;
    those of operators and simulated cards at most a WARNING. A revocation list that is overdue is URGENT: it still
    counts.
    """
    found = [*_origin(pki), *_dates(pki, now), *_oids(pki)]
    good = []
    for der in pki.ci_certificates:
        faults = list(_ci(der))
        found += faults
        if not any(fault.severity is Severity.ERROR for fault in faults):
            good.append(der)
    judge = _Judge(trust=TrustStore(good), vault=vault, now=now)
    found += _lists(pki, judge)
    for dp in pki.dp:
        found += _set(dp, judge)
    found += _tls(pki, judge, names)
    found += _eim(pki, judge, eim_names)
    return sorted(found, key=lambda finding: -finding.severity)


def _error(subject: str, text: str) -> Finding:
    return Finding(severity=Severity.ERROR, subject=subject, text=text)


def _origin(pki: PkiFolder) -> Iterator[Finding]:
    if pki.generated:
        text = "generated test material, trusted by no real eUICC: bring your own set before going live"
        yield Finding(severity=Severity.WARNING, subject=str(pki.path), text=text)


def _ci(der: bytes) -> Iterator[Finding]:
    subject = f"ci {sha256(der).hexdigest()[:16]}"
    try:
        (key_id,) = TrustStore([der]).key_ids
    except BadCertificate as error:
        yield _error(subject, f"cannot be trusted ({error}): bring the CI's root certificate with `smdp pki import`")
        return
    if key_id in _PUBLISHED_CIS:
        text = "is the published SGP.26 test CI, whose private key everybody has: never for live service"
        yield Finding(severity=Severity.WARNING, subject=f"ci {key_id.hex().upper()}", text=text)


def _lists(pki: PkiFolder, judge: _Judge) -> Iterator[Finding]:
    """What is to be said of the revocation lists, which the judge then knows; and whom they name among the peers."""
    found = revocation.read(pki.path, judge.trust, judge.now)
    for file, why in found.faults:
        text = f"is ignored ({why}): bring a good list with `smdp pki import --crl` and remove this one"
        yield Finding(severity=Severity.URGENT, subject=str(file), text=text)
    for one in found.lists:
        judge.trust.revocations.take(one.found)
        if one.found.is_overdue(judge.now):
            text = (
                f"was to be replaced on {one.found.next_update:%Y-%m-%d}: what it revokes stays revoked, newer"
                " revocations are not known: bring the next one with `smdp pki import --crl`"
            )
            yield Finding(severity=Severity.URGENT, subject=f"crl {revocation.short_name(one.found)}", text=text)
    if not pki.generated:
        listed = {one.found.issuer_key_id for one in found.lists}
        for key_id in sorted(set(judge.trust.key_ids) - listed):
            text = "has no revocation list here, so a revoked EUM is not noticed: see `smdp pki import --crl`"
            yield Finding(severity=Severity.NOTICE, subject=f"ci {key_id.hex().upper()}", text=text)
    for file in sorted(pki.path.glob("simulator/*/eum.der")):
        parsed = _parsed(files.read_certificate(file))
        if parsed is not None and judge.trust.revocations.naming(parsed) is not None:
            text = f"{file} is revoked: its cards are refused"
            yield Finding(severity=Severity.WARNING, subject="eum", text=text)


def _set(dp: DpCredentials, judge: _Judge) -> Iterator[Finding]:
    under = f"under CI {dp.ci_key_id.hex().upper()}"
    for role, der, label in (
        (Role.DP_AUTH, dp.auth_certificate, dp.auth_key),
        (Role.DP_PB, dp.pb_certificate, dp.pb_key),
    ):
        subject = f"{role.name} {under}"
        parsed = _parsed(der)
        if parsed is None:
            yield _error(subject, "cannot be read: bring the set again with `smdp pki import --replace`")
            continue
        yield from _chain(parsed, role, judge, subject)
        if parsed.curve is not dp.curve:
            yield _error(subject, f"is on {parsed.curve.name}, its set on {dp.curve.name}: bring a set of one curve")
        if parsed.oid != dp.oid:
            yield _error(subject, f"names OID {parsed.oid or 'none'}, DP_AUTH {dp.oid}: both must be of one SM-DP+")
        if label not in judge.vault:
            yield _error(subject, f"its key {label} is not in the vault: import the set again or use the right vault")
        elif judge.vault[label] != parsed.public_key:
            yield _error(subject, f"the vault's key {label} is another one: import the set into a fresh vault")


def _tls(pki: PkiFolder, judge: _Judge, names: Sequence[str]) -> Iterator[Finding]:
    subject = "DP_TLS"
    parsed = _parsed(files.read_certificate(pki.tls_certificate))
    if parsed is None:
        yield _error(subject, f"{pki.tls_certificate} cannot be read: bring it with {_TLS_REMEDY}")
        return
    yield from _chain(parsed, Role.DP_TLS, judge, subject)
    if parsed.curve is not Curve.P256:
        yield _error(subject, "is not on NIST P-256, which the TLS listeners need: bring one that is")
    if not parsed.tls_client:
        text = "has no clientAuth among its extended key usages: an SM-DS refuses it (ES12)"
        yield Finding(severity=Severity.WARNING, subject=subject, text=text)
    for name in names or pki.names or ("any DNS host",):
        if name.lower() not in pki.names:
            yield _error(subject, f"does not name {name}: bring a certificate for the name devices connect to")
    yield from _tls_key(pki.tls_key, parsed, subject, _TLS_REMEDY)


def _eim(pki: PkiFolder, judge: _Judge, names: Sequence[str]) -> Iterator[Finding]:
    subject = "eIM"
    if pki.eim is None:
        return
    if pki.eim.signing_key not in judge.vault:
        yield _error(
            subject, f"its key {pki.eim.signing_key} is not in the vault: use the right vault, cards obey no other"
        )
    for name in names:
        if name.lower() not in pki.eim.names:
            text = f"its certificate does not name {name}: bring one that does, see {_EIM_REMEDY}, or change eim_names"
            yield _error(subject, text)
    parsed = _parsed(files.read_certificate(pki.eim.tls_certificate))
    if parsed is None:
        yield _error(subject, f"{pki.eim.tls_certificate} cannot be read: bring it again, see {_EIM_REMEDY}")
    else:
        if judge.trust.revocations.naming(parsed) is not None:
            yield _error(subject, f"its issuer has revoked its certificate: bring another one, see {_EIM_REMEDY}")
        yield from _tls_key(pki.eim.tls_key, parsed, subject, _EIM_REMEDY)


def _tls_key(file: Path, parsed: Certificate, subject: str, remedy: str) -> Iterator[Finding]:
    try:
        key = files.read_key(file)
    except BadPki as error:
        yield _error(subject, str(error))
        return
    if key.public_key() != parsed.public_key:
        yield _error(subject, f"{file} is not its key: bring the pair, see {remedy}")
    if file.stat().st_mode & 0o077:
        text = f"{file} can be read by others: run `chmod 600 {file}`"
        yield Finding(severity=Severity.WARNING, subject=subject, text=text)


def _chain(parsed: Certificate, role: Role, judge: _Judge, subject: str) -> Iterator[Finding]:
    # Expiry has findings of its own, so an expired chain is judged at a moment at which it was valid.
    moment = judge.now if parsed.is_valid_at(judge.now) else parsed.not_before
    try:
        judge.trust.verify_server_certificate(parsed.der, role, moment)
    except BadCertificate as error:
        yield _error(subject, f"does not serve ({error}): bring a certificate of one of the folder's CIs")


def _oids(pki: PkiFolder) -> Iterator[Finding]:
    oids = sorted({dp.oid for dp in pki.dp})
    if len(oids) > 1:
        text = f"the sets name different OIDs ({', '.join(oids)}): an SM-DP+ usually has one under every CI"
        yield Finding(severity=Severity.NOTICE, subject=str(pki.path), text=text)


def _dates(pki: PkiFolder, now: datetime) -> Iterator[Finding]:
    for row in listing.entries(pki):
        found = _date(row, now)
        if found is not None and row.role in listing.PEERS:
            found = replace(found, severity=min(found.severity, Severity.WARNING))
        if found is not None:
            yield found


def _date(row: listing.Entry, now: datetime) -> Finding | None:
    subject = f"{row.role} {row.subject}"
    if now > row.not_after:
        return _error(subject, f"expired on {row.not_after:%Y-%m-%d}: bring a renewed one")
    if now < row.not_before:
        return _error(subject, f"is valid from {row.not_before:%Y-%m-%d} only: check the clock of this machine")
    left = row.days_left(now)
    for days, severity in _ALARMS:
        if left < days:
            text = f"expires on {row.not_after:%Y-%m-%d}, in {left} days: renew it"
            return Finding(severity=severity, subject=subject, text=text)
    return None


def _parsed(der: bytes) -> Certificate | None:
    try:
        return parse_certificate(der)
    except BadCertificate:
        return None

"""What the tests of certificates share: a fixed time, the SGP.26 folder, a vault, credentials by role."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs import recipe
from certs.folder import SetFiles
from certs.recipe import Credential, Terms
from crypto.curves import Curve
from hsm_mock import MockVault

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SGP26 = Path(__file__).parents[2].parent / "shared" / "data" / "sgp26"
NAMES = ("testsmdpplus1.example.com",)
SUFFIX = {Curve.P256: "NIST", Curve.BRAINPOOL_P256R1: "BRP"}

needs_sgp26 = pytest.mark.skipif(not SGP26.is_dir(), reason=f"the SGP.26 test certificates are not at {SGP26}")


def terms(serial: int = 1, now: datetime = NOW) -> Terms:
    return Terms(now=now, serial=serial)


def fresh_vault(folder: Path) -> MockVault:
    return MockVault.create(folder / "vault.bin", "a passphrase for tests", cost=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pki:
    """One freshly made chain of each role."""

    ci: Credential
    eum: Credential
    euicc: Credential
    auth: Credential
    pb: Credential
    tls: Credential


def made(curve: Curve = Curve.P256, now: datetime = NOW) -> Pki:
    ci = recipe.ci(terms(1, now), curve)
    eum = recipe.eum(ci, terms(2, now))
    return Pki(
        ci=ci,
        eum=eum,
        euicc=recipe.euicc(eum, terms(3, now), recipe.sample_eid(7)),
        auth=recipe.dp_auth(ci, terms(4, now)),
        pb=recipe.dp_pb(ci, terms(5, now)),
        tls=recipe.dp_tls(ci, terms(6, now), NAMES),
    )


def written(folder: Path, pki: Pki) -> SetFiles:
    """The set as files, as a CI would deliver it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("ci", "auth", "pb", "tls"):
        credential: Credential = getattr(pki, name)
        (folder / f"{name}.der").write_bytes(credential.der)
        (folder / f"{name}.key.pem").write_bytes(credential.key_pem)
    return SetFiles(
        ci=folder / "ci.der",
        auth=folder / "auth.der",
        auth_key=folder / "auth.key.pem",
        pb=folder / "pb.der",
        pb_key=folder / "pb.key.pem",
        tls=folder / "tls.der",
        tls_key=folder / "tls.key.pem",
    )


def sgp26_credential(folder: str, name: str) -> Credential:
    key = load_pem_private_key((SGP26 / folder / f"SK_{name}.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    der = (SGP26 / folder / f"CERT_{name}.der").read_bytes()
    return Credential(certificate=x509.load_der_x509_certificate(der), key=key)


def sgp26_set(curve: Curve, tls: Path | None = None) -> SetFiles:
    """The published set of one curve; with `tls` a folder in which a fresh DPtls is written."""
    suffix = SUFFIX[curve]
    given = SetFiles(
        ci=SGP26 / "CertificateIssuer" / f"CERT_CI_ECDSA_{suffix}.der",
        auth=SGP26 / "DPauth" / f"CERT_S_SM_DPauth_ECDSA_{suffix}.der",
        auth_key=SGP26 / "DPauth" / f"SK_S_SM_DPauth_ECDSA_{suffix}.pem",
        pb=SGP26 / "DPpb" / f"CERT_S_SM_DPpb_ECDSA_{suffix}.der",
        pb_key=SGP26 / "DPpb" / f"SK_S_SM_DPpb_ECDSA_{suffix}.pem",
    )
    return given if tls is None else _with_fresh_tls(given, tls, suffix)


def _with_fresh_tls(given: SetFiles, folder: Path, suffix: str) -> SetFiles:
    folder.mkdir(parents=True, exist_ok=True)
    fresh = recipe.dp_tls(sgp26_credential("CertificateIssuer", f"CI_ECDSA_{suffix}"), terms(9), NAMES)
    (folder / "tls.pem").write_bytes(fresh.pem)
    (folder / "tls.key.pem").write_bytes(fresh.key_pem)
    return replace(given, tls=folder / "tls.pem", tls_key=folder / "tls.key.pem")


def tree(path: Path) -> dict[str, bytes]:
    """Every file below `path` with its content."""
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}

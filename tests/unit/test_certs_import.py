"""Bringing foreign sets: the published ones and made ones come in, broken ones leave folder and vault untouched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import certs_cases as cases
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from certs import files, recipe
from certs.folder import BadPki, PkiFolder, SetFiles, check, import_set, import_tls, init, load, vault_keys
from crypto.certificates import TrustStore, parse_certificate
from crypto.curves import Curve
from hsm_mock import MockVault


@pytest.fixture
def vault(tmp_path: Path) -> MockVault:
    return cases.fresh_vault(tmp_path)


@pytest.fixture
async def pki(tmp_path: Path, vault: MockVault) -> PkiFolder:
    return await init(tmp_path / "pki", vault, now=cases.NOW, curves=[Curve.P256])


@cases.needs_sgp26
async def test_published_sets_of_both_curves_stand_next_to_the_generated_ones(
    pki: PkiFolder, vault: MockVault, tmp_path: Path
) -> None:
    await import_set(pki.path, vault, cases.sgp26_set(Curve.P256), now=cases.NOW)
    both = await import_set(pki.path, vault, cases.sgp26_set(Curve.BRAINPOOL_P256R1), now=cases.NOW)
    assert [dp.curve for dp in both.dp] == [Curve.P256, Curve.P256, Curve.BRAINPOOL_P256R1]
    assert [key_id.hex()[:8] for key_id in TrustStore(both.ci_certificates).key_ids[1:]] == ["f54172bd", "c0bc70ba"]
    assert both.tls_certificate == pki.tls_certificate
    errors = [one for one in check(both, await vault_keys(both, vault), cases.NOW) if one.severity.name == "ERROR"]
    assert errors == []


@cases.needs_sgp26
async def test_published_set_alone_makes_a_folder_of_its_own(vault: MockVault, tmp_path: Path) -> None:
    given = cases.sgp26_set(Curve.P256, tls=tmp_path / "fresh")
    pki = await import_set(tmp_path / "new", vault, given, now=cases.NOW)
    assert not pki.generated
    assert pki.names == cases.NAMES
    assert pki.dp[0].oid == "2.999.10"
    assert pki.operator_ca.exists()
    assert oct(pki.tls_key.stat().st_mode)[-3:] == "600"


@cases.needs_sgp26
async def test_published_card_is_trusted_after_the_import(pki: PkiFolder, vault: MockVault) -> None:
    after = await import_set(pki.path, vault, cases.sgp26_set(Curve.P256), now=cases.NOW)
    eum, euicc = (
        (cases.SGP26 / name).read_bytes() for name in ("EUM/CERT_EUM_ECDSA_NIST.der", "eUICC/CERT_EUICC_ECDSA_NIST.der")
    )
    identity = TrustStore(after.ci_certificates).verify_euicc(eum, euicc, cases.NOW)
    assert identity.eid == "89049032123451234512345678901235"


async def test_first_set_of_a_new_folder_needs_a_tls_certificate(vault: MockVault, tmp_path: Path) -> None:
    given = replace(cases.written(tmp_path / "in", cases.made()), tls=None, tls_key=None)
    with pytest.raises(BadPki, match="needs a TLS certificate"):
        await import_set(tmp_path / "new", vault, given, now=cases.NOW)
    assert not (tmp_path / "new").exists()
    assert await vault.labels() == ()


async def test_tls_certificate_of_a_set_takes_the_place_of_the_one_in_use(
    pki: PkiFolder, vault: MockVault, tmp_path: Path
) -> None:
    given = cases.written(tmp_path / "in", cases.made())
    after = await import_set(pki.path, vault, given, now=cases.NOW)
    assert after.names == cases.NAMES
    assert after.tls_certificate != pki.tls_certificate
    assert pki.tls_certificate.exists()


async def test_same_set_again_changes_nothing_and_gives_a_new_vault_its_keys(
    pki: PkiFolder, vault: MockVault, tmp_path: Path
) -> None:
    given = cases.written(tmp_path / "in", cases.made())
    await import_set(pki.path, vault, given, now=cases.NOW)
    before = cases.tree(pki.path)
    (tmp_path / "second").mkdir()
    other = cases.fresh_vault(tmp_path / "second")
    after = await import_set(pki.path, other, given, now=cases.NOW)
    assert cases.tree(pki.path) == before
    assert set(await other.labels()) == {after.dp[1].auth_key, after.dp[1].pb_key}


async def test_second_set_under_one_ci_comes_in_only_as_a_replacement(
    pki: PkiFolder, vault: MockVault, tmp_path: Path
) -> None:
    first = cases.made()
    await import_set(pki.path, vault, cases.written(tmp_path / "one", first), now=cases.NOW)
    renewed = replace(first, auth=recipe.dp_auth(first.ci, cases.terms(11)), pb=recipe.dp_pb(first.ci, cases.terms(12)))
    given = cases.written(tmp_path / "two", renewed)
    before = cases.tree(pki.path)
    with pytest.raises(BadPki, match="--replace"):
        await import_set(pki.path, vault, given, now=cases.NOW)
    assert cases.tree(pki.path) == before
    after = await import_set(pki.path, vault, given, now=cases.NOW, replacing=True)
    assert [dp.auth_certificate for dp in after.dp][1:] == [renewed.auth.der]


async def test_renewed_tls_certificate_comes_alone(pki: PkiFolder, tmp_path: Path) -> None:
    issuer = ci_credential(pki)
    renewed = recipe.dp_tls(issuer, cases.terms(5), ["renewed.example.com"])
    (tmp_path / "tls.der").write_bytes(renewed.der)
    (tmp_path / "tls.pem").write_bytes(renewed.key_pem)
    after = import_tls(pki.path, tmp_path / "tls.der", tmp_path / "tls.pem", now=cases.NOW)
    assert after.names == ("renewed.example.com",)
    assert after.dp == pki.dp


async def test_tls_certificate_of_a_foreign_ci_is_refused_alone(pki: PkiFolder, tmp_path: Path) -> None:
    given = cases.written(tmp_path / "in", cases.made())
    before = cases.tree(pki.path)
    assert given.tls
    assert given.tls_key
    with pytest.raises(BadPki, match="not trusted"):
        import_tls(pki.path, given.tls, given.tls_key, now=cases.NOW)
    assert cases.tree(pki.path) == before


@pytest.mark.parametrize("form", [serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8])
async def test_keys_may_be_sec1_or_pkcs8_and_certificates_pem(
    pki: PkiFolder, vault: MockVault, tmp_path: Path, form: serialization.PrivateFormat
) -> None:
    made = cases.made()
    given = cases.written(tmp_path / "in", made)
    given.auth.write_bytes(made.auth.pem)
    given.auth_key.write_bytes(
        made.auth.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    )
    assert len((await import_set(pki.path, vault, given, now=cases.NOW)).dp) == 2


def ci_credential(pki: PkiFolder) -> recipe.Credential:
    device = pki.device_files(Curve.P256)
    der = files.read_certificate(device.ci_certificate)
    return recipe.Credential(certificate=x509.load_der_x509_certificate(der), key=files.read_key(device.ci_key))


Breakage = Callable[[SetFiles, cases.Pki], SetFiles | None]


def _write(file: Path | None, data: bytes) -> None:
    assert file is not None
    file.write_bytes(data)


def _encrypted(credential: recipe.Credential) -> bytes:
    return credential.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )


def _rsa_key() -> bytes:
    return rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _brainpool_tls(given: SetFiles, pki: cases.Pki) -> None:
    other = cases.made(Curve.BRAINPOOL_P256R1)
    for name in ("ci", "auth", "pb", "tls"):
        credential: recipe.Credential = getattr(other, name)
        (given.ci.parent / f"{name}.der").write_bytes(credential.der)
        (given.ci.parent / f"{name}.key.pem").write_bytes(credential.key_pem)


def _nameless_tls(given: SetFiles, pki: cases.Pki) -> None:
    # dp_tls takes its common name from the first name, so a certificate without DNS names is cut from DPauth's shape.
    made = recipe.dp_tls(pki.ci, cases.terms(8), ["x.example.com"])
    _write(given.tls, _without_san(made, pki))
    _write(given.tls_key, made.key_pem)


def _without_san(made: recipe.Credential, pki: cases.Pki) -> bytes:
    source = made.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(source.subject)
        .issuer_name(source.issuer)
        .public_key(made.key.public_key())
        .serial_number(8)
        .not_valid_before(source.not_valid_before_utc)
        .not_valid_after(source.not_valid_after_utc)
    )
    for extension in source.extensions:
        if not isinstance(extension.value, x509.SubjectAlternativeName):
            builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(pki.ci.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _other_oid(given: SetFiles, pki: cases.Pki) -> None:
    made = recipe.dp_pb(pki.ci, cases.terms(9), "2.999.11")
    _write(given.pb, made.der)
    _write(given.pb_key, made.key_pem)


_LONG_AGO = cases.NOW - timedelta(days=36 * 365)
BROKEN: dict[str, tuple[Breakage, str]] = {
    "file missing": (lambda g, p: replace(g, auth=g.auth.with_name("none.der")), r"none\.der cannot be read"),
    "ci is no certificate": (lambda g, p: _write(g.ci, b"garbage"), r"ci\.der is not a usable certificate"),
    "pem is damaged": (lambda g, p: _write(g.auth, b"-----BEGIN CERTIFICATE-----\n!"), "no readable certificate"),
    "file holds two": (lambda g, p: _write(g.auth, p.auth.pem + p.pb.pem), "holds 2 certificates"),
    "ci is another role": (lambda g, p: _write(g.ci, p.auth.der), "no CI certificate"),
    "ci was altered": (
        lambda g, p: _write(g.ci, p.ci.der[:-1] + bytes([p.ci.der[-1] ^ 1])),
        "no CI certificate|not a usable",
    ),
    "ci expired": (lambda g, p: _write(g.ci, recipe.ci(cases.terms(1, _LONG_AGO), Curve.P256).der), "bring a current"),
    "ci is another": (lambda g, p: _write(g.ci, cases.made().ci.der), "not trusted here"),
    "auth is another role": (lambda g, p: _write(g.auth, p.pb.der), "DP_AUTH"),
    "pb is another role": (lambda g, p: _write(g.pb, p.auth.der), "DP_PB"),
    "auth was altered": (lambda g, p: _write(g.auth, p.auth.der[:-1] + bytes([p.auth.der[-1] ^ 1])), r"auth\.der"),
    "auth expired": (
        lambda g, p: _write(g.auth, recipe.dp_auth(p.ci, cases.terms(1, _LONG_AGO)).der),
        "validity dates",
    ),
    "oids differ": (_other_oid, "both must be of one SM-DP"),
    "auth key is another": (lambda g, p: _write(g.auth_key, p.pb.key_pem), r"auth\.key\.pem is not the key of"),
    "pb key is another": (lambda g, p: _write(g.pb_key, p.auth.key_pem), r"pb\.key\.pem is not the key of"),
    "key is on another curve": (
        lambda g, p: _write(g.auth_key, cases.made(Curve.BRAINPOOL_P256R1).auth.key_pem),
        "is not the key of",
    ),
    "key is locked": (lambda g, p: _write(g.auth_key, _encrypted(p.auth)), "passphrase"),
    "key is no key": (lambda g, p: _write(g.auth_key, b"garbage"), "no readable private key"),
    "key is rsa": (lambda g, p: _write(g.auth_key, _rsa_key()), "not an elliptic-curve key"),
    "tls without key": (lambda g, p: replace(g, tls_key=None), "belong together"),
    "tls is another role": (lambda g, p: _write(g.tls, p.auth.der), "DP_TLS"),
    "tls expired": (
        lambda g, p: _write(g.tls, recipe.dp_tls(p.ci, cases.terms(1, cases.NOW - timedelta(days=400)), ["a"]).der),
        "validity dates",
    ),
    "tls key is another": (lambda g, p: _write(g.tls_key, p.auth.key_pem), "is not the key of"),
    "tls on brainpool": (_brainpool_tls, "NIST P-256"),
    "tls without name": (_nameless_tls, "names no DNS host"),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_broken_set_is_refused_with_a_sentence_and_changes_nothing(
    case: str, pki: PkiFolder, vault: MockVault, tmp_path: Path
) -> None:
    breakage, words = BROKEN[case]
    made = cases.made()
    given = cases.written(tmp_path / "in", made)
    given = breakage(given, made) or given
    before, labels = cases.tree(pki.path), await vault.labels()
    with pytest.raises(BadPki, match=words):
        await import_set(pki.path, vault, given, now=cases.NOW)
    assert cases.tree(pki.path) == before
    assert await vault.labels() == labels


async def test_refused_set_makes_no_new_folder(vault: MockVault, tmp_path: Path) -> None:
    made = cases.made()
    given = cases.written(tmp_path / "in", made)
    given.pb_key.write_bytes(made.auth.key_pem)
    with pytest.raises(BadPki):
        await import_set(tmp_path / "new", vault, given, now=cases.NOW)
    assert not [name for name in cases.tree(tmp_path) if "new" in name]


async def test_vault_with_another_key_under_the_label_is_refused(
    pki: PkiFolder, vault: MockVault, tmp_path: Path
) -> None:
    made = cases.made()
    given = cases.written(tmp_path / "in", made)
    ci, pb = made.ci.key_id.hex()[:8], made.pb.key_id.hex()[:8]
    vault.import_key(f"dppb-{ci}-{pb}", made.auth.key)
    labels = await vault.labels()
    with pytest.raises(BadPki, match="holds another key"):
        await import_set(pki.path, vault, given, now=cases.NOW)
    assert await vault.labels() == labels
    assert load(pki.path) == pki


async def test_error_about_a_key_never_shows_it(pki: PkiFolder, vault: MockVault, tmp_path: Path) -> None:
    made = cases.made()
    given = cases.written(tmp_path / "in", made)
    given.auth_key.write_bytes(made.auth.key_pem[:-30])
    with pytest.raises(BadPki) as caught:
        await import_set(pki.path, vault, given, now=cases.NOW)
    body = made.auth.key_pem.decode().splitlines()[1]
    assert body not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_leftover_of_an_interrupted_import_does_no_harm(pki: PkiFolder, vault: MockVault, tmp_path: Path) -> None:
    made = cases.made()
    leftover = pki.path / "dp" / f"{made.ci.key_id.hex()[:8]}-{made.auth.key_id.hex()[:8]}"
    leftover.mkdir()
    (leftover / "auth.der").write_bytes(b"half")
    after = await import_set(pki.path, vault, cases.written(tmp_path / "in", made), now=cases.NOW)
    assert parse_certificate(after.dp[1].auth_certificate).der == made.auth.der

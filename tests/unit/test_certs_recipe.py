"""The recipe of the test PKI: the same extensions as SGP.26, chains that OpenSSL and our trust store accept."""

from __future__ import annotations

import subprocess
from pathlib import Path

import certs_cases as cases
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from certs import recipe
from certs.recipe import Credential, Terms
from crypto.certificates import Role, TrustStore, parse_certificate
from crypto.curves import Curve

CURVES = tuple(Curve)
SGP26_FILES = {
    "ci": "CertificateIssuer/CERT_CI_ECDSA",
    "eum": "EUM/CERT_EUM_ECDSA",
    "euicc": "eUICC/CERT_EUICC_ECDSA",
    "auth": "DPauth/CERT_S_SM_DPauth_ECDSA",
    "pb": "DPpb/CERT_S_SM_DPpb_ECDSA",
    "tls": "DPtls/CERT_S_SM_DP_VARO_TLS",
}
# Keys, organization and addresses differ by nature; these must be equal to the last bit.
SAME_VALUE = (x509.KeyUsage, x509.ExtendedKeyUsage, x509.BasicConstraints, x509.CertificatePolicies)


def openssl_verify(folder: Path, leaf: Credential, issuer: Credential) -> subprocess.CompletedProcess[str]:
    # No card is given to it: OpenSSL reads an EUM's name constraint as the start of a name, which no eUICC's is.
    (folder / "leaf.pem").write_bytes(leaf.pem)
    (folder / "root.pem").write_bytes(issuer.pem)
    moment = str(int(cases.NOW.timestamp()))
    command = ["openssl", "verify", "-x509_strict", "-attime", moment, "-CAfile", "root.pem", "leaf.pem"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@cases.needs_sgp26
@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("role", SGP26_FILES)
def test_extensions_and_criticality_are_those_of_sgp26(role: str, curve: Curve) -> None:
    theirs = x509.load_der_x509_certificate(
        (cases.SGP26 / f"{SGP26_FILES[role]}_{cases.SUFFIX[curve]}.der").read_bytes()
    )
    ours: Credential = getattr(cases.made(curve), role)
    assert {(e.oid, e.critical) for e in ours.certificate.extensions} == {
        (e.oid, e.critical) for e in theirs.extensions
    }


@cases.needs_sgp26
@pytest.mark.parametrize("role", SGP26_FILES)
def test_usage_constraints_and_policies_are_those_of_sgp26(role: str) -> None:
    theirs = x509.load_der_x509_certificate((cases.SGP26 / f"{SGP26_FILES[role]}_NIST.der").read_bytes())
    ours: Credential = getattr(cases.made(), role)
    for extension in theirs.extensions:
        if isinstance(extension.value, SAME_VALUE):
            assert ours.certificate.extensions.get_extension_for_oid(extension.oid).value == extension.value


@cases.needs_sgp26
@pytest.mark.parametrize("role", SGP26_FILES)
def test_alternative_names_and_subject_attributes_have_the_kinds_of_sgp26(role: str) -> None:
    theirs = x509.load_der_x509_certificate((cases.SGP26 / f"{SGP26_FILES[role]}_NIST.der").read_bytes())
    ours: Credential = getattr(cases.made(), role)
    assert [a.oid for a in ours.certificate.subject] == [a.oid for a in theirs.subject]
    kind = x509.SubjectAlternativeName
    if role != "euicc":
        their_names = theirs.extensions.get_extension_for_class(kind).value
        assert list(ours.certificate.extensions.get_extension_for_class(kind).value) == list(their_names)


@pytest.mark.parametrize("curve", CURVES)
def test_every_key_is_on_the_curve_of_its_issuer(curve: Curve) -> None:
    pki = cases.made(curve)
    assert {Curve.of(one.key) for one in (pki.ci, pki.eum, pki.euicc, pki.auth, pki.pb, pki.tls)} == {curve}


@pytest.mark.parametrize("curve", CURVES)
def test_trust_store_accepts_a_card_of_the_recipe(curve: Curve) -> None:
    pki = cases.made(curve)
    identity = TrustStore([pki.ci.der]).verify_euicc(pki.eum.der, pki.euicc.der, cases.NOW)
    assert identity.eid == str(recipe.sample_eid(7))


@pytest.mark.parametrize(("name", "role"), [("auth", Role.DP_AUTH), ("pb", Role.DP_PB), ("tls", Role.DP_TLS)])
def test_trust_store_accepts_a_server_of_the_recipe(name: str, role: Role) -> None:
    pki = cases.made()
    server: Credential = getattr(pki, name)
    parsed = TrustStore([pki.ci.der]).verify_server_certificate(server.der, role, cases.NOW)
    assert parsed.oid == recipe.DP_OID


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("role", ["eum", "auth", "pb", "tls"])
def test_openssl_accepts_what_the_ci_issued(role: str, curve: Curve, tmp_path: Path) -> None:
    pki = cases.made(curve)
    answer = openssl_verify(tmp_path, getattr(pki, role), pki.ci)
    assert answer.returncode == 0, answer.stderr


def test_operators_ca_certifies_clients_and_callback_servers_for_one_purpose_each(tmp_path: Path) -> None:
    ca = recipe.operator_ca(cases.terms(1))
    client = recipe.operator(ca, cases.terms(2), "operator-a")
    server = recipe.callback_server(ca, cases.terms(3), ("localhost", "127.0.0.1"))
    for leaf, purpose in ((client, ExtendedKeyUsageOID.CLIENT_AUTH), (server, ExtendedKeyUsageOID.SERVER_AUTH)):
        assert openssl_verify(tmp_path, leaf, ca).returncode == 0
        usage = leaf.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [purpose]


def test_operator_name_is_the_common_name() -> None:
    client = recipe.operator(recipe.operator_ca(cases.terms(1)), cases.terms(2), "operator-a")
    assert client.certificate.subject.rfc4514_string() == "CN=operator-a"


def test_tls_certificate_lives_398_days() -> None:
    certificate = cases.made().tls.certificate
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 398


def test_card_outlives_everything() -> None:
    assert cases.made().euicc.certificate.not_valid_after_utc.year > 7400


def test_serial_number_and_time_are_the_ones_given() -> None:
    made = recipe.ci(cases.terms(4711), Curve.P256).certificate
    assert made.serial_number == 4711
    assert made.not_valid_before_utc <= cases.NOW <= made.not_valid_after_utc


def test_key_made_elsewhere_is_certified() -> None:
    key = recipe.ci(cases.terms(), Curve.P256).key
    issuer = cases.made().ci
    made = recipe.dp_auth(issuer, Terms(now=cases.NOW, serial=1, key=key))
    assert made.certificate.public_key() == key.public_key()


def test_long_server_name_stands_in_the_alternative_names_only() -> None:
    name = ".".join(["a" * 60, "b" * 60, "example.com"])
    made = recipe.dp_tls(cases.made().ci, cases.terms(), [name])
    assert parse_certificate(made.der).dns_names == (name,)


def test_no_key_shows_in_a_repr() -> None:
    credential = cases.made().ci
    secret = credential.key.private_numbers().private_value
    shown = repr(credential) + repr(Terms(now=cases.NOW, serial=1, key=credential.key))
    assert "key=" not in shown
    assert str(secret) not in shown


def test_key_pem_is_pkcs8_of_the_same_key() -> None:
    credential = cases.made().ci
    loaded = serialization.load_pem_private_key(credential.key_pem, None)
    assert loaded.public_key() == credential.certificate.public_key()


@given(st.integers(0, 10**22 - 1))
@settings(max_examples=100)
def test_sample_eids_have_right_check_digits_and_the_issuer_number(number: int) -> None:
    eid = recipe.sample_eid(number)
    assert eid.has_valid_check()
    assert str(eid).startswith(recipe.IIN)

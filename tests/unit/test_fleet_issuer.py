"""EIDs and eUICC certificates minted under an EUM, checked by openssl and against SGP.26."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fleet_server import make_eum
from hypothesis import given, settings
from hypothesis import strategies as st

from rsp.identifiers import Eid
from simulator.issuer import EumIssuer
from simulator.load import read_certificate, read_key

SGP26 = Path(__file__).parents[3] / "shared" / "data" / "sgp26"
EUM = make_eum()
ISSUER = EumIssuer(EUM.certificate, EUM.key, (EUM.ci_certificate,))


@settings(max_examples=50)
@given(st.integers(min_value=0, max_value=10**22 - 1))
def test_eids_have_valid_check_digits_in_the_range_and_keep_their_number(number: int) -> None:
    eid = ISSUER.eid(number)
    assert eid.has_valid_check()
    assert eid.digits.startswith("89049032")
    assert int(eid.digits[8:30]) == number


@pytest.mark.parametrize("number", [-1, 10**22])
def test_a_number_outside_the_range_makes_no_eid(number: int) -> None:
    with pytest.raises(ValueError, match="22 digits"):
        ISSUER.eid(number)


def test_a_foreign_eid_gets_no_certificate() -> None:
    with pytest.raises(ValueError, match="outside the range"):
        ISSUER.issue(Eid("8" * 32))


def test_every_card_gets_a_key_and_serial_of_its_own() -> None:
    first, second = (ISSUER.issue(ISSUER.eid(1)) for _ in range(2))
    assert first.private_key.public_key() != second.private_key.public_key()
    certificates = [x509.load_der_x509_certificate(each.euicc_certificate) for each in (first, second)]
    assert certificates[0].serial_number != certificates[1].serial_number


def test_a_key_of_another_eum_is_refused() -> None:
    with pytest.raises(ValueError, match="does not belong"):
        EumIssuer(EUM.certificate, ec.generate_private_key(ec.SECP256R1()))


def test_an_eum_without_a_range_is_refused() -> None:
    free = make_eum(constrained=False)
    with pytest.raises(ValueError, match="no name constraints"):
        EumIssuer(free.certificate, free.key)


@pytest.mark.skipif(not SGP26.is_dir(), reason="the SGP.26 test certificates are not beside the project")
@pytest.mark.parametrize("curve", ["NIST", "BRP"])
def test_a_minted_certificate_has_the_shape_of_the_sgp26_one(curve: str) -> None:
    eum = read_certificate(SGP26 / "EUM" / f"CERT_EUM_ECDSA_{curve}.der")
    issuer = EumIssuer(eum, read_key(SGP26 / "EUM" / f"SK_EUM_ECDSA_{curve}.pem"))
    eid = issuer.eid(7)
    minted = x509.load_der_x509_certificate(issuer.issue(eid).euicc_certificate)
    model = x509.load_der_x509_certificate(read_certificate(SGP26 / "eUICC" / f"CERT_EUICC_ECDSA_{curve}.der"))
    assert minted.issuer.public_bytes() == model.issuer.public_bytes()
    assert [part.oid for part in minted.subject] == [part.oid for part in model.subject]
    assert minted.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)[0].value == eid.digits
    shapes = [{each.oid: each.critical for each in certificate.extensions} for certificate in (minted, model)]
    assert shapes[0] == shapes[1]
    for kind in (x509.AuthorityKeyIdentifier, x509.KeyUsage, x509.CertificatePolicies):
        found = [certificate.extensions.get_extension_for_class(kind).value for certificate in (minted, model)]
        assert found[0] == found[1]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.BrainpoolP256R1()], ids=lambda curve: str(curve.name))
def test_openssl_verifies_the_signature_under_the_eum(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    # openssl compares the permitted serialNumber with the whole EID, not as its prefix, so the anchor carries none.
    eum = make_eum(curve)
    issuer = EumIssuer(eum.certificate, eum.key)
    for stem, der in (("eum", eum.anchor), ("euicc", issuer.issue(issuer.eid(1)).euicc_certificate)):
        (tmp_path / f"{stem}.der").write_bytes(der)
        convert = ["openssl", "x509", "-inform", "der", "-in", f"{stem}.der", "-out", f"{stem}.pem"]
        subprocess.run(convert, cwd=tmp_path, check=True)
    verify = ["openssl", "verify", "-partial_chain", "-trusted", "eum.pem", "euicc.pem"]
    done = subprocess.run(verify, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert "euicc.pem: OK" in done.stdout, done.stderr

"""The `openssl` command as an independent judge of our signatures, certificates and their identifiers."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from certs import recipe
from certs.recipe import Terms
from crypto.certificates import TrustStore, parse_certificate
from crypto.curves import Curve
from crypto.signatures import sign, verify

SGP26 = Path(__file__).resolve().parents[3] / "shared" / "data" / "sgp26"
OPENSSL = shutil.which("openssl") or ""
pytestmark = pytest.mark.skipif(not OPENSSL, reason="the openssl command is not installed")
DATA = b"data to be signed"


def run(*arguments: str | Path) -> bytes:
    return subprocess.run([OPENSSL, *map(str, arguments)], check=True, capture_output=True, timeout=30).stdout


@pytest.mark.parametrize("curve", Curve)
def test_openssl_accepts_our_signature(curve: Curve, tmp_path: Path) -> None:
    key = ec.generate_private_key(curve.instance)
    plain = sign(key, DATA)
    der = encode_dss_signature(int.from_bytes(plain[:32], "big"), int.from_bytes(plain[32:], "big"))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, content in (("public", public), ("signature", der), ("data", DATA)):
        (tmp_path / name).write_bytes(content)
    options = ("-verify", tmp_path / "public", "-signature", tmp_path / "signature")
    assert run("dgst", "-sha256", *options, tmp_path / "data").strip() == b"Verified OK"


@pytest.mark.parametrize("curve", Curve)
def test_we_accept_a_signature_of_openssl(curve: Curve, tmp_path: Path) -> None:
    key = ec.generate_private_key(curve.instance)
    (tmp_path / "private").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "data").write_bytes(DATA)
    r, s = decode_dss_signature(run("dgst", "-sha256", "-sign", tmp_path / "private", tmp_path / "data"))
    verify(key.public_key(), r.to_bytes(32, "big") + s.to_bytes(32, "big"), DATA)


@pytest.mark.skipif(not SGP26.is_dir(), reason="the SGP.26 test certificates are not on this machine")
@pytest.mark.parametrize("name", ["DPauth/CERT_S_SM_DPauth_ECDSA_BRP.der", "EUM/CERT_EUM_ECDSA_NIST.der"])
def test_openssl_reads_the_same_registered_id(name: str) -> None:
    shown = run("x509", "-inform", "der", "-in", SGP26 / name, "-noout", "-ext", "subjectAltName").decode()
    certificate = parse_certificate((SGP26 / name).read_bytes())
    assert shown.rstrip().endswith(f"Registered ID:{certificate.oid}")


_CA = """
[ca]
default_ca=one
[one]
database={folder}/index.txt
crlnumber={folder}/number
default_md=sha256
crl_extensions=extensions
[extensions]
authorityKeyIdentifier=keyid
issuingDistributionPoint=critical,@point
[point]
fullname=URI:http://ci.example/CRL-A.crl
"""


@pytest.mark.parametrize("curve", Curve)
def test_we_believe_a_revocation_list_of_openssl(curve: Curve, tmp_path: Path) -> None:
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    ci = recipe.ci(Terms(now=now, serial=1), curve)
    (tmp_path / "ci.pem").write_bytes(ci.pem)
    (tmp_path / "ci.key.pem").write_bytes(ci.key_pem)
    (tmp_path / "index.txt").write_text("R\t500101000000Z\t261120000000Z,keyCompromise\t0BAD\tunknown\t/CN=EUM\n")
    (tmp_path / "number").write_text("2A\n")
    (tmp_path / "ca.cnf").write_text(_CA.format(folder=tmp_path))
    dates = ("-crl_lastupdate", "20261121000000Z", "-crl_nextupdate", "20261221000000Z")
    pair = ("-cert", tmp_path / "ci.pem", "-keyfile", tmp_path / "ci.key.pem")
    run("ca", "-config", tmp_path / "ca.cnf", "-gencrl", *pair, *dates, "-out", tmp_path / "list.pem")
    der = x509.load_pem_x509_crl((tmp_path / "list.pem").read_bytes()).public_bytes(Encoding.DER)
    found = TrustStore([ci.der]).read_revocation_list(der, now)
    assert (found.number, [entry.serial_number for entry in found.revoked]) == (42, [0x0BAD])
    assert (found.this_update.day, found.next_update.month) == (21, 12)

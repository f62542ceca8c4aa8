"""A generated PKI folder: what lies in it, what goes to the vault, what is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import certs_cases as cases
import pytest
from cryptography import x509

from certs import files, layout
from certs.creation import TEST_OPERATORS
from certs.folder import BadPki, PkiFolder, init, issue_operator_certificate, load
from crypto import signatures
from crypto.certificates import TrustStore, parse_certificate
from crypto.curves import Curve
from hsm_mock import MockVault


@pytest.fixture
def vault(tmp_path: Path) -> MockVault:
    return cases.fresh_vault(tmp_path)


@pytest.fixture
async def pki(tmp_path: Path, vault: MockVault) -> PkiFolder:
    return await init(tmp_path / "pki", vault, now=cases.NOW)


async def test_loading_gives_what_was_made(pki: PkiFolder) -> None:
    assert load(pki.path) == pki
    assert pki.generated
    assert pki.names == ("smdp.example.com",)
    assert {dp.curve for dp in pki.dp} == set(Curve)


async def test_server_names_and_oid_are_the_ones_given(tmp_path: Path, vault: MockVault) -> None:
    pki = await init(tmp_path / "pki", vault, names=("One.example.com", "localhost"), now=cases.NOW, oid="2.999.77")
    assert pki.names == ("one.example.com", "localhost")
    assert {dp.oid for dp in pki.dp} == {"2.999.77"}


async def test_signing_keys_are_in_the_vault_and_match_their_certificates(pki: PkiFolder, vault: MockVault) -> None:
    for dp in pki.dp:
        for label, der in ((dp.auth_key, dp.auth_certificate), (dp.pb_key, dp.pb_certificate)):
            signature = await vault.sign(label, b"challenge")
            signatures.verify(parse_certificate(der).public_key, signature, b"challenge")


async def test_no_file_of_the_folder_holds_a_signing_key(pki: PkiFolder, vault: MockVault) -> None:
    kept = [await vault.public_key(label) for label in await vault.labels()]
    in_files = [files.read_key(file).public_key() for file in pki.path.rglob("*.key.pem")]
    assert in_files
    assert not [key for key in in_files if key in kept]


async def test_private_keys_are_for_their_owner_only(pki: PkiFolder) -> None:
    for file in pki.path.rglob("*.pem"):
        private = b"PRIVATE KEY" in file.read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == (0o600 if private else 0o644), file


async def test_folder_keeps_itself_out_of_repositories(pki: PkiFolder) -> None:
    assert (pki.path / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("curve", list(Curve))
async def test_simulated_card_is_trusted_by_the_servers_cis(pki: PkiFolder, curve: Curve) -> None:
    device = pki.device_files(curve)
    eum, euicc = files.read_certificate(device.eum_certificate), files.read_certificate(device.euicc_certificate)
    identity = TrustStore(pki.ci_certificates).verify_euicc(eum, euicc, cases.NOW)
    assert identity.curve is curve
    assert identity.public_key == files.read_key(device.euicc_key).public_key()
    assert parse_certificate(eum).public_key == files.read_key(device.eum_key).public_key()
    assert files.read_certificate(device.ci_certificate) in pki.ci_certificates


async def test_cards_of_two_curves_have_two_eids(pki: PkiFolder) -> None:
    cards = [files.read_certificate(pki.device_files(curve).euicc_certificate) for curve in Curve]
    assert len({parse_certificate(card).eid for card in cards}) == 2


async def test_operators_and_callback_receiver_are_certified_by_the_operators_ca(pki: PkiFolder) -> None:
    ca = x509.load_pem_x509_certificate(pki.operator_ca.read_bytes())
    certificates = [pki.operator_files(name)[0] for name in TEST_OPERATORS] + [pki.callback_certificate]
    for file in certificates:
        x509.load_pem_x509_certificate(file.read_bytes()).verify_directly_issued_by(ca)
    assert parse_certificate(files.read_certificate(pki.callback_certificate)).tls_server


async def test_one_curve_makes_one_set(tmp_path: Path, vault: MockVault) -> None:
    pki = await init(tmp_path / "pki", vault, curves=(Curve.P256, Curve.P256), now=cases.NOW)
    assert len(pki.dp) == len(pki.ci_certificates) == 1


async def test_folder_that_is_there_is_never_overwritten(pki: PkiFolder, vault: MockVault) -> None:
    before = cases.tree(pki.path)
    with pytest.raises(BadPki, match="never overwritten"):
        await init(pki.path, vault, now=cases.NOW)
    assert cases.tree(pki.path) == before


async def test_empty_folder_may_be_filled(tmp_path: Path, vault: MockVault) -> None:
    (tmp_path / "pki").mkdir()
    assert (await init(tmp_path / "pki", vault, now=cases.NOW)).generated


@pytest.mark.parametrize("name", ["", "has space", "192.0.2.1", "-dash", "a..b"])
async def test_name_no_device_could_use_is_refused_before_anything_is_made(
    tmp_path: Path, vault: MockVault, name: str
) -> None:
    with pytest.raises(BadPki, match=r"smdp\.example\.com"):
        await init(tmp_path / "pki", vault, names=[name], now=cases.NOW)
    assert not (tmp_path / "pki").exists()
    assert await vault.labels() == ()


async def test_server_without_a_name_is_refused(tmp_path: Path, vault: MockVault) -> None:
    with pytest.raises(BadPki, match="at least one"):
        await init(tmp_path / "pki", vault, names=[], now=cases.NOW)


async def test_pki_without_p256_is_refused(tmp_path: Path, vault: MockVault) -> None:
    with pytest.raises(BadPki, match="P-256"):
        await init(tmp_path / "pki", vault, curves=[Curve.BRAINPOOL_P256R1], now=cases.NOW)


async def test_failure_on_the_way_leaves_no_folder(tmp_path: Path, vault: MockVault) -> None:
    (tmp_path / "vault.bin").unlink()
    with pytest.raises(Exception, match="vault file"):
        await init(tmp_path / "pki", vault, now=cases.NOW)
    assert cases.tree(tmp_path).keys() <= {"vault.bin.lock"}


async def test_more_operator_certificates_come_from_the_folders_ca(pki: PkiFolder) -> None:
    certificate, key = issue_operator_certificate(pki.path, "operator-c", cases.NOW)
    assert (certificate, key) == pki.operator_files("operator-c")
    ca = x509.load_pem_x509_certificate(pki.operator_ca.read_bytes())
    issued = x509.load_pem_x509_certificate(certificate.read_bytes())
    issued.verify_directly_issued_by(ca)
    assert issued.public_key() == files.read_key(key).public_key()
    assert issued.subject.rfc4514_string() == "CN=operator-c"


@pytest.mark.parametrize("name", ["", "ca", "../evil", "a/b", ".hidden", "UPPER", "x" * 65, "é"])
async def test_operator_name_that_is_no_file_name_is_refused(pki: PkiFolder, name: str) -> None:
    with pytest.raises(BadPki, match="no operator name"):
        issue_operator_certificate(pki.path, name, cases.NOW)


async def test_operator_certificate_is_not_overwritten(pki: PkiFolder) -> None:
    with pytest.raises(BadPki, match="exists"):
        issue_operator_certificate(pki.path, "operator-a", cases.NOW)


def test_missing_folder_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BadPki, match="smdp pki init"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"dp": 3}', b'{"version": 2}', b"\xff\xfe"])
def test_damaged_index_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / layout.INDEX).write_bytes(content)
    with pytest.raises(BadPki, match=layout.INDEX):
        load(tmp_path)


def test_index_without_sets_is_not_a_pki(tmp_path: Path) -> None:
    layout.write_index(tmp_path, layout.Index())
    with pytest.raises(BadPki, match="names no SM-DP\\+ set"):
        load(tmp_path)


async def test_missing_certificate_file_is_named(pki: PkiFolder) -> None:
    (pki.path / layout.read_index(pki.path).dp[0].directory / "auth.der").unlink()
    with pytest.raises(BadPki, match=r"auth\.der cannot be read"):
        load(pki.path)


async def test_damaged_certificate_file_is_named(pki: PkiFolder) -> None:
    (pki.path / layout.read_index(pki.path).dp[0].directory / "auth.der").write_bytes(b"garbage")
    with pytest.raises(BadPki, match=r"auth\.der is not a usable certificate"):
        load(pki.path)


async def test_folder_without_marker_is_not_called_generated(pki: PkiFolder) -> None:
    (pki.path / layout.MARKER).unlink()
    assert not load(pki.path).generated


def test_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    files.write(target, b"old")
    with pytest.raises(TypeError):
        files.write(target, "not bytes")  # type: ignore[arg-type] # fails in the middle of writing
    assert cases.tree(tmp_path) == {"file": b"old"}

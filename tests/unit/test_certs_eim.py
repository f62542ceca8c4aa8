"""The eIM in a PKI folder: its signing key is made once and stays, its TLS name is certified, faults are found."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certs import layout
from certs.errors import BadPki
from certs.folder import add_eim, check, init, load, vault_keys
from certs.keys import EIM_SIGNING
from hsm_mock import MockVault

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
def vault(tmp_path: Path) -> MockVault:
    return MockVault.create(tmp_path / "vault.bin", "passphrase", cost=10)


async def test_a_new_folder_has_an_eim_whose_signing_key_is_in_the_vault_alone(
    tmp_path: Path, vault: MockVault
) -> None:
    pki = await init(tmp_path / "pki", vault, eim_names=("eim.example.net",), now=NOW)
    assert pki.eim is not None
    assert (pki.eim.signing_key, pki.eim.names) == (EIM_SIGNING, ("eim.example.net",))
    assert EIM_SIGNING in await vault.labels()
    assert "eim.example.net" in {name for found in (load(tmp_path / "pki").eim,) if found for name in found.names}


async def test_a_new_tls_certificate_keeps_the_key_that_cards_obey(tmp_path: Path, vault: MockVault) -> None:
    before = await init(tmp_path / "pki", vault, now=NOW)
    key = await vault.public_key(EIM_SIGNING)
    after = await add_eim(tmp_path / "pki", vault, names=("eim2.example.com",), now=NOW)
    assert before.eim is not None
    assert after.eim is not None
    assert after.eim.names == ("eim2.example.com",)
    assert after.eim.tls_certificate != before.eim.tls_certificate
    assert await vault.public_key(EIM_SIGNING) == key


async def test_a_folder_without_an_eim_loads_and_can_be_given_one(tmp_path: Path, vault: MockVault) -> None:
    await init(tmp_path / "pki", vault, now=NOW)
    layout.write_index(tmp_path / "pki", replace(layout.read_index(tmp_path / "pki"), eim=None))
    assert load(tmp_path / "pki").eim is None
    assert (await add_eim(tmp_path / "pki", vault, now=NOW)).eim is not None


async def test_a_folder_that_was_not_generated_cannot_certify_an_eim(tmp_path: Path, vault: MockVault) -> None:
    pki = await init(tmp_path / "pki", vault, now=NOW)
    (pki.path / "simulator" / "p256" / "ci.key.pem").unlink()
    with pytest.raises(BadPki, match="was not generated here"):
        await add_eim(tmp_path / "pki", vault, now=NOW)


async def test_check_tells_a_missing_key_and_a_missing_name(tmp_path: Path, vault: MockVault) -> None:
    pki = await init(tmp_path / "pki", vault, now=NOW)
    keys = await vault_keys(pki, vault)
    assert [found for found in check(pki, keys, NOW, eim_names=("eim.example.com",)) if found.subject == "eIM"] == []
    missing = {label: key for label, key in keys.items() if label != EIM_SIGNING}
    texts = [found.text for found in check(pki, missing, NOW, eim_names=("other.example",)) if found.subject == "eIM"]
    assert len(texts) == 2
    assert any("is not in the vault" in text for text in texts)
    assert any("does not name other.example" in text for text in texts)

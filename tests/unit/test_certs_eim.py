"""The eIM in a PKI folder: its signing key is made once and stays, its TLS name is certified, faults are found."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import certs_cases as cases
import pytest
from certs_cases import NOW

from certs import layout, recipe
from certs.errors import BadPki
from certs.folder import Severity, add_eim, check, import_eim, import_set, init, load, vault_keys
from certs.keys import EIM_SIGNING
from crypto.curves import Curve
from hsm_mock import MockVault


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


def eim_files(folder: Path, credential: recipe.Credential) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    (folder / "eim.pem").write_bytes(credential.pem)
    (folder / "eim.key.pem").write_bytes(credential.key_pem)
    return folder / "eim.pem", folder / "eim.key.pem"


def _eim_tls(serial: int = 21) -> recipe.Credential:
    return recipe.eim_tls(recipe.ci(cases.terms(20), Curve.P256), cases.terms(serial), ["eim.example.net"])


async def test_a_set_of_ones_own_brings_an_eim_whose_signing_key_is_made_in_the_vault(
    vault: MockVault, tmp_path: Path
) -> None:
    eim_tls, eim_tls_key = eim_files(tmp_path / "eim", _eim_tls())
    given = replace(cases.written(tmp_path / "in", cases.made()), eim_tls=eim_tls, eim_tls_key=eim_tls_key)
    pki = await import_set(tmp_path / "new", vault, given, now=NOW)
    assert pki.eim is not None
    assert pki.eim.names == ("eim.example.net",)
    assert EIM_SIGNING in await vault.labels()
    found = check(pki, await vault_keys(pki, vault), NOW, cases.NAMES, ("eim.example.net",))
    assert [one for one in found if one.severity is Severity.ERROR] == []


async def test_an_eim_comes_alone_and_its_renewal_keeps_the_key_that_cards_obey(
    vault: MockVault, tmp_path: Path
) -> None:
    own = await import_set(tmp_path / "new", vault, cases.written(tmp_path / "in", cases.made()), now=NOW)
    assert own.eim is None
    first = await import_eim(own.path, vault, *eim_files(tmp_path / "one", _eim_tls()), now=NOW)
    key = await vault.public_key(EIM_SIGNING)
    renewed = await import_eim(own.path, vault, *eim_files(tmp_path / "two", _eim_tls(22)), now=NOW)
    assert first.eim is not None
    assert renewed.eim is not None
    assert first.eim.tls_certificate != renewed.eim.tls_certificate
    assert await vault.public_key(EIM_SIGNING) == key
    assert replace(renewed, eim=None) == own
    (tmp_path / "second").mkdir()
    with pytest.raises(BadPki, match="use the right vault"):
        await import_eim(
            own.path, cases.fresh_vault(tmp_path / "second"), *eim_files(tmp_path / "two", _eim_tls(23)), now=NOW
        )
    again = replace(cases.written(tmp_path / "other", cases.made()), tls=None, tls_key=None)
    assert (await import_set(own.path, vault, again, now=NOW)).eim == renewed.eim


def _brainpool_eim_tls() -> recipe.Credential:
    ci = recipe.ci(cases.terms(20), Curve.BRAINPOOL_P256R1)
    return recipe.eim_tls(ci, cases.terms(21), ["eim.example.net"])


def _nobodys_eim_tls() -> recipe.Credential:
    return recipe.eim_tls(recipe.ci(cases.terms(20), Curve.P256), cases.terms(21), ["192.0.2.1"])


def _late_eim_tls() -> recipe.Credential:
    past = cases.terms(21, NOW - timedelta(days=400))
    return recipe.eim_tls(recipe.ci(cases.terms(20), Curve.P256), past, ["eim.example.net"])


def _client() -> recipe.Credential:
    return recipe.operator(recipe.operator_ca(cases.terms(20)), cases.terms(21), "eim.example.net")


def _of_another_key() -> recipe.Credential:
    return replace(_eim_tls(), key=_eim_tls().key)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (_brainpool_eim_tls, "NIST P-256"),
        (_nobodys_eim_tls, "names no DNS host"),
        (_late_eim_tls, "bring a current one"),
        (_client, "serverAuth"),
        (_of_another_key, "is not the key of"),
    ],
)
async def test_a_broken_eim_is_refused_and_changes_nothing_alone_or_with_a_set(
    made: Callable[[], recipe.Credential], words: str, vault: MockVault, tmp_path: Path
) -> None:
    own = await import_set(tmp_path / "new", vault, cases.written(tmp_path / "in", cases.made()), now=NOW)
    before, labels = cases.tree(own.path), await vault.labels()
    eim_tls, eim_tls_key = eim_files(tmp_path / "eim", made())
    with pytest.raises(BadPki, match=words):
        await import_eim(own.path, vault, eim_tls, eim_tls_key, now=NOW)
    given = replace(cases.written(tmp_path / "other", cases.made()), eim_tls=eim_tls, eim_tls_key=eim_tls_key)
    with pytest.raises(BadPki, match=words):
        await import_set(own.path, vault, given, now=NOW)
    with pytest.raises(BadPki, match="belong together"):
        await import_set(own.path, vault, replace(given, eim_tls_key=None), now=NOW)
    assert (cases.tree(own.path), await vault.labels()) == (before, labels)

"""The mock vault: the contract of all vaults, its file, and the outages operators rehearse with it."""

# ruff: noqa: ASYNC240 -- the tests move the file about between two operations; nothing else runs meanwhile

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vault_contract import VaultContract

import hsm_mock.vault
from crypto import signatures
from crypto.curves import Curve, UnsupportedCurve
from crypto.vault import BadSeal, KeyUnknown, Vault, VaultUnavailable
from hsm_mock import BadVaultFile, MockVault, WrongPassphrase

PASSPHRASE = "correct horse"
QUICK = 10  # the smallest scrypt cost: the tests need no protection against guessing

OPERATIONS: dict[str, Callable[[Vault], Awaitable[object]]] = {
    "sign": lambda vault: vault.sign("p256", b"data"),
    "public_key": lambda vault: vault.public_key("p256"),
    "labels": lambda vault: vault.labels(),
    "wrap": lambda vault: vault.wrap(b"secret", b"context"),
    "unwrap": lambda vault: vault.unwrap(b"wrapped", b"context"),
    "check": lambda vault: vault.check(),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault"


@pytest.fixture
def vault(path: Path) -> MockVault:
    made = MockVault.create(path, PASSPHRASE, cost=QUICK)
    made.generate_key("p256", Curve.P256)
    made.generate_key("brainpool", Curve.BRAINPOOL_P256R1)
    return made


class TestMockVaultKeepsTheContract(VaultContract):
    """The fixture `vault` of this module is what the inherited tests run on."""


async def test_everything_survives_reopening(path: Path, vault: MockVault) -> None:
    wrapped = await vault.wrap(b"secret", b"context")
    again: Vault = MockVault.open(path, PASSPHRASE)
    assert await again.labels() == ("brainpool", "p256")
    signatures.verify(await vault.public_key("p256"), await again.sign("p256", b"data"), b"data")
    assert await again.unwrap(wrapped, b"context") == b"secret"


async def test_imported_key_signs(vault: MockVault) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    vault.import_key("mine", key)
    signatures.verify(key.public_key(), await vault.sign("mine", b"data"), b"data")


async def test_generated_key_is_the_one_that_signs(vault: MockVault) -> None:
    public_key = vault.generate_key("made", Curve.BRAINPOOL_P256R1)
    assert await vault.public_key("made") == public_key


def test_taken_label_is_refused(vault: MockVault) -> None:
    with pytest.raises(ValueError, match="already"):
        vault.generate_key("p256", Curve.P256)


@pytest.mark.parametrize("label", ["", "a b", "../key", "-x", "ä", "x" * 65, "a\n"])
def test_bad_label_is_refused(vault: MockVault, label: str) -> None:
    with pytest.raises(ValueError, match="label"):
        vault.generate_key(label, Curve.P256)


def test_key_on_another_curve_is_refused(vault: MockVault) -> None:
    with pytest.raises(UnsupportedCurve):
        vault.import_key("other", ec.generate_private_key(ec.SECP384R1()))


async def test_wrapping_key_of_another_vault_does_not_fit(vault: MockVault, tmp_path: Path) -> None:
    other = MockVault.create(tmp_path / "other", PASSPHRASE, cost=QUICK)
    with pytest.raises(BadSeal, match="this vault"):
        await other.unwrap(await vault.wrap(b"secret", b"context"), b"context")


def test_wrong_passphrase_is_named(path: Path, vault: MockVault) -> None:
    with pytest.raises(WrongPassphrase) as caught:
        MockVault.open(path, "guess")
    assert "guess" not in str(caught.value)


def test_empty_passphrase_is_refused(path: Path) -> None:
    with pytest.raises(WrongPassphrase):
        MockVault.create(path, "", cost=QUICK)
    assert not path.exists()


def test_existing_file_is_not_overwritten(path: Path, vault: MockVault) -> None:
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        MockVault.create(path, PASSPHRASE, cost=QUICK)
    assert path.read_bytes() == before


def test_missing_file_is_out_of_reach(path: Path) -> None:
    with pytest.raises(VaultUnavailable, match="create"):
        MockVault.open(path, PASSPHRASE)


def test_file_is_for_its_owner_alone_and_nothing_is_left_beside_it(path: Path, vault: MockVault) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_file_hides_keys_and_labels(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    MockVault.create(path, PASSPHRASE, cost=QUICK).import_key("mine", key)
    secret = key.private_numbers().private_value.to_bytes(32, "big")
    content = path.read_bytes()
    assert not any(part in content for part in (secret, secret.hex().encode(), b"mine", PASSPHRASE.encode()))


def test_repr_shows_path_and_labels_only(path: Path, vault: MockVault) -> None:
    assert repr(vault) == f"MockVault(path='{path}', labels=('brainpool', 'p256'))"
    assert vault.is_mock


def test_failed_writing_keeps_the_old_state(path: Path, vault: MockVault, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(VaultUnavailable, match="No space"):
        vault.generate_key("late", Curve.P256)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(KeyUnknown):
        asyncio.run(vault.sign("late", b"data"))


def no_space(_: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("name", OPERATIONS)
async def test_vault_is_out_of_reach_while_its_file_is_away(path: Path, vault: MockVault, name: str) -> None:
    path.rename(path.with_name("away"))
    with pytest.raises(VaultUnavailable):
        await OPERATIONS[name](vault)
    path.with_name("away").rename(path)
    await vault.sign("p256", b"data")


async def test_keys_go_by_the_last_look_for_a_while_and_a_check_never_does(
    path: Path, vault: MockVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(hsm_mock.vault, "monotonic", lambda: now)
    patient = MockVault.open(path, PASSPHRASE, look_seconds=0.05)
    await patient.sign("p256", b"data")
    path.rename(path.with_name("away"))
    now += 0.04
    await patient.sign("p256", b"data")
    now += 0.02
    for _ in range(2):
        with pytest.raises(VaultUnavailable):
            await patient.sign("p256", b"data")
    path.with_name("away").rename(path)
    await patient.sign("p256", b"data")
    path.rename(path.with_name("away"))
    for operation in (patient.check(), patient.labels(), patient.sign("p256", b"data"), patient.sign("x", b"data")):
        with pytest.raises(VaultUnavailable):
            await operation


async def test_a_key_imported_a_moment_ago_is_found_at_once(path: Path, vault: MockVault) -> None:
    patient = MockVault.open(path, PASSPHRASE, look_seconds=3600.0)
    await patient.sign("p256", b"data")
    vault.generate_key("late", Curve.P256)
    await patient.sign("late", b"data")


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("other", ["empty", "text", "other vault"])
async def test_vault_is_out_of_reach_while_another_file_is_in_its_place(
    path: Path, vault: MockVault, name: str, other: str
) -> None:
    shutil.copy2(path, path.with_name("saved"))
    path.unlink()
    if other == "other vault":
        MockVault.create(path, PASSPHRASE, cost=QUICK)
    else:
        path.write_bytes({"empty": b"", "text": b"some text\nmore of it"}[other])
    with pytest.raises(VaultUnavailable):
        await OPERATIONS[name](vault)
    path.with_name("saved").replace(path)
    await vault.sign("p256", b"data")


async def test_damaged_file_puts_the_vault_out_of_reach(path: Path, vault: MockVault) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes((content[-1] ^ 1,)) + b"x")
    with pytest.raises(VaultUnavailable, match="put it back"):
        await vault.check()


async def test_altered_header_puts_the_vault_out_of_reach(path: Path, vault: MockVault) -> None:
    path.write_bytes(path.read_bytes().replace(b'"cost": 10', b'"cost": 9'))
    with pytest.raises(VaultUnavailable, match="put it back"):
        await vault.check()


def test_nothing_is_written_while_the_file_is_away(path: Path, vault: MockVault) -> None:
    path.rename(path.with_name("away"))
    with pytest.raises(VaultUnavailable):
        vault.generate_key("late", Curve.P256)
    assert not path.exists()


async def test_key_imported_by_another_process_is_taken_up(path: Path, vault: MockVault) -> None:
    other = MockVault.open(path, PASSPHRASE)
    public_key = other.generate_key("theirs", Curve.P256)
    assert await vault.public_key("theirs") == public_key
    vault.generate_key("ours", Curve.P256)
    assert await other.labels() == ("brainpool", "ours", "p256", "theirs")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.binary(max_size=80).map(lambda rest: b"{" + rest + b"}\nbody"))
def test_any_file_raises_the_declared_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(content)
    with pytest.raises(BadVaultFile):
        MockVault.open(path, PASSPHRASE)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"null",
        b'{"format": "smdp-flex mock vault 1", "cost": 30, "blocks": 8, "salt": "00"}',
        b'{"format": "smdp-flex mock vault 1", "cost": [], "blocks": 8, "salt": "00"}',
        b'{"format": "smdp-flex mock vault 1", "cost": 10, "blocks": 8, "salt": 7}',
        b'{"format": "smdp-flex mock vault 1", "cost": 10, "blocks": 8, "salt": "zz"}',
        b'{"format": "smdp-flex mock vault 2", "cost": 10, "blocks": 8, "salt": "00"}',
        b"[" * 5000,
    ],
)
def test_strange_header_raises_the_declared_error(path: Path, header: bytes) -> None:
    path.write_bytes(header + b"\nbody")
    with pytest.raises(BadVaultFile):
        MockVault.open(path, PASSPHRASE)


def test_altered_header_does_not_open(path: Path, vault: MockVault) -> None:
    path.write_bytes(path.read_bytes().replace(b'"cost": 10', b'"cost": 11'))
    with pytest.raises(WrongPassphrase):
        MockVault.open(path, PASSPHRASE)


def test_folder_in_the_place_of_the_file_is_out_of_reach(path: Path) -> None:
    path.mkdir()
    with pytest.raises(VaultUnavailable):
        MockVault.open(path, PASSPHRASE)

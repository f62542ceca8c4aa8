"""What `check` finds in a PKI folder, and what the list of its certificates shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import certs_cases as cases
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs import files, listing, recipe
from certs.checking import PublicKeys
from certs.folder import (
    Finding,
    PkiFolder,
    Severity,
    check,
    entries,
    import_set,
    init,
    issue_operator_certificate,
    load,
    vault_keys,
)
from crypto.certificates import parse_certificate
from crypto.curves import Curve
from hsm_mock import MockVault


@pytest.fixture
def vault(tmp_path: Path) -> MockVault:
    return cases.fresh_vault(tmp_path)


@pytest.fixture
async def pki(tmp_path: Path, vault: MockVault) -> PkiFolder:
    """A set brought from outside, so that nothing is to be said about it."""
    given = cases.written(tmp_path / "in", cases.made())
    return await import_set(tmp_path / "pki", vault, given, now=cases.NOW)


async def findings(pki: PkiFolder, vault: MockVault, now: datetime = cases.NOW) -> list[Finding]:
    return judged(pki, await vault_keys(pki, vault), now)


def judged(pki: PkiFolder, keys: PublicKeys, now: datetime = cases.NOW, names: Sequence[str] = ()) -> list[Finding]:
    """All but what is said of revocation lists, which `test_certs_revocation` is about."""
    return [one for one in check(pki, keys, now, names) if "revocation list" not in one.text]


def tls_end(pki: PkiFolder) -> datetime:
    return parse_certificate(files.read_certificate(pki.tls_certificate)).not_after


async def test_good_folder_gives_no_findings(pki: PkiFolder, vault: MockVault) -> None:
    assert await findings(pki, vault) == []


async def test_generated_folder_is_warned_about_and_nothing_else(tmp_path: Path, vault: MockVault) -> None:
    made = await init(tmp_path / "generated", vault, now=cases.NOW)
    found = await findings(made, vault)
    assert [(one.severity, "generated test material" in one.text) for one in found] == [(Severity.WARNING, True)]


@pytest.mark.parametrize(
    ("days", "severity"), [(89, Severity.NOTICE), (29, Severity.WARNING), (6, Severity.URGENT), (0, Severity.URGENT)]
)
async def test_expiry_is_announced_at_90_30_and_7_days(
    pki: PkiFolder, vault: MockVault, days: int, severity: Severity
) -> None:
    now = tls_end(pki) - timedelta(days=days, hours=1)
    found = await findings(pki, vault, now)
    assert [(one.severity, f"in {days} days" in one.text) for one in found if one.subject.startswith("tls")] == [
        (severity, True)
    ]


async def test_nothing_is_said_before_90_days(pki: PkiFolder, vault: MockVault) -> None:
    assert await findings(pki, vault, tls_end(pki) - timedelta(days=90)) == []


async def test_expired_certificate_is_one_error(pki: PkiFolder, vault: MockVault) -> None:
    found = await findings(pki, vault, tls_end(pki) + timedelta(seconds=1))
    assert [(one.severity, one.text.split(" on ")[0]) for one in found] == [(Severity.ERROR, "expired")]


async def test_expired_operator_certificate_does_not_stop_the_server(pki: PkiFolder, vault: MockVault) -> None:
    issue_operator_certificate(pki.path, "operator-a", cases.NOW - timedelta(days=400))
    found = await findings(pki, vault)
    assert [(one.severity, one.subject) for one in found] == [(Severity.WARNING, "operator CN=operator-a")]


async def test_clock_before_the_certificates_is_an_error(pki: PkiFolder, vault: MockVault) -> None:
    found = await findings(pki, vault, cases.NOW - timedelta(days=2))
    assert "check the clock" in found[0].text
    assert found[0].severity is Severity.ERROR


async def test_key_missing_from_the_vault_is_named_by_its_label(pki: PkiFolder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = await findings(pki, cases.fresh_vault(tmp_path / "empty"))
    assert [one.severity for one in found] == [Severity.ERROR] * 2
    assert {label for one in found for label in (pki.dp[0].auth_key, pki.dp[0].pb_key) if label in one.text} == {
        pki.dp[0].auth_key,
        pki.dp[0].pb_key,
    }


async def test_other_key_under_the_label_is_found(pki: PkiFolder, vault: MockVault) -> None:
    keys = await vault_keys(pki, vault)
    keys[pki.dp[0].auth_key] = keys[pki.dp[0].pb_key]
    assert ["is another one" in one.text for one in judged(pki, keys)] == [True]


async def test_set_of_an_unknown_ci_is_found(pki: PkiFolder, vault: MockVault) -> None:
    strange = replace(pki, ci_certificates=(cases.made().ci.der,))
    found = await findings(strange, vault)
    assert [one.severity for one in found] == [Severity.ERROR] * 3
    assert all("not trusted here" in one.text for one in found)


async def test_ci_that_is_none_is_found(pki: PkiFolder, vault: MockVault) -> None:
    strange = replace(pki, ci_certificates=(*pki.ci_certificates, pki.dp[0].auth_certificate))
    found = await findings(strange, vault)
    assert ["cannot be trusted" in one.text for one in found] == [True]


async def test_certificate_in_the_wrong_role_is_found(pki: PkiFolder, vault: MockVault) -> None:
    swapped = replace(pki.dp[0], pb_certificate=pki.dp[0].auth_certificate, pb_key=pki.dp[0].auth_key)
    found = await findings(replace(pki, dp=(swapped,)), vault)
    assert ["DP_PB" in one.text for one in found] == [True]


async def test_other_oid_in_dppb_is_found(tmp_path: Path, vault: MockVault) -> None:
    made = cases.made()
    pki = await import_set(tmp_path / "pki", vault, cases.written(tmp_path / "in", made), now=cases.NOW)
    other = recipe.dp_pb(made.ci, recipe.Terms(now=cases.NOW, serial=9, key=made.pb.key), "2.999.11")
    found = await findings(replace(pki, dp=(replace(pki.dp[0], pb_certificate=other.der),)), vault)
    assert ["both must be of one SM-DP+" in one.text for one in found] == [True]


async def test_two_oids_under_two_cis_are_noticed(tmp_path: Path, vault: MockVault) -> None:
    pki = await init(tmp_path / "pki", vault, now=cases.NOW)
    found = await findings(replace(pki, dp=(pki.dp[0], replace(pki.dp[1], oid="2.999.11"))), vault)
    assert [one for one in found if one.severity is Severity.NOTICE and "2.999.11" in one.text]


async def test_name_devices_use_must_be_in_the_tls_certificate(pki: PkiFolder, vault: MockVault) -> None:
    keys = await vault_keys(pki, vault)
    assert judged(pki, keys, cases.NOW, ["TESTsmdpplus1.example.com"]) == []
    found = judged(pki, keys, cases.NOW, ["testsmdpplus1.example.com", "other.example.com"])
    assert ["does not name other.example.com" in one.text for one in found] == [True]


async def test_wrong_and_missing_tls_keys_are_found(pki: PkiFolder, vault: MockVault) -> None:
    pki.tls_key.write_bytes(cases.made().tls.key_pem)
    assert ["is not its key" in one.text for one in await findings(pki, vault)] == [True]
    pki.tls_key.unlink()
    assert ["cannot be read" in one.text for one in await findings(pki, vault)] == [True]


async def test_wrong_tls_key_is_told_with_the_command_that_brings_the_right_one(
    tmp_path: Path, vault: MockVault
) -> None:
    pki = await init(tmp_path / "pki", vault, now=cases.NOW)
    assert pki.eim is not None
    for file, subject, option in ((pki.tls_key, "DP_TLS", "--tls`"), (pki.eim.tls_key, "eIM", "--eim-tls`")):
        right = file.read_bytes()
        file.write_bytes(cases.made().tls.key_pem)
        (found,) = [one for one in await findings(pki, vault) if one.severity is Severity.ERROR]
        assert (found.subject, option in found.text) == (subject, True)
        file.write_bytes(right)


async def test_tls_certificate_that_is_no_clients_is_warned_about(tmp_path: Path, vault: MockVault) -> None:
    made = cases.made()
    pki = await import_set(tmp_path / "pki", vault, cases.written(tmp_path / "in", made), now=cases.NOW)
    original = x509.load_pem_x509_certificate(pki.tls_certificate.read_bytes())
    builder = (
        x509.CertificateBuilder()
        .subject_name(original.subject)
        .issuer_name(original.issuer)
        .serial_number(original.serial_number)
        .public_key(original.public_key())
        .not_valid_before(original.not_valid_before_utc)
        .not_valid_after(original.not_valid_after_utc)
    )
    for extension in original.extensions:
        usage = isinstance(extension.value, x509.ExtendedKeyUsage)
        value = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]) if usage else extension.value
        builder = builder.add_extension(value, critical=extension.critical)
    signed = builder.sign(made.ci.key, hashes.SHA256())
    pki.tls_certificate.write_bytes(signed.public_bytes(Encoding.PEM))
    found = await findings(pki, vault)
    assert [(one.severity, "clientAuth" in one.text) for one in found] == [(Severity.WARNING, True)]


async def test_tls_key_open_to_others_is_warned_about(pki: PkiFolder, vault: MockVault) -> None:
    pki.tls_key.chmod(0o644)
    found = await findings(pki, vault)
    assert [(one.severity, "chmod 600" in one.text) for one in found] == [(Severity.WARNING, True)]


@cases.needs_sgp26
async def test_published_test_ci_is_warned_about(tmp_path: Path, vault: MockVault) -> None:
    given = cases.sgp26_set(Curve.P256, tls=tmp_path / "fresh")
    pki = await import_set(tmp_path / "pki", vault, given, now=cases.NOW)
    found = await findings(pki, vault)
    assert [(one.severity, "published SGP.26" in one.text) for one in found] == [(Severity.WARNING, True)]


async def test_worst_findings_come_first(tmp_path: Path, vault: MockVault) -> None:
    pki = await init(tmp_path / "pki", vault, now=cases.NOW)
    found = await findings(pki, vault, tls_end(pki) + timedelta(days=1))
    assert found == sorted(found, key=lambda one: -one.severity)
    assert found[0].severity is Severity.ERROR


async def test_list_shows_every_certificate_in_use_once(tmp_path: Path, vault: MockVault) -> None:
    pki = await init(tmp_path / "pki", vault, now=cases.NOW)
    roles = [row.role for row in entries(pki)]
    assert sorted(roles) == sorted(
        ["ci", "auth", "pb", "eum", "euicc"] * 2 + ["tls", "eim-tls", "operator-ca", "operator", "operator", "callback"]
    )
    assert set(roles) == set(listing.ROLES)


async def test_days_left_are_negative_after_the_end(pki: PkiFolder) -> None:
    row = next(row for row in entries(load(pki.path)) if row.role == "tls")
    assert row.days_left(row.not_after - timedelta(days=3)) == 3
    assert row.days_left(row.not_after + timedelta(hours=1)) < 0

"""Revocation lists in a PKI folder: how they come in, what is believed, what `smdp pki` says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certs_cases as cases
import pytest
from certs_cases import NOW
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from test_certs_command import PASSPHRASE, run
from typer.testing import CliRunner

from certs import files, recipe, revocation
from certs.folder import BadPki, Finding, PkiFolder, Severity, check, import_lists, import_set, import_tls, vault_keys
from certs.recipe import Credential
from crypto.certificates import TrustStore
from hsm_mock import MockVault
from server.__main__ import application
from server.settings import PREFIX
from tests.revocation_lists import ListPlan, point, signed_list

MADE = cases.made()
PLAN = ListPlan(this_update=NOW - timedelta(days=1), next_update=NOW + timedelta(days=30))
SCOPED = replace(PLAN, extensions=((point("http://ci.example/CRL-A.crl"), True),))


@pytest.fixture
def vault(tmp_path: Path) -> MockVault:
    return cases.fresh_vault(tmp_path)


@pytest.fixture
async def pki(tmp_path: Path, vault: MockVault) -> PkiFolder:
    return await import_set(tmp_path / "pki", vault, cases.written(tmp_path / "in", MADE), now=NOW)


def brought(folder: Path, plan: ListPlan, name: str = "list.crl", ci: Credential = MADE.ci) -> Path:
    """A list as a file, as its CI would deliver it."""
    file = folder / name
    file.write_bytes(signed_list(ci.der, ci.key, plan))
    return file


def lists(pki: PkiFolder, now: datetime = NOW) -> revocation.Found:
    return revocation.read(pki.path, TrustStore(pki.ci_certificates), now)


def numbers(pki: PkiFolder) -> list[int]:
    return sorted(one.found.number for one in lists(pki).lists)


async def findings(pki: PkiFolder, vault: MockVault, now: datetime = NOW) -> list[Finding]:
    return check(pki, await vault_keys(pki, vault), now)


# Bringing them --------------------------------------------------------------------------------------------------------


def test_newer_list_takes_the_file_of_the_older_one(pki: PkiFolder, tmp_path: Path) -> None:
    (first,) = import_lists(pki.path, [brought(tmp_path, PLAN)], now=NOW)
    (second,) = import_lists(pki.path, [brought(tmp_path, replace(PLAN, number=2, serials=(5,)))], now=NOW)
    assert first.file == second.file
    assert second.file.read_bytes() == second.found.der
    assert numbers(pki) == [2]


def test_older_list_is_not_taken_and_changes_nothing(pki: PkiFolder, tmp_path: Path) -> None:
    import_lists(pki.path, [brought(tmp_path, replace(PLAN, number=2))], now=NOW)
    before = cases.tree(pki.path)
    with pytest.raises(BadPki, match=r"list\.crl is not taken: its number 1 is older than 2"):
        import_lists(pki.path, [brought(tmp_path, PLAN)], now=NOW)
    assert cases.tree(pki.path) == before


def test_one_bad_list_among_several_keeps_all_out(pki: PkiFolder, tmp_path: Path) -> None:
    good, bad = brought(tmp_path, PLAN, "good.crl"), brought(tmp_path, replace(SCOPED, number=None), "bad.crl")
    with pytest.raises(BadPki, match=r"bad\.crl is not taken: it has no number"):
        import_lists(pki.path, [good, bad], now=NOW)
    assert revocation.candidates(pki.path) == []


def test_lists_of_different_scope_have_files_of_their_own(pki: PkiFolder, tmp_path: Path) -> None:
    a = brought(tmp_path, replace(SCOPED, number=7), "a.crl")
    taken = import_lists(pki.path, [brought(tmp_path, PLAN), a], now=NOW)
    assert len({one.file for one in taken}) == 2
    assert numbers(pki) == [1, 7]


def test_same_list_again_is_no_fault(pki: PkiFolder, tmp_path: Path) -> None:
    file = brought(tmp_path, PLAN)
    import_lists(pki.path, [file], now=NOW)
    before = cases.tree(pki.path)
    import_lists(pki.path, [file], now=NOW)
    assert cases.tree(pki.path) == before


def test_list_may_be_pem(pki: PkiFolder, tmp_path: Path) -> None:
    file = brought(tmp_path, PLAN)
    pem = x509.load_der_x509_crl(file.read_bytes()).public_bytes(Encoding.PEM)
    file.write_bytes(pem)
    import_lists(pki.path, [file], now=NOW)
    assert numbers(pki) == [1]
    file.write_bytes(pem + pem)
    with pytest.raises(BadPki, match="exactly one"):
        import_lists(pki.path, [file], now=NOW)


@pytest.mark.parametrize("content", [b"garbage", b"-----BEGIN X509 CRL-----\ngarbage\n-----END X509 CRL-----\n"])
def test_other_files_are_not_taken(pki: PkiFolder, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "list.crl"
    file.write_bytes(content)
    with pytest.raises(BadPki, match=r"list\.crl"):
        import_lists(pki.path, [file], now=NOW)


def test_certificate_that_is_revoked_is_not_imported(pki: PkiFolder, tmp_path: Path) -> None:
    fresh = recipe.dp_tls(MADE.ci, cases.terms(77), cases.NAMES)
    import_lists(pki.path, [brought(tmp_path, replace(PLAN, serials=(77,)))], now=NOW)
    (tmp_path / "tls.pem").write_bytes(fresh.pem)
    (tmp_path / "tls.key.pem").write_bytes(fresh.key_pem)
    with pytest.raises(BadPki, match="has revoked it"):
        import_tls(pki.path, tmp_path / "tls.pem", tmp_path / "tls.key.pem", now=NOW)


async def test_set_that_is_revoked_is_not_imported(pki: PkiFolder, vault: MockVault, tmp_path: Path) -> None:
    import_lists(pki.path, [brought(tmp_path, replace(PLAN, serials=(MADE.pb.certificate.serial_number,)))], now=NOW)
    with pytest.raises(BadPki, match=r"DP_PB under this CI: .* has revoked it"):
        await import_set(pki.path, vault, cases.written(tmp_path / "in", MADE), now=NOW, replacing=True)


# What lies in the folder ----------------------------------------------------------------------------------------------


def test_newest_of_several_files_counts(pki: PkiFolder, tmp_path: Path) -> None:
    folder = pki.path / "crl"
    folder.mkdir()
    brought(folder, replace(PLAN, number=3), "a.crl")
    brought(folder, replace(PLAN, number=2), "b.crl")
    found = lists(pki)
    assert [(one.file.name, one.found.number) for one in found.lists] == [("a.crl", 3)]
    assert found.faults == ()


def test_bad_file_is_told_and_keeps_no_other_from_counting(pki: PkiFolder) -> None:
    folder = pki.path / "crl"
    folder.mkdir()
    brought(folder, PLAN, "good.crl")
    brought(folder, PLAN, "strange.crl", ci=cases.made().ci)
    (folder / "empty.crl").write_bytes(b"")
    (folder / ".good.crl.x7").write_bytes(b"half of it")
    found = lists(pki)
    assert [one.file.name for one in found.lists] == ["good.crl"]
    assert [file.name for file, _ in found.faults] == ["empty.crl", "strange.crl"]
    assert not found.is_early


def test_list_that_begins_later_is_told_to_be_early(pki: PkiFolder) -> None:
    (pki.path / "crl").mkdir()
    brought(pki.path / "crl", replace(PLAN, this_update=NOW + timedelta(hours=1)))
    found = lists(pki)
    assert (found.lists, len(found.faults), found.is_early) == ((), 1, True)
    assert len(lists(pki, NOW + timedelta(hours=1)).lists) == 1


# The check ------------------------------------------------------------------------------------------------------------


async def test_ci_without_a_list_is_noticed(pki: PkiFolder, vault: MockVault, tmp_path: Path) -> None:
    (found,) = await findings(pki, vault)
    assert (found.severity, found.subject) == (Severity.NOTICE, f"ci {MADE.ci.key_id.hex().upper()}")
    assert "no revocation list" in found.text
    import_lists(pki.path, [brought(tmp_path, PLAN)], now=NOW)
    assert await findings(pki, vault) == []


async def test_overdue_list_is_urgent_and_stops_nothing(pki: PkiFolder, vault: MockVault, tmp_path: Path) -> None:
    (taken,) = import_lists(pki.path, [brought(tmp_path, PLAN)], now=NOW)
    assert await findings(pki, vault, taken.found.next_update) == []
    (found,) = await findings(pki, vault, taken.found.next_update + timedelta(seconds=1))
    assert found.severity is Severity.URGENT
    assert "was to be replaced on 2026-12-22" in found.text


async def test_file_that_is_no_list_is_urgent(pki: PkiFolder, vault: MockVault, tmp_path: Path) -> None:
    (taken,) = import_lists(pki.path, [brought(tmp_path, PLAN)], now=NOW)
    (taken.file.parent / "other").write_bytes(b"garbage")
    (found,) = await findings(pki, vault)
    assert (found.severity, found.subject) == (Severity.URGENT, str(taken.file.parent / "other"))


@pytest.mark.parametrize(("name", "subject"), [("auth", "DP_AUTH"), ("pb", "DP_PB"), ("tls", "DP_TLS"), ("ci", None)])
async def test_own_certificate_that_is_revoked_is_an_error(
    pki: PkiFolder, vault: MockVault, tmp_path: Path, name: str, subject: str | None
) -> None:
    serial = getattr(MADE, name).certificate.serial_number
    import_lists(pki.path, [brought(tmp_path, replace(PLAN, serials=(serial,)))], now=NOW)
    found = await findings(pki, vault)
    assert {one.severity for one in found} == {Severity.ERROR}
    assert all("has revoked" in one.text for one in found)
    subjects = [one.subject.partition(" ")[0] for one in found]
    assert subjects == ([subject] if subject else ["DP_AUTH", "DP_PB", "DP_TLS"])


# The commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Credential:
    """A generated folder in the working directory, of today; answers its CI on P-256."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PREFIX + "VAULT_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv(PREFIX + "CONFIG", "")
    assert run("init").exit_code == 0
    folder = Path("var/pki/simulator/p256")
    certificate = x509.load_der_x509_certificate((folder / "ci.der").read_bytes())
    return Credential(certificate=certificate, key=files.read_key(folder / "ci.key.pem"))


def today(**changes: object) -> ListPlan:
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    return replace(ListPlan(number=12, this_update=start, next_update=start + timedelta(days=30)), **changes)  # type: ignore[arg-type]


def test_import_and_list_show_issuer_number_entries_and_dates(place: Credential, tmp_path: Path) -> None:
    brought(tmp_path, today(serials=(1, 2)), ci=place)
    shown = run("import", "--crl", "list.crl")
    assert shown.exit_code == 0, shown.output
    columns, row = shown.stdout.splitlines()
    assert columns.split() == ["crl", "issuer", "number", "revoked", "thisUpdate", "nextUpdate", "daysLeft", "from"]
    assert row.split()[0] == place.key_id.hex()[:8]
    assert row in run("list").stdout
    assert run("list", "--role", "crl").stdout == shown.stdout
    (listed,) = json.loads(run("list", "--role", "crl", "--json").stdout)
    assert listed["subject"] == place.certificate.subject.rfc4514_string()
    assert (listed["role"], listed["number"], listed["revoked"], listed["daysLeft"]) == ("crl", 12, 2, 29)
    assert listed["source"] == f"crl/{place.key_id.hex()}.crl"
    assert json.loads(run("import", "--crl", "list.crl", "--json").stdout) == [listed]


def test_list_is_among_what_is_due_soon(place: Credential, tmp_path: Path) -> None:
    brought(tmp_path, today(), ci=place)
    run("import", "--crl", "list.crl")
    assert [row["role"] for row in json.loads(run("list", "--expiring", "29", "--json").stdout)] == ["crl"]
    assert json.loads(run("list", "--expiring", "28", "--json").stdout) == []
    assert "revocation" not in run("list", "--expiring", "28").stdout


def test_without_lists_there_are_none(place: Credential) -> None:
    assert run("list", "--role", "crl").stdout == "There are no revocation lists.\n"


def test_lists_come_alone(place: Credential, tmp_path: Path) -> None:
    refused = run("import", "--crl", "list.crl", "--tls", "tls.pem")
    assert refused.exit_code == 1
    assert "come alone" in refused.stderr


def test_refused_list_is_one_sentence(place: Credential, tmp_path: Path) -> None:
    brought(tmp_path, today(), ci=cases.made().ci)
    refused = run("import", "--crl", "list.crl")
    assert refused.exit_code == 1
    assert "no CI that is trusted here" in refused.stderr
    assert "Traceback" not in refused.output


def test_revoked_test_eum_is_a_warning_and_a_revoked_certificate_of_ours_starts_no_server(
    place: Credential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    eum = x509.load_der_x509_certificate(Path("var/pki/simulator/p256/eum.der").read_bytes())
    brought(tmp_path, today(serials=(eum.serial_number,)), ci=place)
    run("import", "--crl", "list.crl")
    checked = run("check")
    assert (checked.exit_code, "its cards are refused" in checked.stdout) == (0, True)
    (auth,) = Path("var/pki/dp").glob(f"{place.key_id.hex()[:8]}-*/auth.der")
    serial = x509.load_der_x509_certificate(auth.read_bytes()).serial_number
    brought(tmp_path, today(number=13, serials=(serial,)), ci=place)
    run("import", "--crl", "list.crl")
    checked = run("check")
    assert (checked.exit_code, "has revoked it, see its list number 13" in checked.stdout) == (1, True)
    started = CliRunner().invoke(application(), ["serve", "--check"])
    assert (started.exit_code, "ERROR: DP_AUTH" in started.stdout) == (1, True)

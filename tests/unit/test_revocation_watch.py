"""A running process and its revocation lists: what comes into the folder is in force soon, and nothing goes back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import certs_cases as cases
import pytest
from certs_cases import NOW
from structlog.testing import capture_logs

from certs import revocation
from certs.folder import PkiFolder, import_lists, import_set
from crypto.certificates import CertificateRejected, Fault, TrustStore
from server.revocations import RevocationWatch
from tests.revocation_lists import ListPlan, signed_list

MADE = cases.made()
EUM = MADE.eum.certificate.serial_number
PLAN = ListPlan(this_update=NOW - timedelta(days=1), next_update=NOW + timedelta(days=30))


@dataclass(slots=True)
class Process:
    """What looks, and a clock that tests move."""

    pki: PkiFolder
    trust: TrustStore
    at: datetime = NOW
    watch: RevocationWatch | None = None

    def put(self, plan: ListPlan, name: str = "list.crl") -> Path:
        """A file that somebody laid into the folder by hand."""
        file = self.pki.path / "crl" / name
        file.parent.mkdir(exist_ok=True)
        scratch = file.with_name(f".{name}")
        scratch.write_bytes(signed_list(MADE.ci.der, MADE.ci.key, plan))
        return scratch.replace(file)

    def refused(self) -> bool:
        try:
            self.trust.verify_euicc(MADE.eum.der, MADE.euicc.der, NOW)
        except CertificateRejected as rejected:
            return rejected.fault is Fault.EUM_REVOKED
        return False

    def look(self) -> list[tuple[str, str]]:
        """What the look logs: level and first words."""
        assert self.watch is not None
        with capture_logs() as logged:
            self.watch.look()
        return [(line["log_level"], line["event"].partition(":")[0]) for line in logged]


@pytest.fixture
async def process(tmp_path: Path) -> Process:
    given = cases.written(tmp_path / "in", MADE)
    pki = await import_set(tmp_path / "pki", cases.fresh_vault(tmp_path), given, now=NOW)
    running = Process(pki, TrustStore(pki.ci_certificates))
    running.watch = RevocationWatch(pki, running.trust, lambda: running.at)
    assert running.look() == []
    return running


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """One entry for each time the lists are read."""
    found: list[Any] = []
    read = revocation.read

    def counted(*arguments: Any) -> revocation.Found:
        found.append(arguments)
        return read(*arguments)

    monkeypatch.setattr(revocation, "read", counted)
    return found


def test_chain_in_use_is_refused_after_the_next_look(process: Process, tmp_path: Path) -> None:
    assert not process.refused()
    (tmp_path / "new.crl").write_bytes(signed_list(MADE.ci.der, MADE.ci.key, replace(PLAN, serials=(EUM,))))
    import_lists(process.pki.path, [tmp_path / "new.crl"], now=NOW)
    assert not process.refused()
    assert process.look() == [("info", "revocation list in force")]
    assert process.refused()


def test_folder_that_did_not_change_is_not_read(process: Process, reads: list[Any]) -> None:
    process.put(PLAN)
    process.look()
    process.look()
    assert len(reads) == 1


def test_older_file_in_its_place_changes_nothing(process: Process) -> None:
    process.put(replace(PLAN, number=2, serials=(EUM,)))
    process.look()
    process.put(PLAN)
    assert process.look() == [("warning", "revocation list ignored")]
    assert process.look() == []
    assert process.refused()


def test_file_that_is_gone_changes_nothing(process: Process) -> None:
    file = process.put(replace(PLAN, serials=(EUM,)))
    process.look()
    file.unlink()
    assert process.look() == []
    assert process.refused()


def test_newer_list_that_names_a_certificate_no_more_gives_it_back(process: Process) -> None:
    process.put(replace(PLAN, serials=(EUM,)))
    process.look()
    process.put(replace(PLAN, number=2))
    process.look()
    assert not process.refused()


def test_list_that_begins_later_is_taken_up_then(process: Process) -> None:
    process.put(replace(PLAN, serials=(EUM,), this_update=NOW + timedelta(hours=1)))
    assert process.look() == [("warning", "revocation list ignored")]
    assert process.look() == []
    process.at += timedelta(hours=1)
    assert process.look() == [("info", "revocation list in force")]
    assert process.refused()


def test_overdue_list_is_told_once_and_keeps_its_effect(process: Process) -> None:
    process.put(replace(PLAN, serials=(EUM,)))
    process.look()
    process.at = PLAN.next_update + timedelta(seconds=1)
    assert process.look() == [("warning", "revocation list overdue")]
    assert process.look() == []
    assert process.refused()


def test_bad_file_is_told_once_and_does_not_hide_a_good_one(process: Process) -> None:
    process.put(replace(PLAN, number=None), "bad.crl")
    process.put(replace(PLAN, serials=(EUM,)), "good.crl")
    assert sorted(process.look()) == [("info", "revocation list in force"), ("warning", "revocation list ignored")]
    assert process.look() == []
    assert process.refused()


@pytest.mark.parametrize("name", ["auth", "pb", "tls"])
def test_own_certificate_that_is_revoked_is_an_error_in_the_log(process: Process, name: str) -> None:
    process.put(replace(PLAN, serials=(getattr(MADE, name).certificate.serial_number,)))
    assert process.look() == [("info", "revocation list in force"), ("error", "own certificate is revoked")]

"""`smdp db` as a person runs it: on the database in a data folder, and on one of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rsp.errors import Unavailable
from server.commands.db import app
from store import migrate
from store.embedded import EmbeddedPostgres
from store.postmaster import processes_of


@pytest.fixture(autouse=True)
def settings_of_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a settings file here nor variables of this machine change what a test sees."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMDP_FLEX_DATABASE_URL", "")


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def test_the_database_in_the_data_folder_is_made_shown_and_checked(tmp_path: Path) -> None:
    folder = ("--data-dir", str(tmp_path / "var"))
    made = run("upgrade", "--json", *folder)
    assert json.loads(made.output) == {"before": None, "after": migrate.head()}
    assert "already" in run("upgrade", *folder).output
    assert "up to date" in run("status", *folder).output
    checked = run("check", *folder)
    assert (checked.exit_code, checked.output) == (0, "The database is in order.\n")
    assert processes_of(EmbeddedPostgres(tmp_path / "var").cluster) == []


def test_looking_does_not_make_a_database(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="smdp db upgrade makes one"):
        run("status", "--data-dir", str(tmp_path / "var"))
    assert not (tmp_path / "var").exists()


def test_a_database_of_ones_own_is_used(monkeypatch: pytest.MonkeyPatch, empty_database: str) -> None:
    monkeypatch.setenv("SMDP_FLEX_DATABASE_URL", empty_database)
    shown = json.loads(run("status", "--json").output)
    assert (shown["revision"], shown["isCurrent"]) == (None, False)
    assert run("check").exit_code == 1
    assert "from nothing to" in run("upgrade").output
    assert json.loads(run("check", "--json").output) == {"problems": []}


def test_the_help_of_every_verb_has_an_example() -> None:
    for verb in ("upgrade", "status", "check"):
        assert "Example: smdp db" in run(verb, "--help").output

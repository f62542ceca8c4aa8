"""`smdp pki`: what its verbs print, write and answer as exit codes."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import certs_cases as cases
import pytest
from typer.testing import CliRunner

from certs import recipe
from certs.folder import load
from certs.listing import PEERS, ROLES
from server.__main__ import application, main
from server.commands.pki import RoleName
from server.settings import PREFIX

PASSPHRASE = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PREFIX + "VAULT_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv(PREFIX + "CONFIG", "")
    monkeypatch.setenv("COLUMNS", "200")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a person at the keyboard gets."""

    exit_code: object
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


def run(*arguments: str) -> Result:
    """`smdp pki` as started from a shell, with the words it has for errors."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["smdp", "pki", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    return Result(exit_code=ended.value.code or 0, stdout=out.getvalue(), stderr=err.getvalue())


def test_init_makes_a_folder_that_check_accepts() -> None:
    assert run("init").exit_code == 0
    checked = run("check")
    assert checked.exit_code == 0, checked.output
    assert "generated test material" in checked.output
    assert load(Path("var/pki")).names == ("smdp.example.com",)


def test_init_takes_names_curves_and_places() -> None:
    result = run(
        "init", "--name", "a.example.com", "--curve", "p256", "--pki-dir", "here", "--vault-file", "v/x.bin", "--json"
    )
    shown = json.loads(result.stdout)
    assert (shown["names"], shown["path"], len(shown["sets"])) == (["a.example.com"], "here", 1)
    assert Path("v/x.bin").exists()


def test_init_refuses_a_second_time_in_one_sentence() -> None:
    run("init")
    again = run("init")
    assert again.exit_code == 1
    assert again.stderr.startswith("smdp: var/pki exists")
    assert again.stderr.count("\n") == 1


def test_passphrase_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PREFIX + "VAULT_PASSPHRASE")
    Path("secret").write_text(PASSPHRASE + "\n")
    assert run("init", "--passphrase-file", "secret").exit_code == 0
    monkeypatch.setenv(PREFIX + "VAULT_PASSPHRASE", PASSPHRASE)
    assert run("check").exit_code == 0


def test_missing_passphrase_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PREFIX + "VAULT_PASSPHRASE")
    result = run("init")
    assert result.exit_code == 1
    assert PREFIX + "VAULT_PASSPHRASE" in result.stderr


def test_wrong_passphrase_is_told_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run("init")
    monkeypatch.setenv(PREFIX + "VAULT_PASSPHRASE", "not the right one")
    result = run("check")
    assert result.exit_code == 1
    assert "passphrase" in result.stderr
    assert "not the right one" not in result.output


def test_passphrase_and_keys_never_show() -> None:
    shown = run("init").output + run("list").output + run("check").output + run("list", "--json").output
    assert PASSPHRASE not in shown
    assert "PRIVATE" not in shown


def test_check_answers_1_on_errors_and_lists_them() -> None:
    run("init")
    Path("var/vault.bin").unlink()
    run("init", "--pki-dir", "other")
    result = run("check", "--json")
    assert result.exit_code == 1
    assert {one["severity"] for one in json.loads(result.stdout)} == {"ERROR", "WARNING"}


def test_check_holds_the_server_names_against_the_tls_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    run("init")
    monkeypatch.setenv(PREFIX + "SERVER_NAMES", "elsewhere.example.com")
    result = run("check")
    assert result.exit_code == 1
    assert "does not name elsewhere.example.com" in result.output


def test_check_and_the_check_of_the_server_find_the_same_fault_of_the_eim(monkeypatch: pytest.MonkeyPatch) -> None:
    run("init")
    assert run("eim", "--name", "eim2.example.com").exit_code == 0
    for result in (run("check"), CliRunner().invoke(application(), ["serve", "--check"])):
        assert result.exit_code == 1
        assert "does not name eim.example.com" in result.output
    monkeypatch.setenv(PREFIX + "EIM_NAMES", "eim2.example.com")
    assert run("check").exit_code == 0


def test_eim_tells_what_it_made_and_which_setting_must_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    run("init")
    told = run("eim", "--name", "eim2.example.com").stdout
    made = load(Path("var/pki")).eim
    assert made is not None
    assert "an eIM for eim2.example.com" in told
    assert str(made.tls_certificate) in told
    assert made.signing_key in told
    assert "set eim_names (now eim.example.com)" in told
    monkeypatch.setenv(PREFIX + "EIM_NAMES", "eim2.example.com")
    assert "set eim_names" not in run("eim").stdout
    shown = json.loads(run("eim", "--json").stdout)
    assert set(shown) == {"path", "names", "certificate", "key", "notAfter", "vaultKey"}
    assert shown["names"] == ["eim2.example.com"]


def test_list_shows_one_role_as_json_without_a_vault() -> None:
    run("init")
    Path("var/vault.bin").unlink()
    (row,) = json.loads(run("list", "--role", "tls", "--json").stdout)
    assert row["role"] == "tls"
    assert row["daysLeft"] == 397


def test_list_shows_what_expires_soon() -> None:
    run("init")
    rows = json.loads(run("list", "--all", "--expiring", "400", "--json").stdout)
    assert {row["role"] for row in rows} == {"tls", "eim-tls", "operator", "callback"}
    assert json.loads(run("list", "--expiring", "10", "--json").stdout) == []


def test_list_has_one_plain_line_for_each_certificate_of_the_server() -> None:
    run("init")
    header, *lines = run("list").stdout.splitlines()
    assert header.split() == ["role", "subject", "curve", "expires", "daysLeft", "from"]
    assert {line.split()[0] for line in lines} == set(ROLES) - set(PEERS)
    assert all(line.isascii() and line.startswith(ROLES) for line in lines)


def test_list_shows_peers_when_they_are_asked_for() -> None:
    run("init")
    assert {row["role"] for row in json.loads(run("list", "--all", "--json").stdout)} == set(ROLES)
    assert {row["role"] for row in json.loads(run("list", "--role", "eum", "--json").stdout)} == {"eum"}


def test_an_empty_list_says_so() -> None:
    run("init")
    assert run("list", "--expiring", "1").stdout == "There are no such certificates.\n"


def test_json_is_in_camel_case_with_utc_times() -> None:
    made = json.loads(run("init", "--json").stdout)
    assert set(made) == {"path", "generated", "names", "sets"}
    assert [set(one) for one in made["sets"]] == [{"ci", "curve", "oid", "vaultKeys"}] * 2
    (row,) = json.loads(run("list", "--role", "tls", "--json").stdout)
    names = {"role", "subject", "curve", "keyId", "notBefore", "notAfter", "daysLeft", "source"}
    assert set(row) == names
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["notAfter"])


def test_roles_of_the_option_are_those_of_the_listing() -> None:
    assert {role.value for role in RoleName} == {*ROLES, "crl"}


def test_import_brings_a_set_and_then_a_tls_certificate_alone(tmp_path: Path) -> None:
    cases.written(tmp_path / "in", cases.made())
    brought = run("import", *options("ci", "auth", "auth-key", "pb", "pb-key"), *options("tls", "tls-key"), "--json")
    assert brought.exit_code == 0, brought.output
    assert json.loads(brought.stdout)["generated"] is False
    renewed = run("import", *options("tls", "tls-key"))
    assert renewed.exit_code == 0, renewed.output


def test_import_brings_an_eim_alone_and_the_check_is_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = cases.made(now=datetime.now(UTC))
    cases.written(tmp_path / "in", made)
    assert run("import", *options("ci", "auth", "auth-key", "pb", "pb-key", "tls", "tls-key")).exit_code == 0
    eim = recipe.eim_tls(made.ci, cases.terms(9, datetime.now(UTC)), ["eim.example.com"])
    Path("eim.pem").write_bytes(eim.pem)
    Path("eim.key.pem").write_bytes(eim.key_pem)
    both = run("import", "--eim-tls", "eim.pem")
    assert both.exit_code == 1
    assert "--eim-tls-key" in both.stderr
    brought = run("import", "--eim-tls", "eim.pem", "--eim-tls-key", "eim.key.pem")
    assert brought.exit_code == 0, brought.output
    assert "an eIM for eim.example.com" in brought.stdout
    monkeypatch.setenv(PREFIX + "SERVER_NAMES", ",".join(cases.NAMES))
    checked = run("check")
    assert checked.exit_code == 0, checked.output
    assert CliRunner().invoke(application(), ["serve", "--check"]).exit_code == 0


def test_import_of_half_a_set_says_what_a_set_is(tmp_path: Path) -> None:
    cases.written(tmp_path / "in", cases.made())
    result = run("import", *options("ci", "auth"))
    assert result.exit_code == 1
    assert "--pb-key" in result.stderr


def test_refused_import_is_one_sentence(tmp_path: Path) -> None:
    run("init")
    given = cases.written(tmp_path / "in", cases.made())
    given.auth_key.write_bytes(b"garbage")
    result = run("import", *options("ci", "auth", "auth-key", "pb", "pb-key"))
    assert result.exit_code == 1
    assert "no readable private key" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("verb", ["init", "import", "list", "check"])
def test_every_help_carries_an_example(verb: str) -> None:
    assert f"Example: smdp pki {verb}" in run(verb, "--help").output


def options(*names: str) -> list[str]:
    """`--auth-key in/auth.key.pem` and the like."""
    pairs = [(f"--{name}", f"in/{name.replace('-key', '.key.pem')}") for name in names]
    return [part for option, file in pairs for part in (option, file if file.endswith(".pem") else f"{file}.der")]


def test_a_server_is_checked_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "VAULT_PASSPHRASE", PASSPHRASE)
    run("init")
    result = CliRunner().invoke(application(), ["serve", "--check", "--json"])
    shown = json.loads(result.stdout)
    assert (set(shown), shown["starts"], result.exit_code) == ({"starts", "settings", "findings", "database"}, True, 0)
    (passphrase,) = [row for row in shown["settings"] if row["key"] == "vault_passphrase"]
    assert (passphrase["value"], passphrase["source"]) == ("***", "variable SMDP_FLEX_VAULT_PASSPHRASE")
    assert PASSPHRASE not in result.output
    monkeypatch.setenv(PREFIX + "SERVER_NAMES", "elsewhere.example.com")
    failing = CliRunner().invoke(application(), ["serve", "--check", "--json"])
    assert (json.loads(failing.stdout)["starts"], failing.exit_code) == (False, 1)

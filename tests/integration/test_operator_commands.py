"""`smdp operator` and `smdp pki operator` as a person runs them: names, limits, certificates, an empty list."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner, Result

from certs import creation
from certs.errors import BadPki
from hsm_mock import MockVault
from rsp.errors import Malformed
from server.__main__ import application
from server.clock import SystemClock
from store.binaries import NoUsableDatabase
from tenancy.operator import operator_name


@pytest.fixture(autouse=True)
def _settings(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMDP_FLEX_DATABASE_URL", database)
    vault = MockVault.create(tmp_path / "vault.bin", "correct horse", cost=10)
    asyncio.run(creation.init(Path("var/pki"), vault, names=("smdp.example.com",), now=SystemClock().now()))


DEFAULTS: dict[str, Any] = {
    "orderDays": None,
    "afterDeletion": "retire",
    "redownloads": None,
    "rebinding": True,
    "bindImei": False,
    "iotEuiccs": True,
    "minimumSaip": None,
    "tacsAllowed": None,
    "tacsDenied": None,
    "eumsAllowed": None,
    "eumsDenied": None,
    "notificationPoints": {},
}
"""Rules of an operator that has chosen none."""


def run(*words: str) -> Result:
    return CliRunner().invoke(application(), list(words), catch_exceptions=False)


def shown(*words: str) -> Any:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def fingerprint(file: str) -> str:
    der = x509.load_pem_x509_certificate(Path(file).read_bytes()).public_bytes(Encoding.DER)
    return hashlib.sha256(der).hexdigest().upper()


def test_an_operator_gets_a_certificate_and_is_listed_with_limits_and_fingerprints() -> None:
    issued = shown("pki", "operator", "operator-c")
    files = {name: f"var/pki/operators/operator-c{name}" for name in (".pem", ".key.pem")}
    assert issued == {"name": "operator-c", "certificate": files[".pem"], "key": files[".key.pem"]}
    shown("operator", "add", "operator-c", "--certificate", issued["certificate"])
    other = "var/pki/operators/operator-a.pem"
    shown("operator", "certificate", "operator-c", other)
    shown("operator", "change", "operator-c", "--download-attempts", "4", "--confirmation-attempts", "2")
    (row,) = shown("operator", "list")
    assert row.pop("id") > 0
    assert row == {
        "name": "operator-c",
        "requesterId": "operator-c",
        "callbackUrl": "",
        "downloadAttempts": 4,
        "confirmationAttempts": 2,
        **DEFAULTS,
        "active": True,
        "certificates": [fingerprint(issued["certificate"]), fingerprint(other)],
    }
    header, line = run("operator", "list").stdout.splitlines()
    assert header.split()[-1] == "certificates"
    assert line.split() == ["operator-c", "operator-c", "-", "4", "2", "True", "2"]


def test_a_certificate_is_issued_once_and_under_a_name_that_serves_as_a_file() -> None:
    assert "smdp operator add operator-c" in run("pki", "operator", "operator-c").stdout
    for name in ("operator-c", "ca", "../x", "Operator C"):
        with pytest.raises(BadPki):
            run("pki", "operator", name)


def test_an_empty_list_says_so() -> None:
    assert run("operator", "list").stdout == "There are no such operators.\n"
    assert shown("operator", "list") == []


@pytest.mark.parametrize("name", ["", " a", "a ", "a\n", "a\tb", "\x1b[31m", "a\u200b", "x" * 65])
def test_a_name_that_cannot_be_read_is_refused(name: str) -> None:
    with pytest.raises(Malformed, match="1 to 64 printable characters"):
        run("operator", "add", name, "--certificate", "var/pki/operators/operator-a.pem")
    assert shown("operator", "list") == []


@pytest.mark.parametrize("name", ["a", "x" * 64, "Größter Betreiber", "operator-a"])
def test_a_readable_name_is_taken_as_it_is(name: str) -> None:
    assert operator_name(name) == name


def test_looking_at_operators_makes_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMDP_FLEX_DATABASE_URL", "")
    with pytest.raises(NoUsableDatabase, match="smdp db upgrade makes one"):
        run("operator", "list")
    assert not (tmp_path / "var" / "postgres").exists()


def rules(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in DEFAULTS}


def test_rules_are_chosen_when_an_operator_is_added_and_changed_and_taken_back() -> None:
    Path("tacs").write_text("35290611\n86012345\n35290611\n")
    certificate = ("--certificate", "var/pki/operators/operator-a.pem")
    chosen = ("--order-days", "7", "--after-deletion", "reuse", "--redownloads", "0", "--no-rebinding", "--bind-imei")
    more = ("--no-iot-euiccs", "--minimum-saip", "2.3", "--tacs-allowed", "@tacs", "--tacs-denied", "35290612")
    points = ("--notification-points", "deleted=5 enabled=101, disabled=102")
    eums = ("--eums-allowed", "89049032,8903", "--eums-denied", "")
    (row,) = shown("operator", "add", "operator-a", *certificate, *chosen, *more, *points, *eums)
    expected = {
        "orderDays": 7,
        "afterDeletion": "reuse",
        "redownloads": 0,
        "rebinding": False,
        "bindImei": True,
        "iotEuiccs": False,
        "minimumSaip": "2.3",
        "tacsAllowed": ["35290611", "86012345"],
        "tacsDenied": ["35290612"],
        "eumsAllowed": ["89049032", "8903"],
        "eumsDenied": [],
        "notificationPoints": {"deleted": 5, "enabled": 101, "disabled": 102},
    }
    assert rules(row) == rules(shown("operator", "list")[0]) == expected
    (row,) = shown(
        "operator", "change", "operator-a", "--rebinding", "--reset", "tacs-allowed", "--reset", "order-days"
    )
    assert rules(row) == {**expected, "rebinding": True, "tacsAllowed": None, "orderDays": None}
    resets = [
        word for name in ("after-deletion", "redownloads", "bind-imei", "iot-euiccs") for word in ("--reset", name)
    ]
    lists = [
        word for name in ("minimum-saip", "tacs-denied", "eums-allowed", "eums-denied") for word in ("--reset", name)
    ]
    (row,) = shown("operator", "change", "operator-a", *resets, *lists, "--reset", "notification-points")
    assert rules(row) == rules(shown("operator", "list")[0]) == DEFAULTS


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--after-deletion", "keep"), "one of retire, reuse, stock"),
        (("--minimum-saip", "2"), "major.minor"),
        (("--tacs-allowed", "3529061"), "8 digits"),
        (("--tacs-denied", "@nowhere"), "cannot be read"),
        (("--eums-allowed", "8904903A"), "2 to 16 digits"),
        (("--notification-points", "gone=5"), "name=number"),
        (("--notification-points", "deleted=5 deleted=6"), "each once"),
        (("--notification-points", "deleted=99999999999"), "at most"),
        (("--reset", "name"), "--reset takes one of"),
        ((), "nothing to change"),
    ],
    ids=str,
)
def test_rules_that_mean_nothing_are_refused(words: tuple[str, ...], fault: str) -> None:
    shown("operator", "add", "operator-a", "--certificate", "var/pki/operators/operator-a.pem")
    with pytest.raises(Malformed, match=fault):
        run("operator", "change", "operator-a", *words)
    assert rules(shown("operator", "list")[0]) == DEFAULTS

"""Commands that are given nonsense: one sentence that says what to do, before anything is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from server.__main__ import application
from server.commands.order import _with_client
from server.settings import SettingsError


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(*words: str) -> str:
    result = CliRunner().invoke(application(), list(words))
    assert result.exit_code != 0
    return f"{result.output} {result.exception}"


@pytest.mark.parametrize(
    "content", [b"", b"# a page of text", b"-----BEGIN CERTIFICATE-----\n", b"\x30\x03\x02\x01\x00"]
)
def test_an_operator_is_not_registered_with_a_file_that_is_no_certificate(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "page.md"
    file.write_bytes(content)
    text = refusal("operator", "add", "operator-a", "--certificate", str(file))
    assert "page.md holds no readable certificate: give a DER or PEM file" in text


def test_a_change_that_changes_nothing_is_refused() -> None:
    assert "nothing to change: give" in refusal("operator", "change", "operator-a")


def test_an_order_names_a_type_or_a_profile() -> None:
    assert "give --type, --iccid or both" in refusal("order", "create", "--operator", "operator-a")


@pytest.mark.parametrize("words", [(), ("--kind", "enterprise"), ("--principal", "3")])
def test_a_key_is_for_an_admin_or_for_a_carrier_or_enterprise_by_its_id(words: tuple[str, ...]) -> None:
    assert "give --admin, or --kind and --principal" in refusal("key", "create", *words)


def test_an_unknown_state_names_the_known_ones() -> None:
    text = refusal("profile", "list", "--state", "instaled")
    assert "available" in text
    assert "installed" in text


@pytest.mark.parametrize("most", ["0", "-1"])
def test_a_list_has_room_for_one_row_at_least(most: str) -> None:
    assert "--most" in refusal("profile", "list", "--most", most)


def test_a_demonstration_with_a_missing_package_starts_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    assert "missing.der" in refusal("demo", "--upp", str(tmp_path / "missing.der"), "--folder", str(folder))
    assert not folder.exists()


def test_a_missing_client_certificate_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "operator-x.pem"

    async def never(_: object) -> None:
        pytest.fail("called without a certificate")

    with pytest.raises(SettingsError, match=r"operator-x\.pem: no such file"):
        _with_client(never, operator="operator-x", url="https://localhost:1", files=(missing, missing, missing))


def test_every_option_has_a_word_of_help() -> None:
    waiting: list[Any] = [typer.main.get_command(application())]
    silent: list[tuple[str, str]] = []
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        silent += [(command.name, one.name) for one in command.params if not getattr(one, "help", None)]
    assert not silent

"""The commands that are clients of the API, against a running server."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from certs import recipe
from certs.recipe import Terms
from server.__main__ import application
from server.api_client import ApiRefused
from server.settings import environment
from tests.server_fixtures import ServerUnderTest

Command = Callable[..., Any]


@pytest.fixture
def command(server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `smdp` with the settings of the server; `api_key` is that of the first admin unless another is given."""
    for name, value in environment(server.settings).items():
        if name.startswith("SMDP_FLEX_"):
            monkeypatch.setenv(name, value)

    def run(*words: str, api_key: str = "") -> Any:
        if api_key:
            monkeypatch.setenv("SMDP_FLEX_API_KEY", api_key)
        result = CliRunner().invoke(application(), [*words, "--json"])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    monkeypatch.setenv("SMDP_FLEX_API_KEY", run("key", "create", "--admin")["token"])
    return run


def test_a_partnership_is_set_up_from_nothing_by_commands(command: Command) -> None:
    lead = command("carrier", "add", "lead-a", "--role", "lead")
    partner = command("carrier", "add", "partner-p", "--role", "partner", "--profile-type", "iot")
    changed = command("carrier", "change", str(partner["id"]), "--inventory-account", "100")
    assert (
        command("carrier", "show", str(partner["id"])) == changed == partner | {"inventoryAccount": "100", "version": 1}
    )
    assert command("carrier", "list", "--filter", "role=lead")["items"] == [lead]
    enterprise = command("enterprise", "add", "acme", "--lead", str(lead["id"]), "--account", "1")
    words = ("--enterprise", str(enterprise["id"]), "--partner", str(partner["id"]), "--territory", "242")
    partnership = command("partnership", "add", *words)
    assert partnership["active"]
    terms = ("--account", "2", "--rate-plan", "flat", "--communication-plan", "data", "--territory", "244")
    partnership = command("partnership", "change", str(partnership["id"]), *terms)
    assert (partnership["territory"], partnership["plans"]) == (
        ["244"],
        {"account": "2", "ratePlan": "flat", "communicationPlan": "data"},
    )
    partnership = command("partnership", "change", str(partnership["id"]), "--everywhere")
    assert (partnership["territory"], partnership["plans"]["account"]) == ([], "2")
    key = command("key", "create", "--kind", "enterprise", "--principal", str(enterprise["id"]))
    assert command("esim", "list", api_key=key["token"]) == {"items": [], "next": None}
    assert command("partnership", "list")["items"] == [partnership]
    assert command("enterprise", "list")["items"] == [enterprise]


def test_a_refusal_is_told_with_its_code(command: Command) -> None:
    command("carrier", "add", "lead-a", "--role", "lead")
    with pytest.raises(ApiRefused, match="taken") as refused:
        command("carrier", "add", "lead-a", "--role", "lead")
    assert refused.value.code == "conflict"


def test_a_revoked_key_calls_no_more(command: Command) -> None:
    key = command("key", "create", "--admin")
    command("key", "revoke", str(key["id"]))
    with pytest.raises(ApiRefused, match="no longer good"):
        command("carrier", "list", api_key=key["token"])


def test_a_carrier_with_an_smdp_of_its_own_is_set_up_by_commands(command: Command, tmp_path: Path) -> None:
    terms = Terms(now=datetime.now(UTC), serial=1)
    ca = recipe.operator_ca(terms)
    ours, theirs = recipe.operator(ca, terms, "ours"), recipe.operator(ca, terms, "theirs")
    files = {"certificate": ours.pem, "key": ours.key_pem, "ca": ca.pem, "caller": theirs.pem}
    words = ["--smdp-url", "https://es2.nordic.example", "--smdp-requester-id", "us"]
    for name, content in files.items():
        (tmp_path / f"{name}.pem").write_bytes(content)
        words += [f"--smdp-{name}", str(tmp_path / f"{name}.pem")]
    made = command("carrier", "add", "nordic", "--role", "partner", "--profile-type", "iot", *words)
    assert (made["smdp"]["address"], made["smdp"]["requesterId"], made["smdp"]["hasKey"]) == (
        "es2.nordic.example",
        "us",
        True,
    )
    changed = command("carrier", "change", str(made["id"]), *words, "--smdp-address", "rsp.nordic.example")
    assert changed["smdp"] == made["smdp"] | {"address": "rsp.nordic.example"}
    assert command("carrier", "change", str(made["id"]), "--no-smdp")["smdp"] is None

"""The commands that are clients of the API, against a running server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

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

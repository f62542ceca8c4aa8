"""What all commands have in common: an example, JSON, and quiet on Ctrl-C."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from server import __main__ as command_line
from server.commands import demo
from server.demo.stage import Deviation

ROOT = Path(__file__).resolve().parents[2]


def _commands() -> Iterator[tuple[str, Any]]:
    """Every command with its words; groups are none."""
    waiting: list[tuple[str, Any]] = [("smdp", typer.main.get_command(command_line.application()))]
    while waiting:
        words, command = waiting.pop()
        members = getattr(command, "commands", None)
        if members is None:
            yield words, command
        else:
            waiting += [(f"{words} {name}", member) for name, member in members.items()]


COMMANDS = sorted(_commands(), key=lambda pair: pair[0])


def test_all_commands_are_looked_at() -> None:
    words = {name for name, _ in COMMANDS}
    assert {"smdp serve", "smdp demo", "smdp order show", "smdp pki operator", "smdp key create"} < words
    assert len(words) > 30


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_the_help_of_a_command_has_an_example_of_it(words: str, command: Any) -> None:
    assert f"Example: {words}" in command.help


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_a_command_prints_json_when_asked(words: str, command: Any) -> None:
    assert "--json" in [option for one in command.params for option in one.opts]


def test_ctrl_c_while_modules_are_loaded_is_quiet(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    for words in (["-m", "server"], ["-c", "from server.__main__ import main; main()"]):
        done = subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_while_commands_are_collected_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "application", interrupted)
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "")


def test_a_demonstration_in_json_ends_with_a_summary_and_tells_its_story_on_stderr(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def play(narrator: Any, *_: object) -> list[dict[str, str]]:
        narrator.act("One")
        narrator.act("Two")
        return [{"iccid": "8988000000000000008"}]

    monkeypatch.setattr(demo, "_play", play)
    result = CliRunner().invoke(command_line.application(), ["demo", "--json"])
    assert json.loads(result.stdout) == {
        "result": "passed",
        "deviation": None,
        "acts": ["One", "Two"],
        "profiles": [{"iccid": "8988000000000000008"}],
    }
    assert "2. Two" in result.stderr
    assert result.exit_code == 0


def test_a_demonstration_that_fails_says_so_in_its_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    def play(*_: object) -> None:
        raise Deviation("a card was not told")

    monkeypatch.setattr(demo, "_play", play)
    result = CliRunner().invoke(command_line.application(), ["demo", "--json"])
    shown = json.loads(result.stdout)
    assert (shown["result"], shown["deviation"], result.exit_code) == ("failed", "a card was not told", 1)


def test_json_of_a_server_goes_with_a_check() -> None:
    result = CliRunner().invoke(command_line.application(), ["serve", "--json"])
    assert result.exit_code == 2
    assert "--check" in result.output

"""Verdicts on other people's programs: every scenario is played, and one that goes wrong fails the whole."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from tools.interop.verdicts import Verdicts, expect


async def passes() -> None:
    expect(1 + 1 == 2, "arithmetic")


async def deviates() -> None:
    expect(holds=False, what="the order must become installed")


async def breaks() -> None:
    raise TimeoutError("no answer")


def quiet(peer: str = "lpac") -> Verdicts:
    return Verdicts(peer, Console(file=io.StringIO()))


async def test_all_passed_ends_with_nought(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = quiet()
    verdicts.version = "2.3"
    await verdicts.play("download", passes)
    assert verdicts.show(as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["peer"], told["version"], told["passed"]) == ("lpac", "2.3", True)
    assert [(entry["scenario"], entry["passed"]) for entry in told["scenarios"]] == [("download", True)]


async def test_a_deviation_and_a_fault_fail_and_the_next_scenario_is_played(
    capsys: pytest.CaptureFixture[str],
) -> None:
    verdicts = quiet()
    for name, scenario in (("first", deviates), ("second", breaks), ("third", passes)):
        await verdicts.play(name, scenario)
    assert [verdict.fault for verdict in verdicts.all] == [
        "the order must become installed",
        "TimeoutError: no answer",
        "",
    ]
    assert verdicts.show(as_json=False) == 1
    assert "the order must become installed" in capsys.readouterr().out


async def test_only_the_chosen_scenarios_are_played() -> None:
    verdicts = Verdicts("lpac", Console(file=io.StringIO()), only="second")
    for name, scenario in (("the first", deviates), ("the second", passes)):
        await verdicts.play(name, scenario)
    assert [verdict.scenario for verdict in verdicts.all] == ["the second"]
    assert verdicts.passed


def test_nothing_played_is_no_success() -> None:
    assert quiet().show(as_json=False) == 1

"""The scripts that run other people's programs explain themselves and ask for what they need."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from server.demo.stage import Deviation
from tools.interop import lpac, pysim, smdpp
from tools.interop.scene import verdict_of
from tools.interop.verdicts import Verdicts

SCRIPTS = [lpac.main, pysim.main, smdpp.main]


@pytest.mark.parametrize("main", SCRIPTS, ids=["lpac", "pysim", "smdpp"])
def test_help_has_an_example(
    main: Callable[[], int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["interop", "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "Example: python tools/interop/" in told
    assert "--json" in told


@pytest.mark.parametrize("main", SCRIPTS, ids=["lpac", "pysim", "smdpp"])
def test_without_a_program_nothing_is_started(
    main: Callable[[], int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["interop"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "required" in capsys.readouterr().err


def test_a_server_that_does_not_start_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    async def fails() -> None:
        raise Deviation("the server was not ready within 60 seconds")

    assert verdict_of(fails(), Verdicts("lpac"), as_json=True) == 1
    assert capsys.readouterr() == ("", "the server was not ready within 60 seconds\n")

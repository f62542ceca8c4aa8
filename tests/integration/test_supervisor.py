"""The supervisor with real, tiny children: restarts, giving up, draining, killing, and dying with the parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server.supervisor import Pace

# A parent that supervises the children given on its command line. All of them report on one pipe, one JSON a line,
# each line by a single write: `print` may use two, between which another process could come.
_PARENT = """
import json, os, sys
from server.supervisor import ChildSpec, Pace, Supervisor

class Log:
    def info(self, event, **fields):
        os.write(1, json.dumps({"event": event, **fields}).encode() + b"\\n")
    warning = error = info

def changed(pids):
    Log().info("changed", pids=pids)

drain, steady, attempts, *children = sys.argv[1:]
pace = Pace(first=0.01, longest=0.02, steady=float(steady), attempts=int(attempts))
specs = [ChildSpec(name=f"child-{n}", command=(sys.executable, "-c", code)) for n, code in enumerate(children)]
sys.exit(Supervisor(specs, os.environ, float(drain), Log(), pace=pace, changed=changed).run())
"""

_POLITE = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
os.write(1, b'{"event": "ready"}\\n')
while True:
    signal.pause()
"""
_STUBBORN = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b'{"event": "ready"}\\n')
while True:
    signal.pause()
"""
_FAILING = "raise SystemExit(3)"


class _Run:
    """One supervising parent and the events it and its children print."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def until(self, event: str, times: int = 1) -> dict[str, Any]:
        """Read events until the named one came so many times; the last of them."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            record: dict[str, Any] = json.loads(line)
            times -= record["event"] == event
            if times == 0:
                return record
        raise AssertionError(f"ended before {event}")

    def rest(self) -> list[str]:
        """Names of all events still to come; the process has closed its output afterwards."""
        assert self.process.stdout is not None
        return [json.loads(line)["event"] for line in self.process.stdout]


Start = Callable[..., _Run]


@pytest.fixture
def start() -> Iterator[Start]:
    runs: list[subprocess.Popen[str]] = []

    def begin(*children: str, drain: float = 20, steady: float = 60, attempts: int = 3) -> _Run:
        command = [sys.executable, "-c", _PARENT, str(drain), str(steady), str(attempts), *children]
        root = Path(__file__).parents[2]
        runs.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root))
        return _Run(runs[-1])

    yield begin
    for process in runs:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except FileNotFoundError:
        return False


def test_stop_signal_reaches_all_children_and_ends_in_success(start: Start) -> None:
    run = start(_POLITE, _POLITE)
    pids = run.until("changed")["pids"]
    run.until("ready", times=2)
    run.process.send_signal(signal.SIGTERM)
    assert run.rest() == ["stopping", "stopped"]
    assert run.process.wait() == 0
    assert not any(_is_alive(pid) for pid in pids.values())


def test_interrupt_from_the_terminal_stops_in_order_too(start: Start) -> None:
    run = start(_POLITE)
    run.until("ready")
    run.process.send_signal(signal.SIGINT)
    assert run.rest() == ["stopping", "stopped"]
    assert run.process.wait() == 0


def test_crashed_child_is_started_again_under_the_same_name(start: Start) -> None:
    run = start(_POLITE, _POLITE)
    before = run.until("changed")["pids"]
    run.until("ready", times=2)
    os.kill(before["child-1"], signal.SIGKILL)
    assert run.until("process ended") == {
        "event": "process ended", "process": "child-1", "status": "SIGKILL", "failures": 1,
    }  # fmt: skip
    after = run.until("changed")["pids"]
    assert after["child-0"] == before["child-0"]
    assert after["child-1"] != before["child-1"]


def test_child_that_keeps_failing_ends_the_server_with_an_error(start: Start) -> None:
    run = start(_FAILING, _POLITE, attempts=3)
    assert run.until("process ended", times=3)["status"] == 3
    assert run.rest()[-2:] == ["a process keeps failing, the server stops", "stopped"]
    assert run.process.wait() == 1


def test_child_that_lived_long_enough_begins_counting_anew(start: Start) -> None:
    run = start(_FAILING, steady=0, attempts=2)
    assert run.until("process ended", times=5)["failures"] == 1


def test_child_that_is_killed_again_and_again_is_started_again_and_again(start: Start) -> None:
    run = start(_POLITE, attempts=3)
    for _ in range(5):
        child = run.until("changed")["pids"]["child-0"]
        run.until("ready")
        os.kill(child, signal.SIGKILL)
        assert run.until("process ended")["failures"] == 1


def test_child_that_does_not_end_in_time_is_killed(start: Start) -> None:
    run = start(_STUBBORN, drain=0.1)
    pids = run.until("changed")["pids"]
    run.until("ready")
    run.process.terminate()
    assert "process killed: it did not end in time" in run.rest()
    assert run.process.wait() == 0
    assert not _is_alive(pids["child-0"])


def test_second_stop_signal_ends_the_patience(start: Start) -> None:
    run = start(_STUBBORN, drain=3600)
    run.until("ready")
    run.process.send_signal(signal.SIGINT)
    run.until("stopping")
    run.process.send_signal(signal.SIGINT)
    assert "process killed: it did not end in time" in run.rest()


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_children_end_when_the_parent_is_killed(start: Start) -> None:
    run = start(_POLITE, _POLITE)
    run.until("ready", times=2)
    run.process.kill()
    assert run.rest() == []  # The pipe ends when its last holder, a child, has ended.


def test_pauses_grow_up_to_the_longest() -> None:
    pace = Pace(first=0.5, longest=3)
    assert [pace.pause(failures) for failures in range(1, 6)] == [0.5, 1, 2, 3, 3]

"""What the programs of others did: one verdict a scenario, as a table or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter

import msgspec
from rich.console import Console
from rich.table import Table

_WIDE = 140
"""Columns of an output that is no terminal."""


class Unexpected(Exception):  # noqa: N818 -- the name is the fact
    """A scenario went otherwise than it must."""


def expect(holds: object, what: str) -> None:
    """Raise Unexpected with `what` unless it `holds`."""
    if not holds:
        raise Unexpected(what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One scenario: `fault` is empty when all went as it must."""

    scenario: str
    passed: bool
    fault: str
    milliseconds: int


Scenario = Callable[[], Awaitable[None]]


class Verdicts:
    """Runs scenarios one after another, each of them whatever became of those before; `only` chooses by name."""

    def __init__(self, peer: str, console: Console | None = None, *, only: str = "") -> None:
        self.peer = peer
        self._only = only
        self.version = ""
        self.all: list[Verdict] = []
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)

    async def play(self, name: str, scenario: Scenario) -> None:
        """Play one scenario and keep its verdict; a scenario fails by any exception."""
        if self._only not in name:
            return
        started = perf_counter()
        fault = ""
        try:
            await scenario()
        except Exception as error:  # noqa: BLE001 -- every fault is a verdict, and the next scenario still runs
            fault = str(error) if isinstance(error, Unexpected) else f"{type(error).__name__}: {error}"
        elapsed = int((perf_counter() - started) * 1000)
        self.all.append(Verdict(scenario=name, passed=not fault, fault=fault, milliseconds=elapsed))
        mark = "[red]\u2717[/]" if fault else "[green]\u2713[/]"
        self._console.print(f"  {mark} {name}", fault and f"[dim]{fault}[/]")

    @property
    def passed(self) -> bool:
        """Whether every scenario passed, and there was one."""
        return bool(self.all) and all(verdict.passed for verdict in self.all)

    def show(self, *, as_json: bool) -> int:
        """Print all verdicts to standard output; 0 when all passed, else 1."""
        if as_json:
            document = {"peer": self.peer, "version": self.version, "passed": self.passed, "scenarios": self.all}
            sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document)) + b"\n")
            sys.stdout.buffer.flush()
        else:
            console = Console(highlight=False)
            if not console.is_terminal:
                console.width = _WIDE
            console.print(self._table())
        return 0 if self.passed else 1

    def _table(self) -> Table:
        table = Table(title=f"{self.peer} {self.version}".strip(), title_justify="left")
        for column in ("scenario", "verdict", "ms"):
            table.add_column(column, overflow="fold")
        for verdict in self.all:
            table.add_row(verdict.scenario, verdict.fault or "passed", str(verdict.milliseconds))
        return table

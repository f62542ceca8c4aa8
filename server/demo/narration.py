"""How the demonstration speaks: acts, steps, refusals, and the table at the end."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

_WIDE = 140
"""Columns of an output that is no terminal: an ICCID and an EID are never cut."""


class Narrator:
    """Writes to standard output, or to a console of your own. `acts` are the titles so far."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        if not self._console.is_terminal:
            self._console.width = _WIDE
        self.acts: list[str] = []

    def act(self, title: str) -> None:
        """A new act begins."""
        self.acts.append(title)
        self._console.print(f"\n[bold cyan]{len(self.acts)}. {title}[/]")

    def step(self, text: str) -> None:
        """Something that happened as it must."""
        self._console.print(f"  [green]\u2713[/] {text}")

    def detail(self, text: str) -> None:
        """More about the last step."""
        self._console.print(f"    [dim]{text}[/]")

    def refusal(self, what: str, code: str, message: str) -> None:
        """Something that was refused as it must be."""
        self._console.print(f"  [green]\u2713[/] {what}: refused with [yellow]{code}[/]")
        self._console.print(f"    [dim]{message}[/]")

    def failure(self, text: str) -> None:
        """The demonstration went wrong."""
        self._console.print(f"\n[bold red]\u2717 {text}[/]")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table."""
        table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*row)
        self._console.print()
        self._console.print(table)

    def end(self, text: str) -> None:
        """All went well."""
        self._console.print(f"\n[bold green]{text}[/]")

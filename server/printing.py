"""How set-up commands speak: lists with a header line for people, JSON in camelCase with UTC times for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.progress import Progress


def echo_json(value: object) -> None:
    """Print `value` as JSON; only what JSON has by itself, so that every other type is written on purpose."""
    typer.echo(json.dumps(value, indent=2))


def moment(at: datetime | None) -> str | None:
    """ISO 8601 in UTC with whole seconds: 2026-11-22T12:00:00Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def echo_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Print a header line and a line for each row, in columns as wide as their widest cell; `empty` when no row."""
    if not rows:
        typer.echo(empty)
        return
    lines = [tuple(columns), *([cell or "-" for cell in row] for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def progress_bar() -> Progress:
    """A bar on standard error; silent when that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)

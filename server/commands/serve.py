"""`smdp serve`: run the server, or check its settings, certificates and vault without starting it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from server.settings import Settings


def command(
    *,
    config: Annotated[
        Path | None, typer.Option(help="Settings file (TOML); else SMDP_FLEX_CONFIG, else ./smdp-flex.toml.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder for everything kept on disk.")] = None,
    processes: Annotated[int | None, typer.Option(help="HTTP processes.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Show and check everything, start nothing.")] = False,
) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    Example: smdp serve --config /etc/smdp-flex.toml

    Example: smdp serve --check
    """
    from server import logs, settings

    loaded = settings.load(file=config, data_dir=data_dir, processes=processes)
    logs.configure(loaded.log_level, loaded.log_format)
    if check:
        raise typer.Exit(_check(loaded))
    from server.serving import serve

    raise typer.Exit(serve(loaded))


def _check(settings: Settings) -> int:
    """Print settings and findings; 1 when a start would fail."""
    import asyncio

    from certs.checking import Severity
    from server import preflight
    from server.clock import SystemClock

    _print_settings(settings)
    findings = asyncio.run(preflight.examine(settings, SystemClock().now()))
    for finding in findings:
        typer.echo(f"{finding.severity.name}: {finding.subject}: {finding.text}")
    typer.echo(f"database: {_database(settings)}")
    return int(any(finding.severity is Severity.ERROR for finding in findings))


def _print_settings(settings: Settings) -> None:
    from server.settings import describe

    rows = describe(settings)
    wide = max(len(value) for _, value, _ in rows)
    for key, value, source in rows:
        typer.echo(f"{key:<28}{value:<{wide + 2}}{source}")


def _database(settings: Settings) -> str:
    if not settings.database_url:
        from store.binaries import find_binaries

        return f"PostgreSQL in {settings.data_dir}, run from {find_binaries(settings.postgres_bin)}"
    from store import migrate

    revision = migrate.current(settings.database_url.reveal())
    return f"schema {revision or 'empty'}; this program brings it to {migrate.head()}"

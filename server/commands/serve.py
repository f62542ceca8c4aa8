"""`smdp serve`: run the server, or check its settings, certificates and vault without starting it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from certs.checking import Finding
    from server.settings import Settings


def command(
    *,
    config: Annotated[
        Path | None, typer.Option(help="Settings file (TOML); else SMDP_FLEX_CONFIG, else ./smdp-flex.toml.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder for everything kept on disk.")] = None,
    processes: Annotated[int | None, typer.Option(help="HTTP processes.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Show and check everything, start nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --check: print JSON instead of text.")] = False,
) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    Example: smdp serve --config /etc/smdp-flex.toml

    Example: smdp serve --check
    """
    from server import logs, settings

    if as_json and not check:
        raise typer.BadParameter("--json goes with --check: a running server writes its log, see log_format")
    loaded = settings.load(file=config, data_dir=data_dir, processes=processes)
    logs.configure(loaded.log_level, loaded.log_format)
    if check:
        raise typer.Exit(_check(loaded, as_json=as_json))
    from server.serving import serve

    raise typer.Exit(serve(loaded))


def _check(settings: Settings, *, as_json: bool) -> int:
    """Print settings, findings and where the database is; 1 when a start would fail."""
    import asyncio

    from certs.checking import Severity
    from server import preflight
    from server.clock import SystemClock

    if not as_json:
        _print_settings(settings)
    findings = asyncio.run(preflight.examine(settings, SystemClock().now()))
    failing = any(finding.severity is Severity.ERROR for finding in findings)
    if as_json:
        _print_json(settings, findings, starts=not failing)
        return int(failing)
    for finding in findings:
        typer.echo(f"{finding.severity.name}: {finding.subject}: {finding.text}")
    typer.echo(f"database: {_database(settings)}")
    return int(failing)


def _print_json(settings: Settings, findings: list[Finding], *, starts: bool) -> None:
    from server.printing import echo_json
    from server.settings import describe

    echo_json(
        {
            "starts": starts,
            "settings": [dict(zip(("key", "value", "source"), row, strict=True)) for row in describe(settings)],
            "findings": [{"severity": one.severity.name, "subject": one.subject, "text": one.text} for one in findings],
            "database": _database(settings),
        }
    )


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

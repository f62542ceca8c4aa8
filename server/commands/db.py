"""`smdp db`: brings the database to this release's schema, shows where it stands, and checks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="The database: migrate it, show where it stands, check it.")

Config = Annotated[
    Path | None, typer.Option(help="Settings file (TOML); else SMDP_FLEX_CONFIG, else ./smdp-flex.toml.")
]
DataDir = Annotated[Path | None, typer.Option(help="Folder for everything kept on disk.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command()
def upgrade(*, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Bring the schema to this release; `smdp serve` does it by itself at start.

    Example: smdp db upgrade
    """
    from store import migrate

    with _database(config, data_dir, make=True) as dsn:
        before = migrate.current(dsn)
        migrate.upgrade(dsn)
    if as_json:
        typer.echo(json.dumps({"before": before, "after": migrate.head()}))
    elif before == migrate.head():
        typer.echo(f"The schema is at {before} already.")
    else:
        typer.echo(f"The schema went from {before or 'nothing'} to {migrate.head()}.")


@app.command()
def status(*, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show version, size and schema of the database.

    Example: smdp db status --json
    """
    from store import inspection

    with _database(config, data_dir) as dsn:
        found = inspection.status(dsn)
    rows = {
        "serverVersion": found.server_version,
        "sizeBytes": found.size_bytes,
        "revision": found.revision,
        "needed": found.needed,
        "isCurrent": found.is_current,
    }
    if as_json:
        typer.echo(json.dumps(rows))
        return
    typer.echo(f"PostgreSQL {found.server_version}, {found.size_bytes / 1_000_000:.1f} MB")
    advice = "up to date" if found.is_current else f"{found.needed} is needed: run smdp db upgrade"
    typer.echo(f"schema {found.revision or 'empty'}: {advice}")


@app.command()
def check(*, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check schema and durability; ends with status 1 when something is wrong.

    Example: smdp db check
    """
    from store import inspection

    with _database(config, data_dir) as dsn:
        problems = inspection.problems(dsn)
    if as_json:
        typer.echo(json.dumps({"problems": problems}))
    else:
        for line in problems or ["The database is in order."]:
            typer.echo(line)
    if problems:
        raise typer.Exit(1)


@contextmanager
def _database(config: Path | None, data_dir: Path | None, *, make: bool = False) -> Iterator[str]:
    """The address of the database of the settings; the one in the data folder runs for as long as needed."""
    from server import settings
    from store.binaries import NoUsableDatabase
    from store.embedded import EmbeddedPostgres, running

    loaded = settings.load(file=config, data_dir=data_dir)
    if loaded.database_url:
        yield loaded.database_url.reveal()
        return
    if not make and not EmbeddedPostgres(loaded.data_dir).cluster.exists():
        raise NoUsableDatabase(f"there is no database in {loaded.data_dir} yet: smdp db upgrade makes one")
    with running(loaded.data_dir, loaded.postgres_bin) as dsn:
        yield dsn

"""`smdp demo`: the whole job end to end on this machine, narrated; exit status 0 when all went as it must, else 1."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.commands.binding import Binding

if TYPE_CHECKING:
    from server.demo.narration import Narrator
    from server.settings import Settings


def command(
    *,
    upp: Annotated[Path | None, typer.Option(help="A real profile package (SAIP, DER) to import and download.")] = None,
    binding: Annotated[Binding, typer.Option(help="Binding of ES9+ that devices speak.")] = Binding.JSON,
    folder: Annotated[Path, typer.Option(help="Working folder; emptied first.")] = Path("var/demo"),
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON; the story goes to stderr.")] = False,
) -> None:
    """Order, download and install profiles against a server of two processes, and show what must fail failing.

    Then steer an eSIM through the API and the eIM, and swap another one between four carriers.

    Example: smdp demo --upp profile.der
    """
    from rich.console import Console

    from server.demo.narration import Narrator
    from server.demo.stage import Deviation

    narrator = Narrator(Console(stderr=True, highlight=False, soft_wrap=True) if as_json else None)
    try:
        profiles = _play(narrator, folder, upp, binding)
    except Deviation as deviation:
        narrator.failure(str(deviation))
        if as_json:
            _summarise(narrator, [], deviation=str(deviation))
        raise typer.Exit(1) from None
    narrator.end("Everything went as it must.")
    if as_json:
        _summarise(narrator, profiles, deviation=None)


def _summarise(narrator: Narrator, profiles: list[dict[str, Any]], *, deviation: str | None) -> None:
    from server.printing import echo_json

    result = "failed" if deviation else "passed"
    echo_json({"result": result, "deviation": deviation, "acts": narrator.acts, "profiles": profiles})


def _play(narrator: Narrator, folder: Path, upp: Path | None, binding: Binding) -> list[dict[str, Any]]:
    """All acts; returns the profiles as they stand at the end. Raises Deviation."""
    import asyncio

    from server.demo import acts, stage, swap_acts
    from simulator.lpa_bindings import Spelling

    if upp is not None:
        upp.open("rb").close()  # A file that cannot be read is told before anything is emptied or started.
    settings = stage.prepare(folder)
    narrator.act("A server as a user would run it")
    stage.smdp(settings, "pki", "init")
    narrator.step(f"test certificates generated in {settings.pki_dir}, signing keys in the vault {settings.vault_file}")
    with stage.serving(settings) as server:
        ports = server.state.ports
        narrator.step("PostgreSQL runs in the data folder, its schema is migrated")
        narrator.step(
            f"{settings.processes} server processes and a worker: pids {list(server.state.processes.values())}"
        )
        narrator.detail(f"ES9+ on port {ports['es9']}, ES2+ (mutual TLS) on {ports['es2']}, metrics on {ports['ops']}")
        asyncio.run(acts.perform(server, narrator, upp, Spelling(binding.value)))
        asyncio.run(swap_acts.perform(server, narrator))
        profiles = _show_profiles(narrator, settings)
    narrator.step("the server has stopped cleanly")
    return profiles


def _show_profiles(narrator: Narrator, settings: Settings) -> list[dict[str, Any]]:
    from server.demo.stage import smdp

    rows: list[dict[str, Any]] = smdp(settings, "profile", "list")
    keys = ("iccid", "operator", "profileType", "state", "orderState", "eid")
    columns = ("ICCID", "operator", "type", "stock", "order", "EID")
    narrator.table("Profiles and their states", columns, [[row[key] for key in keys] for row in reversed(rows)])
    return rows

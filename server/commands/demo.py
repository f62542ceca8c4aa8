"""`smdp demo`: the whole job end to end on this machine, narrated; exit status 0 when all went as it must, else 1."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from server.demo.narration import Narrator
    from server.settings import Settings


def command(
    *,
    upp: Annotated[Path | None, typer.Option(help="A real profile package (SAIP, DER) to import and download.")] = None,
    folder: Annotated[Path, typer.Option(help="Working folder; emptied first.")] = Path("var/demo"),
) -> None:
    """Order, download and install profiles against a server of two processes, and show what must fail failing.

    Then steer an eSIM through the API and the eIM.

    Example: smdp demo --upp profile.der
    """
    from server.demo.narration import Narrator
    from server.demo.stage import Deviation

    narrator = Narrator()
    try:
        _play(narrator, folder, upp)
    except Deviation as deviation:
        narrator.failure(str(deviation))
        raise typer.Exit(1) from None
    narrator.end("Everything went as it must.")


def _play(narrator: Narrator, folder: Path, upp: Path | None) -> None:
    import asyncio

    from server.demo import acts, stage, swap_acts

    package = upp.read_bytes() if upp else None
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
        asyncio.run(acts.perform(server, narrator, upp, package))
        asyncio.run(swap_acts.perform(server, narrator))
        _show_profiles(narrator, settings)
    narrator.step("the server has stopped cleanly")


def _show_profiles(narrator: Narrator, settings: Settings) -> None:
    from server.demo.stage import smdp

    rows = smdp(settings, "profile", "list")
    keys = ("iccid", "operator", "profileType", "state", "orderState", "eid")
    columns = ("ICCID", "operator", "type", "stock", "order", "EID")
    narrator.table("Profiles and their states", columns, [[row[key] for key in keys] for row in reversed(rows)])

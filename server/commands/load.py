"""`smdp load`: many simulated devices download from a running server; what that took, for people or as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.commands.binding import Binding

if TYPE_CHECKING:
    from rich.table import Table

    from server.running import Running
    from server.settings import Settings
    from simulator.fleet import FleetConnections, FleetReport
    from simulator.load import LoadPlan, LoadResult


class Connect(StrEnum):
    """How long a TLS connection lives; the value is the word on the command line."""

    FRESH = "fresh"
    PER_CALL = "per-call"
    KEPT = "kept"


class Kind(StrEnum):
    """Curve of the generated EUM's keys."""

    P256 = "p256"
    BRAINPOOL = "brainpool-p256r1"


def command(  # noqa: PLR0913 -- one parameter an option
    orders: Annotated[
        Path, typer.Argument(help="File with one activation code a line, as `smdp order create` prints it.")
    ],
    *,
    concurrency: Annotated[int, typer.Option(min=1, help="Devices at work at the same time.")] = 20,
    connections: Annotated[
        Connect, typer.Option(help="TLS connections: a fresh one per device, one per call, or kept over devices.")
    ] = Connect.FRESH,
    sample: Annotated[
        float, typer.Option(min=0, max=1, help="Share of devices with a strict card that checks everything.")
    ] = 0.05,
    curve: Annotated[Kind, typer.Option(help="Which generated EUM issues the cards.")] = Kind.P256,
    eum_certificate: Annotated[Path | None, typer.Option(help="Certificate of the EUM; else a generated one.")] = None,
    eum_key: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
    ci_certificate: Annotated[Path | None, typer.Option(help="CI certificate the cards trust.")] = None,
    tls_ca: Annotated[Path | None, typer.Option(help="Issuer of the server's TLS certificate (PEM or DER).")] = None,
    server: Annotated[str, typer.Option(help="HOST:PORT of ES9+; else the server that runs on the data folder.")] = "",
    binding: Annotated[Binding, typer.Option(help="Binding of ES9+.")] = Binding.JSON,
    confirmation_code: Annotated[str | None, typer.Option(help="The code all orders ask for.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds a device waits for an answer.")] = 90.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Download every order of a file once, each by a device of its own.

    Exit status 1 unless all of them are installed and reported.

    Example: smdp load orders.txt --concurrency 50 --connections kept --sample 0.1 --json
    """
    import uvloop

    from server import running, settings
    from server.settings import SettingsError
    from simulator.load import LoadPlan
    from simulator.lpa_bindings import Spelling

    loaded = settings.load()
    found = None if server else running.read(loaded.data_dir)
    material = _material(loaded, curve, eum_certificate, eum_key, ci_certificate, tls_ca)
    host, port = _address(server, found, loaded)
    try:
        plan = LoadPlan(
            orders=orders,
            eum_certificate=material.eum_certificate,
            eum_key=material.eum_key,
            ci_certificates=(material.ci_certificate,),
            ca=material.tls_ca,
            host=host,
            port=port,
            concurrency=concurrency,
            verify_every=round(1 / sample) if sample else 0,
            connections=_meaning(connections),
            confirmation_code=confirmation_code,
            spelling=Spelling(binding.value),
            timeout=timeout,
        )
        result = uvloop.run(_run(plan, loaded, found))
    except (ValueError, ProcessLookupError) as error:
        raise SettingsError(str(error)) from error
    if as_json:
        typer.echo(result.to_json())
    else:
        _show(result)
    raise typer.Exit(int(bool(result.report.failures)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Material:
    """Files of the other side: an EUM, the CI its cards trust, the issuer of the server's TLS certificate."""

    eum_certificate: Path
    eum_key: Path
    ci_certificate: Path
    tls_ca: Path


def _material(
    loaded: Settings, curve: Kind, certificate: Path | None, key: Path | None, ci: Path | None, tls_ca: Path | None
) -> _Material:
    """What was given, completed from a generated PKI folder where something is missing."""
    from certs import layout
    from crypto.curves import Curve

    if certificate and key and ci:
        return _Material(eum_certificate=certificate, eum_key=key, ci_certificate=ci, tls_ca=tls_ca or ci)
    pki = layout.load(loaded.pki_dir)
    made = pki.device_files(Curve.P256 if curve is Kind.P256 else Curve.BRAINPOOL_P256R1)
    return _Material(
        eum_certificate=certificate or made.eum_certificate,
        eum_key=key or made.eum_key,
        ci_certificate=ci or made.ci_certificate,
        tls_ca=tls_ca or ci or pki.device_files(Curve.P256).ci_certificate,
    )


def _address(given: str, found: Running | None, loaded: Settings) -> tuple[str, int]:
    """Where ES9+ is. Raises SettingsError."""
    from server.settings import SettingsError

    if found is not None:
        return found.hosts["es9"], found.ports["es9"]
    host, _, port = given.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError(
            f"no server runs on {loaded.data_dir}: start one with `smdp serve`, or name one with --server HOST:PORT"
        )
    return host.strip("[]"), int(port)


def _meaning(connections: Connect) -> FleetConnections:
    from simulator.fleet import FleetConnections

    return {
        Connect.FRESH: FleetConnections.PER_DEVICE,
        Connect.PER_CALL: FleetConnections.PER_CALL,
        Connect.KEPT: FleetConnections.KEPT,
    }[connections]


async def _run(plan: LoadPlan, loaded: Settings, found: Running | None) -> LoadResult:
    """The run behind a progress bar; processor time is measured where the server is on this machine."""
    from server.meter import metering
    from server.printing import progress_bar
    from simulator.load import run_load

    with progress_bar() as bar:
        task = bar.add_task("downloads", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if found is None:
            return await run_load(plan, progress)
        async with metering(loaded, found) as meter:
            return await run_load(plan, progress, meter)


def _show(result: LoadResult) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    report = result.report
    console.print(
        f"{report.installed} of {report.devices} devices installed in {report.wall_seconds:.1f} s, "
        f"{report.downloads_per_second:.1f} a second; {report.verified} of them checked everything"
    )
    for part, milliseconds in (result.server_cpu_ms_per_download or {}).items():
        console.print(f"{part}: {milliseconds:.2f} ms of processor time a download")
    console.print(_latencies(report))
    for failure in report.failures:
        console.print(f"{failure.count} x {failure.code}: {failure.example}", style="red", markup=False)


def _latencies(report: FleetReport) -> Table:
    from rich.table import Table

    table = Table(title="Milliseconds", title_justify="left")
    for column in ("function", "count", "mean", "p50", "p90", "p99", "worst"):
        table.add_column(column, justify="left" if column == "function" else "right", no_wrap=True)
    for one in report.latencies:
        figures = (one.mean, one.p50, one.p90, one.p99, one.worst)
        table.add_row(one.function, str(one.count), *(f"{seconds * 1000:.1f}" for seconds in figures))
    return table

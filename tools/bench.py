"""`make bench`: what a download costs the server, beside the floors of the same run and machine; see --help."""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from crypto.curves import Curve
from rsp.identifiers import ActivationCode
from server.meter import metering
from simulator.exchange import trust
from simulator.fleet import FleetConnections, FleetReport, server_cpu
from simulator.load import LoadPlan, LoadResult, run_load
from tools import bench_server as stage
from tools import floors
from tools.bench_server import Cores, Subject
from transport.tls import server_context

WARM_UP = 60
FLOOR_TURNS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """Orders through ES2+: DownloadOrder and ConfirmOrder with release."""

    per_second: float
    cpu_ms: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One load run. `cpu_ms` is processor time a download by part of the server."""

    connections: str
    cpu_ms: dict[str, float]
    client_cpu_ms: float
    report: FleetReport

    @property
    def server_ms(self) -> float:
        """HTTP processes and worker, without the database."""
        return self.cpu_ms["http"] + self.cpu_ms["worker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Milliseconds of processor time for the cryptography of a download, and for the server's side of a handshake."""

    crypto_ms: float
    handshake_ms: float

    @property
    def both(self) -> float:
        """Together."""
        return self.crypto_ms + self.handshake_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything measured. Milliseconds of processor time for one download; ratios are medians over the rounds."""

    floors: list[Floor]
    empty_ms: list[float]
    orders: Orders
    runs: list[Run]
    to_floor: float
    http_to_floor: float
    to_empty: float


def main() -> int:
    """Measure, print, guard; 1 when a download failed or the server is too far above the floor."""
    options = _options()
    cores = Cores.of_this_machine()
    os.sched_setaffinity(0, cores.load)
    with tempfile.TemporaryDirectory(prefix="smdp-bench-") as folder:
        loaded = stage.prepare(Path(folder), options.processes, options.log_level)
        with stage.serving(loaded, cores) as subject:
            result = uvloop.run(_measure(options, subject, cores))
    _show(result)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    return _judge(result, options.limit)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Example: make bench ARGS='--devices 1000 --rounds 5 --json bench.json'"
    )
    parser.add_argument("--devices", type=int, default=400, help="downloads a round (400)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds with fresh connections (3)")
    parser.add_argument("--concurrency", type=int, default=16, help="devices at the same time (16)")
    parser.add_argument("--padding", type=int, default=10_000, help="extra bytes in a profile (10000)")
    parser.add_argument("--processes", type=int, default=1, help="HTTP processes of the server (1)")
    parser.add_argument("--log-level", default="warning", help="of the server (warning)")
    parser.add_argument("--limit", type=float, default=20.0, help="fail above so many times the floor (20)")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    return parser.parse_args()


async def _measure(options: argparse.Namespace, subject: Subject, cores: Cores) -> Result:
    modes = [FleetConnections.PER_DEVICE] * options.rounds + [FleetConnections.PER_CALL, FleetConnections.KEPT]
    total = WARM_UP + options.devices * len(modes)
    await asyncio.to_thread(stage.stock, subject, total, options.padding)
    orders, codes = await _ordered(subject, total, options.concurrency)
    await _loaded(subject, codes[:WARM_UP], FleetConnections.PER_DEVICE, options)
    empty, runs, lowest = [], [], []
    with stage.empty(subject, cores) as (pid, port):
        await stage.load_empty(subject, port, WARM_UP, options.concurrency)
        for number, mode in enumerate(modes):
            part = codes[WARM_UP + number * options.devices :][: options.devices]
            runs.append(await _loaded(subject, part, mode, options))
            if mode is FleetConnections.PER_DEVICE:
                lowest.append(_floor(subject, cores))
                before = server_cpu([pid])
                await stage.load_empty(subject, port, options.devices, options.concurrency)
                empty.append((server_cpu([pid]) - before) * 1000 / options.devices)
    return _result(orders, lowest, empty, runs)


def _floor(subject: Subject, cores: Cores) -> Floor:
    """Measured on the server's core between its runs: other work on the machine then weighs on both alike."""
    listener = server_context(subject.pki.tls_certificate, subject.pki.tls_key)
    os.sched_setaffinity(0, cores.server)
    try:
        return Floor(
            crypto_ms=floors.milliseconds(floors.download_crypto(), FLOOR_TURNS),
            handshake_ms=floors.handshake(listener, trust(subject.ca), subject.name, FLOOR_TURNS),
        )
    finally:
        os.sched_setaffinity(0, cores.load)


def _result(orders: Orders, lowest: list[Floor], empty: list[float], runs: list[Run]) -> Result:
    fresh = [run for run in runs if run.connections == FleetConnections.PER_DEVICE.value]
    rounds = list(zip(fresh, lowest, empty, strict=True))
    return Result(
        floors=lowest,
        empty_ms=empty,
        orders=orders,
        runs=runs,
        to_floor=statistics.median(run.server_ms / floor.both for run, floor, _ in rounds),
        http_to_floor=statistics.median(run.cpu_ms["http"] / floor.both for run, floor, _ in rounds),
        to_empty=statistics.median(run.server_ms / bare for run, _, bare in rounds),
    )


async def _ordered(subject: Subject, count: int, concurrency: int) -> tuple[Orders, list[ActivationCode]]:
    async with metering(subject.settings, subject.state) as meter:
        before, started = meter.read(), perf_counter()
        codes = await stage.order(subject, count, concurrency)
        elapsed = perf_counter() - started
        used = {part: (seconds - before[part]) * 1000 / count for part, seconds in meter.read().items()}
    return Orders(per_second=count / elapsed, cpu_ms=used), codes


async def _loaded(
    subject: Subject, codes: list[ActivationCode], mode: FleetConnections, options: argparse.Namespace
) -> Run:
    orders = subject.settings.data_dir / "orders.txt"
    stage.write_orders(orders, codes)
    files = subject.pki.device_files(Curve.P256)
    plan = LoadPlan(
        orders=orders,
        eum_certificate=files.eum_certificate,
        eum_key=files.eum_key,
        ci_certificates=(files.ci_certificate,),
        ca=subject.ca,
        host=subject.state.hosts["es9"],
        port=subject.state.ports["es9"],
        concurrency=options.concurrency,
        verify_every=20,
        connections=mode,
    )
    async with metering(subject.settings, subject.state) as meter:
        result = await run_load(plan, _unwatched, meter)
    return _run(mode, result)


def _unwatched(*_: int) -> None:
    """Nobody watches the progress."""


def _run(mode: FleetConnections, result: LoadResult) -> Run:
    assert result.server_cpu_ms_per_download is not None
    return Run(
        connections=mode.value,
        cpu_ms=result.server_cpu_ms_per_download,
        client_cpu_ms=result.client_cpu_seconds * 1000 / result.report.devices,
        report=result.report,
    )


def _show(result: Result) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table(title="Milliseconds of processor time a download, and of latency", title_justify="left")
    columns = ("connections", "downloads/s", "HTTP", "worker", "PostgreSQL", "p50", "p90", "p99")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for run in result.runs:
        whole = next(one for one in run.report.latencies if one.function == "download")
        parts = (run.cpu_ms[part] for part in ("http", "worker", "database"))
        latency = (seconds * 1000 for seconds in (whole.p50, whole.p90, whole.p99))
        figures = [*(f"{one:.2f}" for one in parts), *(f"{one:.0f}" for one in latency)]
        table.add_row(run.connections, f"{run.report.downloads_per_second:.0f}", *figures)
    console.print(table)
    per_order = ", ".join(f"{part} {one:.2f}" for part, one in result.orders.cpu_ms.items())
    console.print(f"orders over ES2+: {result.orders.per_second:.0f} a second; CPU-ms an order: {per_order}")
    crypto = statistics.median(floor.crypto_ms for floor in result.floors)
    handshake = statistics.median(floor.handshake_ms for floor in result.floors)
    console.print(f"floor, cryptography of a download: {crypto:.2f} CPU-ms")
    console.print(f"floor, one TLS handshake:          {handshake:.2f} CPU-ms")
    bare = statistics.median(result.empty_ms)
    console.print(f"floor, empty HTTPS server:         {bare:.2f} CPU-ms for the requests of a download")
    console.print(
        f"server / (cryptography + handshake): {result.to_floor:.2f} (HTTP alone {result.http_to_floor:.2f}); "
        f"server / empty server: {result.to_empty:.2f}"
    )


def _judge(result: Result, limit: float) -> int:
    failed = [failure for run in result.runs for failure in run.report.failures]
    for failure in failed:
        print(f"{failure.count} downloads failed: {failure.code}: {failure.example}", file=sys.stderr)
    if result.to_floor > limit:
        print(f"too slow: {result.to_floor:.2f} times the floor, at most {limit:g} are allowed", file=sys.stderr)
    return int(bool(failed) or result.to_floor > limit)


if __name__ == "__main__":
    sys.exit(main())

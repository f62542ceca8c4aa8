"""`make bench`: what a download costs the server, beside the floors of the same run and machine; see --help."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from crypto.curves import Curve
from simulator.fleet import FleetConnections, percentile
from tools import bench_guard
from tools import bench_server as stage
from tools.bench_eim import EimCosts, eim
from tools.bench_flat import Level, Size, flat
from tools.bench_load import Bench, Measured, Orders, Way, stocked
from tools.bench_server import Cores, Subject

_WARM_UP = 60
_CODE = "12345678"
_WAYS = {
    "device": Way(name="a connection for each device"),
    "call": Way(name="a connection for each call", connections=FleetConnections.PER_CALL),
    "kept": Way(name="kept connections", connections=FleetConnections.KEPT),
    "brainpool": Way(name="brainpoolP256r1", curve=Curve.BRAINPOOL_P256R1),
    "code": Way(name="confirmation code", confirmation_code=_CODE),
}
_OTHERS = ("session", "two", "latency", "orders", "eim")
MODES = (*_WAYS, *_OTHERS)
_SIZES = (
    Size(orders=1_000),
    Size(orders=100_000),
    Size(orders=1_000_000),
    Size(orders=1_000_000, open_sessions=10_000),
)
_LOAD_SHARE = 0.7
_TWO_NEED = 3
_WIDTH = 160
"""Columns of the table: a result that is piped into a file is as wide as one on a screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds of every answered request at a share of the highest rate measured."""

    devices_per_second: float
    share: float
    p50: float
    p99: float
    by_function: dict[str, tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Resident megabytes of each process after so many downloads."""

    downloads: int
    megabytes: dict[str, float]


@dataclass(slots=True, kw_only=True)
class Result:
    """Everything measured; what was not asked for is missing."""

    cores: dict[str, list[int]]
    devices: int
    concurrency: int
    modes: dict[str, Measured] = field(default_factory=dict)
    orders: Orders | None = None
    latency: Latency | None = None
    eim: EimCosts | None = None
    flat: list[Level] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def main() -> int:
    """Measure, print, guard; 1 when a download failed or a ratio is worse than the guard allows."""
    options = _options()
    cores = Cores.of_this_machine()
    os.sched_setaffinity(0, cores.load)
    result = Result(
        cores={"server": sorted(cores.server), "database": sorted(cores.database), "load": sorted(cores.load)},
        devices=options.devices,
        concurrency=options.concurrency,
    )
    common = set(options.modes) - {"session", "two"}
    if common or options.memory:
        _on_a_server(options, cores, result, common)
    if options.flat:
        _on_full_servers(options, cores, result)
    if "session" in options.modes:
        _on_another(options, cores, result, "session", protection="session")
    if "two" in options.modes:
        if len(os.sched_getaffinity(0) | cores.server) < _TWO_NEED:
            result.left_out["two"] = f"two processes need {_TWO_NEED} cores: two to work on and one for the load"
        else:
            _on_another(options, cores.for_two(), result, "two", processes=2)
    _show(result)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    if options.write_guard:
        bench_guard.keep(_guarded(result))
    return judged(result, options.tolerance)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Examples: make bench ARGS='--rounds 5 --json bench.json'; make bench ARGS='--modes device --flat'",
    )
    parser.add_argument("--modes", type=_modes, default=list(MODES), help=f"some of {','.join(MODES)} (all)")
    parser.add_argument("--devices", type=int, default=250, help="downloads a round (250)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the first mode; the others have one less (3)")
    parser.add_argument("--concurrency", type=int, default=16, help="devices at the same time (16)")
    parser.add_argument("--padding", type=int, default=10_000, help="extra bytes in a profile (10000)")
    parser.add_argument("--log-level", default="warning", help="of the server (warning)")
    parser.add_argument("--flat", action="store_true", help="also with 1,000 to 1,000,000 orders (some five minutes)")
    parser.add_argument("--flat-most", type=int, default=_SIZES[-1].orders, help="the largest of them (1000000)")
    parser.add_argument("--memory", type=int, default=0, help="also memory over so many downloads (0)")
    parser.add_argument("--tolerance", type=float, default=1.25, help="a ratio may be so many times its guard (1.25)")
    parser.add_argument("--write-guard", action="store_true", help="keep the ratios of this run as the guard")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    return parser.parse_args()


def _modes(text: str) -> list[str]:
    named = [name for name in text.split(",") if name]
    if unknown := set(named) - set(MODES):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not among {', '.join(MODES)}")
    return named


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _on_a_server(options: argparse.Namespace, cores: Cores, result: Result, modes: set[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="smdp-bench-") as folder:
        _progress("starting a server")
        loaded = stage.prepare(Path(folder), options.log_level)
        with stage.serving(loaded, cores) as subject:
            uvloop.run(_measure(options, _bench(options, subject, cores), result, modes))


def _on_full_servers(options: argparse.Namespace, cores: Cores, result: Result) -> None:
    """A server for each size, all running at once; only one of them has anything to do at a time."""
    sizes = [size for size in _SIZES if size.orders <= options.flat_most]
    with ExitStack() as stack:
        servers = []
        for size in sizes:
            _progress(f"flat: starting a server for {size}")
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="smdp-bench-"))
            loaded = stage.prepare(Path(folder), options.log_level)
            servers.append((size, _bench(options, stack.enter_context(stage.serving(loaded, cores)), cores)))
        result.flat = uvloop.run(flat(servers, options.rounds, options.padding))


def _on_another(options: argparse.Namespace, cores: Cores, result: Result, mode: str, **changes: object) -> None:
    with tempfile.TemporaryDirectory(prefix="smdp-bench-") as folder:
        _progress(f"{mode}: starting a server")
        loaded = stage.prepare(Path(folder), options.log_level, **changes)
        with stage.serving(loaded, cores) as subject:
            bench = _bench(options, subject, cores)
            result.modes[mode] = uvloop.run(_only(options, bench, Way(name=_NAMES[mode])))


_NAMES = {"session": "session keys", "two": "two processes"}


def _bench(options: argparse.Namespace, subject: Subject, cores: Cores) -> Bench:
    return Bench(subject, cores, devices=options.devices, concurrency=options.concurrency, progress=_progress)


async def _only(options: argparse.Namespace, bench: Bench, way: Way) -> Measured:
    fewer = max(options.rounds - 1, 1)
    await stocked(bench.subject, _WARM_UP + options.devices * fewer, options.padding)
    await _warm(bench)
    return await bench.rounds(way, fewer)


async def _warm(bench: Bench) -> None:
    _, codes = await bench.ordered(_WARM_UP)
    await bench.round(_WAYS["device"], codes)


async def _measure(options: argparse.Namespace, bench: Bench, result: Result, modes: set[str]) -> None:
    await stocked(bench.subject, _needed(options, modes), options.padding)
    result.orders, codes = await bench.ordered(_WARM_UP if "orders" not in modes else max(_WARM_UP, 2 * bench.devices))
    await bench.round(_WAYS["device"], codes)
    for name, way in _WAYS.items():
        if name in modes:
            rounds = options.rounds if name == "device" else max(options.rounds - 1, 1)
            result.modes[name] = await bench.rounds(way, rounds, with_empty=name == "device")
    if "latency" in modes and "device" in result.modes:
        result.latency = await _latency(bench, result.modes["device"].per_second.median)
    if "eim" in modes:
        result.eim = await eim(bench, 2 * bench.devices, bench.devices, max(options.rounds - 1, 1))
    if options.memory:
        result.memory = await _memory(bench, options.memory)


def _needed(options: argparse.Namespace, modes: set[str]) -> int:
    """How many profiles all of this takes out of stock."""
    rounds: int = sum(
        options.rounds if name == "device" else max(options.rounds - 1, 1) for name in _WAYS if name in modes
    )
    rounds += 2 * ("orders" in modes) + 2 * ("latency" in modes)
    return int(_WARM_UP + options.devices * rounds + options.memory)


async def _latency(bench: Bench, highest: float) -> Latency:
    rate = highest * _LOAD_SHARE
    way = Way(name=f"{rate:.0f} devices a second", per_second=rate)
    bench.progress(f"latency: {way.name}, {_LOAD_SHARE:.0%} of the most")
    _, codes = await bench.ordered(2 * bench.devices)
    run = await bench.round(way, codes)
    functions = [one for one in run.report.latencies if one.function != "download"]
    return Latency(
        devices_per_second=rate,
        share=_LOAD_SHARE,
        p50=max(one.p50 for one in functions) * 1000,
        p99=max(one.p99 for one in functions) * 1000,
        by_function={one.function: (one.p50 * 1000, one.p99 * 1000) for one in functions},
    )


async def _memory(bench: Bench, downloads: int) -> list[Memory]:
    found = [Memory(downloads=0, megabytes=_resident(bench.subject))]
    step = max(downloads // 10, 1)
    for done in range(step, downloads + 1, step):
        bench.progress(f"memory: {done} of {downloads} downloads")
        _, codes = await bench.ordered(step)
        await bench.round(_WAYS["device"], codes)
        found.append(Memory(downloads=done, megabytes=_resident(bench.subject)))
    return found


def _resident(subject: Subject) -> dict[str, float]:
    """Megabytes of each process of the server that are in memory now."""
    found = {}
    for name, pid in subject.state.processes.items():
        status = Path(f"/proc/{pid}/status").read_text()
        kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
        found[name] = int(kilobytes) / 1024
    return found


def _show(result: Result) -> None:
    console = Console(highlight=False, soft_wrap=True, width=_WIDTH)
    if result.modes:
        _show_modes(console, result)
    if result.orders is not None:
        parts = ", ".join(f"{part} {one:.2f}" for part, one in result.orders.cpu_ms.items())
        console.print(f"orders over ES2+: {result.orders.per_second:.0f} a second; CPU-ms an order: {parts}")
    if result.latency is not None:
        steps = ", ".join(f"{name} {p50:.0f}/{p99:.0f}" for name, (p50, p99) in result.latency.by_function.items())
        rate, share = result.latency.devices_per_second, result.latency.share
        console.print(f"latency at {rate:.0f} devices a second ({share:.0%} of the most), p50/p99 ms: {steps}")
    if result.eim is not None:
        poll, command = (
            "; ".join(f"{part} {one:.2f}" for part, one in costs.items())
            for costs in (result.eim.poll_ms, result.eim.command_ms)
        )
        console.print(
            f"eIM, a poll that finds nothing: {poll} CPU-ms; HTTP / empty answer with one read "
            f"({result.eim.bare_ms:.2f}): {result.eim.to_bare}"
        )
        console.print(f"eIM, a command executed: {command} CPU-ms")
    for level in result.flat:
        idle = ", ".join(f"{part} {one:.1f} %" for part, one in level.idle_percent.items())
        console.print(
            f"flat, {level.size}: server / floor {level.measured.to_floor}, to the first "
            f"{level.server_to_first}; PostgreSQL to the first {level.database_to_first}; idle: {idle}"
        )
    for one in result.memory:
        parts = ", ".join(f"{name} {size:.1f} MB" for name, size in one.megabytes.items())
        console.print(f"memory after {one.downloads} downloads: {parts}")
    for name, why in result.left_out.items():
        console.print(f"{name}: left out, {why}")


def _show_modes(console: Console, result: Result) -> None:
    table = Table(title="CPU-ms a download (medians), and ratios within a round: median (least-most)")
    for column in (
        "mode",
        "HTTP",
        "worker",
        "PostgreSQL",
        "floor",
        "server / floor",
        "HTTP / floor",
        "PostgreSQL / server",
        "downloads/s",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for one in result.modes.values():
        parts = [f"{_median([run.cpu_ms[part] for run in one.rounds]):.2f}" for part in ("http", "worker", "database")]
        floor = f"{_median([run.floor.both for run in one.rounds]):.2f}"
        ratios = (str(one.to_floor), str(one.http_to_floor), str(one.database_to_server))
        table.add_row(one.name, *parts, floor, *ratios, f"{one.per_second.median:.0f}")
    console.print(table)
    device = result.modes.get("device")
    if device is not None and device.to_empty is not None:
        floors = [run.floor for run in device.rounds]
        console.print(
            f"floor: cryptography {_median([one.crypto_ms for one in floors]):.2f}, one TLS handshake "
            f"{_median([one.handshake_ms for one in floors]):.2f} CPU-ms; empty HTTPS server "
            f"{_median(device.empty_ms):.2f}; server / empty server {device.to_empty}"
        )
    if device is not None and "two" in result.modes:
        gain = result.modes["two"].per_second.median / device.per_second.median
        console.print(f"two processes / one: {gain:.2f} times the downloads a second")


def _median(values: Sequence[float]) -> float:
    return percentile(sorted(values), 50)


def _guarded(result: Result) -> dict[str, dict[str, float]]:
    """What the guard compares: ratios, which the speed of the machine does not move."""
    found = {
        name: {"server_to_floor": one.to_floor.median, "database_to_server": one.database_to_server.median}
        for name, one in result.modes.items()
    }
    if result.eim is not None:
        found["eim"] = {"poll_to_bare": result.eim.to_bare.median}
    return found


def judged(result: Result, tolerance: float) -> int:
    """The exit status: 1 when a download failed, or a ratio is beyond its guard by more than `tolerance`."""
    faults = [
        f"{one.name}: {failure.count} downloads failed: {failure.code}: {failure.example}"
        for one in result.modes.values()
        for run in one.rounds
        for failure in run.report.failures
    ]
    guard = bench_guard.kept()
    for mode, ratios in _guarded(result).items():
        for name, ratio in ratios.items():
            allowed = guard.get(mode, {}).get(name, float("inf")) * tolerance
            if ratio > allowed:
                faults.append(f"{mode}: {name} is {ratio:.2f}, more than {allowed:.2f}: something has become slower")
    for fault in faults:
        print(fault, file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())

"""Downloads as `tools/bench.py` measures them: orders, a fleet, processor time by part, and the floors beside it."""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

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

FLOOR_TURNS = 300
VERIFY_EVERY = 20

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How devices download in one mode."""

    name: str
    connections: FleetConnections = FleetConnections.PER_DEVICE
    curve: Curve = Curve.P256
    confirmation_code: str | None = None
    per_second: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Milliseconds of processor time: the cryptography of a download, the server's side of a handshake, and both."""

    crypto_ms: float
    handshake_ms: float

    @property
    def both(self) -> float:
        """Together."""
        return self.crypto_ms + self.handshake_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The median of the rounds, and their extremes."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Over at least one round."""
        return cls(median=statistics.median(values), least=min(values), most=max(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}-{self.most:.2f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One load run with its floor. `cpu_ms` is processor time a download by part of the server."""

    cpu_ms: dict[str, float]
    client_cpu_ms: float
    floor: Floor
    report: FleetReport

    @property
    def server_ms(self) -> float:
        """HTTP processes and worker, without the database."""
        return self.cpu_ms["http"] + self.cpu_ms["worker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The rounds of one mode. Ratios are made within a round."""

    name: str
    rounds: list[Round]
    to_floor: Spread
    http_to_floor: Spread
    database_to_server: Spread
    per_second: Spread
    empty_ms: list[float] = field(default_factory=list)
    to_empty: Spread | None = None

    @classmethod
    def of(cls, name: str, rounds: list[Round], empty_ms: list[float]) -> Measured:
        """Ratios and their spread."""
        return cls(
            name=name,
            rounds=rounds,
            to_floor=Spread.of([one.server_ms / one.floor.both for one in rounds]),
            http_to_floor=Spread.of([one.cpu_ms["http"] / one.floor.both for one in rounds]),
            database_to_server=Spread.of([one.cpu_ms["database"] / one.server_ms for one in rounds]),
            per_second=Spread.of([one.report.downloads_per_second for one in rounds]),
            empty_ms=empty_ms,
            to_empty=Spread.of([one.server_ms / bare for one, bare in zip(rounds, empty_ms, strict=True)])
            if empty_ms
            else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """Orders through ES2+ (DownloadOrder and ConfirmOrder with release): CPU-ms of one by part."""

    count: int
    per_second: float
    cpu_ms: dict[str, float]


class Bench:
    """Orders from a server and loads it."""

    def __init__(self, subject: Subject, cores: Cores, *, devices: int, concurrency: int, progress: Progress) -> None:
        self.subject = subject
        self.cores = cores
        self.devices = devices
        self.concurrency = concurrency
        self.progress = progress

    async def ordered(self, count: int, confirmation_code: str | None = None) -> tuple[Orders, list[ActivationCode]]:
        """`count` released orders, and what ordering them cost."""
        async with metering(self.subject.settings, self.subject.state) as meter:
            before, started = meter.read(), perf_counter()
            codes = await stage.order(self.subject, count, self.concurrency, confirmation_code)
            elapsed = perf_counter() - started
            used = {part: (seconds - before[part]) * 1000 / count for part, seconds in meter.read().items()}
        return Orders(count=count, per_second=count / elapsed, cpu_ms=used), codes

    async def rounds(self, way: Way, rounds: int, *, with_empty: bool = False) -> Measured:
        """So many rounds of `devices` downloads, each with a floor of its own."""
        loaded: list[Round] = []
        empty: list[float] = []
        for number in range(rounds):
            self.progress(f"{way.name}: round {number + 1} of {rounds}")
            _, codes = await self.ordered(self.devices, way.confirmation_code)
            loaded.append(await self.round(way, codes))
            if with_empty:
                empty.append(await self._empty())
        return Measured.of(way.name, loaded, empty)

    async def round(self, way: Way, codes: Sequence[ActivationCode]) -> Round:
        """One round over these orders."""
        orders = self.subject.settings.data_dir / "orders.txt"
        stage.write_orders(orders, codes)
        plan = self._plan(way, orders)
        before = self.floor(way.curve)
        async with metering(self.subject.settings, self.subject.state) as meter:
            result = await run_load(plan, _unwatched, meter)
        after = self.floor(way.curve)
        floor = Floor(
            crypto_ms=(before.crypto_ms + after.crypto_ms) / 2,
            handshake_ms=(before.handshake_ms + after.handshake_ms) / 2,
        )
        return _round(result, floor)

    def floor(self, curve: Curve) -> Floor:
        """Measured on the server's core right before and after its run: other work then weighs on both alike."""
        pki = self.subject.pki
        listener = server_context(pki.tls_certificate, pki.tls_key)
        os.sched_setaffinity(0, self.cores.server)
        try:
            return Floor(
                crypto_ms=floors.milliseconds(floors.download_crypto(curve.instance), FLOOR_TURNS),
                handshake_ms=floors.handshake(listener, trust(self.subject.ca), self.subject.name, FLOOR_TURNS),
            )
        finally:
            os.sched_setaffinity(0, self.cores.load)

    async def _empty(self) -> float:
        """CPU-ms the requests of a download cost a server that does nothing else."""
        with stage.empty(self.subject, self.cores) as (pid, port):
            await stage.load_empty(self.subject, port, 40, self.concurrency)
            before = server_cpu([pid])
            await stage.load_empty(self.subject, port, self.devices, self.concurrency)
            return (server_cpu([pid]) - before) * 1000 / self.devices

    def _plan(self, way: Way, orders: Path) -> LoadPlan:
        files = self.subject.pki.device_files(way.curve)
        return LoadPlan(
            orders=orders,
            eum_certificate=files.eum_certificate,
            eum_key=files.eum_key,
            ci_certificates=(files.ci_certificate,),
            ca=self.subject.ca,
            host=self.subject.state.hosts["es9"],
            port=self.subject.state.ports["es9"],
            concurrency=200 if way.per_second else self.concurrency,
            verify_every=VERIFY_EVERY,
            connections=way.connections,
            confirmation_code=way.confirmation_code,
            per_second=way.per_second,
        )


async def stocked(subject: Subject, count: int, padding: int) -> None:
    """Generated profiles in stock, more to each call."""
    await asyncio.to_thread(stage.stock, subject, count, padding)


def _unwatched(*_: int) -> None:
    """The rounds tell of their progress themselves."""


def _round(result: LoadResult, floor: Floor) -> Round:
    assert result.server_cpu_ms_per_download is not None
    return Round(
        cpu_ms=result.server_cpu_ms_per_download,
        client_cpu_ms=result.client_cpu_seconds * 1000 / result.report.devices,
        floor=floor,
        report=result.report,
    )

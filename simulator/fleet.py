"""Many devices that download at once, and what that took: latencies, failures by code, the server's processor time."""

from __future__ import annotations

import asyncio
import math
import os
import ssl
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from time import perf_counter

import msgspec

from rsp.identifiers import ActivationCode
from simulator.card import Card
from simulator.cheap_card import CheapCard, EuiccInfo
from simulator.exchange import Connections, Exchange, Habits
from simulator.issuer import EumIssuer
from simulator.lpa import USER_AGENT, CardPort, DownloadResult, Errored, Installed, Lpa, Refused, Spelling

Progress = Callable[[int, int], None]
_WHOLE = "download"


class FleetConnections(Enum):
    """How long a TLS connection lives: one call, one device's download, or as long as the fleet runs."""

    PER_CALL = "per call"
    PER_DEVICE = "per device"
    KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """How the fleet behaves.

    `verify_every` n makes every n-th device a strict card that checks all the server sends; 0 makes none.
    `per_second` devices begin in a second, as far as `concurrency` allows; 0 begins one whenever another ends.
    """

    concurrency: int = 20
    per_second: float = 0.0
    connections: FleetConnections = FleetConnections.PER_DEVICE
    verify_every: int = 0
    confirmation_code: str | None = None
    first_serial: int = 1
    spelling: Spelling = Spelling.JSON
    habits: Habits = field(default_factory=Habits)

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.verify_every < 0:
            raise ValueError("concurrency is at least 1, verify_every at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds per answered request of a function, retried ones included; `download` is a whole device."""

    function: str
    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    worst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCount:
    """How often a download failed in one way, with one text as example."""

    code: str
    count: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetReport:
    """What came of a run. `verified` counts installations checked by a strict card, `undelivered` those whose
    notification the server did not take.
    """

    devices: int
    installed: int
    verified: int
    refused: int
    errored: int
    undelivered: int
    wall_seconds: float
    downloads_per_second: float
    latencies: tuple[Latency, ...]
    failures: tuple[FailureCount, ...]

    def to_json(self) -> str:
        """The report as a JSON object."""
        return msgspec.json.encode(self).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    card: CardPort
    code: ActivationCode
    strict: bool


class Fleet:
    """One device per activation code. `prepare` makes the cards, so that their making is not measured; `run` loads.

    All cards compute in the event loop that also sends: where the server is fast, spread fleets over processes, each
    with its part of the codes and a `first_serial` of its own.
    """

    def __init__(
        self,
        issuer: EumIssuer,
        activation_codes: Iterable[ActivationCode],
        *,
        tls: ssl.SSLContext,
        addresses: Mapping[str, tuple[str, int]],
        options: FleetOptions | None = None,
    ) -> None:
        self._issuer = issuer
        self._codes = tuple(activation_codes)
        self._tls = tls
        self._addresses = addresses
        self._options = options or FleetOptions()
        self._members: list[_Member] = []
        self._tally = _Tally()

    def prepare(self) -> None:
        """Make the cards that are not made yet, about a millisecond each."""
        info: EuiccInfo | None = None
        for place in range(len(self._members), len(self._codes)):
            eid = self._issuer.eid(self._options.first_serial + place)
            credentials = self._issuer.issue(eid)
            info = info or EuiccInfo.of(credentials)
            strict = self._options.verify_every > 0 and place % self._options.verify_every == 0
            card: CardPort = Card(eid, [credentials]) if strict else CheapCard(credentials, info)
            self._members.append(_Member(card=card, code=self._codes[place], strict=strict))

    async def run(self, progress: Progress | None = None) -> FleetReport:
        """Download everything once; `progress(done, total)` is called after each device."""
        self.prepare()
        self._tally = _Tally(progress=progress, total=len(self._members))
        started = perf_counter()
        waiting = self._due(started)
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(self._options.concurrency, len(self._members))):
                workers.create_task(self._work(waiting))
        return self._tally.report(perf_counter() - started)

    def _due(self, started: float) -> Iterator[tuple[float, _Member]]:
        """Each device with the moment at which it begins."""
        pause = 1.0 / self._options.per_second if self._options.per_second else 0.0
        return ((started + place * pause, member) for place, member in enumerate(self._members))

    async def _work(self, waiting: Iterator[tuple[float, _Member]]) -> None:
        if self._options.connections is FleetConnections.KEPT:
            async with self._exchange() as exchange:
                for moment, member in waiting:
                    await _until(moment)
                    await self._download(member, exchange)
            return
        for moment, member in waiting:
            await _until(moment)
            async with self._exchange() as exchange:
                await self._download(member, exchange)

    def _exchange(self) -> Exchange:
        per_call = self._options.connections is FleetConnections.PER_CALL
        habits = replace(
            self._options.habits,
            connections=Connections.FRESH if per_call else Connections.KEPT,
            observe=self._observe,
        )
        return Exchange(tls=self._tls, addresses=self._addresses, habits=habits, user_agent=USER_AGENT)

    def _observe(self, function: str, seconds: float) -> None:
        self._tally.seconds[function].append(seconds)
        self._options.habits.observe(function, seconds)

    async def _download(self, member: _Member, exchange: Exchange) -> None:
        started = perf_counter()
        result = await Lpa(member.card, exchange, spelling=self._options.spelling).download(
            member.code, self._options.confirmation_code
        )
        self._tally.seconds[_WHOLE].append(perf_counter() - started)
        self._tally.add(result, strict=member.strict)


async def _until(moment: float) -> None:
    if (pause := moment - perf_counter()) > 0:
        await asyncio.sleep(pause)


@dataclass(slots=True)
class _Tally:
    """Collects results while the fleet runs."""

    progress: Progress | None = None
    total: int = 0
    done: int = 0
    installed: int = 0
    verified: int = 0
    refused: int = 0
    undelivered: int = 0
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, result: DownloadResult, *, strict: bool) -> None:
        """Count one result."""
        self.done += 1
        self.refused += isinstance(result, Refused)
        if isinstance(result, Installed):
            self.installed += 1
            self.verified += strict
        else:
            self._fail(*_described(result))
        if not isinstance(result, Refused) and result.notification_fault:
            self.undelivered += 1
            self._fail("handleNotification", result.notification_fault)
        if self.progress is not None:
            self.progress(self.done, self.total)

    def _fail(self, code: str, example: str) -> None:
        self.failures[code] += 1
        self.examples.setdefault(code, example)

    def report(self, wall_seconds: float) -> FleetReport:
        """Everything counted, after `wall_seconds`."""
        return FleetReport(
            devices=self.done,
            installed=self.installed,
            verified=self.verified,
            refused=self.refused,
            errored=self.done - self.installed - self.refused,
            undelivered=self.undelivered,
            wall_seconds=wall_seconds,
            downloads_per_second=self.installed / wall_seconds if wall_seconds else 0.0,
            latencies=tuple(_latency(function, seconds) for function, seconds in self.seconds.items()),
            failures=tuple(
                FailureCount(code=code, count=count, example=self.examples[code])
                for code, count in self.failures.most_common()
            ),
        )


def _described(result: Refused | Errored) -> tuple[str, str]:
    """A code to count by, and a text for people."""
    if isinstance(result, Refused):
        return f"{result.function} {result.code}", result.message
    if result.error_reason is not None:
        return f"{result.function} step {result.bpp_command_id} reason {result.error_reason}", result.cause
    return f"{result.function} error", result.cause


def _latency(function: str, seconds: Sequence[float]) -> Latency:
    ordered = sorted(seconds)
    return Latency(
        function=function,
        count=len(ordered),
        mean=sum(ordered) / len(ordered),
        p50=percentile(ordered, 50),
        p90=percentile(ordered, 90),
        p99=percentile(ordered, 99),
        worst=ordered[-1],
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of values in ascending order: at least `share` per cent are not larger."""
    return ordered[max(math.ceil(share / 100 * len(ordered)), 1) - 1]


def server_cpu(pids: Iterable[int]) -> float:
    """Seconds of processor time, user and system, that these processes have used. Raises ProcessLookupError."""
    return sum(_cpu(pid) for pid in pids)


def _cpu(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        raise ProcessLookupError(f"no process {pid} is running: give the process ids of the server") from None
    # The name of the program stands in parentheses and may hold blanks and parentheses itself (proc(5)).
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

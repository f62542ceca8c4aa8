"""What a poll of an IoT device costs the eIM, beside an empty HTTPS answer with one indexed read, and a command."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from crypto.certificates import TrustStore
from eim.operation import OperationKind
from rsp import tlv
from rsp.identifiers import Eid
from server.clock import SystemClock
from server.eim_wiring import Eim, eim_of, identity_of
from server.meter import metering
from server.preflight import open_vault
from simulator import esipa
from simulator.exchange import Connections, Exchange, Habits, trust
from simulator.fleet import server_cpu
from simulator.iot_card import IotCard
from simulator.ipa import Ipa
from simulator.network import Network
from store.embedded import EmbeddedPostgres
from store.pool import Pool, open_pool
from tools import bench_server as stage
from tools import bench_swaps, crowd
from tools.bench_load import Bench, Spread

_PATH = "/gsma/rsp2/asn1"


@dataclass(frozen=True, slots=True, kw_only=True)
class EimCosts:
    """CPU-ms of one poll that finds nothing, of the same in an empty server with one read, and of one command."""

    polls: int
    poll_ms: dict[str, float]
    bare_ms: float
    to_bare: Spread
    commands: int
    command_ms: dict[str, float]


async def eim(bench: Bench, polls: int, commands: int, rounds: int) -> EimCosts:
    """Every poll comes over a connection of its own, as devices do that sleep in between."""
    subject = bench.subject
    pool = await open_pool(EmbeddedPostgres(subject.settings.data_dir).dsn(), 2)
    try:
        issuer = bench_swaps.issuer_of(subject)
        eids = [issuer.eid(500_000 + number) for number in range(polls)]
        tables = await asyncpg.connect(EmbeddedPostgres(subject.settings.data_dir).dsn())
        await crowd.known(tables, eids)
        await tables.close()
        ours, bares, ratios = [], [], []
        for number in range(rounds):
            bench.progress(f"eim: round {number + 1} of {rounds}, {polls} polls that find nothing")
            used = await _used(bench, lambda: _poll_all(bench, _eim_port(bench), eids))
            bares.append(await _bare(bench, eids))
            ours.append({part: seconds / polls for part, seconds in used.items()})
            ratios.append((ours[-1]["http"]) / bares[-1])
        cards = await bench_swaps.made_cards(subject, pool, issuer, commands)
        bench.progress(f"eim: {commands} commands executed")
        await _queue(bench, pool, cards)
        done = await _used(bench, lambda: _execute_all(bench, cards))
    finally:
        await pool.close()
    return EimCosts(
        polls=polls,
        poll_ms={part: Spread.of([one[part] for one in ours]).median for part in ours[0]},
        bare_ms=Spread.of(bares).median,
        to_bare=Spread.of(ratios),
        commands=commands,
        command_ms={part: seconds / commands for part, seconds in done.items()},
    )


def _eim_port(bench: Bench) -> int:
    return bench.subject.state.ports["eim"]


async def _used(bench: Bench, work: Callable[[], Awaitable[None]]) -> dict[str, float]:
    """CPU-ms of each part of the server for `work` and all that follows from it."""
    async with metering(bench.subject.settings, bench.subject.state) as meter:
        before = meter.read()
        await work()
        await meter.settled()
        await asyncio.sleep(1.0)
        return {part: (seconds - before[part]) * 1000 for part, seconds in meter.read().items()}


async def _poll_all(bench: Bench, port: int, eids: Sequence[Eid]) -> None:
    turns = iter(eids)
    async with asyncio.TaskGroup() as workers:
        for _ in range(bench.concurrency):
            workers.create_task(_polls(bench, port, turns))


async def _polls(bench: Bench, port: int, turns: Iterator[Eid]) -> None:
    name, tls = bench.subject.settings.eim_names[0], trust(bench.subject.ca)
    for eid in turns:
        exchange = Exchange(
            tls=tls,
            addresses={name: ("127.0.0.1", port)},
            habits=Habits(connections=Connections.FRESH),
            user_agent=esipa.USER_AGENT,
            binding=esipa.BINDING,
        )
        async with exchange:
            await exchange.post(name, _PATH, tlv.wrap(0xBF4F, tlv.wrap(0x5A, eid.to_bytes())), function="getEimPackage")


async def _bare(bench: Bench, eids: Sequence[Eid]) -> float:
    """CPU-ms of a poll for aiohttp with the same certificate that reads one row by its key and answers."""
    dsn = EmbeddedPostgres(bench.subject.settings.data_dir).dsn()
    with stage.empty(bench.subject, bench.cores, eim=True, dsn=dsn) as (pid, port):
        await _poll_all(bench, port, eids[:40])
        before = server_cpu([pid])
        await _poll_all(bench, port, eids)
        return (server_cpu([pid]) - before) * 1000 / len(eids)


async def _queue(bench: Bench, pool: Pool, cards: Sequence[IotCard]) -> None:
    """Ask each card for its list of profiles."""
    made = _eim(bench, pool)
    until = datetime.now(UTC) + timedelta(days=1)
    for card in cards:
        key = f"bench-{secrets.token_hex(8)}"
        await made.packages.queue(crowd.TENANT, key, card.eid, OperationKind.LIST, expires_at=until)


def _eim(bench: Bench, pool: Pool) -> Eim:
    subject = bench.subject
    identity = identity_of(subject.settings, subject.pki)
    assert identity is not None
    trusted = TrustStore(subject.pki.ci_certificates)
    vault = open_vault(subject.settings)
    return eim_of(identity, pool, vault, trusted, subject.settings.server_names, SystemClock().now)


async def _execute_all(bench: Bench, cards: Sequence[IotCard]) -> None:
    turns = iter(cards)
    async with asyncio.TaskGroup() as workers:
        for _ in range(bench.concurrency):
            workers.create_task(_executes(bench, turns))


async def _executes(bench: Bench, turns: Iterator[IotCard]) -> None:
    subject = bench.subject
    address = (subject.state.hosts["eim"], _eim_port(bench))
    for card in turns:
        ipa = Ipa.over(card, Network(), tls=trust(subject.ca), addresses={subject.settings.eim_names[0]: address})
        async with ipa:
            await ipa.poll()

"""What thousands of waiting swaps cost the server, and how soon a device's answer wakes its swap; see --help."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from crypto.certificates import TrustStore
from crypto.curves import Curve
from eim.association import eim_configuration
from rsp.identifiers import Eid, Iccid
from server.clock import SystemClock
from server.eim_wiring import eim_of, identity_of
from server.meter import ServerMeter
from server.preflight import open_vault
from simulator import profile_package
from simulator.exchange import trust
from simulator.iot_card import IotCard
from simulator.iot_factory import FactoryProfile, association_token, made_in_factory
from simulator.ipa import Ipa
from simulator.issuer import EumIssuer
from simulator.network import Network
from simulator.profiles import Profile, ProfileState
from store.embedded import EmbeddedPostgres
from store.pool import open_pool
from tools import bench_server as stage
from tools import crowd
from tools.bench_server import Cores, Subject

LEAD = Iccid("8988211000000000011")
_SETTLE_SECONDS = 5.0
_FIRST_OF_CROWD = 100_000
_ASKED = "SELECT count(*) FROM esim_operations WHERE eid = ANY($1::text[])"
_COUNTS = """
SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()) AS commits,
(SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal') AS syncs
"""
_ANSWERS = """
SELECT swaps.eid, swap_steps.finished_at, max(eim_results.received_at) AS received_at
FROM swaps JOIN swap_steps ON swap_steps.swap_id = swaps.id AND swap_steps.step = 'confirm_on_card'
JOIN esim_operations ON esim_operations.eid = swaps.eid AND esim_operations.kind = 'list'
JOIN eim_results ON eim_results.operation_id = esim_operations.id
WHERE swaps.eid = ANY($1::text[]) AND swap_steps.outcome = 'done' GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """A stretch in which no device polls: share of one core in percent by part, resident megabytes of the worker."""

    cpu_percent: dict[str, float]
    worker_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Waking:
    """Milliseconds: from the first byte of a poll, and from the result's arrival, to the swap's next ledger row.

    `cpu_ms`: processor time of each part for one device, from its poll to the handing over of its next operation's
    order, TLS handshakes included. `commits` and `syncs` for one device: transactions of the database that ended, and
    how often its log was written to the disk.
    """

    devices: int
    from_poll: dict[str, float]
    from_result: dict[str, float]
    cpu_ms: dict[str, float]
    commits: float
    syncs: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=10_000, help="swaps that wait (10000)")
    parser.add_argument("--devices", type=int, default=300, help="devices that answer (300)")
    parser.add_argument("--rate", type=float, default=5.0, help="devices that poll in a second (5)")
    parser.add_argument("--quiet", type=float, default=20.0, help="seconds of each quiet stretch (20)")
    options = parser.parse_args()
    cores = Cores.of_this_machine()
    with tempfile.TemporaryDirectory(prefix="smdp-bench-") as folder:
        loaded = stage.prepare(Path(folder), "warning")
        with stage.serving(loaded, cores) as subject:
            uvloop.run(_measure(options, subject))
    return 0


async def _measure(options: argparse.Namespace, subject: Subject) -> None:
    embedded = EmbeddedPostgres(subject.settings.data_dir)
    pool = await open_pool(embedded.dsn(), 2)
    tables = await asyncpg.connect(embedded.dsn())
    meter = ServerMeter(subject.state, pool, embedded.cluster)
    try:
        _show("quiet, no swaps", await _quiet(subject, meter, options.quiet))
        issuer = issuer_of(subject)
        await crowd.waiting(tables, [issuer.eid(_FIRST_OF_CROWD + number) for number in range(options.waiting)])
        _show(f"quiet, {options.waiting} swaps wait", await _quiet(subject, meter, options.quiet))
        cards = await made_cards(subject, pool, issuer, options.devices)
        await _asked(tables, [card.eid for card in cards])
        _show("waking", await _wake(subject, meter, tables, cards, options.rate))
        _show(f"quiet, {options.waiting} swaps wait still", await _quiet(subject, meter, options.quiet))
    finally:
        await tables.close()
        await pool.close()


async def _quiet(subject: Subject, meter: ServerMeter, seconds: float) -> Quiet:
    await asyncio.sleep(_SETTLE_SECONDS)
    before = meter.read()
    await asyncio.sleep(seconds)
    cpu = {part: 100 * (used - before[part]) / seconds for part, used in meter.read().items()}
    return Quiet(cpu_percent=cpu, worker_mb=_resident_mb(subject.state.processes["worker-0"]))


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def issuer_of(subject: Subject) -> EumIssuer:
    """The EUM of the test certificates."""
    files = subject.pki.device_files(Curve.P256)
    key = load_pem_private_key(files.eum_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return EumIssuer(files.eum_certificate.read_bytes(), key, (files.ci_certificate.read_bytes(),))


async def made_cards(subject: Subject, pool: Any, issuer: EumIssuer, count: int) -> list[IotCard]:
    """Cards from the factory with the target's profile on them, disabled; onboarded."""
    vault, identity = open_vault(subject.settings), identity_of(subject.settings, subject.pki)
    assert identity is not None
    trusted = TrustStore(subject.pki.ci_certificates)
    eim = eim_of(identity, pool, vault, trusted, subject.settings.server_names, SystemClock().now)
    configuration = await eim_configuration(vault, identity, None)
    lead, target = (FactoryProfile(iccid=iccid, provider="A", name="A") for iccid in (LEAD, crowd.TARGET))
    cards = []
    for number in range(count):
        eid = issuer.eid(number)
        card = made_in_factory(eid, [issuer.issue(eid)], lead=lead, configurations=[configuration])
        card.memory.profiles.append(
            Profile(
                iccid=target.iccid,
                aid=card.memory.profiles.free_aid(),
                state=ProfileState.DISABLED,
                metadata=target.metadata(),
                package=profile_package.shortest(target.iccid),
                smdp_oid=target.smdp_oid,
                proprietary_data=b"",
                ci_key_id=card.credentials[0].ci_key_id,
            )
        )
        chain, token = card.credentials[0], association_token(card, identity.eim_id)
        await eim.onboarding.onboard(crowd.TENANT, eid, chain.eum_certificate, chain.euicc_certificate, token, 0)
        cards.append(card)
    return cards


async def _asked(tables: Any, eids: Sequence[Eid]) -> None:
    """Swaps that have asked their cards; none of them would look again within the hour by itself."""
    names = [str(eid) for eid in eids]
    await crowd.due(tables, eids)
    while await tables.fetchval(_ASKED, names) < len(names):  # noqa: ASYNC110 -- another process does it
        await asyncio.sleep(0.2)
    await asyncio.sleep(1.0)
    await tables.execute("UPDATE swaps SET due_at = now() + interval '1 hour' WHERE eid = ANY($1::text[])", names)


async def _wake(subject: Subject, meter: ServerMeter, tables: Any, cards: Sequence[IotCard], rate: float) -> Waking:
    idle = await _idle(meter, tables)
    began, before = time.monotonic(), await _used(meter, tables)
    started: dict[str, datetime] = {}

    async def poll(card: IotCard) -> None:
        address = (subject.state.hosts["eim"], subject.state.ports["eim"])
        ipa = Ipa.over(card, Network(), tls=trust(subject.ca), addresses={subject.settings.eim_names[0]: address})
        async with ipa:
            started[str(card.eid)] = datetime.now(UTC)
            await ipa.poll()

    random = secrets.SystemRandom()
    async with asyncio.TaskGroup() as polls:
        for card in cards:
            polls.create_task(poll(card))
            await asyncio.sleep(random.expovariate(rate))
    await asyncio.sleep(_SETTLE_SECONDS)
    seconds = time.monotonic() - began
    spent = {name: used - before[name] - idle[name] * seconds for name, used in (await _used(meter, tables)).items()}
    each = {name: used / len(cards) for name, used in spent.items()}
    rows = await tables.fetch(_ANSWERS, list(started))
    if len(rows) != len(cards):
        raise RuntimeError(f"only {len(rows)} of {len(cards)} swaps went on: see the server's log")
    return Waking(
        devices=len(rows),
        from_poll=_percentiles([row["finished_at"] - started[row["eid"]] for row in rows]),
        from_result=_percentiles([row["finished_at"] - row["received_at"] for row in rows]),
        commits=each.pop("commits"),
        syncs=each.pop("syncs"),
        cpu_ms={part: 1000 * used for part, used in each.items()},
    )


async def _used(meter: ServerMeter, tables: Any) -> dict[str, float]:
    """Seconds of processor time of each part, transactions and writes of the log, all since the start."""
    counts = await tables.fetchrow(_COUNTS)
    return {part: float(used) for part, used in meter.read().items()} | {
        "commits": float(counts["commits"]),
        "syncs": float(counts["syncs"]),
    }


async def _idle(meter: ServerMeter, tables: Any) -> dict[str, float]:
    """What is used in a second in which nothing happens."""
    before = await _used(meter, tables)
    await asyncio.sleep(_SETTLE_SECONDS)
    after = await _used(meter, tables)
    return {name: (used - before[name]) / _SETTLE_SECONDS for name, used in after.items()}


def _percentiles(spans: Sequence[Any]) -> dict[str, float]:
    cuts = statistics.quantiles([span.total_seconds() * 1000 for span in spans], n=100, method="inclusive")
    return {"p50": cuts[49], "p90": cuts[89], "p99": cuts[98]}


def _show(title: str, figures: Quiet | Waking) -> None:
    sys.stdout.write(f"{title}: {msgspec.json.encode(figures).decode()}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

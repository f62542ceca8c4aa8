"""Whether a download costs the same however much the database holds: orders and open sessions put in at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg

from server.meter import metering
from store.embedded import EmbeddedPostgres
from tools.bench_load import Bench, Measured, Round, Spread, Way, stocked

_FIRST = 100_000_000_000
# Every profile is a copy of one that was imported, so its package is one of those; a third of the orders has ended.
_PROFILES = """
WITH made AS (SELECT *, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS most FROM profiles
              WHERE iccid NOT LIKE '8988299%' ORDER BY id LIMIT 1000)
INSERT INTO profiles (tenant_id, iccid, profile_type_id, package_id, metadata, policy_rules, state)
SELECT tenant_id, '8988299' || ($1::bigint + n), profile_type_id, package_id, metadata, policy_rules, 'ordered'
FROM generate_series($2::int, $3::int - 1) AS n
JOIN made ON made.place = n % (SELECT min(most) FROM made WHERE place < 1)
"""
_ORDERS = """
INSERT INTO orders (tenant_id, iccid, profile_type, state, version, eid, matching_id, key_sealed, ended_at)
SELECT tenant_id, iccid, 'bench', CASE WHEN is_over THEN 'installed' ELSE 'released' END, 1,
       CASE WHEN is_over THEN '89049032' || lpad(substr(iccid, 8), 24, '0') END,
       'FLAT-' || substr(iccid, 8), CASE WHEN is_over THEN NULL ELSE repeat('k', 69)::bytea END,
       CASE WHEN is_over THEN now() END
FROM (SELECT tenant_id, iccid, substr(iccid, 8)::bigint % 3 = 0 AS is_over FROM profiles
      WHERE iccid LIKE '8988299%' AND substr(iccid, 8)::bigint >= $1::bigint + $2::int
        AND substr(iccid, 8)::bigint < $1::bigint + $3::int) AS made
"""
_SESSIONS = """
INSERT INTO sessions (transaction_id, state, expires_at, server_address, server_challenge, ci_key_id, server_ci_key_id)
SELECT decode(md5('flat' || n), 'hex'), 'initiated', now() + interval '1 day', 'smdp.example.com',
       decode(md5(n::text), 'hex'), repeat('k', 20)::bytea, repeat('k', 20)::bytea
FROM generate_series(1, $1::int) AS n
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What a database holds."""

    orders: int
    open_sessions: int = 0

    def __str__(self) -> str:
        return f"{self.orders} orders, {self.open_sessions} open sessions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The download at one size of the database; what it costs beside the first size, round by round."""

    size: Size
    measured: Measured
    server_to_first: Spread
    database_to_first: Spread
    idle_percent: dict[str, float]


async def flat(servers: Sequence[tuple[Size, Bench]], rounds: int, padding: int) -> list[Level]:
    """The same downloads at every size, each on a server of its own, all sizes in turn within every round.

    Other work on the machine comes and goes within minutes: two sizes measured one after the other show that instead.
    """
    for size, bench in servers:
        bench.progress(f"flat: {size} into a database")
        await stocked(bench.subject, (rounds + 1) * bench.devices, padding)
        await _fill(bench, size)
        _, codes = await bench.ordered(bench.devices)
        await bench.round(_WAY, codes)
    idle = [await _idle(bench) for _, bench in servers]
    measured: list[list[Round]] = [[] for _ in servers]
    for number in range(rounds):
        for (size, bench), done in zip(servers, measured, strict=True):
            bench.progress(f"flat: round {number + 1} of {rounds}, {size}")
            _, codes = await bench.ordered(bench.devices)
            done.append(await bench.round(_WAY, codes))
    return [
        Level(
            size=size,
            measured=Measured.of(str(size), done, []),
            server_to_first=_beside(done, measured[0], lambda one: one.server_ms),
            database_to_first=_beside(done, measured[0], lambda one: one.cpu_ms["database"]),
            idle_percent=percent,
        )
        for (size, _), done, percent in zip(servers, measured, idle, strict=True)
    ]


_WAY = Way(name="a connection for each device")


def _beside(rounds: Sequence[Round], first: Sequence[Round], cost: Callable[[Round], float]) -> Spread:
    return Spread.of([cost(one) / cost(other) for one, other in zip(rounds, first, strict=True)])


async def _fill(bench: Bench, size: Size) -> None:
    tables = await asyncpg.connect(EmbeddedPostgres(bench.subject.settings.data_dir).dsn(), command_timeout=3600)
    try:
        await tables.execute(_PROFILES, _FIRST, 0, size.orders)
        await tables.execute(_ORDERS, _FIRST, 0, size.orders)
        await tables.execute(_SESSIONS, size.open_sessions)
        for table in ("profiles", "orders", "sessions"):
            await tables.execute(f"VACUUM ANALYZE {table}")
        await tables.execute("CHECKPOINT")
    finally:
        await tables.close()


async def _idle(bench: Bench, seconds: float = 10.0) -> dict[str, float]:
    """Percent of a core that the parts of the server take while nobody asks for anything."""
    async with metering(bench.subject.settings, bench.subject.state) as meter:
        before = meter.read()
        await asyncio.sleep(seconds)
        return {part: 100 * (used - before[part]) / seconds for part, used in meter.read().items()}

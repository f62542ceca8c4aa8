"""Whether a download costs the same however much the database holds: orders and open sessions put in at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from server.meter import metering
from store.embedded import EmbeddedPostgres
from tools.bench_load import Bench, Measured, Spread, Way

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
class Level:
    """The download at one size of the database; `to_first` compares server and database with the first level."""

    orders: int
    open_sessions: int
    measured: Measured
    server_to_first: float
    database_to_first: float
    idle_percent: dict[str, float]


async def flat(bench: Bench, sizes: Sequence[int], sessions: int, rounds: int) -> list[Level]:
    """The same rounds at every size of `sizes`, then once more with so many open sessions."""
    levels: list[Level] = []
    tables = await asyncpg.connect(EmbeddedPostgres(bench.subject.settings.data_dir).dsn(), command_timeout=3600)
    try:
        held = 0
        for size in sizes:
            bench.progress(f"flat: putting {size - held} orders into the database")
            await _grow(tables, held, size)
            held = size
            levels.append(await _level(bench, levels, size, 0, rounds))
        bench.progress(f"flat: putting {sessions} open sessions into the database")
        await tables.execute(_SESSIONS, sessions)
        await tables.execute("VACUUM ANALYZE sessions")
        levels.append(await _level(bench, levels, held, sessions, rounds))
    finally:
        await tables.close()
    return levels


async def _grow(tables: Any, held: int, size: int) -> None:
    await tables.execute(_PROFILES, _FIRST, held, size)
    await tables.execute(_ORDERS, _FIRST, held, size)
    for table in ("profiles", "orders"):
        await tables.execute(f"VACUUM ANALYZE {table}")
    await tables.execute("CHECKPOINT")


async def _level(bench: Bench, earlier: Sequence[Level], orders: int, sessions: int, rounds: int) -> Level:
    idle = await _idle(bench)
    measured = await bench.rounds(Way(name=f"{orders} orders, {sessions} open sessions"), rounds)
    first = earlier[0].measured if earlier else measured
    return Level(
        orders=orders,
        open_sessions=sessions,
        measured=measured,
        server_to_first=measured.to_floor.median / first.to_floor.median,
        database_to_first=_database(measured).median / _database(first).median,
        idle_percent=idle,
    )


def _database(measured: Measured) -> Spread:
    return Spread.of([one.cpu_ms["database"] / one.floor.both for one in measured.rounds])


async def _idle(bench: Bench, seconds: float = 10.0) -> dict[str, float]:
    """Percent of a core that the parts of the server take while nobody asks for anything."""
    async with metering(bench.subject.settings, bench.subject.state) as meter:
        before = meter.read()
        await asyncio.sleep(seconds)
        return {part: 100 * (used - before[part]) / seconds for part, used in meter.read().items()}

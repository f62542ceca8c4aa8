"""With ten thousand waiting swaps, what is asked again and again reads an index and no whole table."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
import pytest

from rsp.identifiers import Eid
from simulator.issuer import EumIssuer
from store import eim_operations, eim_results, swaps
from store.pool import open_pool
from store.swap_claims import CLAIM_DUE
from swap.swap import STATE_OF, StepName
from tests.protocol_stage import Material
from tools import crowd

COUNT = 10_000
NOW = datetime.now(UTC)


@pytest.fixture
def eids(material: Material) -> list[Eid]:
    issuer: EumIssuer = next(iter(material.issuers.values()))
    return [issuer.eid(number) for number in range(COUNT)]


_ASKED = (CLAIM_DUE, swaps._OF_ESIM, swaps._WAKE, eim_operations._POLL, eim_operations._EXPIRE, eim_results._CLAIM)


async def test_no_table_is_read_whole(database: str, eids: list[Eid]) -> None:
    tables = await asyncpg.connect(database, server_settings={"plan_cache_mode": "force_generic_plan"})
    try:
        await crowd.waiting(tables, eids)
        for number, statement in enumerate(_ASKED):
            # Planned as in the server: once, whatever it is asked for.
            await tables.execute(f"PREPARE asked_{number} AS {statement.sql}")
            nothing = ", ".join(["NULL"] * len(statement.names))
            rows = await tables.fetch(f"EXPLAIN EXECUTE asked_{number}({nothing})")
            plan = "\n".join(row[0] for row in rows)
            assert "Seq Scan" not in plan, plan
    finally:
        await tables.close()


async def test_the_crowd_consists_of_swaps_the_server_can_read(database: str, eids: list[Eid]) -> None:
    tables, pool = await asyncpg.connect(database), await open_pool(database, 1)
    try:
        await crowd.waiting(tables, eids[:3])
        store = swaps.Swaps(pool)
        ids = [await store.running(eid) for eid in eids[:3]]
        assert None not in ids
        found = await store.swap(crowd.TENANT, ids[0] or 0)
        assert found is not None
        assert (found.eid, found.step, found.state) == (eids[0], StepName.CONFIRM, STATE_OF[StepName.CONFIRM])
    finally:
        await tables.close()
        await pool.close()

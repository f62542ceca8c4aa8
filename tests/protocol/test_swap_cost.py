"""What it takes from the arrival of a card's answer to the next line of its swap's ledger: round trips and commits."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from smdp.policy import Policy
from store.compiled import Statement
from store.pool import Connection, Pool
from swap.record import Outcome
from swap.swap import StepName
from tests.protocol_stage import Clock, Material
from tests.swap_stage import SwapStage

_CHANGES = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM) ")


class Cost:
    """Counts what goes to the database: every statement and every end of a transaction is a round trip."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trips: list[str] = []
        self.commits: list[str] = []
        for name in ("execute", "fetch", "fetch_one"):
            monkeypatch.setattr(Connection, name, self._counted(getattr(Connection, name)))
        monkeypatch.setattr(Pool, "run", self._alone(Pool.run))
        monkeypatch.setattr(Pool, "transaction", self._transaction(Pool.transaction))

    def _alone(self, asked: Any) -> Any:
        async def counted(pool: Pool, statement: Statement, runs: Any) -> Any:
            self.trips.append(statement.sql)
            if _CHANGES.search(statement.sql) and "synchronous_commit" not in statement.sql:
                self.commits.append(statement.sql)
            return await asked(pool, statement, runs)

        return counted

    def _counted(self, asked: Any) -> Any:
        async def counted(connection: Connection, statement: Statement, **values: object) -> Any:
            self.trips.append(statement.sql)
            return await asked(connection, statement, **values)

        return counted

    def _transaction(self, begun: Any) -> Any:
        @asynccontextmanager
        async def counted(pool: Pool) -> AsyncIterator[Connection]:
            self.trips.append("BEGIN")
            async with begun(pool) as connection:
                yield connection
                begun_at = len(self.trips) - self.trips[::-1].index("BEGIN")
                if not any("synchronous_commit" in sql for sql in self.trips[begun_at:]):
                    self.commits.append("COMMIT")
                self.trips.append("COMMIT")

        return counted


@pytest.fixture
async def world(database: str, material: Material, clock: Clock, policy: Policy) -> AsyncIterator[SwapStage]:
    async with SwapStage.opened(database, material, clock, policy) as opened:
        yield opened


async def test_the_way_from_a_cards_answer_to_the_ledger_is_short(
    world: SwapStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    partner = await world.partner("partner")
    await world.stocked(partner)
    device = await world.device()
    swap = await world.order(device.card.eid, partner)
    while (await world.read(swap))[1].entry(StepName.CONFIRM, 1) is None:
        if not await world.swaps.saga().run_due(1, 60.0):
            await device.ipa.poll()
            await world.judged()
            world.clock.advance(seconds=2)
    await device.ipa.poll()
    cost = Cost(monkeypatch)
    assert await world.eim.eim.results.judge_pending(64, 30.0) == 1
    judged = len(cost.trips), len(cost.commits)
    world.clock.advance(seconds=1)
    assert await world.swaps.saga().run_due(1, 60.0) == 1
    ran = len(cost.trips) - judged[0], len(cost.commits) - judged[1]
    _, history = await world.read(swap)
    entry = history.entry(StepName.CONFIRM, 1)
    assert entry is not None
    assert entry.outcome is Outcome.DONE
    assert (judged, ran) == ((9, 0), (9, 2)), "\n".join(sql.replace("\n", " ")[:110] for sql in cost.trips)

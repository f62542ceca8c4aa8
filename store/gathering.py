"""Runs of one statement that are asked for together go to the database together: one round trip and one commit.

A process that serves many devices asks for the same few statements again and again. What is asked for in one turn of
the loop, and while an earlier crowd is on its way, travels as one implicit transaction. Nobody is answered before the
commit that holds what is theirs. At a quick pace each crowd waits a moment for company; who comes alone leaves at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import asyncpg

from smdp.ports import TransitionLost
from store.compiled import Statement
from store.pool import Pool, Row

MOST = 64
"""Runs in one transaction: so many rows are locked at most while it lasts."""
_COMPANY_SECONDS = 0.004
"""A crowd waits so long for company, counted from its first run, where company is likely."""
_BUSY_RUNS, _BUSY_SECONDS = 16, 0.05
"""Company is likely when so many runs have come within so long: more than one for each wait."""
_PATIENCE_SECONDS = 0.02
"""After so long the next crowd does not wait for the one before it, which may itself be waiting for a lock."""
_REFUSED = (TransitionLost, asyncpg.PostgresError)

_Waiting = tuple[list[object], "asyncio.Future[list[Row]]"]


class Gathering:
    """One statement of one process. A crowd that the database refuses as a whole is asked for one by one.

    Either the rows of `statement` are of no interest, or it has a parameter `turn`, the number of its run in the crowd,
    and says it in each row. `sorted_by` names the parameter by which the runs of a crowd are sorted: two processes that
    lock the same rows in the same order never wait for each other in a circle.
    """

    def __init__(self, pool: Pool, statement: Statement, sorted_by: str = "") -> None:
        self._pool = pool
        self._statement = statement
        self._turn = statement.names.index("turn") if "turn" in statement.names else None
        self._sorted_by = statement.names.index(sorted_by) if sorted_by in statement.names else None
        self._waiting: list[_Waiting] = []
        self._flying: set[asyncio.Task[None]] = set()
        self._start_at: asyncio.Handle | None = None
        self._came: deque[float] = deque(maxlen=_BUSY_RUNS)

    async def run(self, **values: object) -> list[Row]:
        """The rows of one run, without `turn`. Raises what the statement raises when it is run alone."""
        if self._turn is not None:
            values["turn"] = None
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Row]] = loop.create_future()
        self._came.append(loop.time())
        self._waiting.append((self._statement.arguments(values), answer))
        if self._start_at is None:
            self._plan(loop)
        return await answer

    @property
    def _is_busy(self) -> bool:
        return len(self._came) == _BUSY_RUNS and self._came[-1] - self._came[0] < _BUSY_SECONDS

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._flying:
            self._start_at = loop.call_later(_PATIENCE_SECONDS, self._start)
        elif self._is_busy:
            self._start_at = loop.call_later(_COMPANY_SECONDS, self._start)
        else:
            self._start_at = loop.call_soon(self._start)

    def _start(self) -> None:
        self._start_at = None
        crowd, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        if self._sorted_by is not None and len(crowd) > 1:
            place = self._sorted_by
            crowd.sort(key=lambda waiting: waiting[0][place] or 0)  # type: ignore[arg-type,return-value]  # all ids
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._fly(crowd))
        self._flying.add(task)
        task.add_done_callback(self._landed)
        if self._waiting:
            self._plan(loop)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._flying.discard(task)
        if not self._waiting or self._flying:
            return
        if self._start_at is not None:
            self._start_at.cancel()
        self._start()

    async def _fly(self, crowd: Sequence[_Waiting]) -> None:
        if not await self._settled(crowd):
            # One of them has spoilt it for all, and the database has done none of it.
            for one in crowd:
                await self._settled((one,))

    async def _settled(self, crowd: Sequence[_Waiting]) -> bool:
        """Tell each of those who wait what became of its run; False when the database refused many together."""
        try:
            answers = await self._together([arguments for arguments, _ in crowd])
        except BaseException as error:
            if isinstance(error, _REFUSED) and len(crowd) > 1:
                return False
            for _, answer in crowd:
                _fail(answer, error)
            if not isinstance(error, Exception):
                raise
            return True
        for (_, answer), rows in zip(crowd, answers, strict=True):
            if not answer.done():
                answer.set_result(rows)
        return True

    async def _together(self, runs: list[list[object]]) -> list[list[Row]]:
        if self._turn is None:
            await self._pool.run(self._statement, runs)
            return [[]] * len(runs)
        for turn, run in enumerate(runs):
            run[self._turn] = turn
        answers: list[list[Row]] = [[] for _ in runs]
        for row in await self._pool.run(self._statement, runs):
            answers[row["turn"]].append(row)
        return answers


class Gatherings:
    """A Gathering for each of many statements, made when it is first asked for. They are as many as its user has."""

    def __init__(self, pool: Pool, sorted_by: str) -> None:
        self._pool = pool
        self._sorted_by = sorted_by
        self._all: dict[str, Gathering] = {}

    def of(self, statement: Statement) -> Gathering:
        """The one of `statement`, sorted as all are, if it has that parameter."""
        gathering = self._all.get(statement.sql)
        if gathering is None:
            gathering = self._all[statement.sql] = Gathering(self._pool, statement, self._sorted_by)
        return gathering


def _fail(answer: asyncio.Future[list[Row]], error: BaseException) -> None:
    if answer.done():
        return
    if isinstance(error, asyncio.CancelledError):
        answer.cancel()
    else:
        answer.set_exception(error)

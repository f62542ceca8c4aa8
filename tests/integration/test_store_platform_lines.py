"""Lines of callers in PostgreSQL: what the pace of calls rests on, and the pace of real processes beside each other."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from carriers.pace import Line, Lines, Waiter
from rsp.identifiers import Iccid
from server.platform_lines import SharedLines
from simulator.platforms.control_center import ControlCenter
from simulator.platforms.control_center_book import Book
from store.platform_lines import PlatformLines
from store.pool import open_pool
from tests.kept_lines import KeptLines

ROOT = Path(__file__).resolve().parents[2]
SIM = Iccid("89014103211118510720")
THEN = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
FULL = Line(holder="one", until=THEN, ends=(THEN, THEN), waiting=(Waiter(ticket="two", until=THEN),))
PROCESSES, CALLS = 3, 6


@pytest.fixture(params=["postgresql", "memory"])
async def lines(request: pytest.FixtureRequest) -> AsyncIterator[Lines]:
    if request.param == "memory":
        yield KeptLines(lambda: 0.0)
        return
    pool = await open_pool(request.getfixturevalue("database"), 2)
    yield SharedLines(PlatformLines(pool))
    await pool.close()


async def test_a_line_is_read_as_it_was_kept(lines: Lines) -> None:
    empty = await lines.read("user@host")
    assert (empty.line, empty.version) == (Line(), 0)
    assert await lines.replace("user@host", 0, FULL)
    kept = await lines.read("user@host")
    assert (kept.line, kept.version) == (FULL, 1)
    assert kept.now >= empty.now
    assert (await lines.read("other@host")).line == Line()


async def test_who_read_an_older_line_replaces_nothing(lines: Lines) -> None:
    assert await lines.replace("user@host", 0, FULL)
    assert not await lines.replace("user@host", 0, Line())
    assert (await lines.read("user@host")).line == FULL
    assert await lines.replace("user@host", 1, Line())


async def test_of_many_at_once_one_replaces(lines: Lines) -> None:
    made = await asyncio.gather(*(lines.replace("user@host", 0, Line(holder=str(number))) for number in range(8)))
    assert sorted(made) == [False] * 7 + [True]
    assert (await lines.read("user@host")).line.holder == str(made.index(True))


async def test_processes_together_never_meet_a_platforms_limits(database: str) -> None:
    book = Book()
    book.add_account("inventory")
    book.add_sim(SIM, "inventory")
    async with ControlCenter(book, {"flex": "platform-key"}) as platform:
        callers = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.platform_caller",
                database,
                platform.base_url,
                str(SIM),
                str(CALLS),
                cwd=ROOT,
            )
            for _ in range(PROCESSES)
        ]
        assert [await caller.wait() for caller in callers] == [0] * PROCESSES
    assert [seen.status for seen in platform.seen] == [200] * PROCESSES * CALLS

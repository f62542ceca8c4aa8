"""A Control Center simulator and the adapter to it, on one clock that moves only when somebody pauses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import aiohttp

from carriers.base import Account
from carriers.control_center import ControlCenter
from carriers.control_center_rest import ControlCenterRest, Login, Timing
from carriers.pace import Limits, Pace
from rsp.identifiers import Iccid
from server.setting_kinds import Secret
from simulator.platforms.control_center import ControlCenter as Simulator
from simulator.platforms.control_center_book import Book
from tests.kept_lines import KeptLines

SIM = Iccid("89014103211118510720")
UNKNOWN = Iccid("89014103211118510721")
INVENTORY, ENTERPRISE, OTHER = "100020620", "100020621", "100020622"
TARGET = Account(account=ENTERPRISE, rate_plan="EU 5 MB", communication_plan="LTE-M données")
OTHER_PLANS = Account(account=ENTERPRISE, rate_plan="World 1 MB", communication_plan="LTE-M données")
OTHER_ACCOUNT = Account(account=OTHER, rate_plan="World 1 MB", communication_plan="LTE-M données")
KEY = "d1f3c9c0-secret-key"


class Time:
    """Seconds since the start. `pause` moves them on at once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def date(self) -> datetime:
        return datetime(2026, 11, 22, 12, tzinfo=UTC) + timedelta(seconds=self.now)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The platform, what it knows, and the adapter."""

    time: Time
    simulator: Simulator
    book: Book
    session: aiohttp.ClientSession
    platform: ControlCenter
    lines: KeptLines

    def pace(self) -> Pace:
        """The pace of a process that shares its credential with all others."""
        return Pace(self.lines, "orchestrator", Limits(lease=1000.0, patience=1000.0), self.time.pause)

    def adapter(self, timing: Timing | None = None, *, key: str = KEY, inventory: str = INVENTORY) -> ControlCenter:
        """An adapter of its own, as another process has it."""
        login = Login(base_url=self.simulator.base_url, username="orchestrator", api_key=Secret(key))
        rest = ControlCenterRest(self.session, login, self.pace(), timing or Timing(), self.time.pause)
        return ControlCenter(rest, inventory, self.time.date)


def stocked(time: Time) -> Book:
    """Three accounts, and one SIM in the inventory."""
    book = Book(clock=time.date)
    plans = ("EU 5 MB", "World 1 MB"), ("LTE-M données",)
    book.add_account(INVENTORY)
    book.add_account(ENTERPRISE, *plans)
    book.add_account(OTHER, *plans)
    book.add_sim(SIM, INVENTORY, eid="89049032000000000000000000000012")
    return book


@asynccontextmanager
async def open_stage() -> AsyncIterator[Stage]:
    """A fresh stage."""
    time = Time()
    book = stocked(time)
    async with (
        Simulator(book, {"orchestrator": KEY}, clock=time) as simulator,
        aiohttp.ClientSession() as session,
    ):
        bare = Stage(
            time=time,
            simulator=simulator,
            book=book,
            session=session,
            platform=None,  # type: ignore[arg-type]
            lines=KeptLines(time),
        )
        yield replace(bare, platform=bare.adapter())

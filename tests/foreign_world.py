"""Somebody else's SM-DP+ as tests of troubles see it: one scripted server, a carrier that has it, and ourselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select

from rsp.identifiers import Eid, Iccid
from simulator.foreign_smdp import ForeignSmdp, State, Trouble
from store.compiled import compiled
from store.foreign_tables import foreign_orders
from swap.plan import Stock
from swap.ports import ProfileState, Returned
from tests.foreign_fixtures import Home, report
from tests.foreign_stage import scripted
from tests.protocol_stage import TYPE, Material

EID = Eid("89049032123451234512345678901235")
OTHER = Eid("89049032123451234512345678901243")
BROKEN = [Trouble.ERROR_AFTER, Trouble.DROP_AFTER, Trouble.GARBLED]
UNDONE = [Trouble.ERROR_BEFORE, Trouble.BUSY_BEFORE, Trouble.DROP_BEFORE]
ALL = compiled(select(*foreign_orders.c))
CARELESS = {"remembers": False, "readable": False, "recovers": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One scripted server, a carrier that has it, and ourselves."""

    home: Home
    abroad: Material
    smdp: ForeignSmdp
    stock: Stock

    def fill(self, count: int) -> list[Iccid]:
        """Profiles in its stock."""
        first = len(self.smdp.profiles)
        return [self.smdp.stock(Iccid(f"89882119{first + n:011d}"), TYPE).iccid for n in range(count)]

    async def reserve(self, key: str = "a", eid: Eid = EID) -> Iccid:
        return await self.home.foreign.profiles.reserve(key, self.stock, eid)

    async def release(self, iccid: Iccid, key: str = "a-release") -> str:
        return await self.home.foreign.profiles.release(key, self.stock, iccid, EID)

    async def state(self, iccid: Iccid) -> ProfileState | None:
        return await self.home.foreign.profiles.state(self.stock, iccid, EID)

    async def recall(self, iccid: Iccid, key: str = "a-recall") -> bool:
        return await self.home.foreign.profiles.recall(key, self.stock, iccid, EID)

    async def give_back(self, iccid: Iccid, key: str = "a-back", *, reusable: bool = True) -> Returned:
        return await self.home.foreign.profiles.give_back(key, self.stock, iccid, EID, reusable=reusable)

    async def report(self, iccid: Iccid, point: int, **more: Any) -> int:
        return await report(self.home, self.abroad, iccid, point, **more)

    def held(self) -> list[State]:
        """The states of profiles that are not in stock."""
        return [one.state for one in self.smdp.profiles.values() if one.state is not State.AVAILABLE]


Open = Callable[..., Awaitable[World]]


@pytest.fixture
async def opened(home: Home, abroad: Material) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def make(**habits: Any) -> World:
            smdp = await stack.enter_async_context(scripted(abroad, **habits))
            carrier_id = await home.carrier(abroad, smdp.port, caller=abroad.pki.tls_certificate.read_text())
            stock = Stock(operator_id=0, profile_type=TYPE, peer_id=carrier_id)
            return World(home=home, abroad=abroad, smdp=smdp, stock=stock)

        yield make

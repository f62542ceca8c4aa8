"""Joins what carriers' own SM-DP+ are called with, and what they report to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import aiohttp

from crypto.vault import Vault
from rsp.identifiers import Eid
from server.foreign_profiles import ForeignProfiles
from server.peers import CarrierPeers
from store.foreign_orders import ForeignOrders
from store.pool import Pool
from store.tenancy import Tenancy
from swap.foreign import Reports


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Profiles that lie at carriers' SM-DP+, their reports, and who may report."""

    profiles: ForeignProfiles
    reports: Reports
    callers: Tenancy


@asynccontextmanager
async def foreign_over(
    pool: Pool,
    vault: Vault,
    wake: Callable[[Eid], Awaitable[None]],
    now: Callable[[], datetime],
    timeout_seconds: float,
) -> AsyncIterator[Foreign]:
    """Over `pool`; `wake` makes the swap of an eSIM due. Connections are closed with the block."""
    parties, orders = Tenancy(pool), ForeignOrders(pool, now)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        peers = CarrierPeers(parties, vault, session, timeout_seconds)
        profiles = ForeignProfiles(peers, orders, vault)
        yield Foreign(profiles=profiles, reports=Reports(orders, wake), callers=parties)

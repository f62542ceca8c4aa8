"""Two hosts on one database: no hint passes between them, and each goes on with what the other has brought."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from crypto.certificates import TrustStore
from eim.association import EimIdentity
from server.background import _judging, _repeat, _swap_job
from server.eim_wiring import Eim, eim_of
from server.hints import Bell
from smdp.policy import Policy
from store.pool import open_pool
from swap.swap import SwapState
from tests.eim_stage import EIM, LEAD, SMDP
from tests.protocol_stage import Clock, Material
from tests.swap_stage import ACCOUNT, TIMING, SimLine, SwapStage

HOUR = timedelta(hours=1)
LOOK_SECONDS = 0.02
GUARD_SECONDS = 120.0


@pytest.fixture
async def world(database: str, material: Material, clock: Clock, policy: Policy) -> AsyncIterator[SwapStage]:
    async with SwapStage.opened(database, material, clock, policy) as opened:
        yield opened


@pytest.fixture
async def second(world: SwapStage, database: str, material: Material) -> AsyncIterator[Eim]:
    """The eIM of another host on the same database."""
    pool = await open_pool(database, 2)
    assert material.pki.eim is not None
    identity = EimIdentity(eim_id=EIM, fqdn=EIM, signing_key=material.pki.eim.signing_key)
    trust = TrustStore(material.pki.ci_certificates)
    yield eim_of(identity, pool, material.vault, trust, (SMDP,), world.clock.now)
    await pool.close()


async def test_a_swap_goes_on_by_looking_where_one_host_answers_devices_and_judges_for_the_other(
    world: SwapStage, second: Eim
) -> None:
    """The first host keeps answers and runs swaps, the second judges: each finds in the tables what the other did."""
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    begun = world.clock.now()
    swap = await world.order(device.card.eid, partner)
    saga = world.swaps.saga()
    # A swap that nobody wakes would look again after an hour, which does not pass here.
    saga._timing = replace(TIMING, soonest=HOUR, device=HOUR)
    stop, unheard = asyncio.Event(), Bell()
    jobs = [
        asyncio.create_task(
            _repeat("results of the second host", _judging(second.results.judge_pending), LOOK_SECONDS, stop, unheard)
        ),
        asyncio.create_task(_repeat("swaps of the first host", _swap_job(saga), LOOK_SECONDS, stop, Bell())),
    ]
    try:
        async with asyncio.timeout(GUARD_SECONDS):
            while (ended := (await world.read(swap))[0]).ended_at is None:
                await device.ipa.poll()
                await world.smdp.judge()
                world.clock.advance(seconds=1)
                await asyncio.sleep(LOOK_SECONDS)
    finally:
        stop.set()
        unheard.ring_all()
        await asyncio.gather(*jobs)
    assert ended.state is SwapState.COMPLETED
    assert world.clock.now() - begun < HOUR
    assert device.states() == {str(LEAD): False, str(iccid): True}
    assert world.line(partner, iccid) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
    assert len(partner.book.transfers) == 1

"""Whole swaps: what is on the card, in the tables and at the platforms afterwards, for each way one may go."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from smdp.policy import Policy
from swap.record import About
from tests.eim_stage import LEAD
from tests.protocol_stage import Clock, Material
from tests.swap_stage import ACCOUNT, INVENTORY, SimLine, SwapStage, no_attach


@pytest.fixture
async def world(database: str, material: Material, clock: Clock, policy: Policy) -> AsyncIterator[SwapStage]:
    async with SwapStage.opened(database, material, clock, policy) as opened:
        yield opened


async def test_a_swap_allocates_downloads_activates_and_bills_last(world: SwapStage) -> None:
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    swap = await world.order(device.card.eid, partner)
    ended = await world.until(swap, device)
    assert (ended.state, ended.iccid, ended.attention) == ("completed", iccid, "")
    assert device.states() == {str(LEAD): False, str(iccid): True}
    assert world.line(partner, iccid) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
    assert world.line(world.lead, LEAD) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)
    assert len(partner.book.transfers) == 1
    assert await world.stock_of(iccid) == ("ordered", "installed")
    _, history = await world.read(swap)
    assert [(one.about, one.chosen) for one in history.actions] == [(About.SOURCE_LINE, "")]
    assert ended.enabled_at is not None
    assert partner.book.billed(iccid)[0].since >= ended.enabled_at


async def test_no_attach_rolls_back_and_the_profile_returns_after_its_deletion(world: SwapStage) -> None:
    partner = await world.partner("partner")
    iccid = await world.stocked(partner)
    device = await world.device()
    no_attach(device, iccid)
    swap = await world.order(device.card.eid, partner)
    ended = await world.until(swap, device)
    assert ended.state == "rolled_back"
    assert device.states() == {str(LEAD): True}
    assert world.line(partner, iccid) == SimLine(account=INVENTORY, status="INVENTORY", billed=0)
    assert await world.stock_of(iccid) == ("available", "deleted")
    assert world.line(world.lead, LEAD) == SimLine(account=ACCOUNT, status="ACTIVATED", billed=1)

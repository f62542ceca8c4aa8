"""What the demonstration shows of eSIMs under the eIM, act by act; any deviation from what must happen ends it."""

from __future__ import annotations

from server.demo import esim_acts
from server.demo.narration import Narrator
from server.demo.stage import Server
from server.demo.swap_cast import ENTERPRISE, EXTERNAL, LEAD, PARTNER, THIRD, Cast, assembled


async def perform(server: Server, narrator: Narrator) -> None:
    """All acts. Raises Deviation."""
    narrator.act("Carriers, an enterprise, and its devices under the eIM")
    async with assembled(server) as cast:
        introduce(cast, narrator)
        await esim_acts.steered_by_hand(cast, narrator)


def introduce(cast: Cast, narrator: Narrator) -> None:
    """Who is who."""
    narrator.step(f"{LEAD} is the lead carrier of {ENTERPRISE}: its profiles are on the cards, its lines are active")
    stocks = ", ".join(f"{name} {len(cast.stock[name])}" for name in (PARTNER, THIRD))
    narrator.step(f"partners with a Control Center platform each, and profiles in stock here: {stocks}")
    narrator.step(f"{EXTERNAL} is a partner without integration; every partnership is agreed by both sides")
    for device in (cast.meter, cast.sensor):
        narrator.step(f"{device.name}, eSIM {device.eid}, is onboarded and polls the eIM over ESipa")

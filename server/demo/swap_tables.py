"""The tables at the end: swaps, what is on the cards, where the lines stand at their platforms."""

from __future__ import annotations

from rsp.identifiers import Iccid
from server.demo.narration import Narrator
from server.demo.swap_cast import Cast


async def show_tables(cast: Cast, narrator: Narrator) -> None:
    """All of them."""
    page = await cast.customer.get("/v1/swaps?limit=200")
    columns = ("id", "to", "way", "state", "ICCID", "why it ended so")
    keys = ("id", "target", "way", "state", "iccid", "reason")
    swaps = [[str(one[key] or "") for key in keys] for one in reversed(page["items"])]
    narrator.table("Swaps", columns, swaps)
    cards = [
        [device.name, str(device.eid), iccid, "enabled" if enabled else "disabled"]
        for device in (cast.meter, cast.sensor)
        for iccid, enabled in device.profiles().items()
    ]
    narrator.table("Cards", ("device", "EID", "ICCID", "state"), cards)
    narrator.table("SIM states", ("carrier", "ICCID", "account", "status", "billable"), _sims(cast))


def _sims(cast: Cast) -> list[list[str]]:
    return [
        [name, str(sim.iccid), sim.account, sim.status, _billable(cast, name, sim.iccid)]
        for name in cast.platforms
        for sim in cast.book(name).sims.values()
    ]


def _billable(cast: Cast, carrier: str, iccid: Iccid) -> str:
    """In words, with since when."""
    charges = [charge for charge in cast.book(carrier).billed(iccid) if charge.until is None]
    return f"since {charges[0].since:%H:%M:%S}" if charges else "no"

"""Swaps to a carrier whose profiles lie at its own SM-DP+: another instance of our server that shares a CI alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from eim.ports import FORWARD_KIND
from rsp.identifiers import Iccid
from server.forwarding import NotificationForwarder
from simulator.exchange import AddressBook, Retries, trust
from simulator.ipa import IpaOptions, Route
from smdp.policy import Policy
from store.outbox import Outbox
from store.pool import Pool
from swap.record import Swap
from swap.swap import StepName
from tenancy.partners import Carrier
from tenancy.principal import Act, Principal, PrincipalKind, Scope
from tests.eim_stage import Device
from tests.foreign_stage import FOREIGN, ForeignServer, access_of, foreign_server, reporting_listener, with_key
from tests.protocol_stage import TYPE, Clock, Material
from tests.swap_stage import INVENTORY, Operator, SwapStage
from webhooks.sender import Pace, Sender

_ADMIN = Act(principal=Principal(kind=PrincipalKind.ADMIN), scopes=frozenset(Scope))
_QUICK = Pace(first_seconds=0.01, longest_seconds=0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignSwaps:
    """The stage of swaps, the carrier's server, and what passes between them.

    `loses` names what is lost while it is in there: `reports` of the server to us, `notifications` of the card to it.
    """

    world: SwapStage
    server: ForeignServer
    partner: Operator
    forwards: Sender
    loses: set[str] = field(default_factory=set)

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        databases: tuple[str, str],
        materials: tuple[Material, Material],
        clock: Clock,
        policy: Policy,
        around: Callable[[Pool], Pool] = lambda pool: pool,
        **habits: Any,
    ) -> AsyncIterator[ForeignSwaps]:
        """Over two databases and two PKIs: ours, and the carrier's; `habits` are those of its server."""
        home, abroad = materials
        async with AsyncExitStack() as stack:
            world = await stack.enter_async_context(SwapStage.opened(databases[0], home, clock, policy, around=around))
            listener = await stack.enter_async_context(reporting_listener(world.foreign, home))
            server = await stack.enter_async_context(
                foreign_server(databases[1], abroad, clock, report_to=listener.port, home=home, **habits)
            )
            world.others[FOREIGN] = ("127.0.0.1", server.es9_port)
            partner = await _configured(world, await world.partner("abroad"), server, abroad)
            await listener.look()
            book = AddressBook({FOREIGN: ("127.0.0.1", server.es9_port)})
            connector = aiohttp.TCPConnector(ssl=trust(world.eim.ca_file()), resolver=book, force_close=True)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            forwarder = NotificationForwarder(session, 5.0)
            forwards = Sender(Outbox(world.smdp.pool), {FORWARD_KIND: forwarder.send}, _QUICK)
            yield cls(world=world, server=server, partner=partner, forwards=forwards)

    async def stocked(self) -> Iccid:
        """One more profile in the carrier's stock at its server, its SIM in the inventory of its platform."""
        (iccid,) = await self.server.stock()
        self.partner.book.add_sim(iccid, INVENTORY)
        return iccid

    async def device(self) -> Device:
        """A device whose card's notifications go through the eIM."""
        options = IpaOptions(notifications=Route.EIM, result_retries=Retries(attempts=2))
        return await self.world.device(options=options)

    async def told(self) -> None:
        """What cards said goes to the carrier's server, and what that reports comes to us."""
        if "notifications" not in self.loses:
            while await self.forwards.send_due():
                await self.forwards.finish()
        if "reports" not in self.loses:
            await self.server.report()
        else:
            await self.server.stage.judge()

    async def turn(self, device: Device | None) -> None:
        """A turn of the world, and of what passes between the two."""
        await self.world.turn(device)
        await self.told()

    async def until(
        self, swap: Swap, device: Device | None, *states: str, turns: int = 60, patient: bool = False
    ) -> Swap:
        """The swap once it is in one of the states (any end, if none are named).

        With `patient` time passes quickly while the carrier's server is waited for.
        """
        for _ in range(turns):
            found, _history = await self.world.read(swap)
            if found.state.value in states or (not states and found.ended_at is not None):
                return found
            await self.turn(device)
            if patient and found.step is StepName.RETURN:
                self.world.clock.advance(minutes=3)
        found, history = await self.world.read(swap)
        raise AssertionError(f"the swap is {found.state}, at {found.step}: {[told.text for told in history.timeline]}")

    async def abroad(self, iccid: Iccid) -> tuple[str, str | None]:
        """State of the profile at the carrier's server, and of its latest order there."""
        order = await self.server.stage.order_row(iccid)
        return await self.server.stage.profile_state(iccid), order["state"] if order else None

    async def notes(self) -> list[tuple[str, bool]]:
        """(outcome, verified) of what cards said to the carrier's server, oldest first."""
        return [(row["outcome"], row["verified"]) for row in await self.server.stage.notes()]

    async def records(self) -> list[Any]:
        """Our own record of orders there, oldest first."""
        return list(await self.world.smdp.tables.fetch("SELECT * FROM foreign_orders ORDER BY id"))


async def _configured(world: SwapStage, partner: Operator, server: ForeignServer, abroad: Material) -> Operator:
    """The partner, its profiles no longer with an operator of ours but at its own server."""
    access = access_of(abroad, f"https://127.0.0.1:{server.es2_port}", caller=server.caller)
    smdp = await with_key(world.smdp.material.vault, partner.carrier.name, access, abroad)
    carrier: Carrier = replace(partner.carrier, operator_id=None, smdp=smdp, profile_type=TYPE)
    return replace(partner, carrier=await world.parties.change_carrier(_ADMIN, carrier), operator_id=None)

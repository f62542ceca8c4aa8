"""A stage for swaps: SM-DP+ and eIM on a real PostgreSQL, Control Center platforms over HTTP, devices, strict cards.

Parts are joined as the server joins them. One clock serves all of them; a turn of the world moves it. Tests state
exactly what tables, cards and platforms must hold afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry

from carriers.control_center_rest import Timing as PlatformTiming
from carriers.pace import Limits as PaceLimits
from carriers.pace import Lines, Pace
from carriers.registry import Registry
from crypto.curves import Curve
from eim.operation import OperationKind
from es9plus import messages
from es9plus.server import Es9Plus
from rsp.identifiers import Eid, Iccid
from server.foreign_wiring import Foreign, foreign_over
from server.hints import Unheard
from server.platform_lines import SharedLines
from server.swap_wiring import Surroundings, Swaps, Waking, swaps_of
from simulator.exchange import Habits, Retries, trust
from simulator.iot_card import IotCard
from simulator.ipa import Ipa, IpaOptions
from simulator.losses import Losses
from simulator.network import Line, Network
from simulator.platforms.control_center import ControlCenter
from simulator.platforms.control_center_book import Book
from smdp.policy import Policy
from store.platform_lines import PlatformLines
from store.pool import Pool
from store.tenancy import Tenancy
from swap.desk import Order
from swap.outcomes import Timing
from swap.record import History, Swap
from tenancy.desk import platform_secret_context
from tenancy.partners import Carrier, CarrierRole, Enterprise, Model, Partnership, Plans, PlatformAccess
from tenancy.principal import Act, Principal, PrincipalKind, Scope
from tests.eim_stage import EIM, LEAD, SMDP, Device, EimStage
from tests.kept_lines import KeptLines
from tests.protocol_stage import Clock, Material, Stage
from transport.functions import Interface, Limits
from transport.listening import Patience, listening
from transport.metrics import HttpMetrics
from transport.tls import server_context

INVENTORY, ACCOUNT = "100000001", "200000002"
RATE_PLAN, COMMUNICATION_PLAN = "EU 5 MB", "LTE-M"
PLANS = Plans(account=ACCOUNT, rate_plan=RATE_PLAN, communication_plan=COMMUNICATION_PLAN)
USER, KEY = "flex", "platform-key"
TIMING = Timing(
    soonest=timedelta(seconds=1),
    latest=timedelta(seconds=1),
    device=timedelta(seconds=1),
    retry=timedelta(seconds=2),
    operation=timedelta(minutes=30),
    verify=timedelta(minutes=15),
)
QUICK = PlatformTiming(retries=(0.0, 0.0), settling=(0.0, 0.0, 0.0))
TURNS = 60
_ADMIN = Act(principal=Principal(kind=PrincipalKind.ADMIN), scopes=frozenset(Scope))


class Seconds:
    """The pace's own time: a pause passes at once."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.now += seconds


class RealSeconds(Seconds):
    """The pace of this machine's clock, which other processes share."""

    def __call__(self) -> float:
        return time.monotonic()

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class QuickRegistry(Registry):
    """Platforms whose pace costs no time, unless it is shared with other processes."""

    def __init__(self, session: aiohttp.ClientSession, seconds: Seconds, lines: Lines) -> None:
        super().__init__(session, lines, QUICK)
        self._seconds = seconds
        self._quick: dict[tuple[str, str], Pace] = {}

    def pace(self, host: str, username: str) -> Pace:
        made = Pace(self._lines, f"{username}@{host}", PaceLimits(lease=1000.0), self._seconds.pause)
        return self._quick.setdefault((host, username), made)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """A carrier of the stage: its row, its platform's book (None without integration), its stock in our SM-DP+."""

    carrier: Carrier
    book: Book
    platform: ControlCenter | None
    operator_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimLine:
    """What the platform holds about one SIM: account, state, how often it was ever billed."""

    account: str
    status: str
    billed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapStage:
    """Everything of a swap on a fresh database."""

    smdp: Stage
    eim: EimStage
    clock: Clock
    swaps: Swaps
    parties: Tenancy
    stack: AsyncExitStack
    registry: QuickRegistry
    seconds: Seconds
    policy: Policy
    foreign: Foreign
    tenant_id: int
    lead: Operator
    operators: list[Operator] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    others: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Where devices find servers that are not ours, by name."""

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        database: str,
        material: Material,
        clock: Clock,
        policy: Policy,
        around: Callable[[Pool], Pool] = lambda pool: pool,
        seconds: Seconds | None = None,
    ) -> AsyncIterator[SwapStage]:
        """The stage with a lead carrier and its enterprise; `around` may wrap the pool of the swaps."""
        async with AsyncExitStack() as stack:
            smdp = await stack.enter_async_context(Stage.opened(database, material, clock, policy))
            port = await stack.enter_async_context(_es9plus(smdp, material))
            eim = await stack.enter_async_context(EimStage.opened(database, material, clock, smdp_port=port))
            session = await stack.enter_async_context(aiohttp.ClientSession())
            seconds = seconds or Seconds()
            shared = isinstance(seconds, RealSeconds)
            lines: Lines = SharedLines(PlatformLines(smdp.pool)) if shared else KeptLines(seconds)
            registry = QuickRegistry(session, seconds, lines)
            parties = Tenancy(smdp.pool)
            wrapped = around(smdp.pool)
            waking = Waking(wrapped, Unheard(), clock.now)
            foreign = await stack.enter_async_context(
                foreign_over(wrapped, material.vault, waking.of_card, clock.now, 5.0)
            )
            around_swaps = Surroundings(
                pool=wrapped,
                foreign=foreign.profiles,
                vault=material.vault,
                ordering=smdp.ordering,
                policy=policy,
                eim=eim.eim,
                registry=registry,
                now=clock.now,
                timing=TIMING,
            )
            lead = await _operator(stack, smdp, parties, clock, seconds, "lead", CarrierRole.LEAD)
            enterprise = await parties.add_enterprise(
                _ADMIN, Enterprise(id=0, name="enterprise", lead_id=lead.carrier.id, plans=PLANS)
            )
            lead.book.add_sim(LEAD, ACCOUNT, "ACTIVATED", plans=(RATE_PLAN, COMMUNICATION_PLAN))
            yield cls(
                smdp=smdp,
                eim=eim,
                clock=clock,
                swaps=swaps_of(around_swaps),
                parties=parties,
                stack=stack,
                registry=registry,
                seconds=seconds,
                policy=policy,
                foreign=foreign,
                tenant_id=enterprise.id,
                lead=lead,
                operators=[lead],
            )

    # Parties ----------------------------------------------------------------------------------------------------------

    async def partner(self, name: str, *, integrated: bool = True, agreed: bool = True) -> Operator:
        """A carrier with a partnership for the enterprise."""
        made = await _operator(
            self.stack, self.smdp, self.parties, self.clock, self.seconds, name, CarrierRole.PARTNER, integrated
        )
        self.operators.append(made)
        await self.parties.add_partnership(
            _ADMIN,
            Partnership(
                id=0,
                enterprise_id=self.tenant_id,
                lead_id=self.lead.carrier.id,
                partner_id=made.carrier.id,
                model=Model.HANDOVER,
                plans=PLANS if integrated else Plans(),
                lead_agrees=True,
                partner_agrees=agreed,
            ),
        )
        return made

    async def stocked(self, operator: Operator) -> Iccid:
        """One more profile in the carrier's stock, with its SIM in the carrier's inventory."""
        assert operator.operator_id is not None
        ordered = await self.smdp.stock(operator.operator_id)
        operator.book.add_sim(ordered.iccid, INVENTORY)
        return ordered.iccid

    # Devices ----------------------------------------------------------------------------------------------------------

    async def device(self, *, listed: bool = True, options: IpaOptions | None = None) -> Device:
        """A device of the enterprise with the lead's profile enabled, whose card has told its profiles."""
        made = await self.eim.device(profiles=(), tenant_id=self.tenant_id)
        await made.ipa.close()
        device = self.powered(made.card, options)
        if listed:
            await self.eim.queue(device.card.eid, OperationKind.LIST, tenant_id=self.tenant_id)
            await device.ipa.poll()
            await self.eim.judge()
        return device

    def powered(self, card: IotCard, options: IpaOptions | None = None) -> Device:
        """A device around a card, on networks that let in what their platforms let in."""
        losses = Losses()
        network = Network(on_session=lambda iccid: self._session_starts(card, iccid), is_live=self._connects)
        ipa = Ipa.over(
            card,
            network,
            tls=trust(self.eim.ca_file()),
            addresses={EIM: ("127.0.0.1", self.eim.port), SMDP: ("127.0.0.1", self.eim.smdp_port), **self.others},
            habits=Habits(pause=_no_pause, retries=Retries(attempts=1), interfere=losses),
            options=options or IpaOptions(result_retries=Retries(attempts=2)),
        )
        self.stack.push_async_callback(ipa.close)
        return Device(ipa=ipa, card=card, network=network, losses=losses)

    def _session_starts(self, card: IotCard, iccid: Iccid) -> None:
        for operator in self.operators:
            for other in card.memory.profiles:
                operator.book.session_ends(other.iccid)
            operator.book.session_starts(iccid)

    def _connects(self, iccid: Iccid) -> bool:
        known = [operator.book for operator in self.operators if iccid in operator.book.sims]
        return known[0].connects(iccid) if known else True

    # Time -------------------------------------------------------------------------------------------------------------

    async def order(self, eid: Eid, target: Operator, **more: Any) -> Swap:
        """A swap that is ordered."""
        request = more.pop("request", f"request-{next(self.numbers)}")
        order = Order(
            tenant_id=self.tenant_id, eid=eid, target_id=target.carrier.id, request=request, by="test", **more
        )
        return await self.swaps.desk.order(order)

    async def run(self) -> None:
        """Everything that is due now."""
        saga = self.swaps.saga()
        while await saga.run_due(8, 60.0):
            pass

    async def judged(self) -> None:
        """Everything that was handed in."""
        await self.eim.judge()
        await self.smdp.judge()

    async def turn(self, device: Device | None = None) -> None:
        """What is due runs, the device polls, reports are judged, a second or two pass."""
        await self.run()
        if device is not None:
            await device.ipa.poll()
            await self.judged()
        self.clock.advance(seconds=2)

    async def until(self, swap: Swap, device: Device | None, *states: str, turns: int = TURNS) -> Swap:
        """The swap once it is in one of the states (any end, if none are named)."""
        for _ in range(turns):
            found, _history = await self.read(swap)
            if found.state.value in states or (not states and found.ended_at is not None):
                return found
            await self.turn(device)
        found, history = await self.read(swap)
        raise AssertionError(f"the swap is {found.state}, at {found.step}: {[told.text for told in history.timeline]}")

    async def read(self, swap: Swap) -> tuple[Swap, History]:
        """The swap and its history as they are stored now."""
        return await self.swaps.desk.read(self.tenant_id, swap.id)

    # What there is ----------------------------------------------------------------------------------------------------

    def line(self, operator: Operator, iccid: Iccid) -> SimLine:
        """What the carrier's platform holds about a SIM."""
        sim = operator.book.sim(iccid)
        return SimLine(account=sim.account, status=sim.status, billed=len(operator.book.billed(iccid)))

    async def stock_of(self, iccid: Iccid) -> tuple[str, str | None]:
        """State of the profile in stock and of its latest order."""
        order = await self.smdp.order_row(iccid)
        return await self.smdp.profile_state(iccid), order["state"] if order else None


@asynccontextmanager
async def _es9plus(smdp: Stage, material: Material) -> AsyncIterator[int]:
    interface = Interface(
        name="es9plus",
        prefix=messages.PREFIX,
        limits=Limits(body_bytes=262_144, seconds=5.0),
        metrics=HttpMetrics(CollectorRegistry()),
    )
    routes = Es9Plus(smdp.downloads, smdp.cancellation, smdp.notifications).routes(interface)
    tls = server_context(material.pki.tls_certificate, material.pki.tls_key)
    patience = Patience(handshake_seconds=5, idle_seconds=5, stall_seconds=5, drain_seconds=1)
    async with listening(interface.application(routes), ("127.0.0.1", 0), tls, patience) as port:
        yield port


async def _operator(  # noqa: PLR0917 -- everything a carrier touches
    stack: AsyncExitStack,
    smdp: Stage,
    parties: Tenancy,
    clock: Clock,
    seconds: Seconds,
    name: str,
    role: CarrierRole,
    integrated: bool = True,
) -> Operator:
    book = Book(clock=clock.now)
    if not integrated:
        bare = Carrier(id=0, name=name, role=role, platform=PlatformAccess(kind="external"))
        made = await parties.add_carrier(_ADMIN, bare)
        return Operator(carrier=made, book=book, platform=None, operator_id=None)
    book.add_account(INVENTORY)
    book.add_account(ACCOUNT, (RATE_PLAN,), (COMMUNICATION_PLAN,))
    platform = await stack.enter_async_context(ControlCenter(book, {USER: KEY}, clock=seconds))
    operator_id = await smdp.operator()
    sealed = await smdp.ordering._vault.wrap(KEY.encode(), platform_secret_context(name))
    carrier = Carrier(
        id=0,
        name=name,
        role=role,
        platform=PlatformAccess(kind="control_center", base_url=platform.base_url, username=USER, secret_sealed=sealed),
        operator_id=operator_id,
        profile_type="prepaid",
        inventory_account=INVENTORY,
    )
    return Operator(
        carrier=await parties.add_carrier(_ADMIN, carrier), book=book, platform=platform, operator_id=operator_id
    )


def no_attach(device: Device, iccid: Iccid) -> None:
    """The network of this profile does not let the device in."""
    device.network.lines[iccid] = Line(attaches=False)


async def _no_pause(seconds: float) -> None:
    return None


__all__ = ["Curve", "SwapStage", "no_attach"]

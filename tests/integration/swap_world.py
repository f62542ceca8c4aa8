"""Everything around a server whose processes are killed while it swaps carriers, and what must be true afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import secrets
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
from swap_proxy import SwapProxy

from eim.association import eim_configuration
from eim.operation import OperationKind
from hsm_mock import MockVault
from rsp import tlv
from rsp.identifiers import Iccid
from rsp.saip_template import generate
from server.eim_wiring import Eim
from server.test_profiles import personalisations
from server.wiring import policy_of
from simulator.exchange import Connections, Habits, Retries
from simulator.iot_card import IotCard
from simulator.iot_factory import FactoryProfile, association_token, made_in_factory
from simulator.ipa import Ipa, IpaOptions
from simulator.issuer import EumIssuer
from simulator.network import Line, Network
from simulator.platforms.control_center import ControlCenter
from simulator.platforms.control_center_book import Book
from smdp.offer import Offer
from smdp.stocking import Stocking
from store.api_keys import ApiKeys
from store.directory import Operators
from store.pool import Pool
from store.stock import Stock
from store.tenancy import Tenancy
from tenancy.desk import platform_secret_context
from tenancy.keys import NewKey, token
from tenancy.operator import Operator
from tenancy.partners import Carrier, CarrierRole, Enterprise, Model, Partnership, Plans, PlatformAccess
from tenancy.principal import Act, Principal, PrincipalKind, Scope
from tests.server_fixtures import ServerUnderTest

INVENTORY, ACCOUNT = "100000001", "200000002"
PLANS = Plans(account=ACCOUNT, rate_plan="EU 5 MB", communication_plan="LTE-M")
OFFER = Offer(profile_type="iot-basic", service_provider_name="Provider", profile_name="Profile")
USER, KEY = "flex", "platform-key"
_ALIVE = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1)"
_PATIENT = Retries(attempts=2000, first_pause=0.05, longest_pause=10.0)
_HASTY = Retries(attempts=2)
_RETRY_SECONDS = 0.05
_LOOK_SECONDS = 0.1
_WITHIN = 60.0
_DEVICES = """
SELECT DISTINCT operation.eid FROM esim_operations operation JOIN swaps USING (eid)
WHERE swaps.id = ANY($1) AND swaps.claimed_until IS NULL AND operation.ended_at IS NULL
AND NOT EXISTS (SELECT FROM eim_results WHERE eim_results.eid = operation.eid AND judged_at IS NULL)
"""
"""The devices for which something waits, says a runner that has written down that it waits for them."""
_LISTED = """
SELECT content_at IS NOT NULL FROM esims WHERE eid = $1
AND NOT EXISTS (SELECT FROM eim_results WHERE judged_at IS NULL)
AND NOT EXISTS (SELECT FROM notifications WHERE judged_at IS NULL)
AND NOT EXISTS (SELECT FROM outbox WHERE sent_at IS NULL AND buried_at IS NULL)
"""
"""Whether a card has told its profiles, and nothing is left over from what went before."""
_ADMIN = Act(principal=Principal(kind=PrincipalKind.ADMIN), scopes=frozenset(Scope))


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A carrier with its platform."""

    carrier: Carrier
    platform: ControlCenter

    @property
    def book(self) -> Book:
        """What the platform holds."""
        return self.platform.book


@dataclass(slots=True, kw_only=True)
class Job:
    """One device that is to be swapped from `lead_line` to the one profile that `partner` has in stock."""

    partner: Party
    iccid: Iccid
    lead_line: Iccid
    card: IotCard
    ipa: Ipa
    packages: list[bytes] = field(default_factory=list)
    """The eUICC packages as the card was given them."""
    attempts: dict[str, int] = field(default_factory=dict)
    """The last attempt at each function of ESipa and ES9+."""
    swap_id: int = 0

    @property
    def eid(self) -> str:
        """The EID of its card."""
        return str(self.card.eid)

    def states(self) -> dict[str, bool]:
        """The card's own word on its profiles: ICCID to enabled."""
        return {str(one.iccid): one.state.name == "ENABLED" for one in self.card.memory.profiles}


@dataclass(slots=True, kw_only=True)
class SwapWorld:
    """A server under test between an enterprise, its carriers and its devices."""

    server: ServerUnderTest
    proxy: SwapProxy
    database: asyncpg.Connection
    pool: Pool
    vault: MockVault
    eim: Eim
    issuer: EumIssuer
    stack: AsyncExitStack
    http: aiohttp.ClientSession
    token: str = field(repr=False, default="")
    tenant_id: int = 0
    lead: Party | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _buried: set[int] = field(default_factory=set)

    # Parties ----------------------------------------------------------------------------------------------------------

    async def found(self) -> None:
        """The lead carrier, its enterprise, and the enterprise's API key."""
        parties = Tenancy(self.pool)
        self.lead = await self.party(CarrierRole.LEAD)
        new = Enterprise(id=0, name="enterprise", lead_id=self.lead.carrier.id, plans=PLANS)
        self.tenant_id = (await parties.add_enterprise(_ADMIN, new)).id
        secret = secrets.token_bytes(32)
        key = NewKey(
            principal=Principal(kind=PrincipalKind.ENTERPRISE, party_id=self.tenant_id),
            name="test",
            scopes=frozenset(Scope),
            digest=hashlib.sha256(secret).digest(),
            created_at=datetime.now(UTC),
        )
        self.token = token((await ApiKeys(self.pool).add_key(_ADMIN, key)).id, secret)

    async def party(self, role: CarrierRole, operator_id: int | None = None) -> Party:
        """A carrier with a platform and a credential of its own."""
        book = Book()
        book.add_account(INVENTORY)
        book.add_account(ACCOUNT, (PLANS.rate_plan,), (PLANS.communication_plan,))
        platform = await self.stack.enter_async_context(ControlCenter(book, {USER: KEY}, clock=_hurried))
        name = f"carrier-{next(self._numbers)}"
        carrier = Carrier(
            id=0,
            name=name,
            role=role,
            platform=PlatformAccess(
                kind="control_center",
                base_url=platform.base_url,
                username=USER,
                secret_sealed=await self.vault.wrap(KEY.encode(), platform_secret_context(name)),
            ),
            operator_id=operator_id,
            profile_type=OFFER.profile_type if operator_id else "",
            inventory_account=INVENTORY,
        )
        return Party(carrier=await Tenancy(self.pool).add_carrier(_ADMIN, carrier), platform=platform)

    async def partner(self) -> tuple[Party, Iccid]:
        """A carrier with a partnership, and one profile in stock with its SIM in the inventory."""
        assert self.lead is not None
        number = next(self._numbers)
        operator = Operator(id=0, name=f"operator-{number}", requester_id=f"operator-{number}")
        fingerprint = hashlib.sha256(operator.name.encode()).digest()
        operator_id = (await Operators(self.pool).add_operator(operator, (fingerprint,))).id
        made = await self.party(CarrierRole.PARTNER, operator_id)
        agreed = Partnership(
            id=0,
            enterprise_id=self.tenant_id,
            lead_id=self.lead.carrier.id,
            partner_id=made.carrier.id,
            model=Model.HANDOVER,
            plans=PLANS,
            lead_agrees=True,
            partner_agrees=True,
        )
        await Tenancy(self.pool).add_partnership(_ADMIN, agreed)
        (subscriber,) = personalisations(f"{898801 * 10**12 + number:018d}", 1, OFFER)
        stocking = Stocking(Stock(self.pool), self.vault, policy_of(self.server.settings))
        iccid = await stocking.import_profile(operator_id, generate(subscriber), OFFER)
        made.book.add_sim(iccid, INVENTORY)
        return made, iccid

    # Devices ----------------------------------------------------------------------------------------------------------

    async def job(self, *, attaches: bool = True) -> Job:
        """A partner and a device that has listed its profiles; nothing goes wrong yet."""
        assert self.lead is not None
        self.proxy.arm_all(())
        partner, iccid = await self.partner()
        number = next(self._numbers)
        lead_line = Iccid(f"898899{number:013d}")
        eid = self.issuer.eid(number)
        configuration = await eim_configuration(self.vault, self.eim.identity, None, counter=0, with_token=True)
        lead = FactoryProfile(iccid=lead_line, provider="Lead", name="Lead")
        card = made_in_factory(eid, [self.issuer.issue(eid)], lead=lead, configurations=[configuration])
        self.lead.book.add_sim(lead_line, ACCOUNT, "ACTIVATED", plans=(PLANS.rate_plan, PLANS.communication_plan))
        chain = card.credentials[0]
        await self.eim.onboarding.onboard(
            self.tenant_id,
            eid,
            chain.eum_certificate,
            chain.euicc_certificate,
            association_token(card, self.eim.identity.eim_id),
            0,
        )
        job = Job(partner=partner, iccid=iccid, lead_line=lead_line, card=card, ipa=None)  # type: ignore[arg-type]
        job.ipa = self._ipa(job, attaches=attaches)
        self._record(job)
        await self._listed(job)
        self.proxy.arm_all(())
        return job

    def _ipa(self, job: Job, *, attaches: bool) -> Ipa:
        async def before(function: str, attempt: int) -> None:
            self.proxy.step = function
            job.attempts[function] = attempt

        retries = _PATIENT if attaches else _HASTY
        habits = Habits(connections=Connections.FRESH, retries=retries, pause=_soon, before_request=before)
        network = Network(
            lines={job.iccid: Line(attaches=attaches)},
            is_live=lambda iccid: self._book(job, iccid).connects(iccid),
            on_session=lambda iccid: self._session(job, iccid),
        )
        addresses = {self.server.settings.eim_names[0]: self.server.address("eim")}
        addresses[self.server.name] = self.server.address("es9")
        tls = ssl.create_default_context(cadata=self.server.pki.ci_certificates[0])
        options = IpaOptions(rollback_after=30.0, result_retries=retries)
        ipa = Ipa.over(job.card, network, tls=tls, addresses=addresses, habits=habits, options=options)
        self.stack.push_async_callback(ipa.close)
        return ipa

    def _book(self, job: Job, iccid: Iccid) -> Book:
        assert self.lead is not None
        return job.partner.book if iccid == job.iccid else self.lead.book

    def _session(self, job: Job, iccid: Iccid) -> None:
        for other in (job.iccid, job.lead_line):
            self._book(job, other).session_ends(other)
        self._book(job, iccid).session_starts(iccid)

    @staticmethod
    def _record(job: Job) -> None:
        peer = job.ipa._eim
        get = peer.get_eim_package

        async def recorded(*given: Any, **more: Any) -> Any:
            package = await get(*given, **more)
            if isinstance(package, tlv.Tlv) and package.tag == 0xBF51:
                job.packages.append(package.raw)
            return package

        peer.get_eim_package = recorded  # type: ignore[method-assign]  # a listener on the way in

    async def _listed(self, job: Job) -> None:
        await self.eim.packages.queue(
            self.tenant_id,
            f"list-{job.eid}",
            job.card.eid,
            OperationKind.LIST,
            expires_at=datetime.now(UTC) + timedelta(days=1),
        )
        await job.ipa.poll()

        async def satisfied() -> bool:
            return bool(await self.database.fetchval(_LISTED, job.eid))

        await self.proxy.until(satisfied)

    # A swap -----------------------------------------------------------------------------------------------------------

    async def order(self, job: Job) -> None:
        """POST /v1/swaps, again under the same key until there is an answer."""
        body = {"eid": job.eid, "targetId": job.partner.carrier.id}
        status, answer = await self.call("POST", "/v1/swaps", body, f"swap-{job.eid}")
        assert status == 202, answer
        job.swap_id = answer["swap"]["id"]

    async def call(self, method: str, path: str, body: object = None, key: str = "") -> tuple[int, Any]:
        """A request to the API, repeated until it is answered."""
        self.proxy.step = f"{method} {path}"
        host, port = self.server.address("api")
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        headers |= {"Idempotency-Key": key} if key else {}
        data = b"" if body is None else json.dumps(body).encode()
        while True:
            with suppress(aiohttp.ClientError, OSError):
                async with self.http.request(
                    method,
                    f"https://{host}:{port}{path}",
                    data=data,
                    headers=headers,
                    server_hostname=self.server.name,
                ) as response:
                    answer = await response.json(content_type=None)
                    if answer.get("code") == "request_in_flight":
                        # Whoever had it in hand is dead, for this is its only caller: let its claim run out.
                        await self.database.execute("UPDATE api_requests SET claimed_until = clock_timestamp()")
                    elif response.status != 503:
                        return response.status, answer
            await self.end_leases()
            await asyncio.sleep(_RETRY_SECONDS)

    async def carry(self, *jobs: Job) -> None:
        """Let devices poll whenever something waits for them, until all their swaps have ended."""
        try:
            async with asyncio.timeout(_WITHIN):
                while not await self._turn(jobs):
                    self.proxy._moved.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.proxy._moved.wait(), _LOOK_SECONDS)
        except TimeoutError:
            rows = await self.database.fetch("SELECT * FROM swaps WHERE ended_at IS NULL")
            told = await self.database.fetch("SELECT text FROM swap_events ORDER BY id DESC LIMIT 12")
            log = self.server.log.read_text()[-3000:]
            raise AssertionError([dict(row) for row in rows], [row["text"] for row in told], log) from None

    async def _turn(self, jobs: Sequence[Job]) -> bool:
        """Whether all have ended. A device polls once the runner has written down that it waits for it."""
        await self.end_leases()
        ids = [job.swap_id for job in jobs]
        if await self.database.fetchval("SELECT count(ended_at) = count(*) FROM swaps WHERE id = ANY($1)", ids):
            return True
        waiting = await self.database.fetch(_DEVICES, ids)
        due = {row["eid"] for row in waiting}
        for job in jobs:
            if job.eid in due:
                await job.ipa.poll()
        return False

    async def end_leases(self) -> None:
        """Let time pass for what processes that were killed had claimed: their leases end now, those of others do not.

        A statement that was on its way when its process died is done after that.
        """
        for queue in ("swaps", "outbox"):
            await self.database.execute(
                f"UPDATE {queue} SET claimed_until = clock_timestamp()"
                " WHERE claimed_by = ANY($1) AND claimed_until > clock_timestamp()",
                self.proxy.dead_claimers(),
            )
        dead = self.proxy.dead_backends() - self._buried
        if not dead or await self.database.fetchval(_ALIVE, list(dead)):
            return
        self._buried |= dead
        # Who goes on may have judged one of these meanwhile, and judges it once more: that changes nothing.
        for queue in ("eim_results", "notifications"):
            await self.database.execute(
                f"UPDATE {queue} SET claimed_until = clock_timestamp() WHERE claimed_until > clock_timestamp()"
            )
        await self.database.execute("DELETE FROM platform_lines")

    async def rows(self, table: str, column: str, value: object) -> list[dict[str, Any]]:
        """All rows of a table with this value."""
        rows = await self.database.fetch(f"SELECT * FROM {table} WHERE {column} = $1 ORDER BY id", value)
        return [dict(row) for row in rows]


def _hurried() -> float:
    """The time by which platforms count calls in a second: swaps with devices that answer at once are quick."""
    return time.monotonic() * 1000


async def _soon(seconds: float) -> None:
    await asyncio.sleep(_RETRY_SECONDS)

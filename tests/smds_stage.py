"""SM-DS for tests: certified by the CIs of a generated PKI, on free ports of loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs.layout import PkiFolder
from crypto.curves import Curve
from es12.client import Es12Client
from rsp.identifiers import Eid
from server.smds_wiring import EventRemovals
from simulator.exchange import Exchange, Habits, Retries, trust
from simulator.smds import SmDs
from simulator.smds_certificates import SmdsIssuer
from smdp.event import REMOVAL_KIND, SmdsPolicy
from smdp.ordering import ConfirmOrder, DownloadOrder, Ordering
from smdp.policy import Policy
from smdp.ports import ClaimedMessage
from smdp.progress import KIND
from smdp.recovery import VendorFunctions
from store.ordering import Orderings
from store.outbox import Outbox
from tests.protocol_stage import NAME, Clock, Material, Ordered, Stage
from transport.client import GsmaClient
from transport.resolving import ChosenHosts
from transport.tls import ci_context
from webhooks.sender import Pace, Sender

CURVES = (Curve.P256, Curve.BRAINPOOL_P256R1)
SMDS, ROOT = "smds.example.com", "root.example.com"


def issuers(pki: PkiFolder, curves: Iterable[Curve] = CURVES) -> list[SmdsIssuer]:
    """The CIs of the folder as issuers of an SM-DS."""
    made = []
    for curve in curves:
        files = pki.device_files(curve)
        key = load_pem_private_key(files.ci_key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        made.append(SmdsIssuer(files.ci_certificate.read_bytes(), key))
    return made


def es12_session(pki: PkiFolder, *known: SmDs) -> aiohttp.ClientSession:
    """Connections of our SM-DP+ to SM-DS, as `server.wiring` makes them."""
    context = ci_context(pki.ci_certificates, pki.tls_certificate, pki.tls_key)
    hosts = {smds.address: ("127.0.0.1", smds.port) for smds in known}
    resolver = ChosenHosts(hosts, aiohttp.ThreadedResolver())
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, resolver=resolver))


def es12_client(http: aiohttp.ClientSession, *, timeout: float = 5.0) -> Es12Client:
    """ES12 over such connections."""
    return Es12Client(
        lambda address: GsmaClient(http, f"https://{address}", timeout),
        requester_id="smdp.example.com",
        server_address="smdp.example.com",
    )


def device_exchange(pki: PkiFolder, **addresses: tuple[str, int]) -> Exchange:
    """What a device reaches: names with dots written as underscores, to (host, port)."""
    names = {name.replace("_", "."): target for name, target in addresses.items()}
    return Exchange(
        tls=trust(pki.device_files(Curve.P256).ci_certificate),
        addresses=names,
        habits=Habits(retries=Retries(attempts=1)),
        user_agent="gsma-rsp-lpad",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStage:
    """A server without HTTP, an SM-DS it knows over TLS, and the worker's part when a test wants it."""

    stage: Stage
    smds: SmDs
    sender: Sender
    vendor: VendorFunctions

    @classmethod
    @asynccontextmanager
    async def opened(cls, database: str, material: Material, clock: Clock) -> AsyncIterator[EventStage]:
        """The SM-DS is a root; `smds_hosts` lists it and nobody else."""
        policy = Policy(server_names=(NAME,), smds=SmdsPolicy(hosts=frozenset({SMDS}), roots=frozenset({ROOT})))
        async with SmDs(issuers(material.pki), address=SMDS) as smds, AsyncExitStack() as stack:
            client = es12_client(await stack.enter_async_context(es12_session(material.pki, smds)))
            stage = await stack.enter_async_context(Stage.opened(database, material, clock, policy, client))
            kinds = {KIND: _taken, REMOVAL_KIND: EventRemovals(stage.events).send}
            at_once = Pace(first_seconds=0.0, longest_seconds=0.0)
            yield cls(
                stage=stage,
                smds=smds,
                sender=Sender(Outbox(stage.pool), kinds, at_once),
                vendor=VendorFunctions(Orderings(stage.pool), policy, clock.now, client),
            )

    async def linked(self, eid: Eid, tenant_id: int | None = None) -> Ordered:
        """A profile ordered for a card."""
        owner = tenant_id if tenant_id is not None else await self.stage.operator()
        stocked = await self.stage.stock(owner)
        await self.stage.ordering.download_order(self.stage.call(owner), DownloadOrder(iccid=stocked.iccid, eid=eid))
        return stocked

    async def confirm(
        self, ordered: Ordered, *, call_id: str = "", ordering: Ordering | None = None, **request: Any
    ) -> Ordered:
        """ConfirmOrder at the SM-DS, with release unless the test says otherwise."""
        asked = ConfirmOrder(iccid=ordered.iccid, **{"release": True, "smds_address": SMDS, **request})
        used = ordering or self.stage.ordering
        confirmed = await used.confirm_order(self.stage.call(ordered.tenant_id, call_id), asked)
        return replace(ordered, matching_id=confirmed.matching_id)

    async def announced(self, eid: Eid, **request: Any) -> Ordered:
        """A released order that has its event."""
        ordered = await self.confirm(await self.linked(eid), **request)
        assert self.smds.events(eid) == [(ordered.matching_id, NAME)]
        return ordered

    async def work(self) -> None:
        """Send what the outbox holds until nothing is due, at most so often."""
        for _ in range(20):
            taken = await self.sender.send_due()
            await self.sender.finish()
            if not taken:
                return

    async def later(self) -> None:
        """The time at which a lost call cannot take effect any more, and what was given up is due."""
        await self.stage.tables.execute(
            "UPDATE smds_events SET doubt_until = doubt_until - interval '1 day', due_at = due_at - interval '1 day', "
            "removing_until = removing_until - interval '1 day'"
        )
        await self.stage.tables.execute("UPDATE outbox SET due_at = now() WHERE sent_at IS NULL")

    async def settle(self) -> None:
        """Whatever is to happen by itself has happened."""
        for _ in range(2):
            await self.work()
            await self.later()
            await self.stage.events.reconcile(16)
        await self.work()

    async def rows(self, ordered: Ordered) -> list[str]:
        """The states of the events of the latest order, oldest first."""
        rows = await self.stage.tables.fetch(
            "SELECT e.state FROM smds_events e JOIN orders o ON o.id = e.order_id WHERE o.iccid = $1 ORDER BY e.id",
            str(ordered.iccid),
        )
        return [row["state"] for row in rows]

    async def unsent(self) -> int:
        """How many deletions wait."""
        return int(
            await self.stage.tables.fetchval(
                "SELECT count(*) FROM outbox WHERE kind = $1 AND sent_at IS NULL AND buried_at IS NULL", REMOVAL_KIND
            )
        )


async def _taken(_: ClaimedMessage) -> None:
    """An operator that has every report at once."""

"""A stage for the role eIM: real PostgreSQL and keys, ESipa over TLS, and devices with strict cards under it.

Parts are joined as the server joins them; `EimStage.seen` reads what the tables hold about one eSIM, so that a test
states exactly what must be there.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
from prometheus_client import CollectorRegistry

from crypto.certificates import TrustStore
from crypto.curves import Curve
from eim.association import EimIdentity, eim_configuration
from eim.operation import Operation, OperationKind
from eim.packages import Packages
from eim.ports import Association
from esipa import messages
from esipa.server import Esipa
from rsp import tlv
from rsp.identifiers import Eid, Iccid
from server.eim_wiring import Eim, eim_of
from simulator.exchange import Habits, Retries, trust
from simulator.iot_card import IotCard
from simulator.iot_factory import FactoryProfile, association_token, made_in_factory
from simulator.ipa import Ipa, IpaOptions
from simulator.losses import Losses
from simulator.network import Network
from store.pool import Pool, open_pool
from tests.protocol_stage import Clock, Material
from transport.functions import Interface, Limits
from transport.listening import Patience, listening
from transport.metrics import HttpMetrics
from transport.tls import server_context

EIM = "eim.example.com"
SMDP = "smdp.example.com"
LEAD = Iccid("8988211000000000011")
TARGET = Iccid("8988211000000000029")
OTHER = Iccid("8988211000000000037")
TENANT, STRANGER = 7, 8


@dataclass(slots=True, kw_only=True)
class Device:
    """One device of a test, with what it can be told to lose."""

    ipa: Ipa
    card: IotCard
    network: Network
    losses: Losses

    def states(self) -> dict[str, bool]:
        """The card's own word on its profiles: ICCID to enabled."""
        return {str(one.iccid): one.state.name == "ENABLED" for one in self.card.memory.profiles}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenOperation:
    """A row of esim_operations without what differs from run to run."""

    kind: str
    state: str
    counter: int | None
    code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EimStage:
    """One eIM on a fresh database."""

    material: Material
    clock: Clock
    pool: Pool
    tables: Any
    eim: Eim
    port: int
    smdp_port: int = 0
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        database: str,
        material: Material,
        clock: Clock,
        smdp_port: int = 0,
        around: Callable[[Pool], Pool] = lambda pool: pool,
    ) -> AsyncIterator[EimStage]:
        """The eIM over `database`, as the server joins it, listening on a free port; `around` may wrap its pool."""
        pool = around(await open_pool(database, 4))
        tables = await asyncpg.connect(database)
        assert material.pki.eim is not None
        identity = EimIdentity(eim_id=EIM, fqdn=EIM, signing_key=material.pki.eim.signing_key)
        trusted = TrustStore(material.pki.ci_certificates)
        eim = eim_of(identity, pool, material.vault, trusted, (SMDP,), clock.now)
        tls = server_context(material.pki.eim.tls_certificate, material.pki.eim.tls_key)
        patience = Patience(handshake_seconds=5, idle_seconds=5, stall_seconds=5, drain_seconds=1)
        try:
            async with listening(application(eim), ("127.0.0.1", 0), tls, patience) as port:
                yield cls(
                    material=material, clock=clock, pool=pool, tables=tables, eim=eim, port=port, smdp_port=smdp_port
                )
        finally:
            await tables.close()
            await pool.close()

    # Devices ----------------------------------------------------------------------------------------------------------

    async def device(
        self,
        *,
        profiles: tuple[Iccid, ...] = (TARGET,),
        curve: Curve = Curve.P256,
        counter: int = 0,
        token: bool = True,
        options: IpaOptions | None = None,
        tenant_id: int = TENANT,
    ) -> Device:
        """A device from the factory, onboarded: LEAD enabled on its card, `profiles` on it and disabled."""
        issuer = self.material.issuers[curve]
        eid = issuer.eid(next(self.numbers))
        configuration = await eim_configuration(
            self.material.vault, self.eim.identity, None, counter=counter, with_token=token
        )
        lead = FactoryProfile(iccid=LEAD, provider="Lead", name="Lead")
        card = made_in_factory(eid, [issuer.issue(eid)], lead=lead, configurations=[configuration])
        for iccid in profiles:
            put_on(card, iccid)
        await self.onboard(card, counter=counter, tenant_id=tenant_id)
        return self.powered(card, options)

    async def onboard(self, card: IotCard, *, counter: int = 0, tenant_id: int = TENANT) -> Association:
        """What the factory hands over about a card."""
        chain = card.credentials[0]
        return await self.eim.onboarding.onboard(
            tenant_id, card.eid, chain.eum_certificate, chain.euicc_certificate, association_token(card, EIM), counter
        )

    def powered(self, card: IotCard, options: IpaOptions | None = None) -> Device:
        """A device around `card`, whose lost messages cost no time."""
        losses, network = Losses(), Network()
        ipa = Ipa.over(
            card,
            network,
            tls=trust(self.ca_file()),
            addresses={EIM: ("127.0.0.1", self.port), SMDP: ("127.0.0.1", self.smdp_port)},
            habits=Habits(pause=_no_pause, retries=Retries(attempts=1), interfere=losses),
            options=options or IpaOptions(result_retries=Retries(attempts=2)),
        )
        return Device(ipa=ipa, card=card, network=network, losses=losses)

    def ca_file(self) -> Any:
        """The CI under which the TLS names are certified, as PEM."""
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding

        der = self.material.pki.device_files(Curve.P256).ci_certificate.read_bytes()
        path = self.material.pki.path.parent / "ci-p256.pem"
        path.write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
        return path

    # Operations -------------------------------------------------------------------------------------------------------

    async def queue(self, eid: Eid, kind: OperationKind, **more: Any) -> Operation:
        """An operation under a key of its own, with a day of time."""
        key = more.pop("key", f"key-{next(self.numbers)}")
        expires_at: datetime = more.pop("expires_at", self.clock.now() + timedelta(days=1))
        packages: Packages = self.eim.packages
        return await packages.queue(more.pop("tenant_id", TENANT), key, eid, kind, expires_at=expires_at, **more)

    async def judge(self) -> list[tuple[str, bool]]:
        """Judge everything kept; answers (outcome, verified) of every result ever kept, oldest first."""
        while await self.eim.results.judge_pending(10, 60.0):
            pass
        rows = await self.tables.fetch("SELECT outcome, verified FROM eim_results ORDER BY id")
        return [(row["outcome"], row["verified"]) for row in rows]

    # What the tables hold ---------------------------------------------------------------------------------------------

    async def seen(self, eid: Eid) -> list[SeenOperation]:
        """The operations of an eSIM, oldest first."""
        rows = await self.tables.fetch("SELECT * FROM esim_operations WHERE eid = $1 ORDER BY id", str(eid))
        return [
            SeenOperation(kind=row["kind"], state=row["state"], counter=row["counter"], code=row["result_code"])
            for row in rows
        ]

    async def row(self, operation: Operation) -> Any:
        """The row of an operation."""
        return await self.tables.fetchrow("SELECT * FROM esim_operations WHERE id = $1", operation.id)

    async def known(self, eid: Eid) -> dict[str, bool]:
        """The known profiles of a card: ICCID to enabled."""
        rows = await self.tables.fetch("SELECT iccid, enabled FROM esim_profiles WHERE eid = $1", str(eid))
        return {row["iccid"]: row["enabled"] for row in rows}

    async def counter(self, eid: Eid) -> int:
        """The last counter used."""
        return int(await self.tables.fetchval("SELECT counter FROM esims WHERE eid = $1", str(eid)))

    async def post(self, body: bytes, **headers: str) -> tuple[int, bytes]:
        """One request to ESipa as anybody can send it."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"https://127.0.0.1:{self.port}{messages.PREFIX}/{messages.PATH}",
                data=body,
                headers={"Content-Type": messages.MEDIA_TYPE, **headers},
                ssl=trust(self.ca_file()),
                server_hostname=EIM,
            ) as response,
        ):
            return response.status, await response.read()


def application(eim: Eim) -> Any:
    """ESipa of `eim`, as the server answers it."""
    interface = Interface(
        name="esipa",
        prefix=messages.PREFIX,
        limits=Limits(body_bytes=262_144, seconds=5.0),
        metrics=HttpMetrics(CollectorRegistry()),
        binding=messages.BINDING,
    )
    choose = Esipa(eim.polling, eim.results).choosing(interface)
    return interface.application([interface.choosing_route(messages.PATH, choose)])


def put_on(card: IotCard, iccid: Iccid, notifications: bytes = b"") -> None:
    """One more profile on a card, disabled; `notifications` are members of B6."""
    from simulator import profile_package
    from simulator.profiles import Profile, ProfileState

    partner = FactoryProfile(iccid=iccid, provider="Partner", name="Partner", notifications=notifications)
    metadata = partner.metadata()
    card.memory.profiles.append(
        Profile(
            iccid=iccid,
            aid=card.memory.profiles.free_aid(),
            state=ProfileState.DISABLED,
            metadata=metadata,
            package=profile_package.shortest(iccid),
            smdp_oid="2.999.1",
            proprietary_data=b"",
            ci_key_id=card.credentials[0].ci_key_id,
        )
    )


def poll_request(eid: Eid) -> bytes:
    """GetEimPackage as anybody can send it."""
    return tlv.wrap(0xBF4F, tlv.wrap(0x5A, eid.to_bytes()))


async def _no_pause(seconds: float) -> None:
    return None

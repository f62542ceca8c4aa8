"""A stage for the role SM-DP+ without HTTP: real PostgreSQL, real keys, strict cards, and a clock that tests move.

Parts are joined as `server.wiring` joins them. `Stage.seen` reads all that the tables hold about one order, so that a
test states exactly what must be there.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs.folder import PkiFolder, init
from crypto.certificates import TrustStore
from crypto.curves import Curve
from hsm_mock import MockVault
from rsp.errors import Refused
from rsp.identifiers import Eid, Iccid, MatchingId, TransactionId
from rsp.saip_template import generate
from rsp.status import Status
from server.test_profiles import personalisations
from server.wiring import wallet_of
from simulator.card import Card
from simulator.euicc_info import EuiccProperties
from simulator.issuer import EumIssuer
from simulator.misbehaviour import Misbehaviour
from smdp.announcing import NoSmds
from smdp.cancellation import Cancellation
from smdp.downloads import Downloads
from smdp.event_keeping import EventKeeping
from smdp.event_ports import SmDs
from smdp.notification import Notifications
from smdp.offer import Offer
from smdp.ordering import CancelOrder, ConfirmOrder, DownloadOrder, FinalProfileStatus, Ordering
from smdp.policy import Policy
from smdp.ports import Call
from smdp.progress import KIND
from smdp.stocking import Stocking
from store.directory import Operators
from store.downloads import Downloads as StoredDownloads
from store.events import Events
from store.inbox import Inbox
from store.ordering import Orderings
from store.pool import Pool, open_pool
from store.stock import Stock
from tenancy.operator import Operator

NAME = "smdp.example.com"
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TYPE = "prepaid"
CURVES = (Curve.P256, Curve.BRAINPOOL_P256R1)


@dataclass(slots=True)
class Clock:
    """The time of server and cards; it stands still unless a test moves it."""

    at: datetime = START

    def now(self) -> datetime:
        """The time."""
        return self.at

    def advance(self, **time: float) -> None:
        """Let time pass; arguments are those of timedelta."""
        self.at += timedelta(**time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Certificates and keys of a server and of the makers of cards; made once for a test run."""

    pki: PkiFolder
    vault: MockVault
    issuers: dict[Curve, EumIssuer]

    @classmethod
    def make(cls, folder: Path) -> Material:
        """A generated PKI on both curves."""
        vault = MockVault.create(folder / "vault", "passphrase", cost=10)
        pki = asyncio.run(init(folder / "pki", vault, names=(NAME,), now=START - timedelta(days=30)))
        return cls(pki=pki, vault=vault, issuers={curve: _issuer(pki, curve) for curve in CURVES})


def _issuer(pki: PkiFolder, curve: Curve) -> EumIssuer:
    files = pki.device_files(curve)
    key = load_pem_private_key(files.eum_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return EumIssuer(files.eum_certificate.read_bytes(), key, (files.ci_certificate.read_bytes(),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """An order as its operator knows it; `upp` is the package that must arrive on the card."""

    tenant_id: int
    iccid: Iccid
    matching_id: str | None
    upp: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the tables hold about the latest order of an ICCID and its sessions.

    `sealed` names the secrets that are still kept; `told` is (notification point, status) as the operator is told, over
    all orders of the ICCID; `sessions` are the states of the order's sessions with what they were refused with.
    """

    order: str
    profile: str = "ordered"
    eid: str | None = None
    downloads: int = 0
    codes: int = 0
    sealed: tuple[str, ...] = ("key",)
    told: tuple[tuple[int, str], ...] = ()
    sessions: tuple[tuple[str, str | None], ...] = ()


_SEALED = ("key", "confirmation", "otsk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One server on a fresh database."""

    material: Material
    clock: Clock
    policy: Policy
    pool: Pool
    tables: Any
    trust: TrustStore
    downloads: Downloads
    cancellation: Cancellation
    notifications: Notifications
    ordering: Ordering
    events: EventKeeping
    stocking: Stocking
    operators: Operators
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, database: str, material: Material, clock: Clock, policy: Policy, smds: SmDs | None = None
    ) -> AsyncIterator[Stage]:
        """The roles over `database`, as the server joins them; without `smds` there is no ES12."""
        pool = await open_pool(database, 4)
        tables = await asyncpg.connect(database)
        trust, wallet = TrustStore(material.pki.ci_certificates), wallet_of(material.pki)
        sessions, vault, now = StoredDownloads(pool), material.vault, clock.now
        es12 = smds or NoSmds()
        try:
            yield cls(
                material=material,
                clock=clock,
                policy=policy,
                pool=pool,
                tables=tables,
                trust=trust,
                downloads=Downloads(sessions, vault, trust, wallet, policy, now),
                cancellation=Cancellation(sessions, wallet, now),
                notifications=Notifications(Inbox(pool), sessions, trust, wallet, policy, now),
                ordering=Ordering(Orderings(pool), vault, policy, now, es12),
                events=EventKeeping(Orderings(pool), Events(pool), es12, policy.smds, now),
                stocking=Stocking(Stock(pool), vault, policy),
                operators=Operators(pool),
            )
        finally:
            await tables.close()
            await pool.close()

    # Operators --------------------------------------------------------------------------------------------------------

    async def operator(self, **chosen: Any) -> int:
        """A new operator; answers its id. `chosen` are limits and rules, members of Operator."""
        name = f"operator-{next(self.numbers)}"
        operator = Operator(id=0, name=name, requester_id=name, **chosen)
        return (await self.operators.add_operator(operator, (hashlib.sha256(name.encode()).digest(),))).id

    async def stock(
        self, tenant_id: int, *, profile_type: str = TYPE, upp: bytes | None = None, offer: Offer | None = None
    ) -> Ordered:
        """Put one profile into stock; nothing is ordered yet."""
        names = Offer(profile_type=profile_type, service_provider_name="Test", profile_name=profile_type)
        if upp is None:
            upp = generate(next(personalisations(f"8988211{next(self.numbers):011d}", 1, names)))
        iccid = await self.stocking.import_profile(tenant_id, upp, offer or names)
        return Ordered(tenant_id=tenant_id, iccid=iccid, matching_id=None, upp=upp)

    def call(self, tenant_id: int, call_id: str = "", digest: bytes = b"body") -> Call:
        """An ES2+ call with an id of its own."""
        return Call(
            tenant_id=tenant_id, call_id=call_id or f"call-{next(self.numbers)}", function="function", digest=digest
        )

    async def order(
        self,
        *,
        tenant_id: int | None = None,
        eid: Eid | None = None,
        code: str | None = None,
        matching_id: str | None = None,
        upp: bytes | None = None,
    ) -> Ordered:
        """A released order of a fresh profile."""
        owner = tenant_id if tenant_id is not None else await self.operator()
        stocked = await self.stock(owner, upp=upp)
        return await self.order_again(stocked, eid=eid, code=code, matching_id=matching_id)

    async def order_again(
        self, stocked: Ordered, *, eid: Eid | None = None, code: str | None = None, matching_id: str | None = None
    ) -> Ordered:
        """A released order of a profile that is in stock."""
        owner = stocked.tenant_id
        await self.ordering.download_order(self.call(owner), DownloadOrder(iccid=stocked.iccid, eid=eid))
        request = ConfirmOrder(
            iccid=stocked.iccid, release=True, matching_id=matching_id, confirmation_code=code, eid=eid
        )
        confirmed = await self.ordering.confirm_order(self.call(owner), request)
        return replace(stocked, matching_id=confirmed.matching_id)

    async def cancel_order(
        self, ordered: Ordered, final: FinalProfileStatus = FinalProfileStatus.AVAILABLE, eid: Eid | None = None
    ) -> None:
        """ES2+.CancelOrder by the owner."""
        request = CancelOrder(iccid=ordered.iccid, final_status=final, eid=eid)
        await self.ordering.cancel_order(self.call(ordered.tenant_id), request)

    # Cards ------------------------------------------------------------------------------------------------------------

    def card(
        self,
        *misbehave: Misbehaviour,
        curves: Iterable[Curve] = (Curve.P256,),
        free_memory: int = 512 * 1024,
        properties: EuiccProperties | None = None,
    ) -> Card:
        """A new card that signs under the CIs of `curves`, in that order."""
        eid = self.material.issuers[Curve.P256].eid(next(self.numbers))
        return Card(
            eid,
            [self.material.issuers[curve].issue(eid) for curve in curves],
            now=self.clock.now,
            free_memory=free_memory,
            misbehave=frozenset(misbehave),
            properties=properties or EuiccProperties(),
        )

    async def judge(self) -> list[tuple[str, bool]]:
        """Judge all kept notifications; answers (outcome, verified) of every one ever kept, oldest first."""
        while await self.notifications.judge_pending(10, 60.0):
            pass
        return [(row["outcome"], row["verified"]) for row in await self.notes()]

    # What the tables hold ---------------------------------------------------------------------------------------------

    async def notes(self) -> list[Any]:
        """The kept notifications, oldest first."""
        return list(await self.tables.fetch("SELECT * FROM notifications ORDER BY id"))

    async def session(self, transaction_id: TransactionId) -> Any:
        """The row of a session."""
        return await self.tables.fetchrow("SELECT * FROM sessions WHERE transaction_id = $1", transaction_id.value)

    async def profile_state(self, iccid: Iccid) -> str:
        """Where a profile stands in stock."""
        return str(await self.tables.fetchval("SELECT state FROM profiles WHERE iccid = $1", str(iccid)))

    async def order_row(self, iccid: Iccid) -> Any:
        """The row of the latest order of an ICCID; None when there never was one."""
        return await self.tables.fetchrow("SELECT * FROM orders WHERE iccid = $1 ORDER BY id DESC LIMIT 1", str(iccid))

    async def reports(self, iccid: Iccid) -> list[dict[str, Any]]:
        """What the operator is told about an ICCID, in order."""
        rows = await self.tables.fetch("SELECT body FROM outbox WHERE line = $1 ORDER BY id", f"{KIND}/{iccid}")
        return [json.loads(row["body"]) for row in rows]

    async def seen(self, ordered: Ordered) -> Seen:
        """All of it at once."""
        order = await self.order_row(ordered.iccid)
        sessions = await self.tables.fetch(
            "SELECT state, refusal FROM sessions WHERE order_id = $1 ORDER BY created_at", order["id"]
        )
        return Seen(
            order=order["state"],
            profile=await self.profile_state(ordered.iccid),
            eid=order["eid"],
            downloads=order["download_attempts"],
            codes=order["confirmation_attempts"],
            sealed=tuple(name for name in _SEALED if order[f"{name}_sealed"] is not None),
            told=tuple((body["point"], body["status"]) for body in await self.reports(ordered.iccid)),
            sessions=tuple((row["state"], row["refusal"]) for row in sessions),
        )


def installed_on(card: Card) -> dict[str, bytes]:
    """The profiles on a card: ICCID to package."""
    return {str(profile.iccid): profile.package for profile in card.profiles}


@contextmanager
def refuses(status: Status) -> Iterator[None]:
    """The block must be refused with exactly this status."""
    with pytest.raises(Refused) as refusal:
        yield
    assert refusal.value.status is status, str(refusal.value)


def matching(ordered: Ordered) -> MatchingId:
    """The MatchingID of an order that has one."""
    assert ordered.matching_id
    return MatchingId(ordered.matching_id)


def decoded(report: dict[str, Any]) -> bytes:
    """The resultData of a report."""
    return base64.b64decode(report["result_data"])

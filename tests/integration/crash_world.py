"""Everything around a server that is made to crash: operator, devices, callbacks, and what must be true afterwards."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import asyncpg
from crash_proxy import DatabaseProxy
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from crypto.curves import Curve
from hsm_mock import MockVault
from rsp.identifiers import ActivationCode, Iccid
from rsp.saip_template import generate
from rsp.status import Status
from server import running
from server.test_profiles import personalisations
from server.wiring import policy_of
from simulator.card import Card
from simulator.exchange import Connections, Exchange, Habits, Retries, identify
from simulator.issuer import EumIssuer
from simulator.lpa import USER_AGENT, Lpa
from simulator.lpa_types import DownloadResult, Installed, Refused
from simulator.operator import OperatorClient
from simulator.operator_callbacks import CallbackServer, callback_tls
from smdp.offer import Offer
from smdp.stocking import Stocking
from store.directory import Operators
from store.pool import Pool, open_pool
from store.stock import Stock
from tenancy.operator import Operator
from tests.server_fixtures import PASSPHRASE, ServerUnderTest

OPERATOR = "operator-a"
OFFER = Offer(profile_type="iot-basic", service_provider_name="Provider", profile_name="Profile")
CONFIRMATION_CODE = "4711-0815"
WRONG_CODE = "0000"
STEP = "INSERT INTO outbox, UPDATE orders, UPDATE sessions"
"""The one statement by which a request or a judgement moves a session and its order."""
REFUSAL = "UPDATE sessions"
"""The one by which a request is refused for good."""
_ALIVE = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1)"
_RETRIES = Retries(attempts=2000, first_pause=0.05, longest_pause=10.0)
_RETRY_SECONDS = 0.05


@dataclass(slots=True)
class Wire:
    """What went over the wire: the last attempt at each function, and the pauses asked for before a retry."""

    attempts: dict[str, int] = field(default_factory=dict)
    pauses: list[float] = field(default_factory=list)
    paused: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, kw_only=True)
class Job:
    """One profile on its way: the order, the device and what it has met."""

    iccid: Iccid
    card: Card
    lpa: Lpa
    wire: Wire
    confirmation_code: str | None = None
    released_at_once: bool = True
    activation_code: ActivationCode | None = None
    matching_id: str = ""

    @property
    def call_ids(self) -> tuple[str, str]:
        """functionCallIdentifiers of DownloadOrder and ConfirmOrder."""
        return f"download-{self.iccid}", f"confirm-{self.iccid}"


@dataclass(slots=True, kw_only=True)
class Expected:
    """What must be there once a job is over.

    `points` are the messages to the operator in order, `repeats` says by index how often one came again. `duplicates`
    counts notifications that were kept though they had come before. `in_flight`: the worker was killed at other work
    while a message may have been on its way, which then comes once more, in its place.
    """

    points: Sequence[int] = (1, 3, 4)
    repeats: Mapping[int, int] = field(default_factory=dict)
    in_flight: bool = False
    duplicates: int = 0
    sessions: int = 1
    download_attempts: int = 1
    confirmation_attempts: int = 0


@dataclass(slots=True, kw_only=True)
class World:
    """A server under test between its operator and its devices; `kill_before` names functions whose first attempt
    finds every process of `victims` dead.
    """

    server: ServerUnderTest
    proxy: DatabaseProxy
    database: asyncpg.Connection
    callbacks: CallbackServer
    issuer: EumIssuer
    pool: Pool
    stocking: Stocking
    operator_id: int = 0
    operator: OperatorClient | None = None
    kill_before: frozenset[str] = frozenset()
    victims: str = "http"
    wire: Wire = field(default_factory=Wire)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    opened: AsyncExitStack = field(default_factory=AsyncExitStack)

    # Players -----------------------------------------------------------------------------------------------------

    async def job(self, confirmation_code: str | None = None) -> Job:
        """A fresh profile in stock and a fresh device; nothing is armed or killed yet."""
        self.operator = self.operator or self._operator()
        self.proxy.arm()
        number = next(self._numbers)
        self.wire = Wire()
        self.kill_before = frozenset()
        (subscriber,) = personalisations(f"{898801 * 10**12 + number:018d}", 1, OFFER)
        iccid = await self.stocking.import_profile(self.operator_id, generate(subscriber), OFFER)
        eid = self.issuer.eid(number)
        card = Card(eid, [self.issuer.issue(eid)])
        lpa = Lpa(card, self._devices())
        return Job(iccid=iccid, card=card, lpa=lpa, wire=self.wire, confirmation_code=confirmation_code)

    def _devices(self) -> Exchange:
        context = ssl.create_default_context(cadata=self.server.pki.ci_certificates[0])
        return self._exchange(context, "es9", USER_AGENT)

    def _operator(self) -> OperatorClient:
        context = ssl.create_default_context(cadata=self.server.pki.ci_certificates[0])
        for ci in self.server.pki.ci_certificates[1:]:
            context.load_verify_locations(cadata=ci)
        exchange = self._exchange(identify(context, *self.server.pki.operator_files(OPERATOR)), "es2", None)
        return OperatorClient(exchange, host=self.server.name, function_requester=OPERATOR)

    def _exchange(self, context: ssl.SSLContext, listener: str, user_agent: str | None) -> Exchange:
        habits = Habits(
            connections=Connections.FRESH, retries=_RETRIES, pause=self._pause, before_request=self._before_request
        )
        addresses = {self.server.name: self.server.address(listener)}
        exchange = Exchange(tls=context, addresses=addresses, habits=habits, user_agent=user_agent)
        self.opened.push_async_callback(exchange.close)
        return exchange

    async def _before_request(self, function: str, attempt: int) -> None:
        self.proxy.step = function
        self.wire.attempts[function] = attempt
        if attempt == 1 and function in self.kill_before:
            await self.all_connected()
            await self.idle()
            self.kill(self.victims)

    async def _pause(self, seconds: float) -> None:
        self.wire.pauses.append(seconds)
        self.wire.paused.set()
        await asyncio.sleep(_RETRY_SECONDS)

    # Crashes -----------------------------------------------------------------------------------------------------

    def kill(self, prefix: str) -> None:
        """SIGKILL to every process of the server whose name starts like this."""
        for name, pid in self.server.state.processes.items():
            if name.startswith(prefix):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    async def all_connected(self) -> None:
        """Return when every process of the server has a connection to the database."""
        names = {f"http-{number}" for number in range(self.server.settings.processes)} | {"worker-0"}

        async def satisfied() -> bool:
            return names <= self.proxy.connected()

        await self.proxy.until(satisfied)

    async def idle(self) -> None:
        """Return when the worker has nothing in hand."""

        async def satisfied() -> bool:
            return bool(
                await self.database.fetchval(
                    "SELECT NOT EXISTS (SELECT FROM outbox WHERE sent_at IS NULL) "
                    "AND NOT EXISTS (SELECT FROM notifications WHERE judged_at IS NULL)"
                )
            )

        await self.proxy.until(satisfied)

    async def end_leases(self) -> None:
        """Let time pass for the claims of a worker that is gone: their leases end now, the one on its way included."""

        async def satisfied() -> bool:
            return not await self.database.fetchval(_ALIVE, list(self.proxy.cut))

        await self.proxy.until(satisfied)
        for queue in ("outbox", "notifications"):
            await self.database.execute(
                f"UPDATE {queue} SET claimed_until = clock_timestamp() WHERE claimed_until > now()"
            )

    # The job -----------------------------------------------------------------------------------------------------

    async def order(self, job: Job) -> None:
        """DownloadOrder and ConfirmOrder. Done again, they are the same calls and must get the same answers."""
        assert self.operator is not None
        download, confirm = job.call_ids
        assert await self.operator.download_order(iccid=job.iccid, call_id=download) == job.iccid
        confirmed = await self.operator.confirm_order(
            job.iccid, release=job.released_at_once, confirmation_code=job.confirmation_code, call_id=confirm
        )
        assert job.matching_id in ("", str(confirmed.matching_id))
        job.matching_id = str(confirmed.matching_id)
        job.activation_code = ActivationCode(
            smdp_address=self.server.name,
            matching_id=confirmed.matching_id,
            confirmation_code_required=job.confirmation_code is not None,
        )

    async def download(self, job: Job, confirmation_code: str | None = None) -> DownloadResult:
        """Everything the device does, with another confirmation code than the right one when it is given."""
        assert job.activation_code is not None
        return await job.lpa.download(job.activation_code, confirmation_code or job.confirmation_code)

    async def install(self, job: Job) -> None:
        """A download that must end installed, with its notification delivered."""
        result = await self.download(job)
        assert isinstance(result, Installed), (result, job.card.last_fault)
        assert (result.iccid, result.notification_fault) == (job.iccid, "")

    async def refuse(self, job: Job, status: Status, confirmation_code: str | None = None) -> None:
        """A download that must be refused with this code."""
        result = await self.download(job, confirmation_code)
        assert isinstance(result, Refused), (result, job.card.last_fault)
        assert (result.subject, result.reason) == (status.subject, status.reason)

    # Afterwards --------------------------------------------------------------------------------------------------

    async def settled(self, job: Job, points: int = 3) -> None:
        """Return when so many messages have all reached the operator, and every notification is judged.

        The pauses between tries are left out: what is due later is due at once.
        """

        async def satisfied() -> bool:
            told = "SELECT count(*) = $2 AND count(sent_at) = $2 FROM outbox WHERE body::json ->> 'iccid' = $1"
            judged = "SELECT count(*) = 0 FROM notifications WHERE judged_at IS NULL"
            await self.database.execute(
                "UPDATE outbox SET due_at = clock_timestamp() WHERE sent_at IS NULL AND due_at > clock_timestamp()"
            )
            return bool(
                await self.database.fetchval(told, job.iccid.to_json(), points) and await self.database.fetchval(judged)
            )

        try:
            await self.proxy.until(satisfied)
        except TimeoutError:
            unsent = await self.database.fetch("SELECT * FROM outbox WHERE sent_at IS NULL")
            raise AssertionError([dict(row) for row in unsent], self.server.log.read_text()[-3000:]) from None

    async def rows(self, table: str, column: str, value: object) -> list[dict[str, Any]]:
        """All rows of a table with this value."""
        rows = await self.database.fetch(f"SELECT * FROM {table} WHERE {column} = $1 ORDER BY 1", value)
        return [dict(row) for row in rows]

    async def assert_installed(self, job: Job, expected: Expected | None = None) -> None:
        """Order, stock, session, card, notification and callbacks agree to the last row."""
        expected = expected or Expected()
        await self.settled(job, len(expected.points))
        await self.order(job)
        await self._assert_order(job, expected)
        await self._assert_sessions(job, expected)
        self._assert_callbacks(job, expected)
        assert [profile.iccid for profile in job.card.profiles] == [job.iccid]

    async def _assert_order(self, job: Job, expected: Expected) -> None:
        (order,) = await self.rows("orders", "iccid", str(job.iccid))
        assert order["state"] == "installed"
        assert order["ended_at"] is not None
        assert (order["eid"], order["matching_id"]) == (str(job.card.eid), job.matching_id)
        assert order["download_attempts"] == expected.download_attempts
        assert order["confirmation_attempts"] == expected.confirmation_attempts
        assert {order[name] for name in ("key_sealed", "confirmation_sealed", "otsk_sealed", "euicc_otpk")} == {None}
        (profile,) = await self.rows("profiles", "iccid", str(job.iccid))
        assert profile["state"] == "ordered"
        calls = [await self.rows("es2_calls", "call_id", call_id) for call_id in job.call_ids]
        results = [json.loads(call["result"]) for (call,) in calls]
        assert results[0] == {"iccid": str(job.iccid)}
        assert results[1]["matching_id"] == job.matching_id

    async def _assert_sessions(self, job: Job, expected: Expected) -> None:
        (order,) = await self.rows("orders", "iccid", str(job.iccid))
        sessions = await self.rows("sessions", "order_id", order["id"])
        assert Counter(session["state"] for session in sessions)["reported"] == 1
        assert len(sessions) == expected.sessions
        kept = await self.rows("notifications", "iccid", str(job.iccid))
        assert [one["outcome"] for one in kept] == ["installed"] + ["duplicate"] * expected.duplicates
        assert len({one["raw"] for one in kept}) == 1

    def _assert_callbacks(self, job: Job, expected: Expected) -> None:
        """In order, and whatever came again came as the same bytes."""
        bodies = self.bodies(job)
        arrivals = [[point] * (1 + expected.repeats.get(index, 0)) for index, point in enumerate(expected.points)]
        told = self.points(job)
        if expected.in_flight:
            assert len(told) <= len(expected.points) + 1
            told = [point for point, _ in itertools.groupby(told)]
        assert told == list(itertools.chain(*arrivals))
        call_ids = {json.loads(body)["header"]["functionCallIdentifier"] for body in bodies}
        assert len(set(bodies)) == len(call_ids) == len(expected.points)
        assert self.callbacks.faults == []
        last = [call for call in self.callbacks.calls if call.iccid == job.iccid][-1]
        assert (last.point, last.failure, last.eid) == (4, None, job.card.eid)

    def bodies(self, job: Job) -> list[bytes]:
        """Every body the operator's server received about this job, in order."""
        wanted = job.iccid.to_json()
        return [body for body in self.callbacks.attempts if json.loads(body)["iccid"] == wanted]

    def points(self, job: Job) -> list[int]:
        """The notification points the operator's server was told about this job, in order, repetitions included."""
        return [json.loads(body)["notificationPointId"] for body in self.bodies(job)]

    async def unowned_sessions(self) -> int:
        """Sessions that never reached an order: those whose first answer was lost."""
        return int(await self.database.fetchval("SELECT count(*) FROM sessions WHERE order_id IS NULL"))


def _issuer(server: ServerUnderTest) -> EumIssuer:
    """The generated EUM, whose cards the server trusts."""
    files = server.pki.device_files(Curve.P256)
    key = load_pem_private_key(files.eum_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return EumIssuer(files.eum_certificate.read_bytes(), key, (files.ci_certificate.read_bytes(),))


def _fingerprint(server: ServerUnderTest) -> bytes:
    """SHA-256 of the operator's client certificate."""
    certificate, _ = server.pki.operator_files(OPERATOR)
    return sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).digest()


@asynccontextmanager
async def world(server: ServerUnderTest, proxy: DatabaseProxy, dsn: str) -> AsyncIterator[World]:
    """The players around a running server, its operator registered with a callback server of its own."""

    def name_of(pid: int) -> str:
        found = running.read(server.settings.data_dir)
        names = [name for name, known in found.processes.items() if known == pid] if found else []
        return names[0] if names else ""

    proxy.name_of = name_of
    async with AsyncExitStack() as stack:
        callbacks = CallbackServer(callback_tls(server.pki.callback_certificate, server.pki.callback_key))
        await stack.enter_async_context(callbacks)
        pool = await open_pool(dsn, 2)
        stack.push_async_callback(pool.close)
        database = await asyncpg.connect(dsn)
        stack.push_async_callback(database.close)
        vault = MockVault.open(server.settings.vault_file, PASSPHRASE)
        operator = await Operators(pool).add_operator(
            Operator(id=0, name=OPERATOR, requester_id=OPERATOR, callback_url=f"https://localhost:{callbacks.port}"),
            (_fingerprint(server),),
        )
        made = World(
            server=server,
            proxy=proxy,
            database=database,
            callbacks=callbacks,
            issuer=_issuer(server),
            pool=pool,
            stocking=Stocking(Stock(pool), vault, policy_of(server.settings)),
            operator_id=operator.id,
        )
        stack.push_async_callback(made.opened.aclose)
        yield made

"""Fuzzes a whole server: every interface over TLS, on PostgreSQL, with what its worker judges afterwards.

A live session of a card is renewed now and then, so that broken messages meet a server that waits for right ones.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp

from rsp.identifiers import TransactionId
from simulator.lpa_messages import CancelReason, cancel_session_request
from store import migrate
from store.embedded import EmbeddedPostgres
from tests import api_stage
from tests.fuzz.mutation import Mutator
from tests.fuzz.running import PATIENCE, Finding, Report, resident
from tests.fuzz.target import CORPUS
from tests.fuzz.targets import TARGETS
from tests.http_stage import ES2, ES9, NAME, Edge, Material, b64, edge

NAMES = ("http_es9", "http_es9_asn1", "http_esipa", "http_es2", "http_api")
"""The interfaces, as targets."""

EIM = "eim.example.com"
_ASN1 = "application/x-gsma-rsp-asn1"
_AT_ONCE = 8
_SESSION_EVERY = 150
_JUDGE_EVERY = 500
_ES9_TAGS = {
    "initiateAuthentication": 0xBF39,
    "authenticateClient": 0xBF3B,
    "getBoundProfilePackage": 0xBF3A,
    "handleNotification": 0xBF3D,
    "cancelSession": 0xBF41,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: where it goes, and its body."""

    listener: str
    path: str
    body: bytes
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


@dataclass(slots=True, kw_only=True)
class _Fuzzer:
    """One interface of a running server. `live` holds the bodies of a session that is under way, by function."""

    name: str
    server: Edge
    http: aiohttp.ClientSession
    contexts: Mapping[str, ssl.SSLContext]
    random: random.Random
    live: dict[str, dict[str, Any]] = field(default_factory=dict)
    token: str = ""
    found: list[bytes] = field(default_factory=list)
    """Inputs that once did harm to this interface; they are sent first."""
    report: Report = field(init=False)

    def __post_init__(self) -> None:
        self.report = Report(target=self.name)

    async def run(self, count: int, progress: Callable[[int], None]) -> Report:
        """Send `count` requests, a few at a time."""
        started, before = perf_counter(), resident()
        numbers = iter(range(count))
        make = {
            "http_es9": self._es9,
            "http_es9_asn1": self._es9_asn1,
            "http_esipa": self._esipa,
            "http_es2": self._es2,
            "http_api": self._api,
        }[self.name]

        async def work() -> None:
            for number in numbers:
                if number % _SESSION_EVERY == 0:
                    await self._renew()
                await self._send(number, make())
                if number % _JUDGE_EVERY == 0:
                    await self._judge(number)
                progress(1)

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
        await self._judge(count)
        self.report.seconds = perf_counter() - started
        self.report.grown = resident() - before
        return self.report

    async def _send(self, number: int, call: Call) -> None:
        self.report.inputs += 1
        url = f"https://127.0.0.1:{self.server.ports[call.listener]}{call.path}"
        try:
            async with asyncio.timeout(PATIENCE):
                async with self.http.request(
                    call.method,
                    url,
                    data=call.body,
                    headers=call.headers,
                    ssl=self.contexts[call.listener],
                    server_hostname=EIM if call.listener == "eim" else NAME,
                    allow_redirects=False,
                ) as answer:
                    body = await answer.read()
        except TimeoutError:
            self._found(number, call, f"no answer within {PATIENCE:g} seconds")
        except aiohttp.ClientError as error:
            self._found(number, call, f"{type(error).__name__}: {error}")
        else:
            self.report.refused += answer.status >= 400 or b'"Failed"' in body
            if answer.status >= 500 and answer.status != 503:
                self._found(number, call, f"HTTP {answer.status}: {body[:300]!r}")

    def _found(self, number: int, call: Call, what: str) -> None:
        if len(self.report.findings) < 20:
            self.report.findings.append(Finding(self.name, number, call.body, f"{call.method} {call.path} {what}"))

    async def _judge(self, number: int) -> None:
        """What the worker does with notifications and results that were kept."""
        eim = self.server.services.eim
        jobs: list[Callable[[int, float], Awaitable[int]]] = [self.server.services.notifications.judge_pending]
        jobs += [eim.results.judge_pending] if eim else []
        try:
            for job in jobs:
                while await job(64, 30.0):
                    pass
        except Exception as error:  # noqa: BLE001 -- whatever the worker raises is what is looked for
            self._found(number, Call(listener="", path="", body=b""), f"the worker: {type(error).__name__}: {error}")

    async def _renew(self) -> None:
        """A session of a new card, up to its package; the bodies of it are what gets broken."""
        if self.name not in ("http_es9", "http_es9_asn1"):
            return
        ordered, device = await self.server.ordered(), self.server.card()
        live: dict[str, dict[str, Any]] = {"initiateAuthentication": device.initiate()}
        initiated = (await self.server.device("initiateAuthentication", live["initiateAuthentication"])).json()
        live["authenticateClient"] = device.authenticate(initiated, ordered.matching_id)
        if self.random.random() < 0.7:
            shown = (await self.server.device("authenticateClient", live["authenticateClient"])).json()
            live["getBoundProfilePackage"] = device.prepare(shown)
            session = TransactionId.parse(shown["transactionId"])
            request = cancel_session_request(session, CancelReason.POSTPONED)
            cancelled = b64(device.card.cancel_session(request))
            live["cancelSession"] = {"transactionId": shown["transactionId"], "cancelSessionResponse": cancelled}
        self.server.heard.clear()
        self.live = {**self.live, **live}

    # Requests ---------------------------------------------------------------------------------------------------------

    def _broken(self, form: str, corpus: str) -> bytes:
        """A broken message of a corpus; now and then a right one."""
        if self.found:
            return self.found.pop()
        data = self.random.choice(_corpus(corpus))
        return data if self.random.random() < 0.02 else self._break(form, data)

    def _break(self, form: str, data: bytes) -> bytes:
        mutator = Mutator(self.random, ()) if form == "json" else _mutator(self.random)
        return mutator.json(data) if form == "json" else mutator.tlv(data)

    def _es9(self) -> Call:
        function = self.random.choice(list(_ES9_TAGS))
        body = self.live.get(function)
        if body is None or self.random.random() < 0.2:
            return Call(listener="es9", path=ES9 + function, body=self._broken("json", "es9_json"))
        return Call(listener="es9", path=ES9 + function, body=self._break("json", json.dumps(body).encode()))

    def _es9_asn1(self) -> Call:
        body = self._broken("tlv", "es9_asn1")
        headers = {"Content-Type": _ASN1}
        return Call(listener="es9", path="/gsma/rsp2/asn1", body=body, headers=headers)

    def _esipa(self) -> Call:
        headers = {"Content-Type": _ASN1}
        return Call(listener="eim", path="/gsma/rsp2/asn1", body=self._broken("tlv", "esipa"), headers=headers)

    def _es2(self) -> Call:
        functions = ("downloadOrder", "confirmOrder", "cancelOrder", "releaseProfile", "getProfileStatus")
        function = self.random.choice((*functions, "recoverProfile"))
        return Call(listener="es2", path=ES2 + function, body=self._broken("json", "es2_json"))

    def _api(self) -> Call:
        operation = self.random.choice(self.server.services.api.operations)
        parts = [self._segment(part) for part in operation.path.split("/")]
        query = self.random.choice(
            ("", "", "?limit=1", "?after=x&limit=-1", "?filter=role=both", "?a=%00", "?limit=9e9")
        )
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        if operation.method == "POST":
            headers["Idempotency-Key"] = self.random.choice(("k", "k" * 300, "a b", f"{self.random.random()}"))
        body = b"" if operation.method == "GET" else self._broken("json", "api_json")
        return Call(listener="api", path="/".join(parts) + query, body=body, method=operation.method, headers=headers)

    def _segment(self, part: str) -> str:
        if not part.startswith("{"):
            return part
        eid = "89049032123451234512345678901235"
        return self.random.choice(("1", "0", "-1", "9" * 40, eid, "%00", "x", "%F0%9F%92%A9", "1.5", "%ED%A0%80"))


def _corpus(name: str) -> tuple[bytes, ...]:
    return next(target for target in TARGETS if target.name == name).corpus


def _once_harmful(name: str) -> list[bytes]:
    folder = CORPUS / {"http_api": "api_json", "http_es2": "es2_json"}.get(name, name.removeprefix("http_"))
    files = sorted(folder.glob("found-*")) if folder.is_dir() else []
    return [file.read_bytes() for file in files]


_donors: list[bytes] = []


def _mutator(chance: random.Random) -> Mutator:
    if not _donors:
        _donors.extend(data for target in TARGETS if target.form == "tlv" for data in target.corpus if len(data) < 700)
    return Mutator(chance, _donors[:12])


@asynccontextmanager
async def _server(folder: Path) -> AsyncIterator[Edge]:
    postgres = EmbeddedPostgres(folder / "postgres")
    postgres.start()
    try:
        database = postgres.create_database("fuzz")
        migrate.upgrade(database)
        (folder / "pki").mkdir()
        material = await asyncio.to_thread(Material.make, folder / "pki")
        (folder / "edge").mkdir()
        async with edge(material, database, folder / "edge") as opened:
            yield opened
    finally:
        postgres.stop()


async def run_all(shares: Mapping[str, int], seed: int, progress: Callable[[int], None]) -> list[Report]:
    """One server for all interfaces in `shares`, which says how many requests each gets."""
    with tempfile.TemporaryDirectory(prefix="smdp-fuzz-") as name:
        async with _server(Path(name)) as server:
            return [await fuzz_interface(server, name, seed, count, progress) for name, count in shares.items()]


async def fuzz_interface(
    server: Edge, name: str, seed: int, count: int, progress: Callable[[int], None] = lambda _: None
) -> Report:
    """Send `count` requests to one interface of a running server."""
    trust = server.material.trust()
    contexts = {"es9": trust, "eim": trust, "api": trust, "es2": server.material.operator()}
    connector = aiohttp.TCPConnector(limit=_AT_ONCE)
    async with aiohttp.ClientSession(connector=connector) as http:
        chance = random.Random(f"{seed}/{name}")
        fuzzer = _Fuzzer(name=name, server=server, http=http, contexts=contexts, random=chance)
        fuzzer.found = _once_harmful(name)
        if name == "http_api":
            fuzzer.token = (await api_stage.caller(server)).token
        return await fuzzer.run(count, progress)

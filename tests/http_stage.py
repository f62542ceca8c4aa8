"""The listeners of one process over real roles, PostgreSQL and TLS, and a client that may send anything.

`Edge.rows` is all that the tables hold, so that a test can say that nothing has changed.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import shutil
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs import creation, files
from certs.layout import PkiFolder
from crypto.curves import Curve
from hsm_mock import MockVault
from rsp.saip_template import generate
from server import listening
from server.answering import answering
from server.settings import Secret, Settings, load
from server.test_profiles import personalisations
from server.wiring import Services, opened, policy_of
from simulator import lpa_messages
from simulator.card import Card
from simulator.issuer import EumIssuer
from smdp.offer import Offer
from smdp.stocking import Stocking
from store.pool import open_pool
from store.stock import Stock
from tenancy.operator import Operator
from transport.functions import Gate

NAME = "smdp.example.com"
PASSPHRASE = "correct horse"
TYPE = "prepaid"
OPERATOR = "operator-a"
ES9, ES2 = "/gsma/rsp2/es9plus/", "/gsma/rsp2/es2plus/"
TABLES = ("orders", "profiles", "sessions", "outbox", "notifications", "es2_calls")
_numbers = itertools.count(1)

Body = Mapping[str, Any] | bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A generated PKI with its vault file, made once for a test run, and the maker of cards."""

    pki: PkiFolder
    vault_file: Path
    issuer: EumIssuer

    @classmethod
    def make(cls, folder: Path) -> Material:
        """On both curves, valid now; cards are of NIST P-256."""
        vault = MockVault.create(folder / "vault", PASSPHRASE, cost=10)
        pki = asyncio.run(creation.init(folder / "pki", vault, names=(NAME,), now=datetime.now(UTC)))
        return cls.of(pki, folder / "vault")

    @classmethod
    def of(cls, pki: PkiFolder, vault_file: Path) -> Material:
        """What is there already."""
        device = pki.device_files(Curve.P256)
        key = load_pem_private_key(device.eum_key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        issuer = EumIssuer(device.eum_certificate.read_bytes(), key, (device.ci_certificate.read_bytes(),))
        return cls(pki=pki, vault_file=vault_file, issuer=issuer)

    def trust(self) -> ssl.SSLContext:
        """A client's TLS that trusts the server."""
        context = ssl.create_default_context(cadata=self.pki.ci_certificates[0])
        for ci in self.pki.ci_certificates[1:]:
            context.load_verify_locations(cadata=ci)
        return context

    def operator(self, name: str = OPERATOR) -> ssl.SSLContext:
        """The same with the certificate of an operator."""
        context = self.trust()
        context.load_cert_chain(*self.pki.operator_files(name))
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    def failed(self) -> tuple[str, str]:
        """The codes of an answer that has a header and nothing else, in exactly the members of the standard."""
        parsed = self.json()
        assert set(parsed) == {"header"}
        execution = parsed["header"]["functionExecutionStatus"]
        assert set(parsed["header"]) == {"functionExecutionStatus"}
        assert set(execution) == {"status", "statusCodeData"}
        assert execution["status"] == "Failed"
        data = execution["statusCodeData"]
        assert set(data) - {"subjectIdentifier"} == {"subjectCode", "reasonCode", "message"}
        assert 0 < len(data["message"]) < 128
        assert data["message"].isascii()
        return data["subjectCode"], data["reasonCode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """A released order."""

    iccid: str
    matching_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A card, and the request bodies its LPA would send."""

    card: Card

    def initiate(self, **changes: object) -> dict[str, Any]:
        """InitiateAuthentication."""
        return {
            "euiccChallenge": b64(lpa_messages.euicc_challenge(self.card.get_euicc_challenge())),
            "euiccInfo1": b64(self.card.get_euicc_info1()),
            "smdpAddress": NAME,
            **changes,
        }

    def authenticate(self, initiated: Mapping[str, Any], matching_id: str | None) -> dict[str, Any]:
        """AuthenticateClient, after the answer of InitiateAuthentication."""
        names = ("serverSigned1", "serverSignature1", "euiccCiPKIdToBeUsed", "serverCertificate")
        server = tuple(base64.b64decode(initiated[name]) for name in names)
        request = lpa_messages.authenticate_server_request(server, matching_id, lpa_messages.Device())
        response = b64(self.card.authenticate_server(request))
        return {"transactionId": initiated["transactionId"], "authenticateServerResponse": response}

    def prepare(self, shown: Mapping[str, Any], hash_cc: bytes | None = None) -> dict[str, Any]:
        """GetBoundProfilePackage, after the answer of AuthenticateClient."""
        names = ("smdpSigned2", "smdpSignature2", "smdpCertificate")
        signed2, signature2, certificate = (base64.b64decode(shown[name]) for name in names)
        request = lpa_messages.prepare_download_request(signed2, signature2, certificate, hash_cc)
        response = b64(self.card.prepare_download(request))
        return {"transactionId": shown["transactionId"], "prepareDownloadResponse": response}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whoever calls a server on this machine, with whatever it likes. `heard` keeps every answer."""

    material: Material
    ports: Mapping[str, int]
    http: aiohttp.ClientSession
    heard: list[Answer] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def request(
        self,
        listener: str,
        path: str,
        body: Any,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> Answer:
        """Any request to `listener` (es9, es2, ops) on a connection of its own."""
        scheme = "http" if listener == "ops" else "https"
        url = f"{scheme}://127.0.0.1:{self.ports[listener]}{path}"
        sent = {"Content-Type": "application/json"} if headers is None else headers
        async with self.http.request(
            method,
            url,
            data=body,
            headers=sent,
            ssl=tls or self.material.trust(),
            server_hostname=NAME,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as response:
            answer = Answer(status=response.status, headers=dict(response.headers), body=await response.read())
            self.heard.append(answer)
            return answer

    async def device(self, function: str, body: Body, **more: Any) -> Answer:
        """A function of ES9+."""
        return await self.request("es9", ES9 + function, _bytes(body), **more)

    async def operator(self, function: str, body: Body, *, name: str = OPERATOR, **more: Any) -> Answer:
        """A function of ES2+, called by the operator `name` with its certificate and a header of its own."""
        sent = body if isinstance(body, bytes) else {"header": self.header(name), **body}
        return await self.request("es2", ES2 + function, _bytes(sent), tls=self.material.operator(name), **more)

    def header(self, requester: str = OPERATOR) -> dict[str, str]:
        """A header of ES2+ with a call id of its own."""
        return {
            "functionRequesterIdentifier": requester,
            "functionCallIdentifier": f"call-{next(self.numbers)}",
        }

    async def ops(self, path: str) -> Answer:
        """A page of the operations listener."""
        return await self.request("ops", path, b"", method="GET")

    def card(self) -> Device:
        """A device with an EID of its own."""
        eid = self.material.issuer.eid(next(_numbers))
        return Device(card=Card(eid, [self.material.issuer.issue(eid)]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge(Caller):
    """One process that answers, and its database."""

    services: Services
    gate: Gate
    database: str

    @property
    def settings(self) -> Settings:
        """As the process has them."""
        return self.services.settings

    async def stock(self, operator: str = OPERATOR, count: int = 1) -> list[str]:
        """Put generated profiles of an operator into stock; answers their ICCIDs."""
        return await stocked(self.services, self.database, operator, count)

    async def ordered(self, **confirmation: object) -> Ordered:
        """A profile put into stock, ordered and released."""
        (iccid,) = await self.stock()
        reserved = await self.operator("downloadOrder", {"iccid": iccid})
        assert reserved.status == 200, reserved.body
        body = {"iccid": iccid, "releaseFlag": True, **confirmation}
        confirmed = (await self.operator("confirmOrder", body)).json()
        return Ordered(iccid=iccid, matching_id=confirmed["matchingId"])

    async def rows(self) -> dict[str, list[str]]:
        """Every row of every table that requests may write, as text."""
        connection = await asyncpg.connect(self.database)
        try:
            found = {}
            for table in TABLES:
                rows = await connection.fetch(f"SELECT t::text AS line FROM {table} t ORDER BY 1")
                found[table] = [row["line"] for row in rows]
            return found
        finally:
            await connection.close()

    async def fetch(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """Rows as they are stored."""
        connection = await asyncpg.connect(self.database)
        try:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *values)
            return rows
        finally:
            await connection.close()

    async def execute(self, statement: str, *values: object) -> None:
        """Change a row behind the server's back."""
        connection = await asyncpg.connect(self.database)
        try:
            await connection.execute(statement, *values)
        finally:
            await connection.close()


@asynccontextmanager
async def edge(material: Material, database: str, folder: Path, **changes: object) -> AsyncIterator[Edge]:
    """A process that answers on free ports, over `database` and a vault file of its own; two operators registered."""
    vault = folder / "vault"
    shutil.copy(material.vault_file, vault)
    given: dict[str, Any] = {
        "es9_port": 0,
        "es2_port": 0,
        "eim_port": 0,
        "api_port": 0,
        "ops_port": 0,
        "database_pool_size": 4,
        "drain_seconds": 5.0,
    }
    wanted = load(
        {},
        data_dir=folder,
        pki_dir=material.pki.path,
        vault_file=vault,
        vault_passphrase=PASSPHRASE,
        database_url=database,
        **given | changes,
    )
    with listening.reserved(wanted) as ports:
        settings = replace(
            wanted,
            es9_port=ports["es9"],
            es2_port=ports["es2"],
            eim_port=ports["eim"],
            api_port=ports["api"],
            ops_port=ports["ops"],
            database_url=Secret(database),
        )
        async with opened(settings) as services:
            await _register(services, material)
            gate = Gate()
            connector = aiohttp.TCPConnector(force_close=True)
            async with answering(services, gate), aiohttp.ClientSession(connector=connector) as http:
                yield Edge(material=material, ports=ports, http=http, services=services, gate=gate, database=database)


async def stocked(services: Services, database: str, operator: str, count: int) -> list[str]:
    """Put generated profiles of `operator` into stock; answers their ICCIDs."""
    owner = await services.directory.by_name(operator)
    assert owner is not None
    offer = Offer(profile_type=TYPE, service_provider_name="Test", profile_name=TYPE)
    pool = await open_pool(database, 1)
    try:
        stocking = Stocking(Stock(pool), services.vault, policy_of(services.settings))
        made = personalisations(f"8988211{next(_numbers):011d}", count, offer)
        return [str(await stocking.import_profile(owner.id, generate(one), offer)) for one in made]
    finally:
        await pool.close()


async def _register(services: Services, material: Material) -> None:
    for name in creation.TEST_OPERATORS:
        certificate = files.read_certificate(material.pki.operator_files(name)[0])
        await services.directory.add_operator(
            Operator(id=0, name=name, requester_id=name), (hashlib.sha256(certificate).digest(),)
        )


def _bytes(body: Body) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def b64(data: bytes) -> str:
    """Base64 as the JSON binding has it."""
    return base64.b64encode(data).decode()

"""Somebody else's SM-DP+: another instance of our server with a PKI of its own, or the scripted one of the simulator.

Both are reached over ES2+ with mutual TLS by a carrier's configuration, as the server does it.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from prometheus_client import CollectorRegistry

from certs import files, recipe
from certs.folder import SetFiles, import_set, init
from certs.recipe import Credential, Terms
from crypto.curves import Curve
from crypto.vault import Vault
from es2plus import messages as es2_messages
from es2plus.receiving import ProgressReceiver
from es2plus.server import Es2Plus
from es9plus import messages as es9_messages
from es9plus.server import Es9Plus
from hsm_mock import MockVault
from rsp.identifiers import Iccid
from server.callbacks import OperatorCallbacks
from server.callers import admitting
from server.foreign_wiring import Foreign
from simulator.foreign_smdp import ForeignSmdp
from smdp.policy import Policy
from smdp.progress import KIND
from smdp.recovery import VendorFunctions
from store.ordering import Orderings
from store.outbox import Outbox
from tenancy.desk import smdp_key_context
from tenancy.operator import Operator
from tenancy.partners import SmdpAccess
from tests.protocol_stage import START, Clock, Material, Stage
from transport.functions import Interface, Limits
from transport.listening import Patience, listening
from transport.metrics import HttpMetrics
from transport.tls import client_context, fingerprint, server_context
from webhooks.sender import Pace, Sender

FOREIGN = "rsp.foreign.example"
REQUESTER = "operator-a"
_OID = "2.999.20"
_ELSEWHERE = 5000
_VENDOR = ("getProfileStatus", "recoverProfile")
_PATIENCE = Patience(handshake_seconds=5, idle_seconds=5, stall_seconds=5, drain_seconds=1)


async def foreign_material(home: Material, folder: Path) -> Material:
    """A PKI of its own, and an entry under the NIST CI of `home`, whose cards it serves."""
    vault, now = MockVault.create(folder / "vault", "passphrase", cost=10), START - timedelta(days=30)
    pki = await init(folder / "pki", vault, names=(FOREIGN,), eim_names=("eim.foreign.example",), now=now, oid=_OID)
    device = home.pki.device_files(Curve.P256)
    key = load_pem_private_key(device.ci_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    ci = Credential(certificate=x509.load_der_x509_certificate(device.ci_certificate.read_bytes()), key=key)
    made = {
        "auth": recipe.dp_auth(ci, _terms(), _OID),
        "pb": recipe.dp_pb(ci, _terms(), _OID),
        "tls": recipe.dp_tls(ci, _terms(), (FOREIGN,), _OID),
    }
    for name, credential in made.items():
        (folder / f"{name}.pem").write_bytes(credential.pem)
        (folder / f"{name}.key.pem").write_bytes(credential.key_pem)
    given = {
        f"{name}{end}": folder / f"{name}{file}" for name in made for end, file in (("", ".pem"), ("_key", ".key.pem"))
    }
    pki = await import_set(pki.path, vault, SetFiles(ci=device.ci_certificate, **given), now=START)
    return Material(pki=pki, vault=vault, issuers=home.issuers)


def _terms() -> Terms:
    return Terms(now=START - timedelta(days=30), serial=x509.random_serial_number())


def access_of(material: Material, base_url: str, *, caller: str = "") -> SmdpAccess:
    """How a carrier whose SM-DP+ has this PKI is reached, by the operator's certificate of that PKI; no key yet."""
    certificate, _ = material.pki.operator_files(REQUESTER)
    return SmdpAccess(
        base_url=base_url,
        requester_id=REQUESTER,
        certificate=certificate.read_text(),
        ca=material.pki.operator_ca.read_text(),
        address=FOREIGN,
        caller_certificate=caller,
        caller=fingerprint(caller) if caller else None,
    )


async def with_key(vault: Vault, name: str, access: SmdpAccess, material: Material) -> SmdpAccess:
    """The access with the operator's key as the home server keeps it."""
    _, key = material.pki.operator_files(REQUESTER)
    return replace(access, key_sealed=await vault.wrap(key.read_bytes(), smdp_key_context(name)))


def tls_of(material: Material) -> ssl.SSLContext:
    """ES2+ of an SM-DP+ with this PKI: reached by address, asks for a certificate of its operators' CA."""
    pki = material.pki
    return server_context(pki.callback_certificate, pki.callback_key, pki.operator_ca)


@asynccontextmanager
async def scripted(material: Material, **habits: Any) -> AsyncIterator[ForeignSmdp]:
    """The simulator's SM-DP+ under this PKI."""
    async with ForeignSmdp(tls_of(material), address=FOREIGN, **habits) as smdp:
        yield smdp


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignServer:
    """Another instance of our server: its stage, its listeners, and its callbacks to us."""

    stage: Stage
    operator_id: int
    es2_port: int
    es9_port: int
    sender: Sender
    caller: str

    async def stock(self, count: int = 1) -> list[Iccid]:
        """More profiles in its stock."""
        return [(await self.stage.stock(self.operator_id)).iccid for _ in range(count)]

    async def report(self) -> None:
        """Judge what cards handed in, and send what is to be told."""
        await self.stage.judge()
        while await self.sender.send_due():
            await self.sender.finish()


@asynccontextmanager
async def foreign_server(
    database: str,
    material: Material,
    clock: Clock,
    *,
    report_to: int | None = None,
    home: Material | None = None,
    after_deletion: str = "retire",
    vendor: bool = True,
) -> AsyncIterator[ForeignServer]:
    """Our server as somebody else's, telling its operator at the port `report_to` of `home` about downloads.

    Without `vendor` it offers the functions of the standard alone.
    """
    async with AsyncExitStack() as stack:
        policy = Policy(server_names=(FOREIGN,))
        stage = await stack.enter_async_context(Stage.opened(database, material, clock, policy))
        # Its ICCIDs are not those of the home server.
        for _ in range(_ELSEWHERE):
            next(stage.numbers)
        certificate, _ = material.pki.operator_files(REQUESTER)
        known = hashlib.sha256(files.read_certificate(certificate)).digest()
        url = f"https://127.0.0.1:{report_to}" if report_to else ""
        operator = Operator(
            id=0, name=REQUESTER, requester_id=REQUESTER, callback_url=url, after_deletion=after_deletion
        )
        made = await stage.operators.add_operator(operator, (known,))
        es2 = await stack.enter_async_context(_listening(_es2(stage, vendor=vendor), tls_of(material)))
        es9_tls = server_context(material.pki.tls_certificate, material.pki.tls_key)
        es9 = await stack.enter_async_context(_listening(_es9(stage), es9_tls))
        session = await stack.enter_async_context(_session(material, home or material))
        callbacks = OperatorCallbacks(stage.operators, session, FOREIGN, 5.0)
        sender = Sender(Outbox(stage.pool), {KIND: callbacks.send}, Pace(first_seconds=0.01, longest_seconds=0.01))
        yield ForeignServer(
            stage=stage,
            operator_id=made.id,
            es2_port=es2,
            es9_port=es9,
            sender=sender,
            caller=material.pki.tls_certificate.read_text(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """The listener; `look` lets in callers that were registered meanwhile, at once."""

    port: int
    look: Callable[[], Awaitable[None]]


@asynccontextmanager
async def reporting_listener(foreign: Foreign, home: Material) -> AsyncIterator[Reporting]:
    """Where reports of carriers' SM-DP+ arrive at home, as the server listens for them."""
    interface = _interface("es2plus", es2_messages.PREFIX)
    app = interface.application(ProgressReceiver(foreign.callers, foreign.reports).routes(interface))
    context = tls_of(home)
    async with admitting(context, foreign.callers) as look, _listening(app, context) as port:
        yield Reporting(port=port, look=look)


@asynccontextmanager
async def _session(material: Material, home: Material) -> AsyncIterator[aiohttp.ClientSession]:
    """Connections of the foreign server to its operators: its TLS certificate, and trust in the operators' CA."""
    context = client_context(home.pki.operator_ca, material.pki.tls_certificate, material.pki.tls_key)
    connector = aiohttp.TCPConnector(ssl=context, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


def _es2(stage: Stage, *, vendor: bool) -> Any:
    interface = _interface("es2plus", es2_messages.PREFIX)
    functions = VendorFunctions(Orderings(stage.pool), stage.policy, stage.clock.now)
    routes = Es2Plus(stage.ordering, functions, stage.operators, stage.clock.now).routes(interface)
    return interface.application([route for route in routes if vendor or not route.path.endswith(_VENDOR)])


def _es9(stage: Stage) -> Any:
    interface = _interface("es9plus", es9_messages.PREFIX)
    routes = Es9Plus(stage.downloads, stage.cancellation, stage.notifications).routes(interface)
    return interface.application(routes)


def _interface(name: str, prefix: str) -> Interface:
    limits = Limits(body_bytes=262_144, seconds=5.0)
    return Interface(name=name, prefix=prefix, limits=limits, metrics=HttpMetrics(CollectorRegistry()))


@asynccontextmanager
async def _listening(app: Any, tls: ssl.SSLContext) -> AsyncIterator[int]:
    async with listening(app, ("127.0.0.1", 0), tls, _PATIENCE) as port:
        yield port

"""osmo-smdpp as a server: started on plain HTTP, with TLS in front of it as its manual says, on loopback."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs import recipe
from crypto.curves import Curve
from tools.interop.verdicts import Unexpected

NAME = "testsmdpplus1.example.com"
"""The server name its certificates and profiles carry."""

_START_SECONDS = 90.0
_LOOK_SECONDS = 0.2
_FORWARDED = ("content-type", "user-agent", "x-admin-protocol")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignServer:
    """A running osmo-smdpp behind TLS; `answered` lists function and HTTP status of each call."""

    port: int
    ci_certificate: bytes
    answered: list[tuple[str, int]]

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Where it listens, by name."""
        return {NAME: ("127.0.0.1", self.port)}

    def tls(self) -> ssl.SSLContext:
        """What a device trusts: the CI that certified the name."""
        context = ssl.create_default_context(cadata=self.ci_certificate)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


@asynccontextmanager
async def running(python: Path, checkout: Path, sgp26: Path, curve: Curve) -> AsyncIterator[ForeignServer]:
    """osmo-smdpp with its certificates on `curve`; the TLS certificate is issued by the SGP.26 CI, whose key is public.

    The one that comes along has expired.
    """
    plain = _free_port()
    options = ("-b",) if curve is Curve.BRAINPOOL_P256R1 else ()
    process = await asyncio.create_subprocess_exec(
        *(str(python), "osmo-smdpp.py", "-H", "127.0.0.1", "-p", str(plain), "-s", "-m", *options),
        cwd=checkout,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(checkout)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _listening(process, plain)
        async with front(plain, sgp26) as server:
            yield server
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _listening(process: asyncio.subprocess.Process, port: int) -> None:
    end = monotonic() + _START_SECONDS
    while monotonic() < end and process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(_LOOK_SECONDS)
            continue
        writer.close()
        await writer.wait_closed()
        return
    raise Unexpected("osmo-smdpp must start")


@asynccontextmanager
async def front(plain: int, sgp26: Path) -> AsyncIterator[ForeignServer]:
    """TLS in front of the plain HTTP server on loopback port `plain`, certified under NAME by the CI of the folder."""
    ci_certificate = (sgp26 / "CertificateIssuer" / "CERT_CI_ECDSA_NIST.der").read_bytes()
    answered: list[tuple[str, int]] = []
    async with aiohttp.ClientSession(skip_auto_headers=("User-Agent",), auto_decompress=False) as session:

        async def forward(request: web.Request) -> web.Response:
            headers = {name: request.headers[name] for name in _FORWARDED if name in request.headers}
            url = f"http://127.0.0.1:{plain}{request.path}"
            async with session.post(url, data=await request.read(), headers=headers) as answer:
                body = await answer.read()
                kept = {name: answer.headers[name] for name in _FORWARDED if name in answer.headers}
                answered.append((request.path.rpartition("/")[2], answer.status))
                return web.Response(status=answer.status, body=body, headers=kept)

        application = web.Application()
        application.router.add_post("/{path:.*}", forward)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=_server_tls(sgp26, ci_certificate)).start()
            yield ForeignServer(port=runner.addresses[0][1], ci_certificate=ci_certificate, answered=answered)
        finally:
            await runner.cleanup()


def _server_tls(sgp26: Path, ci_certificate: bytes) -> ssl.SSLContext:
    key = load_pem_private_key((sgp26 / "CertificateIssuer" / "SK_CI_ECDSA_NIST.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    issuer = recipe.Credential(certificate=x509.load_der_x509_certificate(ci_certificate), key=key)
    terms = recipe.Terms(now=datetime.now(UTC), serial=x509.random_serial_number())
    made = recipe.dp_tls(issuer, terms, [NAME])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(made.pem + made.key_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context

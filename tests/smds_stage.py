"""SM-DS for tests: certified by the CIs of a generated PKI, on free ports of loopback."""

from __future__ import annotations

from collections.abc import Iterable

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs.layout import PkiFolder
from crypto.curves import Curve
from es12.client import Es12Client
from simulator.exchange import Exchange, Habits, Retries, trust
from simulator.smds import SmDs
from simulator.smds_certificates import SmdsIssuer
from transport.client import GsmaClient
from transport.resolving import ChosenHosts
from transport.tls import ci_context

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

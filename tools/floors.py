"""What a download costs at least here: its cryptography, one TLS handshake, an HTTP server that does nothing.

Run as a program it is that empty server: it answers the requests of ES9+ with fixed bytes of usual length, or, given a
database, those of ESipa after it has read one row.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import process_time

import asyncpg
import uvloop
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.serialization import Encoding

_ECDSA = ec.ECDSA(hashes.SHA256())
_SIGNATURES = 3  # serverSigned1, smdpSigned2, InitialiseSecureChannel
_VERIFICATIONS = 4  # eUICC certificate, euiccSigned1, euiccSigned2, installation result
_SIGNED_BYTES = 300
_SEGMENTS = 3  # A0, A1 and A2 of a package whose profile was protected ahead of time
_WARM_UP = 20
_NOTHING_WAITS = bytes.fromhex("bf4f03020101")

ANSWER_BYTES = {
    "initiateAuthentication": 1500,
    "authenticateClient": 1600,
    "getBoundProfilePackage": 17_000,
    "handleNotification": 0,
}
REQUEST_BYTES = {
    "initiateAuthentication": 400,
    "authenticateClient": 2400,
    "getBoundProfilePackage": 400,
    "handleNotification": 500,
}


def milliseconds(work: Callable[[], object], times: int) -> float:
    """Processor time of this process for one call of `work`, in milliseconds."""
    for _ in range(_WARM_UP):
        work()
    started = process_time()
    for _ in range(times):
        work()
    return (process_time() - started) * 1000 / times


def download_crypto(curve: ec.EllipticCurve) -> Callable[[], None]:
    """All cryptography of one download on `curve`, an EUM known already, and nothing else."""
    own, peer = ec.generate_private_key(curve), ec.generate_private_key(curve)
    message = os.urandom(_SIGNED_BYTES)
    signature = peer.sign(message, _ECDSA)
    certificate = _certificate(peer)
    point = peer.public_key()
    vault = AESGCM(os.urandom(32))
    nonce = os.urandom(12)
    wrapped = vault.encrypt(nonce, os.urandom(48), b"context")

    def download() -> None:
        for _ in range(_SIGNATURES):
            own.sign(message, _ECDSA)
        key = x509.load_der_x509_certificate(certificate).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        for _ in range(_VERIFICATIONS):
            key.verify(signature, message, _ECDSA)
        secret = ec.generate_private_key(curve).exchange(ec.ECDH(), point)
        keys = X963KDF(algorithm=hashes.SHA256(), length=48, sharedinfo=b"shared").derive(secret)
        for _ in range(_SEGMENTS):
            Cipher(AES(keys[16:32]), CBC(keys[:16])).encryptor().update(message[:288])
            mac = CMAC(AES(keys[32:]))
            mac.update(message)
            mac.finalize()
        # The keys of order and package come out of the vault, the one-time key is sealed.
        vault.decrypt(nonce, wrapped, b"context")
        vault.decrypt(nonce, wrapped, b"context")
        vault.encrypt(nonce, keys, b"context")

    return download


def _certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "floor")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str, times: int) -> float:
    """Processor time of the server's side of one full TLS handshake in memory, in milliseconds."""
    spent = 0.0
    for turn in range(times + _WARM_UP):
        once = _handshake(server, client, name)
        spent += once if turn >= _WARM_UP else 0.0
    return spent * 1000 / times


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> float:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=name)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    spent, open_ends = 0.0, {asking, answering}
    while open_ends:
        for end in (asking, answering):
            started = process_time()
            try:
                end.do_handshake()
                open_ends.discard(end)
            except ssl.SSLWantReadError:
                pass
            spent += process_time() - started if end is answering else 0.0
    return spent


async def _answer(request: web.Request) -> web.Response:
    function = request.match_info["function"]
    await request.read()
    if not ANSWER_BYTES[function]:
        return web.Response(status=204)
    return web.Response(body=b"x" * ANSWER_BYTES[function], content_type="application/json")


async def _serve(certificate: Path, key: Path, dsn: str) -> None:
    from transport.tls import server_context

    app = web.Application()
    app.add_routes([web.post("/{function}", _answer)])
    if dsn:
        # Without pool, queue or translation of errors: what asking the database costs at least.
        connection = await asyncpg.connect(dsn)
        read = await connection.prepare("SELECT eid, counter FROM esims WHERE eid = $1")

        async def poll(request: web.Request) -> web.Response:
            eid = (await request.read())[-16:].hex()
            async with turn:
                await read.fetchrow(eid)
            return web.Response(body=_NOTHING_WAITS, content_type="application/x-gsma-rsp-asn1")

        turn = asyncio.Lock()
        app.add_routes([web.post("/{path:.*}", poll)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(certificate, key), backlog=1024)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1]), Path(sys.argv[2]), "".join(sys.argv[3:])))

"""TLS in front of a server that speaks plain HTTP: what passes through it, and who may listen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from certs import recipe
from crypto.curves import Curve
from simulator.exchange import Exchange, ProtocolFault, Retries
from tools.interop.foreign_server import NAME, front

ONCE = Retries(attempts=1)


@pytest.fixture
def sgp26(tmp_path: Path) -> Path:
    made = recipe.ci(recipe.Terms(now=datetime.now(UTC), serial=1), Curve.P256)
    folder = tmp_path / "CertificateIssuer"
    folder.mkdir()
    (folder / "CERT_CI_ECDSA_NIST.der").write_bytes(made.der)
    (folder / "SK_CI_ECDSA_NIST.pem").write_bytes(made.key_pem)
    return tmp_path


@pytest.fixture
async def plain() -> AsyncIterator[tuple[int, list[web.Request]]]:
    """A server without TLS that keeps what it was asked; handleNotification answers 204."""
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        asked.append(request)
        headers = {"X-Admin-Protocol": "gsma/rsp/v2.1.0"}
        if request.path.endswith("handleNotification"):
            return web.Response(status=204, headers=headers)
        return web.Response(body=await request.read(), content_type="application/json", headers=headers)

    application = web.Application()
    application.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1], asked
    await runner.cleanup()


async def test_requests_and_answers_pass_as_they_are(sgp26: Path, plain: tuple[int, list[web.Request]]) -> None:
    port, asked = plain
    async with (
        front(port, sgp26) as server,
        Exchange(tls=server.tls(), addresses=server.addresses, user_agent="gsma-rsp-lpad") as exchange,
    ):
        echoed = await exchange.post(NAME, "/gsma/rsp2/es9plus/initiateAuthentication", b'{"a":1}', ONCE)
        taken = await exchange.post(NAME, "/gsma/rsp2/es9plus/handleNotification", b"{}", ONCE)
        assert server.answered == [("initiateAuthentication", 200), ("handleNotification", 204)]
    assert (echoed.status, echoed.body, echoed.headers["X-Admin-Protocol"]) == (200, b'{"a":1}', "gsma/rsp/v2.1.0")
    assert (taken.status, taken.body, taken.headers["X-Admin-Protocol"]) == (204, b"", "gsma/rsp/v2.1.0")
    assert [request.headers["User-Agent"] for request in asked] == ["gsma-rsp-lpad"] * 2


async def test_the_certificate_is_good_for_its_name_alone(sgp26: Path, plain: tuple[int, list[web.Request]]) -> None:
    port, asked = plain
    async with front(port, sgp26) as server:
        others = {"other.example.com": server.addresses[NAME]}
        async with Exchange(tls=server.tls(), addresses=others) as exchange:
            with pytest.raises(ProtocolFault, match="not trusted"):
                await exchange.post("other.example.com", "/gsma/rsp2/es9plus/cancelSession", b"{}", ONCE)
    assert asked == []

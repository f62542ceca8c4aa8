"""What the log says of a refused call: the reason, and nothing that another server has written."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from rsp.errors import NothingSent, Refused, Unreachable
from rsp.status import Status
from transport.functions import Interface, Limits
from transport.metrics import HttpMetrics


def lost(error: Unreachable, cause: Exception | None) -> Refused:
    """A refusal as `smdp.announcing` makes it: its cause is kept, and not in its text."""
    error.__cause__ = cause
    refused = Refused(Status.SMDS_UNREACHABLE)
    refused.__cause__ = error
    return refused


_UNKNOWN = "https://smds.typo.example/es12 cannot be reached: ClientConnectorDNSError"
REFUSALS = [
    (Refused(Status.SMDS_ERROR, "told to the client"), "told to the client"),
    (Refused(Status.SMDS_ERROR), ""),
    (lost(NothingSent(_UNKNOWN), OSError("no such name")), _UNKNOWN),
    (lost(Unreachable("answered HTTP 500: MATCHING-ID"), None), "the other side gave no answer of the standard"),
]


@pytest.mark.parametrize(("refused", "why"), REFUSALS)
async def test_the_log_says_why(refused: Refused, why: str) -> None:
    async def fail(_: web.Request, __: bytes) -> bytes:
        raise refused

    limits, metrics = Limits(body_bytes=100, seconds=5.0), HttpMetrics(CollectorRegistry())
    interface = Interface(name="es2", prefix="/es2", limits=limits, metrics=metrics)
    runner = web.AppRunner(interface.application([interface.route("confirmOrder", fail)]), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/es2/confirmOrder"
    with capture_logs() as logged:
        async with aiohttp.ClientSession() as session, session.post(url, json={}) as response:
            assert "typo" not in await response.text()
    await runner.cleanup()
    assert [entry["why"] for entry in logged if entry["event"] == "refused"] == [why]

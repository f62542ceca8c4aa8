"""What the log says of a refused call: the reason, and nothing that another server has written."""

from __future__ import annotations

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from rsp.errors import NothingSent, Refused, Unreachable
from rsp.status import Status
from transport.functions import Interface, Limits
from transport.listening import Patience, listening
from transport.metrics import HttpMetrics
from transport.reading import Request


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
    async def fail(_: Request, __: bytes) -> bytes:
        raise refused

    limits, metrics = Limits(body_bytes=100, seconds=5.0), HttpMetrics(CollectorRegistry())
    interface = Interface(name="es2", prefix="/es2", limits=limits, metrics=metrics)
    service = interface.application([interface.route("confirmOrder", fail)])
    patience = Patience(handshake_seconds=5.0, idle_seconds=5.0, stall_seconds=5.0, drain_seconds=1.0)
    with capture_logs() as logged:
        async with (
            listening(service, ("127.0.0.1", 0), None, patience) as port,
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{port}/es2/confirmOrder", json={}) as response,
        ):
            assert "typo" not in await response.text()
    assert [entry["why"] for entry in logged if entry["event"] == "refused"] == [why]

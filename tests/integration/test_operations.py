"""The operations listener of a real server: metrics with bounded labels, gauges of the worker, health, readiness."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.commands.operator import _fingerprint
from server.settings import Settings
from server.wiring import opened
from simulator.bpp_segments import split_bound_profile_package
from tenancy.operator import Operator
from tests.http_stage import ES9, OPERATOR, TYPE, Caller, Material, b64, stocked
from tests.server_fixtures import ServerUnderTest

_Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
_REFRESH = 40.0
_LABELS = {
    "smdp_function_seconds": {"interface", "function", "le"},
    "smdp_function_refusals": {"interface", "function", "subject", "reason"},
    "smdp_http_faults": {"interface", "function", "status"},
    "smdp_downloads": {"result"},
    "smdp_orders": {"state"},
    "smdp_notifications": {"outcome"},
    "smdp_outbox_messages": set(),
    "smdp_outbox_oldest_seconds": set(),
    "smdp_certificate_valid_seconds": {"certificate"},
    "smdp_crl_valid_seconds": {"crl"},
    "smdp_crl_revoked_certificates": {"crl"},
    "smdp_smds_events": {"state"},
}
_FUNCTIONS = {
    "initiateAuthentication",
    "authenticateClient",
    "getBoundProfilePackage",
    "handleNotification",
    "cancelSession",
    "downloadOrder",
    "confirmOrder",
    "cancelOrder",
    "releaseProfile",
    "unknown",
}


@pytest.fixture
async def caller(server: ServerUnderTest) -> AsyncIterator[Caller]:
    """Calls the running server; an operator is registered and has two profiles in stock."""
    material = Material.of(server.pki, server.settings.vault_file)
    async with opened(server.settings) as services:
        certificate = _fingerprint(server.pki.operator_files(OPERATOR)[0])
        await services.directory.add_operator(Operator(id=0, name=OPERATOR, requester_id=OPERATOR), (certificate,))
        await stocked(services, server.settings.database_url.reveal(), OPERATOR, 2)
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as http:
        yield Caller(material=material, ports=server.state.ports, http=http)


async def _metrics(caller: Caller) -> _Samples:
    answer = await caller.ops("/metrics")
    assert answer.status == 200
    found: _Samples = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        assert family.name in _LABELS, family.name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == _LABELS[family.name] - {"le"}, sample
            assert sample.labels.get("function", "unknown") in _FUNCTIONS, sample
            found[sample.name, frozenset(sample.labels.items())] = sample.value
    return found


def _value(samples: _Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


async def _refreshed(caller: Caller, name: str, value: float, **labels: str) -> _Samples:
    """The metrics once the worker has looked at the database again and found `value`."""
    async with asyncio.timeout(_REFRESH):
        while True:
            samples = await _metrics(caller)
            if _value(samples, name, **labels) == value:
                return samples
            await asyncio.sleep(0.1)


async def _download(caller: Caller) -> None:
    order = (await caller.operator("downloadOrder", {"profileType": TYPE})).json()
    confirm = {"iccid": order["iccid"], "releaseFlag": True}
    matching_id = (await caller.operator("confirmOrder", confirm)).json()["matchingId"]
    device = caller.card()
    initiated = (await caller.device("initiateAuthentication", device.initiate())).json()
    shown = (await caller.device("authenticateClient", device.authenticate(initiated, matching_id))).json()
    prepare = device.prepare(shown)
    bound = (await caller.device("getBoundProfilePackage", prepare)).json()
    assert (await caller.device("getBoundProfilePackage", prepare)).json() == bound
    segments = split_bound_profile_package(base64.b64decode(bound["boundProfilePackage"]))
    reports = [device.card.load_bound_profile_package(segment) for segment in segments]
    for _ in range(2):
        assert (await caller.device("handleNotification", {"pendingNotification": b64(reports[-1])})).status == 204


async def test_metrics_count_downloads_refusals_and_faults_exactly(caller: Caller) -> None:
    await _download(caller)
    refused = await caller.device("initiateAuthentication", caller.card().initiate(smdpAddress="other.example.com"))
    assert refused.failed() == ("8.8.1", "3.8")
    assert (await caller.device("cancelSession", b"[")).status == 400
    for path in ("/", ES9 + "made-up", ES9 + "handleNotification/made-up", "/%00", "/" + "x" * 2000):
        assert (await caller.request("es9", path, b"{}")).status == 404
    assert (await caller.request("es9", ES9 + "cancelSession", b"", method="GET")).status == 405
    samples = await _refreshed(caller, "smdp_notifications", 1.0, outcome="duplicate")
    results = ("started", "delivered", "installed", "interrupted", "failed")
    counted = {result: _value(samples, "smdp_downloads_total", result=result) for result in results}
    assert counted == {"started": 1, "delivered": 1, "installed": 1, "interrupted": 0, "failed": 0}
    es9 = {"interface": "es9plus"}
    assert _value(samples, "smdp_function_seconds_count", function="getBoundProfilePackage", **es9) == 2
    assert _value(samples, "smdp_function_seconds_count", function="initiateAuthentication", **es9) == 2
    refusal = {"function": "initiateAuthentication", "subject": "8.8.1", "reason": "3.8"}
    assert _value(samples, "smdp_function_refusals_total", **refusal, **es9) == 1
    assert _value(samples, "smdp_http_faults_total", function="cancelSession", status="400", **es9) == 1
    assert _value(samples, "smdp_http_faults_total", function="unknown", status="404", **es9) == 5
    assert _value(samples, "smdp_http_faults_total", function="unknown", status="405", **es9) == 1


async def test_the_listener_does_not_tell_versions(caller: Caller) -> None:
    for path in ("/metrics", "/healthz", "/readyz", "/nowhere"):
        assert (await caller.ops(path)).headers["Server"] == "smdp-flex"


async def test_gauges_show_orders_outbox_and_certificates(caller: Caller, server: ServerUnderTest) -> None:
    await _download(caller)
    samples = await _refreshed(caller, "smdp_orders", 1.0, state="installed")
    assert _value(samples, "smdp_orders", state="released") == 0
    connection = await asyncpg.connect(server.settings.database_url.reveal())
    try:
        await connection.execute(
            "INSERT INTO outbox (tenant_id, line, kind, body, due_at, created_at)"
            " VALUES (1, 'later', 'none', '{}', now() + interval '1 day', now() - interval '1 hour')"
        )
    finally:
        await connection.close()
    samples = await _refreshed(caller, "smdp_outbox_messages", 1.0)
    assert 3600 <= _value(samples, "smdp_outbox_oldest_seconds") < 3600 + _REFRESH
    expiries = [value for (name, _), value in samples.items() if name == "smdp_certificate_valid_seconds"]
    assert len(expiries) == 6
    assert min(expiries) > 0


def _gauge_files(settings: Settings) -> list[Path]:
    return sorted(settings.metrics_dir.glob("gauge_*.db"))


async def test_gauges_come_from_the_worker_only(caller: Caller, server: ServerUnderTest) -> None:
    await _refreshed(caller, "smdp_orders", 0.0, state="released")
    worker = server.state.processes["worker-0"]
    assert [file.name for file in _gauge_files(server.settings)] == [f"gauge_mostrecent_{worker}.db"]


async def test_log_tells_where_each_interface_listens(caller: Caller, server: ServerUnderTest) -> None:
    async with asyncio.timeout(_REFRESH):
        while len(told := server.events("listening")) < 5:
            await caller.ops("/healthz")
    ports = server.state.ports
    assert {record["interface"]: record["url"] for record in told} == {
        "ES9+": f"https://127.0.0.1:{ports['es9']}",
        "ES2+": f"https://127.0.0.1:{ports['es2']}",
        "ESipa": f"https://127.0.0.1:{ports['eim']}",
        "API": f"https://127.0.0.1:{ports['api']}/docs",
        "operations": f"http://127.0.0.1:{ports['ops']}",
    }


async def test_ready_and_alive_and_nothing_else_is_answered(caller: Caller) -> None:
    ready, alive = await caller.ops("/readyz"), await caller.ops("/healthz")
    assert (ready.status, ready.json()) == (200, {"status": "ready"})
    assert (alive.status, alive.json()) == (200, {"status": "ok"})
    assert (await caller.ops("/")).status == 404
    assert (await caller.request("ops", "/metrics", b"", method="POST")).status == 405
    assert (await caller.request("ops", ES9 + "cancelSession", b"{}")).status == 404


async def test_log_names_transactions_and_orders_and_every_line_is_json(
    caller: Caller, server: ServerUnderTest
) -> None:
    await _download(caller)
    await _refreshed(caller, "smdp_downloads_total", 1.0, result="installed")
    assert all(line.startswith("{") for line in server.log.read_text().splitlines())
    answered = server.events("answered")
    sessions = {record["transaction_id"] for record in answered if record["function"] == "authenticateClient"}
    assert len(sessions) == 1
    assert len(sessions.pop()) == 32
    (confirmed,) = [record for record in answered if record["function"] == "confirmOrder"]
    assert confirmed["iccid"].startswith("8988211")
    assert (confirmed["operator"], confirmed["call_id"][:5]) == (OPERATOR, "call-")

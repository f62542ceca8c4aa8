"""The operations listener: metrics, health and readiness, apart from every interface of the standard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from crypto.vault import VaultUnavailable
from rsp.errors import Unavailable
from transport.functions import RETRY_AFTER_SECONDS, SERVER, Gate

Check = Callable[[], Awaitable[None]]


class Operations:
    """What operators and their tools ask a process."""

    def __init__(self, gate: Gate, checks: dict[str, Check]) -> None:
        """`checks` by name; each raises Unavailable or VaultUnavailable when its part is away."""
        self._gate = gate
        self._checks = checks

    def application(self) -> web.Application:
        """The three routes."""
        app = web.Application()
        app.on_response_prepare.append(_without_version)
        app.add_routes(
            [
                web.get("/metrics", self.metrics),
                web.get("/healthz", self.healthz),
                web.get("/readyz", self.readyz),
            ]
        )
        return app

    async def metrics(self, _: web.Request) -> web.Response:
        """Metrics of all processes of this server, added up."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # the package leaves it untyped
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(self, _: web.Request) -> web.Response:
        """The process runs and its loop turns."""
        return web.json_response({"status": "ok"})

    async def readyz(self, _: web.Request) -> web.Response:
        """Whether requests can be served now: database, vault, and not stopping."""
        faults = {} if self._gate.open else {"process": "stopping"}
        for name, check in self._checks.items():
            try:
                await check()
            except (Unavailable, VaultUnavailable) as error:
                faults[name] = type(error).__name__
        if not faults:
            return web.json_response({"status": "ready"})
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        return web.json_response({"status": "not ready", "faults": faults}, status=503, headers=headers)


async def _without_version(_: web.Request, response: web.StreamResponse) -> None:
    """The library would name itself and Python with their versions."""
    response.headers[hdrs.SERVER] = SERVER

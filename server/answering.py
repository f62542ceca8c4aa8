"""The HTTP side of a process: its listeners, and how it stops answering."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from aiohttp import web

from es2plus import messages as es2_messages
from es2plus.receiving import ProgressReceiver
from es2plus.server import Es2Plus
from es9plus import asn1
from es9plus import messages as es9_messages
from es9plus.server import Es9Plus
from esipa import messages as esipa_messages
from esipa.server import Esipa
from server import logs
from server.callers import admitting
from server.listening import addresses
from server.operations import Operations
from server.settings import Settings
from server.wiring import Services
from transport.functions import Choose, Chosen, Gate, Interface, Limits, Service
from transport.listening import Patience, listening
from transport.throttle import Throttle
from transport.tls import also_named, server_context

_HANDSHAKE_SECONDS = 10.0
_IDLE_SECONDS = 75.0
_STALL_SECONDS = 30.0

_App = Service | web.Application

_log = logs.get("server.answering")


async def answer(services: Services, stop: asyncio.Event, *, speaks: bool) -> None:
    """Listen on every interface until `stop`, then let running requests end within the drain time.

    Of the processes that share the addresses one `speaks`: it logs where they are.
    """
    gate = Gate()
    async with answering(services, gate):
        if speaks:
            for interface, url in addresses(services.settings, eim=services.eim is not None).items():
                _log.info("listening", interface=interface, url=url)
        await stop.wait()
        gate.open = False


@asynccontextmanager
async def answering(services: Services, gate: Gate) -> AsyncIterator[None]:
    """All listeners of this process; the one for operations closes last, so that draining can be watched."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(operations(services, gate))
        for app, name, context in _interfaces(services, gate):
            if name == "es2":
                await stack.enter_async_context(admitting(context, services.foreign.callers))
            await stack.enter_async_context(_listening(app, services.settings, name, context))
        yield


@asynccontextmanager
async def operations(services: Services, gate: Gate) -> AsyncIterator[None]:
    """The operations listener of this process."""
    app = Operations(gate, {"database": services.check_database, "vault": services.vault.check}).application()
    async with _listening(app, services.settings, "ops", None):
        yield


def _interfaces(services: Services, gate: Gate) -> list[tuple[_App, str, ssl.SSLContext]]:
    settings, pki = services.settings, services.pki
    limits = Limits(body_bytes=settings.max_body_bytes, seconds=settings.request_seconds)
    # Anybody may call ES9+; whoever calls ES2+ is known by a certificate, and orders in bulk.
    throttle = Throttle(settings.requests_per_second) if settings.requests_per_second else None
    es9 = Interface(
        name="es9plus",
        prefix=es9_messages.PREFIX,
        limits=limits,
        metrics=services.metrics,
        gate=gate,
        throttle=throttle,
    )
    es2 = Interface(name="es2plus", prefix=es2_messages.PREFIX, limits=limits, metrics=services.metrics, gate=gate)
    operators = Es2Plus(services.ordering, services.vendor, services.directory, services.now).routes(es2)
    # The other direction of the same reference point: where a carrier's own SM-DP+ has the profiles, we order there.
    reporters = ProgressReceiver(services.foreign.callers, services.foreign.reports).routes(es2)
    return [
        *_devices(services, es9),
        (
            es2.application([*operators, *reporters]),
            "es2",
            server_context(pki.tls_certificate, pki.tls_key, pki.operator_ca),
        ),
        (
            services.api.application(settings, services.metrics, gate),
            "api",
            server_context(pki.tls_certificate, pki.tls_key),
        ),
    ]


def _devices(services: Services, es9: Interface) -> list[tuple[_App, str, ssl.SSLContext]]:
    """The listeners of ES9+ and ESipa: two, or one where the settings give both the same address.

    On one address the ASN.1 path is told apart by the first tag, and the certificate by the name a device asks for.
    """
    settings, pki, eim = services.settings, services.pki, services.eim
    devices = Es9Plus(services.downloads, services.cancellation, services.notifications)
    binding = replace(es9, prefix=asn1.PREFIX, binding=asn1.BINDING)
    functions = devices.choosing(binding)
    context = server_context(pki.tls_certificate, pki.tls_key)
    if eim is None or pki.eim is None:
        return [(_es9_application(es9, devices, binding, functions), "es9", context)]
    esipa = replace(es9, name="esipa", prefix=esipa_messages.PREFIX, binding=esipa_messages.BINDING)
    iot_functions = Esipa(eim.polling, eim.results).choosing(esipa)
    iot_context = server_context(pki.eim.tls_certificate, pki.eim.tls_key)
    if settings.shares_es9_listener:
        functions = _by_first_tag(functions, iot_functions)
        also_named(context, settings.eim_names, iot_context)
        return [(_es9_application(es9, devices, binding, functions), "es9", context)]
    return [
        (_es9_application(es9, devices, binding, functions), "es9", context),
        (esipa.application([esipa.choosing_route(esipa_messages.PATH, iot_functions)]), "eim", iot_context),
    ]


def _es9_application(es9: Interface, devices: Es9Plus, binding: Interface, functions: Choose) -> Service:
    return es9.application([*devices.routes(es9), binding.choosing_route(asn1.PATH, functions)])


def _by_first_tag(functions: Choose, iot_functions: Choose) -> Choose:
    def choose(body: bytes) -> Chosen:
        return (functions if body[:1] == bytes((asn1.REMOTE_PROFILE_PROVISIONING,)) else iot_functions)(body)

    return choose


@asynccontextmanager
async def _listening(app: _App, settings: Settings, name: str, context: ssl.SSLContext | None) -> AsyncIterator[None]:
    """Answer `app` on the address of listener `name`, shared with the other processes."""
    address = (getattr(settings, f"{name}_host"), getattr(settings, f"{name}_port"))
    patience = Patience(
        handshake_seconds=_HANDSHAKE_SECONDS,
        idle_seconds=_IDLE_SECONDS,
        stall_seconds=_STALL_SECONDS,
        drain_seconds=settings.drain_seconds,
    )
    async with listening(app, address, context, patience):
        yield

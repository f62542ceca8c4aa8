"""Joins events of orders with SM-DS: ES12 as the settings allow it, and their deletion with the outbox."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import msgspec

from certs.layout import PkiFolder
from es12.client import Es12Client
from rsp.errors import Unreachable
from server.clock import SystemClock
from server.settings import Settings
from smdp.event import SmdsPolicy
from smdp.event_keeping import EventKeeping, EventWanted
from smdp.event_ports import SmDs
from smdp.policy import Policy
from smdp.ports import ClaimedMessage
from store.events import Events
from store.ordering import Orderings
from store.pool import Pool
from transport.client import GsmaClient
from transport.resolving import ChosenHosts, Target
from transport.tls import ci_context
from webhooks.sender import Undeliverable, Unwanted

MOST_TRIES = 300
"""After so many a deletion is given up: with the pauses of `webhooks.sender.Pace` that is a day and some."""


class EventRemovals:
    """Deletes events that the outbox says are no longer wanted."""

    def __init__(self, keeping: EventKeeping) -> None:
        self._keeping = keeping

    async def send(self, message: ClaimedMessage) -> None:
        """Raises Unreachable, Unwanted, and Undeliverable once it was tried for long."""
        number = int(msgspec.json.decode(message.body)["event"])
        try:
            await self._keeping.remove(number)
        except EventWanted as wanted:
            raise Unwanted(str(wanted)) from None
        except Unreachable as lost:
            if message.attempts < MOST_TRIES:
                raise
            await self._keeping.give_up(number, str(lost))
            raise Undeliverable(str(lost)) from lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Smds:
    """ES12 in one process."""

    client: SmDs
    keeping: EventKeeping
    removals: EventRemovals


async def smds_of(settings: Settings, pki: PkiFolder, policy: Policy, pool: Pool, stack: AsyncExitStack) -> Smds:
    """ES12 over `pool`; its connections are closed with `stack`."""
    http = await stack.enter_async_context(_session(settings, pki))

    def connect(address: str) -> GsmaClient:
        return GsmaClient(http, f"https://{address}:{settings.smds_port}", settings.smds_timeout_seconds)

    # By its name it is known to operators, too (ES2+ callbacks).
    client = Es12Client(connect, requester_id=policy.address, server_address=policy.address)
    keeping = EventKeeping(Orderings(pool), Events(pool), client, policy.smds, SystemClock().now)
    return Smds(client=client, keeping=keeping, removals=EventRemovals(keeping))


def smds_policy_of(settings: Settings) -> SmdsPolicy:
    """Which SM-DS operators may name."""
    return SmdsPolicy(hosts=frozenset(_listed(settings)), roots=frozenset(settings.smds_roots))


def _session(settings: Settings, pki: PkiFolder) -> aiohttp.ClientSession:
    """Connections to SM-DS: mutual TLS with DPtls, whose certificates come from the CIs we trust and nobody else."""
    context = ci_context(pki.ci_certificates, pki.tls_certificate, pki.tls_key)
    resolver = ChosenHosts(_listed(settings), aiohttp.ThreadedResolver())
    # One that is slow to answer holds up nobody's orders at another.
    connector = aiohttp.TCPConnector(ssl=context, resolver=resolver, limit=0, limit_per_host=16)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def _listed(settings: Settings) -> dict[str, Target]:
    """The names of `smds_hosts`, and where each is reached if elsewhere."""
    found: dict[str, Target] = {}
    for entry in settings.smds_hosts:
        name, _, target = entry.partition("=")
        host, _, port = target.partition(":")
        found[name] = (host, int(port or settings.smds_port)) if host else None
    return found

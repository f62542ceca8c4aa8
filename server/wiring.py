"""Joins roles, adapters and interfaces into the services of one process. The one place that knows every part."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import aiohttp
from prometheus_client import CollectorRegistry

from carriers.control_center_rest import PROMPT
from carriers.control_center_rest import Timing as PlatformTiming
from carriers.registry import Registry
from certs import layout
from certs.layout import PkiFolder
from crypto.certificates import TrustStore, parse_certificate
from crypto.vault import Vault
from eim.ports import FORWARD_KIND
from es9plus.client import USER_AGENT
from server.api_wiring import ApiParts, api_of
from server.callbacks import OperatorCallbacks
from server.clock import SystemClock
from server.eim_wiring import Eim, eim_of, identity_of
from server.foreign_wiring import Foreign, foreign_over
from server.forwarding import NotificationForwarder
from server.gauges import Gauges
from server.hints import HintingInbox, HintingResults, Hints, Unheard
from server.platform_lines import SharedLines
from server.preflight import open_vault
from server.revocations import trusting
from server.setting_kinds import proprietary_data
from server.settings import Settings
from server.smds_wiring import Smds, smds_of, smds_policy_of
from server.swap_wiring import Surroundings, Swaps, Waking, swaps_of
from server.tally import CountedDownloads, Tally
from smdp.binding import Protection
from smdp.cancellation import Cancellation
from smdp.credentials import Credentials, Wallet
from smdp.downloads import Downloads
from smdp.event import REMOVAL_KIND
from smdp.event_keeping import EventKeeping
from smdp.expiry import Expiry
from smdp.notification import Notifications, nobody
from smdp.ordering import Ordering
from smdp.policy import Policy
from smdp.progress import KIND
from smdp.recovery import VendorFunctions
from store.directory import Operators
from store.ordering import Orderings
from store.outbox import Outbox
from store.platform_lines import PlatformLines
from store.pool import Pool, open_pool
from store.retention import Retirement
from store.statistics import Counts
from tenancy.operator import Directory
from transport.metrics import HttpMetrics
from transport.tls import client_context
from webhooks.sender import Sender


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a process of the server uses."""

    settings: Settings
    pki: PkiFolder
    vault: Vault
    check_database: Callable[[], Awaitable[None]]
    directory: Directory
    downloads: Downloads
    cancellation: Cancellation
    notifications: Notifications
    ordering: Ordering
    expiry: Expiry
    vendor: VendorFunctions
    now: Callable[[], datetime]
    events: EventKeeping
    sender: Sender
    eim: Eim | None
    """None where the PKI folder has no eIM."""
    swaps: Swaps | None
    """None where there is no eIM."""
    foreign: Foreign
    api: ApiParts
    metrics: HttpMetrics
    retire: Callable[[], Awaitable[int]]
    """Removes one batch of rows past their time."""
    watch: Callable[[], Gauges]
    """Makes the gauges over the database: for one process of a server only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """What all roles of a process rest on; `stack` closes what they open."""

    stack: AsyncExitStack
    settings: Settings
    pool: Pool
    pki: PkiFolder
    vault: Vault
    trust: TrustStore
    wallet: Wallet
    policy: Policy
    now: Callable[[], datetime]


@asynccontextmanager
async def opened(
    settings: Settings, hints: Hints | None = None, platform_timing: PlatformTiming = PROMPT
) -> AsyncIterator[Services]:
    """The services of this process, which tell `hints` of work for the worker; closed with the block.

    `platform_timing` is how patient it is with carriers' platforms.
    """
    hints = hints or Unheard()
    async with AsyncExitStack() as stack:
        base = await _base(settings, stack)
        pool, pki, vault, trust, wallet, policy = base.pool, base.pki, base.vault, base.trust, base.wallet, base.policy
        now, registry = base.now, CollectorRegistry()
        tally, waking = Tally(registry), Waking(pool, hints, now)
        counts, outbox, directory, sessions = Counts(pool), Outbox(pool), Operators(pool), CountedDownloads(pool, tally)
        identity, stored = identity_of(settings, pki), partial(HintingResults, hints=hints)
        eim = eim_of(identity, pool, vault, trust, policy.server_names, now, stored) if identity else None
        smds = await smds_of(settings, pki, policy, pool, stack)
        ordering = Ordering(Orderings(pool), vault, policy, now, smds.client)
        foreign = await stack.enter_async_context(
            foreign_over(pool, vault, waking.of_card, now, settings.callback_timeout_seconds)
        )
        swaps = await _swaps(base, hints, platform_timing, ordering, eim, foreign) if eim else None
        inbox, judged = HintingInbox(pool, tally, hints), waking.of_cards if swaps else nobody
        yield Services(
            settings=settings,
            pki=pki,
            vault=vault,
            check_database=counts.ping,
            directory=directory,
            downloads=Downloads(sessions, vault, trust, wallet, policy, now),
            cancellation=Cancellation(sessions, wallet, now),
            notifications=Notifications(inbox, sessions, trust, wallet, policy, now, judged=judged),
            ordering=ordering,
            expiry=Expiry(sessions, now),
            vendor=VendorFunctions(Orderings(pool), policy, now, smds.client),
            now=now,
            events=smds.keeping,
            sender=await _sender(base, outbox, directory, smds),
            eim=eim,
            swaps=swaps,
            foreign=foreign,
            api=api_of(pool, vault, eim, swaps, now),
            metrics=HttpMetrics(registry),
            retire=partial(_retire, Retirement(pool), now),
            watch=partial(Gauges, registry, counts, outbox, pki, trust.revocations, now),
        )


async def _base(settings: Settings, stack: AsyncExitStack) -> _Base:
    pool = await open_pool(settings.database_url.reveal(), settings.database_pool_size)
    stack.push_async_callback(pool.close)
    pki, now = layout.load(settings.pki_dir), SystemClock().now
    return _Base(
        stack=stack,
        settings=settings,
        pool=pool,
        pki=pki,
        vault=open_vault(settings),
        trust=await stack.enter_async_context(trusting(pki, now)),
        wallet=wallet_of(pki),
        policy=policy_of(settings),
        now=now,
    )


async def _swaps(
    base: _Base, hints: Hints, timing: PlatformTiming, ordering: Ordering, eim: Eim, foreign: Foreign
) -> Swaps:
    """Swaps over the platforms of carriers, within the pace that all processes share."""
    http = await base.stack.enter_async_context(aiohttp.ClientSession())
    return swaps_of(
        Surroundings(
            pool=base.pool,
            vault=base.vault,
            ordering=ordering,
            policy=base.policy,
            eim=eim,
            registry=Registry(http, SharedLines(PlatformLines(base.pool)), timing),
            foreign=foreign.profiles,
            now=base.now,
            hints=hints,
        )
    )


async def _sender(base: _Base, outbox: Outbox, directory: Directory, smds: Smds) -> Sender:
    """Sends what the outbox holds, each kind to those it is for."""
    seconds = base.settings.callback_timeout_seconds
    http = await base.stack.enter_async_context(_callback_session(base.pki))
    callbacks = OperatorCallbacks(directory, http, base.policy.address, seconds)
    forwarder = NotificationForwarder(await base.stack.enter_async_context(_peer_session(base.pki)), seconds)
    return Sender(outbox, {KIND: callbacks.send, FORWARD_KIND: forwarder.send, REMOVAL_KIND: smds.removals.send})


def policy_of(settings: Settings) -> Policy:
    """The rules as the settings give them."""
    return Policy(
        server_names=settings.server_names,
        session_time=timedelta(seconds=settings.session_seconds),
        order_time=timedelta(days=settings.order_days),
        download_attempts=settings.download_attempts,
        confirmation_attempts=settings.confirmation_code_attempts,
        protection=Protection(settings.protection),
        dp_proprietary=proprietary_data(settings.dp_proprietary_data),
        smds=smds_policy_of(settings),
    )


def wallet_of(pki: PkiFolder) -> Wallet:
    """The SM-DP+ certificates of a folder, and the CIs it trusts."""
    own = [
        Credentials(
            ci_key_id=entry.ci_key_id,
            curve=entry.curve,
            auth_certificate=entry.auth_certificate,
            auth_key=entry.auth_key,
            pb_certificate=entry.pb_certificate,
            pb_key=entry.pb_key,
            oid=entry.oid,
        )
        for entry in pki.dp
    ]
    trusted = {ci.subject_key_id: ci.curve for ci in map(parse_certificate, pki.ci_certificates)}
    return Wallet(own, trusted)


def _callback_session(pki: PkiFolder) -> aiohttp.ClientSession:
    """Connections to operators' servers: shows our TLS certificate, trusts the operators' CA and the system's."""
    context = client_context(None, pki.tls_certificate, pki.tls_key)
    context.load_verify_locations(pki.operator_ca)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=64))


async def _retire(retirement: Retirement, now: Callable[[], datetime]) -> int:
    return await retirement.remove(now())


def _peer_session(pki: PkiFolder) -> aiohttp.ClientSession:
    """Connections to other SM-DP+, whose TLS certificates come from the CIs we trust or the system's authorities."""
    context = client_context(None)
    for certificate in pki.ci_certificates:
        context.load_verify_locations(cadata=certificate)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=16), headers={"User-Agent": USER_AGENT}
    )

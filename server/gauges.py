"""Gauges that describe the database, set by the worker process alone, and the expiry of certificates and CRLs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge

from certs import files, revocation
from certs.layout import PkiFolder
from crypto.certificates import Certificate, parse_certificate
from crypto.revocation import RevocationList
from smdp.event import LIVE
from smdp.order import OrderState
from smdp.ports import Outbox


class Statistics(Protocol):
    """Counts over the database."""

    async def orders_by_state(self) -> Mapping[str, int]:
        """How many orders stand in each state."""

    async def events_by_state(self) -> Mapping[str, int]:
        """How many events at SM-DS stand in each state but withdrawn."""

    async def notifications_by_outcome(self) -> Mapping[str, int]:
        """How many judged notifications came to each outcome."""

    async def pending_notifications(self) -> int:
        """How many kept notifications are not judged."""


_REST = 1000
"""How many times as long as a count took it is left alone: all of them together cost a thousandth of a core each."""


class Gauges:
    """Reads the counts and shows them.

    To count whole tables takes the longer the more they hold, so that is done the more seldom: 0.1 s for a million
    orders means that those gauges are up to 100 s old.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        statistics: Statistics,
        outbox: Outbox,
        pki: PkiFolder,
        lists: Iterable[RevocationList],
        now: Callable[[], datetime],
    ) -> None:
        """`lists` are asked at every refresh which are in force then."""
        self._statistics = statistics
        self._outbox = outbox
        self._expiry = {name: certificate.not_after for name, certificate in own_certificates(pki).items()}
        self._lists = lists
        self._now = now
        self._due: dict[str, datetime] = {}
        self._orders = _gauge(registry, "smdp_orders", "Orders by state.", ("state",))
        self._events = _gauge(registry, "smdp_smds_events", "Events at SM-DS, by what is known of them.", ("state",))
        self._notifications = _gauge(registry, "smdp_notifications", "Notifications kept, by outcome.", ("outcome",))
        self._depth = _gauge(registry, "smdp_outbox_messages", "Messages not yet delivered.", ())
        self._age = _gauge(registry, "smdp_outbox_oldest_seconds", "Age of the oldest undelivered message.", ())
        self._valid = _gauge(registry, "smdp_certificate_valid_seconds", "Time until expiry.", ("certificate",))
        self._due_list = _gauge(registry, "smdp_crl_valid_seconds", "Time until the next one is due.", ("crl",))
        self._revoked = _gauge(registry, "smdp_crl_revoked_certificates", "Certificates that a list names.", ("crl",))

    async def refresh(self) -> int:
        """Set every gauge anew whose time has come. Always 0: nothing is left to do at once. Raises Unavailable."""
        await self._seldom("orders", self._count_orders)
        await self._seldom("events", self._count_events)
        await self._seldom("notifications", self._count_notifications)
        await self._seldom("outbox", self._count_messages)
        self._notifications.labels("pending").set(await self._statistics.pending_notifications())
        for name, moment in self._expiry.items():
            self._valid.labels(name).set((moment - self._now()).total_seconds())
        for found in self._lists:
            name = revocation.short_name(found)
            self._due_list.labels(name).set((found.next_update - self._now()).total_seconds())
            self._revoked.labels(name).set(len(found.revoked))
        return 0

    async def _seldom(self, name: str, count: Callable[[], Awaitable[None]]) -> None:
        started = self._now()
        if started < self._due.get(name, started):
            return
        await count()
        ended = self._now()
        self._due[name] = ended + (ended - started) * _REST

    async def _count_orders(self) -> None:
        orders = await self._statistics.orders_by_state()
        for state in OrderState:
            self._orders.labels(state.value).set(orders.get(state.value, 0))

    async def _count_events(self) -> None:
        events = await self._statistics.events_by_state()
        for state in LIVE:
            self._events.labels(state.value).set(events.get(state.value, 0))

    async def _count_notifications(self) -> None:
        for outcome, count in (await self._statistics.notifications_by_outcome()).items():
            self._notifications.labels(outcome).set(count)

    async def _count_messages(self) -> None:
        depth, age = await self._outbox.depth()
        self._depth.set(depth)
        self._age.set(age)


def _gauge(registry: CollectorRegistry, name: str, text: str, labels: tuple[str, ...]) -> Gauge:
    return Gauge(name, text, labels, registry=registry, multiprocess_mode="mostrecent")


def own_certificates(pki: PkiFolder) -> dict[str, Certificate]:
    """The server's certificates in use by name, DPauth and DPpb with the short key id of their CI."""
    found = {}
    for entry in pki.dp:
        short = entry.ci_key_id.hex()[:8]
        found[f"DPauth-{short}"] = parse_certificate(entry.auth_certificate)
        found[f"DPpb-{short}"] = parse_certificate(entry.pb_certificate)
    found["DPtls"] = parse_certificate(files.read_certificate(pki.tls_certificate))
    if pki.eim is not None:
        found["eIMtls"] = parse_certificate(files.read_certificate(pki.eim.tls_certificate))
    return found

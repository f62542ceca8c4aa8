"""Gauges that describe the database, set by the worker process alone, and the expiry of certificates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge

from certs import files
from certs.layout import PkiFolder
from crypto.certificates import parse_certificate
from smdp.order import OrderState
from smdp.ports import Outbox


class Statistics(Protocol):
    """Counts over the database."""

    async def orders_by_state(self) -> Mapping[str, int]:
        """How many orders stand in each state."""

    async def notifications_by_outcome(self) -> Mapping[str, int]:
        """How many kept notifications came to each outcome; `pending` for those not judged."""


class Gauges:
    """Reads the counts and shows them."""

    def __init__(
        self,
        registry: CollectorRegistry,
        statistics: Statistics,
        outbox: Outbox,
        pki: PkiFolder,
        now: Callable[[], datetime],
    ) -> None:
        self._statistics = statistics
        self._outbox = outbox
        self._expiry = _expiries(pki)
        self._now = now
        self._orders = _gauge(registry, "smdp_orders", "Orders by state.", ("state",))
        self._notifications = _gauge(registry, "smdp_notifications", "Notifications kept, by outcome.", ("outcome",))
        self._depth = _gauge(registry, "smdp_outbox_messages", "Messages not yet delivered.", ())
        self._age = _gauge(registry, "smdp_outbox_oldest_seconds", "Age of the oldest undelivered message.", ())
        self._valid = _gauge(registry, "smdp_certificate_valid_seconds", "Time until expiry.", ("certificate",))

    async def refresh(self) -> int:
        """Set every gauge anew. Always 0: there is nothing left to do at once. Raises Unavailable."""
        orders = await self._statistics.orders_by_state()
        for state in OrderState:
            self._orders.labels(state.value).set(orders.get(state.value, 0))
        # Of all outcomes only `pending` can become empty again, and then no row speaks of it.
        outcomes = {"pending": 0, **await self._statistics.notifications_by_outcome()}
        for outcome, count in outcomes.items():
            self._notifications.labels(outcome).set(count)
        depth, age = await self._outbox.depth()
        self._depth.set(depth)
        self._age.set(age)
        for name, moment in self._expiry.items():
            self._valid.labels(name).set((moment - self._now()).total_seconds())
        return 0


def _gauge(registry: CollectorRegistry, name: str, text: str, labels: tuple[str, ...]) -> Gauge:
    return Gauge(name, text, labels, registry=registry, multiprocess_mode="mostrecent")


def _expiries(pki: PkiFolder) -> dict[str, datetime]:
    """When each certificate in use expires: DPauth and DPpb by the short key id of their CI, and the TLS one."""
    found = {}
    for entry in pki.dp:
        short = entry.ci_key_id.hex()[:8]
        found[f"DPauth-{short}"] = parse_certificate(entry.auth_certificate).not_after
        found[f"DPpb-{short}"] = parse_certificate(entry.pb_certificate).not_after
    found["DPtls"] = parse_certificate(files.read_certificate(pki.tls_certificate)).not_after
    return found

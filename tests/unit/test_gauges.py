"""The gauges over the database show what stands there now, also when a group has become empty."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from certs_cases import NAMES, NOW, fresh_vault, made
from prometheus_client import CollectorRegistry

from certs.folder import init
from crypto.certificates import TrustStore
from crypto.curves import Curve
from crypto.revocation import RevocationList
from server.gauges import Gauges
from smdp.ports import ClaimedMessage
from tests.revocation_lists import ListPlan, signed_list


class Counted:
    """What the tables would say."""

    def __init__(self) -> None:
        self.orders: Mapping[str, int] = {}
        self.events: Mapping[str, int] = {}
        self.notifications: Mapping[str, int] = {}
        self.pending = 0
        self.clock = NOW
        self.count_seconds = 0.0
        self.counts = 0
        self.unsent = (0, 0.0)
        self.lists: list[RevocationList] = []

    def now(self) -> datetime:
        return self.clock

    async def orders_by_state(self) -> Mapping[str, int]:
        self.counts += 1
        self.clock += timedelta(seconds=self.count_seconds)
        return self.orders

    async def events_by_state(self) -> Mapping[str, int]:
        return self.events

    async def notifications_by_outcome(self) -> Mapping[str, int]:
        return self.notifications

    async def pending_notifications(self) -> int:
        return self.pending

    async def depth(self) -> tuple[int, float]:
        return self.unsent

    async def claim_messages(self, most: int, lease_seconds: float) -> list[ClaimedMessage]:
        raise AssertionError("gauges claim nothing")

    async def sent(self, message_id: int) -> None:
        raise AssertionError("gauges send nothing")

    async def retry(self, message_id: int, delay_seconds: float, error: str) -> None:
        raise AssertionError("gauges send nothing")

    async def bury(self, message_id: int, error: str) -> None:
        raise AssertionError("gauges send nothing")


@pytest.fixture
async def gauges(tmp_path: Path) -> tuple[Gauges, Counted, CollectorRegistry]:
    vault = fresh_vault(tmp_path)
    pki = await init(tmp_path / "pki", vault, names=NAMES, curves=[Curve.P256], now=NOW)
    counted, registry = Counted(), CollectorRegistry()
    return Gauges(registry, counted, counted, pki, counted.lists, counted.now), counted, registry


async def test_notifications_that_were_judged_are_no_longer_pending(
    gauges: tuple[Gauges, Counted, CollectorRegistry],
) -> None:
    shown, counted, registry = gauges
    counted.pending = 3
    await shown.refresh()
    assert registry.get_sample_value("smdp_notifications", {"outcome": "pending"}) == 3
    counted.pending, counted.notifications = 0, {"installed": 3}
    await shown.refresh()
    assert registry.get_sample_value("smdp_notifications", {"outcome": "pending"}) == 0
    assert registry.get_sample_value("smdp_notifications", {"outcome": "installed"}) == 3


async def test_orders_that_left_a_state_are_no_longer_counted_in_it(
    gauges: tuple[Gauges, Counted, CollectorRegistry],
) -> None:
    shown, counted, registry = gauges
    counted.orders, counted.unsent = {"released": 2}, (4, 7.5)
    await shown.refresh()
    counted.orders = {"installed": 2}
    await shown.refresh()
    assert registry.get_sample_value("smdp_orders", {"state": "released"}) == 0
    assert registry.get_sample_value("smdp_orders", {"state": "installed"}) == 2
    assert registry.get_sample_value("smdp_outbox_messages") == 4
    assert registry.get_sample_value("smdp_outbox_oldest_seconds") == 7.5


async def test_events_that_went_are_no_longer_counted(gauges: tuple[Gauges, Counted, CollectorRegistry]) -> None:
    shown, counted, registry = gauges
    counted.events = {"registered": 2, "withdrawing": 1}
    await shown.refresh()
    counted.events = {"registered": 1}
    await shown.refresh()
    shows = [registry.get_sample_value("smdp_smds_events", {"state": state}) for state in ("registered", "withdrawing")]
    assert shows == [1, 0]


async def test_every_certificate_in_use_shows_its_time_left(
    gauges: tuple[Gauges, Counted, CollectorRegistry],
) -> None:
    shown, _, registry = gauges
    await shown.refresh()
    left = {
        sample.labels["certificate"].partition("-")[0]: sample.value / 86400
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "smdp_certificate_valid_seconds"
    }
    assert {name: round(days) for name, days in left.items()} == {
        "DPauth": 3650, "DPpb": 3650, "DPtls": 398, "eIMtls": 398,
    }  # fmt: skip


async def test_every_revocation_list_in_force_shows_when_the_next_is_due(
    gauges: tuple[Gauges, Counted, CollectorRegistry],
) -> None:
    shown, counted, registry = gauges
    ci = made().ci
    plan = ListPlan(serials=(4, 5), next_update=NOW + timedelta(days=3))
    counted.lists.append(TrustStore([ci.der]).read_revocation_list(signed_list(ci.der, ci.key, plan), NOW))
    await shown.refresh()
    named = {"crl": ci.key_id.hex()[:8]}
    assert registry.get_sample_value("smdp_crl_valid_seconds", named) == 3 * 86400
    assert registry.get_sample_value("smdp_crl_revoked_certificates", named) == 2
    counted.clock += timedelta(days=4)
    await shown.refresh()
    assert registry.get_sample_value("smdp_crl_valid_seconds", named) == -86400


async def test_what_takes_long_to_count_is_counted_seldom(gauges: tuple[Gauges, Counted, CollectorRegistry]) -> None:
    shown, counted, registry = gauges
    counted.count_seconds, counted.orders, counted.pending = 0.1, {"released": 1_000_000}, 5
    await shown.refresh()
    counted.orders, counted.pending = {"released": 999_999}, 6
    for _ in range(19):
        counted.clock += timedelta(seconds=5)
        await shown.refresh()
    assert counted.counts == 1
    assert registry.get_sample_value("smdp_orders", {"state": "released"}) == 1_000_000
    assert registry.get_sample_value("smdp_notifications", {"outcome": "pending"}) == 6
    counted.clock += timedelta(seconds=5)
    await shown.refresh()
    assert counted.counts == 2
    assert registry.get_sample_value("smdp_orders", {"state": "released"}) == 999_999

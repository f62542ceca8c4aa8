"""Downloads the eIM triggers, from our own SM-DP+ over ES9+: evidence from both sides, secrets gone at the end."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from eim.operation import OperationKind
from es9plus import messages
from es9plus.server import Es9Plus
from rsp import tlv
from rsp.identifiers import Eid
from simulator.ipa import Did, IpaOptions, Route
from simulator.misbehaviour import Misbehaviour
from smdp.policy import Policy
from tests.eim_stage import LEAD, SMDP, TARGET, TENANT, EimStage, SeenOperation, poll_request, put_on
from tests.protocol_stage import Clock, Material, Stage
from transport.functions import Interface, Limits
from transport.listening import Patience, listening
from transport.metrics import HttpMetrics
from transport.tls import server_context


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """An SM-DP+ and an eIM over one database."""

    smdp: Stage
    eim: EimStage

    async def trigger(self, eid: Eid, **more: str) -> tuple[str, str]:
        """A released order for the card and its trigger; answers ICCID and activation code."""
        ordered = await self.smdp.order(eid=eid)
        code = f"1${SMDP}${ordered.matching_id}"
        await self.eim.queue(eid, OperationKind.DOWNLOAD, activation_code=code, **more)
        return str(ordered.iccid), code


@pytest.fixture
async def both(database: str, material: Material, clock: Clock, policy: Policy) -> AsyncIterator[Both]:
    async with Stage.opened(database, material, clock, policy) as smdp:
        interface = Interface(
            name="es9plus",
            prefix=messages.PREFIX,
            limits=Limits(body_bytes=262_144, seconds=5.0),
            metrics=HttpMetrics(CollectorRegistry()),
        )
        routes = Es9Plus(smdp.downloads, smdp.cancellation, smdp.notifications).routes(interface)
        tls = server_context(material.pki.tls_certificate, material.pki.tls_key)
        patience = Patience(handshake_seconds=5, idle_seconds=5, stall_seconds=5, drain_seconds=1)
        async with (
            listening(interface.application(routes), ("127.0.0.1", 0), tls, patience) as port,
            EimStage.opened(database, material, clock, smdp_port=port) as eim,
        ):
            yield Both(smdp=smdp, eim=eim)


@pytest.mark.parametrize("route", [Route.DIRECT, Route.EIM, Route.NONE])
async def test_a_triggered_download_is_installed_and_both_sides_know(both: Both, route: Route) -> None:
    device = await both.eim.device(profiles=(), options=IpaOptions(notifications=route))
    eid = device.card.eid
    iccid, code = await both.trigger(eid)
    polled = await device.ipa.poll()
    await device.ipa.close()
    assert (polled.did, polled.delivered) == (Did.DOWNLOADED, True)
    outcomes = await both.eim.judge()
    assert outcomes[-1] == ("done", True)
    assert await both.eim.seen(eid) == [SeenOperation(kind="download", state="done", counter=None, code=0)]
    assert await both.eim.known(eid) == {iccid: False}
    assert device.states() == {str(LEAD): True, iccid: False}
    assert ("installed", True) in await both.smdp.judge()
    order = await both.smdp.tables.fetchval("SELECT state FROM orders WHERE iccid = $1", iccid)
    assert order == "installed"
    rows = await both.eim.tables.fetch("SELECT * FROM esim_operations")
    assert [row["activation_sealed"] for row in rows] == [None]
    assert code.encode() not in b"".join(bytes(str(tuple(row)), "utf-8") for row in rows)


async def test_the_trigger_is_the_same_at_every_poll_and_the_code_is_sealed_at_rest(both: Both) -> None:
    device = await both.eim.device(profiles=())
    eid = device.card.eid
    _, code = await both.trigger(eid)
    first = await both.eim.post(poll_request(eid))
    assert code.encode() in first[1]
    assert await both.eim.post(poll_request(eid)) == first
    row = await both.eim.tables.fetchrow("SELECT * FROM esim_operations")
    assert row["state"] == "sent"
    assert row["request"] is None
    assert code.encode() not in row["activation_sealed"]
    await device.ipa.close()


async def test_a_lost_report_is_sent_again_and_the_profile_is_on_the_card_once(both: Both) -> None:
    device = await both.eim.device(profiles=())
    eid = device.card.eid
    iccid, _ = await both.trigger(eid)
    device.losses.lose_requests("provideEimPackageResult", 2)
    assert (await device.ipa.poll()).delivered is False
    assert (await device.ipa.poll()).delivered is True
    await device.ipa.close()
    await both.eim.judge()
    assert await both.eim.seen(eid) == [SeenOperation(kind="download", state="done", counter=None, code=0)]
    assert device.states() == {str(LEAD): True, iccid: False}


async def test_an_unsigned_error_of_a_download_moves_nothing_and_makes_the_eim_ask_the_card(both: Both) -> None:
    device = await both.eim.device(profiles=())
    eid = device.card.eid
    await both.trigger(eid)
    _, answer = await both.eim.post(poll_request(eid))
    trigger = next(tlv.read_only(answer, 0xBF4F).children()).members()
    error = tlv.wrap(0xBF54, trigger[0x82].raw, tlv.wrap(0x30, tlv.wrap_integer(0x80, 127)))
    await both.eim.post(tlv.wrap(0xBF50, tlv.wrap(0x5A, eid.to_bytes()), error))
    assert await both.eim.judge() == [("unsigned-error", False)]
    assert await both.eim.seen(eid) == [
        SeenOperation(kind="download", state="sent", counter=None, code=None),
        SeenOperation(kind="list", state="queued", counter=None, code=None),
    ]
    await device.ipa.close()


async def test_an_installation_that_failed_on_the_card_is_the_end_of_the_operation(both: Both) -> None:
    device = await both.eim.device(profiles=())
    eid = device.card.eid
    await both.trigger(eid)
    device.card.misbehave = frozenset({Misbehaviour.FAIL_INSTALL_PE})
    await device.ipa.poll()
    await device.ipa.close()
    assert (await both.eim.judge())[-1] == ("failed", True)
    (seen,) = await both.eim.seen(eid)
    assert (seen.state, seen.code) == ("failed", 12)
    assert await both.eim.known(eid) == {}


async def test_the_result_of_an_earlier_download_does_not_end_a_later_one(both: Both) -> None:
    device = await both.eim.device(profiles=())
    eid = device.card.eid
    await both.trigger(eid)
    await device.ipa.poll()
    await both.eim.judge()
    kept = await both.eim.tables.fetchval("SELECT raw FROM eim_results ORDER BY id LIMIT 1")
    installation = tlv.read_only(kept, 0xBF50).members()[0xBF54].members()[0xBF37].raw
    await both.trigger(eid)
    _, answer = await both.eim.post(poll_request(eid))
    trigger = next(tlv.read_only(answer, 0xBF4F).children()).members()
    forged = tlv.wrap(0xBF54, trigger[0x82].raw, installation)
    await both.eim.post(tlv.wrap(0xBF50, tlv.wrap(0x5A, eid.to_bytes()), forged))
    assert (await both.eim.judge())[-1] == ("repeated", True)
    assert [one.state for one in await both.eim.seen(eid)] == ["done", "sent"]
    await device.ipa.close()


async def test_a_foreign_smdp_is_told_only_what_a_card_of_ours_has_signed(both: Both) -> None:
    device = await both.eim.device(profiles=(), options=IpaOptions(notifications=Route.NONE))
    await both.trigger(device.card.eid)
    await device.ipa.poll()
    await device.ipa.close()
    await both.eim.judge()
    raw = await both.eim.tables.fetchval("SELECT raw FROM eim_results ORDER BY id LIMIT 1")
    installation = tlv.read_only(raw, 0xBF50).members()[0xBF54].members()[0xBF37].raw
    assert await both.eim.tables.fetchval("SELECT count(*) FROM notifications WHERE raw = $1", installation) == 1
    stranger = installation.replace(SMDP.encode(), b"evil.example.com")
    await both.eim.post(tlv.wrap(0xBF3D, tlv.wrap(0xA0, stranger)))
    assert (await both.eim.judge())[-1] == ("unknown-card", False)
    await both.trigger(device.card.eid)
    _, answer = await both.eim.post(poll_request(device.card.eid))
    trigger = next(tlv.read_only(answer, 0xBF4F).children()).members()
    await both.eim.post(tlv.wrap(0xBF50, tlv.wrap(0xBF54, trigger[0x82].raw, stranger)))
    assert (await both.eim.judge())[-1] == ("bad-signature", False)
    assert await both.eim.tables.fetchval("SELECT count(*) FROM outbox WHERE tenant_id = $1", TENANT) == 0


async def test_the_signed_report_of_a_card_leaves_for_the_smdp_it_names(both: Both) -> None:
    device = await both.eim.device(profiles=(), options=IpaOptions(notifications=Route.EIM))
    asked = tlv.wrap(0x30, tlv.wrap(0x80, b"\x06\x40"), tlv.wrap(0x81, b"other.example.com"))
    put_on(device.card, TARGET, asked)
    await both.eim.queue(device.card.eid, OperationKind.ENABLE, iccid=TARGET)
    await device.ipa.poll()
    await device.ipa.close()
    assert await both.eim.judge() == [("done", True), ("reported", True)]
    (message,) = await both.eim.tables.fetch("SELECT * FROM outbox")
    assert (message["tenant_id"], message["kind"]) == (TENANT, "es9plus.handleNotification")
    assert json.loads(message["body"])["address"] == "other.example.com"
    notification = base64.b64decode(json.loads(message["body"])["pending_notification"])
    kept = await both.eim.tables.fetchval("SELECT raw FROM eim_results ORDER BY id DESC LIMIT 1")
    assert kept == tlv.wrap(0xBF3D, tlv.wrap(0xA0, notification))

"""What somebody else's SM-DP+ tells about downloads: kept before it is answered, believed about our orders alone."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.foreign_smdp import Trouble
from swap.ports import ProfileState
from tests.conformance import conforms
from tests.foreign_fixtures import Home, report
from tests.foreign_world import CARELESS, EID, OTHER, Open
from tests.protocol_stage import Material, Stage


@conforms(
    "SGP.22 5.3.5", "a report is kept before 204", function="handleDownloadProgressInfo", where="es2plus/receiving.py"
)
async def test_a_report_is_kept_and_makes_the_swap_due(opened: Open) -> None:
    world = await opened(**CARELESS)
    world.fill(1)
    iccid = await world.reserve()
    await world.release(iccid)
    assert await world.report(iccid, 3, eid=str(EID)) == 204
    assert (await world.state(iccid), world.home.woken) == (ProfileState.HANDED_OUT, [EID])
    assert await world.report(iccid, 4) == 204
    assert (await world.state(iccid), world.home.woken) == (ProfileState.INSTALLED, [EID, EID])
    # Late, and repeated: what was known stays.
    assert await world.report(iccid, 3) == 204
    assert await world.state(iccid) is ProfileState.INSTALLED


FAILED = {"status": "Failed", "statusCodeData": {"subjectCode": "8.8.5", "reasonCode": "6.4", "message": "Too many."}}
ODD = [
    ({"notificationPointId": "4"}, ProfileState.INSTALLED),
    ({"timestamp": 1795348800, "notificationPointId": "4"}, ProfileState.INSTALLED),
    ({"timestamp": "yesterday"}, ProfileState.INSTALLED),
    ({"unheard": {"of": []}}, ProfileState.INSTALLED),
    ({"notificationPointStatus": FAILED}, ProfileState.HANDED_OUT),
    ({"notificationPointId": 1, "notificationPointStatus": FAILED}, ProfileState.FAILED),
    ({"notificationPointId": 1}, ProfileState.RELEASED),
    ({"notificationPointId": 101}, ProfileState.RELEASED),
    # Of another card, or of an order before this one.
    ({"eid": str(OTHER)}, ProfileState.RELEASED),
    ({"timestamp": "2026-11-01T12:00:00Z"}, ProfileState.RELEASED),
]


@pytest.mark.parametrize(("members", "state"), ODD)
async def test_reports_are_read_with_patience_and_believed_only_about_this_order(
    opened: Open, members: dict[str, Any], state: ProfileState
) -> None:
    world = await opened(**CARELESS)
    world.fill(1)
    iccid = await world.reserve()
    await world.release(iccid)
    assert await report(world.home, world.abroad, iccid, 4, members={"eid": str(EID), **members}) == 204
    assert await world.state(iccid) is state


@pytest.mark.parametrize("body", [{"iccid": "x"}, {"iccid": None}, {"notificationPointId": "many"}, {"eid": "1"}])
async def test_a_report_that_cannot_be_read_is_answered_in_words(opened: Open, body: dict[str, Any]) -> None:
    world = await opened(**CARELESS)
    world.fill(1)
    iccid = await world.reserve()
    assert await report(world.home, world.abroad, iccid, 4, members=body) == 400
    assert world.home.woken == []


async def test_another_carriers_server_tells_nothing_about_this_order(
    opened: Open, home: Home, abroad: Material, stage: Stage
) -> None:
    world = await opened(**CARELESS)
    world.fill(1)
    iccid = await world.reserve()
    await world.release(iccid)
    # The certificate is registered with another carrier from now on.
    certificate = abroad.pki.tls_certificate.read_text()
    await stage.tables.execute("UPDATE carriers SET smdp_caller = NULL")
    await home.carrier(abroad, world.smdp.port, caller=certificate, name="another")
    assert await world.report(iccid, 4) == 204
    assert (await world.state(iccid), home.woken) == (ProfileState.RELEASED, [])


async def test_a_certificate_nobody_registered_may_not_report(opened: Open, stage: Stage) -> None:
    world = await opened(**CARELESS)
    world.fill(1)
    iccid = await world.reserve()
    await stage.tables.execute("UPDATE carriers SET smdp_caller = NULL, smdp_caller_certificate = ''")
    assert await world.report(iccid, 4) == 403
    assert await world.state(iccid) is ProfileState.RESERVED


async def test_a_server_without_the_vendors_function_is_asked_once(opened: Open) -> None:
    world = await opened(**CARELESS)
    world.fill(1)
    iccid = await world.reserve()
    peer = await world.home.foreign.profiles._peers.peer(world.stock.peer_id)
    for _ in range(3):
        await world.state(iccid)
    assert not peer.readable


async def test_a_server_that_is_away_leaves_the_state_as_it_was_known(opened: Open) -> None:
    world = await opened()
    world.fill(1)
    iccid = await world.reserve()
    await world.release(iccid)
    world.smdp.fail_next("getProfileStatus", Trouble.DROP_BEFORE, Trouble.ERROR_AFTER, Trouble.GARBLED)
    for _ in range(3):
        assert await world.state(iccid) is ProfileState.RELEASED

"""Processes killed at the writes of recoverProfile, of a deletion that frees a profile, of an order that expires."""

from __future__ import annotations

import asyncio

import pytest
from crash_proxy import Fault, Point
from crash_world import OPERATOR, Job, World

from rsp import tlv
from rsp.status import Status
from simulator.lpa_messages import CancelReason
from simulator.operator import FinalStatus

pytest_plugins = ["crash_stage"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

_ANY_LOSS = [Fault.KILL_BEFORE, Fault.KILL_AFTER, Fault.DROP_BEFORE, Fault.DROP_AFTER]
_RECOVERED = [
    Point("recoverProfile", write) for write in ("INSERT INTO es2_calls", "UPDATE orders", "UPDATE es2_calls", "COMMIT")
]
_RETURNED = "INSERT INTO outbox, UPDATE notifications, UPDATE orders, UPDATE profiles"
"""The one statement by which a verified deletion ends its order and frees its profile."""
_EXPIRED = "INSERT INTO outbox, UPDATE orders"
"""The one by which an order ends that was not downloaded in time."""


async def rejected(scene: World) -> Job:
    """An order whose device has cancelled for good, as a common LPA does whatever went wrong."""
    job = await scene.job()
    await scene.order(job)
    initiated = await job.lpa.initiate_authentication(scene.server.name)
    await job.lpa.authenticate_client(initiated, job.matching_id)
    await job.lpa.cancel_session(scene.server.name, initiated.transaction_id, CancelReason.END_USER_REJECTION)
    await scene.refuse(job, Status.NOT_RELEASED)
    await scene.settled(job, 2)
    return job


@pytest.mark.parametrize("fault", _ANY_LOSS, ids=lambda fault: fault.value)
@pytest.mark.parametrize("point", _RECOVERED, ids=str)
async def test_recovery_lost_at_a_write_is_repeated_and_made_once(scene: World, point: Point, fault: Fault) -> None:
    job = await rejected(scene)
    assert scene.operator is not None
    scene.proxy.arm(point, fault)
    await scene.operator.recover_profile(job.iccid, "Released", call_id=f"recover-{job.iccid}")
    assert scene.proxy.fired.is_set()
    assert scene.wire.attempts["recoverProfile"] > 1
    (order,) = await scene.rows("orders", "iccid", str(job.iccid))
    found = (order["state"], order["matching_id"], order["download_attempts"], order["euicc_otpk"])
    assert found == ("released", job.matching_id, 0, None)
    assert order["key_sealed"] is not None
    await scene.install(job)
    await scene.settled(job, 5)
    (order,) = await scene.rows("orders", "iccid", str(job.iccid))
    assert (order["state"], order["download_attempts"], order["key_sealed"]) == ("installed", 1, None)
    assert scene.points(job) == [1, 3, 1, 3, 4]


async def replaced(scene: World, worker: int) -> None:
    """Return when another worker runs than the killed one, and nothing is left of what that had claimed."""

    async def satisfied() -> bool:
        return scene.server.state.processes.get("worker-0", worker) != worker

    await scene.proxy.until(satisfied)
    await scene.end_leases()


@pytest.mark.parametrize("fault", _ANY_LOSS, ids=lambda fault: fault.value)
async def test_deletion_lost_at_its_write_frees_the_profile_once(scene: World, fault: Fault) -> None:
    await scene.database.execute(
        "UPDATE tenants SET after_deletion = 'stock', notification_points = 'deleted=5' WHERE name = $1", OPERATOR
    )
    try:
        job = await scene.job()
        await scene.order(job)
        await scene.install(job)
        await scene.settled(job)
        worker = scene.server.state.processes["worker-0"]
        scene.proxy.arm(Point("worker", _RETURNED), fault)
        assert job.card.delete_profile(tlv.wrap(0xBF33, tlv.wrap(0x5A, job.iccid.to_bytes())))
        await job.lpa.send_notifications()
        await asyncio.wait_for(scene.proxy.fired.wait(), 30)
        if fault.kills:
            await replaced(scene, worker)
        await scene.end_leases()
        await scene.settled(job, 4)
        (order,) = await scene.rows("orders", "iccid", str(job.iccid))
        (profile,) = await scene.rows("profiles", "iccid", str(job.iccid))
        assert (order["state"], order["key_sealed"], profile["state"]) == ("deleted", None, "available")
        kept = await scene.rows("notifications", "iccid", str(job.iccid))
        assert sorted(one["outcome"] for one in kept) == ["deleted", "installed"]
        assert scene.points(job)[:3] == [1, 3, 4]
        assert set(scene.points(job)[3:]) == {5}
        assert len(set(scene.bodies(job))) == 4
    finally:
        await scene.database.execute("UPDATE tenants SET after_deletion = 'retire', notification_points = ''")


@pytest.mark.parametrize("fault", _ANY_LOSS, ids=lambda fault: fault.value)
async def test_expiry_lost_at_its_write_ends_the_order_once_and_is_told_once(scene: World, fault: Fault) -> None:
    job = await scene.job()
    await scene.order(job)
    await scene.all_connected()
    await scene.idle()
    await scene.database.execute(
        "UPDATE orders SET expires_at = now() - interval '1 second' WHERE iccid = $1", str(job.iccid)
    )
    scene.proxy.arm(Point("worker", _EXPIRED), fault)
    scene.kill("worker")  # a worker that begins looks at once
    await asyncio.wait_for(scene.proxy.fired.wait(), 60)
    if not fault.is_after:
        scene.kill("worker")  # instead of waiting for its next look
    await scene.all_connected()
    await scene.end_leases()
    await scene.settled(job, 1)
    (order,) = await scene.rows("orders", "iccid", str(job.iccid))
    assert (order["state"], order["key_sealed"] is not None) == ("error", True)
    assert len(set(scene.bodies(job))) == 1
    assert set(scene.points(job)) == {1}
    assert scene.operator is not None
    await scene.operator.cancel_order(job.iccid, FinalStatus.AVAILABLE, call_id=f"cancel-{job.iccid}")
    (profile,) = await scene.rows("profiles", "iccid", str(job.iccid))
    assert profile["state"] == "available"

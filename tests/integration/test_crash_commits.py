"""A process is killed, or its database connection cut, at every write of a whole job: the job ends installed, once."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from crash_proxy import Fault, Point
from crash_world import STEP, Expected, Job, World

pytest_plugins = ["crash_stage"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

_REQUESTED = [
    *(Point("downloadOrder", write) for write in (
        "INSERT INTO es2_calls", "UPDATE profiles", "INSERT INTO orders", "UPDATE es2_calls", "COMMIT",
    )),
    *(Point("confirmOrder", write) for write in (
        "INSERT INTO es2_calls", "UPDATE orders", "UPDATE es2_calls", "COMMIT",
    )),
    Point("initiateAuthentication", "INSERT INTO sessions"),
    Point("authenticateClient", STEP),
    Point("getBoundProfilePackage", STEP),
    Point("handleNotification", "INSERT INTO notifications"),
]  # fmt: skip
"""Every write of an ordinary job that a request waits for, in order."""

_CLAIMED = [
    Point("worker", "claim: UPDATE notifications"),
    *(Point("worker", "claim: UPDATE outbox", n) for n in (1, 2, 3)),
]
_JUDGED = [Point("worker", "INSERT INTO outbox, UPDATE notifications, UPDATE orders, UPDATE sessions")]
_SENT = [Point("worker", "UPDATE outbox", n) for n in (1, 2, 3)]
_BEHIND = [*_CLAIMED, *_JUDGED, *_SENT]
"""Every write the worker makes for an ordinary job."""

_LOST_BEFORE, _LOST_AFTER = (Fault.KILL_BEFORE, Fault.DROP_BEFORE), (Fault.KILL_AFTER, Fault.DROP_AFTER)


async def _run(scene: World, job: Job) -> None:
    await scene.order(job)
    await scene.install(job)


async def test_the_writes_of_a_job_are_the_ones_these_tests_go_through(scene: World) -> None:
    job = await scene.job()
    scene.proxy.arm()
    await _run(scene, job)
    await scene.settled(job)
    assert [point for point in scene.proxy.writes if point.step != "worker"] == _REQUESTED
    assert Counter(point for point in scene.proxy.writes if point.step == "worker") == Counter(_BEHIND)
    await scene.assert_installed(job)


@pytest.mark.parametrize("fault", [*_LOST_BEFORE, *_LOST_AFTER], ids=lambda fault: fault.value)
@pytest.mark.parametrize("point", _REQUESTED, ids=str)
async def test_request_lost_at_a_write_is_repeated_and_counts_once(scene: World, point: Point, fault: Fault) -> None:
    job = await scene.job()
    unowned = await scene.unowned_sessions()
    scene.proxy.arm(point, fault)
    await _run(scene, job)
    assert scene.proxy.fired.is_set()
    assert scene.wire.attempts[point.step] > 1
    assert fault.kills or 2.0 in scene.wire.pauses, "503 names Retry-After"
    is_kept = fault.is_after
    await scene.assert_installed(job, Expected(duplicates=is_kept and point.step == "handleNotification"))
    lost = is_kept and point.step == "initiateAuthentication"
    assert await scene.unowned_sessions() == unowned + lost


@pytest.mark.parametrize(
    ("point", "fault"),
    [(point, fault) for point in _BEHIND for fault in (*_LOST_BEFORE, *_LOST_AFTER)
     if fault.is_after or point not in _CLAIMED],
    ids=lambda value: value.value if isinstance(value, Fault) else str(value),
)  # fmt: skip
async def test_worker_lost_at_a_write_does_its_work_again_with_the_same_bytes(
    scene: World, point: Point, fault: Fault
) -> None:
    job = await scene.job()
    scene.proxy.arm(point, fault)
    await _run(scene, job)
    await asyncio.wait_for(scene.proxy.fired.wait(), 30)
    # A worker that lives on knows what it has delivered, and says so again; only a killed one leaves its lease behind.
    remembers = point in _SENT and not fault.kills
    if not remembers:
        await scene.end_leases()
    is_sent_again = point in _SENT and fault is Fault.KILL_BEFORE
    in_flight = fault.kills and point in (_CLAIMED[0], *_JUDGED)
    expected = Expected(repeats={point.nth - 1: 1} if is_sent_again else {}, in_flight=in_flight)
    await scene.assert_installed(job, expected)

"""Processes killed between the steps of a job, refusals whose answer is lost, and an operator that answers badly."""

from __future__ import annotations

from dataclasses import replace

import pytest
from crash_proxy import Fault, Point
from crash_world import CONFIRMATION_CODE, REFUSAL, STEP, WRONG_CODE, Expected, World

from rsp.identifiers import MatchingId
from rsp.status import Status
from simulator.lpa_messages import CancelReason
from simulator.operator import FinalStatus
from simulator.operator_callbacks import Trouble

pytest_plugins = ["crash_stage"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

_FUNCTIONS = (
    "downloadOrder",
    "confirmOrder",
    "initiateAuthentication",
    "authenticateClient",
    "getBoundProfilePackage",
    "handleNotification",
)
_ANY_LOSS = [Fault.KILL_BEFORE, Fault.KILL_AFTER, Fault.DROP_BEFORE, Fault.DROP_AFTER]
_ANSWER_LOST = [Fault.KILL_AFTER, Fault.DROP_AFTER]


def _named(fault: Fault) -> str:
    return fault.value


@pytest.mark.parametrize("function", _FUNCTIONS)
async def test_all_http_processes_killed_before_a_request(scene: World, function: str) -> None:
    job = await scene.job()
    scene.kill_before, scene.victims = frozenset({function}), "http"
    await scene.order(job)
    await scene.install(job)
    assert scene.wire.attempts[function] > 1
    await scene.assert_installed(job)


async def test_every_process_killed_before_every_request(scene: World) -> None:
    job = await scene.job()
    scene.kill_before, scene.victims = frozenset(_FUNCTIONS), ""
    await scene.order(job)
    await scene.install(job)
    assert all(scene.wire.attempts[function] > 1 for function in _FUNCTIONS)
    scene.kill_before = frozenset()
    await scene.assert_installed(job)


@pytest.mark.parametrize("fault", _ANY_LOSS, ids=_named)
async def test_wrong_confirmation_code_whose_answer_is_lost_counts_once(scene: World, fault: Fault) -> None:
    job = await scene.job(CONFIRMATION_CODE)
    await scene.order(job)
    scene.proxy.arm(Point("getBoundProfilePackage", STEP), fault)
    await scene.refuse(job, Status.CONFIRMATION_CODE_REFUSED, WRONG_CODE)
    assert scene.proxy.fired.is_set()
    assert scene.wire.attempts["getBoundProfilePackage"] > 1
    await scene.install(job)
    expected = Expected(points=(1, 2, 1, 3, 4), sessions=2, download_attempts=2, confirmation_attempts=1)
    await scene.assert_installed(job, expected)


@pytest.mark.parametrize("fault", _ANSWER_LOST, ids=_named)
async def test_last_wrong_code_whose_answer_is_lost_ends_the_order_with_its_own_status(
    scene: World, fault: Fault
) -> None:
    job = await scene.job(CONFIRMATION_CODE)
    await scene.order(job)
    for _ in range(2):
        await scene.refuse(job, Status.CONFIRMATION_CODE_REFUSED, WRONG_CODE)
    scene.proxy.arm(Point("getBoundProfilePackage", STEP), fault)
    await scene.refuse(job, Status.CONFIRMATION_CODE_RETRIES_EXCEEDED, WRONG_CODE)
    assert scene.proxy.fired.is_set()
    await scene.settled(job, 6)
    (order,) = await scene.rows("orders", "iccid", str(job.iccid))
    assert (order["state"], order["confirmation_attempts"]) == ("error", 3)
    assert scene.points(job) == [1, 2, 1, 2, 1, 2]
    assert job.card.profiles == ()


@pytest.mark.parametrize("fault", _ANY_LOSS, ids=_named)
async def test_refusal_whose_answer_is_lost_is_repeated_with_its_code(scene: World, fault: Fault) -> None:
    job = await scene.job()
    await scene.order(job)
    assert job.activation_code is not None
    right = job.activation_code
    job.activation_code = replace(right, matching_id=MatchingId("NO-SUCH-TOKEN"))
    scene.proxy.arm(Point("authenticateClient", REFUSAL), fault)
    await scene.refuse(job, Status.MATCHING_ID_REFUSED)
    assert scene.proxy.fired.is_set()
    assert scene.wire.attempts["authenticateClient"] > 1
    job.activation_code = right
    await scene.install(job)
    await scene.assert_installed(job)


@pytest.mark.parametrize("fault", _ANSWER_LOST, ids=_named)
async def test_cancelled_order_whose_answer_is_lost_is_cancelled_once(scene: World, fault: Fault) -> None:
    job = await scene.job()
    await scene.order(job)
    assert scene.operator is not None
    scene.proxy.arm(Point("cancelOrder", "COMMIT"), fault)
    await scene.operator.cancel_order(
        job.iccid, FinalStatus.AVAILABLE, matching_id=job.matching_id, call_id=f"cancel-{job.iccid}"
    )
    assert scene.proxy.fired.is_set()
    (order,) = await scene.rows("orders", "iccid", str(job.iccid))
    (profile,) = await scene.rows("profiles", "iccid", str(job.iccid))
    assert (order["state"], order["key_sealed"], profile["state"]) == ("cancelled", None, "available")
    await scene.refuse(job, Status.MATCHING_ID_REFUSED)


@pytest.mark.parametrize("fault", _ANSWER_LOST, ids=_named)
async def test_release_whose_answer_is_lost_is_made_once(scene: World, fault: Fault) -> None:
    job = await scene.job()
    job.released_at_once = False
    await scene.order(job)
    await scene.refuse(job, Status.NOT_RELEASED)
    assert scene.operator is not None
    scene.proxy.arm(Point("releaseProfile", "COMMIT"), fault)
    await scene.operator.release_profile(job.iccid, call_id=f"release-{job.iccid}")
    assert scene.proxy.fired.is_set()
    await scene.install(job)
    await scene.assert_installed(job)


@pytest.mark.parametrize("fault", _ANY_LOSS, ids=_named)
async def test_cancelled_session_whose_answer_is_lost_ends_its_order_once(scene: World, fault: Fault) -> None:
    job = await scene.job()
    await scene.order(job)
    initiated = await job.lpa.initiate_authentication(scene.server.name)
    await job.lpa.authenticate_client(initiated, job.matching_id)
    scene.proxy.arm(Point("cancelSession", STEP), fault)
    await job.lpa.cancel_session(scene.server.name, initiated.transaction_id, CancelReason.END_USER_REJECTION)
    assert scene.proxy.fired.is_set()
    await scene.settled(job, 2)
    (order,) = await scene.rows("orders", "iccid", str(job.iccid))
    (session,) = await scene.rows("sessions", "order_id", order["id"])
    assert (order["state"], session["state"]) == ("error", "ended")
    assert scene.points(job) == [1, 3]


async def test_worker_killed_while_the_operator_answers_sends_the_same_bytes_again(scene: World) -> None:
    job = await scene.job()
    await scene.all_connected()
    scene.callbacks.fail_next(Trouble.SLOW)
    arrived = len(scene.callbacks.attempts) + 1
    await scene.order(job)
    await scene.install(job)
    await scene.callbacks.wait_for_attempts(arrived, within=30)
    scene.kill("worker")
    scene.callbacks.resume()
    await scene.end_leases()
    await scene.assert_installed(job, Expected(repeats={0: 1}))


@pytest.mark.parametrize("trouble", [Trouble.SERVER_ERROR, Trouble.DROP])
async def test_operator_that_fails_gets_the_same_bytes_again_and_the_rest_in_order(
    scene: World, trouble: Trouble
) -> None:
    job = await scene.job()
    scene.callbacks.fail_next(trouble, times=3)
    await scene.order(job)
    await scene.install(job)
    await scene.assert_installed(job, Expected(repeats={0: 3}))


async def test_slow_operator_is_told_everything_in_order(scene: World) -> None:
    job = await scene.job()
    scene.callbacks.fail_next(Trouble.SLOW)
    arrived = len(scene.callbacks.attempts) + 1
    await scene.order(job)
    await scene.install(job)
    await scene.callbacks.wait_for_attempts(arrived, within=30)
    assert scene.points(job) == [1]
    scene.callbacks.resume()
    await scene.assert_installed(job)

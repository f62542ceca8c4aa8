"""The server's processes are killed at every write of a swap: it ends as if they had not been, nothing is done twice.

Before a write is the same place as after the one before it, unless something outside has happened between the two: so
every write is died after, and those that record what a carrier's platform has done are died before as well.
"""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from crash_proxy import Fault, Point
from swap_facts import BACK, FORWARD, assert_completed, assert_rolled_back
from swap_proxy import REPORTS
from swap_world import Job, SwapWorld

pytest_plugins = ["swap_scene"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


_BEGUN = "claim: INSERT INTO swap_steps, UPDATE swaps"
_DONE = "COMMIT INSERT INTO swap_events, UPDATE swap_steps, UPDATE swaps"
_CLOSED = "COMMIT INSERT INTO swap_actions, INSERT INTO swap_events, UPDATE swap_steps, UPDATE swaps"
_WAITS, _WAITS_ON = "COMMIT INSERT INTO swap_events, UPDATE swaps", "COMMIT UPDATE swaps"
_ON_CARD = ("INSERT INTO esim_operations", _WAITS)
_WORK: dict[str, tuple[str, ...]] = {
    "reserve_profile": ("COMMIT INSERT INTO es2_calls, INSERT INTO orders, UPDATE es2_calls, UPDATE profiles",),
    "prepare_profile": ("COMMIT INSERT INTO es2_calls, UPDATE es2_calls, UPDATE orders",),
    "download_profile": _ON_CARD,
    "confirm_on_card": _ON_CARD,
    "enable_profile": _ON_CARD,
    "delete_on_card": _ON_CARD,
    "return_profile": ("COMMIT INSERT INTO es2_calls, UPDATE es2_calls, UPDATE orders, UPDATE profiles",),
}
"""What steps write between their beginning and their outcome."""
_PLATFORM = ("allocate_sim", "verify_line", "commit_billing", "close")
"""Steps that reach the carrier's platform: their outcome is written after something outside has happened."""
_LINE = "INSERT INTO platform_lines, UPDATE SET"
_CALLS = {"allocate_sim": 3, "verify_line": 1, "commit_billing": 3, "close": 1, "release_sim": 3}
"""How many calls a step makes at least: to each belong a write that takes the turn, and one that gives it up."""


def _writes(step: str) -> list[Point]:
    """The writes of a step, each kind of them once."""
    outcome = (_CLOSED,) if step == "close" else (_DONE,)
    calls = [Point(step, _LINE, nth + 1) for nth in range(2 * _CALLS.get(step, 0))]
    return [Point(step, _BEGUN), *calls, *(Point(step, write) for write in (*_WORK.get(step, ()), *outcome))]


_FORWARD = list(itertools.chain(*map(_writes, FORWARD)))
_BACK = list(itertools.chain(*map(_writes, BACK)))
_CONTENT = "DELETE FROM esim_profiles, INSERT INTO esim_profiles, UPDATE SET"
_JUDGED = "UPDATE eim_results, UPDATE swaps, UPDATE esim_operations, UPDATE esims"
_REPORTED = [
    *(Point(REPORTS, f"claim: UPDATE {queue}") for queue in ("eim_results", "notifications")),
    Point(REPORTS, f"COMMIT {_CONTENT}, INSERT INTO notifications, {_JUDGED}"),
    *(Point(REPORTS, f"COMMIT {_CONTENT}, {_JUDGED}", nth) for nth in (1, 2)),
    Point(REPORTS, "INSERT INTO outbox, UPDATE notifications, UPDATE orders, UPDATE sessions"),
    Point(REPORTS, "INSERT INTO outbox, UPDATE notifications, UPDATE orders"),
    Point(REPORTS, "UPDATE notifications"),
]
"""What the worker writes when it judges what the device has reported; callbacks have tests of their own."""
_WOKEN = Point(REPORTS, "UPDATE swaps")
"""What it writes after judging notifications, unless it dies before."""

_ORDER, _POLL, _RESULT = "POST /v1/swaps", "getEimPackage", "provideEimPackageResult"
_NUMBERED, _SENT, _SEEN = "UPDATE esim_operations, UPDATE esims", "UPDATE esim_operations", "UPDATE esim_contacts"
_MOVED = "INSERT INTO outbox, UPDATE orders, UPDATE sessions"
_REQUESTED = {
    "order": [
        Point(_ORDER, "INSERT INTO api_requests, UPDATE SET"),
        Point(_ORDER, _LINE, 1),
        Point(_ORDER, _LINE, 2),
        Point(_ORDER, "COMMIT INSERT INTO swap_events, INSERT INTO swaps"),
        Point(_ORDER, "INSERT INTO audit"),
        Point(_ORDER, "UPDATE api_requests"),
    ],
    "polls": [
        *(Point(_POLL, _SEEN, nth) for nth in (1, 2, 3)),
        *(Point(_POLL, _NUMBERED, nth) for nth in (1, 2)),
        *(Point(_POLL, _SENT, nth) for nth in (1, 2, 3)),
    ],
    "download": [
        Point("initiateAuthentication", "INSERT INTO sessions"),
        Point("authenticateClient", _MOVED),
        Point("getBoundProfilePackage", _MOVED),
        *(Point("handleNotification", "INSERT INTO notifications", nth) for nth in (1, 2)),
    ],
    "results": [Point(_RESULT, "INSERT INTO eim_results", nth) for nth in (1, 2, 3)],
}
"""The writes that requests of API, ESipa and ES9+ wait for."""


async def _run(scene: SwapWorld, job: Job) -> None:
    await scene.order(job)
    await scene.carry(job)


async def test_the_writes_of_a_swap_are_the_ones_these_tests_go_through(scene: SwapWorld) -> None:
    job = await scene.job()
    await _run(scene, job)
    writes = scene.proxy.writes
    requested = [point for point in writes if point.step in _FUNCTIONS]
    assert Counter(requested) == Counter(itertools.chain(*_REQUESTED.values()))
    assert _first(writes) == _once(_FORWARD)
    assert set(_FORWARD) <= set(writes)
    reported = {point.write for point in writes if point.step == REPORTS and not point.write.endswith("UPDATE outbox")}
    assert reported == {point.write for point in (*_REPORTED, _WOKEN)}
    await assert_completed(scene, job)


async def test_the_writes_of_a_rollback_are_the_ones_these_tests_go_through(scene: SwapWorld) -> None:
    job = await scene.job(attaches=False)
    await _run(scene, job)
    writes = scene.proxy.writes
    assert {point for point in _first(writes) if point.step in BACK} == _once(_BACK)
    assert set(_BACK) <= set(writes)
    await assert_rolled_back(scene, job)


def _first(writes: list[Point]) -> set[Point]:
    """The first write of each kind in each step: how often a step waits for the device is left to chance."""
    own = [point for point in writes if point.step not in _FUNCTIONS and point.step != REPORTS]
    return {point for point in own if point.nth == 1 and point.write != _WAITS_ON}


def _once(points: list[Point]) -> set[Point]:
    return {point for point in points if point.nth == 1}


_FUNCTIONS = {point.step for points in _REQUESTED.values() for point in points}


@pytest.mark.parametrize("step", FORWARD)
async def test_worker_killed_after_every_write_of_a_step(scene: SwapWorld, step: str) -> None:
    await _completes(scene, [point for point in _FORWARD if point.step == step], Fault.KILL_AFTER)


@pytest.mark.parametrize("step", _PLATFORM)
async def test_worker_killed_before_it_writes_what_the_platform_has_done(scene: SwapWorld, step: str) -> None:
    await _completes(scene, [Point(step, _CLOSED if step == "close" else _DONE)], Fault.KILL_BEFORE)


async def test_all_processes_killed_at_once_at_the_outcome_of_every_step(scene: SwapWorld) -> None:
    job = await scene.job()
    points = [Point(step, _CLOSED if step == "close" else _DONE) for step in FORWARD]
    scene.proxy.arm_all(points, Fault.KILL_BEFORE)
    scene.proxy.kills_all = True
    await _run(scene, job)
    assert set(scene.proxy.struck) == set(points)
    await assert_completed(scene, job)


async def test_worker_killed_after_every_judgement(scene: SwapWorld) -> None:
    await _completes(scene, _REPORTED, Fault.KILL_AFTER)


async def test_worker_killed_after_waking_the_swap_of_a_card(scene: SwapWorld) -> None:
    await _completes(scene, [_WOKEN], Fault.KILL_AFTER)


@pytest.mark.parametrize("requests", list(_REQUESTED))
async def test_http_process_killed_after_every_write_of_a_request(scene: SwapWorld, requests: str) -> None:
    await _completes(scene, _REQUESTED[requests], Fault.KILL_AFTER)


async def _completes(scene: SwapWorld, points: list[Point], fault: Fault) -> None:
    job = await scene.job()
    scene.proxy.arm_all(points, fault)
    await _run(scene, job)
    assert scene.proxy.left() == []
    assert set(scene.proxy.struck) == set(points)
    await assert_completed(scene, job)


@pytest.mark.parametrize("step", BACK)
async def test_worker_killed_after_every_write_of_a_step_back(scene: SwapWorld, step: str) -> None:
    points = [point for point in _BACK if point.step == step]
    job = await scene.job(attaches=False)
    scene.proxy.arm_all(points, Fault.KILL_AFTER)
    await _run(scene, job)
    assert scene.proxy.left() == []
    await assert_rolled_back(scene, job)


async def test_worker_killed_before_it_writes_that_the_sim_went_back(scene: SwapWorld) -> None:
    job = await scene.job(attaches=False)
    scene.proxy.arm_all([Point("release_sim", _DONE)], Fault.KILL_BEFORE)
    await _run(scene, job)
    assert scene.proxy.left() == []
    await assert_rolled_back(scene, job)

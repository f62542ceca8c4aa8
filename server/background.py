"""The worker process: judges notifications, sends callbacks, compares events, watches gauges, removes what is old."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from crypto.vault import VaultUnavailable
from rsp.errors import Unavailable
from server import logs
from server.answering import operations
from server.eim_wiring import Eim
from server.hints import Bell, Bells, Queue
from server.wiring import Services
from swap.saga import Saga
from transport.functions import Gate

_log = logs.get("server.background")

_BATCH = 64
_LEASE_SECONDS = 30.0
_IDLE_SECONDS = 0.5
"""Between looks for what no hint has told."""
_IDLE_CALLBACKS_SECONDS = 0.25
"""Callbacks about downloads under way are told by no hint, and their pauses between tries end by themselves."""
_GAUGE_SECONDS = 5.0
_EXPIRY_SECONDS = 5.0
_ORDER_EXPIRY_SECONDS = 30.0
_RETENTION_SECONDS = 600.0
_EVENTS_SECONDS = 30.0
_EVENTS_AT_ONCE = 16
_SURPLUS_SECONDS = 60.0
_AWAY_SECONDS = 1.0
_SWAPS_AT_ONCE = 4
_SWAP_LEASE_SECONDS = 180.0
"""Longer than any call to a platform takes, its pauses included."""

Step = Callable[[], Awaitable[int]]
"""Does what is due and says how much that was."""


async def work(services: Services, bells: Bells, stop: asyncio.Event) -> None:
    """Run every job until `stop`; each finishes what it has in hand. `bells` tell of work before the next look."""
    gate = Gate()
    gauges = services.watch()

    queues: list[tuple[str, Queue, Step, float]] = [
        ("notifications", Queue.NOTIFICATIONS, _judging(services.notifications.judge_pending), _IDLE_SECONDS),
        ("callbacks", Queue.CALLBACKS, services.sender.send_due, _IDLE_CALLBACKS_SECONDS),
    ]
    timed: list[tuple[str, Step, float]] = [
        ("retention", services.retire, _RETENTION_SECONDS),
        ("order expiry", partial(services.expiry.expire_due, _BATCH), _ORDER_EXPIRY_SECONDS),
        ("events", partial(services.events.reconcile, _EVENTS_AT_ONCE), _EVENTS_SECONDS),
        ("gauges", gauges.refresh, _GAUGE_SECONDS),
    ]
    if services.eim is not None:
        queues.append(("eim results", Queue.RESULTS, _judging(services.eim.results.judge_pending), _IDLE_SECONDS))
        timed += _eim_jobs(services.eim)
    if services.swaps is not None:
        timed.append(("surplus profiles", services.foreign.profiles.return_surplus, _SURPLUS_SECONDS))
        runners = [_swap_job(services.swaps.saga()) for _ in range(_SWAPS_AT_ONCE)]
        queues += [("swaps", Queue.SWAPS, runner, _IDLE_SECONDS) for runner in runners]
    async with operations(services, gate), asyncio.TaskGroup() as jobs:
        for name, queue, step, idle_seconds in queues:
            jobs.create_task(_repeat(name, step, idle_seconds, stop, bells.bell(queue)))
        for name, step, idle_seconds in timed:
            jobs.create_task(_repeat(name, step, idle_seconds, stop))
        await stop.wait()
        bells.all()
        gate.open = False
    await services.sender.finish()


def _judging(judge_pending: Callable[[int, float], Awaitable[int]]) -> Step:
    """Judge what devices handed in."""

    async def judge() -> int:
        judged = await judge_pending(_BATCH, _LEASE_SECONDS)
        # Fewer than asked for were all there are: another look would only stand in the way of what waits for these.
        return judged if judged == _BATCH else 0

    return judge


def _eim_jobs(eim: Eim) -> list[tuple[str, Step, float]]:
    """What the eIM does at times: end what nobody fetched, drop what nobody could verify."""
    return [
        ("eim expiry", eim.packages.expire_due, _EXPIRY_SECONDS),
        ("eim retention", eim.results.forget_unverified, _RETENTION_SECONDS),
    ]


def _swap_job(saga: Saga) -> Step:
    """One runner: one swap at a time, so that a slow platform holds up nothing but its own swap."""

    async def run() -> int:
        return await saga.run_due(1, _SWAP_LEASE_SECONDS)

    return run


async def _repeat(name: str, step: Step, idle_seconds: float, stop: asyncio.Event, bell: Bell | None = None) -> None:
    """Do `step` again and again, at once while there is work, else after a pause; `bell` ends a pause for want of work.

    What is told while the step runs is looked for again.
    """
    while not stop.is_set():
        try:
            if not await step() and not stop.is_set():
                await (bell.wait(idle_seconds) if bell else _wait(stop, idle_seconds))
        except* (Unavailable, VaultUnavailable) as away:
            _log.warning("away", job=name, why=type(away.exceptions[0]).__name__)
            await _wait(stop, _AWAY_SECONDS)
        except* Exception as failed:  # noqa: BLE001 -- a job that fails must not take the others down
            _log.error("job failed", job=name, exc_info=failed.exceptions[0])
            await _wait(stop, _AWAY_SECONDS)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return

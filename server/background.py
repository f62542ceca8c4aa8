"""The worker process: judges notifications, sends callbacks, watches gauges, removes what is past its time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from crypto.vault import VaultUnavailable
from rsp.errors import Unavailable
from server import logs
from server.answering import operations
from server.eim_wiring import Eim
from server.wiring import Services
from swap.saga import Saga
from transport.functions import Gate

_log = logs.get("server.background")

_BATCH = 64
_LEASE_SECONDS = 30.0
_IDLE_SECONDS = 0.1
_GAUGE_SECONDS = 5.0
_EXPIRY_SECONDS = 5.0
_RETENTION_SECONDS = 600.0
_AWAY_SECONDS = 1.0
_SWAPS_AT_ONCE = 4
_SWAP_LEASE_SECONDS = 180.0
"""Longer than any call to a platform takes, its pauses included."""

Step = Callable[[], Awaitable[int]]
"""Does what is due and says how much that was."""


async def work(services: Services, stop: asyncio.Event) -> None:
    """Run every job until `stop`; each finishes what it has in hand."""
    gate = Gate()
    gauges = services.watch()

    async def judge() -> int:
        return await services.notifications.judge_pending(_BATCH, _LEASE_SECONDS)

    async with operations(services, gate), asyncio.TaskGroup() as jobs:
        jobs.create_task(_repeat("notifications", judge, _IDLE_SECONDS, stop))
        jobs.create_task(_repeat("callbacks", services.sender.send_due, _IDLE_SECONDS, stop))
        if services.eim is not None:
            for name, step, idle_seconds in _eim_jobs(services.eim):
                jobs.create_task(_repeat(name, step, idle_seconds, stop))
        if services.swaps is not None:
            for saga in [services.swaps.saga() for _ in range(_SWAPS_AT_ONCE)]:
                jobs.create_task(_repeat("swaps", _swap_job(saga), _IDLE_SECONDS, stop))
        jobs.create_task(_repeat("retention", services.retire, _RETENTION_SECONDS, stop))
        jobs.create_task(_repeat("gauges", gauges.refresh, _GAUGE_SECONDS, stop))
        await stop.wait()
        gate.open = False
    await services.sender.finish()


def _eim_jobs(eim: Eim) -> tuple[tuple[str, Step, float], ...]:
    """The eIM's work: judge what devices handed in, end what nobody fetched, drop what nobody could verify."""

    async def judge() -> int:
        return await eim.results.judge_pending(_BATCH, _LEASE_SECONDS)

    return (
        ("eim results", judge, _IDLE_SECONDS),
        ("eim expiry", eim.packages.expire_due, _EXPIRY_SECONDS),
        ("eim retention", eim.results.forget_unverified, _RETENTION_SECONDS),
    )


def _swap_job(saga: Saga) -> Step:
    """One runner: one swap at a time, so that a slow platform holds up nothing but its own swap."""

    async def run() -> int:
        return await saga.run_due(1, _SWAP_LEASE_SECONDS)

    return run


async def _repeat(name: str, step: Step, idle_seconds: float, stop: asyncio.Event) -> None:
    """Do `step` again and again, at once while there is work, after a pause when there is none or we are away."""
    while not stop.is_set():
        pause = 0.0
        try:
            done = await step()
            pause = 0.0 if done else idle_seconds
        except* (Unavailable, VaultUnavailable) as away:
            _log.warning("away", job=name, why=type(away.exceptions[0]).__name__)
            pause = _AWAY_SECONDS
        except* Exception as failed:  # noqa: BLE001 -- a job that fails must not take the others down
            _log.error("job failed", job=name, exc_info=failed.exceptions[0])
            pause = _AWAY_SECONDS
        if pause:
            await _wait(stop, pause)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return

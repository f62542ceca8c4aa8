"""Hints between processes: heard once they are sent, harmless when they are lost or no hints at all."""

from __future__ import annotations

import asyncio

import pytest

from server.background import _repeat
from server.hints import Bell, Bells, Messenger, Queue, pair

GUARD_SECONDS = 20.0
NEVER = 3600.0


async def test_a_hint_from_another_process_rings_the_bells_of_its_queue_only() -> None:
    bells = Bells()
    rung = {queue: bells.bell(queue) for queue in Queue}
    receiver, sender = pair()
    with receiver, sender, bells.listening(receiver):
        Messenger(sender).tell(Queue.SWAPS)
        async with asyncio.timeout(GUARD_SECONDS):
            await rung[Queue.SWAPS].wait(NEVER)
        assert [queue for queue, bell in rung.items() if bell.kept] == []
        for queue in (Queue.NOTIFICATIONS, Queue.RESULTS, Queue.CALLBACKS):
            Messenger(sender).tell(queue)
            async with asyncio.timeout(GUARD_SECONDS):
                await rung[queue].wait(NEVER)


async def test_what_is_no_hint_is_passed_over() -> None:
    bells = Bells()
    bell = bells.bell(Queue.RESULTS)
    receiver, sender = pair()
    with receiver, sender, bells.listening(receiver):
        for noise in (b"", b"x", b"rr", b"r" * 100):
            sender.send(noise)
        assert not bell.kept
        Messenger(sender).tell(Queue.RESULTS)
        async with asyncio.timeout(GUARD_SECONDS):
            await bell.wait(NEVER)


def test_nobody_has_to_listen() -> None:
    receiver, sender = pair()
    with sender:
        with receiver:
            for _ in range(10_000):
                Messenger(sender).tell(Queue.RESULTS)
        Messenger(sender).tell(Queue.RESULTS)


async def test_a_hint_that_comes_while_a_job_looks_makes_it_look_again() -> None:
    bell, stop, looks = Bell(), asyncio.Event(), 0

    async def step() -> int:
        nonlocal looks
        looks += 1
        if looks == 1:
            bell.ring()
        else:
            stop.set()
        return 0

    async with asyncio.timeout(GUARD_SECONDS):
        await _repeat("test", step, NEVER, stop, bell)
    assert looks == 2


async def test_a_crowd_of_notifications_is_told_once() -> None:
    bells = Bells()
    bell = bells.bell(Queue.NOTIFICATIONS)
    receiver, sender = pair()
    with receiver, sender:
        messenger = Messenger(sender)
        for _ in range(100):
            messenger.tell(Queue.NOTIFICATIONS)
        with bells.listening(receiver):
            async with asyncio.timeout(GUARD_SECONDS):
                await bell.wait(NEVER)
        receiver.settimeout(0)
        with pytest.raises(BlockingIOError):
            receiver.recv(16)


async def test_each_hint_wakes_one_job_and_those_at_work_hear_of_it_afterwards() -> None:
    bell, woken = Bell(), 0

    async def job() -> None:
        nonlocal woken
        await bell.wait(NEVER)
        woken += 1

    jobs = [asyncio.create_task(job()) for _ in range(3)]
    await asyncio.sleep(0)
    for expected in (1, 2, 3):
        bell.ring()
        async with asyncio.timeout(GUARD_SECONDS):
            await asyncio.wait(jobs[:expected])
        await asyncio.sleep(0)
        assert woken == expected
    bell.ring()
    async with asyncio.timeout(GUARD_SECONDS):
        await bell.wait(NEVER)
    assert bell.kept == 0


async def test_who_has_waited_in_vain_takes_no_hint_with_it() -> None:
    bell = Bell()
    await bell.wait(0.0)
    bell.ring()
    async with asyncio.timeout(GUARD_SECONDS):
        await bell.wait(NEVER)


async def test_everybody_looks_when_the_server_stops() -> None:
    bells = Bells()
    jobs = [asyncio.create_task(bells.bell(queue).wait(NEVER)) for queue in Queue for _ in range(2)]
    await asyncio.sleep(0)
    bells.all()
    async with asyncio.timeout(GUARD_SECONDS):
        await asyncio.gather(*jobs)

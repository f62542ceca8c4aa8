"""Hints between processes: heard once they are sent, harmless when they are lost or no hints at all."""

from __future__ import annotations

import asyncio

import pytest

from server.background import _repeat
from server.hints import Bells, Messenger, Queue, pair

GUARD_SECONDS = 20.0
NEVER = 3600.0


async def test_a_hint_from_another_process_rings_the_bells_of_its_queue_only() -> None:
    bells = Bells()
    events = {queue: bells.event(queue) for queue in Queue}
    receiver, sender = pair()
    with receiver, sender, bells.listening(receiver):
        Messenger(sender).tell(Queue.SWAPS)
        async with asyncio.timeout(GUARD_SECONDS):
            await events[Queue.SWAPS].wait()
        assert [queue for queue, event in events.items() if event.is_set()] == [Queue.SWAPS]
        for queue in (Queue.NOTIFICATIONS, Queue.RESULTS, Queue.CALLBACKS):
            Messenger(sender).tell(queue)
            async with asyncio.timeout(GUARD_SECONDS):
                await events[queue].wait()


async def test_what_is_no_hint_is_passed_over() -> None:
    bells = Bells()
    event = bells.event(Queue.RESULTS)
    receiver, sender = pair()
    with receiver, sender, bells.listening(receiver):
        for noise in (b"", b"x", b"rr", b"r" * 100):
            sender.send(noise)
        assert not event.is_set()
        Messenger(sender).tell(Queue.RESULTS)
        async with asyncio.timeout(GUARD_SECONDS):
            await event.wait()


def test_nobody_has_to_listen() -> None:
    receiver, sender = pair()
    with sender:
        with receiver:
            for _ in range(10_000):
                Messenger(sender).tell(Queue.RESULTS)
        Messenger(sender).tell(Queue.RESULTS)


async def test_a_hint_that_comes_while_a_job_looks_makes_it_look_again() -> None:
    bell, stop, looks = asyncio.Event(), asyncio.Event(), 0

    async def step() -> int:
        nonlocal looks
        looks += 1
        if looks == 1:
            bell.set()
        else:
            stop.set()
        return 0

    async with asyncio.timeout(GUARD_SECONDS):
        await _repeat("test", step, NEVER, stop, bell)
    assert looks == 2


async def test_a_crowd_of_notifications_is_told_once() -> None:
    bells = Bells()
    event = bells.event(Queue.NOTIFICATIONS)
    receiver, sender = pair()
    with receiver, sender:
        messenger = Messenger(sender)
        for _ in range(100):
            messenger.tell(Queue.NOTIFICATIONS)
        with bells.listening(receiver):
            async with asyncio.timeout(GUARD_SECONDS):
                await event.wait()
        receiver.settimeout(0)
        with pytest.raises(BlockingIOError):
            receiver.recv(16)

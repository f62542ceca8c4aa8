"""The pace of calls to a platform: one at a time, so many in any second, nothing lost by a failed call."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carriers.pace import Pace


class Time:
    """A clock that moves when somebody pauses."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@settings(max_examples=60)
@given(
    durations=st.lists(st.floats(0.0, 2.0), max_size=25),
    way=st.floats(0.0, 1.0),
    per_second=st.integers(1, 7),
)
def test_no_second_ever_sees_more_calls_than_allowed(durations: list[float], way: float, per_second: int) -> None:
    time = Time()
    arrivals: list[float] = []

    async def call(pace: Pace, duration: float) -> None:
        async with pace:
            arrivals.append(time.now + way * duration)  # the request is on its way for a part of the call
            await time.pause(duration)

    async def calls() -> None:
        pace = Pace(per_second, time, time.pause)
        await asyncio.gather(*(call(pace, duration) for duration in durations))

    asyncio.run(calls())
    assert len(arrivals) == len(durations)
    for earlier, later in zip(arrivals, arrivals[per_second:], strict=False):
        assert later - earlier >= 1.0 - 1e-6


async def test_calls_of_many_coroutines_never_overlap() -> None:
    pace, inside, most = Pace(1000), 0, 0

    async def call() -> None:
        nonlocal inside, most
        async with pace:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(call() for _ in range(20)))
    assert most == 1


async def test_a_call_that_failed_counts_and_lets_the_next_one_in() -> None:
    time = Time()
    pace = Pace(1, time, time.pause)
    with pytest.raises(ConnectionError):
        async with pace:
            raise ConnectionError
    async with pace:
        assert time.now >= 101.0


async def test_a_call_given_up_while_it_waits_blocks_nobody() -> None:
    time, stuck = Time(), asyncio.Event()

    async def for_ever(seconds: float) -> None:
        stuck.set()
        await asyncio.Event().wait()

    pace = Pace(1, time, for_ever)
    async with pace:
        pass

    async def call() -> None:
        async with pace:
            raise AssertionError("it is not its time")

    waiting = asyncio.create_task(call())
    await stuck.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    time.now += 1.0
    async with asyncio.timeout(5), pace:
        pass


def test_a_pace_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Pace(0)

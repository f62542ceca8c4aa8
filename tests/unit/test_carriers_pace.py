"""The pace of calls to a platform: one at a time, so many in any second, in turn, whoever dies or gives up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carriers.pace import Busy, Limits, Line, Pace, asked, left
from tests.kept_lines import KeptLines

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LIMITS = Limits(per_second=5, lease=35.0, patience=1000.0)


class Time:
    """A clock that moves when somebody pauses."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def paces(count: int, limits: Limits) -> tuple[list[Pace], Time]:
    """The paces of `count` processes for one credential, and their time."""
    time = Time()
    lines = KeptLines(time)
    return [Pace(lines, "user@host", limits, time.pause) for _ in range(count)], time


@settings(max_examples=60)
@given(
    durations=st.lists(st.floats(0.0, 2.0), max_size=25),
    way=st.floats(0.0, 1.0),
    per_second=st.integers(1, 7),
    processes=st.integers(1, 4),
)
def test_no_second_ever_sees_more_calls_than_allowed(
    durations: list[float], way: float, per_second: int, processes: int
) -> None:
    arrivals: list[float] = []
    inside = most = 0

    async def calls() -> None:
        made, time = paces(processes, Limits(per_second=per_second, lease=1000.0, patience=1000.0))

        async def call(pace: Pace, duration: float) -> None:
            nonlocal inside, most
            async with pace:
                inside += 1
                most = max(most, inside)
                arrivals.append(time.now + way * duration)  # the request is on its way for a part of the call
                await time.pause(duration)
                inside -= 1

        await asyncio.gather(*(call(made[number % processes], one) for number, one in enumerate(durations)))

    asyncio.run(calls())
    assert len(arrivals) == len(durations)
    assert most <= 1
    for earlier, later in zip(sorted(arrivals), sorted(arrivals)[per_second:], strict=False):
        assert later - earlier >= 1.0 - 1e-5


async def test_calls_of_many_processes_never_overlap() -> None:
    made, _time = paces(3, Limits(per_second=1000, lease=1000.0))
    inside, most = 0, 0

    async def call(pace: Pace) -> None:
        nonlocal inside, most
        async with pace:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(call(made[number % 3]) for number in range(30)))
    assert most == 1


def test_who_came_first_calls_first() -> None:
    line, seconds = asked(Line(), "one", NOW, LIMITS)
    assert seconds is None
    for ticket in ("two", "three"):
        line, seconds = asked(line, ticket, NOW, LIMITS)
        assert seconds is not None
    line = left(line, "one", NOW, LIMITS)
    assert asked(line, "three", NOW, LIMITS)[1] is not None
    line, seconds = asked(line, "two", NOW, LIMITS)
    assert (line.holder, seconds) == ("two", None)


def test_who_died_while_it_waited_loses_its_place() -> None:
    line, _ = asked(Line(), "one", NOW, LIMITS)
    line, _ = asked(line, "dead", NOW, LIMITS)
    later = NOW + timedelta(seconds=2)
    line, _ = asked(line, "two", later, LIMITS)
    line = left(line, "one", later, LIMITS)
    assert asked(line, "two", later, LIMITS)[1] is not None
    line, seconds = asked(line, "two", NOW + timedelta(seconds=4), LIMITS)
    assert (line.holder, seconds, line.waiting) == ("two", None, ())


def test_who_died_while_it_called_is_waited_for_until_its_lease_ends_and_its_call_counts() -> None:
    limits = Limits(per_second=1, lease=35.0)
    line, _ = asked(Line(), "dead", NOW, limits)
    assert asked(line, "two", NOW + timedelta(seconds=34), limits)[1] is not None
    ended = NOW + timedelta(seconds=35)
    line, seconds = asked(line, "two", ended, limits)
    assert (line.holder, seconds) == ("", 1.0)
    line, seconds = asked(line, "two", ended + timedelta(seconds=1), limits)
    assert (line.holder, seconds) == ("two", None)


def test_a_call_that_ended_after_its_lease_takes_nobodys_turn() -> None:
    line, _ = asked(Line(), "slow", NOW, LIMITS)
    line, seconds = asked(line, "two", NOW + timedelta(seconds=36), LIMITS)
    assert seconds is None
    assert left(line, "slow", NOW + timedelta(seconds=36), LIMITS).holder == "two"


async def test_a_call_that_failed_counts_and_lets_the_next_one_in() -> None:
    (pace,), time = paces(1, Limits(per_second=1))
    with pytest.raises(ConnectionError):
        async with pace:
            raise ConnectionError
    async with pace:
        assert time.now >= 101.0


async def test_a_call_given_up_while_it_waits_blocks_nobody() -> None:
    time, stuck = Time(), asyncio.Event()
    lines = KeptLines(time)

    async def for_ever(seconds: float) -> None:
        stuck.set()
        await asyncio.Event().wait()

    limits = Limits(per_second=1)
    pace, other = Pace(lines, "user@host", limits, for_ever), Pace(lines, "user@host", limits, time.pause)
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
    assert lines.lines["user@host"][1].waiting == ()
    time.now += 1.0
    for free in (pace, other):
        async with asyncio.timeout(5), free:
            time.now += 1.0


async def test_who_waited_as_long_as_it_bears_is_told_to_come_again_and_asked_nothing() -> None:
    lines = KeptLines(Time())
    first = Pace(lines, "user@host", Limits())
    second = Pace(lines, "user@host", Limits(patience=0.01))
    async with first:
        for _ in range(2):
            with pytest.raises(Busy, match="try again"):
                async with second:
                    raise AssertionError("somebody else calls")
        # Within its own process, too, nobody waits longer.
        with pytest.raises(Busy):
            await asyncio.gather(second.__aenter__(), second.__aenter__())
    assert lines.lines["user@host"][1].waiting == ()
    async with second:
        pass


async def test_credentials_do_not_wait_for_each_other() -> None:
    lines = KeptLines(Time())
    async with Pace(lines, "one@host", Limits()), asyncio.timeout(5), Pace(lines, "two@host", Limits()):
        pass


def test_a_pace_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Limits(per_second=0)

"""What is looked at again and again: also after a look that failed, and no longer than its block."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from server.repeating import repeated

GUARD_SECONDS = 20.0


async def test_a_look_that_fails_is_not_the_last() -> None:
    looks, enough = 0, asyncio.Event()

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            enough.set()
        raise LookupError

    with capture_logs() as logged:
        async with asyncio.timeout(GUARD_SECONDS), repeated("tests", look, 0):
            await enough.wait()
    ended = looks
    for _ in range(5):
        await asyncio.sleep(0)
    assert looks == ended
    told = {(line["log_level"], line["event"], line["what"], type(line["exc_info"])) for line in logged}
    assert told == {("error", "look failed", "tests", LookupError)}


async def test_an_error_of_the_block_reaches_its_caller() -> None:
    async def look() -> None:
        return

    with pytest.raises(LookupError):
        async with repeated("tests", look, 3600):
            raise LookupError

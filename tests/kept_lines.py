"""Lines of callers kept in memory, beside a clock that a test moves: `carriers.pace.Lines` without a database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from carriers.pace import Kept, Line

_EPOCH = datetime(2026, 11, 22, 12, tzinfo=UTC)


class KeptLines:
    """Every object that is handed the same one shares its lines, as processes do those of a database."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` tells seconds."""
        self.lines: dict[str, tuple[int, Line]] = {}
        self._clock = clock

    async def read(self, credential: str) -> Kept:
        """See `carriers.pace.Lines`."""
        await asyncio.sleep(0)
        version, line = self.lines.get(credential, (0, Line()))
        return Kept(line=line, version=version, now=_EPOCH + timedelta(seconds=self._clock()))

    async def replace(self, credential: str, version: int, line: Line) -> bool:
        """See `carriers.pace.Lines`."""
        await asyncio.sleep(0)
        if self.lines.get(credential, (0, Line()))[0] != version:
            return False
        self.lines[credential] = version + 1, line
        return True

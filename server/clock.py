"""The one place that asks the machine for the time; every other package gets it as a value or through a port."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """The machine's clocks behind the small interface the roles declare."""

    __slots__ = ()

    def now(self) -> datetime:
        """Wall-clock time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never run backwards; for measuring durations only."""
        return time.monotonic()

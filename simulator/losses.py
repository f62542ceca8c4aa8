"""Messages that get lost on demand, so that retries and rollbacks can be provoked."""

from __future__ import annotations

from collections import Counter

from simulator.exchange import Interference

FOREVER = 1_000_000


class Losses:
    """Loses the next messages of a function, attempt by attempt; use it as `interfere` of Habits.

    Function names are those of the reference points, such as provideEimPackageResult or handleNotification.
    """

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()

    def lose_requests(self, function: str, times: int = FOREVER) -> None:
        """The other side does not see the next `times` requests of `function`; 0 ends it."""
        self._requests[function] = times

    def lose_answers(self, function: str, times: int = FOREVER) -> None:
        """The other side acts on the next `times` requests of `function`, and its answers are lost; 0 ends it."""
        self._answers[function] = times

    def __call__(self, function: str, attempt: int) -> Interference:  # noqa: ARG002 -- the signature of a hook
        if self._requests[function] > 0:
            self._requests[function] -= 1
            return Interference.LOSE_REQUEST
        if self._answers[function] > 0:
            self._answers[function] -= 1
            return Interference.LOSE_ANSWER
        return Interference.NONE

"""What the tests of the LPA share: an activation code, the steps, and pauses that do not wait."""

from __future__ import annotations

from collections.abc import Callable

from lpa_script import FUNCTIONS, HOST, Reply

from simulator.lpa import Lpa

CODE = f"1${HOST}$MATCHING-ID"
DROP = Reply(drop=True)
STEPS = FUNCTIONS[:3]
Make = Callable[..., Lpa]


class Pauses(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)

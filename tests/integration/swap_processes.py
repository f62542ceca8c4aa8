"""Real processes that run swaps over one database, in the time of this machine, and what they say of themselves."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.protocol_stage import Clock, Material

ROOT = Path(__file__).resolve().parents[2]


class RealClock(Clock):
    """The time of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def advance(self, **time: float) -> None:
        """It passes by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A step of a swap as its process told it; `until` is None while it has not ended."""

    swap_id: int
    step: str
    since: int
    until: int | None


@dataclass(slots=True, kw_only=True)
class Runner:
    """One process that runs swaps."""

    process: asyncio.subprocess.Process
    lines: list[list[str]] = field(default_factory=list)
    _reading: asyncio.Task[None] | None = None

    @classmethod
    async def started(cls, database: str, material: Material, lease_seconds: float) -> Runner:
        """A process, once it runs swaps."""
        pki = material.pki.path
        command = (sys.executable, "-m", "tests.swap_runner", database, str(pki), str(pki.parent / "vault"))
        process = await asyncio.create_subprocess_exec(
            *command, str(lease_seconds), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert (await process.stdout.readline()).startswith(b"running")
        made = cls(process=process)
        made._reading = asyncio.create_task(made._read())
        return made

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode().split())

    async def killed(self) -> None:
        """SIGKILL; returns when it is dead and all it said is read."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()
        if self._reading is not None:
            await self._reading

    def ran(self) -> list[Ran]:
        """What it ran."""
        found: list[Ran] = []
        begun: dict[tuple[int, str], int] = {}
        for line in self.lines:
            if len(line) != 4:  # half a line, cut off by its death
                continue
            verb, swap_id, step, at = line
            if verb == "begins":
                begun[int(swap_id), step] = int(at)
            else:
                found.append(Ran(swap_id=int(swap_id), step=step, since=begun.pop((int(swap_id), step)), until=int(at)))
        open_ = [Ran(swap_id=key[0], step=key[1], since=at, until=None) for key, at in begun.items()]
        return found + open_

"""How much processor time a running server has used, part by part: HTTP processes, worker, embedded PostgreSQL."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

from rsp.errors import Unavailable
from server import database
from server.running import Running
from server.settings import Settings
from simulator.fleet import server_cpu
from store.embedded import EmbeddedPostgres
from store.outbox import Outbox
from store.pool import Pool
from store.postmaster import processes_of
from store.statistics import Counts

_LOOK_SECONDS = 0.1
_LONGEST_SECONDS = 120.0
_STUCK_LOOKS = 10
_TICKS = os.sysconf("SC_CLK_TCK")


class ServerMeter:
    """The meter of a server on this machine; its own reading goes through a connection to the server's database."""

    def __init__(self, running: Running, pool: Pool, cluster: Path | None) -> None:
        """`cluster` is the folder of the embedded PostgreSQL, None when the database runs elsewhere."""
        self._pids = running.processes
        self._cluster = cluster
        self._counts, self._outbox = Counts(pool), Outbox(pool)

    def read(self) -> Mapping[str, float]:
        """Seconds of `http`, `worker` and, where it is ours, `database`. Raises ProcessLookupError."""
        used = {
            part: server_cpu(pid for name, pid in self._pids.items() if name.startswith(part))
            for part in ("http", "worker")
        }
        return used if self._cluster is None else used | {"database": _family_cpu(processes_of(self._cluster))}

    async def settled(self) -> None:
        """Return when every notification is judged and no more messages leave: some operator may not take its own.

        Raises Unavailable when notifications stay unjudged for two minutes.
        """
        end = monotonic() + _LONGEST_SECONDS
        while await self._counts.pending_notifications():
            if monotonic() > end:
                raise Unavailable("the worker does not come to the end of its work: is it running?")
            await asyncio.sleep(_LOOK_SECONDS)
        fewest, looks = (await self._outbox.depth())[0], 0
        while fewest and looks < _STUCK_LOOKS:
            await asyncio.sleep(_LOOK_SECONDS)
            unsent = (await self._outbox.depth())[0]
            looks = 0 if unsent < fewest else looks + 1
            fewest = min(fewest, unsent)


@asynccontextmanager
async def metering(settings: Settings, running: Running) -> AsyncIterator[ServerMeter]:
    """A meter of the server that runs on these settings. Raises Unavailable when its database cannot be reached."""
    embedded = EmbeddedPostgres(settings.data_dir)
    dsn = settings.database_url.reveal() or embedded.dsn()
    async with database.opened(dsn) as pool:
        yield ServerMeter(running, pool, None if settings.database_url else embedded.cluster)


def _family_cpu(pids: list[int]) -> float:
    """Seconds of these processes and of the children they have outlived: backends come and go."""
    return sum(_cpu_with_children(pid) for pid in pids)


def _cpu_with_children(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0  # It has ended meanwhile; its parent counts it from now on.
    return sum(map(int, fields[11:15])) / _TICKS

"""The PostgreSQL proxy for swaps: writes of a worker are told by the step of the swap, and a transaction is one write.

What a transaction has done before its COMMIT is undone with the process that began it, whichever statement was its
last; so only the COMMIT, before it or after it, is a place of its own to die at.
"""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from uuid import UUID

from crash_proxy import DatabaseProxy, Fault, Point, _Connection, write_of

from swap.swap import StepName

_ADVANCES = "UPDATE swaps SET state="
_STEPS = {step.value for step in StepName}
_REPORTS = ("eim_results", "esim_profiles", "notifications", "outbox")
_WAKES = "UPDATE swaps"
_UUID_BYTES = 16
REPORTS = "reports"
"""The step of what a worker writes when it judges what devices reported; it does so beside any step of a swap."""


class SwapProxy(DatabaseProxy):
    """Lets any number of writes go wrong, one after the other; `struck` are those that did."""

    def __init__(self, dsn: str, folder: Path) -> None:
        super().__init__(dsn, folder)
        self.struck: list[Point] = []
        self.kills_all = False
        self._dead: set[int] = set()
        self._claimers: dict[int, set[UUID]] = {}
        self._backends: dict[int, set[int]] = {}
        self._faults: dict[Point, Fault] = {}
        self._step = ""
        self._moving: dict[_Connection, str] = {}
        self._coming: dict[_Connection, str] = {}
        self._transactions: dict[_Connection, list[str]] = {}
        self._last: dict[_Connection, str] = {}
        """What the last statement of a transaction is to change; whether it did is known by the next one."""

    def arm_all(self, points: Iterable[Point], fault: Fault = Fault.HELD) -> None:
        """Count writes from here on, and let each of these go wrong once."""
        self.arm()
        self.kills_all = False
        self.struck.clear()
        self._faults = dict.fromkeys(points, fault)
        self._step = StepName.RESERVE.value

    def left(self) -> list[Point]:
        """What was to go wrong and has not been met."""
        return list(self._faults)

    def first_writes(self) -> Iterator[Point]:
        """The first write of each kind in each step, in order of appearance: how often it waits is left to chance."""
        return (point for point in self.writes if point.nth == 1)

    def dead_claimers(self) -> list[UUID]:
        """By what names processes that were killed have claimed rows, however late their last claim was done."""
        return [name for pid in self._dead for name in self._claimers.get(pid, ())]

    def dead_backends(self) -> set[int]:
        """The database's own processes for those that were killed."""
        return {backend for pid in self._dead for backend in self._backends.get(pid, ())}

    def _strike(self, connection: _Connection, fault: Fault) -> None:
        if fault.kills:
            others = {other.pid for other in self._connections if self._name(other)} if self.kills_all else set()
            for pid in others | {connection.pid}:
                mine = [other for other in self._connections if other.pid == pid]
                self._dead.add(pid)
                self._backends[pid] = {other.backend for other in mine}
                if pid != connection.pid:
                    os.kill(pid, signal.SIGKILL)
        super()._strike(connection, fault)

    def _hear(self, connection: _Connection, values: bytes) -> None:
        if connection.bound.startswith(_ADVANCES):
            (self._coming[connection],) = _STEPS & {value.decode(errors="replace") for value in _parameters(values)}
        if "SKIP LOCKED" in connection.bound:
            names = {UUID(bytes=value) for value in _parameters(values) if len(value) == _UUID_BYTES}
            self._claimers.setdefault(connection.pid, set()).update(names)

    def _write(self, connection: _Connection, sql: str) -> str:
        last = self._last.pop(connection, "")
        if last and connection.has_changed:
            self._transactions[connection].append(last)
        word = sql.strip().upper()
        if word.startswith("BEGIN"):
            self._transactions[connection] = []
            return ""
        if word.startswith("ROLLBACK"):
            self._transactions.pop(connection, None)
            return ""
        write = write_of(sql)
        if write == "COMMIT":
            writes = self._transactions.pop(connection, [])
            self._moving[connection] = self._coming.pop(connection, "")
            return f"COMMIT {', '.join(sorted(set(writes)))}" if writes else ""
        if write and connection in self._transactions:
            self._last[connection] = write
            return ""
        return write

    def _key(self, connection: _Connection) -> tuple[str, str]:
        step, write = super()._key(connection)
        if step != "worker":
            return step, write
        reports = write == _WAKES or any(table in write for table in _REPORTS)
        return (REPORTS if reports else self._step), write

    def _goes_wrong_after(self, connection: _Connection) -> bool:
        wrong = super()._goes_wrong_after(connection)
        if connection.write.startswith("COMMIT"):
            self._step = self._moving.pop(connection, "") or self._step
        return wrong

    def _fault_at(self, point: Point) -> Fault | None:
        fault = self._faults.get(point)
        if fault is not None and (not fault.is_after or point in self.writes):
            del self._faults[point]
            self.struck.append(point)
        return fault


def _parameters(bind: bytes) -> Iterator[bytes]:
    """The values of a Bind message, NULLs left out."""
    rest = bind.split(b"\0", 2)[2]
    place = 2 + 2 * struct.unpack_from("!h", rest)[0]
    (count,) = struct.unpack_from("!h", rest, place)
    place += 2
    for _ in range(count):
        (length,) = struct.unpack_from("!i", rest, place)
        place += 4
        if length >= 0:
            yield rest[place : place + length]
            place += length

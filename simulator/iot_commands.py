"""Profile state management operations of an eUICC package, executed on a card (SGP.32 2.11.1.1.3, 5.13)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from rsp import tlv
from rsp.identifiers import Iccid
from simulator import der
from simulator.misbehaviour import Misbehaviour
from simulator.profiles import Outcome, ProfileRegistry

_ENABLE, _DISABLE, _DELETE, _LIST = 0xA3, 0xA4, 0xA5, 0xBF2D
_RESULTS = {_ENABLE: 0x83, _DISABLE: 0x84, _DELETE: 0x85}
_PSMO_LIST = 0xA0
_ROLLBACK_FLAG = 0x05
_TERMINATED = 0x02
_LIST_ERROR = 0x81
ROLLBACK_RESULT = 0x8C


class CommandCode(IntEnum):
    """Result codes beyond those of Outcome."""

    CAT_BUSY = 5
    ROLLBACK_NOT_AVAILABLE = 20
    UNDEFINED = 127


class ListError(IntEnum):
    """Why profiles are not listed."""

    INCORRECT_INPUT_VALUES = 1
    PROFILE_CHANGE_ONGOING = 11
    UNDEFINED = 127


class Terminated(IntEnum):
    """Why the processing of a package ended early."""

    RESULT_SIZE_OVERFLOW = 1
    UNKNOWN_OR_DAMAGED_COMMAND = 2
    INTERRUPTION = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFunctions:
    """What a package may do on the card; each function takes an identifier (5A) and notifies as it must."""

    profiles: ProfileRegistry
    enable: Callable[[tlv.Tlv], Outcome]
    disable: Callable[[tlv.Tlv], Outcome]
    delete: Callable[[tlv.Tlv], Outcome]


@dataclass(slots=True, kw_only=True)
class PackageRun:
    """The execution of one package: `results` in the order of the commands, up to the first that fails.

    `changed` tells whether a REFRESH is due, `previous` which profile a rollback would restore, if that is permitted.
    """

    card: LocalFunctions
    misbehave: frozenset[Misbehaviour]
    largest_result: int
    results: list[bytes] = field(default_factory=list)
    changed: bool = False
    previous: Iccid | None = None

    def execute(self, commands: tlv.Tlv) -> None:
        """Run a PSMO list (A0). Nothing of an eCO list is known here: it ends as unknown command."""
        if Misbehaviour.INTERRUPT_PACKAGE in self.misbehave:
            self._terminate(Terminated.INTERRUPTION)
            return
        if commands.tag != _PSMO_LIST:
            self._terminate(Terminated.UNKNOWN_OR_DAMAGED_COMMAND)
            return
        for command in commands.children():
            if not self._run(command):
                return

    def _run(self, command: tlv.Tlv) -> bool:
        """Whether the next command may run."""
        try:
            if command.tag == _LIST:
                return self._list(command)
            code = self._change(command)
        except ValueError:
            self._terminate(Terminated.UNKNOWN_OR_DAMAGED_COMMAND)
            return False
        self.results.append(tlv.wrap_integer(_RESULTS[command.tag], code))
        return code == Outcome.OK

    def _terminate(self, reason: Terminated) -> None:
        self.results.append(tlv.wrap_integer(_TERMINATED, reason))

    def _change(self, command: tlv.Tlv) -> int:
        runs = {_ENABLE: self._enable, _DISABLE: self._disable, _DELETE: self._delete}
        run = runs.get(command.tag)
        if run is None:
            raise ValueError(f"command {command.tag:X} is unknown")
        found = der.members(command, 0x5A, _ROLLBACK_FLAG, optional=(_ROLLBACK_FLAG,))
        if _ROLLBACK_FLAG in found and (command.tag != _ENABLE or found[_ROLLBACK_FLAG].value):
            raise ValueError("rollbackFlag is an empty member of enable alone")
        der.sized(found[0x5A], 10)
        Iccid.from_bytes(found[0x5A].value)
        if Misbehaviour.FAIL_COMMAND in self.misbehave:
            return CommandCode.UNDEFINED
        return run(found)

    def _enable(self, found: dict[int, tlv.Tlv]) -> int:
        current = self.card.profiles.enabled()
        target = self.card.profiles.find(found[0x5A])
        rollback = _ROLLBACK_FLAG in found
        if self._busy():
            return CommandCode.CAT_BUSY
        if rollback and target is not None and current is None:
            return CommandCode.ROLLBACK_NOT_AVAILABLE
        outcome = self.card.enable(found[0x5A])
        if outcome is Outcome.OK:
            self.changed = True
            before = self.previous or (None if current is None else current.iccid)
            self.previous = before if rollback else None
        return outcome

    def _disable(self, found: dict[int, tlv.Tlv]) -> int:
        if self._busy():
            return CommandCode.CAT_BUSY
        outcome = self.card.disable(found[0x5A])
        self.changed = self.changed or outcome is Outcome.OK
        return outcome

    def _delete(self, found: dict[int, tlv.Tlv]) -> int:
        # The profile that a rollback would restore has to stay as long as it is permitted.
        if self.previous is not None and Iccid.from_bytes(found[0x5A].value) == self.previous:
            return CommandCode.ROLLBACK_NOT_AVAILABLE
        return self.card.delete(found[0x5A])

    def _busy(self) -> bool:
        return Misbehaviour.CAT_BUSY in self.misbehave

    def _list(self, command: tlv.Tlv) -> bool:
        if Misbehaviour.FAIL_COMMAND in self.misbehave:
            return self._no_list(ListError.UNDEFINED)
        if self.changed:
            return self._no_list(ListError.PROFILE_CHANGE_ONGOING)
        try:
            listed = self.card.profiles.info_list(command)
        except ValueError:
            return self._no_list(ListError.INCORRECT_INPUT_VALUES)
        if sum(map(len, self.results)) + len(listed) > self.largest_result:
            self._terminate(Terminated.RESULT_SIZE_OVERFLOW)
            return False
        self.results.append(listed)
        return True

    def _no_list(self, error: ListError) -> bool:
        self.results.append(tlv.wrap(_LIST, tlv.wrap_integer(_LIST_ERROR, error)))
        return False

"""Keeps the child processes of one server running: starts, restarts with growing pauses, drains, kills; no threads."""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Protocol

_PR_SET_PDEATHSIG = 1
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Log(Protocol):
    """Where the supervisor tells what it does."""

    def info(self, event: str, **fields: object) -> object:
        """Something expected."""

    def warning(self, event: str, **fields: object) -> object:
        """Something to look at."""

    def error(self, event: str, **fields: object) -> object:
        """Something that stops or cuts work."""


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel send this process SIGTERM when the thread that started it ends (Linux; elsewhere nothing).

    `parent` is the process id expected above this one: when it is gone already, this process ends at once.
    """
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return
    prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a child that ends is started again, in seconds, and when to give up.

    A child that lived for `steady` starts with the first pause again; `attempts` ends sooner than that in a row,
    and the whole server stops with an error. One that was killed (SIGKILL: a person, or a kernel short of memory)
    says nothing about whether it works: it too starts with the first pause again, however short it lived.
    """

    first: float = 0.2
    longest: float = 10.0
    steady: float = 10.0
    attempts: int = 5

    def pause(self, failures: int) -> float:
        """The pause before the start that follows this many failures in a row."""
        return float(min(self.longest, self.first * 2 ** (failures - 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """One process to keep running."""

    name: str
    command: tuple[str, ...]
    inherits: tuple[int, ...] = ()
    """File descriptors that stay open in it, under the same numbers."""


@dataclass(slots=True)
class _Child:
    spec: ChildSpec
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    due: float = 0.0
    """When to start it, on the monotonic clock, while there is no process."""


@dataclass(slots=True)
class Supervisor:
    """Runs `specs` until SIGTERM or SIGINT; `run` belongs into the main thread and returns the exit status.

    `changed` is called with {name: pid} whenever the set of processes has changed. `tend` is called whenever a child
    process of any kind has ended, so that what the children need can be mended before they start again.
    """

    specs: Sequence[ChildSpec]
    environment: Mapping[str, str]
    drain_seconds: float
    log: Log
    pace: Pace = field(default_factory=Pace)
    changed: Callable[[dict[str, int]], None] = lambda _: None
    tend: Callable[[], None] = lambda: None
    _children: list[_Child] = field(default_factory=list, init=False)
    _stops: int = field(default=0, init=False)

    def run(self) -> int:
        """Keep the children running; 0 after an ordered stop, 1 when a child kept failing."""
        self._children = [_Child(spec) for spec in self.specs]
        with _signals(self._on_signal) as wakeup:
            try:
                return self._watch(wakeup)
            finally:
                self._drain(wakeup)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._stops += number in _STOP_SIGNALS

    def _watch(self, wakeup: socket.socket) -> int:
        while not self._stops:
            self.tend()
            failed = self._reap()
            if failed is not None:
                self.log.error("a process keeps failing, the server stops", process=failed.spec.name)
                return 1
            if self._start_due():
                self.changed(self._pids())
            _sleep(wakeup, self._until_due())
        self.log.info("stopping", drain_seconds=self.drain_seconds)
        return 0

    def _pids(self) -> dict[str, int]:
        return {child.spec.name: child.process.pid for child in self._children if child.process is not None}

    def _until_due(self) -> float | None:
        waiting = [child.due for child in self._children if child.process is None]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _start_due(self) -> bool:
        due = [child for child in self._children if child.process is None and child.due <= time.monotonic()]
        for child in due:
            # A group of its own keeps the terminal's Ctrl-C from a child: the parent passes the stop on, once.
            child.process = subprocess.Popen(  # noqa: S603 -- the command is made by this program
                child.spec.command,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                process_group=0,
                pass_fds=child.spec.inherits,
                preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 -- this process has no threads
            )
            child.started = time.monotonic()
            self.log.info("process started", process=child.spec.name, child_pid=child.process.pid)
        return bool(due)

    def _reap(self) -> _Child | None:
        """Note the children that ended; returns one that failed too often, if any."""
        for child in self._children:
            if child.process is None or child.process.poll() is None:
                continue
            lived = time.monotonic() - child.started
            was_well = lived >= self.pace.steady or child.process.returncode == -signal.SIGKILL
            child.failures = 1 if was_well else child.failures + 1
            child.due = time.monotonic() + self.pace.pause(child.failures)
            self._tell_end(child.spec.name, child.process.returncode, child.failures)
            child.process = None
            if child.failures >= self.pace.attempts:
                return child
        return None

    def _tell_end(self, name: str, status: int, failures: int) -> None:
        how = signal.Signals(-status).name if status < 0 else status
        self.log.warning("process ended", process=name, status=how, failures=failures)

    def _drain(self, wakeup: socket.socket) -> None:
        """SIGTERM to all, then at most `drain_seconds` of patience, then SIGKILL; a second signal ends the patience."""
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        end = time.monotonic() + self.drain_seconds
        while any(process.poll() is None for process in running) and time.monotonic() < end and self._stops < 2:
            _sleep(wakeup, max(0.0, end - time.monotonic()))
        for process in running:
            if process.poll() is None:
                self.log.error("process killed: it did not end in time", child_pid=process.pid)
                process.kill()
            process.wait()
        self.log.info("stopped")


@contextmanager
def _signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[socket.socket]:
    """Take over the stop signals and SIGCHLD; yields a socket that becomes readable with each of them."""
    numbers = (*_STOP_SIGNALS, signal.SIGCHLD)
    reader, writer = socket.socketpair()
    reader.settimeout(0)
    writer.settimeout(0)
    handlers = {number: signal.signal(number, handler) for number in numbers}
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, former in handlers.items():
            signal.signal(number, former)
        reader.close()
        writer.close()


def _sleep(wakeup: socket.socket, seconds: float | None) -> None:
    """Until a signal comes or `seconds` are over (None: only a signal)."""
    with selectors.DefaultSelector() as selector:
        selector.register(wakeup, selectors.EVENT_READ)
        if selector.select(seconds):
            wakeup.recv(4096)

"""`smdp serve` whose processes are forked from the supervisor: `python -m tests.forking_serve`.

Tests that kill processes a hundred times would otherwise spend their time on importing modules, on reading the system's
certificate authorities, and on the supervisor's pause. Supervisor, processes and all they do are the product's own.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import SimpleNamespace

from server import process, supervisor
from server.__main__ import main

_KEPT = {0, 1, 2}


class Forked:
    """As much of `subprocess.Popen` as the supervisor uses."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        pass_fds: Sequence[int],
        preexec_fn: Callable[[], None],
        **_: object,
    ) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            _become(command[3:], env, pass_fds, preexec_fn)

    def poll(self) -> int | None:
        """The exit status, if it has ended."""
        return self._waited(os.WNOHANG)

    def wait(self) -> int | None:
        """The exit status, once it has ended."""
        return self._waited(0)

    def terminate(self) -> None:
        """SIGTERM."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def _waited(self, how: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, how)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def _become(
    arguments: Sequence[str], env: Mapping[str, str], pass_fds: Sequence[int], preexec_fn: Callable[[], None]
) -> None:
    """Be the process that `python -m server.process` would have been."""
    status = 1
    try:
        os.setpgid(0, 0)
        preexec_fn()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        for descriptor in {int(name) for name in os.listdir("/proc/self/fd")} - _KEPT - set(pass_fds):
            with suppress(OSError):
                os.close(descriptor)
        os.environ.clear()
        os.environ.update(env, SSL_CERT_FILE=os.devnull)
        sys.argv = ["server.process", *arguments]
        process.main()
        status = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    setattr(supervisor, "subprocess", SimpleNamespace(Popen=Forked, DEVNULL=-3))  # noqa: B010 -- all it uses of it
    defaults = supervisor.Pace.__init__.__kwdefaults__
    assert defaults is not None
    defaults["first"] = 0.0
    sys.argv = ["smdp", "serve"]
    main()

"""What a running server tells its tools: one lock and one small file, `serve.json`, in its data folder."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from server.settings import SettingsError

_STATE = "serve.json"
_LOCK = "serve.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The processes of a running server, {name: pid}, and where it listens, {listener: port} and {listener: host}."""

    pid: int
    started_at: datetime
    server_names: tuple[str, ...]
    hosts: dict[str, str]
    ports: dict[str, int]
    processes: dict[str, int]


def read(data_dir: Path) -> Running | None:
    """The server that runs on this data folder, or None."""
    try:
        running = msgspec.json.decode((data_dir / _STATE).read_bytes(), type=Running)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return running if _is_alive(running.pid) else None


def write(data_dir: Path, running: Running) -> None:
    """Replace the file as a whole, so that a reader never sees half of it."""
    descriptor, temporary = tempfile.mkstemp(dir=data_dir, prefix=_STATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(running)))
    Path(temporary).replace(data_dir / _STATE)


@contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Be the one server of this data folder; SettingsError when another process is. Removes the file at the end."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data_dir / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"a server is already running on {data_dir}: stop it or choose another data_dir"
            ) from None
        try:
            yield
        finally:
            (data_dir / _STATE).unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

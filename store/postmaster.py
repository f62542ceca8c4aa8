"""What the operating system knows about the server of one cluster folder: its pid file and its processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_PROCESSES = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class PidFile:
    """The lines of `postmaster.pid` that matter: who runs, and how far its start has come."""

    pid: int
    status: str

    @property
    def is_ready(self) -> bool:
        """Whether connections are accepted."""
        return self.status == "ready"


def read_pid_file(cluster: Path) -> PidFile | None:
    """The pid file of `cluster`; None when there is none or it is not complete yet."""
    try:
        lines = (cluster / "postmaster.pid").read_text("ascii", "replace").split("\n")
    except FileNotFoundError:
        return None
    if not lines[0].strip().isdigit():
        return None
    return PidFile(pid=int(lines[0]), status=lines[7].strip() if len(lines) > 7 else "")


def processes_of(cluster: Path) -> list[int]:
    """Ids of the living server processes of `cluster`: each of them works in that folder."""
    wanted = cluster.resolve()
    return sorted(int(entry.name) for entry in _PROCESSES.glob("[0-9]*") if _working_folder(entry) == wanted)


def remove_stale_pid_file(cluster: Path) -> None:
    """Deletes a pid file that a killed server left behind.

    PostgreSQL itself goes by the number alone, and after a crash, above all in a container, the number may belong to
    some other process by now. The caller has made sure that no process of the cluster lives.
    """
    if _PROCESSES.is_dir():
        (cluster / "postmaster.pid").unlink(missing_ok=True)


def _working_folder(process: Path) -> Path | None:
    try:
        return (process / "cwd").readlink()
    except OSError:  # gone meanwhile, a zombie, or somebody else's
        return None

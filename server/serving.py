"""One server from start to stop: data folder, checks, ports, database, then its processes until a stop signal."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from certs.checking import Finding, Severity
from server import hints, listening, logs, preflight, running
from server.clock import SystemClock
from server.settings import Secret, Settings, SettingsError, environment
from server.supervisor import ChildSpec, Supervisor
from store import migrate
from store.embedded import EmbeddedPostgres

_log = logs.get("server.serving")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Database:
    url: str
    tend: Callable[[], None]


def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; the exit status. Call it from the main thread of a process of its own."""
    with running.held(settings.data_dir):
        _judge(asyncio.run(preflight.examine(settings, SystemClock().now())))
        with listening.reserved(settings) as ports, _database(settings) as database:
            migrate.upgrade(database.url)
            _clear(settings.metrics_dir)
            # Held here as well: a process that starts again finds the same pair.
            receiver, sender = hints.pair()
            with receiver, sender:
                own = specs(settings.processes, sender.fileno(), receiver.fileno())
                return _supervisor(settings, own, ports, database).run()


def specs(processes: int, sender: int, receiver: int) -> tuple[ChildSpec, ...]:
    """The processes of one server: `processes` that answer HTTP, and one worker that receives their hints."""
    roles = [("http", index, sender) for index in range(processes)] + [("worker", 0, receiver)]
    return tuple(
        ChildSpec(
            name=f"{role}-{index}",
            command=(sys.executable, "-m", "server.process", role, str(index), str(hinting)),
            inherits=(hinting,),
        )
        for role, index, hinting in roles
    )


def _judge(findings: list[Finding]) -> None:
    for finding in findings:
        if finding.severity is Severity.ERROR:
            _log.error(finding.text, subject=finding.subject)
        elif finding.severity is Severity.NOTICE:
            _log.info(finding.text, subject=finding.subject)
        else:
            _log.warning(finding.text, subject=finding.subject)
    worst = next((finding for finding in findings if finding.severity is Severity.ERROR), None)
    if worst is not None:
        raise SettingsError(f"the server cannot work like this: {worst.subject}: {worst.text}")


def _supervisor(
    settings: Settings, own: tuple[ChildSpec, ...], ports: dict[str, int], database: _Database
) -> Supervisor:
    changes: dict[str, object] = {f"{name}_port": port for name, port in ports.items()}
    changes["database_url"] = Secret(database.url)
    started_at = SystemClock().now()

    def changed(processes: dict[str, int]) -> None:
        state = running.Running(
            pid=os.getpid(),
            started_at=started_at,
            server_names=settings.server_names,
            hosts={name: getattr(settings, f"{name}_host") for name in listening.LISTENERS},
            ports=ports,
            processes=processes,
        )
        running.write(settings.data_dir, state)

    return Supervisor(
        specs=own,
        environment=environment(settings, None, **changes),
        drain_seconds=settings.drain_seconds,
        log=_log,
        changed=changed,
        tend=database.tend,
    )


@contextmanager
def _database(settings: Settings) -> Iterator[_Database]:
    """The database of the settings, or PostgreSQL in the data folder, started again should it ever end."""
    if settings.database_url:
        yield _Database(url=settings.database_url.reveal(), tend=lambda: None)
        return
    server = EmbeddedPostgres(settings.data_dir, settings.postgres_bin)

    def tend() -> None:
        if not server.is_running():
            _log.error("the database ended and is started again")
            server.stop()
            server.start()
            _log.info("the database runs again", database_pid=server.pid)

    try:
        yield _Database(url=server.start(), tend=tend)
    finally:
        server.stop()


def _clear(metrics_dir: Path) -> None:
    """Forget the metrics of processes that no longer live: their files would be added up for ever."""
    metrics_dir.mkdir(parents=True, exist_ok=True)
    for file in metrics_dir.glob("*.db"):
        file.unlink()

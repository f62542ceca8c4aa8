"""The server under test of `tools/bench.py`: started as a user would, stocked and ordered from; and the empty one."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certs import layout
from certs.layout import PkiFolder
from rsp.identifiers import ActivationCode
from server import running, settings
from server.demo.stage import smdp
from server.listening import LISTENERS
from server.running import Running
from server.settings import Settings
from simulator.exchange import Connections, Exchange, Habits, identify, trust
from simulator.operator import OperatorClient
from store.embedded import EmbeddedPostgres
from store.postmaster import processes_of
from tools.floors import REQUEST_BYTES

OPERATOR = "operator-a"
PROFILE_TYPE = "bench"
_READY_SECONDS = 180.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Where server, database and load run: on cores of their own as far as there are any."""

    server: frozenset[int]
    database: frozenset[int]
    load: frozenset[int]

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first core for the server, the second for PostgreSQL where there are three, the others for the load."""
        first, *others = sorted(os.sched_getaffinity(0))
        database, load = (others[:1], others[1:]) if len(others) > 1 else ([first], others or [first])
        return cls(server=frozenset({first}), database=frozenset(database), load=frozenset(load))

    def for_two(self) -> Cores:
        """The same with a second core for the server, taken from the load as far as it has two."""
        spare = sorted(self.load)
        taken = frozenset(spare[:1]) if len(spare) > 1 else self.database
        return Cores(server=self.server | taken, database=self.database, load=self.load - taken or self.load)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A running server with its settings and certificates."""

    settings: Settings
    state: Running
    pki: PkiFolder
    ca: Path

    @property
    def name(self) -> str:
        """Its name in activation codes."""
        return self.settings.server_names[0]


def prepare(folder: Path, log_level: str, **changes: Any) -> Settings:
    """Settings, with `changes` to some of them, and test certificates in an empty folder."""
    passphrase = folder / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(secrets.token_urlsafe(32))
    given: dict[str, Any] = {f"{name}_port": 0 for name in LISTENERS} | {"processes": 1} | changes
    loaded = settings.load(
        {},
        data_dir=folder,
        vault_passphrase_file=passphrase,
        log_level=log_level,
        **given,
    )
    smdp(loaded, "pki", "init")
    return loaded


@contextmanager
def serving(loaded: Settings, cores: Cores) -> Iterator[Subject]:
    """The server on these settings, pinned and ready; stopped at the end."""
    with (loaded.data_dir / "server.log").open("wb") as log:
        command = [sys.executable, "-m", "server", "serve"]
        process = _pinned(command, cores, env=settings.environment(loaded), stdout=log, stderr=log)
        try:
            state = _ready(process, loaded)
            for pid in processes_of(EmbeddedPostgres(loaded.data_dir).cluster):
                os.sched_setaffinity(pid, cores.database)
            pki = layout.load(loaded.pki_dir)
            ca = loaded.data_dir / "tls-ca.pem"
            ca.write_text("".join(ssl.DER_cert_to_PEM_cert(certificate) for certificate in pki.ci_certificates))
            yield Subject(settings=loaded, state=state, pki=pki, ca=ca)
        finally:
            _stop(process)


@contextmanager
def empty(subject: Subject, cores: Cores, *, eim: bool = False, dsn: str = "") -> Iterator[tuple[int, int]]:
    """The empty server with the TLS certificate of ES9+ or of the eIM; yields its process id and port.

    With `dsn` it reads one row of that database by its key for each request.
    """
    pki = subject.pki.eim if eim and subject.pki.eim is not None else subject.pki
    command = [
        sys.executable,
        "-m",
        "tools.floors",
        str(pki.tls_certificate),
        str(pki.tls_key),
        *([dsn] if dsn else []),
    ]
    process = _pinned(command, cores, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
    finally:
        _stop(process)


def _pinned(command: list[str], cores: Cores, **options: object) -> subprocess.Popen[bytes]:
    """A child on the server's cores; it inherits the place this process has while it is started."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores.server)
    try:
        return subprocess.Popen(command, **options)  # type: ignore[call-overload,no-any-return] # noqa: S603 -- ours
    finally:
        os.sched_setaffinity(0, before)


def _stop(process: subprocess.Popen[bytes]) -> None:
    with process:
        process.send_signal(signal.SIGTERM)
        if process.stdout:
            process.stdout.close()


def _ready(process: subprocess.Popen[bytes], loaded: Settings) -> Running:
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended at once: {(loaded.data_dir / 'server.log').read_text()[-2000:]}")
        state = running.read(loaded.data_dir)
        if state and _listens(state, "es9") and _listens(state, "es2"):
            return state
        time.sleep(_LOOK_SECONDS)
    raise RuntimeError(f"the server was not ready within {_READY_SECONDS:.0f} seconds")


def _listens(state: Running, name: str) -> bool:
    with closing(socket.socket()) as probe, suppress(OSError):
        probe.connect((state.hosts[name], state.ports[name]))
        return True
    return False


def stock(subject: Subject, count: int, padding: int) -> None:
    """An operator with `count` generated profiles."""
    certificate, _ = subject.pki.operator_files(OPERATOR)
    smdp(subject.settings, "operator", "add", OPERATOR, "--certificate", str(certificate))
    own = ("--operator", OPERATOR, "--type", PROFILE_TYPE, "--padding", str(padding))
    smdp(subject.settings, "profile", "generate", str(count), *own)


async def order(
    subject: Subject, count: int, concurrency: int, confirmation_code: str | None = None
) -> list[ActivationCode]:
    """Order and release `count` profiles over ES2+, `concurrency` at a time on kept connections."""
    certificate, key = subject.pki.operator_files(OPERATOR)
    tls = identify(trust(subject.ca), certificate, key)
    address = {subject.name: (subject.state.hosts["es2"], subject.state.ports["es2"])}
    codes: list[ActivationCode] = []
    turns = iter(range(count))
    async with Exchange(tls=tls, addresses=address) as exchange, asyncio.TaskGroup() as workers:
        client = OperatorClient(exchange, host=subject.name, function_requester=OPERATOR)
        for _ in range(concurrency):
            workers.create_task(_order(client, subject.name, turns, codes, confirmation_code))
    return codes


async def _order(
    client: OperatorClient, name: str, turns: Iterator[int], codes: list[ActivationCode], confirmation_code: str | None
) -> None:
    for _ in turns:
        iccid = await client.download_order(profile_type=PROFILE_TYPE)
        confirmed = await client.confirm_order(iccid, release=True, confirmation_code=confirmation_code)
        codes.append(ActivationCode(smdp_address=name, matching_id=confirmed.matching_id))


def write_orders(path: Path, codes: Sequence[ActivationCode]) -> None:
    """One activation code a line."""
    path.write_text("".join(f"LPA:{code}\n" for code in codes))


async def load_empty(subject: Subject, port: int, devices: int, concurrency: int) -> None:
    """The requests of `devices` downloads to the empty server, a fresh connection for each device."""
    turns = iter(range(devices))
    async with asyncio.TaskGroup() as workers:
        for _ in range(concurrency):
            workers.create_task(_empty_devices(subject, port, turns))


async def _empty_devices(subject: Subject, port: int, turns: Iterator[int]) -> None:
    tls = trust(subject.ca)
    for _ in turns:
        habits = Habits(connections=Connections.KEPT)
        async with Exchange(tls=tls, addresses={subject.name: ("127.0.0.1", port)}, habits=habits) as exchange:
            for function, size in REQUEST_BYTES.items():
                await exchange.post(subject.name, f"/{function}", b"x" * size)

"""Fixtures with a real server: `smdp serve` on a data folder of its own, with generated certificates and its log.

Loaded by `pytest_plugins` in the root conftest. Certificates and vault are made once for a run and copied.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from certs import creation, layout
from hsm_mock import MockVault
from server import running
from server.clock import SystemClock
from server.running import Running
from server.settings import Settings, environment, load

PASSPHRASE = "correct horse"
_ROOT = Path(__file__).parents[1]
_READY_SECONDS = 90.0
_STOP_SECONDS = 60.0
_LOOK_SECONDS = 0.02
_VAULT_COST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What every server of a run copies: certificates, the vault with their keys, and compiled modules to share."""

    pki: Path
    vault: Path
    modules: Path


@dataclass(slots=True, kw_only=True)
class ServerUnderTest:
    """A running `smdp serve`. `state` is looked up anew each time: processes come and go."""

    settings: Settings
    pki: layout.PkiFolder
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def name(self) -> str:
        """The address devices find in their activation codes."""
        return self.settings.server_names[0]

    @property
    def state(self) -> Running:
        """What the server tells its tools now."""
        state = running.read(self.settings.data_dir)
        assert state is not None, self.log.read_text()[-2000:]
        return state

    def address(self, listener: str) -> tuple[str, int]:
        """Host and port of `es9`, `es2` or `ops`."""
        state = self.state
        return state.hosts[listener], state.ports[listener]

    def records(self) -> list[dict[str, Any]]:
        """The lines of the log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def events(self, event: str) -> list[dict[str, Any]]:
        """The lines of the log about one kind of event so far."""
        return [record for record in self.records() if record["event"] == event]

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_STOP_SECONDS)


@contextmanager
def serving(
    template: Template, folder: Path, command: Sequence[str] = ("server", "serve"), **changes: object
) -> Iterator[ServerUnderTest]:
    """`smdp serve` on a copy of the template in `folder`, ready, on free ports; `changes` are settings.

    It is stopped by SIGTERM at the end unless the test has done so, and must end in success either way.
    """
    settings = _settings(template, folder, changes)
    log = settings.data_dir / "server.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=_ROOT,
            env=environment(settings, _variables(template)),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    server = ServerUnderTest(settings=settings, pki=layout.load(settings.pki_dir), log=log, process=process)
    try:
        _await_ready(server)
        yield server
        assert (server.stop() if process.poll() is None else process.returncode) == 0, log.read_text()[-2000:]
    finally:
        process.kill()
        process.wait()


def _settings(template: Template, folder: Path, changes: dict[str, object]) -> Settings:
    free_ports = {"es9_port": 0, "es2_port": 0, "eim_port": 0, "api_port": 0, "ops_port": 0}
    given = {"data_dir": folder / "var", "vault_passphrase": PASSPHRASE, "processes": 1, **free_ports, **changes}
    settings = load({}, None, **given)
    settings.data_dir.mkdir(mode=0o700, parents=True)
    shutil.copytree(template.pki, settings.pki_dir)
    shutil.copy(template.vault, settings.vault_file)
    return settings


def _variables(template: Template) -> dict[str, str]:
    """Our environment, with one folder for compiled modules: compiling takes most of the time a process starts in."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**variables, "PYTHONPYCACHEPREFIX": str(template.modules)}


def _await_ready(server: ServerUnderTest) -> None:
    end = time.monotonic() + _READY_SECONDS
    while len(server.events("ready")) < server.settings.processes + 1:
        told = server.log.read_text()[-3000:]
        assert server.process.poll() is None, f"the server ended at once: {told}"
        assert time.monotonic() < end, f"the server was not ready within {_READY_SECONDS:.0f} seconds: {told}"
        time.sleep(_LOOK_SECONDS)


@pytest.fixture(scope="session")
def server_template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Generated certificates and their vault."""
    folder = tmp_path_factory.mktemp("server-template")
    template = Template(pki=folder / "pki", vault=folder / "vault.bin", modules=folder / "modules")
    vault = MockVault.create(template.vault, PASSPHRASE, cost=_VAULT_COST)
    names = load({}).server_names
    asyncio.run(creation.init(template.pki, vault, names=names, now=SystemClock().now()))
    return template


@pytest.fixture
def server(server_template: Template, database: str, tmp_path: Path) -> Iterator[ServerUnderTest]:
    """A server of one HTTP process and a worker on a fresh database."""
    with serving(server_template, tmp_path, database_url=database) as made:
        yield made

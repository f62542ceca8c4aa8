"""Sets the stage: a data folder, certificates, a running server, and the command `smdp` as a user types it."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certs import layout
from server import running, settings
from server.running import Running
from server.settings import Settings

SMDS = "smds.example.com"
_READY_SECONDS = 120.0
_STOP_SECONDS = 40.0
_LOOK_SECONDS = 0.05


class Deviation(Exception):  # noqa: N818 -- the name is the fact
    """Something went otherwise than it must: the demonstration has failed."""


def prepare(folder: Path) -> Settings:
    """An empty data folder with a random vault passphrase, two processes and free ports. Raises Deviation."""
    if running.read(folder) is not None:
        raise Deviation(f"a server runs on {folder}: let it end first, or choose another --folder")
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, mode=0o700)
    passphrase = folder / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(secrets.token_urlsafe(32))
    return settings.load(
        data_dir=folder,
        vault_passphrase_file=passphrase,
        processes=2,
        es9_port=0,
        es2_port=0,
        eim_port=0,
        api_port=0,
        ops_port=0,
        smds_hosts=f"{SMDS}=127.0.0.1:{_free_port()}",
    )


def _free_port() -> int:
    """A port for the SM-DS, which the server has to know before there is one."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def smdp(loaded: Settings, *arguments: str) -> Any:
    """Run `smdp ARGUMENTS --json` and return what it printed. Raises Deviation when it fails."""
    command = [sys.executable, "-m", "server", *arguments, "--json"]
    done = subprocess.run(  # noqa: S603 -- our own command
        command, env=settings.environment(loaded), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Deviation(f"smdp {' '.join(arguments)} failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: where it listens, its certificates, its log."""

    settings: Settings
    state: Running
    pki: layout.PkiFolder
    log: Path

    @property
    def name(self) -> str:
        """The address devices find in their activation codes."""
        return self.settings.server_names[0]

    def records(self) -> Iterator[dict[str, Any]]:
        """The lines of its log so far."""
        for line in self.log.read_text().splitlines():
            if line.startswith("{"):
                yield json.loads(line)


@contextmanager
def serving(loaded: Settings) -> Iterator[Server]:
    """`smdp serve` on these settings, ready; stopped by SIGTERM at the end, which must end it cleanly."""
    log = loaded.data_dir / "server.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "server", "serve"], env=settings.environment(loaded), stderr=sink, stdout=sink
        )
    try:
        state = _ready(process, loaded, log)
        yield Server(settings=loaded, state=state, pki=layout.load(loaded.pki_dir), log=log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = -1
    if status:
        raise Deviation(f"the server did not stop cleanly: status {status}, see {log}")


def _ready(process: subprocess.Popen[bytes], loaded: Settings, log: Path) -> Running:
    """Wait until every process has said that it is ready."""
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Deviation(f"the server ended at once: {log.read_text()[-2000:]}")
        state = running.read(loaded.data_dir)
        if state and log.read_text().count('"event": "ready"') >= loaded.processes + 1:
            return state
        time.sleep(_LOOK_SECONDS)
    raise Deviation(f"the server was not ready within {_READY_SECONDS:.0f} seconds, see {log}")

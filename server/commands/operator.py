"""`smdp operator`: registers the operators that may order profiles, and where they are told about downloads."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from server.commands import operator_messages, operator_rules

if TYPE_CHECKING:
    from server.settings import Settings
    from store.directory import Operators
    from tenancy.operator import Operator

    Reach = Callable[[Settings], AbstractContextManager[str]]

app = typer.Typer(no_args_is_help=True, help="Operators: who may order profiles over ES2+, and with which certificate.")

app.command("messages")(operator_messages.messages)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
_T = TypeVar("_T")


@app.command()
def add(  # noqa: PLR0913 -- one parameter an option
    name: Annotated[str, typer.Argument(help="Its name here: 1 to 64 printable characters, no space at either end.")],
    *,
    certificate: Annotated[list[Path], typer.Option(help="Its client certificate (PEM or DER), repeatable.")],
    requester_id: Annotated[str, typer.Option(help="Its functionRequesterIdentifier; the name unless given.")] = "",
    callback_url: Annotated[str, typer.Option(help="Base address of its ES2+ server, such as https://host:port.")] = "",
    download_attempts: operator_rules.Attempts = None,
    confirmation_attempts: operator_rules.Codes = None,
    order_days: operator_rules.OrderDays = None,
    after_deletion: operator_rules.AfterDeletion = None,
    redownloads: operator_rules.Redownloads = None,
    rebinding: operator_rules.Rebinding = None,
    bind_imei: operator_rules.BindImei = None,
    iot_euiccs: operator_rules.IotEuiccs = None,
    minimum_saip: operator_rules.MinimumSaip = None,
    tacs_allowed: operator_rules.TacsAllowed = None,
    tacs_denied: operator_rules.TacsDenied = None,
    eums_allowed: operator_rules.EumsAllowed = None,
    eums_denied: operator_rules.EumsDenied = None,
    notification_points: operator_rules.Points = None,
    as_json: AsJson = False,
) -> None:
    """Register an operator.

    Example: smdp operator add operator-a --certificate var/pki/operators/operator-a.pem
    """
    from tenancy.operator import Operator, operator_name

    own = operator_name(name)
    fingerprints = tuple(_fingerprint(file) for file in certificate)
    given = {
        "download_attempts": download_attempts,
        "confirmation_attempts": confirmation_attempts,
        "order_days": order_days,
        "after_deletion": after_deletion,
        "redownloads": redownloads,
        "rebinding": rebinding,
        "bind_imei": bind_imei,
        "iot_euiccs": iot_euiccs,
        "minimum_saip": minimum_saip,
        "tacs_allowed": tacs_allowed,
        "tacs_denied": tacs_denied,
        "eums_allowed": eums_allowed,
        "eums_denied": eums_denied,
        "notification_points": notification_points,
    }
    rules = operator_rules.chosen(given)
    named = Operator(id=0, name=own, requester_id=requester_id or own, callback_url=_base_url(callback_url))
    wanted = replace(named, **rules)

    async def use(directory: Operators) -> list[_Listed]:
        return await _listed(directory, [await directory.add_operator(wanted, fingerprints)])

    _show(_with_directory(use), as_json=as_json)


@app.command("list")
def list_(
    *,
    name: Annotated[str, typer.Option("--filter", help="Only names that contain this text.")] = "",
    as_json: AsJson = False,
) -> None:
    """List operators.

    Example: smdp operator list --filter operator --json
    """
    from server.database import looked_at

    async def use(directory: Operators) -> list[_Listed]:
        return await _listed(directory, await directory.list_operators(name_contains=name))

    _show(_with_directory(use, looked_at), as_json=as_json)


@app.command("certificate")
def certificate_(
    name: Annotated[str, typer.Argument(help="Name of the operator.")],
    file: Annotated[Path, typer.Argument(help="A client certificate (PEM or DER).")],
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Take it away instead: calls with it get 403.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let an operator call with one more certificate, or with one less.

    Example: smdp operator certificate operator-a renewed.pem

    Example: smdp operator certificate operator-a old.pem --remove
    """
    from rsp.errors import Malformed

    fingerprint = _fingerprint(file)

    async def change(directory: Operators) -> list[_Listed]:
        operator = await _named(directory, name)
        if not remove:
            await directory.add_certificate(operator.id, fingerprint)
        elif not await directory.remove_certificate(operator.id, fingerprint):
            raise Malformed(f"{name} does not call with the certificate in {file}")
        return await _listed(directory, [operator])

    _show(_with_directory(change), as_json=as_json)


@app.command("change")
def change_(  # noqa: PLR0913 -- one parameter an option
    name: Annotated[str, typer.Argument(help="Name of the operator.")],
    *,
    callback_url: Annotated[
        str | None, typer.Option(help="Base address of its ES2+ server; empty text to stop telling it.")
    ] = None,
    download_attempts: operator_rules.Attempts = None,
    confirmation_attempts: operator_rules.Codes = None,
    order_days: operator_rules.OrderDays = None,
    after_deletion: operator_rules.AfterDeletion = None,
    redownloads: operator_rules.Redownloads = None,
    rebinding: operator_rules.Rebinding = None,
    bind_imei: operator_rules.BindImei = None,
    iot_euiccs: operator_rules.IotEuiccs = None,
    minimum_saip: operator_rules.MinimumSaip = None,
    tacs_allowed: operator_rules.TacsAllowed = None,
    tacs_denied: operator_rules.TacsDenied = None,
    eums_allowed: operator_rules.EumsAllowed = None,
    eums_denied: operator_rules.EumsDenied = None,
    notification_points: operator_rules.Points = None,
    reset: operator_rules.Reset = None,
    active: Annotated[bool | None, typer.Option("--active/--inactive", help="Whether it may call.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change where an operator is told about downloads, its limits and rules, and whether it may call.

    Example: smdp operator change operator-a --callback-url https://callbacks.operator-a.example

    Example: smdp operator change operator-a --after-deletion reuse --redownloads 4 --reset order-days
    """
    from rsp.errors import Malformed

    given = {
        "download_attempts": download_attempts,
        "confirmation_attempts": confirmation_attempts,
        "order_days": order_days,
        "after_deletion": after_deletion,
        "redownloads": redownloads,
        "rebinding": rebinding,
        "bind_imei": bind_imei,
        "iot_euiccs": iot_euiccs,
        "minimum_saip": minimum_saip,
        "tacs_allowed": tacs_allowed,
        "tacs_denied": tacs_denied,
        "eums_allowed": eums_allowed,
        "eums_denied": eums_denied,
        "notification_points": notification_points,
    }
    changes = operator_rules.chosen(given, reset)
    if callback_url is not None:
        changes["callback_url"] = _base_url(callback_url)
    if active is not None:
        changes["active"] = active
    if not changes:
        raise Malformed("nothing to change: give --callback-url, --active, a limit or a rule; --help lists them")

    async def change(directory: Operators) -> list[_Listed]:
        operator = replace(await _named(directory, name), **changes)
        await directory.change_operator(operator)
        return await _listed(directory, [operator])

    _show(_with_directory(change), as_json=as_json)


async def _named(directory: Operators, name: str) -> Operator:
    from rsp.errors import Malformed

    operator = await directory.by_name(name)
    if operator is None:
        raise Malformed(f"no operator is called {name!r}: see `smdp operator list`")
    return operator


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """An operator, and the fingerprints of the certificates it calls with."""

    operator: Operator
    fingerprints: tuple[bytes, ...]


async def _listed(directory: Operators, operators: list[Operator]) -> list[_Listed]:
    certificates = await directory.fingerprints()
    return [_Listed(operator=one, fingerprints=certificates.get(one.id, ())) for one in operators]


def _with_directory(use: Callable[[Operators], Awaitable[_T]], reach: Reach | None = None) -> _T:
    """Do something with the directory of operators of the configured database, which is made unless `reach` differs."""
    from server.database import opened, reached
    from server.settings import load
    from store.directory import Operators

    async def run(dsn: str) -> _T:
        async with opened(dsn) as pool:
            return await use(Operators(pool))

    with (reach or reached)(load()) as dsn:
        return asyncio.run(run(dsn))


def _fingerprint(file: Path) -> bytes:
    """SHA-256 of the certificate in a file. Raises BadPki for a file that holds none."""
    from cryptography import x509

    from certs import files
    from certs.errors import BadPki

    certificate = files.read_certificate(file)
    try:
        x509.load_der_x509_certificate(certificate)
    except ValueError:
        raise BadPki(f"{file} holds no readable certificate: give a DER or PEM file") from None
    return hashlib.sha256(certificate).digest()


def _base_url(text: str) -> str:
    """An https address without path. Raises Malformed."""
    from yarl import URL

    from rsp.errors import Malformed

    if not text:
        return ""
    try:
        url = URL(text)
    except ValueError:
        url = URL("")
    if url.scheme != "https" or not url.host or url.path not in ("", "/") or url.query_string:
        raise Malformed("a callback address reads https://host:port, without a path")
    return str(url.origin())


def _show(listed: list[_Listed], *, as_json: bool) -> None:
    from server.printing import echo_json, echo_table

    rows = [_row(one) for one in listed]
    if as_json:
        echo_json(rows)
        return
    columns = ("name", "requesterId", "callbackUrl", "downloadAttempts", "confirmationAttempts", "active")
    lines = [["" if row[name] is None else str(row[name]) for name in columns] for row in rows]
    certificates = [str(len(one.fingerprints)) for one in listed]
    cells = [[*line, count] for line, count in zip(lines, certificates, strict=True)]
    echo_table((*columns, "certificates"), cells, "There are no such operators.")


def _row(one: _Listed) -> dict[str, Any]:
    return {
        "id": one.operator.id,
        "name": one.operator.name,
        "requesterId": one.operator.requester_id,
        "callbackUrl": one.operator.callback_url,
        **operator_rules.shown(one.operator),
        "active": one.operator.active,
        "certificates": [fingerprint.hex().upper() for fingerprint in one.fingerprints],
    }

"""`smdp operator`: registers the operators that may order profiles, and where they are told about downloads."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from tenancy.operator import Directory, Operator

app = typer.Typer(no_args_is_help=True, help="Operators: who may order profiles over ES2+, and with which certificate.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
_T = TypeVar("_T")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name of the operator here.")],
    *,
    certificate: Annotated[list[Path], typer.Option(help="Its client certificate (PEM or DER), repeatable.")],
    requester_id: Annotated[str, typer.Option(help="Its functionRequesterIdentifier; the name unless given.")] = "",
    callback_url: Annotated[str, typer.Option(help="Base address of its ES2+ server, such as https://host:port.")] = "",
    as_json: AsJson = False,
) -> None:
    """Register an operator.

    Example: smdp operator add operator-a --certificate var/pki/operators/operator-a.pem
    """
    from tenancy.operator import Operator

    fingerprints = tuple(_fingerprint(file) for file in certificate)
    wanted = Operator(id=0, name=name, requester_id=requester_id or name, callback_url=_base_url(callback_url))
    _show([_with_directory(lambda directory: directory.add_operator(wanted, fingerprints))], as_json=as_json)


@app.command("list")
def list_(
    *,
    name: Annotated[str, typer.Option("--filter", help="Only names that contain this text.")] = "",
    as_json: AsJson = False,
) -> None:
    """List operators.

    Example: smdp operator list --filter operator --json
    """
    _show(_with_directory(lambda directory: directory.list_operators(name_contains=name)), as_json=as_json)


@app.command("certificate")
def certificate_(
    name: Annotated[str, typer.Argument(help="Name of the operator.")],
    file: Annotated[Path, typer.Argument(help="One more client certificate (PEM or DER).")],
    *,
    as_json: AsJson = False,
) -> None:
    """Let an operator call with one more certificate.

    Example: smdp operator certificate operator-a renewed.pem
    """
    fingerprint = _fingerprint(file)

    async def change(directory: Directory) -> Operator:
        operator = await _named(directory, name)
        await directory.add_certificate(operator.id, fingerprint)
        return operator

    _show([_with_directory(change)], as_json=as_json)


@app.command()
def callback(
    name: Annotated[str, typer.Argument(help="Name of the operator.")],
    url: Annotated[str, typer.Argument(help="Base address of its ES2+ server; empty text to stop telling it.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Set where an operator is told about downloads.

    Example: smdp operator callback operator-a https://callbacks.operator-a.example
    """
    address = _base_url(url)

    async def change(directory: Directory) -> Operator:
        operator = await _named(directory, name)
        await directory.change_callback(operator.id, address)
        return await _named(directory, name)

    _show([_with_directory(change)], as_json=as_json)


async def _named(directory: Directory, name: str) -> Operator:
    from rsp.errors import Malformed

    operator = await directory.by_name(name)
    if operator is None:
        raise Malformed(f"no operator is called {name!r}: see `smdp operator list`")
    return operator


def _with_directory(use: Callable[[Directory], Awaitable[_T]]) -> _T:
    """Do something with the directory of operators of the configured database."""
    from server.database import opened, reached
    from server.settings import load
    from store.directory import Operators

    async def run(dsn: str) -> _T:
        async with opened(dsn) as pool:
            return await use(Operators(pool))

    with reached(load()) as dsn:
        return asyncio.run(run(dsn))


def _fingerprint(file: Path) -> bytes:
    from certs import files

    return hashlib.sha256(files.read_certificate(file)).digest()


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


def _show(operators: list[Operator], *, as_json: bool) -> None:
    rows = [
        {"name": one.name, "requesterId": one.requester_id, "callbackUrl": one.callback_url, "active": one.active}
        for one in operators
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for one in operators:
        typer.echo(f"{one.name:<24}{one.requester_id:<24}{one.callback_url or 'is not told'}")

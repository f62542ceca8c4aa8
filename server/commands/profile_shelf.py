"""`smdp profile withdraw`, `restore` and `type`: what may be ordered, decided by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from smdp.shelf import Shelf
    from store.pool import Pool
    from tenancy.operator import Operator

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
OperatorName = Annotated[str, typer.Option("--operator", help="The operator that owns the profiles.")]
Iccids = Annotated[list[str], typer.Argument(help="The profiles.")]


def withdraw(iccids: Iccids, *, operator: OperatorName, as_json: AsJson = False) -> None:
    """Take profiles out of stock: nobody can order them. Those that an order holds are refused.

    Example: smdp profile withdraw 8988010000000000006 --operator operator-a
    """
    from rsp.identifiers import Iccid

    async def use(shelf: Shelf, owner: Operator) -> None:
        for iccid in iccids:
            await shelf.withdraw(owner.id, Iccid.parse(iccid))

    _on_shelf(operator, use)
    _say(iccids, "unavailable", as_json=as_json)


def restore(
    iccids: Iccids,
    *,
    operator: OperatorName,
    anyway: Annotated[bool, typer.Option("--anyway", help="Also one that a card may still hold.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring withdrawn profiles back into stock; `smdp profile list --state unavailable` names them.

    Example: smdp profile restore 8988010000000000006 --operator operator-a
    """
    from rsp.identifiers import Iccid

    async def use(shelf: Shelf, owner: Operator) -> None:
        for iccid in iccids:
            await shelf.restore(owner.id, Iccid.parse(iccid), anyway=anyway)

    _on_shelf(operator, use)
    _say(iccids, "available", as_json=as_json)


def type_(
    name: Annotated[str, typer.Argument(help="The profile type.")],
    *,
    operator: OperatorName,
    is_open: Annotated[bool, typer.Option("--open/--closed", help="Whether it may be ordered.")],
    as_json: AsJson = False,
) -> None:
    """Open a profile type for ordering, or close it; orders that run go on.

    Example: smdp profile type iot-basic --operator operator-a --closed
    """
    from rsp.errors import Malformed
    from server.owners import owner_of
    from server.printing import echo_json

    async def use(pool: Pool) -> None:
        from store.stock import Stock

        owner = await owner_of(pool, operator)
        if not await Stock(pool).open_type(owner.id, name, is_open=is_open):
            raise Malformed(f"{operator} has no profile type {name!r}: see `smdp profile list`")

    _with_pool(use)
    if as_json:
        echo_json({"profileType": name, "open": is_open})
    else:
        typer.echo(f"{name} is {'open' if is_open else 'closed'} for ordering")


def _on_shelf(operator: str, use: Callable[[Shelf, Operator], Awaitable[None]]) -> None:
    from server.owners import owner_of
    from smdp.shelf import Shelf

    async def run(pool: Pool) -> None:
        from store.ordering import Orderings

        await use(Shelf(Orderings(pool)), await owner_of(pool, operator))

    _with_pool(run)


def _with_pool(use: Callable[[Pool], Awaitable[None]]) -> None:
    from server.database import opened, reached
    from server.settings import load

    async def run(dsn: str) -> None:
        async with opened(dsn) as pool:
            await use(pool)

    with reached(load()) as dsn:
        asyncio.run(run(dsn))


def _say(iccids: list[str], state: str, *, as_json: bool) -> None:
    from rsp.identifiers import Iccid
    from server.printing import echo_json

    rows = [{"iccid": str(Iccid.parse(iccid)), "state": state} for iccid in iccids]
    if as_json:
        echo_json(rows)
        return
    for row in rows:
        typer.echo(f"ICCID {row['iccid']} is {state}")

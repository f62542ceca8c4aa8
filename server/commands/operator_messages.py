"""`smdp operator messages`: what an operator is told and has not taken yet, and buried messages sent once more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from smdp.reading import MessageRow
    from store.pool import Pool


def _known_state(value: str) -> str:
    """A state of a message, or nothing. Raises BadParameter, which names them all."""
    from smdp.reading import MessageState

    if value and value not in list(MessageState):
        raise typer.BadParameter(f"give one of {', '.join(MessageState)}")
    return value


def messages(
    name: Annotated[str, typer.Argument(help="Name of the operator.")],
    *,
    state: Annotated[str, typer.Option(help="Only waiting, sent or buried ones.", callback=_known_state)] = "",
    iccid: Annotated[str, typer.Option(help="Only those about this profile.")] = "",
    most: Annotated[int, typer.Option("--limit", "--most", min=1, help="At most this many, the newest.")] = 100,
    retry: Annotated[
        bool, typer.Option("--retry", help="Send the buried ones among them once more, in the order of their ICCID.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """List the messages to an operator, newest first, and send buried ones once more.

    Example: smdp operator messages operator-a --state buried --retry
    """
    from server.database import opened, reached
    from server.printing import echo_json, echo_table
    from server.settings import load

    async def run(dsn: str) -> tuple[list[MessageRow], int]:
        async with opened(dsn) as pool:
            return await _listed(pool, name, state, iccid, most, retry=retry)

    with reached(load()) as dsn:
        found, retried = asyncio.run(run(dsn))
    rows = [_row(one) for one in found]
    if len(rows) == most:
        typer.echo(f"only the newest {most}; --limit shows more", err=True)
    if as_json:
        echo_json({"messages": rows, "retried": retried} if retry else rows)
        return
    columns = ("id", "iccid", "state", "point", "failure", "attempts", "lastError", "createdAt")
    cells = [["" if row[each] is None else str(row[each]) for each in columns] for row in rows]
    echo_table(columns, cells, "There are no such messages.")
    if retry:
        typer.echo(f"{retried} messages are due again", err=True)


async def _listed(
    pool: Pool, name: str, state: str, iccid: str, most: int, *, retry: bool
) -> tuple[list[MessageRow], int]:
    from rsp.identifiers import Iccid
    from server.owners import owner_of
    from smdp.reading import MessageFilter, MessageState
    from store.messages import Messages

    owner = await owner_of(pool, name)
    wanted = MessageFilter(
        tenant_id=owner.id,
        state=MessageState(state) if state else None,
        iccid=Iccid.parse(iccid) if iccid else None,
        most=most,
    )
    messages = Messages(pool)
    found = await messages.list_messages(wanted)
    buried = [one.id for one in found if one.state is MessageState.BURIED]
    return found, await messages.retry(owner.id, buried) if retry and buried else 0


def _row(one: MessageRow) -> dict[str, Any]:
    from server.commands.order_reading import told_row

    return {"id": one.id, "iccid": one.iccid, "state": one.state.value, **told_row(one.told)}

"""`smdp order list` and `show`: what the database knows of orders, their sessions and what operators were told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from server.settings import Settings
    from smdp.reading import OrderHistory, OrderRow, SessionRow, ToldRow
    from store.pool import Pool

_T = TypeVar("_T")


def _known_state(value: str) -> str:
    """A state of an order, or nothing. Raises BadParameter, which names them all."""
    from smdp.order import OrderState

    if value and value not in list(OrderState):
        raise typer.BadParameter(f"give one of {', '.join(OrderState)}")
    return value


def list_(
    *,
    operator: Annotated[str, typer.Option("--operator", help="Only those of this operator.")] = "",
    state: Annotated[str, typer.Option(help="Only this state.", callback=_known_state)] = "",
    eid: Annotated[str, typer.Option(help="Only those of this card.")] = "",
    profile_type: Annotated[str, typer.Option("--type", help="Only this profile type.")] = "",
    most: Annotated[int, typer.Option("--limit", "--most", min=1, help="At most this many, the newest.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """List orders, without their activation codes.

    Example: smdp order list --operator operator-a --state released --json
    """
    from rsp.identifiers import Eid
    from server.printing import echo_json, echo_table
    from server.settings import load
    from smdp.reading import OrderFilter

    card = str(Eid(eid)) if eid else ""

    async def use(pool: Pool) -> list[OrderRow]:
        from server.owners import owner_of
        from store.order_book import OrderBook

        tenant = (await owner_of(pool, operator)).id if operator else None
        wanted = OrderFilter(tenant_id=tenant, state=state, eid=card, profile_type=profile_type, most=most)
        return await OrderBook(pool).list_orders(wanted)

    rows = [_order(one) for one in _read(load(), use)]
    if len(rows) == most:
        typer.echo(f"only the newest {most}; --limit shows more", err=True)
    if as_json:
        echo_json(rows)
        return
    columns = ("iccid", "operator", "profileType", "state", "eid", "createdAt")
    echo_table(columns, [[row[name] for name in columns] for row in rows], "There are no such orders.")


def show(
    iccid: Annotated[str, typer.Argument(help="The profile that was ordered.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Show the latest order of a profile: its activation code while that is good, its sessions, what was told.

    Example: smdp order show 8988000000000000008
    """
    from rsp.errors import Malformed
    from rsp.identifiers import Iccid
    from server.printing import echo_json
    from server.settings import load

    wanted, settings = Iccid.parse(iccid), load()

    async def use(pool: Pool) -> OrderHistory | None:
        from store.order_book import OrderBook

        return await OrderBook(pool).order_history(wanted)

    found = _read(settings, use)
    if found is None:
        raise Malformed(f"nobody has ordered a profile with ICCID {wanted}: see `smdp order list`")
    history = _history(found, settings)
    if as_json:
        echo_json(history)
    else:
        _print(history)


def _read(settings: Settings, use: Callable[[Pool], Awaitable[_T]]) -> _T:
    from server.database import looked_at, opened

    async def run(dsn: str) -> _T:
        async with opened(dsn) as pool:
            return await use(pool)

    with looked_at(settings) as dsn:
        return asyncio.run(run(dsn))


def _order(one: OrderRow) -> dict[str, Any]:
    from server.printing import moment

    return {
        "iccid": str(one.iccid),
        "operator": one.tenant,
        "profileType": one.profile_type,
        "state": one.state.value,
        "eid": one.eid,
        "createdAt": moment(one.created_at),
        "expiresAt": moment(one.expires_at),
        "endedAt": moment(one.ended_at),
    }


def _history(found: OrderHistory, settings: Settings) -> dict[str, Any]:
    """Limits are those of the operator, else the server's."""
    from server.printing import moment

    order, limits = found.order, found.limits
    return _order(order) | {
        "downloadAttempts": order.download_attempts,
        "downloadAttemptsLimit": limits.download_attempts or settings.download_attempts,
        "confirmationAttempts": order.confirmation_attempts,
        "confirmationAttemptsLimit": limits.confirmation_attempts or settings.confirmation_code_attempts,
        "activationCode": _activation_code(found, settings),
        "smdsAddress": found.smds_address,
        "event": found.event,
        "eventError": found.event_error,
        "imei": found.imei,
        "redownloads": found.redownloads,
        "cardState": found.card.state.value if found.card else "",
        "cardStateAt": moment(found.card.at) if found.card else None,
        "sessions": [_session(one) for one in found.sessions],
        "told": [told_row(one) for one in found.told],
    }


def _activation_code(found: OrderHistory, settings: Settings) -> str | None:
    """The text of the QR code, while a device can use it or could once the order is released."""
    from rsp.identifiers import ActivationCode
    from smdp.order import OrderState

    if found.order.state not in (OrderState.CONFIRMED, OrderState.RELEASED, OrderState.DOWNLOADED):
        return None
    return ActivationCode(
        smdp_address=settings.server_names[0],
        matching_id=found.matching_id,
        confirmation_code_required=found.asks_code,
    ).for_qr()


def _session(one: SessionRow) -> dict[str, Any]:
    from server.printing import moment

    return {
        "transactionId": str(one.transaction_id),
        "state": one.state.value,
        "eid": one.eid,
        "refusal": _codes(one.refusal),
        "createdAt": moment(one.created_at),
        "expiresAt": moment(one.expires_at),
    }


def told_row(one: ToldRow) -> dict[str, Any]:
    """What an operator is told, as JSON. Points have their numbers here: the operator may have others for them."""
    from server.printing import moment

    return {
        "notificationPointId": one.point,
        "point": _point(one.point),
        "failure": _codes(one.status),
        "attempts": one.attempts,
        "lastError": one.error,
        "createdAt": moment(one.created_at),
        "sentAt": moment(one.sent_at),
        "buriedAt": moment(one.buried_at),
    }


def _point(number: int) -> str:
    """The word for a notification point; a number of another release stays as it is."""
    from smdp.progress import NotificationPoint

    return NotificationPoint(number).word if number in list(NotificationPoint) else str(number)


def _codes(name: str) -> str | None:
    """subject/reason of a Status by its name; a name of another release stays as it is."""
    from rsp.status import Status

    if not name or name not in Status.__members__:
        return name or None
    return f"{Status[name].subject}/{Status[name].reason}"


def _print(history: dict[str, Any]) -> None:

    for name in ("iccid", "operator", "profileType", "state", "eid", "createdAt", "expiresAt", "endedAt"):
        typer.echo(f"{name:<22}{history[name] or '-'}")
    for name in ("downloadAttempts", "confirmationAttempts"):
        typer.echo(f"{name:<22}{history[name]} of {history[f'{name}Limit']}")
    shown = ("activationCode", "smdsAddress", "event", "eventError", "imei", "redownloads", "cardState", "cardStateAt")
    for name in shown:
        typer.echo(f"{name:<22}{history[name] or '-'}")
    typer.echo()
    _print_rows(history["sessions"], "No device has asked for it.")
    typer.echo()
    _print_rows(history["told"], "The operator was told nothing.")


def _print_rows(rows: list[dict[str, Any]], empty: str) -> None:
    from server.printing import echo_table

    columns = list(rows[0]) if rows else []
    echo_table(columns, [["" if row[name] is None else str(row[name]) for name in columns] for row in rows], empty)

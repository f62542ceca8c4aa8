"""Guarded steps of orders and sessions, and messages, as parts of one statement (SGP.22 annex C as stored rows)."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    BindParameter,
    Boolean,
    ColumnElement,
    Integer,
    Select,
    Text,
    Update,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.types import TypeEngine

from smdp.order import OrderChange
from smdp.ports import DownloadWrite
from smdp.progress import KIND, Message
from smdp.session import SessionChange
from store.compiled import Statement, compiled
from store.tables import orders, outbox, sessions, smds_events, tenants
from store.withdrawal import withdrawal

_SEALED = ("key_sealed", "confirmation_sealed")
_BINDING = ("euicc_otpk", "otsk_sealed", "host_id", "ci_key_id")
_ORDER_KEPT = ("matching_id", "expires_at", "eid_named", "handed_out", "smds_address")
_OF_THE_CARD = ("eid", "imei", "installed_seq", "card_state", "card_seq", "card_at")
_ORDER_FLAGS = ("ended", "reset", "unbound", "settled", "forgotten")
_ORDER_COUNTS = ("confirmations", "downloads", "redownloads")
_SESSION_KEPT = (
    "order_id",
    "eid",
    "euicc_key",
    "smdp_signed2",
    "smdp_signature2",
    "authenticate_digest",
    "download_digest",
    "secure_channel",
    "refusal",
)


def parameter(name: str, kind: TypeEngine[Any] | type[TypeEngine[Any]]) -> BindParameter[Any]:
    """A parameter of a statement, with the type that PostgreSQL is told."""
    return bindparam(name, type_=kind)


def order_update() -> Update:
    """The guarded step of an order; takes `order_arguments`."""
    ended, reset, unbound, settled, forgotten = (parameter(f"order_{name}", Boolean) for name in _ORDER_FLAGS)
    values: dict[str, object] = {
        "state": parameter("order_state", Text),
        "version": orders.c.version + 1,
        "changed_at": func.now(),
        "confirmation_attempts": _counted(orders.c.confirmation_attempts, reset, "order_confirmations"),
        "download_attempts": _counted(orders.c.download_attempts, reset, "order_downloads"),
        "redownloads": orders.c.redownloads + parameter("order_redownloads", Integer),
        "ended_at": case((ended, func.coalesce(orders.c.ended_at, func.now())), else_=orders.c.ended_at),
        "awaiting": case((settled, null()), else_=_kept_or_new("order", orders.c.awaiting)),
    }
    values |= {name: _kept_or_new("order", orders.c[name]) for name in _ORDER_KEPT}
    values |= {name: case((ended, null()), else_=_kept_or_new("order", orders.c[name])) for name in _SEALED}
    values |= {name: case((ended | unbound, null()), else_=_kept_or_new("order", orders.c[name])) for name in _BINDING}
    values |= {name: case((forgotten, null()), else_=_kept_or_new("order", orders.c[name])) for name in _OF_THE_CARD}
    return (
        update(orders)
        .where(
            orders.c.id == parameter("order_id", BigInteger),
            orders.c.state == parameter("order_expected", Text),
            orders.c.version == parameter("order_version", Integer),
        )
        .values(values)
    )


def _counted(column: ColumnElement[int], reset: ColumnElement[bool], name: str) -> ColumnElement[int]:
    """The counter after this step, which may also begin it anew."""
    return case((reset, 0), else_=column) + parameter(name, Integer)


_NO_ORDER: dict[str, object] = {
    **dict.fromkeys(("order_id", "order_expected", "order_version", "order_state"), None),
    **dict.fromkeys((f"order_{name}" for name in _ORDER_FLAGS), False),
    **dict.fromkeys((f"order_{name}" for name in _ORDER_COUNTS), 0),
    **dict.fromkeys((f"order_{name}" for name in ("awaiting", *_ORDER_KEPT, *_OF_THE_CARD, *_SEALED, *_BINDING)), None),
}


def order_arguments(change: OrderChange | None) -> dict[str, object]:
    """Parameters of `order_update`; for None they meet no row."""
    values = dict(_NO_ORDER)
    if change is None:
        return values
    values |= {f"order_{name}": getattr(change, name) for name in _SEALED}
    if change.binding is not None:
        values |= {f"order_{name}": getattr(change.binding, name) for name in _BINDING}
    if change.card is not None:
        values |= {
            "order_card_state": change.card.state.value,
            "order_card_seq": change.card.seq_number,
            "order_card_at": change.card.at,
        }
    return values | {
        "order_id": change.order_id,
        "order_expected": change.expected.value,
        "order_version": change.version,
        "order_state": change.state.value,
        "order_ended": change.ends,
        "order_reset": change.reset_attempts,
        "order_unbound": change.unbind,
        "order_settled": change.settle,
        "order_forgotten": change.forget_card,
        "order_confirmations": int(change.count_confirmation),
        "order_downloads": int(change.count_download),
        "order_redownloads": int(change.count_redownload),
        "order_eid": str(change.eid) if change.eid else None,
        "order_matching_id": str(change.matching_id) if change.matching_id else None,
        "order_expires_at": change.expires_at,
        "order_eid_named": change.eid_named,
        "order_handed_out": change.handed_out,
        "order_imei": change.imei,
        "order_awaiting": change.awaiting,
        "order_installed_seq": change.installed_seq,
        "order_smds_address": change.smds_address,
    }


def message_arguments(messages: tuple[Message, ...]) -> dict[str, object]:
    """Parameters of the messages' part: one array per column."""
    return {
        "message_tenants": [message.tenant_id for message in messages],
        "message_lines": [message.line for message in messages],
        "message_kinds": [message.kind for message in messages],
        "message_bodies": [msgspec.json.encode(message.body).decode() for message in messages],
    }


def write_arguments(write: DownloadWrite | None, more: int = 0) -> dict[str, object]:
    """Parameters of `WRITE`, or of a statement of `with_write` that needs `more` rows; None writes nothing."""
    if write is None:
        return {"rows_wanted": more} | _session_arguments(None) | order_arguments(None) | message_arguments(())
    rows = more + (write.session is not None) + (write.order is not None)
    values = order_arguments(write.order)
    values.update(_session_arguments(write.session))
    values.update(message_arguments(write.messages))
    values["rows_wanted"] = rows
    return values


def withdraws(write: DownloadWrite | None) -> bool:
    """Whether a write is one for a statement of `with_withdrawal`."""
    return write is not None and write.order is not None and write.order.withdraws


def withdrawal_arguments(write: DownloadWrite | None, more: int = 0) -> dict[str, object]:
    """Parameters of a statement of `with_withdrawal`."""
    return write_arguments(write, more) | {"order_withdraws": withdraws(write)}


def _session_update() -> Update:
    kept = {name: _kept_or_new("session", sessions.c[name]) for name in _SESSION_KEPT}
    return (
        update(sessions)
        .where(
            sessions.c.transaction_id == parameter("session_transaction_id", sessions.c.transaction_id.type),
            sessions.c.state == parameter("session_expected", Text),
        )
        .values({"state": parameter("session_state", Text), **kept})
    )


_SESSION_MEMBERS = tuple((f"session_{name}", name) for name in _SESSION_KEPT)
_NO_SESSION: dict[str, object] = dict.fromkeys(
    f"session_{name}" for name in (*_SESSION_KEPT, "transaction_id", "expected", "state")
)


def _session_arguments(change: SessionChange | None) -> dict[str, object]:
    """Parameters of the session's part; for None they meet no row."""
    if change is None:
        return dict(_NO_SESSION)
    values: dict[str, object] = {parameter: getattr(change, name) for parameter, name in _SESSION_MEMBERS}
    return values | {
        "session_transaction_id": change.transaction_id.value,
        "session_expected": change.expected.value,
        "session_state": change.state.value,
        "session_eid": str(change.eid) if change.eid else None,
    }


def _kept_or_new(prefix: str, column: ColumnElement[object]) -> ColumnElement[object]:
    return func.coalesce(parameter(f"{prefix}_{column.key}", column.type), column)


_MESSAGE_ARRAYS = (
    parameter("message_tenants", ARRAY(BigInteger)),
    parameter("message_lines", ARRAY(Text)),
    parameter("message_kinds", ARRAY(Text)),
    parameter("message_bodies", ARRAY(Text)),
)
NO_ADDRESS = "the operator has no callback address"
"""Why a message was buried the moment it was written."""
_told = select(
    *(
        func.unnest(array).label(name)
        for array, name in zip(_MESSAGE_ARRAYS, ("tenant_id", "line", "kind", "body"), strict=True)
    )
).subquery("news")
# Nobody asked to be told: the message is kept for people to see, and no worker ever has to look at it.
_unasked = exists().where(
    tenants.c.id == _told.c.tenant_id,
    tenants.c.callback_url == literal("", Text),
    _told.c.kind == literal(KIND, Text),
)
_TELL = insert(outbox).from_select(
    ["tenant_id", "line", "kind", "body", "buried_at", "last_error"],
    select(*_told.c, case((_unasked, func.now())), case((_unasked, literal(NO_ADDRESS, Text)))),
)
_SESSION_STEP = _session_update().returning(sessions.c.transaction_id).cte("session_step")
_ORDER_STEP = order_update().returning(orders.c.id).cte("order_step")


def _count(step: CTE) -> ColumnElement[int]:
    return select(func.count()).select_from(step).scalar_subquery()


def with_write(*steps: CTE) -> Statement:
    """`steps` and a whole DownloadWrite as one statement, so one round trip and one commit; takes `write_arguments`.

    A data-modifying statement changes what it finds and says nothing of what it did not: `require_rows` raises for it.
    """
    return compiled(_written(*steps))


def with_withdrawal(*steps: CTE) -> Statement:
    """The same for writes of which one `withdraws`; takes `withdrawal_arguments`."""
    of_the_order = and_(smds_events.c.order_id.in_(select(_ORDER_STEP.c.id)), parameter("order_withdraws", Boolean))
    return compiled(_written(*steps).add_cte(*withdrawal(of_the_order)))


def _written(*steps: CTE) -> Select[Any]:
    first, *others = (_count(step) for step in (_SESSION_STEP, _ORDER_STEP, *steps))
    found = sum(others, first)
    return select(func.require_rows(found, parameter("rows_wanted", BigInteger))).add_cte(_TELL.cte("told"))


TELL = compiled(_TELL)
"""Puts messages into the outbox, in order; takes `message_arguments`."""

ORDER_STEP = compiled(order_update().returning(orders.c.id))
"""One guarded step of an order; returns its id unless the order was elsewhere. Takes `order_arguments`."""

WRITE = with_write()
"""A DownloadWrite and nothing else; takes `write_arguments`."""

WRITE_AND_WITHDRAW = with_withdrawal()
"""The same for one that `withdraws`; takes `withdrawal_arguments`."""

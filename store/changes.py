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
    Text,
    Update,
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

from smdp.order import ENDED, OrderChange
from smdp.ports import DownloadWrite
from smdp.progress import KIND, Message
from smdp.session import SessionChange
from store.compiled import Statement, compiled
from store.tables import orders, outbox, sessions, tenants

_SEALED = ("key_sealed", "confirmation_sealed")
_BINDING = ("euicc_otpk", "otsk_sealed", "host_id", "ci_key_id")
_ORDER_KEPT = ("eid", "matching_id", "expires_at")
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
    ended = parameter("order_ended", Boolean)
    values: dict[str, object] = {
        "state": parameter("order_state", Text),
        "version": orders.c.version + 1,
        "confirmation_attempts": orders.c.confirmation_attempts + parameter("order_confirmations", Integer),
        "download_attempts": orders.c.download_attempts + parameter("order_downloads", Integer),
        "ended_at": case((ended, func.now()), else_=orders.c.ended_at),
    }
    values |= {name: _kept_or_new("order", orders.c[name]) for name in _ORDER_KEPT}
    for name in (*_SEALED, *_BINDING):
        values[name] = case((ended, null()), else_=_kept_or_new("order", orders.c[name]))
    return (
        update(orders)
        .where(
            orders.c.id == parameter("order_id", BigInteger),
            orders.c.state == parameter("order_expected", Text),
            orders.c.version == parameter("order_version", Integer),
        )
        .values(values)
    )


def order_arguments(change: OrderChange | None) -> dict[str, object]:
    """Parameters of `order_update`; for None they meet no row."""
    values: dict[str, object] = {
        "order_id": None,
        "order_expected": None,
        "order_version": None,
        "order_state": None,
        "order_ended": False,
        "order_confirmations": 0,
        "order_downloads": 0,
    }
    values |= dict.fromkeys((f"order_{name}" for name in (*_ORDER_KEPT, *_SEALED, *_BINDING)), None)
    if change is None:
        return values
    values |= {f"order_{name}": getattr(change, name) for name in _SEALED}
    if change.binding is not None:
        values |= {f"order_{name}": getattr(change.binding, name) for name in _BINDING}
    return values | {
        "order_id": change.order_id,
        "order_expected": change.expected.value,
        "order_version": change.version,
        "order_state": change.state.value,
        "order_ended": change.state in ENDED,
        "order_confirmations": int(change.count_confirmation),
        "order_downloads": int(change.count_download),
        "order_eid": str(change.eid) if change.eid else None,
        "order_matching_id": str(change.matching_id) if change.matching_id else None,
        "order_expires_at": change.expires_at,
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
    rows = more + (2 if write.order else 1)
    parts = _session_arguments(write.session) | order_arguments(write.order) | message_arguments(write.messages)
    return {"rows_wanted": rows} | parts


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


def _session_arguments(change: SessionChange | None) -> dict[str, object]:
    """Parameters of the session's part; for None they meet no row."""
    if change is None:
        names = (*_SESSION_KEPT, "transaction_id", "expected", "state")
        return dict.fromkeys(f"session_{name}" for name in names)
    values: dict[str, object] = {f"session_{name}": getattr(change, name) for name in _SESSION_KEPT}
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
    first, *others = (_count(step) for step in (_SESSION_STEP, _ORDER_STEP, *steps))
    found = sum(others, first)
    return compiled(select(func.require_rows(found, parameter("rows_wanted", BigInteger))).add_cte(_TELL.cte("told")))


TELL = compiled(_TELL)
"""Puts messages into the outbox, in order; takes `message_arguments`."""

ORDER_STEP = compiled(order_update().returning(orders.c.id))
"""One guarded step of an order; returns its id unless the order was elsewhere. Takes `order_arguments`."""

WRITE = with_write()
"""A DownloadWrite and nothing else; takes `write_arguments`."""

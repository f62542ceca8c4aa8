"""Guarded steps of orders and sessions, and messages, as parts of one statement (SGP.22 annex C as stored rows).

A statement holds what its write changes and nothing else, since each parameter and each assignment costs the driver and
PostgreSQL something. The roles take few different steps, so there are few statements, each compiled at its first use.
"""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    CTE,
    BigInteger,
    BindParameter,
    ColumnElement,
    Insert,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    cast,
    column,
    exists,
    func,
    insert,
    literal,
    null,
    select,
    update,
)
from sqlalchemy import values as rows_of
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.types import TypeEngine

from smdp.order import OrderChange
from smdp.ports import DownloadWrite
from smdp.progress import KIND, Message
from smdp.session import SessionChange
from store.compiled import Statement, compiled
from store.tables import orders, outbox, sessions, smds_events, tenants
from store.withdrawal import withdrawal

_SHAPES = 1024
"""Statements kept; the steps of the roles make some dozens."""

Values = dict[str, object]
"""The parameters of a statement by name."""


class _OrderShape(NamedTuple):
    """What a step of an order changes: `given` are the columns it brings, the others as in OrderChange."""

    given: tuple[str, ...]
    ends: bool
    reset: bool
    unbind: bool
    settle: bool
    forget: bool
    confirmation: bool
    download: bool
    redownload: bool


class _Shape(NamedTuple):
    """What a write changes: the columns a step of its session brings, its order, how many messages it has."""

    session: tuple[str, ...] | None
    order: _OrderShape | None
    messages: int
    withdraws: bool


def parameter(name: str, kind: TypeEngine[Any] | type[TypeEngine[Any]]) -> BindParameter[Any]:
    """A parameter of a statement, with the type that PostgreSQL is told."""
    return bindparam(name, type_=kind)


# Writes ---------------------------------------------------------------------------------------------------------------


def written(write: DownloadWrite | None, *steps: ReturningUpdate[Any]) -> tuple[Statement, Values]:
    """`steps` and a whole DownloadWrite as one statement, so one round trip and one commit, and its values.

    Each step must find its row: a data-modifying statement says nothing of a row it did not find, so `require_rows`
    raises for it, and nothing has happened. The values of `steps` are the caller's.
    """
    if write is None:
        return _statement(_NOTHING, steps), {}
    values: Values = {}
    session = order = None
    if write.session is not None:
        session = _session_values(write.session, values)
    if write.order is not None:
        order = _order_values(write.order, values)
    for number, message in enumerate(write.messages):
        _message_values(number, message, values)
    withdraws = write.order is not None and write.order.withdraws
    return _statement(_Shape(session, order, len(write.messages), withdraws), steps), values


def order_step(change: OrderChange, *also: ColumnElement[bool]) -> tuple[Statement, Values]:
    """One guarded step of an order, under further conditions; returns its id unless the order was elsewhere."""
    values: Values = {}
    return _order_statement(_order_values(change, values), also), values


def told(messages: tuple[Message, ...]) -> tuple[Statement, Values]:
    """Puts messages into the outbox, in order."""
    values: Values = {}
    for number, message in enumerate(messages):
        _message_values(number, message, values)
    return _telling_statement(len(messages)), values


_NOTHING = _Shape(session=None, order=None, messages=0, withdraws=False)


@lru_cache(maxsize=_SHAPES)
def _statement(shape: _Shape, steps: tuple[ReturningUpdate[Any], ...]) -> Statement:
    """Each step runs only when the one before has found its row, so that the last one answers for all of them."""
    chain = list(steps)
    if shape.session is not None:
        chain.append(_session_update(shape.session))
    if shape.order is not None:
        chain.append(_order_update(shape.order))
    if not chain:
        raise ValueError("a write changes a session or an order")
    parts: list[CTE] = []
    for number, step in enumerate(chain):
        guarded = step.where(exists(select(literal(1)).select_from(parts[-1]))) if parts else step
        parts.append(guarded.cte(f"step_{number}"))
    found = cast(exists(select(literal(1)).select_from(parts[-1])), Integer)
    whole = select(func.require_rows(found, 1)).add_cte(*parts)
    if shape.messages:
        whole = whole.add_cte(_telling(shape.messages).cte("told"))
    if shape.withdraws:
        whole = whole.add_cte(*withdrawal(smds_events.c.order_id.in_(select(parts[-1].c.id))))
    return compiled(whole)


# Sessions -------------------------------------------------------------------------------------------------------------

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
_of_session = attrgetter(*_SESSION_KEPT)


def _session_values(change: SessionChange, values: Values) -> tuple[str, ...]:
    """Adds the values of a step to `values`; the columns it brings."""
    given = []
    for name, value in zip(_SESSION_KEPT, _of_session(change), strict=True):
        if value is not None:
            given.append(name)
            values[f"session_{name}"] = value
    if change.eid is not None:
        values["session_eid"] = str(change.eid)
    values["session_transaction_id"] = change.transaction_id.value
    values["session_expected"] = change.expected.value
    values["session_state"] = change.state.value
    return tuple(given)


def _session_update(given: tuple[str, ...]) -> ReturningUpdate[Any]:
    brought = {name: parameter(f"session_{name}", sessions.c[name].type) for name in given}
    return (
        update(sessions)
        .where(
            sessions.c.transaction_id == parameter("session_transaction_id", sessions.c.transaction_id.type),
            sessions.c.state == parameter("session_expected", Text),
        )
        .values({"state": parameter("session_state", Text), **brought})
        .returning(sessions.c.transaction_id)
    )


# Orders ---------------------------------------------------------------------------------------------------------------

_SEALED = ("key_sealed", "confirmation_sealed")
_BINDING = ("euicc_otpk", "otsk_sealed", "host_id", "ci_key_id")
_OF_THE_CARD = ("eid", "imei", "installed_seq", "card_state", "card_seq", "card_at")
_ORDER_PLAIN = (
    *_SEALED,
    "matching_id",
    "expires_at",
    "eid_named",
    "handed_out",
    "smds_address",
    "eid",
    "imei",
    "installed_seq",
    "awaiting",
)
_of_order = attrgetter(*_ORDER_PLAIN)


def _order_values(change: OrderChange, values: Values) -> _OrderShape:
    """Adds the values of a step to `values`; what it changes."""
    brought = {name: value for name, value in zip(_ORDER_PLAIN, _of_order(change), strict=True) if value is not None}
    if change.eid is not None:
        brought["eid"] = str(change.eid)
    if change.matching_id is not None:
        brought["matching_id"] = str(change.matching_id)
    if (binding := change.binding) is not None:
        brought["euicc_otpk"] = binding.euicc_otpk
        brought["otsk_sealed"] = binding.otsk_sealed
        brought["host_id"] = binding.host_id
        brought["ci_key_id"] = binding.ci_key_id
    if (card := change.card) is not None:
        brought["card_state"] = card.state.value
        brought["card_seq"] = card.seq_number
        brought["card_at"] = card.at
    ends = change.ends
    for name in _cleared(ends, change.unbind, change.settle, change.forget_card):
        brought.pop(name, None)
    for name, value in brought.items():
        values[f"order_{name}"] = value
    values["order_id"] = change.order_id
    values["order_expected"] = change.expected.value
    values["order_version"] = change.version
    values["order_state"] = change.state.value
    return _OrderShape(
        given=tuple(brought),
        ends=ends,
        reset=change.reset_attempts,
        unbind=change.unbind,
        settle=change.settle,
        forget=change.forget_card,
        confirmation=change.count_confirmation,
        download=change.count_download,
        redownload=change.count_redownload,
    )


@lru_cache(maxsize=16)
def _cleared(ends: bool, unbind: bool, settle: bool, forget: bool) -> tuple[str, ...]:  # noqa: FBT001 -- the flags of a step
    """The columns a step empties, whatever it brings."""
    return (
        *(_SEALED if ends else ()),
        *(_BINDING if ends or unbind else ()),
        *(("awaiting",) if settle else ()),
        *(_OF_THE_CARD if forget else ()),
    )


def _order_update(shape: _OrderShape) -> ReturningUpdate[Any]:
    values: dict[str, object] = {
        "state": parameter("order_state", Text),
        "version": orders.c.version + 1,
        "changed_at": func.now(),
    }
    values |= {name: parameter(f"order_{name}", orders.c[name].type) for name in shape.given}
    values |= dict.fromkeys(_cleared(shape.ends, shape.unbind, shape.settle, shape.forget), null())
    if shape.ends:
        values["ended_at"] = func.coalesce(orders.c.ended_at, func.now())
    for name, counts, reset in (
        ("confirmation_attempts", shape.confirmation, shape.reset),
        ("download_attempts", shape.download, shape.reset),
        ("redownloads", shape.redownload, False),
    ):
        if reset:
            values[name] = int(counts)
        elif counts:
            values[name] = orders.c[name] + 1
    return (
        update(orders)
        .where(
            orders.c.id == parameter("order_id", BigInteger),
            orders.c.state == parameter("order_expected", Text),
            orders.c.version == parameter("order_version", Integer),
        )
        .values(values)
        .returning(orders.c.id)
    )


@lru_cache(maxsize=_SHAPES)
def _order_statement(shape: _OrderShape, also: tuple[ColumnElement[bool], ...]) -> Statement:
    return compiled(_order_update(shape).where(*also))


# Messages -------------------------------------------------------------------------------------------------------------

_MESSAGE = {"tenant_id": BigInteger, "line": Text, "kind": Text, "body": Text}
NO_ADDRESS = "the operator has no callback address"
"""Why a message was buried the moment it was written."""


def _message_values(number: int, message: Message, values: Values) -> None:
    values[f"message_{number}_tenant_id"] = message.tenant_id
    values[f"message_{number}_line"] = message.line
    values[f"message_{number}_kind"] = message.kind
    values[f"message_{number}_body"] = msgspec.json.encode(message.body).decode()


def _telling(count: int) -> Insert:
    """`count` messages into the outbox.

    Where nobody asked to be told the message is kept for people to see, and no worker ever has to look at it.
    """
    numbered = {"number": Integer, **_MESSAGE}
    news = rows_of(*(column(name, kind) for name, kind in numbered.items()), name="news").data(
        [
            (literal(number), *(parameter(f"message_{number}_{name}", kind) for name, kind in _MESSAGE.items()))
            for number in range(count)
        ]
    )
    unasked = and_(tenants.c.callback_url == literal("", Text), news.c.kind == literal(KIND, Text))
    rows = select(
        *(news.c[name] for name in _MESSAGE),
        case((unasked, func.now())),
        case((unasked, literal(NO_ADDRESS, Text))),
    ).select_from(news.outerjoin(tenants, tenants.c.id == news.c.tenant_id))
    if count > 1:
        rows = rows.order_by(news.c.number)
    return insert(outbox).from_select([*_MESSAGE, "buried_at", "last_error"], rows)


@lru_cache(maxsize=_SHAPES)
def _telling_statement(count: int) -> Statement:
    return compiled(_telling(count))

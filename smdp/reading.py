"""Orders and what became of them, for people to look at: values, and the port that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from rsp.identifiers import Iccid, MatchingId, TransactionId
from smdp.order import CardReport, OrderState
from smdp.ports import Limits
from smdp.session import SessionState


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """Which orders to list, at most `most` of them; empty text and None mean any."""

    tenant_id: int | None = None
    state: str = ""
    eid: str = ""
    profile_type: str = ""
    most: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """A line of the list of orders. `eid` is empty until the order has a card."""

    iccid: Iccid
    tenant: str
    profile_type: str
    state: OrderState
    eid: str
    download_attempts: int
    confirmation_attempts: int
    expires_at: datetime | None
    ended_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """One download attempt of an order; `refusal` is the name of the Status the last request was refused with."""

    transaction_id: TransactionId
    state: SessionState
    eid: str
    refusal: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldRow:
    """What an operator is told about an order, and whether it has it; `status` is the name of a Status or empty.

    One of `sent_at` and `buried_at` (it will never be sent) is set, or neither yet; `error` is that of the last try.
    """

    point: int
    status: str
    attempts: int
    error: str
    created_at: datetime
    sent_at: datetime | None
    buried_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderHistory:
    """An order with all that happened to it. `asks_code` says whether the user needs a confirmation code.

    `smds_address` is the SM-DS of the order or empty, `event` the state of its latest event there or empty, and
    `event_error` why it could not be registered or deleted the last time. `card` is what the card has told last of the
    installed profile, `redownloads` how often its code was used again after that.
    """

    order: OrderRow
    limits: Limits
    matching_id: MatchingId | None
    asks_code: bool
    sessions: tuple[SessionRow, ...]
    told: tuple[ToldRow, ...]
    smds_address: str = ""
    event: str = ""
    event_error: str = ""
    card: CardReport | None = None
    imei: str = ""
    redownloads: int = 0


class OrderReading(Protocol):
    """Orders for people to look at; nothing is locked and nothing changes."""

    async def list_orders(self, wanted: OrderFilter) -> list[OrderRow]:
        """Orders, newest first."""

    async def order_history(self, iccid: Iccid) -> OrderHistory | None:
        """The latest order of a profile, sessions and messages oldest first; None when nobody has ordered it."""


class MessageState(StrEnum):
    """How far a message to an operator has come."""

    WAITING = "waiting"
    SENT = "sent"
    BURIED = "buried"
    """It cannot be delivered, or nobody asked for it: it is not tried again by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages of one operator, at most `most` of them, the newest; None means any."""

    tenant_id: int
    state: MessageState | None = None
    iccid: Iccid | None = None
    most: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRow:
    """One message to an operator; `error` is that of the last try, or why it was buried."""

    id: int
    iccid: str
    state: MessageState
    told: ToldRow


class MessageReading(Protocol):
    """Messages to operators, for people to look at and to send once more."""

    async def list_messages(self, wanted: MessageFilter) -> list[MessageRow]:
        """Messages, newest first."""

    async def retry(self, tenant_id: int, message_ids: Sequence[int]) -> int:
        """Make those of these that are buried due again; returns how many there were."""

"""The order of one profile: days long, one ICCID (SGP.22 3.1, profile states of annex C). States, events, one table."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from rsp.identifiers import Eid, Iccid, MatchingId


class OrderState(StrEnum):
    """Where an order stands; the names are those of the profile states in SGP.22."""

    ALLOCATED = "allocated"
    LINKED = "linked"
    CONFIRMED = "confirmed"
    RELEASED = "released"
    DOWNLOADED = "downloaded"
    INSTALLED = "installed"
    ERROR = "error"
    CANCELLED = "cancelled"
    DELETED = "deleted"
    """The card that got the profile has told, under its signature, that it does not hold it any more."""


class OrderEvent(StrEnum):
    """What can happen to an order."""

    CONFIRM = "ConfirmOrder"
    CONFIRM_AND_RELEASE = "ConfirmOrder with releaseFlag"
    RELEASE = "ReleaseProfile"
    AUTHENTICATE = "AuthenticateClient accepted"
    REFUSE_CODE = "wrong confirmation code"
    DELIVER = "bound profile package delivered"
    INSTALL = "installation reported"
    FAIL_TEMPORARILY = "temporary installation error"
    FAIL = "terminal failure"
    CANCEL = "CancelOrder"
    RECOVER = "recoverProfile"
    CONFIRM_DELETION = "card's signed word: deleted"
    REOPEN = "deleted on its card, may be downloaded again"
    NOTE = "card's report that moves nothing"


class ProfileState(StrEnum):
    """Where a profile stands in stock: free, held by an open order, or withdrawn."""

    AVAILABLE = "available"
    ORDERED = "ordered"
    UNAVAILABLE = "unavailable"


_S, _E = OrderState, OrderEvent

TRANSITIONS: dict[tuple[OrderState, OrderEvent], OrderState] = {
    (_S.ALLOCATED, _E.CONFIRM): _S.CONFIRMED,
    (_S.LINKED, _E.CONFIRM): _S.CONFIRMED,
    (_S.ALLOCATED, _E.CONFIRM_AND_RELEASE): _S.RELEASED,
    (_S.LINKED, _E.CONFIRM_AND_RELEASE): _S.RELEASED,
    (_S.CONFIRMED, _E.RELEASE): _S.RELEASED,
    (_S.RELEASED, _E.AUTHENTICATE): _S.RELEASED,
    (_S.DOWNLOADED, _E.AUTHENTICATE): _S.DOWNLOADED,
    (_S.RELEASED, _E.REFUSE_CODE): _S.RELEASED,
    (_S.DOWNLOADED, _E.REFUSE_CODE): _S.DOWNLOADED,
    (_S.RELEASED, _E.DELIVER): _S.DOWNLOADED,
    (_S.DOWNLOADED, _E.DELIVER): _S.DOWNLOADED,
    (_S.DOWNLOADED, _E.INSTALL): _S.INSTALLED,
    # A card may report success after its LPA has cancelled, and after the order was recovered; its word is the truth.
    (_S.ERROR, _E.INSTALL): _S.INSTALLED,
    (_S.RELEASED, _E.INSTALL): _S.INSTALLED,
    (_S.DOWNLOADED, _E.FAIL_TEMPORARILY): _S.DOWNLOADED,
    (_S.RELEASED, _E.FAIL): _S.ERROR,
    (_S.DOWNLOADED, _E.FAIL): _S.ERROR,
    (_S.ALLOCATED, _E.CANCEL): _S.CANCELLED,
    (_S.LINKED, _E.CANCEL): _S.CANCELLED,
    (_S.CONFIRMED, _E.CANCEL): _S.CANCELLED,
    (_S.RELEASED, _E.CANCEL): _S.CANCELLED,
    (_S.ERROR, _E.CANCEL): _S.CANCELLED,
    # What a card was handed may be on it, whether or not its report came: only the card's own word frees the profile.
    (_S.DOWNLOADED, _E.CONFIRM_DELETION): _S.DELETED,
    (_S.INSTALLED, _E.CONFIRM_DELETION): _S.DELETED,
    (_S.ERROR, _E.CONFIRM_DELETION): _S.DELETED,
    # A common LPA cancels with endUserRejection on every failure: the operator opens the same activation code again.
    (_S.ERROR, _E.RECOVER): _S.RELEASED,
    (_S.INSTALLED, _E.REOPEN): _S.RELEASED,
    # What a card says later is written down wherever the order stands by then.
    (_S.RELEASED, _E.NOTE): _S.RELEASED,
    (_S.DOWNLOADED, _E.NOTE): _S.DOWNLOADED,
    (_S.INSTALLED, _E.NOTE): _S.INSTALLED,
    (_S.ERROR, _E.NOTE): _S.ERROR,
    (_S.CANCELLED, _E.NOTE): _S.CANCELLED,
    (_S.DELETED, _E.NOTE): _S.DELETED,
}

ENDED = frozenset({OrderState.INSTALLED, OrderState.CANCELLED, OrderState.DELETED})
"""States in which the order is over: its key is destroyed, and with it every secret sealed under that key.

An installed order whose owner lets a deleted profile be downloaded again is not over (`OrderChange.keeps_open`).
"""

CLOSED = frozenset({OrderState.CANCELLED, OrderState.DELETED})
"""States in which the order holds its profile no longer: another order may."""


ANNOUNCED = frozenset({OrderState.CONFIRMED, OrderState.RELEASED, OrderState.DOWNLOADED})
"""States an order at an SM-DS reaches without its event being withdrawn (SGP.22 3.6.3)."""


class ImpossibleTransition(Exception):  # noqa: N818 -- the name is the fact
    """The table has no such step: the caller asked for something this state does not allow."""


def after(state: OrderState, event: OrderEvent) -> OrderState:
    """The state that follows. Raises ImpossibleTransition when the table has no such step."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ImpossibleTransition(f"an order that is {state} has no step '{event}'") from None


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """What binds a package to one card: kept until the order ends, so that a retry gets identical segments.

    `otsk_sealed` is the one-time secret key of the SM-DP+, sealed under the key of the order.
    """

    euicc_otpk: bytes
    otsk_sealed: bytes
    host_id: bytes
    ci_key_id: bytes


class CardState(StrEnum):
    """What the card has last told of an installed profile; it describes the profile and moves no order by itself."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    DELETED = "deleted"


class CardReport(msgspec.Struct, frozen=True, kw_only=True):
    """The newest notification of enable, disable or delete; `seq_number` counts all notifications of that card."""

    state: CardState
    seq_number: int
    at: datetime


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order as stored. `version` counts its changes and guards each of them.

    `key_sealed` is the 32-byte key of the order, wrapped by the vault; None once the order has ended.
    `confirmation_sealed` is SHA-256 of the confirmation code, sealed under that key; None when no code is asked.
    `eid_named`: the operator named the EID, rather than the first card that came. `imei`: 14 digits of the one device.
    `handed_out`: some card got the package. `awaiting`: transactionId of the latest package nobody has reported about.
    `installed_seq`: sequence number of the newest report of an installation; `card` is what the card told after it.
    `smds_address`: the SM-DS at which the order has an event while it can be downloaded.
    """

    id: int
    tenant_id: int
    iccid: Iccid
    profile_type: str
    state: OrderState
    version: int
    eid: Eid | None = None
    matching_id: MatchingId | None = None
    key_sealed: bytes | None = None
    confirmation_sealed: bytes | None = None
    confirmation_attempts: int = 0
    download_attempts: int = 0
    binding: Binding | None = None
    expires_at: datetime | None = None
    ended: bool = False
    eid_named: bool = False
    imei: str | None = None
    handed_out: bool = False
    awaiting: bytes | None = None
    redownloads: int = 0
    installed_seq: int | None = None
    card: CardReport | None = None
    smds_address: str | None = None

    @property
    def card_state(self) -> CardState | None:
        """What became of the profile on its card since its installation was reported, as far as the card has told."""
        ended = self.state in (OrderState.DELETED, OrderState.CANCELLED) and self.installed_seq is not None
        if self.card is None or not (ended or self.state is OrderState.INSTALLED):
            return None
        since = -1 if self.installed_seq is None else self.installed_seq
        return self.card.state if self.card.seq_number > since else None


class OrderChange(msgspec.Struct, frozen=True, kw_only=True):
    """One guarded step of an order: applied only while state and version are the expected ones.

    A member that is None leaves its column as it is. When the step `ends` the order the store also clears the order's
    key and all that is sealed under it, and sets the time of the end.

    `unbind` clears the binding, `reset_attempts` the counters of attempts, `settle` what was awaited from a card;
    `forget_card` frees an order from the card, and the device, that came first. A step that `withdraws` has the
    order's event deleted at its SM-DS.
    """

    order_id: int
    expected: OrderState
    version: int
    state: OrderState
    eid: Eid | None = None
    matching_id: MatchingId | None = None
    key_sealed: bytes | None = None
    confirmation_sealed: bytes | None = None
    binding: Binding | None = None
    expires_at: datetime | None = None
    eid_named: bool | None = None
    imei: str | None = None
    handed_out: bool | None = None
    awaiting: bytes | None = None
    installed_seq: int | None = None
    card: CardReport | None = None
    smds_address: str | None = None
    withdraws: bool = False
    count_download: bool = False
    count_confirmation: bool = False
    count_redownload: bool = False
    reset_attempts: bool = False
    unbind: bool = False
    settle: bool = False
    forget_card: bool = False
    keeps_open: bool = False

    @property
    def ends(self) -> bool:
        """Whether the order is over after this step."""
        return self.state in ENDED and not self.keeps_open

    @classmethod
    def of(cls, order: Order, *events: OrderEvent, **members: Any) -> OrderChange:
        """The step of `events` from where `order` stands, with `members` that it brings.

        An order that is open where others are over (`keeps_open`) stays open while it stays there.
        """
        state = order.state
        for event in events:
            state = after(state, event)
        keeps_open = state is order.state and not order.ended
        return cls(
            order_id=order.id,
            expected=order.state,
            version=order.version,
            state=state,
            keeps_open=keeps_open,
            withdraws=order.smds_address is not None and state is not order.state and state not in ANNOUNCED,
            **members,
        )

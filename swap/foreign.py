"""Orders at a carrier's own SM-DP+: what we wrote down, what it tells, and what follows for the swap. Pure.

Such a server is reached over ES2+ as any operator reaches one. It may lack a way to ask where a profile stands, lose
reports, or forget call ids; so our own record is what a swap rests on, and what the server says only adds to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from rsp.identifiers import Eid, Iccid
from rsp.status import Status
from swap.ports import ProfileState, Returned

KEPT = Returned.KEPT.value
_SKEW = timedelta(minutes=10)
"""By how much the clock of the other server may differ."""


class Told(StrEnum):
    """What the server has reported about the download of an order; a later member outweighs an earlier one."""

    NOTHING = ""
    FAILED = "failed"
    HANDED_OUT = "handed_out"
    INSTALLED = "installed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignOrder:
    """One order of ours at a carrier's SM-DP+.

    `key` is what the swap calls the reservation; `token` begins every call id of the order on the wire. `iccid` is None
    until the server has named it. `asks`, `confirms` and `cancels` count the calls that were begun, so more than one
    means that an earlier answer was lost. `matching_sealed` is the MatchingID that we chose, wrapped. `out`: the server
    would not cancel it, so a card may hold the profile. `surplus`: a second profile for one reservation, to be given
    back. `word` is the server's own word for its state, as last read. `ending` says how it ended; it is KEPT in
    one that has not ended, because the server does not take the profile back.
    """

    id: int
    carrier_id: int
    key: str
    token: str
    eid: Eid
    profile_type: str
    created_at: datetime
    iccid: Iccid | None = None
    asks: int = 0
    confirms: int = 0
    cancels: int = 0
    matching_sealed: bytes | None = field(default=None, repr=False)
    address: str = ""
    released: bool = False
    out: bool = False
    surplus: bool = False
    told: Told = Told.NOTHING
    word: str = ""
    ending: str = ""
    ended_at: datetime | None = None

    @property
    def kept(self) -> bool:
        """Whether the server was asked to take the profile back, and did not."""
        return self.ending == KEPT

    @property
    def may_be_on_a_card(self) -> bool:
        """Whether anything says that a card got the profile."""
        return self.out or self.told in (Told.HANDED_OUT, Told.INSTALLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a server told about a profile when it was asked: its own word for the state, and the card it is for."""

    word: str
    eid: Eid | None = None


class Standing(StrEnum):
    """Where a profile stands at its server, by the words that servers use (SGP.22 3.1)."""

    GONE = "gone"
    """No order of it is open: in stock, or withdrawn."""
    RESERVED = "reserved"
    RELEASED = "released"
    HANDED_OUT = "handed_out"
    INSTALLED = "installed"
    FAILED = "failed"
    UNCLEAR = "unclear"
    """A word we do not know."""


_WORDS = {
    "available": Standing.GONE,
    "unavailable": Standing.GONE,
    "allocated": Standing.RESERVED,
    "linked": Standing.RESERVED,
    "confirmed": Standing.RESERVED,
    "released": Standing.RELEASED,
    "downloaded": Standing.HANDED_OUT,
    # The server was told that the card deleted it; what proves that to us is the card's own signed word.
    "deleted": Standing.HANDED_OUT,
    "installed": Standing.INSTALLED,
    "enabled": Standing.INSTALLED,
    "disabled": Standing.INSTALLED,
    "error": Standing.FAILED,
}


def standing(order: ForeignOrder, reading: Reading | None) -> Standing:
    """What a reading says about this order."""
    if reading is None:
        return Standing.UNCLEAR
    if reading.eid is not None and reading.eid != order.eid:
        return Standing.GONE
    return _WORDS.get(reading.word.strip().lower(), Standing.UNCLEAR)


def state_of(order: ForeignOrder, reading: Reading | None) -> ProfileState | None:
    """Where the order stands for a swap; None when it is over and no card can have got the profile.

    What once happened is not unsaid: a card that may hold the profile keeps it from being taken for free, whatever the
    server says later. Only a failure may be overtaken, by an order that was opened again.
    """
    said = standing(order, reading)
    if said is Standing.INSTALLED or order.told is Told.INSTALLED:
        return ProfileState.INSTALLED
    if said is Standing.FAILED or (said is Standing.UNCLEAR and order.told is Told.FAILED):
        return ProfileState.FAILED
    if said is Standing.HANDED_OUT or order.may_be_on_a_card:
        return ProfileState.HANDED_OUT
    if said is Standing.GONE:
        return None
    if said is Standing.RELEASED or (said is Standing.UNCLEAR and order.released):
        return ProfileState.RELEASED
    return ProfileState.RESERVED


# Reports -------------------------------------------------------------------------------------------------------------

_DOWNLOAD, _INSTALLATION = 3, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """HandleDownloadProgressInfo as it reached us (SGP.22 5.3.5). `ends_order`: the failure is one of the order."""

    iccid: Iccid
    eid: Eid | None
    point: int
    succeeded: bool
    ends_order: bool
    detail: str
    at: datetime | None


def told_by(report: Report) -> Told:
    """What a report says. Points beyond 4 mean something else at every vendor, so they say nothing.

    A failed installation may have left the profile on the card: the card's signed word tells.
    """
    if report.point == _INSTALLATION:
        return Told.INSTALLED if report.succeeded else Told.HANDED_OUT
    if report.point == _DOWNLOAD and report.succeeded:
        return Told.HANDED_OUT
    return Told.FAILED if report.ends_order and not report.succeeded else Told.NOTHING


def concerns(order: ForeignOrder, report: Report) -> bool:
    """Whether a report is about this order, and not a late one about an earlier order of the same profile."""
    if report.eid is not None and report.eid != order.eid:
        return False
    return report.at is None or report.at >= order.created_at - _SKEW


class ForeignOrders(Protocol):
    """Our record of orders at other servers. Every write is committed when the call returns.

    Raises rsp.errors.Unavailable.
    """

    async def asked(self, carrier_id: int, key: str, eid: Eid, profile_type: str) -> ForeignOrder:
        """Write down that a profile is about to be asked for; a known `key` counts one ask more. The row."""

    async def reserved(self, order_id: int, iccid: Iccid) -> Iccid | None:
        """Keep the profile that came back, unless one is kept already; the one that is kept.

        None when another open order of that carrier has it.
        """

    async def forget(self, order_id: int) -> None:
        """Drop an order that never came to be: the only ask was refused."""

    async def open_order(self, carrier_id: int, iccid: Iccid, eid: Eid | None = None) -> ForeignOrder | None:
        """The order of a profile that has not ended and is no surplus; for that eSIM, if one is named.

        One that was kept comes after one that was not.
        """

    async def ended_by(self, carrier_id: int, key: str) -> ForeignOrder | None:
        """The order that the call of this key has ended."""

    async def confirming(self, order_id: int, matching_sealed: bytes) -> ForeignOrder:
        """Count a confirmation that is about to be asked for; the MatchingID that was chosen first stays. The row."""

    async def released(self, order_id: int, matching_sealed: bytes, address: str) -> ForeignOrder:
        """The order can be downloaded. The row."""

    async def cancelling(self, order_id: int) -> ForeignOrder:
        """Count a cancellation that is about to be asked for. The row."""

    async def kept_back(self, order_id: int) -> None:
        """The server does not take the profile back; another order may get it once it does."""

    async def kept_out(self, order_id: int) -> None:
        """A card may hold the profile."""

    async def noted(self, order_id: int, word: str) -> None:
        """The server's own word for the state."""

    async def told(self, order_id: int, told: Told, detail: str) -> None:
        """What was reported; less than what was reported before changes nothing."""

    async def ended(self, order_id: int, ending: str, key: str) -> None:
        """The order is over, by the call of that key."""

    async def add_surplus(self, order: ForeignOrder, iccid: Iccid) -> ForeignOrder | None:
        """Keep a second profile of a reservation, to be given back; the same again gets the same row.

        None when an open order of that carrier has it: then it is none too many.
        """

    async def surplus(self, most: int) -> list[ForeignOrder]:
        """Profiles to be given back."""


class Reports:
    """What carriers' SM-DP+ report about our orders."""

    def __init__(self, orders: ForeignOrders, wake: Callable[[Eid], Awaitable[None]]) -> None:
        self._orders = orders
        self._wake = wake

    async def heard(self, carrier_id: int, report: Report) -> bool:
        """Keep what a report says, then make the swap due; whether it was about an order of ours.

        When this returns, it is committed.
        """
        order = await self._orders.open_order(carrier_id, report.iccid)
        if order is None or not concerns(order, report):
            return False
        said = told_by(report)
        if said is not Told.NOTHING:
            await self._orders.told(order.id, said, report.detail)
            await self._wake(order.eid)
        return True


# Refusals ------------------------------------------------------------------------------------------------------------

Codes = tuple[str, str]
"""Subject and reason as a server sent them; they need not be ones we know."""

_NOT_IN_STATE = frozenset((one.subject, one.reason) for one in (Status.ICCID_IN_USE, Status.ICCID_INVALID_TRANSITION))
_TAKEN = (Status.MATCHING_ID_IN_USE.subject, Status.MATCHING_ID_IN_USE.reason)
_NO_SUCH_PROFILE = (Status.ICCID_UNKNOWN.subject, Status.ICCID_UNKNOWN.reason)
_ABOUT_THE_ORDER = Status.ORDER_EXPIRED.subject
_FINAL = frozenset(
    (one.subject, one.reason)
    for one in (
        Status.CONFIRMATION_CODE_RETRIES_EXCEEDED,
        Status.DOWNLOAD_ATTEMPTS_EXCEEDED,
        Status.ORDER_EXPIRED,
        Status.PPR_NOT_ALLOWED,
        Status.METADATA_MISMATCH,
        Status.BPP_EXECUTION_ERROR,
    )
)


def ends_the_order(codes: Codes) -> bool:
    """Whether a failure that is reported leaves the order without any further download."""
    return codes in _FINAL or codes[0] == _ABOUT_THE_ORDER


def confirmed_before(order: ForeignOrder, codes: Codes) -> bool:
    """Whether a refused ConfirmOrder says that an earlier one worked, whose answer was lost.

    The MatchingID is 125 random bits of ours: nobody but that earlier call can have taken it. An order that can no
    longer be confirmed was confirmed, and nobody but us does that. Should it not be so after all, the device's download
    fails, and the swap is undone on the card's signed word.
    """
    return order.confirms > 1 and (codes == _TAKEN or codes in _NOT_IN_STATE)


class Uncancelled(StrEnum):
    """Why a CancelOrder was refused."""

    OVER = "over"
    """There is no order (any more), and nothing says that a card got the profile."""
    OUT = "out"
    """A card may hold the profile, or an earlier call of ours worked: only the card can tell."""
    OTHER = "other"


def uncancelled(order: ForeignOrder, codes: Codes, said: Standing) -> Uncancelled:
    """What a refused CancelOrder means, and what the server tells of the profile, if it can be asked."""
    if said is Standing.GONE or (said is Standing.UNCLEAR and codes == _NO_SUCH_PROFILE):
        return Uncancelled.OUT if order.may_be_on_a_card else Uncancelled.OVER
    if said in (Standing.RESERVED, Standing.RELEASED):
        return Uncancelled.OTHER
    if said is Standing.UNCLEAR and codes not in _NOT_IN_STATE and not order.may_be_on_a_card:
        return Uncancelled.OTHER
    return Uncancelled.OUT

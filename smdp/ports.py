"""What the role SM-DP+ needs from the world: storage for downloads, for ordering, for notifications.

Every write is all or nothing and guarded by the state it expects; one that finds another state raises TransitionLost
and has changed nothing. A store that cannot reach its database raises rsp.errors.Unavailable.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from rsp.identifiers import Eid, Iccid, MatchingId, TransactionId
from smdp.event_ports import EventWork
from smdp.order import Order, OrderChange, ProfileState
from smdp.policy import AfterDeletion, DeviceRules
from smdp.progress import Message
from smdp.session import Session, SessionChange


class TransitionLost(Exception):  # noqa: N818 -- the name is the fact
    """Somebody else moved the row first: load it again and decide again."""


class ProfileFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a download needs to know of the ordered profile: its metadata (BF25 as stored) and what it asks of a card.

    `size` is the length of the unprotected package in bytes; `policy_rules` the PPR bits of the metadata; `services`
    the bits of UICCCapability that its mandatory services need.
    """

    metadata: bytes
    package_id: UUID
    saip_version: tuple[int, int]
    size: int
    policy_rules: frozenset[int] = frozenset()
    services: frozenset[int] = frozenset()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and rules the owner of an order has set; None means the server's default."""

    download_attempts: int | None = None
    confirmation_attempts: int | None = None
    order_days: int | None = None
    redownloads: int | None = None
    after_deletion: AfterDeletion = AfterDeletion.RETIRE
    rebinding: bool = True
    devices: DeviceRules = DeviceRules()


class ProtectedPackage(msgspec.Struct, frozen=True, kw_only=True):
    """A package protected ahead of time: concatenated 86 TLVs, and their keys (48 bytes) wrapped by the vault."""

    segments: bytes
    key_sealed: bytes


class DownloadFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One read of the download path: the session, and the order with its profile when there is one.

    `package` is the profile's, where the read brings it along.
    """

    session: Session
    order: Order | None = None
    profile: ProfileFacts | None = None
    limits: Limits = Limits()
    package: ProtectedPackage | None = None


class DownloadWrite(msgspec.Struct, frozen=True, kw_only=True):
    """One commit of the download path: all parts or none.

    `returned` is a profile that goes back to stock with it; only the judgement of a notification returns one.
    """

    session: SessionChange | None = None
    order: OrderChange | None = None
    messages: tuple[Message, ...] = ()
    returned: Iccid | None = None


class OwnedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order with what its owner has set."""

    order: Order
    limits: Limits


class SessionFinder(Protocol):
    """Finds a session, however old."""

    async def find_session(self, transaction_id: TransactionId) -> DownloadFacts | None:
        """The session and its order (ended or not) without the profile, however old; None when there is none."""

    async def find_sessions(self, transaction_ids: Collection[TransactionId]) -> Mapping[TransactionId, DownloadFacts]:
        """The same for many at once, in one round trip; those that do not exist are not among them."""

    async def find_orders(self, iccids: Collection[Iccid]) -> Mapping[Iccid, Sequence[OwnedOrder]]:
        """All orders of these profiles, ended or not, oldest first, in one round trip."""


class DownloadStore(SessionFinder, Protocol):
    """Sessions and the orders they download. Each method is one round trip to the database."""

    async def open_session(self, session: Session) -> None:
        """Store a fresh session."""

    async def find_for_authentication(
        self, transaction_id: TransactionId, matching_id: MatchingId | None, eid: Eid | None
    ) -> DownloadFacts | None:
        """The session, and the order with that MatchingID; None when no such session exists.

        The open order of that MatchingID, else the latest installed one; cancelled orders are not found.

        Without a MatchingID: the oldest released or downloaded order bound to `eid` (default SM-DP+).
        When the session already has an order, that order is returned whatever the MatchingID. The package comes along.
        """

    async def find_for_delivery(self, transaction_id: TransactionId) -> DownloadFacts | None:
        """The session, its order, profile and protected package; None when no such session exists."""

    async def write(self, write: DownloadWrite) -> None:
        """One round trip, one commit. Raises TransitionLost when session or order are not as expected."""


class PendingNotification(msgspec.Struct, frozen=True, kw_only=True):
    """A notification as received and committed, not yet judged."""

    id: int
    raw: bytes
    received_at: datetime


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a kept notification.

    A verified installation result is known by its transactionId, any other by (EID, seqNumber); the store refuses a
    second one of the same identity and marks the row a duplicate instead. `outcome` is one word for people: installed,
    failed, enabled, disabled, deleted, duplicate, unknown-session, bad-signature, bad-certificate, malformed.
    """

    notification_id: int
    verified: bool
    outcome: str
    transaction_id: TransactionId | None = None
    eid: Eid | None = None
    seq_number: int | None = None
    iccid: Iccid | None = None


LARGEST_NOTIFICATION = 262_144
"""Bytes of a notification that are kept: many times what a card can report."""


class NotificationStore(Protocol):
    """The inbox of notifications: bytes first, judgement after."""

    async def keep_notification(self, raw: bytes, received_at: datetime) -> None:
        """Commit at most LARGEST_NOTIFICATION bytes; only after this may the answer be 204."""

    async def claim_notifications(self, most: int, lease_seconds: float) -> list[PendingNotification]:
        """Take up to `most` unjudged rows for `lease_seconds`; no two callers get the same."""

    async def judge(self, verdict: Verdict, write: DownloadWrite | None) -> None:
        """Store the verdict and its consequences in one commit. Raises TransitionLost as DownloadStore.write does.

        When the verdict's identity is already taken by an earlier row, nothing but `duplicate` is stored.
        """

    async def judge_all(self, judgements: Sequence[tuple[Verdict, DownloadWrite | None]]) -> None:
        """Store all these verdicts and consequences in one commit, or none of them.

        Raises TransitionLost when one of them cannot be stored as it is, a duplicate included: judge them one by one.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One ES2+ call of an operator, for idempotency: same id and same digest get the earlier result."""

    tenant_id: int
    call_id: str
    function: str
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StockProfile:
    """A profile in stock. `orderable` says whether its type is open for ordering."""

    iccid: Iccid
    profile_type: str
    state: ProfileState
    orderable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileStanding:
    """Where a profile and its latest order stand; `order` is None when nobody has ordered it."""

    iccid: Iccid
    state: ProfileState
    changed_at: datetime
    order: Order | None = None


class OrderingWork(Protocol):
    """One ES2+ function in one transaction; every method sees the rows of its tenant only."""

    @property
    def events(self) -> EventWork:
        """The events of orders at SM-DS."""

    async def earlier_result(self, call: Call) -> Mapping[str, str | None] | None:
        """The stored result of the same call, or None for a new call, which is reserved until the work ends.

        Raises rsp.errors.Refused(CALL_ID_REUSED) when the id was used with another digest.
        """

    async def keep_result(self, call: Call, result: Mapping[str, str | None]) -> None:
        """Store the result of a call reserved by earlier_result."""

    async def type_open(self, profile_type: str) -> bool | None:
        """Whether the tenant's profile type of that name is open for ordering; None when it has none."""

    async def limits(self) -> Limits:
        """What the tenant has set."""

    async def standings(self, iccids: Sequence[Iccid]) -> list[ProfileStanding]:
        """The profiles of the tenant among these, nothing locked."""

    async def profile(self, iccid: Iccid) -> StockProfile | None:
        """The profile, locked for this work."""

    async def draw(self, profile_type: str) -> StockProfile | None:
        """Any available profile of the type, locked; those other works hold are passed over. None when out of stock."""

    async def open_order(self, iccid: Iccid) -> Order | None:
        """The order of that ICCID that is neither cancelled nor deleted (an installed one is), locked for this work."""

    async def latest_order(self, iccid: Iccid) -> Order | None:
        """The newest order of that ICCID, ended or not, locked for this work."""

    async def awaits_report(self, order_id: int) -> bool:
        """Whether some card was handed the package of this order and has not reported what became of it."""

    async def add_order(self, order: Order) -> Order:
        """Store a new order (its `id` is ignored) and return it with its id."""

    async def change_order(self, change: OrderChange) -> None:
        """Apply a guarded step.

        Raises TransitionLost; Refused(MATCHING_ID_IN_USE) when another open order has the MatchingID.
        """

    async def change_profile(self, iccid: Iccid, expected: ProfileState, state: ProfileState) -> None:
        """Move a profile in stock. Raises TransitionLost."""

    async def tell(self, message: Message) -> None:
        """Put a message into the outbox."""


class OrderingStore(Protocol):
    """Opens works; a work that ends without an exception is committed, any other is undone."""

    def begin(self, tenant_id: int) -> AbstractAsyncContextManager[OrderingWork]:
        """One transaction for one tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProfile:
    """A profile to be put into stock, already protected."""

    tenant_id: int
    iccid: Iccid
    profile_type: str
    facts: ProfileFacts
    package: ProtectedPackage


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRow:
    """A line of the stock list: the profile, and where its latest order stands (empty when it has none)."""

    iccid: Iccid
    profile_type: str
    tenant: str
    state: str
    order_state: str
    eid: str
    matching_id: str
    created_at: datetime


class StockStore(Protocol):
    """Profiles put into stock and listed."""

    async def add_profile(self, profile: NewProfile) -> None:
        """Store package and profile, and the profile type when it is new. Raises ProfileExists."""

    async def list_profiles(
        self, *, tenant_id: int | None = None, state: str = "", profile_type: str = "", most: int = 100
    ) -> list[ProfileRow]:
        """Profiles, newest first; `state` matches the stock state or the order state."""


class ClaimedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message taken for sending; `attempts` counts this try. `body` is JSON (ProgressInfo), the same at each try."""

    id: int
    tenant_id: int
    line: str
    kind: str
    body: bytes
    attempts: int


class Outbox(Protocol):
    """Messages on their way out, in order per line: only the oldest unsent message of a line can be claimed."""

    async def claim_messages(self, most: int, lease_seconds: float) -> list[ClaimedMessage]:
        """Take up to `most` due heads of lines for `lease_seconds`; no two callers get the same."""

    async def sent(self, message_id: int) -> None:
        """The other side has it."""

    async def retry(self, message_id: int, delay_seconds: float, error: str) -> None:
        """It did not get through: due again after the delay; its line waits."""

    async def bury(self, message_id: int, error: str) -> None:
        """It will never get through: kept for people to see, and its line goes on."""

    async def depth(self) -> tuple[int, float]:
        """How many messages are unsent, and the age of the oldest in seconds."""


class ProfileExists(Exception):  # noqa: N818 -- the name is the fact
    """A profile with this ICCID is already in stock."""

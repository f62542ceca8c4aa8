"""What the role eIM needs from the world: storage of eSIMs, of operations on them, of what devices hand in.

Every write is all or nothing and guarded by the state it expects; one that finds another state raises TransitionLost
and has changed nothing. A store that cannot reach its database raises rsp.errors.Unavailable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from eim.operation import Operation, OperationChange, OperationKind, OperationState
from rsp.identifiers import Eid, Iccid, TransactionId

LARGEST_RESULT = 262_144
"""Bytes of a result that are kept; the largest body the server reads by default."""

FORWARD_KIND = "es9plus.handleNotification"
"""Kind of the outbox's messages that carry a card's notification to another SM-DP+."""


class TransitionLost(Exception):  # noqa: N818 -- the name is the fact
    """Somebody else moved the row first: load it again and decide again."""


class InstallationTaken(Exception):  # noqa: N818 -- the name is the fact
    """This installation result has ended another operation: somebody sends it again."""


class EsimUnknown(Exception):  # noqa: N818 -- the name is the fact
    """This tenant has no eSIM with this EID; another's answers the same."""


class EsimExists(Exception):  # noqa: N818 -- the name is the fact
    """An eSIM with this EID is onboarded already, with other particulars."""


class KeyReused(Exception):  # noqa: N818 -- the name is the fact
    """The key names an operation of this tenant that asks for something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """What ties one eUICC to this eIM.

    `token` is the association token, None where the card was configured without one. `counter` is the last counterValue
    used; `features` are bits of IpaCapabilities (0 direct download, 1 indirect), None until the device told them.
    Certificates are DER and were verified when they came.
    """

    eid: Eid
    tenant_id: int
    eim_id: str
    token: int | None = field(repr=False)
    counter: int
    eum_certificate: bytes = field(repr=False)
    euicc_certificate: bytes = field(repr=False)
    features: frozenset[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardProfile:
    """A profile on a card, as a signed result of `as_of` told."""

    iccid: Iccid
    enabled: bool
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CardContent:
    """The known profiles of one card. `version` counts changes and guards each of them.

    `seq` is the card's sequence number of the result they go back to, None before the first; `listed_at` the time of
    the last whole list, None while there was none: then profiles may be missing.
    """

    version: int
    seq: int | None = None
    listed_at: datetime | None = None
    profiles: tuple[CardProfile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What is known about one eSIM. `rplmn` are the 3 bytes of the network it last polled over, unsigned."""

    eid: Eid
    tenant_id: int
    profiles: tuple[CardProfile, ...]
    listed_at: datetime | None
    last_poll_at: datetime | None
    rplmn: bytes | None
    features: frozenset[int] | None
    euicc_info2: bytes | None
    device_info: bytes | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOperation:
    """An operation to be queued; members as in `Operation`."""

    tenant_id: int
    key: str
    eid: Eid
    kind: OperationKind
    transaction_id: TransactionId
    expires_at: datetime
    iccid: Iccid | None = None
    rollback: bool = False
    activation_sealed: bytes | None = field(default=None, repr=False)
    about: int | None = None


class AssociationStore(Protocol):
    """eSIMs."""

    async def add_association(self, association: Association) -> Association:
        """Store a new eSIM; an equal one of the same tenant is answered as it stands. Raises EsimExists."""

    async def association(self, eid: Eid) -> Association | None:
        """The association of that EID, whoever owns it."""

    async def card(self, tenant_id: int, eid: Eid) -> CardFacts | None:
        """What is known about an eSIM of the tenant."""

    async def cards(self, tenant_id: int, *, after: Eid | None, most: int) -> list[CardFacts]:
        """The tenant's eSIMs in order of their EIDs, from behind `after`."""


class OperationStore(Protocol):
    """Operations, seen by their tenant."""

    async def queue(self, new: NewOperation) -> Operation:
        """Store `new`, or answer the operation that has its key already. Raises EsimUnknown."""

    async def operation(self, tenant_id: int, operation_id: int) -> Operation | None:
        """One operation of the tenant."""

    async def named(self, tenant_id: int, key: str) -> Operation | None:
        """The tenant's operation with that key."""

    async def operations(
        self,
        tenant_id: int,
        *,
        eid: Eid | None = None,
        state: OperationState | None = None,
        before: int | None = None,
        most: int = 100,
    ) -> list[Operation]:
        """Operations of the tenant, newest first, with ids below `before`."""

    async def move(self, change: OperationChange, now: datetime) -> None:
        """Apply a guarded step. Raises TransitionLost."""

    async def abandon(self, operation: Operation, now: datetime) -> None:
        """ABANDON a download in the device's hands of which the device has spoken, and its card's list since then.

        Raises TransitionLost when it is not so.
        """

    async def expire_due(self, now: datetime, most: int) -> int:
        """EXPIRE up to `most` open operations whose time is over; how many those were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """An eSIM that polls, and the operation whose turn it is; a DOUBTFUL one means that nothing else has its turn.

    `unjudged`: something that calls itself this eSIM has handed a result in, and it is not judged yet.
    """

    association: Association
    operation: Operation | None
    unjudged: bool = False


class PollStore(Protocol):
    """What a poll reads and writes."""

    async def poll(self, eid: Eid, now: datetime, rplmn: bytes | None, cause: int | None) -> Polled | None:
        """One round trip: note the contact, find what to hand over; None when no eSIM has that EID."""

    async def number(self, operation: Operation) -> int:
        """Take the eSIM's next counter for a queued operation, for ever. Raises TransitionLost."""

    async def hand_over(self, operation: Operation, request: bytes | None, now: datetime) -> None:
        """SEND a queued operation, with the signed package it is sent with. Raises TransitionLost."""

    async def move(self, change: OperationChange, now: datetime) -> None:
        """Apply a guarded step. Raises TransitionLost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptResult:
    """What a device handed in (BF50 or BF3D), committed and not yet judged."""

    id: int
    raw: bytes = field(repr=False)
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFacts:
    """What a result is held against."""

    operation: Operation
    association: Association
    content: CardContent


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentChange:
    """The profiles of a card from now on; applied only while the content has the version `expected`.

    `seq` and `listed_at` that are None stay as they are.
    """

    eid: Eid
    tenant_id: int
    expected: int
    profiles: tuple[CardProfile, ...]
    seq: int | None = None
    listed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultWrite:
    """One commit of a judgement: all parts or none.

    `ask` is queued to clear a doubtful operation up, `settled` is the step of the doubtful one that was cleared up.
    """

    operation: OperationChange
    content: ContentChange | None = None
    ask: NewOperation | None = None
    settled: OperationChange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a device told about itself, unsigned."""

    features: frozenset[int] | None
    euicc_info2: bytes | None
    device_info: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A card's notification (BF37 or 30) on its way to an SM-DP+: ours where `address` is empty."""

    raw: bytes = field(repr=False)
    address: str = ""
    tenant_id: int = 0
    eid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Body of a message of FORWARD_KIND: where to, and the notification in base64."""

    address: str
    pending_notification: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultVerdict:
    """What became of a kept result. `outcome` is one word for people.

    `answered` is the card that has answered, so that whoever waits for it is due; None when nothing proves that.
    """

    result_id: int
    verified: bool
    outcome: str
    operation_id: int | None = None
    tenant_id: int | None = None
    answered: Eid | None = None


class ResultStore(Protocol):
    """The inbox of results: bytes first, judgement after."""

    async def keep_result(self, raw: bytes, eid: Eid | None, received_at: datetime) -> None:
        """Commit at most LARGEST_RESULT bytes and what their sender calls itself; then they may be acknowledged."""

    async def claim_results(self, most: int, lease_seconds: float) -> list[KeptResult]:
        """Take up to `most` unjudged rows for `lease_seconds`, the oldest first; no two callers get the same."""

    async def facts_by_transaction(self, transaction_id: TransactionId) -> ResultFacts | None:
        """The operation of that eimTransactionId, whatever its state."""

    async def facts_by_counter(self, eid: Eid, counter: int) -> ResultFacts | None:
        """The operation that used that counter of that eSIM."""

    async def facts_by_id(self, operation_id: int) -> ResultFacts | None:
        """The operation of that id."""

    async def association(self, eid: Eid) -> Association | None:
        """The association of that EID, whoever owns it."""

    async def apply(self, write: ResultWrite, now: datetime) -> None:
        """Raises TransitionLost when operation or content are not as expected, InstallationTaken."""

    async def note(self, eid: Eid, told: Told) -> None:
        """Keep what a device told about itself; members that are None stay as they are."""

    async def hear(self, operation: Operation, said: str, ask: NewOperation | None, now: datetime) -> bool:
        """Keep what the device said first of an operation in its hands, and queue `ask`: one commit; whether it was."""

    async def settle(
        self, verdict: ResultVerdict, reports: tuple[Report, ...], now: datetime, write: ResultWrite | None = None
    ) -> None:
        """What follows, the verdict, and the notifications on their way, in one commit.

        Raises as `apply` does, and TransitionLost when the result is judged already.
        """

    async def forget_unverified(self, before: datetime) -> int:
        """Drop unverified results judged before that time; how many those were."""

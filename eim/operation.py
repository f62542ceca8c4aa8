"""One thing an eIM asks of one eUICC: its kinds, its states, one table (SGP.32 2.11, 3.3, 5.14)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from rsp.identifiers import Eid, Iccid, TransactionId


class OperationKind(StrEnum):
    """What is asked. DOWNLOAD triggers a profile download (BF54), READ asks for data (BF52); the rest are PSMOs."""

    DOWNLOAD = "download"
    ENABLE = "enable"
    DISABLE = "disable"
    DELETE = "delete"
    LIST = "list"
    READ = "read"


SIGNED = frozenset({OperationKind.ENABLE, OperationKind.DISABLE, OperationKind.DELETE, OperationKind.LIST})
"""Kinds that travel as eUICC packages under our signature, with a counter."""

ABOUT_ONE_PROFILE = SIGNED - {OperationKind.LIST}
"""Kinds that name an ICCID."""


class OperationState(StrEnum):
    """How far it has come.

    SENT: handed to the IPA at least once, result not seen. DOUBTFUL: the card refuses it as a replay, so it was perhaps
    executed; it is handed over no more. The card is asked for the results it keeps, and if it keeps none, for its
    profiles: its signed list then says what became of the operation.
    """

    QUEUED = "queued"
    SENT = "sent"
    DOUBTFUL = "doubtful"
    DONE = "done"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class OperationEvent(StrEnum):
    """What can happen to an operation."""

    SEND = "handed to the IPA"
    SUCCEED = "signed result: done"
    FAIL = "signed result: error"
    ROLL_BACK = "signed result: rolled back"
    DOUBT = "signed result: replay"
    GIVE_UP = "cannot be sent"
    EXPIRE = "time ran out"
    CANCEL = "withdrawn before it was sent"
    ABANDON = "withdrawn after the device's unsigned word and a signed list"


_S, _E = OperationState, OperationEvent

TRANSITIONS: dict[tuple[OperationState, OperationEvent], OperationState] = {
    (_S.QUEUED, _E.SEND): _S.SENT,
    (_S.QUEUED, _E.CANCEL): _S.CANCELLED,
    (_S.QUEUED, _E.EXPIRE): _S.EXPIRED,
    (_S.QUEUED, _E.GIVE_UP): _S.FAILED,
    (_S.SENT, _E.SUCCEED): _S.DONE,
    (_S.SENT, _E.FAIL): _S.FAILED,
    (_S.SENT, _E.ROLL_BACK): _S.ROLLED_BACK,
    (_S.SENT, _E.DOUBT): _S.DOUBTFUL,
    (_S.SENT, _E.EXPIRE): _S.EXPIRED,
    # A download the device says it could not do: the asker may try anew once the card's list is newer than that word.
    (_S.SENT, _E.ABANDON): _S.EXPIRED,
    (_S.DOUBTFUL, _E.SUCCEED): _S.DONE,
    (_S.DOUBTFUL, _E.FAIL): _S.FAILED,
    (_S.DOUBTFUL, _E.ROLL_BACK): _S.ROLLED_BACK,
    (_S.DOUBTFUL, _E.EXPIRE): _S.EXPIRED,
    # A card that was silent for long may still have done it: its signed word counts, however late.
    (_S.EXPIRED, _E.SUCCEED): _S.DONE,
    (_S.EXPIRED, _E.FAIL): _S.FAILED,
    (_S.EXPIRED, _E.ROLL_BACK): _S.ROLLED_BACK,
    # The first result of an enable may be delivered and the card still fall back when its acknowledgement is lost.
    (_S.DONE, _E.ROLL_BACK): _S.ROLLED_BACK,
}

OPEN = frozenset({OperationState.QUEUED, OperationState.SENT, OperationState.DOUBTFUL})
"""States in which an operation is still to come to an end."""


class ImpossibleTransition(Exception):  # noqa: N818 -- the name is the fact
    """The table has no such step: the caller asked for something this state does not allow."""


def after(state: OperationState, event: OperationEvent) -> OperationState:
    """The state that follows. Raises ImpossibleTransition when the table has no such step."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ImpossibleTransition(f"an operation that is {state} has no step '{event}'") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation as stored.

    `key` is its owner's name for it, once per tenant. `counter` is the counterValue of a signed package, `request` the
    package itself (BF51): made once, kept before it leaves, handed over again byte for byte. BF52 and BF54 carry no
    signature and are made of the other members, the same each time. `activation_sealed` is the activation code of a
    DOWNLOAD, wrapped by the vault; it goes when the operation ends. `about` is the doubtful operation that a READ or
    LIST of ours is to clear up. `result_code` is the card's code for the command (0 ok), `detail` words for people.
    `previous` is the profile that was enabled before an ENABLE, as far as known. `hearsay` is what the device said
    first, at `heard_at`, of an operation in its hands without the card's signature: it moves nothing; people see it.
    """

    id: int
    tenant_id: int
    key: str
    eid: Eid
    kind: OperationKind
    state: OperationState
    transaction_id: TransactionId
    expires_at: datetime
    iccid: Iccid | None = None
    rollback: bool = False
    activation_sealed: bytes | None = field(default=None, repr=False)
    counter: int | None = None
    request: bytes | None = field(default=None, repr=False)
    about: int | None = None
    previous: Iccid | None = None
    result_code: int | None = None
    detail: str = ""
    created_at: datetime | None = None
    sent_at: datetime | None = None
    ended_at: datetime | None = None
    hearsay: str = ""
    heard_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationChange:
    """One guarded step of an operation: applied only while its state is the expected one.

    `installation` is the transactionId of the installation result that ends a DOWNLOAD: one result ends one operation.
    A step into an ended state takes the sealed activation code away and sets the time of the end.
    """

    operation_id: int
    expected: OperationState
    state: OperationState
    result_code: int | None = None
    detail: str = ""
    previous: Iccid | None = None
    installation: bytes | None = None

    @classmethod
    def of(
        cls,
        operation: Operation,
        event: OperationEvent,
        *,
        code: int | None = None,
        detail: str = "",
        previous: Iccid | None = None,
        installation: bytes | None = None,
    ) -> OperationChange:
        """The step `event` from where `operation` stands. Raises ImpossibleTransition."""
        return cls(
            operation_id=operation.id,
            expected=operation.state,
            state=after(operation.state, event),
            result_code=code,
            detail=detail,
            previous=previous,
            installation=installation,
        )

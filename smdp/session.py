"""The session of one download attempt: minutes long, one transactionId (SGP.22 3.1.3). States, events, one table."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from rsp.identifiers import Eid, TransactionId


class SessionState(StrEnum):
    """How far a session has come."""

    INITIATED = "initiated"
    AUTHENTICATED = "authenticated"
    DELIVERED = "delivered"
    REPORTED = "reported"
    ENDED = "ended"


class SessionEvent(StrEnum):
    """What can happen to a session."""

    AUTHENTICATE = "AuthenticateClient accepted"
    REFUSE_CODE = "wrong confirmation code"
    DELIVER = "GetBoundProfilePackage answered"
    REPORT = "profile installation result"
    END = "refused or cancelled"


_S, _E = SessionState, SessionEvent

TRANSITIONS: dict[tuple[SessionState, SessionEvent], SessionState] = {
    (_S.INITIATED, _E.AUTHENTICATE): _S.AUTHENTICATED,
    (_S.INITIATED, _E.END): _S.ENDED,
    (_S.AUTHENTICATED, _E.REFUSE_CODE): _S.AUTHENTICATED,
    (_S.AUTHENTICATED, _E.DELIVER): _S.DELIVERED,
    (_S.AUTHENTICATED, _E.END): _S.ENDED,
    (_S.DELIVERED, _E.REPORT): _S.REPORTED,
    (_S.DELIVERED, _E.END): _S.ENDED,
    # Some LPAs cancel after a failed installation and only then hand in the card's result.
    (_S.ENDED, _E.REPORT): _S.REPORTED,
}


class ImpossibleTransition(Exception):  # noqa: N818 -- the name is the fact
    """The table has no such step."""


def after(state: SessionState, event: SessionEvent) -> SessionState:
    """The state that follows. Raises ImpossibleTransition when the table has no such step."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ImpossibleTransition(f"a session that is {state} has no step '{event}'") from None


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One session as stored.

    `ci_key_id` is the CI under which the eUICC signs, `server_ci_key_id` the one of the certificates we show.
    `*_digest` is SHA-256 of the request that brought the session where it is: the same bytes get the same answer.
    `refusal` is the name of the Status the last request was refused with. `euicc_key` is the eUICC's public key as
    uncompressed point (65 bytes) on the curve of the CI; it outlives the session: a card may report weeks later.
    """

    transaction_id: TransactionId
    state: SessionState
    expires_at: datetime
    server_address: str
    server_challenge: bytes
    ci_key_id: bytes
    server_ci_key_id: bytes
    order_id: int | None = None
    eid: Eid | None = None
    euicc_key: bytes | None = None
    smdp_signed2: bytes | None = None
    smdp_signature2: bytes | None = None
    authenticate_digest: bytes | None = None
    download_digest: bytes | None = None
    secure_channel: bytes | None = None
    refusal: str | None = None


class SessionChange(msgspec.Struct, frozen=True, kw_only=True):
    """One guarded step of a session: applied only while its state is as expected. None leaves a column as it is."""

    transaction_id: TransactionId
    expected: SessionState
    state: SessionState
    order_id: int | None = None
    eid: Eid | None = None
    euicc_key: bytes | None = None
    smdp_signed2: bytes | None = None
    smdp_signature2: bytes | None = None
    authenticate_digest: bytes | None = None
    download_digest: bytes | None = None
    secure_channel: bytes | None = None
    refusal: str | None = None

    @classmethod
    def of(cls, session: Session, event: SessionEvent, **members: Any) -> SessionChange:
        """The step `event` from where `session` stands, with `members` that it brings."""
        state = after(session.state, event)
        return cls(transaction_id=session.transaction_id, expected=session.state, state=state, **members)

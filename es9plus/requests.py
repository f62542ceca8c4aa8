"""What the functions of ES9+ take and give, however a binding spells it (SGP.22 5.6)."""

from __future__ import annotations

from typing import Protocol

import msgspec

from rsp.identifiers import TransactionId
from smdp.downloads import Authenticated, Initiated

INITIATE_AUTHENTICATION = "initiateAuthentication"
AUTHENTICATE_CLIENT = "authenticateClient"
GET_BOUND_PROFILE_PACKAGE = "getBoundProfilePackage"
HANDLE_NOTIFICATION = "handleNotification"
CANCEL_SESSION = "cancelSession"


class InitiateAuthentication(msgspec.Struct, frozen=True, kw_only=True):
    """Request of 5.6.1: the challenge as raw bytes, EUICCInfo1 (BF20) as received."""

    euicc_challenge: bytes
    euicc_info1: bytes
    smdp_address: str


class CardResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Request of 5.6.2, 5.6.3 and 5.6.5: a session, and what the eUICC answered in it: BF21, BF38 or BF41."""

    transaction_id: TransactionId
    response: bytes


class Spelling(Protocol):
    """One binding. Readers raise rsp.errors.Malformed with a sentence that names the member; bodies are bytes."""

    def initiate_authentication(self, body: bytes, /) -> InitiateAuthentication:
        """Read the request of 5.6.1."""

    def authenticate_client(self, body: bytes, /) -> CardResponse:
        """Read the request of 5.6.3."""

    def get_bound_profile_package(self, body: bytes, /) -> CardResponse:
        """Read the request of 5.6.2."""

    def handle_notification(self, body: bytes, /) -> bytes:
        """Read the request of 5.6.4: the pending notification as received."""

    def cancel_session(self, body: bytes, /) -> CardResponse:
        """Read the request of 5.6.5."""

    def initiated(self, answer: Initiated, /) -> bytes:
        """Write the answer of 5.6.1."""

    def authenticated(self, answer: Authenticated, /) -> bytes:
        """Write the answer of 5.6.3."""

    def bound(self, transaction_id: TransactionId, package: bytes, /) -> bytes:
        """Write the answer of 5.6.2."""

    def cancelled(self) -> bytes:
        """Write the answer of 5.6.5."""

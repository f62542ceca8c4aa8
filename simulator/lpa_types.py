"""What an LPA is told, holds between its steps, and reports; and what it asks of a card (SGP.22 5.6, 5.7)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from rsp.identifiers import Iccid, TransactionId


class CardPort(Protocol):
    """What the LPA asks of a card: the ES10 functions, raw TLVs in and out."""

    def get_euicc_info1(self) -> bytes:
        """BF20."""
        ...

    def get_euicc_challenge(self) -> bytes:
        """BF2E."""
        ...

    def authenticate_server(self, request: bytes) -> bytes:
        """BF38 to BF38."""
        ...

    def prepare_download(self, request: bytes) -> bytes:
        """BF21 to BF21."""
        ...

    def load_bound_profile_package(self, segment: bytes) -> bytes:
        """One segment in; nothing, or BF37 when the installation ended."""
        ...

    def cancel_session(self, request: bytes) -> bytes:
        """BF41 to BF41."""
        ...

    def retrieve_notifications(self, request: bytes) -> bytes:
        """BF2B to BF2B."""
        ...

    def remove_notification(self, request: bytes) -> bytes:
        """BF30 to BF30."""
        ...


class CancelPolicy(Enum):
    """When a failed download is cancelled: never, where the standard asks for it, or always as a common LPA does.

    STANDARD cancels what the device itself gave up, with the reason; a session the server refused is over already.
    ALWAYS sends endUserRejection after any failure, even one the server itself announced.
    """

    NEVER = "never"
    STANDARD = "standard"
    ALWAYS = "always"


class Delivery(Enum):
    """When notifications are sent: right after the installation, or when `send_notifications` is called."""

    AT_ONCE = "at once"
    LATER = "later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Initiated:
    """The answer to InitiateAuthentication; `server` is what the card gets, in the order of BF38."""

    smdp_address: str
    transaction_id: TransactionId
    server: tuple[bytes, bytes, bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticated:
    """The answer to AuthenticateClient; `profile_metadata` is the BF25 shown to the user."""

    smdp_address: str
    transaction_id: TransactionId
    profile_metadata: bytes
    smdp_signed2: bytes
    smdp_signature2: bytes
    smdp_certificate: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The answer to GetBoundProfilePackage."""

    smdp_address: str
    transaction_id: TransactionId
    profile_metadata: bytes
    bound_profile_package: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """The profile is on the card. `notification_fault` says why its notification is still there, if it is;
    `sessions` counts the sessions it took, more than one when the server forgot one.
    """

    transaction_id: TransactionId
    iccid: Iccid | None
    profile_metadata: bytes
    notification_fault: str = ""
    sessions: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The server said no. `cancel` tells what became of CancelSession: "", "accepted" or the fault.

    The ASN.1 binding knows no subject: `reason` is the error integer and `message` its name.
    """

    function: str
    subject: str
    reason: str
    message: str
    cancel: str = ""

    @property
    def code(self) -> str:
        """ "8.1/6.1", or the error integer."""
        return f"{self.subject}/{self.reason}" if self.subject else self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Errored:
    """Something else went wrong; the two numbers are those of a ProfileInstallationResult, if it came to that."""

    function: str
    cause: str
    bpp_command_id: int | None = None
    error_reason: int | None = None
    cancel: str = ""
    notification_fault: str = ""


DownloadResult = Installed | Refused | Errored

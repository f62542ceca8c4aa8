"""Ways in which a virtual eUICC can be told to break the protocol, so that a server's refusals can be tested."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Misbehaviour(Enum):
    """One deliberate fault; everything else the card does stays correct."""

    WRONG_SIGNATURE1 = auto()
    WRONG_SERVER_CHALLENGE = auto()
    WRONG_SERVER_ADDRESS = auto()
    WRONG_TRANSACTION_ID = auto()
    """In EuiccSigned1, correctly signed."""
    FOREIGN_EUM = auto()
    """The certificates lead to a CI nobody knows."""
    FORGED_EUM = auto()
    """The EUM certificate names the trusted CI, which never signed it."""
    FORGED_EUICC = auto()
    """The eUICC certificate names the real EUM, which never signed it."""
    TRUNCATED_RESPONSE = auto()
    """Answers of AuthenticateServer, PrepareDownload and CancelSession end half way; so with the next five."""
    TRAILING_BYTES = auto()
    INDEFINITE_LENGTH = auto()
    """The outermost length is not told; two zero octets end the answer."""
    OVERSIZED_LENGTH = auto()
    """The outermost length announces two gigabytes."""
    LONG_LENGTHS = auto()
    """The outermost length takes more octets than it needs: BER, not DER, and no server has to mind."""
    UNKNOWN_MEMBERS = auto()
    """What is signed holds a member of a later version, which no server has to mind."""
    REFUSE_AUTHENTICATION = auto()
    WRONG_SIGNATURE2 = auto()
    WRONG_TRANSACTION_ID2 = auto()
    """In EUICCSigned2, correctly signed."""
    NEW_ONE_TIME_KEY = auto()
    """The stored one-time key is forgotten although the server asks for it."""
    OTHER_CURVE = auto()
    """The one-time key is on the other curve."""
    REFUSE_DOWNLOAD = auto()
    FAIL_INSTALL_MEMORY = auto()
    FAIL_INSTALL_INTERRUPTED = auto()
    FAIL_INSTALL_PE = auto()
    WRONG_PIR_SIGNATURE = auto()
    WRONG_NOTIFICATION_SIGNATURE = auto()
    WRONG_CANCEL_SIGNATURE = auto()
    WRONG_CANCEL_OID = auto()
    REFUSE_CANCEL = auto()

    # eUICC packages (SGP.32) ---------------------------------------------------------------------------------------

    WRONG_PACKAGE_RESULT_SIGNATURE = auto()
    OLD_PACKAGE_RESULT_SIGNATURE = auto()
    """Over the result and the eIM's signature, as SGP.32 1.0.1 has it, instead of the association token."""
    UNSIGNED_PACKAGE_ERROR = auto()
    """A good package is answered as if its signature were wrong."""
    PACKAGE_UNDEFINED_ERROR = auto()
    """A good package is refused with a signed undefinedError."""
    ECALL_ACTIVE = auto()
    CAT_BUSY = auto()
    FAIL_COMMAND = auto()
    """Every command of a package ends with undefinedError."""
    INTERRUPT_PACKAGE = auto()
    """Processing of a package is interrupted before its first command."""
    REFUSE_ROLLBACK = auto()
    """ProfileRollback ends with undefinedError and changes nothing."""


@dataclass(frozen=True, slots=True)
class InstallFailure:
    """An installation that ends in the middle of the package: bppCommandId and errorReason of the result."""

    command: int
    reason: int

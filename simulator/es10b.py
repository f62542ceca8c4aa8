"""Error codes of the ES10b functions and readers of parts they share (SGP.22 v2.5, annex H: RSPDefinitions)."""

from __future__ import annotations

from enum import IntEnum

from rsp import tlv
from simulator import der
from simulator.server_certificates import Fault

CANCEL_REASONS = (0, 1, 2, 3, 4, 5, 127)


class AuthenticateError(IntEnum):
    """AuthenticateErrorCode."""

    INVALID_CERTIFICATE = 1
    INVALID_SIGNATURE = 2
    UNSUPPORTED_CURVE = 3
    NO_SESSION_CONTEXT = 4
    INVALID_OID = 5
    CHALLENGE_MISMATCH = 6
    CI_KEY_UNKNOWN = 7
    UNDEFINED = 127


class DownloadError(IntEnum):
    """DownloadErrorCode."""

    INVALID_CERTIFICATE = 1
    INVALID_SIGNATURE = 2
    UNSUPPORTED_CURVE = 3
    NO_SESSION_CONTEXT = 4
    INVALID_TRANSACTION_ID = 5
    UNDEFINED = 127


class CancelError(IntEnum):
    """cancelSessionResponseError."""

    INVALID_TRANSACTION_ID = 5
    UNDEFINED = 127


class Rejected(Exception):  # noqa: N818 -- the name is the outcome
    """A function ends with this error code."""

    def __init__(self, code: IntEnum, detail: str) -> None:
        super().__init__(detail)
        self.code = code


AUTHENTICATE_FAULTS = {
    Fault.UNKNOWN_CI: AuthenticateError.CI_KEY_UNKNOWN,
    Fault.UNSUPPORTED_CURVE: AuthenticateError.UNSUPPORTED_CURVE,
    Fault.INVALID: AuthenticateError.INVALID_CERTIFICATE,
    Fault.WRONG_ROLE: AuthenticateError.INVALID_OID,
}


def read_transaction_id(outer: tlv.Tlv) -> bytes:
    """The transactionId of the signed part, needed for any answer. Raises ValueError when it cannot be found."""
    signed = next(outer.children(), None)
    found = None if signed is None or signed.tag != 0x30 else next(signed.children(), None)
    if found is None or found.tag != 0x80:
        raise ValueError(f"{outer.tag:X} does not start with a signed part that starts with the transactionId")
    return der.sized(found, 1, 16)


def check_context_parameters(parameters: tlv.Tlv) -> None:
    """Raise ValueError unless this is CtxParams1: matchingId at will, deviceInfo with TAC and capabilities."""
    found = der.members(parameters, 0x80, 0xA1, optional=(0x80,))
    if 0x80 in found:
        der.text(found[0x80], 255)
    # preferredLanguages, deviceTestMode and lpaRspCapability came with v3, for eUICCs that let DeviceInfo grow.
    device = der.members(found[0xA1], 0x80, 0xA1, 0x82, 0xA3, 0x84, 0x85, optional=(0x82, 0xA3, 0x84, 0x85))
    der.sized(device[0x80], 4)
    if 0x82 in device:
        der.sized(device[0x82], 8)

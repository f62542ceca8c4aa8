"""ESipa as an IPA speaks it: the ASN.1 binding over HTTPS, messages written and read strictly (SGP.32 v1.2, 6.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from rsp import tlv
from rsp.identifiers import Eid
from simulator import der
from simulator.exchange import Answer, Binding, Exchange, ProtocolFault, Retries

PATH = "/gsma/rsp2/asn1"
USER_AGENT = "gsma-rsp-ipad"
CONTENT_TYPE = "application/x-gsma-rsp-asn1"
BINDING = Binding(content_type=CONTENT_TYPE, protocol="gsma/rsp/v2.1.0")
EUICC_PACKAGE, DATA_REQUEST, DOWNLOAD_TRIGGER = 0xBF51, 0xBF52, 0xBF54
_GET_EIM_PACKAGE, _PROVIDE_RESULT, _HANDLE_NOTIFICATION = 0xBF4F, 0xBF50, 0xBF3D
_ACKNOWLEDGEMENTS = 0xBF53
_PACKAGES = (EUICC_PACKAGE, DATA_REQUEST, DOWNLOAD_TRIGGER)
_NO_PACKAGE_CODES = frozenset({1, 2, 3, 4, 127})
_RESULT_ERRORS = frozenset({2, 3, 4, 127})


class StateChange(IntEnum):
    """Why the profiles of a card changed without the eIM."""

    OTHER_EIM = 0
    FALLBACK = 1
    EMERGENCY_PROFILE = 2
    LOCAL = 3
    RESET = 4
    IMMEDIATE_ENABLE = 5
    DEVICE_CHANGE = 6
    UNDEFINED = 127


class ResponseError(IntEnum):
    """What an IPA says about a package it could not hand on."""

    INVALID_PACKAGE_FORMAT = 1
    UNKNOWN_PACKAGE = 2
    UNDEFINED = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPackage:
    """The eIM gives no package: 1 none available, 2 EID not found, 3 invalid EID, 4 missing EID, 127 undefined."""

    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The eIM has the result, and lets go of these sequence numbers."""

    acknowledged: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTaken:
    """The eIM refuses the result: 2 EID not found, 3 invalid EID, 4 missing EID, 127 undefined."""

    code: int


class EimPeer:
    """The eIM as the IPA sees it. Every function raises NoAnswer or ProtocolFault."""

    def __init__(self, exchange: Exchange, host: str) -> None:
        self._exchange = exchange
        self._host = host

    async def get_eim_package(
        self, eid: Eid, *, state_change: StateChange | None = None, rplmn: bytes | None = None
    ) -> tlv.Tlv | NoPackage:
        """GetEimPackage, tag BF4F: one package, BF51, BF52 or BF54."""
        changed = b"" if state_change is None else tlv.wrap(0x80) + tlv.wrap_integer(0x81, state_change)
        registered = b"" if rplmn is None else tlv.wrap(0x82, rplmn)
        request = tlv.wrap(_GET_EIM_PACKAGE, _eid(eid), changed, registered)
        function = "getEimPackage"
        chosen = await self._ask(function, request, _GET_EIM_PACKAGE)
        if chosen.tag == 0x02:
            return NoPackage(code=_code(function, chosen, _NO_PACKAGE_CODES))
        if chosen.tag not in _PACKAGES:
            raise ProtocolFault(function, f"{chosen.tag:X} is no package")
        return chosen

    async def provide_eim_package_result(
        self, eid: Eid, result: bytes, *, expected: Sequence[int] = (), retries: Retries | None = None
    ) -> Taken | NotTaken:
        """ProvideEimPackageResult, tag BF50, with a raw result.

        `expected` are the sequence numbers inside it: an acknowledgement of any other would lose what was not sent.
        """
        function = "provideEimPackageResult"
        chosen = await self._ask(function, tlv.wrap(_PROVIDE_RESULT, _eid(eid), result), _PROVIDE_RESULT, retries)
        if chosen.tag == 0x02:
            return NotTaken(code=_code(function, chosen, _RESULT_ERRORS))
        if chosen.raw == b"\x30\x00":
            return Taken(acknowledged=())
        numbers = _acknowledged(function, chosen)
        strangers = [number for number in numbers if number not in expected]
        if strangers:
            raise ProtocolFault(function, f"sequence number {strangers[0]} is acknowledged and was not sent")
        return Taken(acknowledged=numbers)

    async def handle_notification(self, notification: bytes, *, retries: Retries | None = None) -> None:
        """HandleNotification, tag BF3D, with one raw pending notification; the answer must be 204 and empty."""
        function = "handleNotification"
        body = tlv.wrap(_HANDLE_NOTIFICATION, tlv.wrap(0xA0, notification))
        answer = await self._exchange.post(self._host, PATH, body, retries, function=function)
        _check_head(function, answer, 204)
        if answer.body:
            raise ProtocolFault(function, "an HTTP 204 carries a body")

    async def _ask(self, function: str, request: bytes, tag: int, retries: Retries | None = None) -> tlv.Tlv:
        answer = await self._exchange.post(self._host, PATH, request, retries, function=function)
        _check_head(function, answer, 200)
        if answer.headers.get("Content-Type", "") != CONTENT_TYPE:
            raise ProtocolFault(function, f"Content-Type is not {CONTENT_TYPE}")
        try:
            return der.only_child(der.parse(answer.body, tag))
        except ValueError as error:
            raise ProtocolFault(function, str(error)) from error


def _eid(eid: Eid) -> bytes:
    return tlv.wrap(0x5A, eid.to_bytes())


def _check_head(function: str, answer: Answer, status: int) -> None:
    if answer.status != status:
        raise ProtocolFault(function, f"HTTP status {answer.status} instead of {status}")
    if not answer.headers.get("X-Admin-Protocol", "").startswith("gsma/rsp/v"):
        raise ProtocolFault(function, "X-Admin-Protocol: gsma/rsp/v<x.y.z> is missing from the answer")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise ProtocolFault(function, "the answer is compressed though nothing asked for it")


def _code(function: str, found: tlv.Tlv, known: frozenset[int]) -> int:
    try:
        code = der.integer(found)
    except ValueError as error:
        raise ProtocolFault(function, str(error)) from error
    if code not in known:
        raise ProtocolFault(function, f"{code} is no error code of this function")
    return code


def _acknowledged(function: str, found: tlv.Tlv) -> tuple[int, ...]:
    try:
        entries = list(found.children())
        if found.tag != _ACKNOWLEDGEMENTS or any(entry.tag != 0x80 for entry in entries):
            raise ValueError("the answer is neither acknowledgements (BF53), nor empty (30 00), nor an error (02)")
        return tuple(der.integer(entry) for entry in entries)
    except ValueError as error:
        raise ProtocolFault(function, str(error)) from error

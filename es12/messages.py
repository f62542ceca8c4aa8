"""The JSON spelling of ES12 (SGP.22 6.5.2.13, 6.5.2.14)."""

from __future__ import annotations

import msgspec

PREFIX = "/gsma/rsp2/es12"


class RequestHeader(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Who calls, and which call it is (6.5.1.3)."""

    function_requester_identifier: str
    function_call_identifier: str


class RegisterEvent(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """An event of the eUICC `eid` waits at `rsp_server_address`, under `event_id`.

    `forwarding_indicator` asks an alternative SM-DS to register it at the root SM-DS as well.
    """

    header: RequestHeader
    eid: str
    rsp_server_address: str
    event_id: str
    forwarding_indicator: bool


class DeleteEvent(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The event waits no more."""

    header: RequestHeader
    eid: str
    event_id: str


def encode(request: RegisterEvent | DeleteEvent) -> bytes:
    """A request as it is sent."""
    return msgspec.json.encode(request)

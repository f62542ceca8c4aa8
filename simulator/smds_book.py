"""What an SM-DS holds: events by EID and EventID, each owned by the SM-DP+ that registered it (SGP.22 3.6, 5.10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rsp.identifiers import Eid, MatchingId, fqdn
from rsp.status import Status
from simulator.strict_json import load_object

_HEADER = {"functionRequesterIdentifier", "functionCallIdentifier"}
_REGISTER = {"header", "eid", "rspServerAddress", "eventId", "forwardingIndicator"}
_DELETE = {"header", "eid", "eventId"}


class SmdsRefused(Exception):  # noqa: N818 -- the name is the outcome
    """The function is answered Failed with the codes of `status`."""

    def __init__(self, status: Status, detail: str = "") -> None:
        super().__init__(detail or status.message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """An event as it was registered. `owner` is the OID in the certificate of the SM-DP+."""

    owner: str
    eid: Eid
    event_id: MatchingId
    rsp_server_address: str
    forwarding: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request of ES12 as read. `address` and `forwarding` are those of RegisterEvent."""

    requester: str
    call_id: str
    eid: Eid
    event_id: MatchingId
    address: str = ""
    forwarding: bool = False


@dataclass(slots=True)
class Book:
    """The events, in the order in which they came."""

    events: list[Registered] = field(default_factory=list)

    def of(self, eid: Eid) -> list[Registered]:
        """The events of an eUICC."""
        return [event for event in self.events if event.eid == eid]

    def add(self, event: Registered) -> None:
        """Raises SmdsRefused when the eUICC has an event of this name."""
        if self._find(event.eid, event.event_id) is not None:
            raise SmdsRefused(Status.EVENT_REGISTERED_ALREADY)
        self.events.append(event)

    def remove(self, owner: str, eid: Eid, event_id: MatchingId) -> None:
        """Raises SmdsRefused when there is none, or when another SM-DP+ registered it."""
        found = self._find(eid, event_id)
        if found is None:
            raise SmdsRefused(Status.EVENT_UNKNOWN)
        if found.owner != owner:
            raise SmdsRefused(Status.REQUESTER_NOT_ALLOWED, "The event was registered by another SM-DP+.")
        self.events.remove(found)

    def _find(self, eid: Eid, event_id: MatchingId) -> Registered | None:
        return next((event for event in self.of(eid) if event.event_id == event_id), None)


def read_request(function: str, body: bytes) -> Request:
    """A request of ES12 in exactly the members of SGP.22 6.5.2.13 and 6.5.2.14. Raises ValueError."""
    members = load_object(body)
    wanted = _REGISTER if function == "registerEvent" else _DELETE
    if set(members) != wanted:
        raise ValueError(f"{function} has the members {sorted(wanted)}, not {sorted(members)}")
    header = members["header"]
    if not isinstance(header, dict) or set(header) != _HEADER:
        raise ValueError(f"the header has the members {sorted(_HEADER)}")
    texts = {name: _filled(header, name) for name in _HEADER}
    eid, event_id = Eid(_filled(members, "eid")), MatchingId(_filled(members, "eventId"))
    known = Request(
        requester=texts["functionRequesterIdentifier"],
        call_id=texts["functionCallIdentifier"],
        eid=eid,
        event_id=event_id,
    )
    return known if function == "deleteEvent" else _with_address(known, members)


def _with_address(request: Request, members: dict[str, Any]) -> Request:
    address = _filled(members, "rspServerAddress")
    if fqdn(address) != address:
        raise ValueError(f"rspServerAddress {address!r} is not a host name in lower case")
    if not isinstance(members["forwardingIndicator"], bool):
        raise ValueError("forwardingIndicator is a JSON boolean")
    return Request(
        requester=request.requester,
        call_id=request.call_id,
        eid=request.eid,
        event_id=request.event_id,
        address=address,
        forwarding=members["forwardingIndicator"],
    )


def _filled(members: dict[str, Any], name: str) -> str:
    value = members[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is a text that is not empty")
    return value

"""The event of an order at an SM-DS (SGP.22 3.6): by it a device finds its order without an activation code.

States, steps, one table; and which SM-DS an operator may name.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rsp.errors import Malformed, Refused
from rsp.identifiers import Eid, MatchingId, fqdn
from rsp.status import Status

REMOVAL_KIND = "es12.deleteEvent"
"""The kind of message by which the outbox has an event deleted; its body is JSON with `event` and `attempt`."""

DOUBT_SECONDS = 120.0
"""How long a call without an answer may still take effect at an SM-DS."""


class EventState(StrEnum):
    """What we know of an event; the SM-DS itself cannot be asked."""

    REGISTERING = "registering"
    REGISTERED = "registered"
    WITHDRAWING = "withdrawing"
    WITHDRAWN = "withdrawn"


class EventStep(StrEnum):
    """What can happen to an event."""

    CONFIRM = "SM-DS has it"
    ASK_AGAIN = "RegisterEvent again"
    WITHDRAW = "no longer wanted"
    REMOVE = "SM-DS has it no more"
    REPLACE = "wanted again: another takes its place"
    DISOWN = "nothing of ours is there"


_S, _E = EventState, EventStep

TRANSITIONS: dict[tuple[EventState, EventStep], EventState] = {
    (_S.REGISTERING, _E.CONFIRM): _S.REGISTERED,
    (_S.REGISTERING, _E.ASK_AGAIN): _S.REGISTERING,
    (_S.REGISTERED, _E.ASK_AGAIN): _S.REGISTERING,
    (_S.REGISTERING, _E.WITHDRAW): _S.WITHDRAWING,
    (_S.REGISTERED, _E.WITHDRAW): _S.WITHDRAWING,
    (_S.WITHDRAWING, _E.REMOVE): _S.WITHDRAWN,
    (_S.WITHDRAWING, _E.REPLACE): _S.WITHDRAWN,
    # The SM-DS has an event of this name that we never asked for, or was never asked: nothing is ours to delete.
    (_S.REGISTERING, _E.DISOWN): _S.WITHDRAWN,
}


LIVE = tuple(state for state in EventState if state is not EventState.WITHDRAWN)
"""States in which an SM-DS has the event, or may have it."""


class ImpossibleTransition(Exception):  # noqa: N818 -- the name is the fact
    """The table has no such step."""


def after(state: EventState, step: EventStep) -> EventState:
    """The state that follows. Raises ImpossibleTransition when the table has no such step."""
    try:
        return TRANSITIONS[state, step]
    except KeyError:
        raise ImpossibleTransition(f"an event that is {state} has no step '{step}'") from None


def before(step: EventStep) -> tuple[EventState, ...]:
    """The states from which the table has this step."""
    return tuple(state for state, known in TRANSITIONS if known is step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event as stored. `attempt` counts the times it was asked to be registered; the first is 1.

    At an SM-DS an event is known by EID and EventID, which is the MatchingID of the order.
    """

    id: int
    tenant_id: int
    order_id: int
    smds_address: str
    eid: Eid
    event_id: MatchingId
    attempt: int


class EventRefused(Exception):  # noqa: N818 -- the name is the outcome
    """The SM-DS answered Failed. `codes` is (subject, reason) as it sent them, which need not be ones we know."""

    def __init__(self, function: str, codes: tuple[str, str], message: str) -> None:
        super().__init__(f"{function} was refused with {codes[0]}/{codes[1]}: {message}")
        self.codes = codes

    def means(self, status: Status) -> bool:
        """Whether these are the codes of `status`."""
        return self.codes == (status.subject, status.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmdsPolicy:
    """Which SM-DS orders may name (empty `hosts`: any with a public name), and which of them are root SM-DS."""

    hosts: frozenset[str] = frozenset()
    roots: frozenset[str] = frozenset()

    def forwards(self, smds_address: str) -> bool:
        """forwardingIndicator: an alternative SM-DS registers the event at the root SM-DS too, a root does not."""
        return smds_address not in self.roots

    def accepted(self, smds_address: str) -> str:
        """The address in lower case. Raises Refused for what is no name of an SM-DS, or of none allowed here."""
        try:
            host = fqdn(smds_address)
        except Malformed:
            host = ""
        if not host or ":" in smds_address:
            raise Refused(Status.SMDS_UNREACHABLE, "smdsAddress must be a host name such as lpa.ds.gsma.com.")
        if host in self.hosts:
            return host
        if self.hosts:
            raise Refused(Status.SMDS_UNREACHABLE, "This SM-DP+ does not work with that SM-DS. Ask its operator.")
        # A last label of digits only makes an IP address, in one of its many spellings (RFC 1123 2.1).
        top = host.rpartition(".")[2]
        if "." not in host or top.isdigit() or top.startswith("0x"):
            raise Refused(Status.SMDS_UNREACHABLE, "smdsAddress must be a public host name, not an address.")
        return host

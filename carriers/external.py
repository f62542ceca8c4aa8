"""A carrier without integration: the customer allocates, activates and tells us; nothing here pretends otherwise."""

from __future__ import annotations

from carriers.base import Account, Capabilities, PlatformRefused, Session, SimFacts, SimState
from rsp.identifiers import Iccid

_CAPABILITIES = Capabilities(
    can_allocate=False,
    can_release=False,
    can_set_billable=False,
    has_connectable_unbilled_state=False,
    reports_sessions=False,
)


class External:
    """Knows no SIM, refuses every change, reports no session."""

    capabilities = _CAPABILITIES

    async def find(self, iccid: Iccid) -> SimFacts | None:  # noqa: ARG002 -- the contract's signature
        """None: this carrier tells us nothing."""
        return None

    async def allocate(self, iccid: Iccid, target: Account) -> SimFacts:
        """Refused: the customer does this at the carrier."""
        raise _not_ours(f"allocate {iccid} to account {target.account or 'of the enterprise'}")

    async def release(self, iccid: Iccid, inventory_account: str, *, held_by: str = "") -> SimFacts:  # noqa: ARG002 -- the contract's signature
        """Refused: the customer does this at the carrier."""
        raise _not_ours(f"give {iccid} back")

    async def set_state(self, iccid: Iccid, state: SimState, *, held_by: str = "") -> SimFacts:  # noqa: ARG002 -- the contract's signature
        """Refused: the customer does this at the carrier."""
        raise _not_ours(f"set {iccid} to {state}")

    async def session(self, iccid: Iccid) -> Session | None:  # noqa: ARG002 -- the contract's signature
        """None: this carrier tells us nothing."""
        return None

    async def check(self) -> None:
        """There are no credentials to try."""


def _not_ours(what: str) -> PlatformRefused:
    return PlatformRefused("no_integration", f"this carrier has no integration: {what} there", permanent=True)

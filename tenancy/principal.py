"""Who calls the API: a principal with scopes, the act it performs, and what it may be told about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PrincipalKind(StrEnum):
    """What stands behind an API key. ADMIN configures this server and acts for nobody."""

    ADMIN = "admin"
    CARRIER = "carrier"
    ENTERPRISE = "enterprise"


class Scope(StrEnum):
    """What a key may be used for, within what its principal may do."""

    TENANCY_READ = "tenancy:read"
    TENANCY_WRITE = "tenancy:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    ESIMS_READ = "esims:read"
    ESIMS_WRITE = "esims:write"
    SWAPS_READ = "swaps:read"
    SWAPS_WRITE = "swaps:write"
    AUDIT_READ = "audit:read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The party behind a key: its kind and its id among its kind, 0 for an admin."""

    kind: PrincipalKind
    party_id: int = 0

    def __str__(self) -> str:
        return self.kind.value if self.kind is PrincipalKind.ADMIN else f"{self.kind.value}:{self.party_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One authenticated request.

    `request` names it for ever: a repetition of the request has the same one, so a write that is stored with it
    happens once. It is empty where repeating is harmless. `correlator` is what the caller finds it by.
    """

    principal: Principal
    scopes: frozenset[Scope]
    key_id: int | None = None
    correlator: str = ""
    request: str = ""


class Unknown(Exception):  # noqa: N818 -- the name is the outcome
    """There is nothing of that id for this principal: not at all, or of somebody else, which answers the same."""


class NotAllowed(Exception):  # noqa: N818 -- the name is the outcome
    """The principal is known and may not do this; the text says who may."""


class Taken(Exception):  # noqa: N818 -- the name is the outcome
    """A name or a pair that exists once exists already."""


class Changed(Exception):  # noqa: N818 -- the name is the outcome
    """Somebody else changed the row meanwhile: read it again and decide again."""


class BadTerms(ValueError):  # noqa: N818 -- the name is the outcome, as its siblings above
    """Values that do not make sense together; the text says what to send instead."""

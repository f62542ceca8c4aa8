"""Carriers, enterprises and the partnerships between them: who gives profiles to whose eSIMs, and on which terms."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class CarrierRole(StrEnum):
    """LEAD procures eSIMs and holds the account; PARTNER gives operational profiles; one carrier may be both."""

    LEAD = "lead"
    PARTNER = "partner"
    BOTH = "both"

    @property
    def may_lead(self) -> bool:
        """Whether enterprises may belong to it."""
        return self is not CarrierRole.PARTNER

    @property
    def may_partner(self) -> bool:
        """Whether it may take over eSIMs of another lead."""
        return self is not CarrierRole.LEAD


class Model(StrEnum):
    """HANDOVER: the enterprise has a contract with each partner. RESALE: with its lead alone."""

    HANDOVER = "handover"
    RESALE = "resale"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformAccess:
    """How a carrier's platform is reached. `kind` names an adapter; `secret_sealed` is its API key, wrapped."""

    kind: str
    base_url: str = ""
    username: str = ""
    secret_sealed: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmdpAccess:
    """How a carrier's own SM-DP+ is reached over ES2+, and how it reaches us. Certificates are PEM.

    We call `base_url` as the function requester `requester_id` with `certificate` (leaf first), whose key is wrapped;
    its TLS certificate must come from `ca`. `address` goes into activation codes where its answers name none. It
    reports downloads with `caller_certificate`, by whose SHA-256 it is known; both are empty where it reports none.
    """

    base_url: str
    requester_id: str
    certificate: str
    ca: str
    address: str
    caller_certificate: str = ""
    caller: bytes | None = None
    key_sealed: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """Where SIMs of one enterprise go on one carrier's platform, in that platform's own names."""

    account: str = ""
    rate_plan: str = ""
    communication_plan: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """A mobile operator that takes part in swaps.

    `operator_id` is the tenant of our SM-DP+ whose stock holds its profiles, of `profile_type`; None where we hold no
    stock of it. `smdp` is an SM-DP+ of its own that has them instead. `inventory_account` is where its platform keeps
    SIMs that belong to no enterprise.
    """

    id: int
    name: str
    role: CarrierRole
    platform: PlatformAccess
    operator_id: int | None = None
    profile_type: str = ""
    inventory_account: str = ""
    smdp: SmdpAccess | None = None
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Enterprise:
    """Who owns eSIMs. Its lead carrier onboards them and holds the account; `plans` are those at the lead."""

    id: int
    name: str
    lead_id: int
    plans: Plans
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Partnership:
    """What an enterprise's lead and a partner have agreed on for this enterprise.

    `territory` lists mobile country codes in which it holds; empty means everywhere. It holds while both sides agree:
    a side that changes the terms takes the other's agreement away. Under RESALE the enterprise itself may order swaps
    only where `enterprise_may_order` says so. `version` grows with every change.
    """

    id: int
    enterprise_id: int
    lead_id: int
    partner_id: int
    model: Model
    plans: Plans
    territory: tuple[str, ...] = ()
    enterprise_may_order: bool = False
    lead_agrees: bool = False
    partner_agrees: bool = False
    version: int = 0

    @property
    def active(self) -> bool:
        """Whether both sides agree to it as it stands."""
        return self.lead_agrees and self.partner_agrees

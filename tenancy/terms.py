"""Whether an enterprise's eSIM may go to a carrier, on which terms, and who may order that: one table, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tenancy.partners import Carrier, Enterprise, Model, Partnership, Plans
from tenancy.principal import Principal, PrincipalKind


class NoTerms(StrEnum):
    """Why there are none."""

    NOT_A_PARTNER = "the target carrier gives no profiles to eSIMs of other carriers"
    NO_PARTNERSHIP = "no partnership of this enterprise's lead carrier with the target carrier"
    NOT_AGREED = "the partnership is not agreed by both sides"
    COUNTRY_UNKNOWN = "the partnership holds in some countries only, and the country of the device is not known"
    NOT_HERE = "the partnership does not hold in the country of the device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what a swap to `target_id` rests; `partnership_id` and `model` are None for the way back to the lead."""

    enterprise_id: int
    lead_id: int
    target_id: int
    plans: Plans
    partnership_id: int | None = None
    partnership_version: int = 0
    model: Model | None = None
    enterprise_may_order: bool = True


def terms(
    enterprise: Enterprise, target: Carrier, partnerships: Iterable[Partnership], country: str | None
) -> Terms | NoTerms:
    """The terms for eSIMs of `enterprise` at `target`; `country` is the mobile country code of the device, if known.

    The way back to the enterprise's own lead needs no partnership.
    """
    if target.id == enterprise.lead_id:
        return Terms(
            enterprise_id=enterprise.id, lead_id=enterprise.lead_id, target_id=target.id, plans=enterprise.plans
        )
    if not target.role.may_partner:
        return NoTerms.NOT_A_PARTNER
    wanted = (enterprise.id, enterprise.lead_id, target.id)
    found = next((one for one in partnerships if (one.enterprise_id, one.lead_id, one.partner_id) == wanted), None)
    if found is None:
        return NoTerms.NO_PARTNERSHIP
    return _obstacle(found, country) or Terms(
        enterprise_id=enterprise.id,
        lead_id=enterprise.lead_id,
        target_id=target.id,
        plans=found.plans,
        partnership_id=found.id,
        partnership_version=found.version,
        model=found.model,
        enterprise_may_order=found.model is Model.HANDOVER or found.enterprise_may_order,
    )


def _obstacle(partnership: Partnership, country: str | None) -> NoTerms | None:
    if not partnership.active:
        return NoTerms.NOT_AGREED
    if not partnership.territory:
        return None
    if country is None:
        return NoTerms.COUNTRY_UNKNOWN
    return None if country in partnership.territory else NoTerms.NOT_HERE


def may_order(principal: Principal, agreed: Terms) -> bool:
    """Whether `principal` may order a swap on these terms.

    ==========  ====================  ==========================================
    principal   handover, way back    resale
    ==========  ====================  ==========================================
    its lead    yes                   yes
    enterprise  yes                   where the partnership says so
    all others  no                    no
    ==========  ====================  ==========================================
    """
    if principal.kind is PrincipalKind.CARRIER:
        return principal.party_id == agreed.lead_id
    if principal.kind is PrincipalKind.ENTERPRISE:
        return principal.party_id == agreed.enterprise_id and agreed.enterprise_may_order
    return False


def may_onboard(principal: Principal, enterprise: Enterprise) -> bool:
    """Whether `principal` may bring eSIMs to `enterprise`: its lead carrier, which procured them, and nobody else."""
    return principal == Principal(kind=PrincipalKind.CARRIER, party_id=enterprise.lead_id)


def may_steer(principal: Principal, enterprise: Enterprise) -> bool:
    """Whether `principal` may see the enterprise's eSIMs and use their functions: itself and its lead carrier."""
    own = Principal(kind=PrincipalKind.ENTERPRISE, party_id=enterprise.id)
    return principal == own or may_onboard(principal, enterprise)

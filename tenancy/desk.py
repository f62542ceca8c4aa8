"""Use cases on carriers, enterprises and partnerships: who may do what, then one stored write with its audit row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from crypto.vault import Vault
from tenancy.partners import Carrier, CarrierRole, Enterprise, Model, Partnership, Plans, PlatformAccess, SmdpAccess
from tenancy.ports import Page, TenancyStore
from tenancy.principal import Act, BadTerms, NotAllowed, Principal, PrincipalKind, Unknown
from tenancy.terms import NoTerms, Terms, may_steer, terms

_MCC = re.compile(r"[0-9]{3}", re.ASCII)
_T = TypeVar("_T")
_ANYBODY = Principal(kind=PrincipalKind.ADMIN)
_LARGEST_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCarrier:
    """A carrier to be made; `secret` is the API key of its platform, empty where it has none.

    `smdp_key` is the private key (PEM) with which we call the carrier's own SM-DP+.
    """

    name: str
    role: CarrierRole
    platform: PlatformAccess
    operator_id: int | None = None
    profile_type: str = ""
    inventory_account: str = ""
    smdp: SmdpAccess | None = None
    secret: str = field(default="", repr=False)
    smdp_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPartnership:
    """A partnership to be made."""

    enterprise_id: int
    partner_id: int
    model: Model
    plans: Plans
    territory: tuple[str, ...] = ()
    enterprise_may_order: bool = False


def platform_secret_context(carrier_name: str) -> bytes:
    """Context of the sealed API key of a carrier's platform; the name of a carrier never changes."""
    return f"platform-secret:{carrier_name}".encode()


def smdp_key_context(carrier_name: str) -> bytes:
    """Context of the sealed key with which we call a carrier's SM-DP+."""
    return f"smdp-key:{carrier_name}".encode()


class Desk:
    """What principals do with carriers, enterprises and partnerships.

    Methods raise Unknown for what the principal may not know, NotAllowed, Taken, Changed, BadTerms, and
    rsp.errors.Unavailable or crypto.vault.VaultUnavailable.
    """

    def __init__(self, store: TenancyStore, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    async def add_carrier(self, act: Act, new: NewCarrier) -> Carrier:
        """Register a carrier; admins do."""
        _admins_only(act.principal, "carriers are registered by an admin of this server")
        platform = await self._sealed(new.name, new.platform, new.secret)
        carrier = Carrier(
            id=0,
            name=new.name,
            role=new.role,
            platform=platform,
            operator_id=new.operator_id,
            profile_type=new.profile_type,
            inventory_account=new.inventory_account,
            smdp=await self._with_key(new.name, new.smdp, new.smdp_key),
        )
        _one_source(carrier)
        return await self._store.add_carrier(act, carrier)

    async def carrier(self, viewer: Principal, carrier_id: int) -> Carrier:
        """One carrier."""
        return _known(await self._store.carrier(viewer, carrier_id), "carrier")

    async def carriers(
        self, viewer: Principal, page: Page, *, name: str = "", role: CarrierRole | None = None
    ) -> list[Carrier]:
        """Carriers the viewer may know."""
        return await self._store.carriers(viewer, page, name=name, role=role)

    async def change_carrier(
        self, act: Act, carrier_id: int, changes: Mapping[str, Any], secret: str | None = None, smdp_key: str = ""
    ) -> Carrier:
        """Replace members of a carrier, and the API key of its platform unless `secret` is None; admins do.

        With a new `smdp` comes its key.
        """
        carrier = await self.carrier(act.principal, carrier_id)
        _admins_only(act.principal, "carriers are changed by an admin of this server")
        changed = replace(carrier, **changes)
        if secret is not None:
            changed = replace(changed, platform=await self._sealed(carrier.name, changed.platform, secret))
        if "smdp" in changes:
            changed = replace(changed, smdp=await self._with_key(carrier.name, changed.smdp, smdp_key))
        _one_source(changed)
        return await self._store.change_carrier(act, changed)

    async def add_enterprise(self, act: Act, name: str, lead_id: int, plans: Plans) -> Enterprise:
        """Register an enterprise under its lead carrier; that carrier or an admin does."""
        _lead_or_admin(act.principal, lead_id, "an enterprise is registered by its lead carrier")
        lead = await self.carrier(act.principal, lead_id)
        if not lead.role.may_lead:
            raise BadTerms(f"carrier {lead.id} is a partner only: it cannot be the lead of an enterprise")
        return await self._store.add_enterprise(act, Enterprise(id=0, name=name, lead_id=lead_id, plans=plans))

    async def enterprise(self, viewer: Principal, enterprise_id: int) -> Enterprise:
        """One enterprise."""
        return _known(await self._store.enterprise(viewer, enterprise_id), "enterprise")

    async def steered(self, principal: Principal, enterprise_id: int | None = None) -> Enterprise:
        """The enterprise whose eSIMs `principal` steers: itself, or one it leads, which it names.

        Raises Unknown, NotAllowed for an admin, BadTerms when a carrier names none.
        """
        if principal.kind is PrincipalKind.ADMIN:
            raise NotAllowed("an admin steers no eSIMs: use the key of an enterprise or of its lead carrier")
        if enterprise_id is None:
            if principal.kind is not PrincipalKind.ENTERPRISE:
                raise BadTerms("name the enterprise: enterpriseId")
            enterprise_id = principal.party_id
        enterprise = await self.enterprise(principal, enterprise_id)
        if not may_steer(principal, enterprise):
            raise NotAllowed("eSIMs are steered by their enterprise and its lead carrier")
        return enterprise

    async def terms(
        self, viewer: Principal, enterprise_id: int, target_id: int, country: str | None
    ) -> Terms | NoTerms:
        """The terms for an enterprise's eSIM at a carrier the enterprise knows; `country` is the device's MCC."""
        enterprise = await self.enterprise(viewer, enterprise_id)
        itself = Principal(kind=PrincipalKind.ENTERPRISE, party_id=enterprise.id)
        target = await self.carrier(itself, target_id)
        found = await self._store.partnerships(itself, Page(most=1), partner_id=target_id)
        return terms(enterprise, target, found, country)

    async def enterprises(self, viewer: Principal, page: Page, *, name: str = "") -> list[Enterprise]:
        """Enterprises the viewer may know."""
        return await self._store.enterprises(viewer, page, name=name)

    async def change_enterprise(self, act: Act, enterprise_id: int, changes: Mapping[str, Any]) -> Enterprise:
        """Replace name or plans of an enterprise; its lead carrier or an admin does."""
        enterprise = await self.enterprise(act.principal, enterprise_id)
        _lead_or_admin(act.principal, enterprise.lead_id, "an enterprise is changed by its lead carrier")
        return await self._store.change_enterprise(act, replace(enterprise, **changes))

    async def add_partnership(self, act: Act, new: NewPartnership) -> Partnership:
        """Propose a partnership for an enterprise; its lead carrier does, and the partner then agrees.

        One that an admin makes is agreed by both sides: it records a contract that exists.
        """
        enterprise = await self.enterprise(act.principal, new.enterprise_id)
        _lead_or_admin(act.principal, enterprise.lead_id, "a partnership is proposed by the enterprise's lead carrier")
        partner = await self._store.carrier(_ANYBODY, new.partner_id)
        if partner is None or not partner.role.may_partner or partner.id == enterprise.lead_id:
            raise BadTerms(f"carrier {new.partner_id} is no carrier that can be a partner here")
        by_admin = act.principal.kind is PrincipalKind.ADMIN
        partnership = Partnership(
            id=0,
            enterprise_id=enterprise.id,
            lead_id=enterprise.lead_id,
            partner_id=partner.id,
            model=new.model,
            plans=new.plans,
            territory=_territory(new.territory),
            enterprise_may_order=new.enterprise_may_order,
            lead_agrees=True,
            partner_agrees=by_admin,
        )
        return await self._store.add_partnership(act, partnership)

    async def partnership(self, viewer: Principal, partnership_id: int) -> Partnership:
        """One partnership."""
        return _known(await self._store.partnership(viewer, partnership_id), "partnership")

    async def partnerships(
        self, viewer: Principal, page: Page, *, enterprise_id: int | None = None, partner_id: int | None = None
    ) -> list[Partnership]:
        """Partnerships the viewer may know."""
        return await self._store.partnerships(viewer, page, enterprise_id=enterprise_id, partner_id=partner_id)

    async def change_partnership(
        self, act: Act, partnership_id: int, changes: Mapping[str, Any], *, agrees: bool | None = None
    ) -> Partnership:
        """Replace terms of a partnership, and say whether the caller's side agrees; its carriers and admins do.

        A carrier that changes terms takes the other side's agreement away and agrees itself, unless it says otherwise.
        """
        partnership = await self.partnership(act.principal, partnership_id)
        if act.principal.kind is PrincipalKind.ENTERPRISE:
            raise NotAllowed("a partnership is changed by its two carriers")
        if "territory" in changes:
            changes = {**changes, "territory": _territory(changes["territory"])}
        changed = _agreed(replace(partnership, **changes), act.principal, agrees=agrees, new_terms=bool(changes))
        return await self._store.change_partnership(act, changed)

    async def _sealed(self, name: str, platform: PlatformAccess, secret: str) -> PlatformAccess:
        if not secret:
            return replace(platform, secret_sealed=None)
        wrapped = await self._vault.wrap(secret.encode(), platform_secret_context(name))
        return replace(platform, secret_sealed=wrapped)

    async def _with_key(self, name: str, smdp: SmdpAccess | None, key: str) -> SmdpAccess | None:
        if smdp is None:
            return None
        return replace(smdp, key_sealed=await self._vault.wrap(key.encode(), smdp_key_context(name)))


def _one_source(carrier: Carrier) -> None:
    if carrier.smdp is not None and carrier.operator_id is not None:
        text = (
            "profiles lie either with an operator of this server (operatorId) or at an SM-DP+ of the carrier's (smdp)"
        )
        raise BadTerms(f"{text}: give one of them, and null for the other")


def _agreed(partnership: Partnership, side: Principal, *, agrees: bool | None, new_terms: bool) -> Partnership:
    """The partnership with the agreements that follow when `side` changes it or speaks."""
    lead, partner = partnership.lead_agrees, partnership.partner_agrees
    if side.kind is PrincipalKind.ADMIN:
        said = (lead, partner) if agrees is None else (agrees, agrees)
    elif side.party_id == partnership.lead_id:
        said = (_said(lead, agrees, new_terms=new_terms), partner and not new_terms)
    else:
        said = (lead and not new_terms, _said(partner, agrees, new_terms=new_terms))
    return replace(partnership, lead_agrees=said[0], partner_agrees=said[1])


def _said(before: bool, agrees: bool | None, *, new_terms: bool) -> bool:  # noqa: FBT001 -- a value, not a mode
    return (before or new_terms) if agrees is None else agrees


def _territory(codes: tuple[str, ...]) -> tuple[str, ...]:
    if not all(_MCC.fullmatch(code) for code in codes):
        raise BadTerms("a territory lists mobile country codes of three digits, such as 208")
    return tuple(sorted(set(codes)))


def _admins_only(principal: Principal, rule: str) -> None:
    if principal.kind is not PrincipalKind.ADMIN:
        raise NotAllowed(rule)


def _lead_or_admin(principal: Principal, lead_id: int, rule: str) -> None:
    if principal != Principal(kind=PrincipalKind.CARRIER, party_id=lead_id):
        _admins_only(principal, rule)


def _known(found: _T | None, what: str) -> _T:
    if found is None:
        raise Unknown(f"there is no {what} of this id")
    return found

"""Carriers as swaps see them: agreements of the role tenancy, platforms of the adapters, in the role's own values."""

from __future__ import annotations

from carriers import base
from carriers.registry import PlatformSettings, Registry
from crypto.vault import Vault
from rsp.errors import Malformed
from rsp.identifiers import Iccid
from server.setting_kinds import Secret
from swap.plan import Account, Capabilities, Stock, Target, Terms
from swap.ports import Billed, CarrierRefused, Session, SimFacts
from tenancy.desk import Desk, platform_secret_context
from tenancy.partners import Carrier
from tenancy.ports import TenancyStore
from tenancy.principal import Principal, PrincipalKind, Unknown
from tenancy.terms import NoTerms

_SERVER = Principal(kind=PrincipalKind.ADMIN)
_NOTHING = Capabilities(
    can_allocate=False,
    can_release=False,
    can_set_billable=False,
    has_connectable_unbilled_state=False,
    reports_sessions=False,
)
"""What a platform can do that cannot be used as it is configured."""


class NeutralPlatform:
    """`swap.ports.Platform` over one carrier's adapter."""

    def __init__(self, platform: base.Platform) -> None:
        self._platform = platform

    async def find(self, iccid: Iccid) -> SimFacts | None:
        """What the platform says about the SIM."""
        try:
            found = await self._platform.find(iccid)
        except base.PlatformRefused as refused:
            raise _refused(refused) from None
        return None if found is None else _facts(found)

    async def allocate(self, iccid: Iccid, target: Account) -> SimFacts:
        """From the inventory to the account."""
        account = base.Account(
            account=target.account, rate_plan=target.rate_plan, communication_plan=target.communication_plan
        )
        try:
            return _facts(await self._platform.allocate(iccid, account))
        except base.PlatformRefused as refused:
            raise _refused(refused) from None

    async def release(self, iccid: Iccid, inventory_account: str, *, held_by: str) -> SimFacts:
        """Back to the inventory."""
        try:
            return _facts(await self._platform.release(iccid, inventory_account, held_by=held_by))
        except base.PlatformRefused as refused:
            raise _refused(refused) from None

    async def activate(self, iccid: Iccid) -> SimFacts:
        """Active, billable."""
        try:
            return _facts(await self._platform.set_state(iccid, base.SimState.ACTIVE))
        except base.PlatformRefused as refused:
            raise _refused(refused) from None

    async def session(self, iccid: Iccid) -> Session | None:
        """The current or latest session."""
        try:
            found = await self._platform.session(iccid)
        except base.PlatformRefused as refused:
            raise _refused(refused) from None
        return None if found is None else Session(active=found.active, since=found.since)


def _facts(facts: base.SimFacts) -> SimFacts:
    return SimFacts(
        iccid=facts.iccid,
        account=facts.account,
        raw_state=facts.raw_state,
        billed=Billed(facts.billable.value),
        read_at=facts.read_at,
    )


def _refused(refused: base.PlatformRefused) -> CarrierRefused:
    return CarrierRefused(f"{refused.message} ({refused.code})", permanent=refused.permanent)


class CarrierPlatforms:
    """`swap.ports.Platforms` by the configuration of carriers."""

    def __init__(self, store: TenancyStore, vault: Vault, registry: Registry) -> None:
        self._store = store
        self._vault = vault
        self._registry = registry

    async def platform(self, carrier_id: int) -> NeutralPlatform:
        """The platform of a carrier. Raises CarrierRefused when its configuration cannot be used."""
        carrier = await self._store.carrier(_SERVER, carrier_id)
        if carrier is None:
            raise CarrierRefused(f"there is no carrier {carrier_id}", permanent=True)
        return NeutralPlatform(await self._adapter(carrier))

    async def capabilities(self, carrier: Carrier) -> Capabilities:
        """What a carrier's platform can do. Raises CarrierRefused."""
        can = (await self._adapter(carrier)).capabilities
        return Capabilities(
            can_allocate=can.can_allocate,
            can_release=can.can_release,
            can_set_billable=can.can_set_billable,
            has_connectable_unbilled_state=can.has_connectable_unbilled_state,
            reports_sessions=can.reports_sessions,
        )

    async def _adapter(self, carrier: Carrier) -> base.Platform:
        access = carrier.platform
        key = None
        if access.secret_sealed is not None:
            opened = await self._vault.unwrap(access.secret_sealed, platform_secret_context(carrier.name))
            key = Secret(opened.decode())
        settings = PlatformSettings(
            kind=access.kind,
            base_url=access.base_url,
            username=access.username,
            api_key=key,
            inventory_account=carrier.inventory_account,
        )
        try:
            return self._registry.platform(str(carrier.id), settings)
        except Malformed as error:
            # An administrator's correction makes it usable: what waits for it goes on by itself then.
            raise CarrierRefused(f"the platform of {carrier.name} cannot be used: {error}", permanent=False) from None


class PartyAgreements:
    """`swap.ports.Agreements` over the role tenancy. A tenant of swaps is an enterprise."""

    def __init__(self, store: TenancyStore, desk: Desk, platforms: CarrierPlatforms) -> None:
        self._store = store
        self._desk = desk
        self._platforms = platforms

    async def target(self, tenant_id: int, carrier_id: int) -> Target | None:
        """A carrier this enterprise may know."""
        carrier = await self._store.carrier(_enterprise(tenant_id), carrier_id)
        return None if carrier is None else await self._target(carrier)

    async def lead(self, tenant_id: int) -> Target:
        """The enterprise's lead carrier."""
        enterprise = await self._desk.enterprise(_enterprise(tenant_id), tenant_id)
        return await self._target(await self._desk.carrier(_SERVER, enterprise.lead_id))

    async def terms(self, tenant_id: int, carrier_id: int, country: str | None) -> Terms | str:
        """The terms there; text says why there are none."""
        try:
            found = await self._desk.terms(_enterprise(tenant_id), tenant_id, carrier_id, country)
        except Unknown:
            return NoTerms.NO_PARTNERSHIP.value
        if isinstance(found, NoTerms):
            return found.value
        plans = found.plans
        account = Account(account=plans.account, rate_plan=plans.rate_plan, communication_plan=plans.communication_plan)
        return Terms(
            account=account,
            partnership_id=found.partnership_id,
            partnership_version=found.partnership_version,
            model=found.model.value if found.model else "",
            enterprise_may_order=found.enterprise_may_order,
        )

    async def _target(self, carrier: Carrier) -> Target:
        stock = None
        if carrier.operator_id is not None and carrier.profile_type:
            stock = Stock(operator_id=carrier.operator_id, profile_type=carrier.profile_type)
        elif carrier.smdp is not None and carrier.profile_type:
            stock = Stock(operator_id=0, profile_type=carrier.profile_type, peer_id=carrier.id)
        capabilities, unusable = _NOTHING, ""
        try:
            capabilities = await self._platforms.capabilities(carrier)
        except CarrierRefused as refused:
            unusable = str(refused)
        return Target(
            id=carrier.id,
            name=carrier.name,
            capabilities=capabilities,
            inventory_account=carrier.inventory_account,
            stock=stock,
            unusable=unusable,
        )


def _enterprise(tenant_id: int) -> Principal:
    return Principal(kind=PrincipalKind.ENTERPRISE, party_id=tenant_id)

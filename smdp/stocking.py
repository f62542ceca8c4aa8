"""Puts profiles into stock: a package is protected ahead of time and its clear form is not kept (SGP.22 2.5.3)."""

from __future__ import annotations

from uuid import uuid4

from crypto.bsp import random_protection_keys
from crypto.vault import Vault
from rsp import saip
from rsp.identifiers import Iccid
from rsp.metadata import ProfileMetadata
from smdp.binding import protect
from smdp.offer import Offer
from smdp.policy import Policy
from smdp.ports import NewProfile, ProfileFacts, ProtectedPackage, StockStore
from smdp.sealing import package_key_context


class Stocking:
    """Imports profile packages for an operator."""

    def __init__(self, store: StockStore, vault: Vault, policy: Policy) -> None:
        self._store = store
        self._vault = vault
        self._policy = policy

    def judge(self, upp: bytes, offer: Offer) -> ProfileMetadata:
        """Check the unprotected package `upp` (SAIP) and say what devices will read of it. Raises Malformed."""
        return offer.metadata(saip.validate(upp).iccid, self._policy.address)

    async def import_profile(self, tenant_id: int, upp: bytes, offer: Offer) -> Iccid:
        """Check, protect and store the unprotected package `upp` (SAIP). Raises Malformed, ProfileExists."""
        metadata = self.judge(upp, offer)
        header = saip.read_header(upp)
        package_id = uuid4()
        keys = random_protection_keys()
        package = ProtectedPackage(
            segments=protect(upp, keys),
            key_sealed=await self._vault.wrap(keys.to_bytes(), package_key_context(package_id)),
        )
        facts = ProfileFacts(
            metadata=metadata.encode(),
            package_id=package_id,
            saip_version=(header.major, header.minor),
            size=len(upp),
            policy_rules=frozenset(rule.value for rule in metadata.policy_rules),
            services=header.capabilities,
        )
        profile = NewProfile(
            tenant_id=tenant_id, iccid=header.iccid, profile_type=offer.profile_type, facts=facts, package=package
        )
        await self._store.add_profile(profile)
        return header.iccid

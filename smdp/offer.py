"""How a profile is offered: the type operators order it by, and what devices and cards read of it (SGP.22 5.5.3)."""

from __future__ import annotations

from dataclasses import dataclass

from rsp.errors import Malformed
from rsp.icon import check_icon
from rsp.identifiers import Iccid
from rsp.metadata import (
    NotificationConfiguration,
    OperatorId,
    PolicyRule,
    ProfileClass,
    ProfileMetadata,
    read_ready,
    standard_notifications,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What an import says about a profile beyond its package.

    `notifications` None means all four events to this server. `stored_data`, `other_data` and `extra` are whole objects
    as in ProfileMetadata. `ready` is a whole BF25 that the operator has coded; it takes the place of everything but the
    type and goes to devices and cards byte for byte.
    """

    profile_type: str
    service_provider_name: str
    profile_name: str
    profile_class: ProfileClass = ProfileClass.OPERATIONAL
    icon: bytes | None = None
    notifications: tuple[NotificationConfiguration, ...] | None = None
    owner: OperatorId | None = None
    policy_rules: frozenset[PolicyRule] = frozenset()
    stored_data: bytes | None = None
    other_data: bytes | None = None
    ecall_indication: bool | None = None
    fallback_allowed: bool | None = None
    extra: bytes = b""
    ready: bytes | None = None

    def metadata(self, iccid: Iccid, address: str) -> ProfileMetadata:
        """The metadata of the profile `iccid`, which reports to `address`. Raises Malformed."""
        metadata = self._composed(iccid, address) if self.ready is None else read_ready(self.ready)
        if metadata.iccid != iccid:
            raise Malformed(f"the metadata is for ICCID {metadata.iccid}, the package holds {iccid}")
        if metadata.policy_rules and metadata.owner is None:
            raise Malformed("a profile with policy rules names its owner: without it no card takes the profile")
        if metadata.icon is not None:
            check_icon(metadata.icon, metadata.icon_type)
        metadata.encode()
        return metadata

    def _composed(self, iccid: Iccid, address: str) -> ProfileMetadata:
        return ProfileMetadata(
            iccid=iccid,
            service_provider_name=self.service_provider_name,
            profile_name=self.profile_name,
            profile_class=self.profile_class,
            icon_type=None if self.icon is None else check_icon(self.icon),
            icon=self.icon,
            notifications=standard_notifications(address) if self.notifications is None else self.notifications,
            owner=self.owner,
            policy_rules=self.policy_rules,
            stored_data=self.stored_data,
            other_data=self.other_data,
            ecall_indication=self.ecall_indication,
            fallback_allowed=self.fallback_allowed,
            extra=self.extra,
        )

"""Whether a device and its eUICC suit an order: the operator's rules, then what the profile asks of a card (pure)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from rsp import tlv
from rsp.es10 import DeviceInfo, EuiccInfo2
from rsp.identifiers import Eid
from rsp.status import Status
from smdp.order import Order
from smdp.policy import DeviceRules
from smdp.ports import ProfileFacts

_IMEI_DIGITS = 14
_TEST_PROFILE_SUPPORT = 3
"""Bit of RspCapability."""
_PROFILE_CLASS = 0x95
_CLASS_TEST = b"\x95\x01\x00"


class Requester(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for a profile: the eUICC by its certificate, and what it and its device tell of themselves."""

    eid: Eid
    info: EuiccInfo2
    device: DeviceInfo

    @property
    def imei(self) -> str | None:
        """The digits of the IMEI that name the device, without check digit; None where no usable IMEI was told."""
        digits = (self.device.imei or "")[:_IMEI_DIGITS]
        return digits if len(digits) == _IMEI_DIGITS and digits.isdecimal() else None


def unsuited(
    rules: DeviceRules, order: Order, profile: ProfileFacts, requester: Requester
) -> tuple[Status | None, str]:
    """Why this requester does not get the profile, with a sentence for its user; (None, "") when it does."""
    for check in (_operators_rules(rules, order, requester), _profiles_needs(profile, requester.info)):
        for status, detail in check:
            return status, detail
    return None, ""


def _operators_rules(rules: DeviceRules, order: Order, requester: Requester) -> Iterator[tuple[Status, str]]:
    tac, eid, info = requester.device.tac, str(requester.eid), requester.info
    if order.imei is not None and order.imei != requester.imei:
        yield Status.NOT_ELIGIBLE, "The order is for another device (IMEI). Ask the operator for one of your own."
    if tac in rules.tacs_denied or (rules.tacs_allowed is not None and tac not in rules.tacs_allowed):
        yield Status.NOT_ELIGIBLE, f"The operator offers this profile to other device types than TAC {tac}."
    if eid.startswith(rules.eums_denied) or (rules.eums_allowed is not None and not eid.startswith(rules.eums_allowed)):
        yield Status.NOT_ELIGIBLE, "The operator offers this profile to eUICCs of other manufacturers."
    if info.is_iot and not rules.iot_euiccs:
        yield Status.NOT_ELIGIBLE, "This profile is for consumer devices, and this eUICC is one for IoT (SGP.32)."
    if rules.minimum_saip is not None and _understood(info) < rules.minimum_saip:
        yield (
            Status.NOT_ELIGIBLE,
            f"The operator asks for eUICCs that read profile packages {_dotted(rules.minimum_saip)}.",
        )


def _profiles_needs(profile: ProfileFacts, info: EuiccInfo2) -> Iterator[tuple[Status, str]]:
    """Package version, mandatory services, forbidden policy rules and free memory, as far as the eUICC told them."""
    understood = _understood(info)
    if understood < profile.saip_version:
        yield (
            Status.NOT_ELIGIBLE,
            f"The package is of version {_dotted(profile.saip_version)}, the eUICC reads {_dotted(understood)}.",
        )
    # An eUICC that announces nothing at all says nothing.
    if info.uicc_capability and (missing := profile.services - info.uicc_capability):
        yield Status.NOT_ELIGIBLE, f"The profile needs a service the eUICC lacks (UICCCapability {_listed(missing)})."
    if _is_test(profile.metadata) and _TEST_PROFILE_SUPPORT not in info.rsp_capability:
        yield Status.NOT_ELIGIBLE, "This is a test profile, and the eUICC takes none."
    if info.forbidden_policy_rules & profile.policy_rules:
        yield Status.NOT_ELIGIBLE, "The eUICC forbids a policy rule of this profile."
    if info.free_memory is not None and info.free_memory < profile.size:
        yield Status.INSUFFICIENT_MEMORY, f"{profile.size} bytes are needed, {info.free_memory} are free."


def _is_test(metadata: bytes) -> bool:
    """Whether profileClass is test. The members are looked at only where the bytes occur at all."""
    if _CLASS_TEST not in metadata:
        return False
    stated = tlv.read(metadata).members().get(_PROFILE_CLASS)
    return stated is not None and stated.raw == _CLASS_TEST


def _understood(info: EuiccInfo2) -> tuple[int, int]:
    major, minor, _ = max((info.profile_version, *info.additional_profile_versions))
    return major, minor


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _listed(bits: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(bits)[:8]))

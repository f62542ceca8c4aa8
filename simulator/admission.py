"""Which profiles a card lets in: class, ICCID, policy rules, memory, elements (SGP.22 5.5.3, 2.9, 5.7.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator import profile_package
from simulator.euicc_info import EuiccProperties
from simulator.installer import ErrorReason, Failed
from simulator.metadata import (
    CLASS_OPERATIONAL,
    CLASS_TEST,
    PPR_NO_DELETION,
    PPR_NO_DISABLING,
    AuthorisationRule,
    ProfileMetadata,
    is_authorised,
)
from simulator.misbehaviour import Misbehaviour
from simulator.profiles import ProfileRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The state and the properties of a card that decide about a new profile; each method raises Failed to refuse."""

    profiles: ProfileRegistry
    rat: Sequence[AuthorisationRule]
    properties: EuiccProperties
    free_memory: int
    check_profile_elements: bool
    misbehave: frozenset[Misbehaviour]

    @property
    def longest_segment(self) -> int:
        """As `EuiccProperties` has it."""
        return self.properties.longest_segment

    def admit(self, offered: ProfileMetadata) -> None:
        """Check the metadata of a profile that is about to be loaded."""
        if offered.profile_class == CLASS_TEST and not self.properties.accepts_test_profiles:
            raise Failed(ErrorReason.UNSUPPORTED_PROFILE_CLASS, "this eUICC takes no test profiles")
        if self.profiles.with_iccid(offered.iccid) is not None:
            raise Failed(ErrorReason.ICCID_EXISTS, f"profile {offered.iccid} is on the card already")
        self._check_policy_rules(offered)

    def _check_policy_rules(self, offered: ProfileMetadata) -> None:
        rules = offered.policy_rules & {PPR_NO_DISABLING, PPR_NO_DELETION}
        for rule in rules:
            forbidden = rule in self.properties.forbidden_policy_rules
            if forbidden or offered.owner is None or not is_authorised(rule, offered.owner, self.rat):
                raise Failed(ErrorReason.PPR_NOT_ALLOWED, f"policy rule {rule} is not allowed for this operator")
        classes = {profile.details().profile_class for profile in self.profiles}
        if PPR_NO_DISABLING in rules and CLASS_OPERATIONAL in classes:
            raise Failed(ErrorReason.PPR_NOT_ALLOWED, "PPR1 is for the first operational profile of a card")

    def check_room(self, size: int) -> None:
        """Check that so many bytes of package fit."""
        if Misbehaviour.FAIL_INSTALL_INTERRUPTED in self.misbehave:
            raise Failed(ErrorReason.INTERRUPTED, "told to be interrupted")
        if size > self.free_memory or Misbehaviour.FAIL_INSTALL_MEMORY in self.misbehave:
            answer = profile_package.response(profile_package.STATUS_NOT_ENOUGH_MEMORY)
            raise Failed(ErrorReason.INSUFFICIENT_MEMORY, f"{self.free_memory} bytes are free", answer)

    def check_package(self, package: bytes, offered: ProfileMetadata) -> None:
        """Check that the package runs from header to end and carries the ICCID of the metadata."""
        answer = profile_package.response(profile_package.STATUS_BAD_VALUES)
        try:
            if Misbehaviour.FAIL_INSTALL_PE in self.misbehave:
                raise profile_package.ElementRefused("told to refuse an element")
            if self.check_profile_elements:
                profile_package.check(package, offered.iccid)
        except profile_package.ElementRefused as error:
            raise Failed(ErrorReason.PE_PROCESSING_ERROR, str(error), answer) from error
        except profile_package.WrongIccid as error:
            raise Failed(ErrorReason.DATA_MISMATCH, str(error), answer) from error

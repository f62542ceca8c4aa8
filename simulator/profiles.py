"""The profiles on a card and their local management (SGP.22 5.7.15 to 5.7.18, ISD-R registry)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import IntEnum

from rsp import tlv
from rsp.identifiers import Iccid
from simulator import der, metadata
from simulator.metadata import PPR_NO_DELETION, PPR_NO_DISABLING, ProfileMetadata

_DEFAULT_TAGS = (0x5A, 0x4F, 0x9F70, 0x90, 0x91, 0x92, 0x93, 0x94, 0x95)
# Members of SGP.32: ecallIndication 9F7B, fallbackAttribute 9F26, fallbackAllowed 9F67. Access rules (BF76) are in
# neither standard; devices ask for them.
_ALL_TAGS = (*_DEFAULT_TAGS, 0xB6, 0xB7, 0xB8, 0x99, 0xBF22, 0x9F7B, 0x9F26, 0x9F67, 0xBF76)
_DEFAULT_CLASS = tlv.wrap(0x95, b"\x02")
_AID_PREFIX = bytes.fromhex("A0000005591010FFFFFFFF890000")
_FIRST_SLOT = 0x10


class ProfileState(IntEnum):
    """State of a profile on the card."""

    DISABLED = 0
    ENABLED = 1


class Outcome(IntEnum):
    """Result of enable, disable and delete; the numbers are the same in all three answers."""

    OK = 0
    NOT_FOUND = 1
    WRONG_STATE = 2
    DISALLOWED_BY_POLICY = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """An installed profile: `metadata` is the raw BF25 object, `package` the decrypted profile package.

    `smdp_oid` is the dotted OID of the server that bound it, `proprietary_data` its raw B8 object or nothing,
    `ci_key_id` names the CI under which the card signs about it.
    """

    iccid: Iccid
    aid: bytes
    state: ProfileState
    metadata: bytes
    package: bytes = field(repr=False)
    smdp_oid: str
    proprietary_data: bytes
    ci_key_id: bytes
    nickname: str | None = None

    def details(self) -> ProfileMetadata:
        """The metadata, read."""
        return metadata.parse(self.metadata)

    def info(self, tags: Iterable[int]) -> bytes:
        """ProfileInfo (E3) with those of the chosen tags that have a value."""
        known = {child.tag: child.raw for child in tlv.read_only(self.metadata, 0xBF25).children()}
        known.setdefault(0x95, _DEFAULT_CLASS)
        known[0x4F] = tlv.wrap(0x4F, self.aid)
        known[0x9F70] = tlv.wrap(0x9F70, bytes((self.state,)))
        if self.nickname is not None:
            known[0x90] = tlv.wrap(0x90, self.nickname.encode())
        if self.proprietary_data:
            known[0xB8] = self.proprietary_data
        chosen = set(tags)
        return tlv.wrap(0xE3, *(known[tag] for tag in _ALL_TAGS if tag in chosen and tag in known))


class ProfileRegistry(list[Profile]):
    """The profiles of one card in the order of installation; at most one is enabled."""

    def find(self, identifier: tlv.Tlv) -> Profile | None:
        """By ICCID (tag 5A) or AID (tag 4F). Raises ValueError on another tag or length."""
        if identifier.tag == 0x5A:
            iccid = Iccid.from_bytes(identifier.value)
            return self.with_iccid(iccid)
        if identifier.tag != 0x4F:
            raise ValueError("a profile is named by ICCID (5A) or AID (4F)")
        aid = der.sized(identifier, 1, 16)
        return next((profile for profile in self if profile.aid == aid), None)

    def with_iccid(self, iccid: Iccid) -> Profile | None:
        """The profile with this ICCID, if any."""
        return next((profile for profile in self if profile.iccid == iccid), None)

    def enabled(self) -> Profile | None:
        """The enabled profile, if any."""
        return next((profile for profile in self if profile.state is ProfileState.ENABLED), None)

    def free_aid(self) -> bytes:
        """The lowest AID of an ISD-P that no profile holds (SGP.02 annex H)."""
        used = {profile.aid for profile in self}
        slots = (_AID_PREFIX + bytes((slot, 0)) for slot in range(_FIRST_SLOT, 0x100))
        return next(aid for aid in slots if aid not in used)

    def put(self, changed: Profile) -> None:
        """Replace the entry of the same AID."""
        self[:] = [changed if profile.aid == changed.aid else profile for profile in self]

    def enable(self, identifier: tlv.Tlv) -> tuple[Outcome, Profile | None, Profile | None]:
        """Enable a disabled profile, disabling the current one: outcome, the enabled one, the one disabled for it."""
        profile, current = self.find(identifier), self.enabled()
        if profile is None:
            return Outcome.NOT_FOUND, None, None
        if profile.state is ProfileState.ENABLED:
            return Outcome.WRONG_STATE, None, None
        if current is not None and PPR_NO_DISABLING in current.details().policy_rules:
            return Outcome.DISALLOWED_BY_POLICY, None, None
        if current is not None:
            self.put(replace(current, state=ProfileState.DISABLED))
        self.put(replace(profile, state=ProfileState.ENABLED))
        return Outcome.OK, profile, current

    def disable(self, identifier: tlv.Tlv) -> tuple[Outcome, Profile | None]:
        """Disable the enabled profile."""
        profile = self.find(identifier)
        if profile is None:
            return Outcome.NOT_FOUND, None
        if profile.state is ProfileState.DISABLED:
            return Outcome.WRONG_STATE, None
        if PPR_NO_DISABLING in profile.details().policy_rules:
            return Outcome.DISALLOWED_BY_POLICY, None
        self.put(replace(profile, state=ProfileState.DISABLED))
        return Outcome.OK, profile

    def restore(self, profile: Profile) -> Profile | None:
        """Enable `profile` whatever policy rules say, as a rollback does; returns the one that was disabled for it."""
        current = self.enabled()
        if current is not None:
            self.put(replace(current, state=ProfileState.DISABLED))
        self.put(replace(profile, state=ProfileState.ENABLED))
        return current

    def delete(self, identifier: tlv.Tlv) -> tuple[Outcome, Profile | None]:
        """Delete a disabled profile."""
        profile = self.find(identifier)
        if profile is None:
            return Outcome.NOT_FOUND, None
        if profile.state is ProfileState.ENABLED:
            return Outcome.WRONG_STATE, None
        if PPR_NO_DELETION in profile.details().policy_rules:
            return Outcome.DISALLOWED_BY_POLICY, None
        self.remove(profile)
        return Outcome.OK, profile

    def info_list(self, request: tlv.Tlv) -> bytes:
        """The answer of GetProfilesInfo, tag BF2D. Raises ValueError on an unknown search criterion."""
        found = der.members(request, 0xA0, 0x5C, optional=(0xA0, 0x5C))
        chosen = list(self)
        if 0xA0 in found:
            chosen = self._search(der.only_child(found[0xA0]))
        tags = _tag_list(found[0x5C].value) if 0x5C in found else _DEFAULT_TAGS
        return tlv.wrap(0xBF2D, tlv.wrap(0xA0, *(profile.info(tags) for profile in chosen)))

    def _search(self, criterion: tlv.Tlv) -> list[Profile]:
        if criterion.tag == 0x95:
            wanted = der.integer(criterion)
            return [profile for profile in self if profile.details().profile_class == wanted]
        found = self.find(criterion)
        return [] if found is None else [found]


def _tag_list(value: bytes) -> list[int]:
    tags: list[int] = []
    position = 0
    while position < len(value):
        tag, position = _read_tag(value, position)
        tags.append(tag)
    return tags


def _read_tag(value: bytes, position: int) -> tuple[int, int]:
    end = position + 1
    if value[position] & 0x1F == 0x1F:
        while end < len(value) and value[end] & 0x80:
            end += 1
        end += 1
    if end > len(value):
        raise ValueError("the tag list ends inside a tag")
    return int.from_bytes(value[position:end], "big"), end

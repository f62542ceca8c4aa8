"""The profiles on a card as it lists them (SGP.32 v1.2, 2.11.2.1 and 5.9.14; SGP.22 v2.5, 5.7.15)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from rsp.errors import Malformed
from rsp.es10.members import bit_numbers, member, octets
from rsp.esep.members import number, optional_flag, optional_number, optional_text, result_code
from rsp.identifiers import Iccid
from rsp.tlv import Tlv


class ProfileState(IntEnum):
    """Whether a profile is the one in use."""

    DISABLED = 0
    ENABLED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileInfo:
    """ProfileInfo (E3). Members a card left out are None, policy rules are bit numbers of PprIds.

    `profile_class` is a `rsp.metadata.ProfileClass` where that names it.
    """

    iccid: Iccid
    aid: bytes | None = None
    state: ProfileState | None = None
    nickname: str | None = None
    service_provider_name: str | None = None
    profile_name: str | None = None
    profile_class: int | None = None
    policy_rules: frozenset[int] = frozenset()
    ecall_indication: bool | None = None
    fallback_attribute: bool = False
    fallback_allowed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileList:
    """profileInfoListOk: every profile on the card, in the card's order."""

    profiles: tuple[ProfileInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileListError:
    """profileInfoListError, a `ProfileListCode` where named."""

    code: int


def profile_list(found: Tlv) -> ProfileList | ProfileListError:
    """ProfileInfoListResponse (BF2D): its alternatives tagged A0 and 81, or with the tags of their types, or bare."""
    children = list(found.children())
    if len(children) == 1 and children[0].tag in (0x02, 0x81):
        return ProfileListError(code=result_code(children[0], "profileInfoListError"))
    if len(children) == 1 and children[0].tag in (0x30, 0xA0):
        children = list(children[0].children())
    return ProfileList(profiles=tuple(map(_profile_info, children)))


def _profile_info(found: Tlv) -> ProfileInfo:
    if found.tag != 0xE3:
        raise Malformed(f"a list of profiles holds objects of tag E3, not {found.tag:X}")
    members = found.members()
    aid, state = members.get(0x4F), members.get(0x9F70)
    return ProfileInfo(
        iccid=Iccid.from_bytes(member(members, 0x5A, "iccid").value),
        aid=octets(aid, "isdpAid", 1, 16) if aid else None,
        state=_state(state) if state else None,
        nickname=optional_text(members, 0x90),
        service_provider_name=optional_text(members, 0x91),
        profile_name=optional_text(members, 0x92),
        profile_class=optional_number(members, 0x95, "profileClass"),
        policy_rules=bit_numbers(members.get(0x99)),
        ecall_indication=optional_flag(members, 0x9F7B, "ecallIndication"),
        fallback_attribute=optional_flag(members, 0x9F26, "fallbackAttribute") or False,
        fallback_allowed=optional_flag(members, 0x9F67, "fallbackAllowed"),
    )


def _state(found: Tlv) -> ProfileState:
    value = number(found, "profileState")
    if value not in list(ProfileState):
        raise Malformed(f"profileState is 0 (disabled) or 1 (enabled), not {value}")
    return ProfileState(value)

"""EUICCInfo1, EUICCInfo2 and DeviceInfo (SGP.22 v2.5, 5.7.8 and 4.2)."""

from __future__ import annotations

from functools import lru_cache

import msgspec
from msgspec.structs import replace

from rsp import tlv
from rsp.errors import Malformed
from rsp.es10.members import Version, bit_numbers, integer, member, octets, version
from rsp.identifiers import swap_nibbles
from rsp.tlv import Tlv

_RESOURCE = 0x84
_REMEMBERED_MAKES = 256
_USUAL_BYTES = 512


class EuiccInfo1(msgspec.Struct, frozen=True, kw_only=True):
    """EUICCInfo1 (5.7.8): SGP.22 version and CI key identifiers, each list in the eUICC's order of preference."""

    svn: Version
    ci_for_verification: tuple[bytes, ...]
    ci_for_signing: tuple[bytes, ...]


class EuiccInfo2(msgspec.Struct, frozen=True, kw_only=True):
    """EUICCInfo2 (5.7.8). Capabilities and rules are bit numbers; `free_memory` is in bytes, None where not told.

    `is_iot`: it has iotSpecificInfo, which an eUICC of SGP.32 must tell and no other has.
    """

    profile_version: Version
    svn: Version
    firmware: Version
    free_memory: int | None
    uicc_capability: frozenset[int]
    rsp_capability: frozenset[int]
    ci_for_verification: tuple[bytes, ...]
    ci_for_signing: tuple[bytes, ...]
    category: int | None
    forbidden_policy_rules: frozenset[int]
    additional_profile_versions: tuple[Version, ...]
    is_iot: bool = False


class DeviceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """DeviceInfo (4.2): 8 digits of TAC, up to 16 of IMEI, and the value octets of DeviceCapabilities.

    Both numbers are Telephony BCD (low nibble first). A device without an IMEI may send a hexadecimal letter.
    """

    tac: str
    imei: str | None
    capabilities: bytes


def parse_euicc_info1(data: bytes) -> EuiccInfo1:
    """Read EUICCInfo1 (BF20, 5.7.8); members of later versions are skipped. Raises Malformed."""
    # Anybody may send one: those of a usual size are remembered, for they are the same for all cards of a make.
    return _remembered_info1(data) if len(data) <= _USUAL_BYTES else _info1(data)


def _info1(data: bytes) -> EuiccInfo1:
    members = tlv.read_only(data, 0xBF20).members()
    return EuiccInfo1(
        svn=version(member(members, 0x82, "svn")),
        ci_for_verification=_key_identifiers(member(members, 0xA9, "euiccCiPKIdListForVerification")),
        ci_for_signing=_key_identifiers(member(members, 0xAA, "euiccCiPKIdListForSigning")),
    )


_remembered_info1 = lru_cache(_REMEMBERED_MAKES)(_info1)


def parse_euicc_info2(data: bytes) -> EuiccInfo2:
    """Read EUICCInfo2 (BF22, 5.7.8); members of later versions are skipped. Raises Malformed."""
    whole = tlv.read_only(data, 0xBF22)
    at = whole.value_start
    while at < whole.end:
        resource = tlv.read(data, at, whole.end)
        if resource.tag == _RESOURCE:
            others = data[whole.value_start : at] + data[resource.end : whole.end]
            told = _remembered_info2(others) if len(others) <= _USUAL_BYTES else _info2(others)
            return replace(told, free_memory=_free_memory(resource))
        at = resource.end
    raise Malformed("extCardResource (tag 84) is missing: send every mandatory member")


def _info2(others: bytes) -> EuiccInfo2:
    """All that a card says but how much memory is free, which alone differs between cards of one make."""
    members = tlv.read(tlv.wrap(0xBF22, others)).members()
    if _RESOURCE in members:
        raise Malformed("tag 84 occurs twice in BF22: send each member once")
    additional = members.get(0xAF)
    return EuiccInfo2(
        profile_version=version(member(members, 0x81, "profileVersion")),
        svn=version(member(members, 0x82, "svn")),
        firmware=version(member(members, 0x83, "euiccFirmwareVer")),
        free_memory=None,
        uicc_capability=bit_numbers(member(members, 0x85, "uiccCapability")),
        rsp_capability=bit_numbers(member(members, 0x88, "rspCapability")),
        ci_for_verification=_key_identifiers(member(members, 0xA9, "euiccCiPKIdListForVerification")),
        ci_for_signing=_key_identifiers(member(members, 0xAA, "euiccCiPKIdListForSigning")),
        category=integer(members, 0x8B, "euiccCategory") if 0x8B in members else None,
        forbidden_policy_rules=bit_numbers(members.get(0x99)),
        additional_profile_versions=tuple(map(version, additional.children())) if additional else (),
        is_iot=0xB4 in members,
    )


_remembered_info2 = lru_cache(_REMEMBERED_MAKES)(_info2)


def _key_identifiers(found: Tlv) -> tuple[bytes, ...]:
    return tuple(member({one.tag: one}, 0x04, "SubjectKeyIdentifier").value for one in found.children())


def _free_memory(resource: Tlv) -> int | None:
    """Free non-volatile memory, tag 82 of the resource information (ETSI TS 102 226, 8.2.1.7.2).

    Cards fill this OCTET STRING freely, so content that is no TLV says nothing and is no reason to refuse the card.
    """
    try:
        found = resource.members().get(0x82)
        return int.from_bytes(octets(found, "free memory", 1, 7), "big") if found else None
    except Malformed:
        return None


def device_info(found: Tlv) -> DeviceInfo:
    members = found.members()
    tac = octets(member(members, 0x80, "tac"), "tac", 4, 4)
    imei = members.get(0x82)
    digits = None
    if imei is not None:
        value = octets(imei, "imei", 8, 8)
        # The last octet holds the check digit and a filler: high nibble first since v2.1, low nibble first before.
        digits = swap_nibbles(value[:7]).hex().upper() + value[7:].hex().upper().strip("F")
    capabilities = member(members, 0xA1, "deviceCapabilities").value
    return DeviceInfo(tac=swap_nibbles(tac).hex().upper(), imei=digits, capabilities=capabilities)

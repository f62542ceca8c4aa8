"""What a virtual eUICC tells about itself: EUICCInfo1 and EUICCInfo2 (SGP.22 5.7.8, tags BF20 and BF22)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rsp import tlv
from simulator import der
from simulator.secure_messaging import MAX_SEGMENT

# usim, isim, csim, milenage, cave, tuak128, tuak256, test algorithm, gba, mbms, javacard, multiple usim / isim, BER-TLV
# files, linked files, GET IDENTITY, ECIES profiles A and B (TCA).
_UICC_CAPABILITY = (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 14, 16, 17, 19, 20, 22, 23, 24)
_ADDITIONAL_PROFILE, _TEST_PROFILE = 0, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EuiccProperties:
    """The fixed properties of a kind of eUICC; versions are 3 bytes major, minor, revision, capabilities bit numbers.

    `extra_info1` and `extra_info2` are raw TLVs appended to EUICCInfo1 and EUICCInfo2, as later versions do.
    `longest_segment` bounds the segments of a package (bytes, tag and length included): 1020 by SGP.22 2.5.2, more on
    cards in the field.
    """

    svn: bytes = b"\x02\x05\x00"
    profile_version: bytes = b"\x02\x03\x01"
    firmware_version: bytes = b"\x01\x00\x00"
    ts102241_version: bytes = b"\x0f\x00\x00"
    globalplatform_version: bytes = b"\x02\x03\x00"
    uicc_capability: tuple[int, ...] = _UICC_CAPABILITY
    rsp_capability: tuple[int, ...] = (_ADDITIONAL_PROFILE, _TEST_PROFILE)
    euicc_category: int = 2
    forbidden_policy_rules: tuple[int, ...] = ()
    protection_profile_version: bytes = b"\x01\x00\x00"
    sas_accreditation_number: str = "GI-BA-UP-0419"
    root_smds_address: str = "lpa.ds.gsma.com"
    extra_info1: bytes = b""
    extra_info2: bytes = b""
    longest_segment: int = MAX_SEGMENT

    @property
    def accepts_test_profiles(self) -> bool:
        """Whether rspCapability announces test profile support."""
        return _TEST_PROFILE in self.rsp_capability


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Extended card resources: installed applications and free non-volatile memory in bytes (ETSI TS 102 226)."""

    applications: int
    free_memory: int

    def to_bytes(self) -> bytes:
        """Tags 81 applications, 82 free non-volatile memory, 83 free volatile memory."""
        return (
            tlv.wrap(0x81, self.applications.to_bytes(1, "big"))
            + tlv.wrap(0x82, self.free_memory.to_bytes(4, "big"))
            + tlv.wrap(0x83, (0x1800).to_bytes(4, "big"))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CiLists:
    """Key ids of the CIs for verification and for signing, in order of priority."""

    verification: Sequence[bytes]
    signing: Sequence[bytes]

    def to_bytes(self) -> bytes:
        """Members A9 and AA."""
        return tlv.wrap(0xA9, *(tlv.wrap(0x04, key_id) for key_id in self.verification)) + tlv.wrap(
            0xAA, *(tlv.wrap(0x04, key_id) for key_id in self.signing)
        )


def euicc_info1(properties: EuiccProperties, lists: CiLists) -> bytes:
    """EUICCInfo1, tag BF20."""
    return tlv.wrap(0xBF20, tlv.wrap(0x82, properties.svn), lists.to_bytes(), properties.extra_info1)


def euicc_info2(properties: EuiccProperties, lists: CiLists, resources: Resources) -> bytes:
    """EUICCInfo2, tag BF22."""
    forbidden = der.wrap_bits(0x99, properties.forbidden_policy_rules) if properties.forbidden_policy_rules else b""
    return tlv.wrap(
        0xBF22,
        tlv.wrap(0x81, properties.profile_version),
        tlv.wrap(0x82, properties.svn),
        tlv.wrap(0x83, properties.firmware_version),
        tlv.wrap(0x84, resources.to_bytes()),
        der.wrap_bits(0x85, properties.uicc_capability),
        tlv.wrap(0x86, properties.ts102241_version),
        tlv.wrap(0x87, properties.globalplatform_version),
        der.wrap_bits(0x88, properties.rsp_capability),
        lists.to_bytes(),
        tlv.wrap_integer(0x8B, properties.euicc_category),
        forbidden,
        tlv.wrap(0x04, properties.protection_profile_version),
        tlv.wrap(0x0C, properties.sas_accreditation_number.encode()),
        properties.extra_info2,
    )

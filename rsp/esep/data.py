"""What a device tells of itself and its eUICC when asked (SGP.32 v1.2, 2.11.2.2 IpaEuiccDataResponse)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rsp import tlv
from rsp.errors import Malformed
from rsp.es10.members import Version, bit_numbers, member, version
from rsp.esep.members import (
    CERTIFICATE,
    der_object,
    optional_number,
    optional_raw,
    optional_text,
    optional_transaction_id,
    result_code,
)
from rsp.identifiers import TransactionId
from rsp.tlv import Tlv


@dataclass(frozen=True, slots=True, kw_only=True)
class IpaCapabilities:
    """IpaCapabilities as bit numbers: features (0 direct download, 1 indirect) and protocols (0 polls by HTTPS)."""

    features: frozenset[int]
    protocols: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataResponse:
    """IpaEuiccData; what was not told is None or empty. None of it is signed as a whole.

    Certificates are DER. `euicc_info1`, `euicc_info2` and `device_info` are TLVs as received (BF20, BF22, A9), as are
    `package_results`, for `parse_package_result`, and `notifications`.
    """

    transaction_id: TransactionId | None
    eum_certificate: bytes | None
    euicc_certificate: bytes | None
    token: int | None
    package_results: tuple[bytes, ...]
    notifications: tuple[bytes, ...]
    euicc_info1: bytes | None
    euicc_info2: bytes | None
    ipa_capabilities: IpaCapabilities | None
    default_smdp_address: str | None
    root_smds_address: str | None
    device_info: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataError:
    """IpaEuiccDataResponseError, a `DataErrorCode` where named."""

    transaction_id: TransactionId | None
    code: int


def data_answer(found: Tlv) -> DataResponse | DataError:
    """The answer in a BF52, its data in the alternative A0 (v1.2) or bare (v1.0.1)."""
    members = data_members(found)
    if 0x02 in members:
        code = result_code(member(members, 0x02, "ipaEuiccDataErrorCode"), "ipaEuiccDataErrorCode")
        return DataError(transaction_id=optional_transaction_id(members, 0x80), code=code)
    capabilities = members.get(0xA8)
    return DataResponse(
        transaction_id=optional_transaction_id(members, 0x87),
        eum_certificate=_certificate(members, 0xA5, "eumCertificate"),
        euicc_certificate=_certificate(members, 0xA6, "euiccCertificate"),
        token=optional_number(members, 0x84, "associationToken"),
        package_results=tuple(found.raw for found in listed_results(members)),
        notifications=tuple(found.raw for found in listed_notifications(members)),
        euicc_info1=optional_raw(members, 0xBF20),
        euicc_info2=optional_raw(members, 0xBF22),
        ipa_capabilities=_capabilities(capabilities) if capabilities else None,
        # In v1.0.1 the default address has the tag 80.
        default_smdp_address=optional_text(members, 0x81 if 0x81 in members else 0x80),
        root_smds_address=optional_text(members, 0x83),
        device_info=optional_raw(members, 0xA9),
    )


def data_members(found: Tlv) -> dict[int, Tlv]:
    """The members of IpaEuiccData, or of the error in its place, by tag."""
    children = list(found.children())
    if len(children) == 1 and children[0].tag in (0xA0, 0xA1, 0x30) and not _is_notifications(children[0]):
        return children[0].members()
    return found.members()


def _is_notifications(found: Tlv) -> bool:
    """Whether an object of tag A0 is a bare list of notifications, and not the alternative around all members."""
    return found.tag == 0xA0 and any(child.tag in (0xBF37, 0x30) for child in found.children())


def listed_results(members: Mapping[int, Tlv]) -> list[Tlv]:
    """The package results a card still keeps, in the list of their own or in that of v1.0.1."""
    return _elements(members.get(0xA2)) or _retrieved(members, 0xA2)


def listed_notifications(members: Mapping[int, Tlv]) -> list[Tlv]:
    """The notifications a card still keeps; in v1.0.1 the card's answer BF2B stands in place of the list."""
    return _elements(members.get(0xA0)) or _retrieved(members, 0xA0)


def _retrieved(members: Mapping[int, Tlv], arm: int) -> list[Tlv]:
    return [one for found in _elements(members.get(0xBF2B)) if found.tag == arm for one in found.children()]


def _elements(found: Tlv | None) -> list[Tlv]:
    return list(found.children()) if found else []


def _certificate(members: Mapping[int, Tlv], tag: int, name: str) -> bytes | None:
    found = members.get(tag)
    return der_object(found, CERTIFICATE, name) if found else None


def _capabilities(found: Tlv) -> IpaCapabilities:
    members = found.members()
    return IpaCapabilities(
        features=bit_numbers(member(members, 0x80, "ipaFeatures")),
        protocols=bit_numbers(members.get(0x81)),
    )


def iot_versions(euicc_info2: bytes) -> tuple[Version, ...]:
    """The SGP.32 versions in a EUICCInfo2 (BF22); none for a card that knows SGP.22 alone. Raises Malformed."""
    specific = tlv.read_only(euicc_info2, 0xBF22).members().get(0xB4)
    if specific is None:
        return ()
    versions = list(member(specific.members(), 0xA0, "iotVersion").children())
    if any(found.tag != 0x04 for found in versions):
        raise Malformed("iotVersion lists octet strings of three bytes")
    return tuple(map(version, versions))

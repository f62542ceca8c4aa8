"""The poll of a device and what the eIM gives it (SGP.32 v1.2, 6.3 GetEimPackage, 2.11.1.2, 2.11.1.3)."""

from __future__ import annotations

from dataclasses import dataclass

from rsp import tlv
from rsp.errors import Malformed
from rsp.es10.members import octets
from rsp.esep.codes import EimPackageError
from rsp.esep.members import EidMissing, eid, wrap_text
from rsp.identifiers import Eid, TransactionId
from rsp.tlv import Tlv

ONBOARDING_TAGS = bytes.fromhex("BF20 BF22 84 A5 A6 A8 A9 A0")
"""What is worth asking of a new device: its abilities, token, certificates and waiting notifications."""

_MAX_ACTIVATION_CODE = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class GetEimPackage:
    """GetEimPackageRequest. `state_change_cause` is a `StateChangeCause` where named; `rplmn` is 3 bytes (TS 24.008).

    Nothing in it is signed: whoever knows an EID can send it.
    """

    eid: Eid
    notify_state_change: bool
    state_change_cause: int | None
    rplmn: bytes | None


def parse_get_eim_package(data: bytes) -> GetEimPackage:
    """Read a GetEimPackageRequest (BF4F), of v1.0.1 too. Raises Malformed: for the EID, EidMissing or EidInvalid."""
    members = tlv.read_only(data, 0xBF4F).members()
    if 0x5A not in members:
        raise EidMissing("eidValue (tag 5A) is missing: send the EID")
    cause, network = members.get(0x81), members.get(0x82)
    if cause is not None and network is None and len(cause.value) == 3:
        # In v1.0.1 the tag 81 is the network; a cause is never longer than one byte.
        cause, network = None, cause
    return GetEimPackage(
        eid=eid(members[0x5A]),
        notify_state_change=0x80 in members,
        state_change_cause=_cause(cause) if cause else None,
        rplmn=octets(network, "rPLMN", 3, 3) if network else None,
    )


def _cause(found: Tlv) -> int:
    octets(found, "stateChangeCause", 1, 1)
    return found.integer()


def eim_package(package: bytes) -> bytes:
    """GetEimPackageResponse (BF4F) around one of our requests: BF51, BF52 or BF54."""
    return tlv.wrap(0xBF4F, package)


def eim_package_error(code: EimPackageError) -> bytes:
    """GetEimPackageResponse (BF4F) that says why there is no package."""
    return tlv.wrap(0xBF4F, tlv.wrap_integer(0x02, code))


def ipa_euicc_data_request(
    *,
    tags: bytes,
    transaction_id: TransactionId,
    package_results: bool = False,
    result_seq_number: int | None = None,
) -> bytes:
    """IpaEuiccDataRequest (BF52, 2.11.1.2).

    `tags` are the members of IpaEuiccData wanted, one after another, such as `ONBOARDING_TAGS`; neither the EID (5A)
    nor the list of profiles (BF2D) is one. `package_results` asks for the results a card still keeps, and
    `result_seq_number` for one of them.
    """
    wanted = tags + (b"\xa2" if package_results or result_seq_number is not None else b"")
    if not wanted:
        raise Malformed("a request for data names at least one tag")
    criteria = b"" if result_seq_number is None else tlv.wrap(0xA2, tlv.wrap_integer(0x80, result_seq_number))
    return tlv.wrap(0xBF52, tlv.wrap(0x5C, wanted), criteria, tlv.wrap(0x83, transaction_id.value))


def profile_download_trigger(activation_code: str, transaction_id: TransactionId) -> bytes:
    """ProfileDownloadTriggerRequest (BF54, 2.11.1.3) with an activation code of at most 255 characters."""
    if len(activation_code) > _MAX_ACTIVATION_CODE:
        raise Malformed(f"an activation code is at most {_MAX_ACTIVATION_CODE} characters")
    code = wrap_text(0x80, activation_code, "activation code")
    return tlv.wrap(0xBF54, tlv.wrap(0xA0, code), tlv.wrap(0x82, transaction_id.value))

"""What devices hand in, and our answers (SGP.32 v1.2, 6.3 ProvideEimPackageResult and HandleNotification)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rsp import tlv
from rsp.errors import Malformed
from rsp.es10.members import alternative, member
from rsp.esep.codes import ResultError
from rsp.esep.data import DataError, DataResponse, data_answer
from rsp.esep.members import eid, optional_transaction_id, result_code
from rsp.esep.results import PackageAnswer, package_answer
from rsp.identifiers import Eid, TransactionId
from rsp.tlv import Tlv


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerResult:
    """ProfileDownloadTriggerResult: `installation` is the ProfileInstallationResult (BF37) as received, or an error.

    The error is the reason, a `TriggerErrorCode` where named, and the server's answer the device put beside it.
    """

    transaction_id: TransactionId | None
    installation: bytes | None
    error: tuple[int, bytes | None] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseError:
    """EimPackageResultResponseError, a `ResponseErrorCode` where named; nobody signed it."""

    transaction_id: TransactionId | None
    code: int


Provided = PackageAnswer | DataResponse | DataError | TriggerResult | ResponseError


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvidedResult:
    """ProvideEimPackageResult: the EID where the device sent it, the result, and notifications as received."""

    eid: Eid | None
    result: Provided
    notifications: tuple[bytes, ...] = ()


def parse_provide_eim_package_result(data: bytes) -> ProvidedResult:
    """Read a ProvideEimPackageResult (BF50), of v1.0.1 too. Raises Malformed, as EidInvalid for an EID that is none."""
    return _provided(tlv.read_only(data, 0xBF50))


def parse_handle_notification(data: bytes) -> bytes | ProvidedResult:
    """Read a HandleNotification of ESipa (BF3D): a pending notification as received, or a result. Raises Malformed.

    The notification is a BF37, a 30, or one of their compact forms A0 and A1.
    """
    found = alternative(tlv.read_only(data, 0xBF3D), "HandleNotification")
    if found.tag == 0xBF50:
        return _provided(found)
    if found.tag == 0xA0:
        inner = list(found.children())
        # A compact installation result has the same tag as the alternative around it, but two members.
        found = inner[0] if len(inner) == 1 else found
    if found.tag not in (0xBF37, 0x30, 0xA0, 0xA1):
        raise Malformed(f"HandleNotification has no alternative with tag {found.tag:X}: send A0 or BF50")
    return found.raw


def _provided(outer: Tlv) -> ProvidedResult:
    members = outer.members()
    found = members.get(0x5A)
    given = eid(found) if found else None
    if 0x30 in members:
        pair = members[0x30].members()
        result: Provided = package_answer(member(pair, 0xBF51, "euiccPackageResult"))
        notifications = tuple(one.raw for one in member(pair, 0xA0, "notificationList").children())
        return ProvidedResult(eid=given, result=result, notifications=notifications)
    for tag, read in _RESULTS.items():
        if tag in members:
            return ProvidedResult(eid=given, result=read(members[tag]))
    raise Malformed("eimPackageResult is missing: send one of BF51, 30, BF52, BF54 and A0")


def _trigger_result(found: Tlv) -> TriggerResult:
    members = found.members()
    transaction_id = optional_transaction_id(members, 0x82)
    if 0xBF37 in members:
        return TriggerResult(transaction_id=transaction_id, installation=members[0xBF37].raw, error=None)
    failure = member(members, 0x30, "profileInstallationResult or profileDownloadError").members()
    reason = result_code(member(failure, 0x80, "profileDownloadErrorReason"), "profileDownloadErrorReason")
    answer = failure.get(0x04)
    return TriggerResult(
        transaction_id=transaction_id, installation=None, error=(reason, answer.value if answer else None)
    )


def _response_error(found: Tlv) -> ResponseError:
    members = found.members()
    code = result_code(member(members, 0x02, "eimPackageResultErrorCode"), "eimPackageResultErrorCode")
    return ResponseError(transaction_id=optional_transaction_id(members, 0x80), code=code)


_RESULTS = {0xBF51: package_answer, 0xBF52: data_answer, 0xBF54: _trigger_result, 0xA0: _response_error}


def acknowledgements(sequence_numbers: Sequence[int]) -> bytes:
    """ProvideEimPackageResultResponse (BF50) with what the device may now delete from its card.

    No number at all is the empty response. Either ends the permission to roll back.
    """
    if not sequence_numbers:
        return empty_response()
    return tlv.wrap(0xBF50, tlv.wrap(0xBF53, *(tlv.wrap_integer(0x80, number) for number in sequence_numbers)))


def empty_response() -> bytes:
    """ProvideEimPackageResultResponse (BF50): taken, nothing to delete."""
    return tlv.wrap(0xBF50, b"\x30\x00")


def result_error(code: ResultError) -> bytes:
    """ProvideEimPackageResultResponse (BF50): not taken. A device that may roll back will."""
    return tlv.wrap(0xBF50, tlv.wrap_integer(0x02, code))


def first_tag(data: bytes) -> int:
    """The tag of the message, which says what function is called. Raises Malformed when it is cut off."""
    return tlv.read(data).tag

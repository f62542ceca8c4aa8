"""The JSON spelling of ES2+ (SGP.22 6.5.2.1 to 6.5.2.5), both directions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from rsp.errors import Malformed
from rsp.json_binding import execution_header
from rsp.status import Status
from smdp.progress import ProgressInfo
from smdp.recovery import ProfileStatus

PREFIX = "/gsma/rsp2/es2plus"
_SUCCESS = execution_header()
_LONGEST_IDENTIFIER = 255

_T = TypeVar("_T", bound="Request")


class RequestHeader(msgspec.Struct, frozen=True, rename="camel"):
    """Who calls, and which call it is; both members are mandatory and not empty (6.5.1.3)."""

    function_requester_identifier: str
    function_call_identifier: str


class Request(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What every request has."""

    header: RequestHeader


class DownloadOrder(Request, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """5.3.1: at least one of iccid and profileType."""

    eid: str | None = None
    iccid: str | None = None
    profile_type: str | None = None


class ConfirmOrder(Request, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """5.3.2; some clients send the flag as text. `imei` is no member of SGP.22 but ours."""

    iccid: str
    release_flag: bool | str
    eid: str | None = None
    matching_id: str | None = None
    confirmation_code: str | None = None
    smds_address: str | None = None
    imei: str | None = None

    def __repr__(self) -> str:
        return f"ConfirmOrder(iccid={self.iccid!r})"


class CancelOrder(Request, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """5.3.3. Both mandatory members may be missing here: that has a status code of its own."""

    iccid: str | None = None
    final_profile_status_indicator: str | None = None
    eid: str | None = None
    matching_id: str | None = None


class ReleaseProfile(Request, frozen=True, rename="camel", kw_only=True):
    """5.3.4."""

    iccid: str


class ProfileRef(msgspec.Struct, frozen=True, rename="camel"):
    """One profile of a list."""

    iccid: str


class GetProfileStatus(Request, frozen=True, rename="camel", kw_only=True):
    """Where profiles and their orders stand. No function of SGP.22: several vendors offer it in this form."""

    iccid_list: list[ProfileRef]


class RecoverProfile(Request, frozen=True, rename="camel", kw_only=True):
    """Bring a profile back into a state, such as Released or Available. No function of SGP.22: a vendors' one."""

    iccid: str
    profile_status: str


def decode(kind: type[_T], body: bytes) -> _T:
    """One request with a usable header. Raises Malformed with a sentence naming the member."""
    try:
        request = msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"The body is not the JSON of this function: {error}") from None
    header = request.header
    for name, text in (
        ("functionRequesterIdentifier", header.function_requester_identifier),
        ("functionCallIdentifier", header.function_call_identifier),
    ):
        if not 1 <= len(text) <= _LONGEST_IDENTIFIER or "\0" in text:
            raise Malformed(f"header.{name} must be 1 to {_LONGEST_IDENTIFIER} characters")
    return request


def encode(request: Request) -> bytes:
    """A request as an operator sends it."""
    return msgspec.json.encode(request)


def flag(value: bool | str) -> bool:  # noqa: FBT001 -- the wire form of releaseFlag
    """releaseFlag as JSON boolean, or as the text some clients send. Raises Malformed."""
    if isinstance(value, bool):
        return value
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise Malformed("releaseFlag must be true or false")


def ordered(iccid: str) -> bytes:
    """Answer of DownloadOrder."""
    return b'{"header":%b,"iccid":%b}' % (_SUCCESS, msgspec.json.encode(iccid))


def confirmed(eid: str | None, matching_id: str, smdp_address: str) -> bytes:
    """Answer of ConfirmOrder."""
    members = {"eid": eid} if eid else {}
    members |= {"matchingId": matching_id, "smdpAddress": smdp_address}
    return b'{"header":%b,%b' % (_SUCCESS, msgspec.json.encode(members)[1:])


def statuses(found: Sequence[ProfileStatus], at: datetime) -> bytes:
    """Answer of the vendors' function getProfileStatus."""
    listed = [
        {
            "iccid": one.iccid.to_json(),
            "state": one.state,
            "eid": one.eid,
            "acToken": one.matching_id,
            "lockFlag": one.locked,
            "status_last_update_timestamp": _timestamp(one.updated_at),
        }
        for one in found
    ]
    members = {"profileStatusList": listed, "completionTimestamp": _timestamp(at)}
    return b'{"header":%b,%b' % (_SUCCESS, msgspec.json.encode(members)[1:])


def _timestamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def done() -> bytes:
    """Answer of CancelOrder, ReleaseProfile and recoverProfile: nothing but the header."""
    return b'{"header":%b}' % _SUCCESS


def progress(info: ProgressInfo, requester: str, call_id: str) -> bytes:
    """HandleDownloadProgressInfo (5.3.5). `call_id` must be the same at every try of the same report."""
    body: dict[str, object] = {
        "header": {"functionRequesterIdentifier": requester, "functionCallIdentifier": call_id},
        "iccid": info.iccid,
        "profileType": info.profile_type,
        "timestamp": info.timestamp,
        "notificationPointId": info.point,
        "notificationPointStatus": _execution(info),
    }
    if info.eid:
        body["eid"] = info.eid
    if info.result_data:
        body["resultData"] = info.result_data
    return msgspec.json.encode(body)


def _execution(info: ProgressInfo) -> dict[str, object]:
    if not info.status:
        return {"status": "Executed-Success"}
    status = Status[info.status]
    data = {"subjectCode": status.subject, "reasonCode": status.reason, "message": info.detail or status.message}
    return {"status": "Failed", "statusCodeData": data}

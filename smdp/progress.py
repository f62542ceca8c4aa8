"""What an operator is told about a download: ES2+.HandleDownloadProgressInfo (SGP.22 5.3.5) as stored values."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum

import msgspec
from msgspec.structs import replace

from rsp.identifiers import Iccid
from rsp.status import Status
from smdp.order import Order

KIND = "es2plus.handleDownloadProgressInfo"


class NotificationPoint(IntEnum):
    """notificationPointId of SGP.22 5.3.5, and three points of ours: which number they have depends on the operator."""

    ELIGIBILITY = 1
    CONFIRMATION_FAILURE = 2
    BPP_DOWNLOAD = 3
    BPP_INSTALLATION = 4
    ENABLED = 1001
    DISABLED = 1002
    DELETED = 1003

    @property
    def word(self) -> str:
        """Its name among people, in commands and in the operator's own numbering."""
        return _WORDS[self]


_WORDS = {
    NotificationPoint.ELIGIBILITY: "eligibility",
    NotificationPoint.CONFIRMATION_FAILURE: "confirmation",
    NotificationPoint.BPP_DOWNLOAD: "download",
    NotificationPoint.BPP_INSTALLATION: "installation",
    NotificationPoint.ENABLED: "enabled",
    NotificationPoint.DISABLED: "disabled",
    NotificationPoint.DELETED: "deleted",
}

STANDARD = frozenset(point for point in NotificationPoint if point < NotificationPoint.ENABLED)
"""The points whose numbers SGP.22 gives. The others are told only to operators that have numbers for them."""


class ProgressInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One report, in plain members so that it is stored as it will be sent.

    `timestamp` is W3C (UTC, `Z`); `status` the name of a Status, empty for success; `result_data` base64 or empty.
    """

    iccid: str
    profile_type: str
    eid: str
    timestamp: str
    point: int
    status: str = ""
    detail: str = ""
    result_data: str = ""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the outbox. Messages of one `line` leave in the order they were written."""

    tenant_id: int
    line: str
    kind: str
    body: ProgressInfo


def line_of(iccid: Iccid) -> str:
    """The line on which everything about one profile is told, so that it arrives in order."""
    return f"{KIND}/{iccid}"


def report(
    order: Order,
    point: NotificationPoint,
    at: datetime,
    status: Status | None = None,
    *,
    eid: str = "",
    result: str = "",
) -> Message:
    """The message that tells the owner of `order` about `point`; `status` None means success."""
    body = ProgressInfo(
        iccid=order.iccid.to_json(),
        profile_type=order.profile_type,
        eid=eid or str(order.eid or ""),
        timestamp=at.replace(tzinfo=None).isoformat(timespec="seconds") + "Z",
        point=point,
        status=status.name if status else "",
        result_data=result,
    )
    return Message(tenant_id=order.tenant_id, line=line_of(order.iccid), kind=KIND, body=body)


def detailed(message: Message, detail: str) -> Message:
    """The same with a sentence that says more than its status does; sent with a failure only."""
    return replace(message, body=replace(message.body, detail=detail))

"""ES2+ in the other direction: HandleDownloadProgressInfo from SM-DP+ at which we are the operator (SGP.22 5.3.5)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
import structlog

from rsp.errors import Malformed
from rsp.identifiers import Eid, Iccid
from swap.foreign import Report, ends_the_order
from transport.functions import Interface, Route, Turned
from transport.identity import client_fingerprint
from transport.reading import Request

FUNCTION = "handleDownloadProgressInfo"
_LONGEST_DETAIL = 500
_SUCCESS = frozenset({"executed-success", "executed-withwarning"})
_MILLISECONDS = 100_000_000_000


class Callers(Protocol):
    """Whose SM-DP+ calls with which certificate."""

    async def carrier_of_caller(self, fingerprint: bytes) -> int | None:
        """Id of the carrier whose SM-DP+ calls with the certificate of this SHA-256."""


class Hears(Protocol):
    """Who takes reports."""

    async def heard(self, carrier_id: int, report: Report) -> bool:
        """Keep what a report says; committed when this returns. Whether it was about an order of ours."""


class ProgressReceiver:
    """Knows the caller by its certificate, keeps what it reports, and says 204 once that is committed."""

    def __init__(self, callers: Callers, reports: Hears) -> None:
        self._callers = callers
        self._reports = reports

    def routes(self, interface: Interface) -> list[Route]:
        """The route of the JSON binding."""
        return [interface.route(FUNCTION, self.handle)]

    async def handle(self, http: Request, body: bytes) -> None:
        """5.3.5. A report about a profile that is no order of ours at this caller is taken and dropped."""
        fingerprint = client_fingerprint(http)
        carrier_id = await self._callers.carrier_of_caller(fingerprint) if fingerprint else None
        if carrier_id is None:
            text = "This client certificate belongs to no carrier's SM-DP+. Have it registered with `smdp carrier`."
            raise Turned(status=403, text=text)
        report = read(body)
        structlog.contextvars.bind_contextvars(carrier=carrier_id, iccid=str(report.iccid), point=report.point)
        ours = await self._reports.heard(carrier_id, report)
        structlog.contextvars.bind_contextvars(ours=ours)


def read(body: bytes) -> Report:
    """A report, read with patience: numbers as text, a time as text or in seconds, no EID. Raises Malformed."""
    try:
        members = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"The body is not the JSON of this function: {error}") from None
    status = members.get("notificationPointStatus")
    status = status if isinstance(status, dict) else {}
    data = status.get("statusCodeData")
    data = data if isinstance(data, dict) else {}
    codes = _text(data, "subjectCode"), _text(data, "reasonCode")
    succeeded = _text(status, "status").lower() in _SUCCESS
    words = f"{'/'.join(codes)} {_text(data, 'message')}".strip()
    return Report(
        iccid=Iccid.parse(_text(members, "iccid")),
        eid=_eid(_text(members, "eid")),
        point=_point(_text(members, "notificationPointId")),
        succeeded=succeeded,
        ends_order=not succeeded and ends_the_order(codes),
        detail="" if succeeded else words[:_LONGEST_DETAIL].replace("\0", ""),
        at=_moment(members.get("timestamp", members.get("timeStamp"))),
    )


def _text(members: dict[str, Any], name: str) -> str:
    value = members.get(name)
    return "" if value is None or isinstance(value, dict | list) else str(value).strip()


def _eid(text: str) -> Eid | None:
    return Eid(text) if text else None


def _point(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Malformed("notificationPointId must be a number")
    return int(text)


def _moment(value: object) -> datetime | None:
    """W3C text, or seconds or milliseconds since 1970; None for what is neither: the report counts all the same."""
    text = str(value or "").strip()
    try:
        if text.replace(".", "", 1).isdigit():
            number = float(text)
            return datetime.fromtimestamp(number / 1000 if number > _MILLISECONDS else number, UTC)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)

"""Sends progress reports to operators: joins the outbox's messages with the ES2+ client."""

from __future__ import annotations

import aiohttp
import msgspec
from msgspec.structs import replace

from es2plus.client import handle_download_progress_info
from smdp.ports import ClaimedMessage
from smdp.progress import STANDARD, NotificationPoint, ProgressInfo
from tenancy.operator import Directory, Operator
from transport.client import GsmaClient
from webhooks.sender import Undeliverable, Unwanted


class OperatorCallbacks:
    """HandleDownloadProgressInfo to the operator that owns a message."""

    def __init__(
        self, directory: Directory, session: aiohttp.ClientSession, requester: str, timeout_seconds: float
    ) -> None:
        """`requester` is the functionRequesterIdentifier by which operators know this SM-DP+."""
        self._directory = directory
        self._session = session
        self._requester = requester
        self._timeout = timeout_seconds

    async def send(self, message: ClaimedMessage) -> None:
        """Raises Unreachable or Undeliverable. The call id is the message's id: the same at every try."""
        operator = await self._directory.by_id(message.tenant_id)
        if operator is None:
            raise Undeliverable("the operator is gone")
        if not operator.callback_url:
            raise Unwanted("the operator has no callback address")
        info = _numbered(msgspec.json.decode(message.body, type=ProgressInfo), operator)
        client = GsmaClient(self._session, operator.callback_url, self._timeout)
        await handle_download_progress_info(client, info, self._requester, f"smdp-{message.id}")


def _numbered(info: ProgressInfo, operator: Operator) -> ProgressInfo:
    """The report with the operator's own number of its point. Raises Unwanted where it has none, Undeliverable."""
    try:
        point = NotificationPoint(info.point)
    except ValueError:
        raise Undeliverable(f"no notification point has the number {info.point} here") from None
    standard = point.value if point in STANDARD else None
    number = operator.notification_points.get(point.word, standard)
    if number is None:
        raise Unwanted(f"the operator has no number for notification point {point.word!r}")
    return replace(info, point=number)

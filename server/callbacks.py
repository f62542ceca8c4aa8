"""Sends progress reports to operators: joins the outbox's messages with the ES2+ client."""

from __future__ import annotations

import aiohttp
import msgspec

from es2plus.client import handle_download_progress_info
from smdp.ports import ClaimedMessage
from smdp.progress import ProgressInfo
from tenancy.operator import Directory
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
        client = GsmaClient(self._session, operator.callback_url, self._timeout)
        info = msgspec.json.decode(message.body, type=ProgressInfo)
        await handle_download_progress_info(client, info, self._requester, f"smdp-{message.id}")

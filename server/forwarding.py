"""Sends cards' notifications on to other SM-DP+: joins the outbox's messages with ES9+.HandleNotification."""

from __future__ import annotations

import aiohttp
import msgspec

from eim.ports import Forward
from smdp.ports import ClaimedMessage
from transport.client import GsmaClient

_PATH = "/gsma/rsp2/es9plus/handleNotification"


class NotificationForwarder:
    """HandleNotification to the SM-DP+ a card has named under its signature (SGP.22 5.6.4)."""

    def __init__(self, session: aiohttp.ClientSession, timeout_seconds: float) -> None:
        self._session = session
        self._timeout = timeout_seconds

    async def send(self, message: ClaimedMessage) -> None:
        """Raises Unreachable, to be asked again later."""
        forward = msgspec.json.decode(message.body, type=Forward)
        client = GsmaClient(self._session, f"https://{forward.address}", self._timeout)
        await client.notify(_PATH, msgspec.json.encode({"pendingNotification": forward.pending_notification}))

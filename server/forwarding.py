"""Sends cards' notifications on to other SM-DP+: joins the outbox's messages with ES9+.HandleNotification."""

from __future__ import annotations

import aiohttp
import msgspec

from eim.ports import Forward
from es9plus.client import Es9PlusClient
from rsp.json_binding import decode_base64
from smdp.ports import ClaimedMessage
from transport.client import GsmaClient


class NotificationForwarder:
    """HandleNotification to the SM-DP+ a card has named under its signature (SGP.22 5.6.4)."""

    def __init__(self, session: aiohttp.ClientSession, timeout_seconds: float) -> None:
        self._session = session
        self._timeout = timeout_seconds

    async def send(self, message: ClaimedMessage) -> None:
        """Raises Unreachable, to be asked again later."""
        forward = msgspec.json.decode(message.body, type=Forward)
        smdp = Es9PlusClient(GsmaClient(self._session, f"https://{forward.address}", self._timeout))
        await smdp.handle_notification(decode_base64(forward.pending_notification, "pendingNotification"))

"""ES9+ as HTTP: five functions of the JSON binding (SGP.22 5.6, 6.5.2.6 to 6.5.2.10)."""

from __future__ import annotations

import structlog
from aiohttp import web

from es9plus import messages
from rsp.identifiers import TransactionId
from smdp.cancellation import Cancellation
from smdp.downloads import Downloads
from smdp.notification import Notifications
from transport.functions import Interface


class Es9Plus:
    """Decodes, calls the use case, encodes."""

    def __init__(self, downloads: Downloads, cancellation: Cancellation, notifications: Notifications) -> None:
        self._downloads = downloads
        self._cancellation = cancellation
        self._notifications = notifications

    def routes(self, interface: Interface) -> list[web.RouteDef]:
        """The routes of the JSON binding."""
        return [
            interface.route("initiateAuthentication", self.initiate_authentication),
            interface.route("authenticateClient", self.authenticate_client),
            interface.route("getBoundProfilePackage", self.get_bound_profile_package),
            interface.route("handleNotification", self.handle_notification),
            interface.route("cancelSession", self.cancel_session),
        ]

    async def initiate_authentication(self, _: web.Request, body: bytes) -> bytes:
        """5.6.1."""
        request = messages.decode(messages.InitiateAuthentication, body)
        answer = await self._downloads.initiate_authentication(
            messages.member(request.euicc_challenge, "euiccChallenge"),
            messages.member(request.euicc_info1, "euiccInfo1"),
            request.smdp_address,
        )
        structlog.contextvars.bind_contextvars(transaction_id=str(answer.transaction_id))
        return messages.initiated(
            answer.transaction_id,
            answer.server_signed1,
            answer.server_signature1,
            answer.ci_key_id,
            answer.certificate,
        )

    async def authenticate_client(self, _: web.Request, body: bytes) -> bytes:
        """5.6.3."""
        request = messages.decode(messages.AuthenticateClient, body)
        transaction_id = _transaction(request.transaction_id)
        answer = await self._downloads.authenticate_client(
            transaction_id, messages.member(request.authenticate_server_response, "authenticateServerResponse")
        )
        return messages.authenticated(
            answer.transaction_id, answer.metadata, answer.smdp_signed2, answer.smdp_signature2, answer.certificate
        )

    async def get_bound_profile_package(self, _: web.Request, body: bytes) -> bytes:
        """5.6.2."""
        request = messages.decode(messages.GetBoundProfilePackage, body)
        transaction_id = _transaction(request.transaction_id)
        package = await self._downloads.get_bound_profile_package(
            transaction_id, messages.member(request.prepare_download_response, "prepareDownloadResponse")
        )
        return messages.bound(transaction_id, package)

    async def handle_notification(self, _: web.Request, body: bytes) -> None:
        """5.6.4: 204 once the bytes are committed, whatever they say."""
        request = messages.decode(messages.HandleNotification, body)
        await self._notifications.handle_notification(
            messages.member(request.pending_notification, "pendingNotification")
        )

    async def cancel_session(self, _: web.Request, body: bytes) -> bytes:
        """5.6.5."""
        request = messages.decode(messages.CancelSession, body)
        transaction_id = _transaction(request.transaction_id)
        await self._cancellation.cancel_session(
            transaction_id, messages.member(request.cancel_session_response, "cancelSessionResponse")
        )
        return messages.cancelled()


def _transaction(text: str) -> TransactionId:
    transaction_id = TransactionId.parse(text)
    structlog.contextvars.bind_contextvars(transaction_id=str(transaction_id))
    return transaction_id

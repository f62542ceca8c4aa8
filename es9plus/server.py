"""ES9+ as HTTP: five functions, in the JSON binding and the ASN.1 binding (SGP.22 5.6, 6.5.2.6 to 6.5.2.10, 6.6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from es9plus import asn1, messages, requests
from es9plus.requests import CardResponse, Spelling
from smdp.cancellation import Cancellation
from smdp.downloads import Downloads
from smdp.notification import Notifications
from transport.functions import Choose, Chosen, Interface, Route
from transport.reading import Request


class Es9Plus:
    """Decodes, calls the use case, encodes."""

    def __init__(self, downloads: Downloads, cancellation: Cancellation, notifications: Notifications) -> None:
        self._downloads = downloads
        self._cancellation = cancellation
        self._notifications = notifications
        self._functions: dict[str, Callable[[Spelling, Request, bytes], Awaitable[bytes | None]]] = {
            requests.INITIATE_AUTHENTICATION: self.initiate_authentication,
            requests.AUTHENTICATE_CLIENT: self.authenticate_client,
            requests.GET_BOUND_PROFILE_PACKAGE: self.get_bound_profile_package,
            requests.HANDLE_NOTIFICATION: self.handle_notification,
            requests.CANCEL_SESSION: self.cancel_session,
        }

    def routes(self, interface: Interface) -> list[Route]:
        """The routes of the JSON binding."""
        return [interface.route(name, partial(call, messages)) for name, call in self._functions.items()]

    def choosing(self, interface: Interface) -> Choose:
        """What the one path of the ASN.1 binding asks about a body: which function of `interface` it calls."""
        chosen = {
            name: Chosen(interface=interface, function=name, call=partial(call, asn1))
            for name, call in self._functions.items()
        }
        return lambda body: chosen[asn1.function_of(body)]

    async def initiate_authentication(self, spelling: Spelling, _: Request, body: bytes) -> bytes:
        """5.6.1."""
        request = spelling.initiate_authentication(body)
        answer = await self._downloads.initiate_authentication(
            request.euicc_challenge, request.euicc_info1, request.smdp_address
        )
        structlog.contextvars.bind_contextvars(transaction_id=str(answer.transaction_id))
        return spelling.initiated(answer)

    async def authenticate_client(self, spelling: Spelling, _: Request, body: bytes) -> bytes:
        """5.6.3."""
        request = _logged(spelling.authenticate_client(body))
        return spelling.authenticated(
            await self._downloads.authenticate_client(request.transaction_id, request.response)
        )

    async def get_bound_profile_package(self, spelling: Spelling, _: Request, body: bytes) -> bytes:
        """5.6.2."""
        request = _logged(spelling.get_bound_profile_package(body))
        package = await self._downloads.get_bound_profile_package(request.transaction_id, request.response)
        return spelling.bound(request.transaction_id, package)

    async def handle_notification(self, spelling: Spelling, _: Request, body: bytes) -> None:
        """5.6.4: 204 once the bytes are committed, whatever they say."""
        await self._notifications.handle_notification(spelling.handle_notification(body))

    async def cancel_session(self, spelling: Spelling, _: Request, body: bytes) -> bytes:
        """5.6.5."""
        request = _logged(spelling.cancel_session(body))
        await self._cancellation.cancel_session(request.transaction_id, request.response)
        return spelling.cancelled()


def _logged(request: CardResponse) -> CardResponse:
    structlog.contextvars.bind_contextvars(transaction_id=str(request.transaction_id))
    return request

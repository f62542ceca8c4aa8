"""ESipa as HTTP: the functions of the ASN.1 binding, told apart by their first tag (SGP.32 6.3)."""

from __future__ import annotations

import structlog
from aiohttp import web

from eim.polling import Polling
from eim.results import Results
from esipa import messages
from rsp import esep
from rsp.errors import Malformed
from transport.functions import Interface


class Esipa:
    """Decodes, calls the use case, encodes. GetEimPackage is open to everybody by design of the standard."""

    def __init__(self, polling: Polling, results: Results) -> None:
        self._polling = polling
        self._results = results
        self._functions = {
            messages.GET_EIM_PACKAGE: self.get_eim_package,
            messages.PROVIDE_EIM_PACKAGE_RESULT: self.provide_eim_package_result,
            messages.HANDLE_NOTIFICATION: self.handle_notification,
        }

    def routes(self, interface: Interface) -> list[web.RouteDef]:
        """The one route of the ASN.1 binding."""
        return [interface.route(messages.FUNCTION, self.dispatch)]

    async def dispatch(self, _: web.Request, body: bytes) -> bytes | None:
        """Call the function that the first tag names. Raises Malformed for one that is none of ESipa's."""
        tag = esep.first_tag(body)
        call = self._functions.get(tag)
        if call is None:
            raise Malformed(f"{tag:X} is no function of ESipa here: send BF4F, BF50 or BF3D")
        structlog.contextvars.bind_contextvars(message=call.__name__)
        return await call(body)

    async def get_eim_package(self, body: bytes) -> bytes:
        """GetEimPackage: one package, or why there is none."""
        try:
            request = esep.parse_get_eim_package(body)
        except esep.EidMissing:
            return esep.eim_package_error(esep.EimPackageError.MISSING_EID)
        except esep.EidInvalid:
            return esep.eim_package_error(esep.EimPackageError.INVALID_EID)
        structlog.contextvars.bind_contextvars(eid=str(request.eid))
        return await self._polling.get_eim_package(request)

    async def provide_eim_package_result(self, body: bytes) -> bytes:
        """ProvideEimPackageResult: acknowledged once the bytes are committed, whatever they say."""
        return await self._results.provide_eim_package_result(body)

    async def handle_notification(self, body: bytes) -> None:
        """HandleNotification: 204 once the bytes are committed, whatever they say."""
        await self._results.handle_notification(body)

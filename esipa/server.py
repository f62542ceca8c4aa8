"""ESipa as HTTP: the functions of the ASN.1 binding, told apart by their first tag (SGP.32 6.3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from eim.polling import Polling
from eim.results import Results
from esipa import messages
from rsp import esep
from rsp.errors import Malformed
from transport.functions import Choose, Chosen, Interface
from transport.reading import Request


class Esipa:
    """Decodes, calls the use case, encodes. GetEimPackage is open to everybody by design of the standard."""

    def __init__(self, polling: Polling, results: Results) -> None:
        self._polling = polling
        self._results = results
        self._functions: dict[int, tuple[str, Callable[[Request, bytes], Awaitable[bytes | None]]]] = {
            messages.GET_EIM_PACKAGE: ("getEimPackage", self.get_eim_package),
            messages.PROVIDE_EIM_PACKAGE_RESULT: ("provideEimPackageResult", self.provide_eim_package_result),
            messages.HANDLE_NOTIFICATION: ("handleNotification", self.handle_notification),
        }

    def choosing(self, interface: Interface) -> Choose:
        """What the one path of the ASN.1 binding asks about a body: which function of `interface` its first tag names.

        Raises Malformed for one that is none of ESipa's.
        """
        chosen = {
            tag: Chosen(interface=interface, function=name, call=call) for tag, (name, call) in self._functions.items()
        }

        def choose(body: bytes) -> Chosen:
            tag = esep.first_tag(body)
            found = chosen.get(tag)
            if found is None:
                known = ", ".join(f"{tag:X}" for tag in chosen)
                raise Malformed(f"{tag:X} is no function of ESipa here: send one of {known}")
            return found

        return choose

    async def get_eim_package(self, _: Request, body: bytes) -> bytes:
        """GetEimPackage: one package, or why there is none."""
        try:
            request = esep.parse_get_eim_package(body)
        except esep.EidMissing:
            return esep.eim_package_error(esep.EimPackageError.MISSING_EID)
        except esep.EidInvalid:
            return esep.eim_package_error(esep.EimPackageError.INVALID_EID)
        structlog.contextvars.bind_contextvars(eid=str(request.eid))
        return await self._polling.get_eim_package(request)

    async def provide_eim_package_result(self, _: Request, body: bytes) -> bytes:
        """ProvideEimPackageResult: acknowledged once the bytes are committed, whatever they say."""
        return await self._results.provide_eim_package_result(body)

    async def handle_notification(self, _: Request, body: bytes) -> None:
        """HandleNotification: 204 once the bytes are committed, whatever they say."""
        await self._results.handle_notification(body)

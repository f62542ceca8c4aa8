"""An SM-DS: ES12 for SM-DP+ over mutual TLS, ES11 for devices; troublesome on demand (SGP.22 3.6, 5.8, 5.10).

ES11 is spelled as ES9+ is, because a device that goes to an address does not know which of the two it will find there;
it is answered below `es11/` as well.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509

from rsp.identifiers import Eid
from rsp.status import Status
from simulator.exchange import PROTOCOL
from simulator.smds_book import Book, Registered, Request, SmdsRefused, read_request
from simulator.smds_certificates import SmdsIssuer
from simulator.smds_sessions import Sessions

ES12, ES11 = "/gsma/rsp2/es12/", ("/gsma/rsp2/es9plus/", "/gsma/rsp2/es11/")
_ROLES_OF_SERVERS = {"2.23.146.1.2.1.3", "2.23.146.1.2.1.6"}


class Trouble(Enum):
    """How a call of ES12 goes wrong. BEFORE: nothing is done. AFTER: it is done and only the answer is lost.

    HELD waits for `resume` and is done then, whether or not the caller is still there.
    """

    ERROR_BEFORE = "500 before"
    ERROR_AFTER = "500 after"
    DROP_BEFORE = "connection lost before"
    DROP_AFTER = "connection lost after"
    GARBAGE = "an answer of no form"
    HELD = "no answer"


_UNDONE = frozenset({Trouble.ERROR_BEFORE, Trouble.DROP_BEFORE, Trouble.GARBAGE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One call of ES12 that could be read, whatever came of it; `owner` is the OID in the caller's certificate."""

    function: str
    owner: str
    request: Request


class SmDs:
    """The server; use it as an async context manager.

    `seen` are the calls of ES12 in order, `faults` says what was wrong with those that could not be read.

    An alternative SM-DS has a `root`, to which it cascades events when it is asked to.
    """

    def __init__(
        self,
        issuers: Sequence[SmdsIssuer],
        *,
        address: str = "smds.example.com",
        port: int = 0,
        root: SmDs | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`issuers`: one for each CI; the first one, on NIST P-256, issues the TLS certificate too."""
        self.address = address
        self.port = port
        self.root = root
        self.book = Book()
        self.seen: list[Seen] = []
        self.faults: list[str] = []
        self._issuers = issuers
        self._sessions = Sessions(address, self.book, issuers, now)
        self._troubles: dict[str, list[Trouble | Status]] = {}
        self._resumed = asyncio.Event()
        self._news = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> SmDs:
        app = web.Application()
        for function in ("registerEvent", "deleteEvent"):
            app.router.add_post(ES12 + function, self._handler(function))
        sessions = self._sessions
        for prefix in ES11:
            app.router.add_post(prefix + "initiateAuthentication", self._es11(sessions.initiate_authentication))
            app.router.add_post(prefix + "authenticateClient", self._es11(sessions.authenticate_client))
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls()).start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self.resume()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def fail_next(self, function: str, trouble: Trouble | Status, times: int = 1) -> None:
        """Let the next calls of registerEvent or deleteEvent go wrong; a Status refuses with its codes, undone."""
        if trouble is Trouble.HELD:
            self._resumed.clear()
        self._troubles.setdefault(function, []).extend([trouble] * times)

    def forget_troubles(self) -> None:
        """Let everything go well from now on."""
        self._troubles.clear()

    def resume(self) -> None:
        """Do and answer what is held."""
        self._resumed.set()

    def events(self, eid: Eid) -> list[tuple[str, str]]:
        """(EventID, RSP server address) of the events of an eUICC."""
        return [(str(event.event_id), event.rsp_server_address) for event in self.book.of(eid)]

    def calls(self, function: str) -> list[Request]:
        """The calls of one function so far."""
        return [seen.request for seen in self.seen if seen.function == function]

    async def wait_for(self, satisfied: Callable[[SmDs], bool], *, within: float = 10.0) -> None:
        """Return when `satisfied`, asked again after every call of ES12. Raises TimeoutError."""
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(lambda: satisfied(self))

    def _tls(self) -> ssl.SSLContext:
        """Clients may show a certificate of a CI: ES12 asks for one, devices have none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_OPTIONAL
        for issuer in self._issuers:
            context.load_verify_locations(cadata=issuer.ci_certificate)
        with tempfile.TemporaryDirectory() as folder:
            context.load_cert_chain(self._issuers[0].tls(self.address).write(Path(folder) / "tls.pem"))
        return context

    def _handler(self, function: str) -> Callable[[web.Request], Any]:
        async def handle(http: web.Request) -> web.Response:
            owner = _owner(http)
            if owner is None:
                return web.Response(status=403, text="ES12 is for SM-DP+ and SM-DS that show their TLS certificate")
            try:
                _check_headers(http)
                request = read_request(function, await http.read())
            except (ValueError, KeyError) as error:
                self.faults.append(f"{function}: {error}")
                return web.Response(status=400, text=str(error))
            return await self._es12(http, Seen(function=function, owner=owner, request=request))

        return handle

    async def _es12(self, http: web.Request, seen: Seen) -> web.Response:
        waiting = self._troubles.get(seen.function, [])
        trouble = waiting.pop(0) if waiting else None
        await self._tell(seen)
        if trouble is Trouble.HELD:
            await self._resumed.wait()
        answer = _answer({})
        if isinstance(trouble, Status):
            answer = _refusal(SmdsRefused(trouble))
        elif trouble not in _UNDONE:
            answer = self._done(seen)
            await self._tell(None)
        if trouble in (Trouble.DROP_BEFORE, Trouble.DROP_AFTER) and http.transport is not None:
            http.transport.abort()
        if trouble in (Trouble.ERROR_BEFORE, Trouble.ERROR_AFTER, Trouble.DROP_BEFORE, Trouble.DROP_AFTER):
            return web.Response(status=500)
        return web.Response(text="<html>") if trouble is Trouble.GARBAGE else answer

    async def _tell(self, seen: Seen | None) -> None:
        async with self._news:
            if seen is not None:
                self.seen.append(seen)
            self._news.notify_all()

    def _done(self, seen: Seen) -> web.Response:
        try:
            if seen.function == "registerEvent":
                self._register(seen)
            else:
                self.book.remove(seen.owner, seen.request.eid, seen.request.event_id)
                self._uncascade(seen.request)
        except SmdsRefused as refused:
            return _refusal(refused)
        return _answer({})

    def _register(self, seen: Seen) -> None:
        request = seen.request
        self.book.add(_registered(seen.owner, request, request.address))
        if request.forwarding and self.root is not None:
            # ES15: at the root the event leads to this SM-DS.
            self.root.book.add(_registered(self.address, request, self.address))

    def _uncascade(self, request: Request) -> None:
        if self.root is not None and (str(request.event_id), self.address) in self.root.events(request.eid):
            self.root.book.remove(self.address, request.eid, request.event_id)

    def _es11(self, function: Callable[[bytes], dict[str, Any]]) -> Callable[[web.Request], Any]:
        async def handle(http: web.Request) -> web.Response:
            try:
                _check_headers(http)
                return _answer(function(await http.read()))
            except SmdsRefused as refused:
                return _refusal(refused)
            except (ValueError, KeyError) as error:
                self.faults.append(str(error))
                return web.Response(status=400, text=str(error))

        return handle


def _registered(owner: str, request: Request, address: str) -> Registered:
    return Registered(
        owner=owner,
        eid=request.eid,
        event_id=request.event_id,
        rsp_server_address=address,
        forwarding=request.forwarding,
    )


def _owner(http: web.Request) -> str | None:
    """The OID of the SM-DP+ or SM-DS whose TLS certificate the connection shows; None without a right one."""
    connection = http.transport.get_extra_info("ssl_object") if http.transport else None
    der = connection.getpeercert(binary_form=True) if connection else None
    if not der:
        return None
    extensions = x509.load_der_x509_certificate(der).extensions
    policies = extensions.get_extension_for_class(x509.CertificatePolicies).value
    if not _ROLES_OF_SERVERS & {policy.policy_identifier.dotted_string for policy in policies}:
        return None
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return next((name.value.dotted_string for name in names if isinstance(name, x509.RegisteredID)), None)


def _check_headers(http: web.Request) -> None:
    if http.content_type != "application/json":
        raise ValueError(f"Content-Type {http.content_type!r} is not application/json")
    if not http.headers.get("X-Admin-Protocol", "").startswith("gsma/rsp/v"):
        raise ValueError("X-Admin-Protocol: gsma/rsp/v<x.y.z> is missing")


def _answer(members: dict[str, Any]) -> web.Response:
    header = {"functionExecutionStatus": {"status": "Executed-Success"}}
    return _json({"header": header, **members})


def _refusal(refused: SmdsRefused) -> web.Response:
    codes = {"subjectCode": refused.status.subject, "reasonCode": refused.status.reason, "message": str(refused)[:127]}
    return _json({"header": {"functionExecutionStatus": {"status": "Failed", "statusCodeData": codes}}})


def _json(body: dict[str, Any]) -> web.Response:
    return web.Response(
        body=json.dumps(body).encode(), content_type="application/json", headers={"X-Admin-Protocol": PROTOCOL}
    )

"""A Control Center platform over HTTP, built to its public documentation: strict, and troublesome on demand.

HTTP Basic with an API key, JSON in ISO-8859-1, error codes that are strings, one call at a time, five in a second.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from aiohttp import web

from simulator.platforms.control_center_book import EDITABLE, Book, Rejected
from simulator.platforms.control_center_messages import (
    audit_trail,
    details,
    error_answer,
    json_answer,
    rate_limited,
    read_iccid,
    read_members,
    read_texts,
    session_info,
    unauthorised,
)

PATH = "/rws/api/v1"
_PER_SECOND = 5
_LATE_READS = 2


class Trouble(Enum):
    """How a call goes wrong. BEFORE: nothing is done. AFTER: it is done and only the answer is lost.

    HELD waits for `resume` and is done then, whether or not the caller is still there. LATER answers 202 and is done
    when the device has been read twice more. TWICE: something on the way asks a second time, and that is answered.
    """

    RATE_LIMIT = "429"
    ERROR_BEFORE = "500 before"
    ERROR_AFTER = "500 after"
    BUSY_BEFORE = "503 before"
    BUSY_AFTER = "503 after"
    GATEWAY_AFTER = "504 after"
    DROP_BEFORE = "connection lost before"
    DROP_AFTER = "connection lost after"
    HELD = "no answer"
    LATER = "202"
    TWICE = "done twice"


_STATUS = {
    Trouble.ERROR_BEFORE: 500,
    Trouble.ERROR_AFTER: 500,
    Trouble.BUSY_BEFORE: 503,
    Trouble.BUSY_AFTER: 503,
    Trouble.GATEWAY_AFTER: 504,
}
_BEFORE = {Trouble.ERROR_BEFORE, Trouble.BUSY_BEFORE, Trouble.DROP_BEFORE, Trouble.RATE_LIMIT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request with valid credentials: which operation, about which device, and the status it was answered with.

    The status is 0 when the connection was broken instead.
    """

    operation: str
    iccid: str
    status: int


@dataclass(slots=True, kw_only=True)
class _User:
    """What the limits know about one user."""

    api_key: str
    busy: bool = False
    recent: deque[float] = field(default_factory=lambda: deque[float](maxlen=_PER_SECOND))


@dataclass(slots=True, kw_only=True)
class _Late:
    """A change that was accepted and is done after so many reads."""

    change: Callable[[], object]
    reads: int = _LATE_READS


class ControlCenter:
    """The platform's server; use it as an async context manager. `seen` are the requests it was asked, in order.

    `held` is how many wait for `resume`.
    """

    def __init__(
        self,
        book: Book,
        users: Mapping[str, str],
        *,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`users` maps names to API keys. `clock` in seconds serves the limit of calls per second."""
        self.book = book
        self.seen: list[Seen] = []
        self.held = 0
        self.port = port
        self._users = {name: _User(api_key=key) for name, key in users.items()}
        self._tls = tls
        self._clock = clock
        self._troubles: dict[str, list[Trouble | None]] = {}
        self._resumed = asyncio.Event()
        self._news = asyncio.Condition()
        self._late: list[_Late] = []
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """Where the API is, up to and with its version."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}{PATH}"

    async def __aenter__(self) -> ControlCenter:
        app = web.Application()
        routes = (
            ("GET", "/echo/{param}", "echo", self._echo),
            ("GET", "/devices/{iccid}", "read", self._read),
            ("PUT", "/devices/{iccid}", "edit", self._edit),
            ("GET", "/devices/{iccid}/sessionInfo", "session", self._session),
            ("GET", "/devices/{iccid}/auditTrails", "audit", self._audit),
            ("POST", "/devices/transferDeviceToAccount", "transfer", self._transfer),
        )
        for method, path, operation, handler in routes:
            app.router.add_route(method, PATH + path, self._guarded(operation, handler))
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls).start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self.resume()
        if self._runner is not None:
            await self._runner.cleanup()

    def fail_next(self, operation: str, trouble: Trouble, times: int = 1, *, after: int = 0) -> None:
        """Let the next calls of an operation (echo, read, edit, session, audit, transfer) go wrong.

        `after` so many that go well.
        """
        if trouble is Trouble.HELD:
            self._resumed.clear()
        self._troubles.setdefault(operation, []).extend([None] * after + [trouble] * times)

    def recover(self) -> None:
        """Nothing goes wrong any more; what is held is done and answered."""
        self._troubles.clear()
        self.resume()

    def resume(self) -> None:
        """Do and answer what is held."""
        self._resumed.set()

    def count(self, operation: str) -> int:
        """How many calls of an operation came, with valid credentials."""
        return sum(seen.operation == operation for seen in self.seen)

    async def wait_for(self, operation: str, count: int, *, within: float = 10.0) -> None:
        """Return when so many calls of an operation were answered. Raises TimeoutError after `within` seconds."""
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(lambda: self.count(operation) >= count)

    async def wait_until_held(self, *, within: float = 10.0) -> None:
        """Return when a call waits for `resume`. Raises TimeoutError after `within` seconds."""
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(lambda: self.held > 0)

    def _guarded(
        self, operation: str, handler: Callable[[web.Request, str], Awaitable[Callable[[], dict[str, Any]]]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            name = self._authenticated(request)
            if name is None:
                return unauthorised(request)
            user = self._users[name]
            if self._too_fast(user):
                return self._answered(request, operation, rate_limited())
            user.busy = True
            try:
                return await self._troubled(request, operation, await handler(request, name))
            except Rejected as error:
                return self._answered(request, operation, error_answer(error.status, error.code, str(error)))
            finally:
                user.busy = False
                async with self._news:
                    self._news.notify_all()

        return handle

    async def _troubled(self, request: web.Request, operation: str, act: Callable[[], dict[str, Any]]) -> web.Response:
        waiting = self._troubles.get(operation, [])
        trouble = waiting.pop(0) if waiting else None
        if trouble is Trouble.HELD:
            self.held += 1
            async with self._news:
                self._news.notify_all()
            await self._resumed.wait()
            self.held -= 1
        if trouble is Trouble.LATER:
            self._late.append(_Late(change=act))
            return self._answered(request, operation, json_answer(202, {}))
        answer = {} if trouble in _BEFORE else act()
        if trouble is Trouble.TWICE:
            answer = act()
        if trouble is Trouble.RATE_LIMIT:
            return self._answered(request, operation, rate_limited())
        if trouble in (Trouble.DROP_BEFORE, Trouble.DROP_AFTER):
            return self._dropped(request, operation)
        if trouble in _STATUS:
            return self._answered(request, operation, error_answer(_STATUS[trouble], "30000001", "Server error"))
        return self._answered(request, operation, json_answer(200, answer))

    def _authenticated(self, request: web.Request) -> str | None:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        try:
            name, _, key = base64.b64decode(credentials, validate=True).decode().partition(":")
        except ValueError:
            return None
        known = self._users.get(name)
        if scheme != "Basic" or known is None or not hmac.compare_digest(known.api_key.encode(), key.encode()):
            return None
        return name

    def _too_fast(self, user: _User) -> bool:
        now = self._clock()
        if user.busy or (len(user.recent) == _PER_SECOND and now - user.recent[0] < 1.0):
            return True
        user.recent.append(now)
        return False

    def _answered(self, request: web.Request, operation: str, response: web.Response) -> web.Response:
        iccid = request.match_info.get("iccid", "")
        self.seen.append(Seen(operation=operation, iccid=iccid, status=response.status))
        return response

    def _dropped(self, request: web.Request, operation: str) -> web.Response:
        self.seen.append(Seen(operation=operation, iccid=request.match_info.get("iccid", ""), status=0))
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    async def _echo(self, request: web.Request, _: str) -> Callable[[], dict[str, Any]]:
        param = request.match_info["param"]
        return lambda: {"param": param}

    async def _read(self, request: web.Request, _: str) -> Callable[[], dict[str, Any]]:
        iccid = read_iccid(request.match_info["iccid"])
        for late in tuple(self._late):
            late.reads -= 1
            if late.reads <= 0:
                self._late.remove(late)
                with suppress(Rejected):  # the platform tells nobody of a late change that fell through
                    late.change()
        return lambda: details(self.book.sim(iccid))

    async def _session(self, request: web.Request, _: str) -> Callable[[], dict[str, Any]]:
        iccid = read_iccid(request.match_info["iccid"])
        return lambda: session_info(self.book.sim(iccid))

    async def _audit(self, request: web.Request, _: str) -> Callable[[], dict[str, Any]]:
        iccid = read_iccid(request.match_info["iccid"])
        return lambda: audit_trail(self.book, iccid)

    async def _edit(self, request: web.Request, user: str) -> Callable[[], dict[str, Any]]:
        iccid = read_iccid(request.match_info["iccid"])
        wanted = read_texts(await read_members(request, EDITABLE))

        def act() -> dict[str, Any]:
            self.book.edit(iccid, wanted, user)
            return {"iccid": iccid.digits}

        return act

    async def _transfer(self, request: web.Request, user: str) -> Callable[[], dict[str, Any]]:
        members = await read_members(request, ("accountId", "iccids", "ratePlanName", "commPlanName", "simState"))
        listed = members.pop("iccids", None)
        if not isinstance(listed, list) or not listed:
            raise Rejected(400, "1000101", "iccids is a list of one or more")
        iccids = tuple(read_iccid(item) for item in listed)
        texts = read_texts(members)
        names = {"ratePlanName": "ratePlan", "commPlanName": "communicationPlan", "simState": "status"}
        wanted = {names[name]: text for name, text in texts.items() if name in names}

        def act() -> dict[str, Any]:
            self.book.transfer(iccids, texts.get("accountId", ""), wanted, user)
            return {"accountId": texts["accountId"], "iccids": [iccid.digits for iccid in iccids]}

        return act

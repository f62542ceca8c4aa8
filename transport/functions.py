"""Binds one GSMA function to one route: limits, errors to answers, log line, metrics (SGP.22 6.2 to 6.5).

The one place where errors become HTTP: Malformed 400, Refused 200 with its code, Unavailable 503, anything else 500.
Further answers without a function: 403, 404, 405, 408, 413, 415 and 429, each with a sentence that says what to do.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import uuid4

import structlog
from aiohttp import hdrs, web

from crypto.vault import VaultUnavailable
from rsp.errors import Malformed, Refused, Unavailable, Unreachable
from rsp.json_binding import failure_header
from rsp.status import Status
from transport.answers import Answer, Head, head_of
from transport.metrics import HttpMetrics
from transport.throttle import Throttle

_log = structlog.get_logger("http")
_LEVELS = logging.getLogger("http")

JSON = "application/json"
RETRY_AFTER_SECONDS = 2
_LONGEST_PATH = 100
AWAY = (Unavailable, VaultUnavailable)
"""What a function raises while something it needs is away: 503."""
_PROTOCOL = "X-Admin-Protocol"
SERVER = "smdp-flex"
"""What a listener calls itself: no version, which would help attackers only."""

_SERVER = {hdrs.SERVER: SERVER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """How functions are written: the media type of requests, the headers of answers, and how they are refused.

    `refusal(function, refused)` is the body that tells a client of a refusal; None where functions tell of theirs
    themselves. The JSON binding has a status code for requests that cannot be read; elsewhere they are answered in
    words.
    """

    media_type: str
    answer_type: str
    protocol: str
    refusal: Callable[[str, Refused], bytes] | None = None
    has_status_codes: bool = False


def _refusal_header(_: str, refused: Refused) -> bytes:
    return b'{"header":%b}' % failure_header(refused.status, refused.detail, refused.subject_identifier)


JSON_BINDING = Binding(
    media_type=JSON,
    answer_type="application/json;charset=UTF-8",
    protocol="gsma/rsp/v2.5.0",
    refusal=_refusal_header,
    has_status_codes=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request may cost: size of the body in bytes, time to send it in seconds."""

    body_bytes: int
    seconds: float


@dataclass(slots=True)
class Gate:
    """Whether the process takes new work; closed while it drains."""

    open: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned(Exception):  # noqa: N818 -- the name is the outcome
    """A request turned away before its function: an HTTP status and a sentence that helps.

    `retry_after` in seconds is told to the client where it is not 0; a 503 always tells one.
    """

    status: int
    text: str
    retry_after: int = 0


Function = Callable[[web.Request, bytes], Awaitable[bytes | None]]
"""Takes the request (for identity only) and its body; returns the body of the answer, or None for 204."""

Choose = Callable[[bytes], "Chosen"]
"""Finds the function that a body calls. Raises Malformed with a sentence that says what to send instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One reference point: its name in logs and metrics, its path prefix, its limits.

    `throttle` limits each client address; None limits none.
    """

    name: str
    prefix: str
    limits: Limits
    metrics: HttpMetrics
    gate: Gate = field(default_factory=Gate)
    throttle: Throttle | None = None
    binding: Binding = JSON_BINDING

    def application(self, routes: Sequence[web.RouteDef]) -> web.Application:
        """`routes` made by `route`, and a sentence for every other path and method."""
        known = frozenset(route.path for route in routes)

        async def lost(request: web.Request) -> web.Response:
            return self._lost(request, known)

        app = web.Application()
        app.add_routes([*routes, web.route("*", "/{path:.*}", lost)])
        return app

    def route(self, function: str, call: Function) -> web.RouteDef:
        """POST `prefix`/`function`, answered by `call`."""
        chosen = Chosen(interface=self, function=function, call=call)

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._answer(function, lambda _: chosen, request)

        return web.post(f"{self.prefix}/{function}", handle)

    def choosing_route(self, path: str, choose: Choose) -> web.RouteDef:
        """POST `prefix`/`path`, answered by whichever function `choose` finds in the body: also one of a neighbour.

        Limits, gate and throttle are those of this interface.
        """

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._answer(path, choose, request)

        return web.post(f"{self.prefix}/{path}", handle)

    async def _answer(self, function: str, choose: Choose, request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        structlog.contextvars.clear_contextvars()
        interface = self
        response: web.StreamResponse
        try:
            if not self.gate.open:
                raise Turned(status=503, text="This process is stopping. Try again.")
            self._admit(request)
            body = await read_body(request, self.limits, self.binding.media_type)
            started = time.perf_counter()
            chosen = choose(body)
            interface, function = chosen.interface, chosen.function
            response = _success(await chosen.call(request, body), interface.binding)
        except Exception as error:  # noqa: BLE001 -- the one place that turns errors into answers
            response = interface._failure(function, error)
        elapsed = time.perf_counter() - started
        interface.metrics.answered(interface.name, function, elapsed)
        if _is_told(logging.INFO):
            ms = round(elapsed * 1000, 2)
            _log.info("answered", interface=interface.name, function=function, status=response.status, ms=ms)
        return response

    def _admit(self, request: web.Request) -> None:
        wait = 0.0 if self.throttle is None else self.throttle.wait(request.remote or "")
        if wait:
            text = "Too many requests from this address. Wait as long as Retry-After says."
            raise Turned(status=429, text=text, retry_after=math.ceil(wait))

    def _lost(self, request: web.Request, known: frozenset[str]) -> web.Response:
        """A path or method nobody serves. Not counted by its name, which the client chose."""
        if request.path in known:
            response = _turned(405, "Functions are called with POST.")
            response.headers[hdrs.ALLOW] = hdrs.METH_POST
        else:
            response = _turned(404, f"There is no such function here. Functions are below {self.prefix}/.")
        response.headers[_PROTOCOL] = self.binding.protocol
        self.metrics.fault(self.name, "unknown", response.status)
        # A path of another generation, such as /gsma/rsp3/, tells of clients that want what is not here yet. One below
        # our own says nothing but what the client has put into it, and that may be a secret.
        another = request.raw_path.startswith("/gsma/") and not request.raw_path.startswith("/gsma/rsp2/")
        asked = request.raw_path[:_LONGEST_PATH] if another else ""
        _log.info("lost", interface=self.name, status=response.status, path=asked)
        return response

    def _failure(self, function: str, error: Exception) -> web.StreamResponse:
        if isinstance(error, Refused) and self.binding.refusal:
            codes = (error.status.subject, error.status.reason)
            self.metrics.refused(self.name, function, codes)
            _log.info("refused", interface=self.name, function=function, code="/".join(codes), why=_why(error))
            return _success(self.binding.refusal(function, error), self.binding)
        if isinstance(error, Malformed) and not self.binding.has_status_codes:
            _log.info("malformed", why=str(error))
            error = Turned(status=400, text=str(error))
        response = _fault(error)
        response.headers[_PROTOCOL] = self.binding.protocol
        self.metrics.fault(self.name, function, response.status)
        return response


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The function a body calls, and the interface it belongs to: its name in logs, its binding."""

    interface: Interface
    function: str
    call: Function


def _why(refused: Refused) -> str:
    """For the log: what the client is told, else who could not be reached. What others have written is left out."""
    lost = refused.__cause__
    if refused.detail or not isinstance(lost, Unreachable):
        return refused.detail
    return str(lost) if lost.__cause__ else "the other side gave no answer of the standard"


@lru_cache
def _heads(binding: Binding) -> tuple[Head, Head]:
    """Of answers with a body and of those without."""
    protocol = (_PROTOCOL, binding.protocol)
    return head_of(SERVER, protocol, binding.answer_type), head_of(SERVER, protocol, None)


def _success(answer: bytes | None, binding: Binding) -> Answer:
    return Answer(_heads(binding)[answer is None], answer)


def _malformed(error: Malformed) -> web.Response:
    body = _refusal_header("", Refused(Status.MALFORMED, str(error)))
    return web.Response(status=400, body=body, headers={**_SERVER, hdrs.CONTENT_TYPE: JSON_BINDING.answer_type})


def _fault(error: Exception) -> web.Response:
    """What is no answer of a function: the request was wrong, we are away, or we are broken."""
    if isinstance(error, Malformed):
        _log.info("malformed", why=str(error))
        return _malformed(error)
    if isinstance(error, AWAY):
        _log.warning("unavailable", why=type(error).__name__)
        return _turned(503, "The server cannot reach its database or vault. Try again.")
    if isinstance(error, Turned):
        return _turned(error.status, error.text, error.retry_after)
    if isinstance(error, web.HTTPException):
        return _turned(error.status, error.reason)
    incident = uuid4().hex
    _log.error("failed", incident=incident, exc_info=error)
    return _turned(500, f"Internal error. Tell the operator of this server the incident id {incident}.")


def _turned(status: int, text: str, retry_after: int = 0) -> web.Response:
    response = web.Response(status=status, text=text, headers=_SERVER)
    if status == 503 or retry_after:
        response.headers[hdrs.RETRY_AFTER] = str(retry_after or RETRY_AFTER_SECONDS)
    if status in (408, 413, 503):
        response.force_close()
    return response


async def read_body(request: web.Request, limits: Limits, media_type: str = JSON) -> bytes:
    """The body within its limits of form, size and time."""
    if request.headers.get(hdrs.CONTENT_TYPE) != media_type and request.content_type != media_type:
        raise Turned(status=415, text=f"Send Content-Type: {media_type}.")
    if (request.content_length or 0) > limits.body_bytes:
        raise _too_large(limits)
    if request.content.is_eof() and request.content.exception() is None:
        # All of it came with the headers, as it does from most clients.
        body = request.content.read_nowait()
        if len(body) > limits.body_bytes:
            raise _too_large(limits)
        return body
    return await _read_slowly(request, limits)


async def _read_slowly(request: web.Request, limits: Limits) -> bytes:
    """A body that is still on its way."""
    chunks = bytearray()
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.content.iter_any():
                chunks += chunk
                if len(chunks) > limits.body_bytes:
                    raise _too_large(limits)
    except TimeoutError:
        raise Turned(status=408, text=f"The body did not arrive within {limits.seconds:g} seconds.") from None
    except (ConnectionError, web.RequestPayloadError):
        raise Turned(status=400, text="The body could not be read to its end.") from None
    return bytes(chunks)


def _too_large(limits: Limits) -> Turned:
    return Turned(status=413, text=f"The body is larger than {limits.body_bytes} bytes.")


def _is_told(level: int) -> bool:
    """Whether the log takes events of this level: those it drops need not be put together."""
    return not structlog.is_configured() or _LEVELS.isEnabledFor(level)

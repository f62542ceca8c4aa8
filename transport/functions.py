"""Binds one GSMA function to one route: limits, errors to answers, log line, metrics (SGP.22 6.2 to 6.5).

The one place where errors become HTTP: Malformed 400, Refused 200 with its code, Unavailable 503, anything else 500.
Further answers without a function: 403, 404, 405, 408, 413, 415 and 429, each with a sentence that says what to do.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import uuid4

import structlog
from aiohttp import hdrs

from crypto.vault import VaultUnavailable
from rsp.errors import Malformed, Refused, Unavailable, Unreachable
from rsp.json_binding import failure_header
from rsp.status import Status
from transport.answers import Answer, Head
from transport.metrics import HttpMetrics
from transport.reading import Request
from transport.throttle import Throttle

_log = structlog.get_logger("http")
_LEVELS = logging.getLogger("http")

JSON = "application/json"
RETRY_AFTER_SECONDS = 2
_LONGEST_PATH = 100
AWAY = (Unavailable, VaultUnavailable)
"""What a function raises while something it needs is away: 503."""
_PROTOCOL = "X-Admin-Protocol"
_TEXT = "text/plain; charset=utf-8"
SERVER = "smdp-flex"
"""What a listener calls itself: no version, which would help attackers only."""


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

    def too_large(self) -> Turned:
        """What a larger body is told."""
        return Turned(status=413, text=f"The body is larger than {self.body_bytes} bytes.", last=True)


@dataclass(slots=True)
class Gate:
    """Whether the process takes new work; closed while it drains."""

    open: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned(Exception):  # noqa: N818 -- the name is the outcome
    """A request turned away before its function: an HTTP status and a sentence that helps.

    `retry_after` in seconds is told to the client where it is not 0; a 503 always tells one. The connection ends after
    the `last`, after a 408 and after a 503.
    """

    status: int
    text: str
    retry_after: int = 0
    last: bool = False


Function = Callable[[Request, bytes], Awaitable[bytes | None]]
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

    def application(self, routes: Sequence[Route]) -> Service:
        """`routes` made by `route`, and a sentence for every other path and method."""
        return Service(self, routes)

    def route(self, function: str, call: Function) -> Route:
        """POST `prefix`/`function`, answered by `call`."""
        chosen = Chosen(interface=self, function=function, call=call)
        return Route(path=f"{self.prefix}/{function}", interface=self, name=function, choose=lambda _: chosen)

    def choosing_route(self, path: str, choose: Choose) -> Route:
        """POST `prefix`/`path`, answered by whichever function `choose` finds in the body: also one of a neighbour.

        Limits, gate and throttle are those of this interface.
        """
        return Route(path=f"{self.prefix}/{path}", interface=self, name=path, choose=choose)

    def failure(self, function: str, error: Exception) -> Answer:
        """The answer to what went wrong with a request to `function`, counted."""
        if isinstance(error, Refused) and self.binding.refusal:
            codes = (error.status.subject, error.status.reason)
            self.metrics.refused(self.name, function, codes)
            _log.info("refused", interface=self.name, function=function, code="/".join(codes), why=_why(error))
            return _success(self.binding.refusal(function, error), self.binding)
        if isinstance(error, Malformed) and not self.binding.has_status_codes:
            _log.info("malformed", why=str(error))
            error = Turned(status=400, text=str(error))
        answer = _fault(error, self.binding)
        self.metrics.fault(self.name, function, answer.status)
        return answer

    def told(self, function: str, answer: Answer, started: float) -> Answer:
        """`answer`, timed and written to the log."""
        elapsed = time.perf_counter() - started
        self.metrics.answered(self.name, function, elapsed)
        if _is_told(logging.INFO):
            ms = round(elapsed * 1000, 2)
            _log.info("answered", interface=self.name, function=function, status=answer.status, ms=ms)
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One path. `name` is what its requests are called until the body tells which function of whom `choose` finds."""

    path: str
    interface: Interface
    name: str
    choose: Choose

    def admit(self, request: Request) -> None:
        """See by its header whether the body of a request may come. Raises Turned."""
        interface = self.interface
        if not interface.gate.open:
            raise Turned(status=503, text="This process is stopping. Try again.")
        wait = 0.0 if interface.throttle is None else interface.throttle.wait(request.remote)
        if wait:
            text = "Too many requests from this address. Wait as long as Retry-After says."
            raise Turned(status=429, text=text, retry_after=math.ceil(wait))
        media_type = interface.binding.media_type
        if request.header(hdrs.CONTENT_TYPE) != media_type and request.media_type != media_type:
            raise Turned(status=415, text=f"Send Content-Type: {media_type}.")

    def turn_away(self, turned: Turned) -> Answer:
        """The answer to a request that came to no function."""
        started = time.perf_counter()
        return self.interface.told(self.name, self.interface.failure(self.name, turned), started)

    async def answer(self, request: Request, body: bytes) -> Answer:
        """Call the function, whatever comes of it."""
        started = time.perf_counter()
        interface, function = self.interface, self.name
        try:
            chosen = self.choose(body)
            interface, function = chosen.interface, chosen.function
            answer = _success(await chosen.call(request, body), interface.binding)
        except Exception as error:  # noqa: BLE001 -- the one place that turns errors into answers
            answer = interface.failure(function, error)
        return interface.told(function, answer, started)


class Service:
    """What one listener answers: routes by their paths, and a sentence for everything else."""

    def __init__(self, interface: Interface, routes: Sequence[Route]) -> None:
        self._interface = interface
        self._routes = {route.path: route for route in routes}

    @property
    def limits(self) -> Limits:
        """Those of the interface."""
        return self._interface.limits

    def route_of(self, request: Request) -> Route | None:
        """Where a request goes, if anywhere."""
        return self._of_path(request) if request.method == hdrs.METH_POST else None

    def _of_path(self, request: Request) -> Route | None:
        return self._routes.get(request.target) or self._routes.get(request.path)

    def lost(self, request: Request) -> Answer:
        """The answer to a path or method nobody serves. Not counted by its name, which the client chose."""
        interface = self._interface
        more: dict[str, str] = {}
        if self._of_path(request) is not None:
            turned = Turned(status=405, text="Functions are called with POST.")
            more[hdrs.ALLOW] = hdrs.METH_POST
        else:
            text = f"There is no such function here. Functions are below {interface.prefix}/."
            turned = Turned(status=404, text=text)
        interface.metrics.fault(interface.name, "unknown", turned.status)
        # A path of another generation, such as /gsma/rsp3/, tells of clients that want what is not here yet. One below
        # our own says nothing but what the client has put into it, and that may be a secret.
        target = request.target
        another = target.startswith("/gsma/") and not target.startswith("/gsma/rsp2/")
        _log.info(
            "lost", interface=interface.name, status=turned.status, path=target[:_LONGEST_PATH] if another else ""
        )
        return _turned(turned, interface.binding, more)

    def unreadable(self) -> Answer:
        """The answer to what is no request of HTTP/1.1, or too much of one."""
        interface = self._interface
        interface.metrics.fault(interface.name, "unknown", 400)
        _log.info("unreadable", interface=interface.name)
        text = "This is no HTTP request that is understood here, or its header is too long."
        return _turned(Turned(status=400, text=text, last=True), interface.binding)


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
    fields = {hdrs.SERVER: SERVER, _PROTOCOL: binding.protocol}
    return Head(200, {**fields, hdrs.CONTENT_TYPE: binding.answer_type}), Head(204, fields)


def _success(answer: bytes | None, binding: Binding) -> Answer:
    return Answer(_heads(binding)[answer is None], answer)


def _fault(error: Exception, binding: Binding) -> Answer:
    """What is no answer of a function: the request was wrong, we are away, or we are broken."""
    if isinstance(error, Malformed):
        _log.info("malformed", why=str(error))
        fields = {hdrs.SERVER: SERVER, _PROTOCOL: binding.protocol, hdrs.CONTENT_TYPE: JSON_BINDING.answer_type}
        return Answer(Head(400, fields), _refusal_header("", Refused(Status.MALFORMED, str(error))))
    if isinstance(error, AWAY):
        _log.warning("unavailable", why=type(error).__name__)
        error = Turned(status=503, text="The server cannot reach its database or vault. Try again.")
    if not isinstance(error, Turned):
        incident = uuid4().hex
        _log.error("failed", incident=incident, exc_info=error)
        text = f"Internal error. Tell the operator of this server the incident id {incident}."
        error = Turned(status=500, text=text)
    return _turned(error, binding)


def _turned(turned: Turned, binding: Binding, more: Mapping[str, str] | None = None) -> Answer:
    fields = {hdrs.SERVER: SERVER, _PROTOCOL: binding.protocol, hdrs.CONTENT_TYPE: _TEXT, **(more or {})}
    if turned.status == 503 or turned.retry_after:
        fields[hdrs.RETRY_AFTER] = str(turned.retry_after or RETRY_AFTER_SECONDS)
    last = turned.last or turned.status in (408, 503)
    return Answer(Head(turned.status, fields), turned.text.encode(), last=last)


def _is_told(level: int) -> bool:
    """Whether the log takes events of this level: those it drops need not be put together."""
    return not structlog.is_configured() or _LEVELS.isEnabledFor(level)

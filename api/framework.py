"""Binds operations to routes: limits, key, scope, types, repetition, errors, log line and metrics of every request."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from api.authentication import Keys, authenticated, permit
from api.bodies import read_body
from api.operation import AnyOperation, Body, Nothing, Request
from api.problems import Problem, problem_of, response
from api.repetition import KeptAnswer, RequestKey, Requests, claimed, request_key
from api.wording import worded
from rsp.errors import Malformed
from tenancy.principal import Act
from transport.functions import Gate, Limits, Turned
from transport.metrics import HttpMetrics
from transport.throttle import Throttle

_B = TypeVar("_B", bound=Body)
_log = structlog.get_logger("api")

CORRELATOR = "x-correlator"
_NAME = "api"
_CORRELATOR = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_CORRELATOR_OF: web.RequestKey[str] = web.RequestKey("correlator", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """What every operation needs. `throttle` limits each client address; None limits none."""

    keys: Keys
    requests: Requests
    now: Callable[[], datetime]
    limits: Limits
    metrics: HttpMetrics
    gate: Gate = field(default_factory=Gate)
    throttle: Throttle | None = None

    def application(self, operations: Sequence[AnyOperation], pages: Sequence[web.RouteDef] = ()) -> web.Application:
        """The operations, `pages` anybody may read, and a problem for every other path and method."""
        app = web.Application(middlewares=[self._envelope()])
        app.add_routes([*(self._route(operation) for operation in operations), *pages])
        return app

    def _route(self, operation: AnyOperation) -> web.RouteDef:
        async def handle(http: web.Request) -> web.Response:
            started = time.perf_counter()
            try:
                return await self._answer(operation, http)
            except Exception as error:  # noqa: BLE001 -- the one place that turns errors into answers
                return self._failure(operation.name, error, http)
            finally:
                self.metrics.answered(_NAME, operation.name, time.perf_counter() - started)

        return web.route(operation.method, operation.path, handle)

    def _envelope(self) -> Middleware:
        """What is the same for every request: its correlator, its log line, and problems of paths nobody serves."""

        @web.middleware
        async def envelope(request: web.Request, handler: Handler) -> web.StreamResponse:
            structlog.contextvars.clear_contextvars()
            given = request.headers.get(CORRELATOR, "")
            request[_CORRELATOR_OF] = given if _CORRELATOR.fullmatch(given) else uuid4().hex
            structlog.contextvars.bind_contextvars(correlator=request[_CORRELATOR_OF])
            try:
                made = await handler(request)
            except web.HTTPException as error:
                made = self._failure("unknown", error, request)
                if hdrs.ALLOW in error.headers:
                    made.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
            made.headers[CORRELATOR] = request[_CORRELATOR_OF]
            made.headers[hdrs.SERVER] = "smdp-flex"
            made.headers["X-Content-Type-Options"] = "nosniff"
            made.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
            return made

        return envelope

    async def _answer(self, operation: AnyOperation, http: web.Request) -> web.Response:
        self._admit(http)
        key = await authenticated(http, self.keys, self.now)
        structlog.contextvars.bind_contextvars(principal=str(key.principal), key=key.id)
        permit(key, operation.scope)
        raw = b"" if operation.body is Nothing and not http.body_exists else await read_body(http, self.limits)
        act = Act(principal=key.principal, scopes=key.scopes, key_id=key.id, correlator=http[_CORRELATOR_OF])
        request: Request[Any, Any] = Request(
            act=act, body=_body(operation, raw), query=_query(operation, http), path=dict(http.match_info)
        )
        if not operation.creates:
            return self._success(operation, _kept(operation, await operation.call(request)))
        return await self._once(operation, request, request_key(http, key.principal, raw))

    async def _once(self, operation: AnyOperation, request: Request[Any, Any], key: RequestKey) -> web.Response:
        """Do a request that makes something, unless it is done."""
        answered = await claimed(self.requests, key)
        if answered is not None:
            return self._success(operation, answered)
        try:
            view = await operation.call(replace(request, act=replace(request.act, request=key.name())))
        except BaseException as error:
            # A refusal changed nothing and frees the key; after anything else only the same request may come again.
            refused = isinstance(error, Exception) and problem_of(error).status < 500
            await self.requests.give_up(key, forget=refused)
            raise
        kept = _kept(operation, operation.kept(view) if operation.kept else view)
        await self.requests.keep(key, kept)
        return self._success(operation, _kept(operation, view))

    def _admit(self, http: web.Request) -> None:
        if not self.gate.open:
            raise Turned(status=503, text="This process is stopping. Try again.")
        wait = 0.0 if self.throttle is None else self.throttle.wait(http.remote or "")
        if wait:
            text = "Too many requests from this address. Wait as long as Retry-After says."
            raise Problem("too_many_requests", text, retry_after=math.ceil(wait))

    def _success(self, operation: AnyOperation, answer: KeptAnswer) -> web.Response:
        _log.info("answered", interface=_NAME, function=operation.name, status=answer.status)
        made = web.Response(status=answer.status, body=answer.body, content_type="application/json")
        if answer.location:
            made.headers[hdrs.LOCATION] = answer.location
        return made

    def _failure(self, function: str, error: Exception, http: web.Request) -> web.Response:
        problem = problem_of(error)
        self.metrics.fault(_NAME, function, problem.status)
        _log.info("refused", interface=_NAME, function=function, status=problem.status, code=problem.code)
        return response(problem, http[_CORRELATOR_OF])


def _kept(operation: AnyOperation, view: Any) -> KeptAnswer:
    location = operation.location(view) if operation.location else ""
    return KeptAnswer(status=operation.status, location=location, body=msgspec.json.encode(view))


def _body(operation: AnyOperation, raw: bytes) -> Any:
    if operation.body is Nothing and not raw:
        return Nothing()
    return parse_body(operation.body, raw)


def parse_body(kind: type[_B], raw: bytes) -> _B:
    """A request body as its type. Raises Malformed, and msgspec.DecodeError for what is no JSON."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise Malformed(worded(error, kind)) from None
    except UnicodeDecodeError:
        raise Malformed("The body is not UTF-8 text.") from None
    except RecursionError:
        raise Malformed("The body is nested too deeply.") from None


def _query(operation: AnyOperation, http: web.Request) -> Any:
    """The query as its type; text becomes numbers and flags where the type says so."""
    if len(set(http.query)) != len(http.query):
        raise Problem("malformed", "Give each member of the query once.")
    try:
        return msgspec.convert(dict(http.query), operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise Malformed(worded(error, operation.query)) from None

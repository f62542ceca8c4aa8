"""Errors of the API as problem documents (RFC 9457), and the one function that turns exceptions into them."""

from __future__ import annotations

from uuid import uuid4

import msgspec
import structlog
from aiohttp import hdrs, web

from eim.association import OnboardingRefused
from eim.ports import EsimExists, EsimUnknown, KeyReused
from rsp.errors import Malformed
from tenancy.principal import BadTerms, Changed, NotAllowed, Taken, Unknown
from transport.functions import AWAY, RETRY_AFTER_SECONDS, Turned

CONTENT_TYPE = "application/problem+json"
_log = structlog.get_logger("api")

CODES: dict[str, tuple[int, str]] = {
    "malformed": (400, "The request does not have the form the document asks for"),
    "idempotency_key_missing": (400, "This operation needs an Idempotency-Key"),
    "unauthenticated": (401, "No good API key came with the request"),
    "not_allowed": (403, "The API key may not do this"),
    "not_found": (404, "There is nothing here"),
    "method_not_allowed": (405, "This path does not know this method"),
    "timeout": (408, "The request took too long to arrive"),
    "conflict": (409, "The request does not fit the present state"),
    "request_in_flight": (409, "The same request is being worked on"),
    "too_large": (413, "The request body is too large"),
    "unsupported_media_type": (415, "The request body is of another type"),
    "unprocessable": (422, "The values do not make sense together"),
    "idempotency_key_reused": (422, "The Idempotency-Key stands for another request"),
    "too_many_requests": (429, "Too many requests"),
    "internal": (500, "A fault of the server"),
    "unavailable": (503, "The server cannot work just now"),
}
"""Every code a problem may have, with its HTTP status and title."""

_BY_STATUS = {400: "malformed", 404: "not_found", 405: "method_not_allowed", 408: "timeout", 413: "too_large"}
_BY_STATUS |= {415: "unsupported_media_type", 429: "too_many_requests", 503: "unavailable"}


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An error: `code` is stable and for programs, `detail` for people; `existing` names what stands in the way."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    correlator: str
    existing: str = ""


class Problem(Exception):  # noqa: N818 -- the name of the RFC
    """An error that an operation answers; `code` is one of CODES, `existing` the path of what stands in the way."""

    def __init__(self, code: str, detail: str, *, existing: str = "", retry_after: int = 0) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.existing = existing
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return CODES[self.code][0]


_MEANINGS: tuple[tuple[type[Exception], str], ...] = (
    (Unknown, "not_found"),
    (NotAllowed, "not_allowed"),
    (Taken, "conflict"),
    (Changed, "conflict"),
    (EsimUnknown, "not_found"),
    (EsimExists, "conflict"),
    (KeyReused, "conflict"),
    (OnboardingRefused, "unprocessable"),
    (BadTerms, "unprocessable"),
    (msgspec.ValidationError, "malformed"),
    (msgspec.DecodeError, "malformed"),
    (Malformed, "malformed"),
)
"""Exceptions of the roles whose text is meant for the caller."""


def problem_of(error: Exception) -> Problem:
    """What an exception means to the caller; one nobody expected is a fault of ours and keeps its text to itself."""
    if isinstance(error, Problem):
        return error
    for kind, code in _MEANINGS:
        if isinstance(error, kind):
            return Problem(code, str(error) or CODES[code][1])
    if isinstance(error, AWAY):
        _log.warning("unavailable", why=type(error).__name__)
        text = "The server cannot reach its database or vault. Try again."
        return Problem("unavailable", text, retry_after=RETRY_AFTER_SECONDS)
    if isinstance(error, Turned):
        retry_after = error.retry_after or (RETRY_AFTER_SECONDS if error.status == 503 else 0)
        return Problem(_BY_STATUS[error.status], error.text, retry_after=retry_after)
    if isinstance(error, web.HTTPException) and error.status in _BY_STATUS:
        return Problem(_BY_STATUS[error.status], error.reason)
    incident = uuid4().hex
    _log.error("failed", incident=incident, exc_info=error)
    return Problem("internal", f"Tell the operator of this server the incident id {incident}.")


def response(problem: Problem, correlator: str) -> web.Response:
    """The problem as an answer."""
    status, title = CODES[problem.code]
    document = ProblemDocument(
        type=f"urn:smdp-flex:problem:{problem.code}",
        title=title,
        status=status,
        code=problem.code,
        detail=problem.detail,
        correlator=correlator,
        existing=problem.existing,
    )
    made = web.Response(status=status, body=msgspec.json.encode(document), content_type=CONTENT_TYPE)
    if problem.retry_after:
        made.headers[hdrs.RETRY_AFTER] = str(problem.retry_after)
    if status == 401:
        made.headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="smdp-flex"'
    if status in (408, 413, 503):
        made.force_close()
    return made

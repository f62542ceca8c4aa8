"""Idempotency-Key: each request that makes something is done once, and a repeated one gets the first answer.

The key is claimed before the work. What the work stores carries the name of the request, so that a repetition after a
crash finds it instead of making it again; then the answer is kept beside the claim.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from aiohttp import web

from api.problems import Problem
from tenancy.principal import Principal

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
LEASE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """A request that is done once: who asks, under which key, and a digest of what is asked."""

    principal: Principal
    key: str
    digest: bytes

    def name(self) -> str:
        """What the request's writes are stored under: 64 hex digits."""
        text = f"{self.principal}\0{self.key}\0".encode() + self.digest
        return hashlib.sha256(text).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """The answer of a request that is done."""

    status: int
    location: str
    body: bytes = field(repr=False)


class Claim(Enum):
    """What became of a claim that found no answer."""

    MINE = "mine"
    IN_FLIGHT = "in flight"
    OTHER_REQUEST = "other request"


class Requests(Protocol):
    """Storage of requests by principal and key. Raises rsp.errors.Unavailable."""

    async def claim(self, request: RequestKey, lease_seconds: float) -> Claim | KeptAnswer:
        """Take the request for a while, or say what is known of it."""

    async def keep(self, request: RequestKey, answer: KeptAnswer) -> None:
        """The request is done."""

    async def give_up(self, request: RequestKey, *, forget: bool) -> None:
        """End the claim: `forget` the key altogether, or leave it to a repetition of the same request."""


def request_key(http: web.Request, principal: Principal, body: bytes) -> RequestKey:
    """The identity of a request that makes something. Raises Problem without a usable Idempotency-Key."""
    key = http.headers.get(HEADER)
    if key is None:
        raise Problem("idempotency_key_missing", f"Send the header {HEADER}, different for each thing to be made.")
    if not _KEY.fullmatch(key):
        raise Problem("malformed", f"{HEADER} is 1 to 255 printable characters without spaces.")
    digest = hashlib.sha256(f"{http.method} {http.rel_url.raw_path}\0".encode() + body).digest()
    return RequestKey(principal=principal, key=key, digest=digest)


async def claimed(requests: Requests, request: RequestKey) -> KeptAnswer | None:
    """None: do it now. Else the answer it had. Raises Problem while it is being done, or when the key is used."""
    found = await requests.claim(request, LEASE_SECONDS)
    if found is Claim.IN_FLIGHT:
        raise Problem("request_in_flight", "Repeat it in a moment.", retry_after=1)
    if found is Claim.OTHER_REQUEST:
        raise Problem("idempotency_key_reused", "Use a new key, or send exactly what was sent with this one.")
    return found if isinstance(found, KeptAnswer) else None

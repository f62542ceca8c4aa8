"""Who calls: `Authorization: Bearer` with an API key (RFC 6750)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from aiohttp import hdrs, web

from api.problems import Problem
from tenancy.keys import ApiKey, parse_token
from tenancy.principal import Scope


class Keys(Protocol):
    """Finds API keys."""

    async def key(self, key_id: int) -> ApiKey | None:
        """One key, whoever owns it."""


async def authenticated(http: web.Request, keys: Keys, now: Callable[[], datetime]) -> ApiKey:
    """The good key of a request. Raises Problem, the same for a key that is unknown, wrong, late or revoked."""
    scheme, _, text = http.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer":
        raise Problem("unauthenticated", "Send Authorization: Bearer and an API key.")
    parsed = parse_token(text.strip())
    if parsed is not None:
        key = await keys.key(parsed[0])
        if key is not None and key.opens(parsed[1], now()):
            return key
    raise Problem("unauthenticated", "This API key is not known, or is no longer good.")


def permit(key: ApiKey, scope: Scope) -> None:
    """Raises Problem when the key does not have the scope."""
    if scope not in key.scopes:
        raise Problem("not_allowed", f"This API key has no scope {scope.value}.")

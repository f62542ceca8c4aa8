"""Calls to Control Center's REST API: HTTP Basic, JSON in ISO-8859-1, the vendor's pauses, and three outcomes."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp
import structlog

from carriers.control_center_values import CHARSET, refusal
from carriers.pace import Pace, Pause
from rsp.errors import Unreachable
from transport.client import read_whole

_LARGEST_ANSWER = 1024 * 1024
_PASSING = (429, 503, 504)
_log = structlog.get_logger("carriers")


class Secret(Protocol):
    """Holds a text that never shows itself."""

    def reveal(self) -> str:
        """The text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Where the API is, with its version (`https://host/rws/api/v1`), and who calls: a user and that user's API key."""

    base_url: str
    username: str
    api_key: Secret = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds: how long one request may take, and the pauses before it is repeated or its effect is read again.

    `retries` are the vendor's: ten more each time, five tries in all. `settling` are the pauses before each read that
    looks for what a call has done. `patience` ends the wait for a turn among the calls of all processes. `longest` ends
    a whole operation of the adapter, pauses included.
    """

    timeout: float = 30.0
    retries: tuple[float, ...] = (10.0, 20.0, 30.0, 40.0)
    settling: tuple[float, ...] = (0.0, 1.0, 2.0, 5.0, 10.0)
    patience: float = 60.0
    longest: float = 110.0


PROMPT = Timing(timeout=10.0, retries=(), settling=(0.0,), patience=5.0, longest=20.0)
"""For those whose caller waits for the answer: better to be told soon to come again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    members: dict[str, Any] | None


class ControlCenterRest:
    """One user's calls. All objects of one credential share one Pace."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        login: Login,
        pace: Pace,
        timing: Timing | None = None,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self.timing = timing or Timing()
        self.pause = pause
        self._session = session
        self._login = login
        self._pace = pace

    async def read(self, path: str) -> dict[str, Any] | None:
        """GET, repeated after 429, 503 and 504. None: the platform knows no such thing.

        Raises PlatformRefused, or Unreachable when no answer of the API came.
        """
        for pause in self.timing.retries:
            answer = await self._call("GET", path, None)
            if answer.status not in _PASSING:
                return _read(path, answer)
            await self.pause(pause)
        return await self.read_once(path)

    async def read_once(self, path: str) -> dict[str, Any] | None:
        """As `read`, without repeating."""
        return _read(path, await self._call("GET", path, None))

    async def change(self, method: str, path: str, body: Mapping[str, object]) -> None:
        """POST or PUT, repeated only after 429, the one answer that says nothing was begun.

        Returns when the platform has accepted it, which is no proof that it is done. Raises PlatformRefused: nothing
        was changed. Raises Unreachable: what happened is not known, and read before you ask again.
        """
        answer = await self._call(method, path, body)
        for pause in self.timing.retries:
            if answer.status != 429:
                break
            await self.pause(pause)
            answer = await self._call(method, path, body)
        if answer.status >= 500 or answer.status == 429:
            raise Unreachable(f"the platform answered {method} {path} with HTTP {answer.status}")
        if answer.status >= 300:
            raise refusal(answer.status, answer.members or {})

    async def _call(self, method: str, path: str, body: Mapping[str, object] | None) -> _Answer:
        async with self._pace:
            try:
                answer = await self._ask(method, path, body)
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                raise Unreachable(f"the platform did not answer {method} {path}: {type(error).__name__}") from error
        _log.debug("platform answered", method=method, path=path, status=answer.status)
        return answer

    async def _ask(self, method: str, path: str, body: Mapping[str, object] | None) -> _Answer:
        headers = {"Authorization": self._authorization(), "Accept": "application/json"}
        data = None
        if body is not None:
            # Escaped to ASCII, the body is the same in every charset the platform may assume.
            data, headers["Content-Type"] = json.dumps(body).encode("ascii"), "application/json"
        async with self._session.request(
            method,
            self._login.base_url + path,
            data=data,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=self.timing.timeout),
            allow_redirects=False,
            middlewares=(_once,),
        ) as response:
            content = await read_whole(response.content, _LARGEST_ANSWER)
            return _Answer(status=response.status, members=_members(content, response.charset))

    def _authorization(self) -> str:
        credentials = f"{self._login.username}:{self._login.api_key.reveal()}"
        return "Basic " + base64.b64encode(credentials.encode()).decode()


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keeps aiohttp from repeating GET and PUT by itself on a lost connection: that would break pace and counting."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientError(f"{type(error).__name__}, not repeated") from error


def _members(content: bytes, charset: str | None) -> dict[str, Any] | None:
    """The members of a JSON object, or None when it is something else."""
    try:
        members = json.loads(content.decode(charset or CHARSET))
    except (ValueError, LookupError, RecursionError):
        return None
    return members if isinstance(members, dict) else None


def _read(path: str, answer: _Answer) -> dict[str, Any] | None:
    members = answer.members
    if answer.status == 200 and members is not None:
        return members
    if answer.status == 404 and members is not None and members.get("errorCode"):
        return None
    if 300 <= answer.status < 500 and answer.status != 429:
        raise refusal(answer.status, members or {})
    raise Unreachable(f"the platform answered GET {path} with HTTP {answer.status} and nothing to go by")

"""One HTTP client for GSMA functions: JSON out, JSON in, three outcomes (SGP.22 6.2 to 6.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from rsp.errors import Unreachable

_HEADERS = {"X-Admin-Protocol": "gsma/rsp/v2.5.0", "Content-Type": "application/json;charset=UTF-8"}
_LARGEST_ANSWER = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the other side answered. `codes` is (subject, reason) of a Failed answer, else None."""

    body: dict[str, Any]
    codes: tuple[str, str] | None = None
    message: str = ""


class GsmaClient:
    """Posts functions to one server."""

    def __init__(
        self, session: aiohttp.ClientSession, base_url: str, timeout_seconds: float, server_name: str | None = None
    ) -> None:
        """`server_name` is the name the server's certificate must carry, when it is not the host of `base_url`."""
        self._session = session
        self._base = base_url.rstrip("/")
        self._server_name = server_name
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)

    async def call(self, path: str, body: bytes) -> Reply:
        """Post a request-response function. Raises Unreachable when no answer of the function came back."""
        status, answer = await self._post(path, body)
        if status != 200:
            raise Unreachable(f"{path} answered HTTP {status} instead of 200: {answer[:200].decode(errors='replace')}")
        try:
            return _reply(msgspec.json.decode(answer, type=dict[str, Any]))
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise Unreachable(f"{path} answered something that is no answer of SGP.22") from error

    async def notify(self, path: str, body: bytes) -> None:
        """Post a notification function: success is 204 (any other 2xx counts as received). Raises Unreachable."""
        status, _ = await self._post(path, body)
        if not 200 <= status < 300:
            raise Unreachable(f"{path} answered HTTP {status} instead of 204")

    async def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        url = self._base + path
        try:
            async with self._session.post(
                url,
                data=body,
                headers=_HEADERS,
                timeout=self._timeout,
                allow_redirects=False,
                server_hostname=self._server_name,
            ) as response:
                return response.status, await read_whole(response.content, _LARGEST_ANSWER)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"{url} cannot be reached: {type(error).__name__}") from error


async def read_whole(stream: aiohttp.StreamReader, most: int) -> bytes:
    """A body, in however many pieces it comes. Raises aiohttp.ClientPayloadError when it has more than `most` bytes."""
    content = bytearray()
    async for piece in stream.iter_any():
        content += piece
        if len(content) > most:
            raise aiohttp.ClientPayloadError("the answer is too long")
    return bytes(content)


def _reply(body: dict[str, Any]) -> Reply:
    execution = body.pop("header")["functionExecutionStatus"]
    if execution["status"] in ("Executed-Success", "Executed-WithWarning"):
        return Reply(body=body)
    codes = execution["statusCodeData"]
    return Reply(body=body, codes=(codes["subjectCode"], codes["reasonCode"]), message=codes.get("message", ""))

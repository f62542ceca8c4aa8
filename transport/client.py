"""One HTTP client for GSMA functions: JSON out, JSON in, three outcomes (SGP.22 6.2 to 6.5)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from rsp.errors import NothingSent, Unreachable

_HEADERS = {"X-Admin-Protocol": "gsma/rsp/v2.5.0", "Content-Type": "application/json;charset=UTF-8"}
_LARGEST_ANSWER = 4 * 1024 * 1024
_LONGEST_MESSAGE = 500
_NO_SUCH_FUNCTION = frozenset({404, 405, 501})


class NotOffered(Unreachable):
    """The other side serves no function of this name (HTTP 404, 405 or 501): asking changed nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the other side answered. `codes` is (subject, reason) of a Failed answer, as it sent them, else None."""

    body: dict[str, Any]
    codes: tuple[str, str] | None = None
    message: str = ""


class GsmaClient:
    """Posts functions to one server."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        timeout_seconds: float,
        server_name: str | None = None,
        tls: ssl.SSLContext | None = None,
        largest_answer: int = _LARGEST_ANSWER,
    ) -> None:
        """`server_name` is the name the server's certificate must carry, when it is not the host of `base_url`.

        `tls` replaces the TLS settings of the session: this server's own CA, and the certificate we show it.
        """
        self._session = session
        self._tls = tls
        self._largest = largest_answer
        self._base = base_url.rstrip("/")
        self._server_name = server_name
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)

    async def call(self, path: str, body: bytes) -> Reply:
        """Post a request-response function.

        Raises Unreachable when no answer of the function came back, NothingSent when it was not even asked, NotOffered
        when there is no such function there.
        HTTP 400 with a Failed header is a refusal, as some servers write it; any other status says nothing about what
        was done.
        """
        status, answer = await self._post(path, body)
        reply = _read(answer) if status in (200, 400) else None
        if reply is not None and (status == 200 or reply.codes is not None):
            return reply
        if status == 200:
            raise Unreachable(f"{path} answered something that is no answer of SGP.22")
        text = f"{path} answered HTTP {status} instead of 200: {answer[:200].decode(errors='replace')}"
        raise (NotOffered if status in _NO_SUCH_FUNCTION else Unreachable)(text)

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
                ssl=self._tls or True,
            ) as response:
                return response.status, await read_whole(response.content, self._largest)
        except aiohttp.ClientConnectorError as error:
            # Before a byte of the request: the client sends only over a connection that stands.
            raise NothingSent(f"{url} cannot be reached: {type(error).__name__}") from error
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


def _read(answer: bytes) -> Reply | None:
    """An answer of SGP.22 (6.5.1.4), read with patience: whatever else it may hold. None for anything else."""
    try:
        body = msgspec.json.decode(answer, type=dict[str, Any])
        execution = body.pop("header")["functionExecutionStatus"]
        status, data = execution["status"], execution.get("statusCodeData") or {}
        if status in ("Executed-Success", "Executed-WithWarning"):
            return Reply(body=body)
        if status not in ("Failed", "Expired"):
            return None
        codes = str(data.get("subjectCode") or ""), str(data.get("reasonCode") or "")
        return Reply(body=body, codes=codes, message=str(data.get("message") or status)[:_LONGEST_MESSAGE])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, AttributeError):
        return None

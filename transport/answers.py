"""The usual answer of a function: a body with headers that hardly change, written at once.

The library's own response costs 8 us more: it collects headers in a dictionary, finds out what to add, and writes them
apart from the body. Where a client asks for anything unusual, its response is what is sent.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode("ascii")


class Head:
    """Status and headers that answers share; `headers` without those of the body and the Date."""

    def __init__(self, status: int, reason: str, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers
        lines = (f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items()))
        self._start = "\r\n".join(lines).encode("ascii")

    def of(self, body: bytes | None) -> bytes:
        """The whole answer; None for a status that has no body."""
        date = _date(int(time.time()))
        if body is None:
            return b"%b\r\nDate: %b\r\n\r\n" % (self._start, date)
        return b"%b\r\nDate: %b\r\nContent-Length: %d\r\n\r\n%b" % (self._start, date, len(body), body)


class Answer(web.StreamResponse):
    """One answer. It is written in one piece to a client that speaks HTTP/1.1 and stays connected."""

    def __init__(self, head: Head, body: bytes | None) -> None:
        super().__init__(status=head.status)
        self._head = head
        self._content = body
        self._request: web.BaseRequest | None = None
        self._usual: web.Response | None = None

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays open."""
        return True if self._usual is None else self._usual.keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Take the request to answer."""
        if request.version == HttpVersion11 and request.keep_alive:
            self._request = request
            return None
        self._usual = web.Response(status=self._head.status, body=self._content, headers=self._head.headers)
        return await self._usual.prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Write everything, and wait when the client takes it slowly. Raises ConnectionResetError."""
        if self._usual is not None:
            await self._usual.write_eof(data)
            return
        assert self._request is not None
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        transport.write(self._head.of(self._content))
        await self._request.writer.drain()


def head_of(server: str, protocol: tuple[str, str], content_type: str | None) -> Head:
    """The head of a success: 200 with a body of `content_type`, or 204 for None."""
    headers = {hdrs.SERVER: server, protocol[0]: protocol[1]}
    if content_type is None:
        return Head(204, "No Content", headers)
    return Head(200, "OK", headers | {hdrs.CONTENT_TYPE: content_type})

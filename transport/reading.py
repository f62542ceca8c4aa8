"""Requests out of bytes, by the parser in C that aiohttp has for its own server (llhttp).

The one module that knows names of aiohttp which are not promised to stay; `tests/unit/test_transport_reading.py` says
which of their habits this server lives by. What the parser refuses is no request: two lengths, a length and chunks, bad
chunks, folded header lines, NUL, and more or longer headers than `Bounds` allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from aiohttp import HttpVersion10, StreamReader, hdrs, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage

_READ_BYTES = 65_536
"""The parser stops unpacking a compressed body when so much of it, twice, waits to be taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a header may be: the number of its lines, and the longest of them in bytes."""

    lines: int
    line_bytes: int


class Unreadable(Exception):  # noqa: N818 -- the name is the outcome
    """What came is no request, or none that may come; nothing after it can be read either."""


class TooLarge(Exception):  # noqa: N818 -- as above
    """The body is larger than its limit."""


class Request:
    """A request as its header tells it, and where it came from: `remote` is the client's address."""

    __slots__ = ("_message", "remote", "transport")

    def __init__(self, message: RawRequestMessage, transport: asyncio.BaseTransport, remote: str) -> None:
        self._message = message
        self.transport = transport
        self.remote = remote

    @property
    def method(self) -> str:
        """As it was sent."""
        return self._message.method

    @property
    def target(self) -> str:
        """Path and query, as they were sent."""
        return self._message.path

    @property
    def path(self) -> str:
        """The path with its escapes resolved, but for those of a slash and a percent sign."""
        return self._message.url.path_safe

    def header(self, name: str) -> str:
        """The first field of that name in any case, "" without one."""
        found: str = self._message.headers.get(name, "")
        return found

    @property
    def media_type(self) -> str:
        """Content-Type without parameters, in lower case."""
        return self.header(hdrs.CONTENT_TYPE).partition(";")[0].strip().lower()

    @property
    def announced_bytes(self) -> int:
        """Content-Length; 0 where there is none."""
        return int(self.header(hdrs.CONTENT_LENGTH) or 0)

    @property
    def waits(self) -> bool:
        """Whether the client sends its body only after a word from here."""
        return not self.is_old and self.header(hdrs.EXPECT).lower() == "100-continue"

    @property
    def is_old(self) -> bool:
        """Whether the client speaks HTTP/1.0, which keeps a connection only where both say so."""
        return self._message.version == HttpVersion10

    @property
    def is_last(self) -> bool:
        """Whether the client wants no more on this connection, or something else than HTTP."""
        return bool(self._message.should_close or self._message.upgrade)


class RequestReader:
    """Reads the requests of one connection, one at a time: what follows one waits inside until it is asked for."""

    __slots__ = ("_parser", "_parts", "_payload", "_reading_paused", "connected")

    def __init__(self, loop: asyncio.AbstractEventLoop, bounds: Bounds) -> None:
        # To the parser's streams this is the protocol: they ask it to pause when too much of a body waits in them.
        self.connected = True
        self._reading_paused = False
        self._payload: StreamReader | None = None
        self._parts = bytearray()
        self._parser: HttpRequestParser | None = HttpRequestParser(
            cast("BaseProtocol", self),
            loop,
            _READ_BYTES,
            max_line_size=bounds.line_bytes,
            max_field_size=bounds.line_bytes,
            max_headers=bounds.lines,
            payload_exception=web.RequestPayloadError,
            max_msg_queue_size=1,
        )

    def head(self, data: bytes) -> RawRequestMessage | None:
        """Take `data`; the header of the next request once it is there. Raises Unreadable."""
        for message, payload in self._feed(data):
            if not message.path:
                # The parser would tell the address of an earlier request.
                raise Unreadable
            self._payload = payload
            return message
        return None

    def more(self, data: bytes) -> None:
        """Take `data`, which goes on with the body. Raises Unreadable."""
        self._feed(data)

    def body(self, most: int) -> bytes | None:
        """The whole body, None while it is on its way. Raises TooLarge beyond `most` bytes, and Unreadable."""
        payload = self._payload
        assert payload is not None
        while payload.exception() is None:
            part = payload.read_nowait()
            if len(self._parts) + len(part) > most:
                raise TooLarge
            if payload.is_eof():
                return self._whole(part)
            self._parts += part
            # The parser may have stopped in the middle of what it was given.
            before = payload.total_bytes
            self._feed(b"")
            if payload.total_bytes == before and not payload.is_eof() and payload.exception() is None:
                return None
        raise Unreadable

    def _whole(self, part: bytes) -> bytes:
        self._payload = None
        if not self._parts:
            return part
        body = bytes(self._parts + part)
        self._parts.clear()
        return body

    def _feed(self, data: bytes) -> Sequence[tuple[RawRequestMessage, StreamReader]]:
        assert self._parser is not None
        try:
            return self._parser.feed_data(data)[0]
        except HttpProcessingError:
            raise Unreadable from None

    @property
    def is_whole(self) -> bool:
        """Whether the body of the latest request has come to its end."""
        return self._payload is None or (self._payload.is_eof() and self._payload.exception() is None)

    def close(self) -> None:
        """Let go of the parser, which holds on to this."""
        self._parser = None

    def pause_reading(self) -> None:
        """Called by the body's stream when it holds enough: the parser stops there."""
        if self._parser is not None:
            self._parser.pause_reading()

    def resume_reading(self, *, resume_parser: bool = True) -> None:
        """Called by the body's stream when it has room again. `body` goes on by itself."""

"""One answer as bytes: a head whose fields hardly change, and a body, written in one piece."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode("ascii")


class Head:
    """Status and fields that answers share; `fields` without Date, Content-Length and Connection."""

    __slots__ = ("_start", "status")

    def __init__(self, status: int, fields: Mapping[str, str]) -> None:
        self.status = status
        lines = (f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {fields[name]}" for name in fields))
        self._start = "\r\n".join(lines).encode("ascii") + b"\r\nDate: "

    def of(self, body: bytes | None, connection: str) -> bytes:
        """All before the body; `connection` is said where it is not "". None is a status that has no body."""
        said = b"\r\nConnection: %b" % connection.encode("ascii") if connection else b""
        date = _date(int(time.time()))
        if body is None:
            return b"%b%b%b\r\n\r\n" % (self._start, date, said)
        return b"%b%b%b\r\nContent-Length: %d\r\n\r\n" % (self._start, date, said, len(body))


class Answer:
    """One answer; after one that is the `last` the connection ends."""

    __slots__ = ("body", "head", "last")

    def __init__(self, head: Head, body: bytes | None, *, last: bool = False) -> None:
        self.head = head
        self.body = body
        self.last = last

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.head.status

    def written(self, connection: str, *, to_head: bool) -> bytes:
        """The bytes to send; to a HEAD request those of the body stay away."""
        head = self.head.of(self.body, connection)
        return head if to_head or self.body is None else head + self.body

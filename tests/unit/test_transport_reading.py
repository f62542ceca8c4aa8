"""Requests out of bytes, and the habits of aiohttp's parser that the server lives by: an update may break them."""

from __future__ import annotations

import asyncio
import gzip
import random
from collections.abc import Iterator

import pytest
from aiohttp import http_parser

from transport.connections import BOUNDS
from transport.reading import Request, RequestReader, TooLarge, Unreadable

_MOST = 1000
_START = b"POST /f HTTP/1.1\r\nHost: a\r\n"
_WHOLE = _START + b"Content-Length: 5\r\n\r\nabcde"
_CHUNKED = _START + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nTrailer: t\r\n\r\n"
_SMUGGLED = b"POST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


def _reader() -> RequestReader:
    return RequestReader(asyncio.get_running_loop(), BOUNDS)


def _read(data: bytes, size: int) -> Iterator[tuple[str, bytes]]:
    """Target and body of each request in `data`, which comes `size` bytes at a time."""
    reader = _reader()
    head = None
    # The parser keeps what follows a whole request until it is asked again.
    for part in [*(data[at : at + size] for at in range(0, len(data), size)), *[b""] * 5]:
        if head is None:
            head = reader.head(part)
        else:
            reader.more(part)
        if head is not None and (body := reader.body(_MOST)) is not None:
            yield head.path, body
            head = None
    reader.close()


async def test_the_parser_is_the_one_in_c() -> None:
    assert http_parser.HttpRequestParser.__module__ == "aiohttp._http_parser"


async def test_one_request_is_given_at_a_time_and_the_rest_is_kept() -> None:
    reader = _reader()
    more = _WHOLE + _CHUNKED + _SMUGGLED + _WHOLE
    for expected in (b"abcde", b"abcde", b"", b"abcde"):
        assert reader.head(more) is not None
        assert reader.body(_MOST) == expected
        assert reader.is_whole
        more = b""
    assert reader.head(b"") is None


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
async def test_requests_may_come_in_parts_of_any_size(size: int) -> None:
    assert list(_read(_WHOLE + _CHUNKED + _WHOLE, size)) == [("/f", b"abcde")] * 3


async def test_a_body_in_more_chunks_than_the_stream_likes_is_read_and_the_next_request_too() -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % (97 + n % 26) for n in range(9000))
    many = _START + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    reader = _reader()
    assert reader.head(many + _WHOLE) is not None
    body = reader.body(10_000)
    assert body is not None
    assert len(body) == 9000
    assert reader.head(b"") is not None
    assert reader.body(_MOST) == b"abcde"


async def test_a_body_larger_than_the_limit_is_refused_as_soon_as_it_is() -> None:
    reader = _reader()
    assert reader.head(_START + b"Content-Length: 99999\r\n\r\n" + bytes(_MOST)) is not None
    assert reader.body(_MOST) is None
    reader.more(b"x")
    with pytest.raises(TooLarge):
        reader.body(_MOST)


async def test_a_packed_body_is_bounded_by_what_it_holds() -> None:
    packed = gzip.compress(bytes(30_000_000))
    reader = _reader()
    head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    assert reader.head(_START + head + packed) is not None
    with pytest.raises(TooLarge):
        reader.body(200_000)
    packed = gzip.compress(b"abc" * 300)
    head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    assert list(_read(_START + head + packed, 16)) == [("/f", b"abc" * 300)]


SMUGGLING = {
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    "a length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "chunks that are not last": b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunks twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded line": b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "NUL in a name": b"X\0: a\r\nContent-Length: 0\r\n\r\n",
    "a bare line feed": b"X: a\nContent-Length: 0\r\n\r\n",
    "a bare carriage return": b"X: a\rContent-Length: 0\r\n\r\n",
    "a signed length": b"Content-Length: +5\r\n\r\nabcde",
    "a negative length": b"Content-Length: -5\r\n\r\nabcde",
    "a length in words": b"Content-Length: 5 5\r\n\r\nabcde",
    "a length beyond 64 bits": b"Content-Length: 18446744073709551621\r\n\r\nabcde",
    "a chunk size beyond 64 bits": b"Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nabcde\r\n0\r\n\r\n",
    "a chunk size with 0x": b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nabcde\r\n0\r\n\r\n",
    "a chunk longer than it says": b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n0\r\n\r\n",
    "a chunk that ends in a bare line feed": b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\n0\r\n\r\n",
    "no host": b"",
    "another host": b"Host: b\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("what", SMUGGLING)
async def test_what_others_could_read_differently_is_no_request(what: str, size: int) -> None:
    sent = b"POST /f HTTP/1.1\r\n\r\n" if what == "no host" else _START + SMUGGLING[what]
    with pytest.raises(Unreadable):
        list(_read(sent + _SMUGGLED, size))


async def test_a_request_without_a_target_is_never_told_that_of_an_earlier_one() -> None:
    reader = _reader()
    assert reader.head(_WHOLE) is not None
    assert reader.body(_MOST) is not None
    with pytest.raises(Unreadable):
        _ = [
            reader.head(part)
            for part in (b"CON", b"NEC", b"T \n", b"a:4", b"43 ", b"H//", b"TTP/1.1\r\nHost: a\r\n\r\n")
        ]


async def test_no_bytes_at_all_surprise_the_reader() -> None:
    chance = random.Random(20261129)
    tokens = [
        b"\r\n",
        b"\n",
        b"\0",
        b" ",
        b":",
        b"//",
        b"http://[",
        b"%00",
        b"\xff",
        b"0",
        b"ffffffffffffffffff",
        _SMUGGLED,
    ]
    tokens += [
        b"Upgrade: websocket\r\nConnection: upgrade\r\n",
        b"Content-Encoding: br\r\n",
        b"Content-Encoding: gzip\r\n",
    ]
    requests = [
        _WHOLE,
        _CHUNKED,
        b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.0\r\n\r\n",
        _SMUGGLED,
    ]
    read = refused = 0
    for _ in range(3000):
        data = bytearray(b"".join(chance.choices(requests, k=2)))
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.choice(tokens)
        try:
            read += len(list(_read(bytes(data), chance.choice((1, 3, 1000)))))
        except (Unreadable, TooLarge):
            refused += 1
    assert read > 1000
    assert refused > 1000


async def test_a_request_tells_its_path_and_what_its_client_wants() -> None:
    reader = _reader()
    sent = b"POST http://b/x/%66?y=1 HTTP/1.0\r\nconnection: keep-alive\r\nCONTENT-type: A/B ;c=d\r\n"
    message = reader.head(sent + b"Expect: 100-continue\r\n\r\n")
    assert message is not None
    request = Request(message, asyncio.Transport(), "192.0.2.1")
    assert (request.method, request.target, request.path) == ("POST", "http://b/x/%66?y=1", "/x/f")
    assert (request.media_type, request.announced_bytes, request.is_old, request.is_last) == ("a/b", 0, True, False)
    # HTTP/1.0 knows no answer before the answer.
    assert not request.waits

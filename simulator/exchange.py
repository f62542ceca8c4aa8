"""One HTTPS exchange as a strict peer does it: addresses, TLS, retries after lost answers (SGP.22 6.1 to 6.3)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

PROTOCOL = "gsma/rsp/v2.5.0"
_PASSING = frozenset({502, 503, 504})
_AUTOMATIC_HEADERS = frozenset({"Accept", "Accept-Encoding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCodes:
    """The statusCodeData of a reply: subject and reason as dotted text.

    An error of the ASN.1 binding has no subject: its integer is the reason, its name the message.
    """

    subject: str
    reason: str
    message: str = ""
    subject_identifier: str = ""

    @property
    def code(self) -> str:
        """ "8.1/6.1", or the error integer of the ASN.1 binding, which has no subject."""
        return f"{self.subject}/{self.reason}" if self.subject else self.reason


class ProtocolFault(Exception):  # noqa: N818 -- the name is the outcome
    """The other side answered, and the answer breaks the standard."""

    def __init__(self, function: str, what: str) -> None:
        super().__init__(f"{function}: {what}")
        self.function = function
        self.what = what


class NoAnswer(Exception):  # noqa: N818 -- the name is the outcome
    """No answer came within all attempts: what the other side did is not known."""

    def __init__(self, function: str, what: str) -> None:
        super().__init__(f"{function}: {what}")
        self.function = function
        self.what = what


class FunctionFailed(Exception):  # noqa: N818 -- the word of functionExecutionStatus
    """The function answered `Failed`: the status codes of its header (SGP.22 6.5.1.4)."""

    def __init__(self, function: str, codes: StatusCodes) -> None:
        super().__init__(f"{function}: {codes.code} {codes.message}".rstrip())
        self.function = function
        self.codes = codes


class Connections(Enum):
    """How long a TLS connection lives."""

    KEPT = "kept"
    FRESH = "fresh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a lost request is sent again, byte for byte, and how long to pause before (seconds, doubling).

    `longest_pause` also bounds what a Retry-After may ask for: beyond it the peer gives up.
    """

    attempts: int = 4
    first_pause: float = 0.5
    longest_pause: float = 30.0


Pause = Callable[[float], Awaitable[object]]
BeforeRequest = Callable[[str, int], Awaitable[None]]
Observe = Callable[[str, float], None]


async def _nothing_before(function: str, attempt: int) -> None:  # noqa: ARG001 -- the signature of a hook
    return None


def _unobserved(function: str, seconds: float) -> None:  # noqa: ARG001 -- the signature of a hook
    return None


class Interference(Enum):
    """What happens to one attempt on its way: nothing, or one of the two messages is lost."""

    NONE = "none"
    LOSE_REQUEST = "lose request"
    LOSE_ANSWER = "lose answer"


Interfere = Callable[[str, int], Interference]


def _undisturbed(function: str, attempt: int) -> Interference:  # noqa: ARG001 -- the signature of a hook
    return Interference.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """How a reference point marks its messages: the content type, and the X-Admin-Protocol of requests."""

    content_type: str = "application/json"
    protocol: str = PROTOCOL


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a peer behaves on the wire.

    `pause` waits before a retry (seconds); `before_request(function, attempt)` runs before every attempt, counted
    from 1, and may raise NoAnswer; `observe(function, seconds)` gets the time of every answered attempt, connecting
    included; `interfere(function, attempt)` decides whether a message of the attempt is lost.
    """

    connections: Connections = Connections.KEPT
    retries: Retries = field(default_factory=Retries)
    timeout: float = 90.0
    pause: Pause = asyncio.sleep
    before_request: BeforeRequest = _nothing_before
    observe: Observe = _unobserved
    interfere: Interfere = _undisturbed


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: status, headers, the whole body, and the attempt (from 1) that brought it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lost:
    """An attempt without an answer, and the pause in seconds that a Retry-After asked for."""

    what: str
    asked_pause: float = 0.0


class _Request(NamedTuple):
    url: str
    body: bytes
    headers: Mapping[str, str]


class AddressBook(AbstractResolver):
    """Resolves the host names it lists to (host, port), and no other; the names stay in SNI and Host."""

    def __init__(self, addresses: Mapping[str, tuple[str, int]]) -> None:
        self._addresses = addresses

    async def resolve(
        self,
        host: str,
        port: int = 0,  # noqa: ARG002 -- the interface names it; the book decides the port
        family: socket.AddressFamily = socket.AF_UNSPEC,
    ) -> list[ResolveResult]:
        """The listed address, whatever port was asked for. Raises OSError for a name that is not listed."""
        found = self._addresses.get(host.lower())
        if found is None:
            raise OSError(f"{host} is not in the address book")
        loop = asyncio.get_running_loop()
        answers = await loop.getaddrinfo(found[0], found[1], family=family, type=socket.SOCK_STREAM)
        return [
            ResolveResult(hostname=host, host=str(to[0]), port=int(to[1]), family=kind, proto=proto, flags=0)
            for kind, _, proto, _, to in answers
        ]

    async def close(self) -> None:
        """Nothing is held."""


def trust(ca_file: Path | str) -> ssl.SSLContext:
    """A client's TLS settings that trust the CA certificates (PEM, or one in DER) of `ca_file` only; names checked."""
    data = Path(ca_file).read_bytes()
    context = ssl.create_default_context(cadata=data.decode() if b"-----BEGIN" in data else data)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def identify(context: ssl.SSLContext, certificate_file: Path | str, key_file: Path | str) -> ssl.SSLContext:
    """`context` with a certificate and key (PEM) of its own, for mutual TLS."""
    context.load_cert_chain(str(certificate_file), str(key_file))
    return context


class Exchange:
    """Sends POST requests to the names of an address book; close it, or use it as an async context manager."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        addresses: Mapping[str, tuple[str, int]],
        habits: Habits | None = None,
        user_agent: str | None = None,
        binding: Binding | None = None,
    ) -> None:
        self.habits = habits or Habits()
        self._tls = tls
        self._addresses = addresses
        marks = binding or Binding()
        self._headers = {"Content-Type": marks.content_type, "X-Admin-Protocol": marks.protocol}
        self._skip = _AUTOMATIC_HEADERS | (frozenset() if user_agent else {"User-Agent"})
        if user_agent:
            self._headers["User-Agent"] = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Exchange:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=self._tls,
                resolver=AddressBook(self._addresses),
                use_dns_cache=False,
                force_close=self.habits.connections is Connections.FRESH,
                limit=0,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=self._headers,
                skip_auto_headers=self._skip,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self.habits.timeout),
                auto_decompress=False,
            )
        return self._session

    async def post(
        self,
        host: str,
        path: str,
        body: bytes,
        retries: Retries | None = None,
        *,
        function: str = "",
        content_type: str = "",
    ) -> Answer:
        """POST `body` until an answer comes that is not 502, 503 or 504.

        `function` names what is asked where the end of the path does not; `content_type` replaces that of the binding.

        Raises NoAnswer after the last attempt and for names outside the address book, ProtocolFault when the
        server's certificate does not verify or its answer is not HTTP.
        """
        function = function or path.rpartition("/")[2]
        headers = {"Content-Type": content_type} if content_type else {}
        if host.lower() not in self._addresses:
            raise NoAnswer(function, f"{host} is not in the address book of this simulator: add its host and port")
        bounds = retries or self.habits.retries
        pause = bounds.first_pause
        what = "no attempt was allowed"
        for attempt in range(1, bounds.attempts + 1):
            await self.habits.before_request(function, attempt)
            found = await self._try(_Request(f"https://{host}{path}", body, headers), function, attempt)
            if isinstance(found, Answer):
                return found
            what = found.what
            if found.asked_pause > bounds.longest_pause or attempt == bounds.attempts:
                break
            await self.habits.pause(max(found.asked_pause, pause))
            pause = min(pause * 2, bounds.longest_pause)
        raise NoAnswer(function, what)

    async def _try(self, request: _Request, function: str, attempt: int) -> Answer | _Lost:
        interference = self.habits.interfere(function, attempt)
        if interference is Interference.LOSE_REQUEST:
            return _Lost(what="the request was lost on its way")
        try:
            answer = await self._once(request, function, attempt)
        except aiohttp.ClientConnectorCertificateError as error:
            raise ProtocolFault(
                function, f"the TLS certificate behind {request.url} is not trusted: {error}"
            ) from error
        except aiohttp.ClientResponseError as error:
            raise ProtocolFault(function, f"the answer is not readable HTTP: {error.message}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return _Lost(what=f"{type(error).__name__}: {error}")
        if interference is Interference.LOSE_ANSWER:
            return _Lost(what="the answer was lost on its way")
        if answer.status in _PASSING:
            asked = _retry_after(answer.headers.get("Retry-After"))
            return _Lost(what=f"HTTP {answer.status}", asked_pause=asked)
        return answer

    async def _once(self, request: _Request, function: str, attempt: int) -> Answer:
        started = perf_counter()
        async with self._open().post(
            request.url, data=request.body, headers=request.headers, allow_redirects=False
        ) as response:
            content = await response.read()
            self.habits.observe(function, perf_counter() - started)
            return Answer(status=response.status, headers=response.headers, body=content, attempt=attempt)


def _retry_after(value: str | None) -> float:
    """Seconds asked for by a Retry-After header, given in seconds or as a date; 0 when absent or unreadable."""
    if not value:
        return 0.0
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0

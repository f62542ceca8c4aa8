"""Between an LPA program that speaks APDU and HTTP as lines of JSON on its standard streams, and a card and a server.

The program writes `{"type": "apdu" | "http", "payload": ...}` lines and waits for the answer of each on its standard
input; `{"type": "lpa"}` is its verdict, `{"type": "progress"}` tells how far it is. Binary values are hexadecimal.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from simulator.apdu import ISD_R, ApduInterface
from simulator.exchange import AddressBook

_LONGEST_LINE = 16 * 1024 * 1024
_SECONDS = 60.0
_DONE, _FAILED = 0, -1
_SUCCESS = b"\x90"
_WITHOUT_DATA = 0x0C


class Fault(Enum):
    """What befalls one HTTP exchange: the request never leaves, or its answer is lost."""

    LOSE_REQUEST = "lose request"
    LOSE_ANSWER = "lose answer"


Interfere = Callable[[str], "Fault | None"]


def undisturbed(function: str) -> Fault | None:  # noqa: ARG001 -- the signature of a hook
    """No fault for any function."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanged:
    """One HTTP exchange of the program: the last part of the path, the status (0 when lost) and both bodies."""

    function: str
    headers: tuple[str, ...]
    request: bytes
    status: int
    answer: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run of the program ended: `code` 0 is success; `message` and `data` as it printed them."""

    status: int
    code: int
    message: str
    data: Any
    progress: tuple[str, ...]
    exchanges: tuple[Exchanged, ...]
    errors: str

    @property
    def functions(self) -> list[str]:
        """The functions that were called, in order."""
        return [exchanged.function for exchanged in self.exchanges]


@dataclass(slots=True)
class _Run:
    """What one run of the program has said so far."""

    answers: list[str]
    verdict: dict[str, Any] = field(default_factory=dict)
    progress: list[str] = field(default_factory=list)
    exchanges: list[Exchanged] = field(default_factory=list)


class StdioBridge:
    """Runs an LPA program against `card` and the servers in `addresses` (name to host and port), reached by `tls`."""

    def __init__(
        self,
        program: Sequence[str | Path],
        card: ApduInterface,
        *,
        tls: ssl.SSLContext,
        addresses: Mapping[str, tuple[str, int]],
        environment: Mapping[str, str],
    ) -> None:
        self._program = tuple(str(part) for part in program)
        self._card = card
        self._tls = tls
        self._addresses = addresses
        self._environment = dict(environment)
        self.interfere: Interfere = undisturbed

    async def run(self, *arguments: str, typed: Sequence[str] = ()) -> Outcome:
        """The program with these arguments; `typed` are the lines a person enters when it asks.

        Raises TimeoutError when it does not end within a minute.
        """
        process = await asyncio.create_subprocess_exec(
            *self._program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            limit=_LONGEST_LINE,
        )
        said = _Run(answers=list(typed))
        try:
            async with asyncio.timeout(_SECONDS), self._client() as client:
                _, errors = await asyncio.gather(self._converse(process, said, client), _drained(process.stderr))
                status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Outcome(
            status=status,
            code=int(said.verdict.get("code", _FAILED)),
            message=str(said.verdict.get("message", "")),
            data=said.verdict.get("data"),
            progress=tuple(said.progress),
            exchanges=tuple(said.exchanges),
            errors=errors.decode(errors="replace"),
        )

    def _client(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=self._tls, resolver=AddressBook(self._addresses), use_dns_cache=False, force_close=True
        )
        return aiohttp.ClientSession(
            connector=connector, skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
        )

    async def _converse(self, process: asyncio.subprocess.Process, said: _Run, client: aiohttp.ClientSession) -> None:
        assert process.stdout is not None
        assert process.stdin is not None
        while line := await process.stdout.readline():
            try:
                message = json.loads(line)
            except ValueError:
                continue  # words for a person, such as how the program is used
            answer = await self._react(message, said, client)
            if answer is None:
                continue
            process.stdin.write(answer)
            try:
                await process.stdin.drain()
            except (BrokenPipeError, ConnectionResetError):
                return

    async def _react(self, message: dict[str, Any], said: _Run, client: aiohttp.ClientSession) -> bytes | None:
        """Note or answer one message; None where no answer is waited for."""
        payload = message["payload"]
        match message["type"]:
            case "apdu":
                return _line("apdu", apdu(self._card, payload))
            case "http":
                return _line("http", await self._http(payload, said, client))
            case "lpa":
                said.verdict = payload
            case "progress":
                said.progress.append(str(payload.get("message")))
                if said.answers and "preview" in str(payload.get("message")):
                    return said.answers.pop(0).encode()
        return None

    async def _http(self, payload: dict[str, Any], said: _Run, client: aiohttp.ClientSession) -> dict[str, Any]:
        body = bytes.fromhex(payload["tx"] or "")
        headers = tuple(payload["headers"] or ())
        url = urlsplit(payload["url"])
        function = url.path.rpartition("/")[2]
        status, answer = await self._exchange(client, payload["url"], function, body, headers)
        said.exchanges.append(Exchanged(function=function, headers=headers, request=body, status=status, answer=answer))
        return {"rcode": status, "rx": answer.hex()}

    async def _exchange(
        self, client: aiohttp.ClientSession, url: str, function: str, body: bytes, headers: Sequence[str]
    ) -> tuple[int, bytes]:
        fault = self.interfere(function)
        if fault is Fault.LOSE_REQUEST:
            return 0, b""
        pairs = [(name.strip(), value.strip()) for name, _, value in (header.partition(":") for header in headers)]
        try:
            async with client.post(url, data=body, headers=pairs, allow_redirects=False) as response:
                answer = await response.read()
        except aiohttp.ClientError:
            return 0, b""
        return (0, b"") if fault is Fault.LOSE_ANSWER else (response.status, answer)


def _line(kind: str, payload: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "payload": payload}).encode() + b"\n"


async def _drained(stream: asyncio.StreamReader | None) -> bytes:
    return b"" if stream is None else await stream.read()


# The card reader -------------------------------------------------------------------------------------------------


def apdu(card: ApduInterface, payload: dict[str, Any]) -> dict[str, Any]:
    """What a card reader does: `connect`, `disconnect`, `logic_channel_open`, `logic_channel_close`, `transmit`."""
    parameter = bytes.fromhex(payload.get("param") or "")
    match payload["func"]:
        case "connect" | "disconnect":
            card.reset()
            return {"ecode": _DONE}
        case "logic_channel_open":
            return {"ecode": open_channel(card, parameter or ISD_R)}
        case "logic_channel_close":
            return {"ecode": _code(card.transmit(b"\x00\x70\x80" + parameter))}
        case "transmit":
            return {"ecode": _DONE, "data": card.transmit(parameter).hex()}
    return {"ecode": _FAILED}


def open_channel(card: ApduInterface, aid: bytes) -> int:
    """The number of a new logical channel on which the application `aid` is selected, -1 when there is none."""
    opened = card.transmit(b"\x00\x70\x00\x00\x01")
    if _code(opened) != _DONE:
        return _FAILED
    channel = opened[0]
    interindustry = channel if channel < 4 else 0x40 | channel - 4
    selected = card.transmit(bytes((interindustry, 0xA4, 0x04, _WITHOUT_DATA, len(aid))) + aid)
    if _code(selected) == _DONE:
        return channel
    card.transmit(bytes((0x00, 0x70, 0x80, channel)))
    return _FAILED


def _code(answer: bytes) -> int:
    return _DONE if answer[-2:-1] == _SUCCESS else _FAILED

"""An operator's server for HandleDownloadProgressInfo: strict, patient, and troublesome on demand (SGP.22 5.3.5)."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from aiohttp import web

from rsp.identifiers import Eid, Iccid
from simulator.exchange import PROTOCOL, ProtocolFault, StatusCodes
from simulator.strict_json import Body, check_members, execution_status, from_base64, load_object

PATH = "/gsma/rsp2/es2plus/handleDownloadProgressInfo"
_FUNCTION = "handleDownloadProgressInfo"
_REQUIRED = ("header", "iccid", "profileType", "timestamp", "notificationPointId", "notificationPointStatus")
_OPTIONAL = ("eid", "resultData")
_HEADER = ("functionRequesterIdentifier", "functionCallIdentifier")
_ICCID = re.compile(r"[0-9]{18,20}|[0-9]{19}F", re.ASCII)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", re.ASCII)


class Trouble(Enum):
    """How a callback goes wrong: HTTP 500, a connection that breaks, or no answer until `resume` is called."""

    SERVER_ERROR = "server error"
    DROP = "drop"
    SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressCall:
    """One accepted call. `order` counts arrivals from 0; `failure` is None when the step succeeded.

    `client` is the common name of the caller's certificate, or None where none was asked for.
    """

    order: int
    function_requester: str
    function_call: str
    iccid: Iccid
    eid: Eid | None
    profile_type: str
    timestamp: datetime
    point: int
    status: str
    failure: StatusCodes | None
    result_data: bytes | None
    client: str | None


def callback_tls(
    certificate_file: Path | str, key_file: Path | str, client_ca_file: Path | str | None = None
) -> ssl.SSLContext:
    """The server's TLS settings from PEM files; with `client_ca_file` only callers certified by that CA get in."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(str(certificate_file), str(key_file))
    if client_ca_file is not None:
        context.load_verify_locations(str(client_ca_file))
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class CallbackServer:
    """Receives progress calls; use it as an async context manager.

    `calls` are those accepted, in order; `attempts` all bodies received, refused and troubled ones included; `faults`
    says what was wrong with each call that was refused with HTTP 400.
    """

    def __init__(self, tls: ssl.SSLContext, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.calls: list[ProgressCall] = []
        self.attempts: list[bytes] = []
        self.faults: list[str] = []
        self.port = port
        self._tls = tls
        self._host = host
        self._troubles: list[Trouble] = []
        self._arrived = asyncio.Condition()
        self._resumed = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> CallbackServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; `port` then holds the real port."""
        app = web.Application()
        app.router.add_post(PATH, self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self.port, ssl_context=self._tls).start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Answer what is held back and close."""
        self.resume()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def fail_next(self, trouble: Trouble, times: int = 1) -> None:
        """Let the next calls go wrong, after those already told to."""
        self._resumed.clear()
        self._troubles += [trouble] * times

    def resume(self) -> None:
        """Answer the calls that are held back."""
        self._resumed.set()

    async def wait_until(
        self, satisfied: Callable[[Sequence[ProgressCall]], bool], *, within: float = 10.0
    ) -> list[ProgressCall]:
        """The calls, once they are `satisfied`. Raises TimeoutError after `within` seconds."""
        async with asyncio.timeout(within), self._arrived:
            await self._arrived.wait_for(lambda: satisfied(self.calls))
        return list(self.calls)

    async def wait_for_points(self, iccid: Iccid, *points: int, within: float = 10.0) -> list[ProgressCall]:
        """The calls about `iccid`, once every one of `points` was told. Raises TimeoutError after `within` seconds."""
        calls = await self.wait_until(lambda all_calls: set(points) <= _points(all_calls, iccid), within=within)
        return [call for call in calls if call.iccid == iccid]

    async def wait_for_attempts(self, count: int, *, within: float = 10.0) -> list[bytes]:
        """The bodies received, once there are `count`. Raises TimeoutError after `within` seconds."""
        async with asyncio.timeout(within), self._arrived:
            await self._arrived.wait_for(lambda: len(self.attempts) >= count)
        return list(self.attempts)

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        async with self._arrived:
            self.attempts.append(body)
            self._arrived.notify_all()
        trouble = self._troubles.pop(0) if self._troubles else None
        if trouble is Trouble.SLOW:
            await self._resumed.wait()
        if trouble is Trouble.DROP and request.transport is not None:
            request.transport.abort()
        if trouble in {Trouble.DROP, Trouble.SERVER_ERROR}:
            return web.Response(status=500)
        return await self._accept(request, body)

    async def _accept(self, request: web.Request, body: bytes) -> web.Response:
        async with self._arrived:
            try:
                _check_headers(request)
                self.calls.append(_read(body, len(self.calls), _client(request)))
            except (ProtocolFault, ValueError) as error:
                self.faults.append(str(error))
                return web.Response(status=400, text=str(error))
            self._arrived.notify_all()
        return web.Response(status=204, headers={"X-Admin-Protocol": PROTOCOL})


def _points(calls: Sequence[ProgressCall], iccid: Iccid) -> set[int]:
    return {call.point for call in calls if call.iccid == iccid}


def _check_headers(request: web.Request) -> None:
    if request.content_type != "application/json":
        raise ValueError(f"Content-Type {request.content_type!r} is not application/json")
    if not request.headers.get("X-Admin-Protocol", "").startswith("gsma/rsp/v"):
        raise ValueError("X-Admin-Protocol: gsma/rsp/v<x.y.z> is missing")


def _client(request: web.Request) -> str | None:
    certificate = request.transport.get_extra_info("peercert") if request.transport else None
    names = dict(pair for rdn in certificate["subject"] for pair in rdn) if certificate else {}
    return names.get("commonName")


def _read(body: bytes, order: int, client: str | None) -> ProgressCall:
    """One call from its JSON. Raises ProtocolFault or ValueError that says what is wrong."""
    members = load_object(body)
    check_members(_FUNCTION, members, _REQUIRED, _OPTIONAL)
    requester, call_id = _header(members["header"])
    status = members["notificationPointStatus"]
    failure = execution_status(_FUNCTION, status)
    fields = Body(_FUNCTION, members)
    eid, data = fields.optional_text("eid"), fields.optional_text("resultData")
    return ProgressCall(
        order=order,
        function_requester=requester,
        function_call=call_id,
        iccid=_iccid(fields.text("iccid")),
        eid=None if eid is None else Eid(eid),
        profile_type=_filled("profileType", fields.text("profileType")),
        timestamp=_timestamp(fields.text("timestamp")),
        point=_point(members),
        status=status["status"],
        failure=failure,
        result_data=None if data is None else from_base64(data),
        client=client,
    )


def _header(header: object) -> tuple[str, str]:
    if not isinstance(header, dict):
        raise ProtocolFault(_FUNCTION, "header is not an object")
    check_members(_FUNCTION, header, _HEADER, ())
    fields = Body(_FUNCTION, header)
    requester, call_id = (_filled(name, fields.text(name)) for name in _HEADER)
    return requester, call_id


def _filled(name: str, text: str) -> str:
    if not text:
        raise ProtocolFault(_FUNCTION, f"{name} is empty")
    return text


def _iccid(text: str) -> Iccid:
    if not _ICCID.fullmatch(text):
        raise ProtocolFault(_FUNCTION, f"iccid {text!r} is not 18 to 20 digits, or 19 digits and F")
    return Iccid.parse(text)


def _timestamp(text: str) -> datetime:
    if not _TIMESTAMP.fullmatch(text):
        raise ProtocolFault(_FUNCTION, f"timestamp {text!r} is not YYYY-MM-DDThh:mm:ssTZD")
    return datetime.fromisoformat(text)


def _point(members: Mapping[str, Any]) -> int:
    point = members["notificationPointId"]
    if type(point) is not int or point < 0:
        raise ProtocolFault(_FUNCTION, f"notificationPointId {point!r} is not a number")
    return point

"""A scripted SM-DP+ and a card of constants: what tests of the LPA talk to. Nothing here checks a signature."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from rsp import tlv

HOST = "smdp.example.com"
TRANSACTION = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
CHALLENGE = bytes(range(16))
ICCID = bytes.fromhex("98001032547698103214")
METADATA = tlv.wrap(0xBF25, tlv.wrap(0x5A, ICCID), tlv.wrap(0x91, b"Operator"), tlv.wrap(0x92, b"Profile"))
SIGNATURE = tlv.wrap(0x5F37, bytes(64))
CERTIFICATE = tlv.wrap(0x30, b"")
FUNCTIONS = ("initiateAuthentication", "authenticateClient", "getBoundProfilePackage", "cancelSession")


@dataclass
class Reply:
    """One answer; `drop` closes the connection instead."""

    status: int = 200
    members: dict[str, Any] | None = None
    raw: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


def success(**members: Any) -> Reply:
    return Reply(members={"header": {"functionExecutionStatus": {"status": "Executed-Success"}}, **members})


def failure(subject: str, reason: str, message: str = "No.") -> Reply:
    codes = {"subjectCode": subject, "reasonCode": reason, "message": message}
    return Reply(members={"header": {"functionExecutionStatus": {"status": "Failed", "statusCodeData": codes}}})


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def server_signed1(transaction: bytes = TRANSACTION, challenge: bytes = CHALLENGE, host: str = HOST) -> bytes:
    inner = (tlv.wrap(0x80, transaction), tlv.wrap(0x81, challenge), tlv.wrap(0x83, host.encode()))
    return tlv.wrap(0x30, *inner, tlv.wrap(0x84, bytes(16)))


def smdp_signed2(transaction: bytes = TRANSACTION, *, code: bool = False) -> bytes:
    return tlv.wrap(0x30, tlv.wrap(0x80, transaction), tlv.wrap(0x01, b"\xff" if code else b"\x00"))


def package(transaction: bytes = TRANSACTION, metadata: bytes = METADATA) -> bytes:
    half = len(metadata) // 2
    return tlv.wrap(
        0xBF36,
        tlv.wrap(0xBF23, tlv.wrap(0x82, b"\x01"), tlv.wrap(0x80, transaction)),
        tlv.wrap(0xA0, tlv.wrap(0x87, bytes(24))),
        tlv.wrap(0xA1, *(tlv.wrap(0x88, part + bytes(8)) for part in (metadata[:half], metadata[half:]))),
        tlv.wrap(0xA3, tlv.wrap(0x86, bytes(24)), tlv.wrap(0x86, bytes(40))),
    )


def good(function: str, **changes: Any) -> Reply:
    members: dict[str, dict[str, Any]] = {
        "initiateAuthentication": {
            "transactionId": TRANSACTION.hex().upper(),
            "serverSigned1": b64(server_signed1()),
            "serverSignature1": b64(SIGNATURE),
            "euiccCiPKIdToBeUsed": b64(tlv.wrap(0x04, bytes(20))),
            "serverCertificate": b64(CERTIFICATE),
        },
        "authenticateClient": {
            "transactionId": TRANSACTION.hex().upper(),
            "profileMetadata": b64(METADATA),
            "smdpSigned2": b64(smdp_signed2()),
            "smdpSignature2": b64(SIGNATURE),
            "smdpCertificate": b64(CERTIFICATE),
        },
        "getBoundProfilePackage": {
            "transactionId": TRANSACTION.hex().upper(),
            "boundProfilePackage": b64(package()),
        },
        "cancelSession": {},
        "handleNotification": {},
    }
    if function == "handleNotification":
        return Reply(status=204)
    return success(**{**members[function], **changes})


@dataclass(frozen=True, kw_only=True)
class Seen:
    function: str
    body: bytes
    headers: dict[str, str]
    connection: object

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class Script:
    """Answers each function with the next prepared reply, and with a good one when none is left."""

    def __init__(self) -> None:
        self.replies: dict[str, list[Reply]] = {}
        self.seen: list[Seen] = []
        self.judge: Callable[[Seen], Reply | None] = lambda seen: None
        self.port = 0
        self._runner: web.AppRunner | None = None

    def prepare(self, function: str, *replies: Reply) -> None:
        self.replies[function] = list(replies)

    def functions(self) -> list[str]:
        return [each.function for each in self.seen]

    async def start(self, tls: ssl.SSLContext, path: str = "/gsma/rsp2/es9plus/{function}") -> None:
        app = web.Application()
        app.router.add_post(path, self._handle)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        function = request.match_info["function"]
        seen = Seen(
            function=function,
            body=await request.read(),
            headers=dict(request.headers),
            connection=request.transport.get_extra_info("peername"),
        )
        self.seen.append(seen)
        prepared = self.replies.get(function)
        reply = prepared.pop(0) if prepared else (self.judge(seen) or good(function))
        if reply.drop:
            request.transport.abort()
        body = reply.raw if reply.raw is not None else json.dumps(reply.members).encode() if reply.members else None
        headers = {"X-Admin-Protocol": "gsma/rsp/v2.5.0", **reply.headers}
        if body is not None:
            headers.setdefault("Content-Type", "application/json;charset=UTF-8")
        kept = {name: value for name, value in headers.items() if value}
        return web.Response(status=reply.status, body=body, headers=kept)


class ConstantCard:
    """Answers every ES10 function with a constant; records the requests, reports success after the last segment."""

    def __init__(self, *, error_reason: int | None = None) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self.waiting: dict[int, bytes] = {}
        self.error_reason = error_reason
        self._loaded = 0

    def get_euicc_info1(self) -> bytes:
        return tlv.wrap(0xBF20, tlv.wrap(0x82, b"\x02\x05\x00"))

    def get_euicc_challenge(self) -> bytes:
        return tlv.wrap(0xBF2E, tlv.wrap(0x80, CHALLENGE))

    def authenticate_server(self, request: bytes) -> bytes:
        self.asked.append(("authenticate_server", request))
        return tlv.wrap(0xBF38, tlv.wrap(0xA0, b""))

    def prepare_download(self, request: bytes) -> bytes:
        self.asked.append(("prepare_download", request))
        return tlv.wrap(0xBF21, tlv.wrap(0xA0, b""))

    def load_bound_profile_package(self, segment: bytes) -> bytes:
        self.asked.append(("load", segment))
        self._loaded += len(segment)
        if self._loaded < len(package()):
            return b""
        self.waiting[7] = self.result()
        return self.waiting[7]

    def result(self) -> bytes:
        success = tlv.wrap(0xA0, tlv.wrap(0x4F, bytes(16)), tlv.wrap(0x04, b""))
        failed = tlv.wrap(0xA1, tlv.wrap(0x80, b"\x05"), tlv.wrap(0x81, bytes((self.error_reason or 0,))))
        event = (tlv.wrap(0x80, b"\x07"), tlv.wrap(0x81, b"\x07\x80"), tlv.wrap(0x0C, HOST.encode()))
        data = (
            tlv.wrap(0x80, TRANSACTION),
            tlv.wrap(0xBF2F, *event, tlv.wrap(0x5A, ICCID)),
            tlv.wrap(0x06, b"\x88\x37\x0a"),
            tlv.wrap(0xA2, failed if self.error_reason else success),
        )
        return tlv.wrap(0xBF37, tlv.wrap(0xBF27, *data), SIGNATURE)

    def cancel_session(self, request: bytes) -> bytes:
        self.asked.append(("cancel_session", request))
        return tlv.wrap(0xBF41, tlv.wrap(0xA0, b""))

    def retrieve_notifications(self, request: bytes) -> bytes:
        assert request == bytes.fromhex("BF2B00")
        return tlv.wrap(0xBF2B, tlv.wrap(0xA0, *self.waiting.values()))

    def remove_notification(self, request: bytes) -> bytes:
        number = tlv.read_only(request, 0xBF30).members()[0x80].integer()
        del self.waiting[number]
        return tlv.wrap(0xBF30, tlv.wrap_integer(0x80, 0))

"""A tiny eIM over HTTPS, and a device under it: what tests of the IPA talk to. Its messages are its own work."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from aiohttp import web
from iot_stage import EIM_HOST
from lpa_pki import Pki
from lpa_script import HOST

from rsp.tlv import Tlv, read, read_only, wrap, wrap_integer
from simulator.exchange import Habits, Retries, trust
from simulator.iot_card import IotCard
from simulator.ipa import Ipa, IpaOptions
from simulator.losses import Losses
from simulator.network import Network

PATH = "/gsma/rsp2/asn1"
FUNCTIONS = {0xBF4F: "getEimPackage", 0xBF50: "provideEimPackageResult", 0xBF3D: "handleNotification"}
NOTHING = bytes.fromhex("bf4f03020101")
EMPTY = bytes.fromhex("bf50023000")


@dataclass(frozen=True, kw_only=True)
class Seen:
    function: str
    body: bytes
    headers: dict[str, str]
    connection: object


@dataclass(frozen=True, kw_only=True)
class EimReply:
    """One prepared answer; `drop` closes the connection instead, after the eIM has acted."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


class TinyEim:
    """Gives out `package` until a result has come, and acknowledges the sequence numbers in it; or as prepared."""

    def __init__(self) -> None:
        self.package: bytes | None = None
        self.seen: list[Seen] = []
        self.replies: dict[str, list[EimReply]] = {}
        self.port = 0
        self._runner: web.AppRunner | None = None

    def prepare(self, function: str, *replies: EimReply) -> None:
        self.replies[function] = list(replies)

    def functions(self) -> list[str]:
        return [each.function for each in self.seen]

    def bodies(self, function: str) -> list[bytes]:
        return [each.body for each in self.seen if each.function == function]

    @property
    def results(self) -> list[Tlv]:
        """What arrived as results, in order, repeated ones included."""
        return [list(read_only(body, 0xBF50).children())[1] for body in self.bodies("provideEimPackageResult")]

    async def start(self, tls: ssl.SSLContext) -> None:
        app = web.Application()
        app.router.add_post(PATH, self._handle)
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
        body = await request.read()
        function = FUNCTIONS[read(body).tag]
        peer = request.transport.get_extra_info("peername")
        self.seen.append(Seen(function=function, body=body, headers=dict(request.headers), connection=peer))
        prepared = self.replies.get(function)
        reply = prepared.pop(0) if prepared else self._answer(function, body)
        if reply.drop:
            request.transport.abort()
        headers = {"X-Admin-Protocol": "gsma/rsp/v2.1.0"}
        if reply.body:
            headers["Content-Type"] = "application/x-gsma-rsp-asn1"
        kept = {name: value for name, value in (headers | reply.headers).items() if value}
        return web.Response(status=reply.status, body=reply.body or None, headers=kept)

    def _answer(self, function: str, body: bytes) -> EimReply:
        if function == "getEimPackage":
            return EimReply(body=NOTHING if self.package is None else wrap(0xBF4F, self.package))
        if function == "handleNotification":
            return EimReply(status=204)
        self.package = None
        return EimReply(body=acknowledgement(body))


def acknowledgement(body: bytes) -> bytes:
    numbers = sequence_numbers(list(read_only(body, 0xBF50).children())[1])
    return wrap(0xBF50, wrap(0xBF53, *(wrap_integer(0x80, number) for number in numbers))) if numbers else EMPTY


def sequence_numbers(result: Tlv) -> list[int]:
    """The numbers in a package result, or in the installation result of a download."""
    if result.tag == 0xBF54:
        found = result.members()
        if 0xBF37 not in found:
            return []
        return [found[0xBF37].members()[0xBF27].members()[0xBF2F].members()[0x80].integer()]
    if result.tag != 0xBF51:
        return []
    (arm,) = result.children()
    return [next(arm.children()).members()[0x83].integer()] if arm.tag == 0xA0 else []


async def no_pause(seconds: float) -> None:
    return None


@dataclass(kw_only=True)
class Device:
    """Everything of one device that a test turns."""

    ipa: Ipa
    card: IotCard
    network: Network
    losses: Losses
    sessions: list[str]


def device(
    card: IotCard, tls: Pki, ports: dict[str, int], *, network: Network | None = None, options: IpaOptions | None = None
) -> Device:
    sessions: list[str] = []
    losses = Losses()
    around = network or Network(on_session=lambda iccid: sessions.append(str(iccid)))
    ipa = Ipa.over(
        card,
        around,
        tls=trust(tls.ca_file),
        addresses={host: ("127.0.0.1", port) for host, port in ports.items()},
        habits=Habits(pause=no_pause, retries=Retries(attempts=2), interfere=losses),
        options=options or IpaOptions(result_retries=Retries(attempts=3)),
    )
    return Device(ipa=ipa, card=card, network=around, losses=losses, sessions=sessions)


HOSTS = (EIM_HOST, HOST)

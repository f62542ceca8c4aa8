"""ES9+ over real TLS in both bindings, with the clock and the cards of `Stage`: what a device sends, what came back.

Both spellings are written from the standard (SGP.22 6.5.2.6 to 6.5.2.10, annex H), not from the server.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import aiohttp
from prometheus_client import CollectorRegistry

from es9plus import asn1, messages
from es9plus.server import Es9Plus
from rsp import tlv
from rsp.identifiers import TransactionId
from simulator import lpa_messages
from simulator.bpp_segments import split_bound_profile_package
from simulator.card import Card
from simulator.lpa_messages import InstallationResult
from tests.protocol_stage import NAME, Stage
from transport.functions import Interface, Limits
from transport.listening import Patience, listening
from transport.metrics import HttpMetrics
from transport.tls import server_context

INITIATE, AUTHENTICATE, DELIVER = "initiateAuthentication", "authenticateClient", "getBoundProfilePackage"
NOTIFY, CANCEL = "handleNotification", "cancelSession"
MOST_BYTES = 262_144

_ANSWERS = {
    INITIATE: ("transactionId", "serverSigned1", "serverSignature1", "euiccCiPKIdToBeUsed", "serverCertificate"),
    AUTHENTICATE: ("transactionId", "profileMetadata", "smdpSigned2", "smdpSignature2", "smdpCertificate"),
    DELIVER: ("transactionId", "boundProfilePackage"),
    CANCEL: (),
}
Members = Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The code of a refused function: "8.1.1/3.8" in JSON, an integer in ASN.1; `message` in JSON only."""

    code: str | int
    message: str = ""


class Wire(Protocol):
    """One binding as a device speaks it."""

    name: str
    media_type: str

    def path(self, function: str) -> str:
        """Where the function is called."""

    def write(self, function: str, members: Members) -> bytes:
        """A request with these members in their order; binary ones are whole TLVs, as in the JSON binding."""

    def read(self, function: str, answer: Answer) -> Members | Refusal:
        """The answer, of which everything is checked that the binding fixes."""


class JsonWire:
    """6.5."""

    name = "json"
    media_type = "application/json"

    def path(self, function: str) -> str:
        """One for each function."""
        return f"/gsma/rsp2/es9plus/{function}"

    def write(self, function: str, members: Members) -> bytes:
        """Hexadecimal, text, and base64."""
        body = {name: _json_value(name, value) for name, value in members.items()}
        return json.dumps(body).encode()

    def read(self, function: str, answer: Answer) -> Members | Refusal:
        """Exactly the members of the standard beside the header."""
        assert answer.status == 200, answer
        assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
        assert answer.headers["X-Admin-Protocol"] == "gsma/rsp/v2.5.0"
        assert answer.body.isascii()
        body = json.loads(answer.body)
        header = body.pop("header")
        assert set(header) == {"functionExecutionStatus"}
        status = header["functionExecutionStatus"]
        if status["status"] == "Failed":
            data = status["statusCodeData"]
            assert set(status) == {"status", "statusCodeData"}
            assert (body, set(data) - {"subjectIdentifier"}) == ({}, {"subjectCode", "reasonCode", "message"})
            assert 0 < len(data["message"]) < 128
            return Refusal(code=f"{data['subjectCode']}/{data['reasonCode']}", message=data["message"])
        assert status == {"status": "Executed-Success"}
        assert tuple(body) == _ANSWERS[function]
        if "transactionId" in body:
            assert body["transactionId"] == body["transactionId"].upper()
        return {
            name: bytes.fromhex(text) if name == "transactionId" else base64.b64decode(text, validate=True)
            for name, text in body.items()
        }


def _json_value(name: str, value: bytes) -> str:
    if name == "transactionId":
        return value.hex().upper()
    return value.decode() if name == "smdpAddress" else base64.b64encode(value).decode()


class Asn1Wire:
    """6.6 and annex H: everything inside A2, the function's tag, its members."""

    name = "asn1"
    media_type = "application/x-gsma-rsp-asn1"
    tags: ClassVar[Mapping[str, int]] = {
        INITIATE: 0xBF39,
        AUTHENTICATE: 0xBF3B,
        DELIVER: 0xBF3A,
        NOTIFY: 0xBF3D,
        CANCEL: 0xBF41,
    }

    def path(self, function: str) -> str:
        """The same for all functions."""
        return "/gsma/rsp2/asn1"

    def write(self, function: str, members: Members) -> bytes:
        """RemoteProfileProvisioningRequest."""
        parts = {name: _asn1_value(name, value) for name, value in members.items()}
        if function == INITIATE:
            # The order of the module, which is not that of the JSON members.
            order = ("euiccChallenge", "smdpAddress", "euiccInfo1")
            parts = {name: parts[name] for name in order if name in parts}
        return tlv.wrap(0xA2, tlv.wrap(self.tags[function], *parts.values()))

    def read(self, function: str, answer: Answer) -> Members | Refusal:
        """RemoteProfileProvisioningResponse."""
        assert answer.status == 200, answer
        assert answer.headers["Content-Type"] == self.media_type
        assert answer.headers["X-Admin-Protocol"] == "gsma/rsp/v2.5.0"
        outer = tlv.read_only(answer.body, 0xA2)
        called = tlv.read_only(outer.value, self.tags[function])
        (arm,) = called.children()
        if arm.tag == 0x81:
            return Refusal(code=arm.integer())
        assert arm.tag == 0xA0
        found = list(arm.children())
        names = _ANSWERS[function]
        expected = {INITIATE: (0x80, 0x30, 0x5F37, 0x04, 0x30), AUTHENTICATE: (0x80, 0xBF25, 0x30, 0x5F37, 0x30)}
        tags = expected.get(function, (0x80, 0xBF36) if function == DELIVER else ())
        assert tuple(child.tag for child in found) == tags
        return {
            name: child.value if name == "transactionId" else child.raw
            for name, child in zip(names, found, strict=True)
        }


def _asn1_value(name: str, value: bytes) -> bytes:
    outer = {"euiccChallenge": 0x81, "smdpAddress": 0x83, "transactionId": 0x80, "pendingNotification": 0xA0}
    if name in outer:
        return tlv.wrap(outer[name], value)
    if name == "cancelSessionResponse" and value[:2] == b"\xbf\x41":
        return tlv.wrap(0xA1, tlv.read_only(value, 0xBF41).value)
    return value


WIRES: tuple[Wire, ...] = (JsonWire(), Asn1Wire())
JSON, ASN1 = WIRES


@dataclass(frozen=True, slots=True, kw_only=True)
class Es9Stage:
    """A stage whose ES9+ is answered on `port`."""

    stage: Stage
    port: int
    http: aiohttp.ClientSession
    heard: list[Answer] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def opened(cls, stage: Stage) -> AsyncIterator[Es9Stage]:
        """Both bindings, as a process of the server answers them."""
        json_interface = _interface("es9plus", messages.PREFIX)
        asn1_interface = Interface(
            name="es9plus",
            prefix=asn1.PREFIX,
            limits=json_interface.limits,
            metrics=json_interface.metrics,
            binding=asn1.BINDING,
        )
        devices = Es9Plus(stage.downloads, stage.cancellation, stage.notifications)
        choose = devices.choosing(asn1_interface)
        routes = [*devices.routes(json_interface), asn1_interface.choosing_route(asn1.PATH, choose)]
        pki = stage.material.pki
        tls = server_context(pki.tls_certificate, pki.tls_key)
        patience = Patience(handshake_seconds=5, idle_seconds=5, stall_seconds=5, drain_seconds=1)
        trust = lpa_trust(stage)
        async with (
            listening(json_interface.application(routes), ("127.0.0.1", 0), tls, patience) as port,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as http,
        ):
            made = cls(stage=stage, port=port, http=http)
            yield made
            assert [answer.status for answer in made.heard if answer.status >= 500] == []

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Any request."""
        async with self.http.post(
            f"https://127.0.0.1:{self.port}{path}",
            data=body,
            headers=headers,
            server_hostname=NAME,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as response:
            answer = Answer(status=response.status, headers=dict(response.headers), body=await response.read())
            self.heard.append(answer)
            return answer

    def dialogue(self, wire: Wire, card: Card, matching_id: str | None = None) -> Dialogue:
        """A device with `card` that speaks `wire` and holds the MatchingID of an activation code."""
        return Dialogue(es9=self, wire=wire, card=card, matching_id=matching_id)


def _interface(name: str, prefix: str) -> Interface:
    return Interface(
        name=name,
        prefix=prefix,
        limits=Limits(body_bytes=MOST_BYTES, seconds=5.0),
        metrics=HttpMetrics(CollectorRegistry()),
    )


def lpa_trust(stage: Stage) -> ssl.SSLContext:
    """A device's TLS: trusts the CIs, checks the name."""

    context = ssl.create_default_context(cadata=stage.material.pki.ci_certificates[0])
    for ci in stage.material.pki.ci_certificates[1:]:
        context.load_verify_locations(cadata=ci)
    return context


@dataclass(slots=True, kw_only=True)
class Dialogue:
    """One device in one session. `sent` and `got` keep the last request body and answer of each function."""

    es9: Es9Stage
    wire: Wire
    card: Card
    matching_id: str | None
    initiated: Members | None = None
    shown: Members | None = None
    sent: dict[str, bytes] = field(default_factory=dict)
    got: dict[str, Answer] = field(default_factory=dict)

    @property
    def transaction_id(self) -> bytes:
        """Of the session."""
        assert self.initiated is not None
        return self.initiated["transactionId"]

    @property
    def id(self) -> TransactionId:
        """The same as a type."""
        return TransactionId(self.transaction_id)

    async def state(self) -> tuple[str, str | None]:
        """State and refusal of the session as stored."""
        row = await self.es9.stage.session(self.id)
        return row["state"], row["refusal"]

    async def send(self, function: str, body: bytes, **headers: str) -> Answer:
        """A request body of this binding, whatever is in it."""
        self.sent[function] = body
        sent = {"Content-Type": self.wire.media_type, "X-Admin-Protocol": "gsma/rsp/v2.5.0", **headers}
        self.got[function] = await self.es9.post(self.wire.path(function), body, sent)
        return self.got[function]

    async def call(self, function: str, members: Members, **headers: str) -> Members | Refusal:
        """A function with these members."""
        return self.wire.read(function, await self.send(function, self.wire.write(function, members), **headers))

    async def again(self, function: str) -> Answer:
        """The last request of the function once more, byte for byte."""
        return await self.send(function, self.sent[function])

    # Steps ------------------------------------------------------------------------------------------------------------

    async def initiate(self, address: str = NAME, **changes: bytes) -> Members | Refusal:
        """InitiateAuthentication."""
        challenge = lpa_messages.euicc_challenge(self.card.get_euicc_challenge())
        members = {"euiccChallenge": challenge, "euiccInfo1": self.card.get_euicc_info1()}
        found = await self.call(INITIATE, {**members, "smdpAddress": address.encode(), **changes})
        if not isinstance(found, Refusal):
            self.initiated = found
        return found

    def challenged(self, device: lpa_messages.Device | None = None) -> bytes:
        """AuthenticateServer on the card: its BF38."""
        assert self.initiated is not None
        server = tuple(self.initiated[name] for name in _ANSWERS[INITIATE][1:])
        request = lpa_messages.authenticate_server_request(server, self.matching_id, device or lpa_messages.Device())
        return self.card.authenticate_server(request)

    async def authenticate(self, message: bytes | None = None) -> Members | Refusal:
        """AuthenticateClient, with the card's BF38 unless other bytes are given."""
        response = self.challenged() if message is None else message
        members = {"transactionId": self.transaction_id, "authenticateServerResponse": response}
        found = await self.call(AUTHENTICATE, members)
        if not isinstance(found, Refusal):
            self.shown = found
        return found

    def prepared(self, code: str | None = None, hash_cc: bytes | None = None) -> bytes:
        """PrepareDownload on the card: its BF21, with the hash of `code` when there is one."""
        assert self.shown is not None
        if code is not None:
            hash_cc = lpa_messages.hashed_confirmation_code(code, self.id)
        signed2, signature2, certificate = (
            self.shown[name] for name in ("smdpSigned2", "smdpSignature2", "smdpCertificate")
        )
        request = lpa_messages.prepare_download_request(signed2, signature2, certificate, hash_cc)
        return self.card.prepare_download(request)

    async def deliver(self, code: str | None = None, message: bytes | None = None) -> Members | Refusal:
        """GetBoundProfilePackage, with the card's BF21 unless other bytes are given."""
        response = self.prepared(code) if message is None else message
        return await self.call(DELIVER, {"transactionId": self.transaction_id, "prepareDownloadResponse": response})

    def install(self, delivered: Members | Refusal) -> InstallationResult:
        """Load the package into the card, all of it or until the card answers."""
        assert not isinstance(delivered, Refusal), delivered
        for piece in split_bound_profile_package(delivered["boundProfilePackage"]):
            if result := self.card.load_bound_profile_package(piece):
                return lpa_messages.read_installation_result(result)
        raise AssertionError("the card took the whole package and reported nothing")

    def cancelled(self, reason: lpa_messages.CancelReason) -> bytes:
        """CancelSession on the card: its BF41."""
        return self.card.cancel_session(lpa_messages.cancel_session_request(self.id, reason))

    async def cancel(self, message: bytes) -> Members | Refusal:
        """CancelSession with a BF41."""
        return await self.call(CANCEL, {"transactionId": self.transaction_id, "cancelSessionResponse": message})

    async def notify(self, notification: bytes) -> None:
        """HandleNotification: 204 and nothing more."""
        answer = await self.send(NOTIFY, self.wire.write(NOTIFY, {"pendingNotification": notification}))
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["X-Admin-Protocol"] == "gsma/rsp/v2.5.0"
        assert "Content-Type" not in answer.headers

    async def begun(self) -> Dialogue:
        """InitiateAuthentication and AuthenticateClient, both accepted."""
        for found in (await self.initiate(), await self.authenticate()):
            assert not isinstance(found, Refusal), found
        return self

"""LPA and strict card together, over HTTPS, against a server that signs and encrypts for real."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from card_test_pki import EID, pki
from card_test_server import PackageWish, ScriptedServer, card, metadata, profile_package
from cryptography import x509
from cryptography.x509.oid import NameOID
from fleet_server import make_eum_under
from lpa_pki import Pki, make_pki
from lpa_script import HOST, Reply, Script, Seen, b64, failure, success

from rsp import tlv
from rsp.identifiers import ActivationCode
from simulator.card import Card
from simulator.exchange import Exchange, Habits, trust
from simulator.fleet import Fleet, FleetOptions
from simulator.issuer import EumIssuer
from simulator.lpa import CancelPolicy, Errored, Installed, Lpa, Refused
from simulator.misbehaviour import Misbehaviour

CODE = f"1${HOST}$TOKEN-1"


@dataclass
class SigningServer:
    """The `judge` of a Script: one ScriptedServer for each session, answering with what it signs."""

    sessions: dict[str, ScriptedServer] = field(default_factory=dict)
    eids: dict[str, str] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)
    code_required: bool = False
    shown: bytes = field(default_factory=metadata)

    def __call__(self, seen: Seen) -> Reply | None:
        method: Callable[[dict[str, Any]], Reply] = getattr(self, f"_{seen.function}")
        return method(seen.json)

    def _initiateAuthentication(self, body: dict[str, Any]) -> Reply:  # noqa: N802 -- the word of the standard
        server = ScriptedServer()
        server.transaction_id = secrets.token_bytes(16)
        name = server.transaction_id.hex().upper()
        self.sessions[name] = server
        request = server.authenticate_request(base64.b64decode(body["euiccChallenge"]))
        signed, signature, key_id, certificate, _ = tlv.read_only(request, 0xBF38).children()
        return success(
            transactionId=name,
            serverSigned1=b64(signed.raw),
            serverSignature1=b64(signature.raw),
            euiccCiPKIdToBeUsed=b64(key_id.raw),
            serverCertificate=b64(certificate.raw),
        )

    def _authenticateClient(self, body: dict[str, Any]) -> Reply:  # noqa: N802 -- the word of the standard
        response = base64.b64decode(body["authenticateServerResponse"])
        arm = next(tlv.read_only(response, 0xBF38).children())
        if arm.tag == 0xA1:
            return failure("8.1", "6.1", "The card refused.")
        certificate = x509.load_der_x509_certificate(list(arm.children())[2].raw)
        serial = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)[0].value
        self.eids[body["transactionId"]] = str(serial)
        required = b"\xff" if self.code_required else b"\x00"
        request = self.sessions[body["transactionId"]].prepare_request(response, cc_required=required)
        signed, signature, certificate2 = tlv.read_only(request, 0xBF21).children()
        return success(
            transactionId=body["transactionId"],
            profileMetadata=b64(self.shown),
            smdpSigned2=b64(signed.raw),
            smdpSignature2=b64(signature.raw),
            smdpCertificate=b64(certificate2.raw),
        )

    def _getBoundProfilePackage(self, body: dict[str, Any]) -> Reply:  # noqa: N802 -- the word of the standard
        name = body["transactionId"]
        response = base64.b64decode(body["prepareDownloadResponse"])
        if next(tlv.read_only(response, 0xBF21).children()).tag == 0xA1:
            return failure("8.2.7", "2.2", "The card refused.")
        bound = self.sessions[name].bound_package(response, PackageWish(eid=self.eids[name]))
        return success(transactionId=name, boundProfilePackage=b64(bound))

    def _handleNotification(self, body: dict[str, Any]) -> Reply:  # noqa: N802 -- the word of the standard
        return Reply(status=204)

    def _cancelSession(self, body: dict[str, Any]) -> Reply:  # noqa: N802 -- the word of the standard
        self.answers["cancel"] = base64.b64decode(body["cancelSessionResponse"])
        return success()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"), HOST)


@pytest.fixture
def server() -> SigningServer:
    return SigningServer()


@pytest.fixture
async def script(tls: Pki, server: SigningServer) -> AsyncIterator[Script]:
    script = Script()
    script.judge = server
    await script.start(tls.server())
    yield script
    await script.stop()


async def no_pause(seconds: float) -> None:
    return None


@pytest.fixture
async def exchange(script: Script, tls: Pki) -> AsyncIterator[Exchange]:
    addresses = {HOST: ("127.0.0.1", script.port)}
    async with Exchange(tls=trust(tls.ca_file), addresses=addresses, habits=Habits(pause=no_pause)) as exchange:
        yield exchange


def waiting(target: Card) -> int:
    return len(target.memory.notifications)


async def test_a_profile_gets_onto_the_strict_card(exchange: Exchange) -> None:
    target = card()
    assert isinstance(await Lpa(target, exchange).download(CODE), Installed)
    (profile,) = target.profiles
    assert (profile.package, profile.metadata) == (profile_package(), metadata())
    assert waiting(target) == 0


async def test_lost_answers_do_not_disturb_the_card(exchange: Exchange, script: Script) -> None:
    for function in ("initiateAuthentication", "authenticateClient", "getBoundProfilePackage", "handleNotification"):
        script.prepare(function, Reply(drop=True))
    target = card()
    assert isinstance(await Lpa(target, exchange).download(CODE), Installed)
    assert len(target.profiles) == 1


async def test_a_confirmation_code_passes_the_card(exchange: Exchange, server: SigningServer) -> None:
    server.code_required = True
    assert isinstance(await Lpa(card(), exchange).download(CODE, "1234"), Installed)


async def test_a_card_that_refuses_leads_to_a_refusal(exchange: Exchange) -> None:
    result = await Lpa(card(misbehave=(Misbehaviour.REFUSE_AUTHENTICATION,)), exchange).download(CODE)
    assert isinstance(result, Refused)
    assert (result.function, result.reason) == ("authenticateClient", "6.1")


async def test_other_metadata_than_shown_is_cancelled_with_the_cards_signature(
    exchange: Exchange, server: SigningServer
) -> None:
    server.shown = metadata(notifications=b"")
    target = card()
    result = await Lpa(target, exchange).download(CODE)
    assert isinstance(result, Errored)
    assert result.cancel == "accepted"
    assert target.profiles == ()
    signed = next(next(tlv.read_only(server.answers["cancel"], 0xBF41).children()).children())
    assert signed.members()[0x82].integer() == 4


async def test_a_failed_installation_is_reported_with_its_step_and_reason(
    exchange: Exchange, server: SigningServer
) -> None:
    target = card(misbehave=(Misbehaviour.FAIL_INSTALL_MEMORY,))
    result = await Lpa(target, exchange, cancel_on_failure=CancelPolicy.ALWAYS).download(CODE)
    assert isinstance(result, Errored)
    assert result.error_reason == 10
    assert waiting(target) == 0
    # The session ended with the report, so what a common LPA sends for CancelSession is the card's error.
    assert next(tlv.read_only(server.answers["cancel"], 0xBF41).children()).tag == 0x81


async def test_a_fleet_mixes_strict_and_cheap_cards(script: Script, tls: Pki, server: SigningServer) -> None:
    ci = pki("nist").ci
    eum = make_eum_under(ci.der, ci.key)
    fleet = Fleet(
        EumIssuer(eum.certificate, eum.key, (eum.ci_certificate,)),
        [ActivationCode.parse(CODE)] * 4,
        tls=trust(tls.ca_file),
        addresses={HOST: ("127.0.0.1", script.port)},
        options=FleetOptions(concurrency=2, verify_every=2),
    )
    report = await fleet.run()
    assert (report.installed, report.verified) == (4, 2), report.failures
    assert EID not in server.eids.values()

"""Triggers and data requests: the IPA, the strict card, a tiny eIM and an SM-DP+ that signs (SGP.32 3.2, 2.11.1.2)."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from card_test_pki import pki
from iot_stage import EIM_HOST, LIST, PARTNER, TRANSACTION, enable, iot_card, package, states, stored, token_tlv
from ipa_stage import HOSTS, Device, EimReply, TinyEim, device
from lpa_pki import Pki, make_pki
from lpa_script import HOST, Script, failure
from test_lpa_with_card import SigningServer

from rsp.tlv import Tlv, read_only, wrap, wrap_integer
from simulator.exchange import Retries
from simulator.iot_card import IotCard
from simulator.ipa import Did, IpaOptions, Route
from simulator.lpa_types import Installed, Refused
from simulator.misbehaviour import Misbehaviour

CODE = f"1${HOST}$TOKEN-1"
PROVIDE = "provideEimPackageResult"
DIRECT = IpaOptions(result_retries=Retries(attempts=2))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"), *HOSTS)


@pytest.fixture
async def eim(tls: Pki) -> AsyncIterator[TinyEim]:
    eim = TinyEim()
    await eim.start(tls.server())
    yield eim
    await eim.stop()


@pytest.fixture
async def smdp(tls: Pki) -> AsyncIterator[Script]:
    script = Script()
    script.judge = SigningServer()
    await script.start(tls.server())
    yield script
    await script.stop()


def fresh_card() -> IotCard:
    """A card with the lead profile alone."""
    card = iot_card()
    card.memory.profiles[:] = card.memory.profiles[:1]
    return card


@pytest.fixture
async def at(eim: TinyEim, smdp: Script, tls: Pki) -> AsyncIterator[Device]:
    found = device(fresh_card(), tls, {EIM_HOST: eim.port, HOST: smdp.port}, options=DIRECT)
    async with found.ipa:
        yield found


def trigger(data: bytes | None = None, transaction_id: bytes = TRANSACTION) -> bytes:
    code = wrap(0x80, CODE.encode()) if data is None else data
    return wrap(0xBF54, wrap(0xA0, code) if code else b"", wrap(0x82, transaction_id) if transaction_id else b"")


def members(result: Tlv) -> dict[int, Tlv]:
    return result.members()


# Downloads -----------------------------------------------------------------------------------------------------------


async def test_a_trigger_leads_to_a_disabled_profile_and_evidence_for_both_sides(
    at: Device, eim: TinyEim, smdp: Script
) -> None:
    eim.package = trigger()
    polled = await at.ipa.poll()
    assert (polled.did, polled.delivered) == (Did.DOWNLOADED, True)
    assert isinstance(polled.download, Installed)
    assert states(at.card)[PARTNER] is False
    assert smdp.functions()[-1] == "handleNotification"
    (result,) = eim.results
    assert (result.tag, list(members(result))) == (0xBF54, [0x82, 0xBF37])
    assert members(result)[0x82].value == TRANSACTION
    assert at.card.memory.notifications == []
    assert smdp.seen[0].headers["User-Agent"] == "gsma-rsp-ipad"


async def test_the_server_gets_the_same_evidence_as_the_eim(at: Device, eim: TinyEim, smdp: Script) -> None:
    eim.package = trigger()
    await at.ipa.poll()
    told = smdp.seen[-1].json["pendingNotification"]
    assert told.encode() == base64.b64encode(members(eim.results[0])[0xBF37].raw)


async def test_the_profile_can_be_enabled_afterwards(at: Device, eim: TinyEim) -> None:
    eim.package = trigger()
    await at.ipa.poll()
    eim.package = package(at.card, 1, enable(PARTNER, rollback=True))
    assert (await at.ipa.poll()).delivered
    assert at.network.attached == PARTNER


async def test_without_direct_notifications_the_eim_alone_has_the_evidence(
    eim: TinyEim, smdp: Script, tls: Pki
) -> None:
    options = replace(DIRECT, notifications=Route.NONE)
    found = device(fresh_card(), tls, {EIM_HOST: eim.port, HOST: smdp.port}, options=options)
    eim.package = trigger()
    async with found.ipa:
        await found.ipa.poll()
    assert "handleNotification" not in smdp.functions()
    # The acknowledgement of the eIM lets the card forget it.
    assert (len(eim.results), found.card.memory.notifications) == (1, [])


async def test_a_lost_report_to_the_server_waits_on_the_card_until_the_eim_has_it(
    at: Device, eim: TinyEim, smdp: Script
) -> None:
    at.losses.lose_requests("handleNotification")
    at.losses.lose_requests(PROVIDE)
    eim.package = trigger()
    polled = await at.ipa.poll()
    assert (polled.delivered, len(at.card.memory.notifications)) == (False, 1)
    at.losses.lose_requests(PROVIDE, 0)
    eim.package = None
    polled = await at.ipa.poll()
    assert (polled.did, polled.delivered) == (Did.FOUND_NOTHING, True)
    assert at.card.memory.notifications == []
    assert len(eim.results) == 1


async def test_a_trigger_that_comes_again_is_answered_again_without_a_second_download(
    at: Device, eim: TinyEim, smdp: Script
) -> None:
    at.losses.lose_answers(PROVIDE, 2)
    eim.package = trigger()
    await at.ipa.poll()
    asked = len(smdp.seen)
    eim.prepare("getEimPackage", EimReply(body=wrap(0xBF4F, trigger())))
    polled = await at.ipa.poll()
    assert (polled.did, polled.delivered) == (Did.DOWNLOADED, True)
    assert len(smdp.seen) == asked
    assert len({result.raw for result in eim.results}) == 1


async def test_a_refused_download_is_told_to_the_eim(at: Device, eim: TinyEim, smdp: Script) -> None:
    smdp.prepare("authenticateClient", failure("8.2.6", "3.8", "Wrong code."))
    eim.package = trigger()
    polled = await at.ipa.poll()
    assert isinstance(polled.download, Refused)
    error = members(members(eim.results[0])[0x30])
    assert error[0x80].integer() == 127
    assert error[0x04].text() == "authenticateClient: 8.2.6/3.8 Wrong code."


async def test_a_failed_installation_is_evidence_too(eim: TinyEim, smdp: Script, tls: Pki) -> None:
    card = fresh_card()
    card.misbehave = frozenset({Misbehaviour.FAIL_INSTALL_MEMORY})
    found = device(card, tls, {EIM_HOST: eim.port, HOST: smdp.port}, options=DIRECT)
    eim.package = trigger()
    async with found.ipa:
        polled = await found.ipa.poll()
    assert polled.delivered
    assert members(members(members(eim.results[0])[0xBF37])[0xBF27])[0xA2].value[0] == 0xA1
    assert list(states(card).values()) == [True]


@pytest.mark.parametrize("data", [wrap(0x80, b"nonsense"), wrap(0x80), wrap(0x81), b""])
async def test_a_trigger_that_leads_nowhere_is_an_error(at: Device, eim: TinyEim, data: bytes) -> None:
    eim.package = trigger(data)
    polled = await at.ipa.poll()
    assert (polled.did, polled.delivered, polled.download) == (Did.DOWNLOADED, True, None)
    assert members(members(eim.results[0])[0x30])[0x80].integer() == 127


async def test_the_default_server_of_the_card_is_used_when_asked_for(at: Device, eim: TinyEim, smdp: Script) -> None:
    at.card.default_smdp_address = HOST
    eim.package = trigger(wrap(0x81))
    assert isinstance((await at.ipa.poll()).download, Installed)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (trigger(wrap(0xA2)), 127),
        (wrap(0xBF54, wrap(0xA1)), 1),
        (wrap(0xBF54, wrap(0x82)), 1),
        (wrap(0xBF54, wrap(0xA0)), 1),
    ],
)
async def test_a_trigger_that_cannot_be_followed_is_told(at: Device, eim: TinyEim, request_: bytes, code: int) -> None:
    eim.package = request_
    assert (await at.ipa.poll()).did is Did.COULD_NOT_READ
    assert eim.results[0].raw == wrap(0xA0, wrap_integer(0x02, code))


async def test_the_download_needs_the_network_of_the_present_profile(at: Device, eim: TinyEim, smdp: Script) -> None:
    at.losses.lose_requests("getBoundProfilePackage")
    eim.package = trigger()
    polled = await at.ipa.poll()
    assert (polled.delivered, list(states(at.card).values())) == (True, [True])
    assert "lost on its way" in members(members(eim.results[0])[0x30])[0x04].text()


# Data ----------------------------------------------------------------------------------------------------------------


def data_request(tags: str, *more: bytes) -> bytes:
    return wrap(0xBF52, wrap(0x5C, bytes.fromhex(tags)), *more, wrap(0x83, TRANSACTION))


async def asked(at: Device, eim: TinyEim, request: bytes) -> dict[int, Tlv]:
    eim.package = request
    polled = await at.ipa.poll()
    assert (polled.did, polled.delivered) == (Did.TOLD, True)
    (arm,) = eim.results[-1].children()
    return arm.members()


async def test_the_device_tells_what_an_eim_needs_to_know(at: Device, eim: TinyEim) -> None:
    found = await asked(at, eim, data_request("BF20BF2284A5A6A8A9A081A283"))
    assert list(found) == [0xA0, 0xA2, 0xBF20, 0xBF22, 0x83, 0x84, 0xA5, 0xA6, 0x87, 0xA8, 0xA9]
    chain = pki("nist").credentials()
    assert wrap(0x30, found[0xA5].value) == chain.eum_certificate
    assert wrap(0x30, found[0xA6].value) == chain.euicc_certificate
    assert found[0xBF22].raw == at.card.get_euicc_info2()
    assert found[0x84].raw == token_tlv(at.card)
    assert found[0x87].value == TRANSACTION
    assert found[0xA8].value.hex() == "8002078081020780"


async def test_a_default_address_is_told_when_there_is_one(at: Device, eim: TinyEim) -> None:
    at.card.default_smdp_address = HOST
    assert (await asked(at, eim, data_request("81")))[0x81].text() == HOST


async def test_waiting_results_are_told_and_forgotten_when_acknowledged(at: Device, eim: TinyEim) -> None:
    eim.prepare(PROVIDE, EimReply(body=bytes.fromhex("bf50023000")))
    eim.package = package(at.card, 1, LIST)
    await at.ipa.poll()
    (waiting,) = stored(at.card)
    number = read_only(waiting, 0xBF51).value[0]
    assert number == 0xA0
    eim.prepare(PROVIDE, EimReply(body=wrap(0xBF50, wrap(0xBF53, wrap_integer(0x80, 0)))))
    found = await asked(at, eim, data_request("A2"))
    assert [entry.raw for entry in found[0xA2].children()] == [waiting]
    assert stored(at.card) == []


async def test_results_are_chosen_by_number(at: Device, eim: TinyEim) -> None:
    card = at.card
    first = card.load_euicc_package(package(card, 1, LIST))
    card.load_euicc_package(package(card, 2, LIST))
    eim.prepare(PROVIDE, EimReply(body=bytes.fromhex("bf50023000")), EimReply(body=bytes.fromhex("bf50023000")))
    found = await asked(at, eim, data_request("A2", wrap(0xA2, wrap_integer(0x80, 0))))
    assert [entry.raw for entry in found[0xA2].children()] == [first]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (data_request("5A"), 1),
        (data_request("BF2D"), 1),
        (data_request(""), 1),
        (data_request("BF"), 1),
        (data_request("A5", wrap(0x04, bytes(20))), 5),
    ],
)
async def test_a_question_that_has_no_answer_is_an_error(at: Device, eim: TinyEim, request_: bytes, code: int) -> None:
    eim.package = request_
    assert (await at.ipa.poll()).did is Did.TOLD
    expected = wrap(0xA1, wrap(0x80, TRANSACTION), wrap_integer(0x02, code))
    assert eim.results[0].raw == wrap(0xBF52, expected)


async def test_a_question_that_is_malformed_is_told(at: Device, eim: TinyEim) -> None:
    eim.package = wrap(0xBF52, wrap(0x83, TRANSACTION))
    assert (await at.ipa.poll()).did is Did.COULD_NOT_READ
    assert eim.results[0].raw.hex() == "a003020101"

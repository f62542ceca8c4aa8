"""The IPA and the strict card under a tiny eIM: packages, networks, rollback, lost messages (SGP.32 3.3, 5.14)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from card_test_pki import EID
from iot_stage import (
    EIM_HOST,
    LEAD,
    LIST,
    PARTNER,
    THIRD,
    disable,
    enable,
    iot_card,
    package,
    read_result,
    states,
    stored,
)
from ipa_stage import EMPTY, HOSTS, Device, EimReply, TinyEim, device
from lpa_pki import Pki, make_pki

from rsp.tlv import wrap, wrap_integer
from simulator.esipa import StateChange
from simulator.exchange import Retries
from simulator.ipa import Did, Ipa, IpaOptions, Route
from simulator.losses import FOREVER
from simulator.misbehaviour import Misbehaviour
from simulator.network import Line, Network, plmn

ON_LEAD, ON_PARTNER = {LEAD: True, PARTNER: False}, {LEAD: False, PARTNER: True}
PROVIDE = "provideEimPackageResult"


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
async def at(eim: TinyEim, tls: Pki) -> AsyncIterator[Device]:
    """A device whose notifications stay on the card."""
    options = IpaOptions(result_retries=Retries(attempts=3), notifications=Route.NONE)
    found = device(iot_card(), tls, {EIM_HOST: eim.port}, options=options)
    async with found.ipa:
        yield found


def codes(eim: TinyEim) -> list[list[str]]:
    """The command results of every package result that arrived, repeated ones included."""
    return [[entry.hex() for entry in read_result(result.raw).commands] for result in eim.results]


# Polling -------------------------------------------------------------------------------------------------------------


async def test_a_poll_says_who_asks_and_from_where(at: Device, eim: TinyEim) -> None:
    at.network.lines[LEAD] = Line(plmn=plmn("901", "70"))
    polled = await at.ipa.poll()
    assert (polled.did, polled.eim_error) == (Did.FOUND_NOTHING, 1)
    assert eim.seen[0].body == wrap(0xBF4F, wrap(0x5A, bytes.fromhex(EID)), wrap(0x82, bytes.fromhex("09f107")))


async def test_a_poll_marks_its_messages_as_the_binding_asks(at: Device, eim: TinyEim) -> None:
    await at.ipa.poll()
    headers = eim.seen[0].headers
    assert headers["Content-Type"] == "application/x-gsma-rsp-asn1"
    assert headers["User-Agent"] == "gsma-rsp-ipad"
    assert headers["X-Admin-Protocol"] == "gsma/rsp/v2.1.0"
    assert headers["Host"].startswith(EIM_HOST)


async def test_a_state_change_is_told(at: Device, eim: TinyEim) -> None:
    await at.ipa.poll(StateChange.RESET)
    assert eim.seen[0].body[-10:-5].hex() == "8000810104"


@pytest.mark.parametrize("code", [1, 2, 3, 4, 127])
async def test_every_answer_without_package_is_told(at: Device, eim: TinyEim, code: int) -> None:
    eim.prepare("getEimPackage", EimReply(body=wrap(0xBF4F, wrap_integer(0x02, code))))
    assert (await at.ipa.poll()).eim_error == code


@pytest.mark.parametrize(
    "reply",
    [
        EimReply(body=wrap(0xBF4F, wrap_integer(0x02, 9))),
        EimReply(body=wrap(0xBF4F)),
        EimReply(body=wrap(0xBF50, wrap_integer(0x02, 1))),
        EimReply(body=wrap(0xBF4F, wrap(0xBF55))),
        EimReply(body=wrap(0xBF4F, wrap_integer(0x02, 1)) + b"\x00"),
        EimReply(body=wrap(0xA2, wrap(0xBF4F, wrap_integer(0x02, 1)))),
        EimReply(body=bytes.fromhex("bf4f8103020101")),
        EimReply(body=b"nonsense"),
        EimReply(status=404),
        EimReply(status=500),
        EimReply(body=wrap(0xBF4F, wrap_integer(0x02, 1)), headers={"Content-Type": "application/json"}),
        EimReply(body=wrap(0xBF4F, wrap_integer(0x02, 1)), headers={"X-Admin-Protocol": ""}),
        EimReply(body=wrap(0xBF4F, wrap_integer(0x02, 1)), headers={"Content-Encoding": "deflate"}),
    ],
)
async def test_an_answer_that_breaks_the_standard_is_no_contact(at: Device, eim: TinyEim, reply: EimReply) -> None:
    eim.prepare("getEimPackage", reply)
    polled = await at.ipa.poll()
    assert polled.did is Did.FOUND_NO_CONTACT
    assert polled.detail


async def test_a_silent_device_does_nothing(at: Device, eim: TinyEim) -> None:
    at.ipa.silent = True
    assert (await at.ipa.poll()).did is Did.KEPT_SILENT
    assert (eim.seen, at.sessions) == ([], [])


async def test_without_network_nothing_is_sent(at: Device, eim: TinyEim) -> None:
    at.network.lines[LEAD] = Line(attaches=False)
    polled = await at.ipa.poll()
    assert (polled.did, eim.seen) == (Did.FOUND_NO_CONTACT, [])
    assert "no network" in polled.detail


async def test_a_card_without_eim_has_nothing_to_poll(tls: Pki) -> None:
    card = iot_card()
    card.iot.eims.clear()
    with pytest.raises(ValueError, match="no eIM"):
        device(card, tls, {})


# Packages ------------------------------------------------------------------------------------------------------------


async def test_an_enable_switches_the_network_and_reports_over_the_new_one(at: Device, eim: TinyEim) -> None:
    eim.package = package(at.card, 1, enable(PARTNER, rollback=True))
    polled = await at.ipa.poll()
    assert (polled.did, polled.delivered, polled.rolled_back) == (Did.EXECUTED, True, False)
    assert at.network.attached == PARTNER
    assert at.sessions == [str(LEAD), str(PARTNER)]
    assert eim.functions() == ["getEimPackage", PROVIDE]
    assert eim.seen[0].connection != eim.seen[1].connection
    assert eim.seen[1].body == wrap(0xBF50, wrap(0x5A, bytes.fromhex(EID)), polled.package_result or b"")
    assert codes(eim) == [["830100"]]
    assert (states(at.card), stored(at.card), at.card.iot.permission) == (ON_PARTNER, [], None)


async def test_a_list_needs_no_other_network(at: Device, eim: TinyEim) -> None:
    eim.package = package(at.card, 1, LIST)
    assert (await at.ipa.poll()).delivered
    assert at.sessions == [str(LEAD)]


async def test_no_attach_leads_back_and_is_reported_over_the_old_network(at: Device, eim: TinyEim) -> None:
    at.network.lines[PARTNER] = Line(attaches=False)
    eim.package = package(at.card, 1, enable(PARTNER, rollback=True))
    polled = await at.ipa.poll()
    assert (polled.did, polled.delivered, polled.rolled_back) == (Did.EXECUTED, True, True)
    assert (states(at.card), at.network.attached) == (ON_LEAD, LEAD)
    assert at.sessions == [str(LEAD), str(LEAD)]
    assert codes(eim) == [["8c0100"]]
    assert stored(at.card) == []


async def test_a_subscription_that_is_not_live_does_not_attach(eim: TinyEim, tls: Pki) -> None:
    network = Network(is_live=lambda iccid: iccid == LEAD)
    found = device(iot_card(), tls, {EIM_HOST: eim.port}, network=network)
    eim.package = package(found.card, 1, enable(PARTNER, rollback=True))
    async with found.ipa:
        assert (await found.ipa.poll()).rolled_back
    assert network.attached == LEAD


async def test_no_answer_leads_back(at: Device, eim: TinyEim) -> None:
    at.losses.lose_requests(PROVIDE, 3)
    eim.package = package(at.card, 1, enable(PARTNER, rollback=True))
    polled = await at.ipa.poll()
    assert (polled.rolled_back, polled.delivered, states(at.card)) == (True, True, ON_LEAD)
    assert codes(eim) == [["8c0100"]]


async def test_lost_answers_lead_back_though_the_eim_has_seen_the_result(at: Device, eim: TinyEim) -> None:
    at.losses.lose_answers(PROVIDE, 3)
    eim.package = package(at.card, 1, enable(PARTNER, rollback=True))
    polled = await at.ipa.poll()
    assert (polled.rolled_back, polled.delivered, states(at.card)) == (True, True, ON_LEAD)
    assert codes(eim) == [["830100"]] * 3 + [["8c0100"]]


@pytest.mark.parametrize(
    "reply",
    [
        EimReply(body=wrap(0xBF50, wrap_integer(0x02, 127))),
        EimReply(body=wrap(0xBF50, wrap_integer(0x02, 2))),
        EimReply(body=wrap(0xBF50, wrap_integer(0x02, 99))),
        EimReply(status=500),
        EimReply(status=401),
        EimReply(body=b"nonsense"),
        EimReply(body=wrap(0xBF50, wrap(0xBF53, wrap_integer(0x80, 77)))),
        EimReply(body=wrap(0xBF50, wrap(0xBF53, wrap(0x02, b"\x01")))),
        EimReply(body=wrap(0xBF50, wrap(0xBF51))),
    ],
)
async def test_an_error_answer_leads_back(at: Device, eim: TinyEim, reply: EimReply) -> None:
    eim.prepare(PROVIDE, reply)
    eim.package = package(at.card, 1, enable(PARTNER, rollback=True))
    polled = await at.ipa.poll()
    assert (polled.rolled_back, polled.delivered, states(at.card)) == (True, True, ON_LEAD)
    assert codes(eim) == [["830100"], ["8c0100"]]


async def test_the_timer_of_the_ipa_leads_back(eim: TinyEim, tls: Pki) -> None:
    options = IpaOptions(rollback_after=0, notifications=Route.NONE)
    found = device(iot_card(), tls, {EIM_HOST: eim.port}, options=options)
    eim.package = package(found.card, 1, enable(PARTNER, rollback=True))
    async with found.ipa:
        polled = await found.ipa.poll()
    assert (polled.rolled_back, polled.delivered, states(found.card)) == (True, False, ON_LEAD)
    assert "no answer within 0 seconds" in polled.detail


async def test_an_empty_answer_is_enough_to_stay(at: Device, eim: TinyEim) -> None:
    eim.prepare(PROVIDE, EimReply(body=EMPTY))
    eim.package = package(at.card, 1, enable(PARTNER, rollback=True))
    polled = await at.ipa.poll()
    assert (polled.delivered, polled.rolled_back, len(stored(at.card))) == (True, False, 1)
    eim.package = None
    await at.ipa.poll()
    assert eim.functions() == ["getEimPackage", PROVIDE, "getEimPackage"]
    assert states(at.card) == ON_PARTNER


async def test_a_passing_failure_is_tried_again_with_the_same_bytes(at: Device, eim: TinyEim) -> None:
    eim.prepare(PROVIDE, EimReply(status=503), EimReply(drop=True))
    eim.package = package(at.card, 1, enable(PARTNER, rollback=True))
    polled = await at.ipa.poll()
    assert (polled.delivered, polled.rolled_back) == (True, False)
    assert len(eim.bodies(PROVIDE)) == 3
    assert len(set(eim.bodies(PROVIDE))) == 1


async def test_without_leave_to_roll_back_the_result_waits_for_a_better_day(at: Device, eim: TinyEim) -> None:
    at.network.lines[PARTNER] = Line(attaches=False)
    eim.package = package(at.card, 1, enable(PARTNER))
    polled = await at.ipa.poll()
    assert (polled.delivered, polled.rolled_back, states(at.card)) == (False, False, ON_PARTNER)
    assert (await at.ipa.poll()).did is Did.FOUND_NO_CONTACT
    del at.network.lines[PARTNER]
    assert (await at.ipa.poll()).delivered
    assert (codes(eim), stored(at.card)) == ([["830100"]], [])


async def test_an_undelivered_rollback_is_delivered_later(at: Device, eim: TinyEim) -> None:
    at.losses.lose_requests(PROVIDE, FOREVER)
    eim.package = package(at.card, 1, enable(PARTNER, rollback=True))
    polled = await at.ipa.poll()
    assert (polled.rolled_back, polled.delivered) == (True, False)
    at.losses.lose_requests(PROVIDE, 0)
    eim.package = None
    polled = await at.ipa.poll()
    assert (polled.did, polled.delivered, polled.rolled_back) == (Did.FOUND_NOTHING, True, False)
    assert codes(eim) == [["8c0100"]]


async def test_a_rollback_that_the_card_refuses_leaves_the_new_profile(at: Device, eim: TinyEim) -> None:
    at.card.misbehave = frozenset({Misbehaviour.REFUSE_ROLLBACK})
    at.losses.lose_requests(PROVIDE, 3)
    eim.package = package(at.card, 1, enable(PARTNER, rollback=True))
    polled = await at.ipa.poll()
    assert (polled.rolled_back, polled.delivered, states(at.card)) == (False, False, ON_PARTNER)
    eim.package = None
    assert (await at.ipa.poll()).delivered
    assert codes(eim) == [["830100"]]


async def test_power_lost_before_the_report_is_made_good_after_it(at: Device, eim: TinyEim, tls: Pki) -> None:
    at.card.load_euicc_package(package(at.card, 1, enable(PARTNER, rollback=True)))
    again = device(type(at.card).from_bytes(at.card.to_bytes()), tls, {EIM_HOST: eim.port})
    async with again.ipa:
        polled = await again.ipa.poll()
    assert (polled.did, polled.delivered, polled.rolled_back) == (Did.FOUND_NOTHING, True, False)
    assert (codes(eim), again.sessions) == ([["830100"]], [str(PARTNER)])


async def test_a_rollback_after_power_loss_is_told_by_the_poll_that_made_it(at: Device, eim: TinyEim) -> None:
    at.card.load_euicc_package(package(at.card, 1, enable(PARTNER, rollback=True)))
    at.network.lines[PARTNER] = Line(attaches=False)
    eim.package = package(at.card, 2, LIST)
    eim.prepare(PROVIDE, EimReply(body=EMPTY))
    polled = await at.ipa.poll()
    assert (polled.did, polled.rolled_back, polled.delivered) == (Did.EXECUTED, True, True)
    assert states(at.card) == ON_LEAD


async def test_a_replayed_package_moves_nothing_and_is_answered(at: Device, eim: TinyEim) -> None:
    request = package(at.card, 1, enable(PARTNER, rollback=True))
    eim.package = request
    await at.ipa.poll()
    eim.package = request
    polled = await at.ipa.poll()
    assert polled.delivered
    assert read_result(eim.results[-1].raw).code == 4
    assert states(at.card) == ON_PARTNER


async def test_a_forged_package_moves_nothing_and_is_answered_unsigned(at: Device, eim: TinyEim) -> None:
    forged = package(at.card, 1, enable(PARTNER, rollback=True))
    eim.package = forged[:-1] + bytes((forged[-1] ^ 1,))
    await at.ipa.poll()
    assert read_result(eim.results[-1].raw).arm == 0xA2
    assert states(at.card) == ON_LEAD


async def test_a_package_no_card_would_take_is_told_to_the_eim(at: Device, eim: TinyEim) -> None:
    eim.package = wrap(0xBF51, wrap(0x30))
    polled = await at.ipa.poll()
    assert (polled.did, polled.delivered) == (Did.COULD_NOT_READ, True)
    assert eim.results[-1].raw.hex() == "a003020101"


async def test_a_device_without_enabled_profile_falls_silent(at: Device, eim: TinyEim) -> None:
    eim.package = package(at.card, 1, disable(LEAD))
    polled = await at.ipa.poll()
    assert (polled.delivered, at.network.attached, len(stored(at.card))) == (False, None, 1)
    assert (await at.ipa.poll()).did is Did.FOUND_NO_CONTACT


async def test_a_failed_command_is_reported_where_the_device_is(at: Device, eim: TinyEim) -> None:
    eim.package = package(at.card, 1, enable(THIRD, rollback=True))
    polled = await at.ipa.poll()
    assert (polled.delivered, codes(eim), at.sessions) == (True, [["830101"]], [str(LEAD)])


# Notifications -------------------------------------------------------------------------------------------------------


async def test_notifications_can_go_through_the_eim(eim: TinyEim, tls: Pki) -> None:
    found = device(iot_card(), tls, {EIM_HOST: eim.port}, options=IpaOptions(notifications=Route.EIM))
    eim.package = package(found.card, 1, enable(PARTNER, rollback=True))
    waiting = found.card.memory.notifications
    async with found.ipa:
        await found.ipa.poll()
    assert eim.functions() == ["getEimPackage", PROVIDE, "handleNotification"]
    (body,) = eim.bodies("handleNotification")
    assert body[:3].hex() == "bf3d82"
    assert waiting == []


@pytest.mark.parametrize("reply", [EimReply(status=500), EimReply(body=b"x", status=200), EimReply(drop=True)])
async def test_a_notification_that_was_not_taken_stays_for_an_idle_poll(
    eim: TinyEim, tls: Pki, reply: EimReply
) -> None:
    options = IpaOptions(notifications=Route.EIM)
    found = device(iot_card(), tls, {EIM_HOST: eim.port}, options=options)
    eim.package = package(found.card, 1, enable(PARTNER))
    eim.prepare("handleNotification", reply, reply)
    async with found.ipa:
        assert (await found.ipa.poll()).delivered
        assert len(found.card.memory.notifications) == 1
        eim.replies.clear()
        assert (await found.ipa.poll()).did is Did.FOUND_NOTHING
    assert len(found.card.memory.notifications) == 0


def test_a_plmn_is_coded_as_a_network_broadcasts_it() -> None:
    assert (plmn("262", "01").hex(), plmn("310", "410").hex()) == ("62f210", "130014")
    for wrong in (("26", "01"), ("262", "1"), ("26x", "01"), ("262", "0123")):
        with pytest.raises(ValueError, match="PLMN"):
            plmn(*wrong)


async def test_an_ipa_may_be_made_again_over_the_same_network(at: Device, eim: TinyEim) -> None:
    await at.ipa.poll()
    assert at.network.attached == LEAD
    at.network.detach()
    await at.ipa.poll()
    assert at.sessions == [str(LEAD), str(LEAD)]
    assert isinstance(at.ipa, Ipa)

"""A card that misbehaves, over TLS in both bindings: exact answers, no 5xx, and tables as they must be (SGP.22 5.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from crypto.curves import Curve
from rsp import tlv
from simulator import ecc
from simulator.lpa_messages import CancelReason
from simulator.mangling import mangled
from simulator.misbehaviour import Misbehaviour
from tests import protocol_peers as peers
from tests.conformance import conforms
from tests.es9_stage import (
    ASN1,
    AUTHENTICATE,
    CANCEL,
    DELIVER,
    JSON,
    NOTIFY,
    WIRES,
    Answer,
    Asn1Wire,
    Dialogue,
    Es9Stage,
    Refusal,
    Wire,
)
from tests.protocol_stage import Ordered, Seen, Stage, installed_on

both = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
UNREADABLE = (
    Misbehaviour.TRUNCATED_RESPONSE,
    Misbehaviour.TRAILING_BYTES,
    Misbehaviour.INDEFINITE_LENGTH,
    Misbehaviour.OVERSIZED_LENGTH,
)
HARMLESS = (Misbehaviour.LONG_LENGTHS, Misbehaviour.UNKNOWN_MEMBERS)
_NAMES = {
    AUTHENTICATE: "authenticateServerResponse",
    DELIVER: "prepareDownloadResponse",
    CANCEL: "cancelSessionResponse",
}


@pytest.fixture
async def es9(stage: Stage) -> AsyncIterator[Es9Stage]:
    async with Es9Stage.opened(stage) as opened:
        yield opened


@pytest.fixture
async def ordered(stage: Stage) -> Ordered:
    return await stage.order()


async def sent(device: Dialogue, function: str, response: bytes) -> Answer:
    """The card's bytes in a request, whatever they are."""
    if device.wire is ASN1 and function == CANCEL:
        # An LPA puts A1 in place of BF41 and leaves alone what it cannot read.
        parts = (tlv.wrap(0x80, device.transaction_id), b"\xa1" + response[2:])
        return await device.send(CANCEL, tlv.wrap(0xA2, tlv.wrap(Asn1Wire.tags[CANCEL], *parts)))
    members = {"transactionId": device.transaction_id, _NAMES[function]: response}
    return await device.send(function, device.wire.write(function, members))


def unreadable(wire: Wire, answer: Answer) -> bool:
    """400, with the code of JSON or in words."""
    if wire is JSON:
        return answer.status == 400 and b'"subjectCode":"1.3.1","reasonCode":"2.1"' in answer.body
    return answer.status == 400 and b" " in answer.body and answer.headers["Content-Type"].startswith("text/plain")


# Form -----------------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("fault", UNREADABLE, ids=lambda fault: fault.name)
async def test_an_answer_that_cannot_be_read_is_400_and_the_session_goes_on(
    es9: Es9Stage, ordered: Ordered, wire: Wire, fault: Misbehaviour
) -> None:
    card = es9.stage.card()
    device = es9.dialogue(wire, card, ordered.matching_id)
    await device.initiate()
    good = device.challenged()
    assert unreadable(wire, await sent(device, AUTHENTICATE, mangled(good, {fault})))
    assert await device.state() == ("initiated", None)
    assert await es9.stage.seen(ordered) == Seen(order="released")
    assert not isinstance(await device.authenticate(good), Refusal)
    card.misbehave = frozenset({fault})
    assert unreadable(wire, await sent(device, DELIVER, device.prepared()))
    assert await device.state() == ("authenticated", None)
    before = await es9.stage.seen(ordered)
    assert unreadable(wire, await sent(device, CANCEL, device.cancelled(CancelReason.END_USER_REJECTION)))
    assert await es9.stage.seen(ordered) == before


@both
@pytest.mark.parametrize("fault", HARMLESS, ids=lambda fault: fault.name)
async def test_what_no_server_has_to_mind_is_installed_and_can_be_cancelled(
    es9: Es9Stage, ordered: Ordered, wire: Wire, fault: Misbehaviour
) -> None:
    card = es9.stage.card(fault)
    device = await es9.dialogue(wire, card, ordered.matching_id).begun()
    assert wire.read(CANCEL, await sent(device, CANCEL, device.cancelled(CancelReason.POSTPONED))) == {}
    device = await es9.dialogue(wire, card, ordered.matching_id).begun()
    assert device.install(await device.deliver()).succeeded
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}


@both
async def test_a_member_beyond_all_measure_is_turned_away_or_passed_over(
    es9: Es9Stage, ordered: Ordered, wire: Wire
) -> None:
    device = es9.dialogue(wire, es9.stage.card(), ordered.matching_id)
    await device.initiate()
    (arm,) = tlv.read_only(device.challenged(), 0xBF38).children()
    for size, status in ((100_000, 200), (300_000, 413)):
        response = tlv.wrap(0xBF38, tlv.wrap(0xA0, arm.value, tlv.wrap(0x9F7E, bytes(size))))
        answer = await sent(device, AUTHENTICATE, response)
        assert answer.status == status, size
    assert await device.state() == ("authenticated", None)


@both
async def test_certificates_and_signatures_of_any_size_are_no_fault_of_ours(
    es9: Es9Stage, ordered: Ordered, wire: Wire
) -> None:
    device = es9.dialogue(wire, es9.stage.card(), ordered.matching_id)
    for size in (0, 1, 5000, 70_000):
        await device.initiate()
        (arm,) = tlv.read_only(device.challenged(), 0xBF38).children()
        signed, signature, _, eum = arm.children()
        response = tlv.wrap(0xBF38, tlv.wrap(0xA0, signed.raw, signature.raw, tlv.wrap(0x30, bytes(size)), eum.raw))
        found = wire.read(AUTHENTICATE, await sent(device, AUTHENTICATE, response))
        assert isinstance(found, Refusal)
        assert found.code == ("8.1.3/6.1" if wire is JSON else 3)
        assert await device.state() == ("ended", "EUICC_CERTIFICATE_INVALID")
    await device.initiate()
    (arm,) = tlv.read_only(device.challenged(), 0xBF38).children()
    signed, _, euicc, eum = arm.children()
    for size in (0, 63, 65, 5000):
        parts = (signed.raw, tlv.wrap(0x5F37, bytes(size)), euicc.raw, eum.raw)
        assert unreadable(wire, await sent(device, AUTHENTICATE, tlv.wrap(0xBF38, tlv.wrap(0xA0, *parts))))
    assert await device.state() == ("initiated", None)
    assert await es9.stage.seen(ordered) == Seen(order="released")


# Curves ---------------------------------------------------------------------------------------------------------------


@conforms("SGP.22 2.6.5", "euiccOtpk is on the curve of the agreed CI", function=DELIVER, where="smdp/delivery.py")
@both
async def test_a_one_time_key_on_the_other_curve_is_refused(es9: Es9Stage, ordered: Ordered, wire: Wire) -> None:
    card = es9.stage.card(Misbehaviour.OTHER_CURVE)
    device = await es9.dialogue(wire, card, ordered.matching_id).begun()
    found = await device.deliver()
    assert isinstance(found, Refusal)
    assert found.code == ("8.1/6.1" if wire is JSON else 1)
    assert (await device.again(DELIVER)).body == device.got[DELIVER].body
    seen = await es9.stage.seen(ordered)
    assert (seen.order, seen.sealed, seen.sessions) == ("released", ("key",), (("ended", "EUICC_SIGNATURE_INVALID"),))


@both
async def test_a_chain_that_changes_its_curve_is_refused(es9: Es9Stage, ordered: Ordered, wire: Wire) -> None:
    """The eUICC's certificate of the other chain under the EUM that was agreed on."""
    card = es9.stage.card(curves=(Curve.P256, Curve.BRAINPOOL_P256R1))
    device = es9.dialogue(wire, card, ordered.matching_id)
    await device.initiate()
    (arm,) = tlv.read_only(device.challenged(), 0xBF38).children()
    signed, _, _, eum = arm.children()
    other = card.credentials[1]
    parts = (signed.raw, ecc.sign(other.private_key, signed.raw), other.euicc_certificate, eum.raw)
    found = await device.authenticate(tlv.wrap(0xBF38, tlv.wrap(0xA0, *parts)))
    assert isinstance(found, Refusal)
    assert found.code == ("8.1.3/6.1" if wire is JSON else 3)


_P256 = bytes.fromhex("06082a8648ce3d030107")
_UNKNOWN_CURVE = bytes.fromhex("06082a8648ce3d030177")


@both
@pytest.mark.parametrize("place", ["eum", "euicc"])
async def test_a_certificate_on_a_curve_nobody_knows_is_refused(
    es9: Es9Stage, ordered: Ordered, wire: Wire, place: str
) -> None:
    device = es9.dialogue(wire, es9.stage.card(), ordered.matching_id)
    await device.initiate()
    (arm,) = tlv.read_only(device.challenged(), 0xBF38).children()
    signed, signature, euicc, eum = (child.raw for child in arm.children())
    if place == "eum":
        eum = eum.replace(_P256, _UNKNOWN_CURVE)
    else:
        euicc = euicc.replace(_P256, _UNKNOWN_CURVE)
    found = await device.authenticate(tlv.wrap(0xBF38, tlv.wrap(0xA0, signed, signature, euicc, eum)))
    assert isinstance(found, Refusal)
    codes = {"eum": ("8.1.2/6.1", 1), "euicc": ("8.1.3/6.1", 3)}
    assert found.code == codes[place][wire is ASN1]


# Notifications --------------------------------------------------------------------------------------------------------


async def installed(es9: Es9Stage, wire: Wire, ordered: Ordered) -> tuple[Dialogue, bytes]:
    device = await es9.dialogue(wire, es9.stage.card(), ordered.matching_id).begun()
    return device, device.install(await device.deliver()).raw


@both
async def test_a_report_sent_again_and_again_over_either_binding_counts_once(
    es9: Es9Stage, ordered: Ordered, wire: Wire
) -> None:
    device, report = await installed(es9, wire, ordered)
    other = es9.dialogue(ASN1 if wire is JSON else JSON, device.card)
    for teller in (device, device, other):
        await teller.notify(report)
    assert sorted(await es9.stage.judge()) == [("duplicate", True), ("duplicate", True), ("installed", True)]
    assert (await es9.stage.seen(ordered)).told == ((1, ""), (3, ""), (4, ""))
    await device.notify(report)
    assert (await es9.stage.judge())[-1] == ("duplicate", True)


@both
async def test_a_report_that_comes_months_late_counts(es9: Es9Stage, ordered: Ordered, wire: Wire) -> None:
    device, report = await installed(es9, wire, ordered)
    es9.stage.clock.advance(days=80)
    await device.notify(report)
    assert await es9.stage.judge() == [("installed", True)]
    assert (await es9.stage.seen(ordered)).order == "installed"


@both
@pytest.mark.parametrize("fault", [*UNREADABLE, Misbehaviour.LONG_LENGTHS], ids=lambda fault: fault.name)
async def test_a_report_in_a_wrong_form_is_204_kept_and_does_not_take_the_place_of_the_right_one(
    es9: Es9Stage, ordered: Ordered, wire: Wire, fault: Misbehaviour
) -> None:
    device, report = await installed(es9, wire, ordered)
    spoilt = mangled(report, {fault})
    await device.notify(spoilt)
    await device.notify(report)
    assert [row["raw"] for row in await es9.stage.notes()] == [spoilt, report]
    verdicts = await es9.stage.judge()
    if fault is Misbehaviour.LONG_LENGTHS:
        assert sorted(verdicts) == [("duplicate", True), ("installed", True)]
    else:
        assert verdicts == [("malformed", False), ("installed", True)]
    assert (await es9.stage.seen(ordered)).order == "installed"


@both
async def test_a_report_with_a_wrong_signature_or_of_no_session_is_204_and_moves_nothing(
    es9: Es9Stage, ordered: Ordered, wire: Wire
) -> None:
    card = es9.stage.card(Misbehaviour.WRONG_PIR_SIGNATURE)
    device = await es9.dialogue(wire, card, ordered.matching_id).begun()
    report = device.install(await device.deliver()).raw
    before = await es9.stage.seen(ordered)
    await device.notify(report)
    await device.notify(report.replace(device.transaction_id, bytes(16)))
    assert await es9.stage.judge() == [("bad-signature", False), ("unknown-session", False)]
    assert await es9.stage.seen(ordered) == before


@both
async def test_a_report_in_the_middle_of_the_package_ends_the_order(es9: Es9Stage, wire: Wire) -> None:
    for fault, order in (
        (Misbehaviour.FAIL_INSTALL_PE, "error"),
        (Misbehaviour.FAIL_INSTALL_INTERRUPTED, "downloaded"),
    ):
        ordered = await es9.stage.order()
        device = await es9.dialogue(wire, es9.stage.card(fault), ordered.matching_id).begun()
        await device.notify(device.install(await device.deliver()).raw)
        assert (await es9.stage.judge())[-1] == ("failed", True)
        assert (await es9.stage.seen(ordered)).order == order


# All together ---------------------------------------------------------------------------------------------------------


@both
async def test_a_card_under_an_expired_or_foreign_maker_costs_an_order_nothing(
    es9: Es9Stage, ordered: Ordered, wire: Wire
) -> None:
    cards: list[Any] = [
        peers.card_of_expired_eum(es9.stage),
        peers.expired_card(es9.stage),
        peers.card_outside_its_range(es9.stage),
        *(es9.stage.card(fault) for fault in (Misbehaviour.FOREIGN_EUM, Misbehaviour.FORGED_EUM)),
    ]
    for card in cards:
        device = es9.dialogue(wire, card, ordered.matching_id)
        await device.initiate()
        assert isinstance(await device.authenticate(), Refusal)
    assert await es9.stage.seen(ordered) == Seen(order="released")
    assert NOTIFY not in device.got

"""Every code of ES9+ in both bindings, and the order in which faults are judged (SGP.22 5.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from crypto.curves import Curve
from rsp import tlv
from rsp.status import ES9_INTEGERS
from simulator import ecc
from simulator.card import Card
from simulator.euicc_info import EuiccProperties
from simulator.lpa_messages import CancelReason
from simulator.misbehaviour import Misbehaviour
from tests import protocol_peers as peers
from tests.conformance import conforms
from tests.es9_cases import CASES, Case, authenticated, begun, card_that, confirmed, without_code
from tests.es9_stage import AUTHENTICATE, CANCEL, DELIVER, INITIATE, JSON, WIRES, Es9Stage, Refusal, Wire
from tests.protocol_stage import Stage


@pytest.fixture
async def es9(stage: Stage) -> AsyncIterator[Es9Stage]:
    async with Es9Stage.opened(stage) as opened:
        yield opened


_SECTIONS = {INITIATE: "SGP.22 5.6.1", DELIVER: "SGP.22 5.6.2", AUTHENTICATE: "SGP.22 5.6.3", CANCEL: "SGP.22 5.6.5"}


def _in_both_bindings() -> list[Any]:
    return [
        pytest.param(
            case,
            wire,
            id=f"{case.function}-{case.status.name}-{case.rule}-{wire.name}".replace(" ", "-"),
            marks=conforms(
                _SECTIONS[case.function],
                case.rule,
                case.status,
                function=case.function,
                binding="json" if wire is JSON else "asn1",
                where=case.where,
            ),
        )
        for case in CASES
        for wire in WIRES
    ]


@pytest.mark.parametrize(("case", "wire"), _in_both_bindings())
async def test_each_code_is_answered_and_answered_again_in_the_same_bytes(
    es9: Es9Stage, case: Case, wire: Wire
) -> None:
    device, found = await case.provoke(es9, wire)
    expected = case.code if wire is JSON else case.integer
    assert isinstance(found, Refusal)
    assert found.code == expected
    assert (await device.again(case.function)).body == device.got[case.function].body


def test_every_code_of_the_standard_has_a_case() -> None:
    provoked = {(case.function, case.status): case.integer for case in CASES}
    known = {(function, status): number for function, table in ES9_INTEGERS.items() for status, number in table.items()}
    assert {pair: provoked.get(pair) for pair in known} == known


# Which fault is judged first ------------------------------------------------------------------------------------------

both = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)


def answered(wire: Wire, found: Any, code: str, integer: int) -> None:
    assert isinstance(found, Refusal)
    assert found.code == (code if wire is JSON else integer)


@conforms(
    "SGP.22 5.6.1",
    "the address is judged before the version, the version before the keys",
    function=INITIATE,
    where="smdp/downloads.py",
)
@both
async def test_the_address_is_judged_before_the_version_and_the_version_before_the_keys(
    es9: Es9Stage, wire: Wire
) -> None:
    old = EuiccProperties(svn=b"\x01\x00\x00")
    stranger = peers.foreign_card(es9.stage)
    device = es9.dialogue(wire, replaced(stranger, old))
    answered(wire, await device.initiate("other.example.com"), "8.8.1/3.8", 1)
    answered(wire, await device.initiate(), "8.8.3/3.1", 2)
    answered(wire, await es9.dialogue(wire, stranger).initiate(), "8.8.2/3.1", 3)


def replaced(card: Card, properties: EuiccProperties) -> Card:
    return Card(card.eid, card.credentials, now=card.now, properties=properties)


@conforms(
    "SGP.22 5.6.3",
    "an unknown CI is judged before anything else about the EUM",
    function=AUTHENTICATE,
    where="crypto/certificates.py",
)
@both
async def test_an_unknown_ci_is_judged_before_anything_else_about_the_eum(es9: Es9Stage, wire: Wire) -> None:
    card = peers.card_of_expired_eum(es9.stage)
    card.misbehave = frozenset({Misbehaviour.FOREIGN_EUM})
    _, found = await authenticated(es9, wire, card, "TOKEN")
    answered(wire, found, "8.11.1/3.9", 9)


@conforms(
    "SGP.22 5.6.3",
    "a CI that was not agreed on is as good as unknown",
    function=AUTHENTICATE,
    where="crypto/certificates.py",
)
@both
async def test_a_ci_that_was_not_agreed_on_is_judged_before_anything_else_about_the_eum(
    es9: Es9Stage, wire: Wire
) -> None:
    stage = es9.stage
    card = stage.card(curves=(Curve.P256, Curve.BRAINPOOL_P256R1))
    device = es9.dialogue(wire, card, "TOKEN")
    await device.initiate()
    signed = next(next(tlv.read_only(device.challenged(), 0xBF38).children()).children()).raw
    other = card.credentials[1]
    key = peers.signing_key(stage, Curve.BRAINPOOL_P256R1, "ci")
    expired = peers.reissued(other.eum_certificate, key, peers.Change(not_after=peers.EXPIRED))
    chain = (ecc.sign(other.private_key, signed), other.euicc_certificate, expired)
    answered(wire, await device.authenticate(tlv.wrap(0xBF38, tlv.wrap(0xA0, signed, *chain))), "8.11.1/3.9", 9)


@conforms(
    "SGP.22 5.6.3",
    "an expired certificate is expired before any other fault of it",
    function=AUTHENTICATE,
    where="crypto/certificates.py",
)
@both
async def test_an_expired_certificate_is_expired_before_any_other_fault_of_it(es9: Es9Stage, wire: Wire) -> None:
    eum, euicc = peers.card_of_expired_eum(es9.stage), peers.expired_card(es9.stage)
    eum.misbehave = frozenset({Misbehaviour.FORGED_EUM, Misbehaviour.FORGED_EUICC, Misbehaviour.WRONG_SIGNATURE1})
    euicc.misbehave = frozenset({Misbehaviour.FORGED_EUICC, Misbehaviour.WRONG_SIGNATURE1})
    answered(wire, (await authenticated(es9, wire, eum, "TOKEN"))[1], "8.1.2/6.3", 2)
    answered(wire, (await authenticated(es9, wire, euicc, "TOKEN"))[1], "8.1.3/6.3", 4)


@conforms(
    "SGP.22 5.6.3",
    "certificates are judged before the signature, and it before what it signs",
    function=AUTHENTICATE,
    where="smdp/downloads.py",
)
@both
async def test_certificates_are_judged_before_the_signature_and_it_before_what_it_signs(
    es9: Es9Stage, wire: Wire
) -> None:
    _, found = await card_that(Misbehaviour.FORGED_EUICC, Misbehaviour.WRONG_SIGNATURE1)(es9, wire)
    answered(wire, found, "8.1.3/6.1", 3)
    _, found = await card_that(Misbehaviour.WRONG_SIGNATURE1, Misbehaviour.WRONG_TRANSACTION_ID)(es9, wire)
    answered(wire, found, "8.1/6.1", 5)
    _, found = await card_that(Misbehaviour.WRONG_SERVER_CHALLENGE, Misbehaviour.WRONG_TRANSACTION_ID)(es9, wire)
    answered(wire, found, "8.1/6.1", 5)


@conforms("SGP.22 5.6.3", "the card is judged before its order", function=AUTHENTICATE, where="smdp/downloads.py")
@both
async def test_the_card_is_judged_before_its_order(es9: Es9Stage, wire: Wire) -> None:
    _, found = await authenticated(es9, wire, es9.stage.card(Misbehaviour.WRONG_SIGNATURE1), "NOBODYS-TOKEN")
    answered(wire, found, "8.1/6.1", 5)


@conforms(
    "SGP.22 5.6.3",
    "the EID is judged before the state of the order, the state before its time",
    function=AUTHENTICATE,
    where="smdp/eligibility.py",
)
@both
async def test_the_owner_of_an_order_is_judged_before_its_state_and_the_state_before_its_time(
    es9: Es9Stage, wire: Wire
) -> None:
    stage = es9.stage
    owner = stage.card()
    await confirmed(stage, "TOKEN-1", eid=owner.eid)
    answered(wire, (await authenticated(es9, wire, stage.card(), "TOKEN-1"))[1], "8.1.1/3.8", 7)
    stage.clock.advance(days=365)
    answered(wire, (await authenticated(es9, wire, owner, "TOKEN-1"))[1], "8.2/1.2", 8)


@both
async def test_an_order_past_its_time_is_expired_before_it_is_unsuitable(es9: Es9Stage, wire: Wire) -> None:
    ordered = await es9.stage.order()
    es9.stage.clock.advance(days=90)
    found = (await authenticated(es9, wire, es9.stage.card(free_memory=1), ordered.matching_id))[1]
    answered(wire, found, "8.8.5/4.10", 8)


@conforms(
    "SGP.22 5.6.2",
    "the code is judged after the signature and before the time of the order",
    function=DELIVER,
    where="smdp/delivery.py",
)
@both
async def test_the_code_is_judged_after_the_signature_and_before_the_time_of_the_order(
    es9: Es9Stage, wire: Wire
) -> None:
    stage = es9.stage
    forger = await begun(es9, wire, Misbehaviour.WRONG_SIGNATURE2, code="4711")
    answered(wire, await forger.deliver("4712"), "8.1/6.1", 1)
    ordered = await stage.order(code="4711")
    stage.clock.advance(days=90, minutes=-1)
    device = await es9.dialogue(wire, stage.card(), ordered.matching_id).begun()
    stage.clock.advance(minutes=1)
    answered(wire, await device.deliver("4712"), "8.2.7/3.8", 3)
    answered(wire, await device.deliver("4711"), "8.8.5/4.10", 6)
    assert (await stage.seen(ordered)).codes == 1


@conforms("SGP.22 5.6.2", "a wrong code leaves the session usable", function=DELIVER, where="smdp/delivery.py")
@both
async def test_a_wrong_code_leaves_the_session_usable(es9: Es9Stage, wire: Wire) -> None:
    device = await begun(es9, wire, code="4711")
    answered(wire, await device.deliver(message=without_code(device)), "8.2.7/2.2", 2)
    answered(wire, await device.deliver("4712"), "8.2.7/3.8", 3)
    assert device.install(await device.deliver("4711")).succeeded


@conforms("SGP.22 5.6.5", "the signed OID is judged after the signature", function=CANCEL, where="smdp/cancellation.py")
@both
async def test_the_signed_oid_of_a_cancellation_is_judged_after_its_signature(es9: Es9Stage, wire: Wire) -> None:
    device = await begun(es9, wire, Misbehaviour.WRONG_CANCEL_OID, Misbehaviour.WRONG_CANCEL_SIGNATURE)
    answered(wire, await device.cancel(device.cancelled(CancelReason.TIMEOUT)), "8.1/6.1", 2)

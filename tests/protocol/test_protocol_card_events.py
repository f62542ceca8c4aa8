"""Enabling, disabling and deleting as cards report it: verified, kept, told once, in any order (SGP.22 3.5, 5.6.4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rsp import tlv
from rsp.identifiers import Iccid
from simulator import der, ecc, notifications
from simulator.card import Card
from simulator.lpa_messages import notifications as listed
from simulator.notifications import Event
from smdp.progress import NotificationPoint
from tests import protocol_peers as peers
from tests.conformance import conforms
from tests.protocol_attempt import Attempt, attempt
from tests.protocol_stage import NAME, Ordered, Stage, installed_on
from tests.signed_events import event

COMPLETE = ((1, ""), (3, ""), (4, ""))


@pytest.fixture
def card(stage: Stage) -> Card:
    return stage.card()


@pytest.fixture
async def ordered(stage: Stage) -> Ordered:
    return await stage.order()


@pytest.fixture
async def trial(stage: Stage, card: Card, ordered: Ordered) -> Attempt:
    return attempt(stage, card, ordered.matching_id)


async def received(stage: Stage, *raw: bytes) -> list[tuple[str, bool]]:
    """Hand notifications in and judge them; answers all outcomes so far."""
    for one in raw:
        await stage.notifications.handle_notification(one)
    return await stage.judge()


def told(*names: str) -> tuple[tuple[int, str], ...]:
    """Reports of what a card did with an installed profile."""
    return tuple((NotificationPoint[name].value, "") for name in names)


def manage(card: Card, ordered: Ordered, *tags: int) -> list[bytes]:
    """Enable (BF31), disable (BF32), delete (BF33) the profile; answers the notifications of that, oldest first."""
    identifier = tlv.wrap(0x5A, ordered.iccid.to_bytes())
    steps = {0xBF31: card.enable_profile, 0xBF32: card.disable_profile, 0xBF33: card.delete_profile}
    for tag in tags:
        parts = [identifier] if tag == 0xBF33 else [tlv.wrap(0xA0, identifier), tlv.wrap(0x81, b"\x00")]
        assert der.integer(der.members(der.parse(steps[tag](tlv.wrap(tag, *parts)), tag), 0x80)[0x80]) == 0
    return [raw for raw in listed(card.retrieve_notifications()) if raw[0] == 0x30]


async def test_enable_disable_and_delete_are_verified_and_kept(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    await trial.installed()
    before = await stage.seen(ordered)
    raws = manage(card, ordered, 0xBF31, 0xBF32, 0xBF33)
    await received(stage, *raws)
    rows = [
        (row["outcome"], row["verified"], row["eid"], row["seq_number"], row["iccid"]) for row in await stage.notes()
    ]
    eid, iccid = str(card.eid), str(ordered.iccid)
    assert rows[1:] == [
        ("enabled", True, eid, 1, iccid),
        ("disabled", True, eid, 2, iccid),
        ("deleted", True, eid, 3, iccid),
    ]
    assert installed_on(card) == {}
    assert await stage.seen(ordered) == replace(before, told=(*COMPLETE, *told("ENABLED", "DISABLED", "DELETED")))


async def test_reports_may_come_in_any_order(stage: Stage, card: Card, ordered: Ordered, trial: Attempt) -> None:
    result = trial.install(await trial.delivered())
    enabled, disabled, deleted = manage(card, ordered, 0xBF31, 0xBF32, 0xBF33)
    outcomes = await received(stage, deleted, disabled, result.raw, enabled)
    assert outcomes == [("deleted", True), ("disabled", True), ("installed", True), ("enabled", True)]
    seen = await stage.seen(ordered)
    assert (seen.order, seen.told) == ("installed", (*COMPLETE, *told("DELETED")))


async def test_event_without_iccid_is_verified_and_kept(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    await trial.installed()
    before = await stage.seen(ordered)
    outcomes = await received(stage, event(card, 7, Event.DELETE, None))
    assert outcomes[1:] == [("deleted", True)]
    row = (await stage.notes())[-1]
    assert (row["eid"], row["seq_number"], row["iccid"]) == (str(card.eid), 7, None)
    assert await stage.seen(ordered) == before


@conforms(
    "SGP.22 3.5",
    "sequence number 0 of two cards are two notifications",
    function="handleNotification",
    where="store/inbox.py",
)
async def test_two_cards_may_both_send_number_zero(stage: Stage) -> None:
    raws, reports = [], []
    for _ in range(2):
        card, ordered = stage.card(), await stage.order()
        result = await attempt(stage, card, ordered.matching_id).installed()
        reports.append(result.sequence_number)
        raws.append(event(card, 0, Event.ENABLE, ordered.iccid))
    assert reports == [0, 0]
    outcomes = await received(stage, *raws, *raws)
    assert outcomes[2:] == [("enabled", True)] * 2 + [("duplicate", True)] * 2


async def test_event_about_a_profile_nobody_ordered_here_is_kept(stage: Stage, card: Card) -> None:
    raw = event(card, 3, Event.ENABLE, Iccid("8988211999999999999"))
    assert await received(stage, raw) == [("enabled", True)]


async def test_another_cards_event_about_the_profile_is_not_told(
    stage: Stage, ordered: Ordered, trial: Attempt
) -> None:
    await trial.installed()
    before = await stage.seen(ordered)
    outcomes = await received(stage, event(stage.card(), 9, Event.DELETE, ordered.iccid))
    assert outcomes[1:] == [("deleted", True)]
    assert await stage.seen(ordered) == before


async def test_same_event_again_is_a_duplicate_and_another_cards_same_number_is_not(stage: Stage) -> None:
    raws = []
    for _ in range(2):
        card, ordered = stage.card(), await stage.order()
        await attempt(stage, card, ordered.matching_id).installed()
        raws += manage(card, ordered, 0xBF31)
    outcomes = await received(stage, raws[0], raws[1], raws[0])
    assert outcomes[2:] == [("enabled", True), ("enabled", True), ("duplicate", True)]


@conforms(
    "SGP.22 3.5",
    "duplicates are known after verification only",
    function="handleNotification",
    where="smdp/notification.py",
)
async def test_event_with_a_wrong_signature_does_not_take_the_place_of_the_right_one(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    await trial.installed()
    (right,) = manage(card, ordered, 0xBF31)
    signed, signature, *chain = tlv.read_only(right, 0x30).children()
    spoiled = signature.raw[:-1] + bytes([signature.raw[-1] ^ 1])
    wrong = tlv.wrap(0x30, signed.raw, spoiled, *(one.raw for one in chain))
    outcomes = await received(stage, wrong, right)
    assert outcomes[1:] == [("bad-signature", False), ("enabled", True)]


async def test_event_of_a_card_whose_eum_is_revoked_is_not_believed(stage: Stage, ordered: Ordered) -> None:
    owner = stage.card().credentials[0]
    peers.revoke(stage, owner.eum_certificate)
    signed = notifications.metadata(1, Event.DELETE, NAME, ordered.iccid)
    signature = ecc.sign(owner.private_key, signed)
    raw = tlv.wrap(0x30, signed, signature, owner.euicc_certificate, owner.eum_certificate)
    assert await received(stage, raw) == [("bad-certificate", False)]


async def test_event_of_a_card_under_a_foreign_ci_is_not_believed(stage: Stage, ordered: Ordered) -> None:
    owner = peers.foreign_card(stage).credentials[0]
    signed = notifications.metadata(1, Event.DELETE, NAME, ordered.iccid)
    signature = ecc.sign(owner.private_key, signed)
    raw = tlv.wrap(0x30, signed, signature, owner.euicc_certificate, owner.eum_certificate)
    assert await received(stage, raw) == [("bad-certificate", False)]

"""ProfileRollback of the virtual eUICC, and what survives a power loss (SGP.32 5.9.x, tag BF58)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iot_stage import (
    EIM_ID,
    LEAD,
    LIST,
    NO_DISABLING,
    PARTNER,
    THIRD,
    TRANSACTION,
    add_profile,
    check_signature,
    disable,
    enable,
    iot_card,
    package,
    read_result,
    remove,
    run,
    states,
    stored,
    token_tlv,
)

from rsp.tlv import read_only, wrap
from simulator.card import Card
from simulator.iot_card import IotCard
from simulator.iot_factory import association_token
from simulator.metadata import ALLOW_ALL_RULES
from simulator.misbehaviour import Misbehaviour
from simulator.profiles import ProfileState

ROLLBACK = bytes.fromhex("bf58038001ff")
NOT_ALLOWED = bytes.fromhex("bf5803020101")


def switched(curve: str = "nist") -> IotCard:
    card = iot_card(curve)
    card.load_euicc_package(package(card, 1, enable(PARTNER, rollback=True), curve=curve))
    assert states(card) == {LEAD: False, PARTNER: True}
    return card


def rolled_back(card: IotCard) -> bytes:
    """The new result of a rollback that must work."""
    code, result = read_only(card.profile_rollback(ROLLBACK), 0xBF58).children()
    assert (code.tag, code.integer()) == (0x02, 0)
    return result.raw


@pytest.mark.parametrize("curve", ["nist", "brainpool"])
def test_a_rollback_restores_and_replaces_the_result_by_a_signed_one(curve: str) -> None:
    card = switched(curve)
    (first,) = stored(card)
    raw = rolled_back(card)
    result = read_result(raw)
    check_signature(result, curve, token_tlv(card))
    assert states(card) == {LEAD: True, PARTNER: False}
    assert stored(card) == [raw]
    assert result.commands == [bytes.fromhex("8c0100")]
    assert (result.members[0x80].text(), result.members[0x81].integer()) == (EIM_ID, 1)
    assert result.members[0x82].value == TRANSACTION
    assert result.sequence > read_result(first).sequence


def test_a_rollback_asks_for_a_refresh_if_wanted() -> None:
    card = switched()
    before = card.refreshes
    rolled_back(card)
    assert card.refreshes == before + 1
    other = switched()
    other.profile_rollback(bytes.fromhex("bf5803800100"))
    assert other.refreshes == before


def test_a_rollback_works_once() -> None:
    card = switched()
    rolled_back(card)
    assert card.profile_rollback(ROLLBACK) == NOT_ALLOWED
    assert states(card) == {LEAD: True, PARTNER: False}


def test_without_the_flag_there_is_no_rollback() -> None:
    card = iot_card()
    run(card, 1, enable(PARTNER))
    assert card.profile_rollback(ROLLBACK) == NOT_ALLOWED
    assert states(card) == {LEAD: False, PARTNER: True}


def test_a_failed_enable_permits_no_rollback() -> None:
    card = iot_card()
    run(card, 1, enable(THIRD, rollback=True))
    assert card.profile_rollback(ROLLBACK) == NOT_ALLOWED


def test_the_acknowledgement_ends_the_permission() -> None:
    card = switched()
    assert remove(card, read_result(stored(card)[0]).sequence) == 0
    assert card.profile_rollback(ROLLBACK) == NOT_ALLOWED
    assert (states(card), stored(card)) == ({LEAD: False, PARTNER: True}, [])


def test_acknowledging_a_notification_leaves_the_permission() -> None:
    card = switched()
    assert remove(card, card.memory.notifications[0].sequence) == 0
    rolled_back(card)


def test_the_next_package_ends_the_permission() -> None:
    card = switched()
    run(card, 2, LIST)
    assert card.profile_rollback(ROLLBACK) == NOT_ALLOWED


def test_a_forged_or_replayed_package_leaves_the_permission() -> None:
    card = switched()
    card.load_euicc_package(package(card, 1, LIST))
    forged = package(card, 2, LIST)
    card.load_euicc_package(forged[:-1] + bytes((forged[-1] ^ 1,)))
    rolled_back(card)


def test_a_rollback_overrules_policy() -> None:
    card = iot_card()
    card.rat = ALLOW_ALL_RULES
    add_profile(card, THIRD, *NO_DISABLING)
    run(card, 1, enable(THIRD, rollback=True))
    rolled_back(card)
    assert states(card) == {LEAD: True, PARTNER: False, THIRD: False}


def test_a_rollback_works_after_the_new_profile_was_disabled() -> None:
    card = iot_card()
    assert run(card, 1, enable(PARTNER, rollback=True), disable(PARTNER)) == ["830100", "840100"]
    rolled_back(card)
    assert states(card) == {LEAD: True, PARTNER: False}


def test_two_enables_in_one_package_go_back_to_where_it_began() -> None:
    card = iot_card()
    add_profile(card, THIRD)
    run(card, 1, enable(PARTNER, rollback=True), enable(THIRD, rollback=True))
    rolled_back(card)
    assert states(card)[LEAD]


def test_the_servers_of_the_profiles_hear_of_both_changes() -> None:
    card = switched()
    rolled_back(card)
    told = [(entry.event.name, entry.metadata[-10:]) for entry in card.memory.notifications]
    assert told == [("ENABLE", PARTNER.to_bytes()), ("DISABLE", PARTNER.to_bytes())]


@pytest.mark.parametrize(("fault", "code"), [(Misbehaviour.CAT_BUSY, 5), (Misbehaviour.REFUSE_ROLLBACK, 127)])
def test_a_card_can_be_told_to_refuse_a_rollback(fault: Misbehaviour, code: int) -> None:
    card = switched()
    card.misbehave = frozenset({fault})
    assert card.profile_rollback(ROLLBACK) == wrap(0xBF58, wrap(0x02, bytes((code,))))
    assert (states(card), len(stored(card))) == ({LEAD: False, PARTNER: True}, 1)
    card.misbehave = frozenset()
    rolled_back(card)


@pytest.mark.parametrize("request_hex", ["bf5800", "bf580380017f", "bf58030101ff", "bf570380 01ff"])
def test_a_malformed_rollback_is_refused(request_hex: str) -> None:
    card = switched()
    with pytest.raises(ValueError):  # noqa: PT011 -- the one error that is declared, whatever its words
        card.profile_rollback(bytes.fromhex(request_hex))


# Power loss ----------------------------------------------------------------------------------------------------------


def test_permission_result_token_and_counter_survive_a_power_loss(tmp_path: Path) -> None:
    card = switched()
    card.save(tmp_path / "card.json")
    found = IotCard.load(tmp_path / "card.json")
    assert (found.iot, stored(found), states(found)) == (card.iot, stored(card), states(card))
    assert association_token(found, EIM_ID) == association_token(card, EIM_ID)
    assert read_result(found.load_euicc_package(package(found, 1, LIST))).code == 4
    check_signature(read_result(rolled_back(found)), "nist", token_tlv(found))


@given(st.lists(st.sampled_from(["enable", "rollback", "ack", "list", "save"]), max_size=8))
@settings(max_examples=40, deadline=None)
def test_exactly_one_profile_is_enabled_whatever_happens(steps: list[str]) -> None:
    card = iot_card()
    for counter, step in enumerate(steps, 1):
        disabled = next(iccid for iccid, on in states(card).items() if not on)
        if step == "enable":
            run(card, counter, enable(disabled, rollback=True))
        elif step == "list":
            run(card, counter, LIST)
        elif step == "rollback":
            card.profile_rollback(ROLLBACK)
        elif step == "ack":
            for raw in stored(card):
                remove(card, read_result(raw).sequence)
        else:
            card = IotCard.from_bytes(card.to_bytes())
        assert list(states(card).values()).count(True) == 1
        assert card.iot.permission is None or len(stored(card)) > 0


def test_sizes_and_kind_survive_a_power_loss() -> None:
    card = iot_card()
    card.largest_package, card.largest_result = 300, 400
    found = IotCard.from_bytes(card.to_bytes())
    assert (found.largest_package, found.largest_result) == (300, 400)
    assert found.get_euicc_info2() == card.get_euicc_info2()
    assert found.profiles[0].state is ProfileState.ENABLED


@pytest.mark.parametrize("data", [b"{}", b"[]", b"null", b"x", b'{"format": "SGP.32 card 2"}'])
def test_something_else_is_not_read_as_a_card(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- the one error that is declared, whatever its words
        IotCard.from_bytes(data)


def test_the_state_of_a_plain_card_is_not_one_of_this_kind() -> None:
    card = iot_card()
    with pytest.raises(ValueError, match="format"):
        IotCard.from_bytes(Card(card.eid, card.credentials).to_bytes())

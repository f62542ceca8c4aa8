"""LoadEuiccPackage of the virtual eUICC: who may command, what is executed, what is answered (SGP.32 5.9.1)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from card_test_pki import pki
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from iot_stage import (
    EIM_ID,
    EIM_KEYS,
    LEAD,
    LIST,
    NO_DISABLING,
    OWNER,
    PARTNER,
    THIRD,
    TRANSACTION,
    Wish,
    check_signature,
    delete,
    disable,
    enable,
    iccid_tlv,
    iot_card,
    package,
    read_result,
    remove,
    run,
    states,
    stored,
    token_tlv,
)

from rsp.tlv import read_only, wrap, wrap_integer
from simulator.eim_association import LARGEST_COUNTER
from simulator.iot_card import IotCard
from simulator.metadata import ALLOW_ALL_RULES
from simulator.misbehaviour import Misbehaviour

UNTOUCHED = {LEAD: True, PARTNER: False}


def refused(card: IotCard, request: bytes) -> int:
    """The code of a signed error; checks that nothing was executed."""
    counter = card.iot.eims[0].counter
    result = read_result(card.load_euicc_package(request))
    assert (result.arm, states(card), stored(card), card.iot.eims[0].counter) == (0xA1, UNTOUCHED, [], counter)
    check_signature(result, "nist", token_tlv(card))
    return result.code


# Results -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curve", ["nist", "brainpool"])
@pytest.mark.parametrize("token", [True, False])
def test_a_result_repeats_the_package_and_is_signed_with_the_token(curve: str, *, token: bool) -> None:
    card = iot_card(curve, token=token)
    result = read_result(card.load_euicc_package(package(card, 1, enable(PARTNER), curve=curve)))
    check_signature(result, curve, token_tlv(card) if token else bytes.fromhex("840100"))
    assert list(result.members) == [0x80, 0x81, 0x82, 0x83, 0x30]
    assert result.members[0x80].text() == EIM_ID
    assert result.members[0x81].integer() == 1
    assert result.members[0x82].value == TRANSACTION
    assert result.commands == [bytes.fromhex("830100")]
    assert states(card) == {LEAD: False, PARTNER: True}


@pytest.mark.parametrize("curve", ["nist", "brainpool"])
def test_openssl_agrees_with_the_signature(tmp_path: Path, curve: str) -> None:
    card = iot_card(curve)
    result = read_result(card.load_euicc_package(package(card, 1, LIST, curve=curve)))
    key = pki(curve).euicc.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    halves = (int.from_bytes(half, "big") for half in (result.signature[:32], result.signature[32:]))
    (tmp_path / "key").write_bytes(key)
    (tmp_path / "signature").write_bytes(utils.encode_dss_signature(*halves))
    (tmp_path / "data").write_bytes(result.signed + token_tlv(card))
    command = ["openssl", "dgst", "-sha256", "-verify", "key", "-signature", "signature", "data"]
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).stdout == b"Verified OK\n"


def test_a_package_without_transaction_id_is_answered_without() -> None:
    card = iot_card()
    result = read_result(card.load_euicc_package(package(card, 1, LIST, wish=Wish(transaction_id=None))))
    assert list(result.members) == [0x80, 0x81, 0x83, 0x30]


def test_results_wait_with_numbers_of_their_own_until_they_are_removed() -> None:
    card = iot_card()
    first = card.load_euicc_package(package(card, 1, LIST))
    second = card.load_euicc_package(package(card, 2, LIST))
    assert stored(card) == [first, second]
    assert (read_result(first).sequence, read_result(second).sequence) == (0, 1)
    assert remove(card, 0) == 0
    assert stored(card) == [second]
    assert remove(card, 0) == 1


def test_results_and_notifications_share_one_count() -> None:
    card = iot_card()
    result = read_result(card.load_euicc_package(package(card, 1, enable(PARTNER))))
    waiting = [entry.sequence for entry in card.memory.notifications]
    assert (waiting, result.sequence) == ([0], 1)
    assert remove(card, waiting[0]) == 0
    assert len(stored(card)) == 1


def test_notifications_are_listed_without_results() -> None:
    card = iot_card()
    run(card, 1, enable(PARTNER))
    (listed,) = read_only(card.retrieve_notifications(), 0xBF2B).children()
    assert (listed.tag, len(list(listed.children()))) == (0xA0, 1)


def test_the_profiles_are_listed_as_asked() -> None:
    card = iot_card()
    (result,) = run(card, 1, wrap(0xBF2D, wrap(0x5C, bytes.fromhex("5A9F70"))))
    expected = [
        wrap(0xE3, iccid_tlv(iccid), wrap(0x9F70, bytes((enabled,)))) for iccid, enabled in ((LEAD, 1), (PARTNER, 0))
    ]
    assert bytes.fromhex(result) == wrap(0xBF2D, wrap(0xA0, *expected))


def test_fallback_members_of_the_metadata_are_listed() -> None:
    card = iot_card(lead_rules=(wrap(0x9F67, b"\xff"),))
    (result,) = run(card, 1, wrap(0xBF2D, wrap(0xA0, iccid_tlv(LEAD)), wrap(0x5C, bytes.fromhex("9F67"))))
    assert bytes.fromhex(result) == wrap(0xBF2D, wrap(0xA0, wrap(0xE3, bytes.fromhex("9f6701ff"))))


# Who may command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wish",
    [
        Wish(key=ec.generate_private_key(ec.SECP256R1())),
        Wish(key=EIM_KEYS["brainpool"]),
        Wish(token=0),
        Wish(token=1),
    ],
)
def test_a_wrong_signature_is_answered_unsigned(wish: Wish) -> None:
    card = iot_card()
    result = read_result(card.load_euicc_package(package(card, 1, enable(PARTNER), wish=wish)))
    assert (result.arm, list(result.members)) == (0xA2, [0x80, 0x82, 0x84])
    assert result.members[0x84].raw == token_tlv(card)
    assert (states(card), stored(card), card.iot.eims[0].counter) == (UNTOUCHED, [], 0)


def test_an_unknown_eim_is_answered_unsigned_and_learns_no_token() -> None:
    card = iot_card()
    result = read_result(card.load_euicc_package(package(card, 1, enable(PARTNER), wish=Wish(eim_id="stranger"))))
    assert (result.arm, list(result.members)) == (0xA2, [0x80, 0x82])
    assert result.members[0x80].text() == "stranger"


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_no_changed_byte_gets_a_package_executed(place: int, change: int) -> None:
    card = iot_card()
    request = bytearray(package(card, 1, enable(PARTNER)))
    request[place % len(request)] ^= change
    try:
        arm = read_result(card.load_euicc_package(bytes(request))).arm
    except ValueError:
        arm = 0xA2
    assert (arm, states(card), stored(card)) == (0xA2, UNTOUCHED, [])


@given(st.binary(max_size=60))
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_refused_with_the_declared_error(data: bytes) -> None:
    card = iot_card()
    for request in (data, wrap(0xBF51, data)):
        with pytest.raises(ValueError):  # noqa: PT011 -- the one error that is declared, whatever its words
            card.load_euicc_package(request)


@pytest.mark.parametrize("list_tag", [0xA2, 0x30])
def test_a_package_of_neither_list_is_malformed(list_tag: int) -> None:
    card = iot_card()
    with pytest.raises(ValueError, match="does not belong"):
        card.load_euicc_package(package(card, 1, LIST, wish=Wish(list_tag=list_tag)))


# Signed refusals -----------------------------------------------------------------------------------------------------


def test_a_package_for_another_card_is_refused() -> None:
    card = iot_card()
    assert refused(card, package(card, 1, enable(PARTNER), wish=Wish(eid="8" * 32))) == 3


@pytest.mark.parametrize("counter", [0, 1, 4, 5])
def test_a_counter_that_is_not_greater_is_a_replay(counter: int) -> None:
    card = iot_card()
    remove(card, read_result(card.load_euicc_package(package(card, 5, LIST))).sequence)
    assert refused(card, package(card, counter, enable(PARTNER))) == 4


def test_a_counter_may_skip_numbers() -> None:
    card = iot_card()
    assert run(card, 7, enable(PARTNER)) == ["830100"]
    assert card.iot.eims[0].counter == 7


def test_the_same_package_twice_is_executed_once() -> None:
    card = iot_card()
    request = package(card, 1, enable(PARTNER))
    first = card.load_euicc_package(request)
    again = read_result(card.load_euicc_package(request))
    assert (again.arm, again.code) == (0xA1, 4)
    assert (states(card), stored(card)) == ({LEAD: False, PARTNER: True}, [first])


def test_a_counter_beyond_the_range_is_refused() -> None:
    card = iot_card()
    assert refused(card, package(card, LARGEST_COUNTER + 1, enable(PARTNER))) == 6


def test_the_largest_counter_is_the_last() -> None:
    card = iot_card()
    assert run(card, LARGEST_COUNTER, LIST)
    assert read_result(card.load_euicc_package(package(card, LARGEST_COUNTER, LIST))).code == 4


def test_a_package_that_is_too_long_is_refused() -> None:
    card = iot_card()
    card.largest_package = 200
    assert refused(card, package(card, 1, *[enable(PARTNER)] * 10)) == 15


@pytest.mark.parametrize(
    ("fault", "code"), [(Misbehaviour.ECALL_ACTIVE, 104), (Misbehaviour.PACKAGE_UNDEFINED_ERROR, 127)]
)
def test_a_card_can_be_told_to_refuse(fault: Misbehaviour, code: int) -> None:
    card = iot_card(misbehave=[fault])
    assert refused(card, package(card, 1, enable(PARTNER))) == code
    card.misbehave = frozenset()
    assert run(card, 1, enable(PARTNER)) == ["830100"]


# Commands ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("commands", "results"),
    [
        ([enable(PARTNER)], ["830100"]),
        ([enable(THIRD)], ["830101"]),
        ([enable(LEAD)], ["830102"]),
        ([enable(LEAD, rollback=True)], ["830102"]),
        ([enable(THIRD, rollback=True)], ["830101"]),
        ([disable(LEAD)], ["840100"]),
        ([disable(THIRD)], ["840101"]),
        ([disable(PARTNER)], ["840102"]),
        ([delete(PARTNER)], ["850100"]),
        ([delete(THIRD)], ["850101"]),
        ([delete(LEAD)], ["850102"]),
        ([disable(LEAD), enable(PARTNER, rollback=True)], ["840100", "830114"]),
        ([enable(PARTNER, rollback=True), delete(LEAD)], ["830100", "850114"]),
        ([enable(PARTNER), delete(LEAD)], ["830100", "850100"]),
        ([enable(PARTNER), LIST], ["830100", "bf2d0381010b"]),
        ([wrap(0xBF2D, wrap(0xA0, wrap(0x77)))], ["bf2d03810101"]),
        ([wrap(0xBF2D, wrap(0x5C, b"\x9f"))], ["bf2d03810101"]),
        ([enable(THIRD), enable(PARTNER)], ["830101"]),
        ([wrap(0xA6)], ["020102"]),
        ([wrap(0xBF65, wrap(0x80, b"x"))], ["020102"]),
        ([wrap(0xA3)], ["020102"]),
        ([wrap(0xA3, iccid_tlv(PARTNER), b"\x05\x01\x00")], ["020102"]),
        ([wrap(0xA4, iccid_tlv(LEAD), b"\x05\x00")], ["020102"]),
        ([wrap(0xA3, wrap(0x4F, bytes(16)))], ["020102"]),
        ([delete(PARTNER), wrap(0xA3, wrap(0x5A, b"\x12"))], ["850100", "020102"]),
        ([], []),
    ],
)
def test_commands_run_in_order_up_to_the_first_that_fails(commands: list[bytes], results: list[str]) -> None:
    assert run(iot_card(), 1, *commands) == results


def test_policy_forbids_disabling_what_may_not_be_disabled() -> None:
    card = iot_card(lead_rules=NO_DISABLING)
    card.rat = ALLOW_ALL_RULES
    assert run(card, 1, enable(PARTNER, rollback=True)) == ["830103"]
    assert run(card, 2, disable(LEAD)) == ["840103"]
    assert states(card) == UNTOUCHED


def test_policy_forbids_deleting_what_may_not_be_deleted() -> None:
    card = iot_card(lead_rules=(OWNER, wrap(0x99, b"\x05\x20")))
    assert run(card, 1, enable(PARTNER)) == ["830100"]
    assert run(card, 2, delete(LEAD)) == ["850103"]
    assert LEAD in states(card)


@pytest.mark.parametrize(
    ("fault", "results"),
    [
        (Misbehaviour.CAT_BUSY, ["830105"]),
        (Misbehaviour.FAIL_COMMAND, ["83017f"]),
        (Misbehaviour.INTERRUPT_PACKAGE, ["020103"]),
    ],
)
def test_a_card_can_be_told_to_fail_a_command(fault: Misbehaviour, results: list[str]) -> None:
    card = iot_card(misbehave=[fault])
    assert run(card, 1, enable(PARTNER)) == results
    assert (states(card), card.iot.eims[0].counter, card.refreshes) == (UNTOUCHED, 1, 0)


def test_a_card_can_be_told_to_fail_other_commands_too() -> None:
    card = iot_card(misbehave=[Misbehaviour.FAIL_COMMAND])
    assert [run(card, number, command) for number, command in enumerate((LIST, disable(LEAD), delete(PARTNER)), 1)] == [
        ["bf2d0381017f"],
        ["84017f"],
        ["85017f"],
    ]
    card.misbehave = frozenset({Misbehaviour.CAT_BUSY})
    assert run(card, 4, disable(LEAD)) == ["840105"]
    assert states(card) == UNTOUCHED


def test_ecos_are_not_known() -> None:
    card = iot_card()
    result = read_result(card.load_euicc_package(package(card, 1, wrap(0xAB), wish=Wish(list_tag=0xA1))))
    assert result.commands == [bytes.fromhex("020102")]


def test_a_list_that_is_too_long_for_a_result_ends_the_processing() -> None:
    card = iot_card()
    card.largest_result = 100
    assert run(card, 1, LIST) == ["020101"]


def test_a_change_asks_for_a_refresh_and_a_failure_does_not() -> None:
    card = iot_card()
    run(card, 1, LIST)
    run(card, 2, enable(THIRD))
    assert card.refreshes == 0
    run(card, 3, enable(PARTNER))
    assert card.refreshes == 1


def test_a_deletion_frees_its_memory_and_is_notified() -> None:
    card = iot_card()
    before = card.free_memory
    run(card, 1, delete(PARTNER))
    assert card.free_memory > before
    assert [entry.event.name for entry in card.memory.notifications] == ["DELETE"]


# Deliberate faults ---------------------------------------------------------------------------------------------------


def test_a_card_can_sign_wrongly() -> None:
    card = iot_card(misbehave=[Misbehaviour.WRONG_PACKAGE_RESULT_SIGNATURE])
    result = read_result(card.load_euicc_package(package(card, 1, LIST)))
    with pytest.raises(InvalidSignature):
        check_signature(result, "nist", token_tlv(card))


def test_a_card_can_sign_as_the_older_version_has_it() -> None:
    card = iot_card(misbehave=[Misbehaviour.OLD_PACKAGE_RESULT_SIGNATURE])
    request = package(card, 1, LIST)
    result = read_result(card.load_euicc_package(request))
    check_signature(result, "nist", read_only(request, 0xBF51).members()[0x5F37].raw)


def test_a_card_can_claim_that_a_signature_is_wrong() -> None:
    card = iot_card(misbehave=[Misbehaviour.UNSIGNED_PACKAGE_ERROR])
    assert read_result(card.load_euicc_package(package(card, 1, enable(PARTNER)))).arm == 0xA2
    assert states(card) == UNTOUCHED


def test_an_unsigned_error_of_a_card_without_token_carries_none() -> None:
    card = iot_card(token=False)
    result = read_result(card.load_euicc_package(package(card, 1, LIST, wish=Wish(token=5))))
    assert list(result.members) == [0x80, 0x82]


def test_the_counter_of_a_package_is_not_negative() -> None:
    card = iot_card()
    signed = wrap(0x30, wrap(0x80, b"x"), wrap(0x5A, bytes(16)), wrap_integer(0x81, -1), wrap(0xA0))
    with pytest.raises(ValueError, match="unsigned"):
        card.load_euicc_package(wrap(0xBF51, signed, wrap(0x5F37, bytes(64))))

"""The card behind APDUs: channels, selection, blocks in and answers out, and a whole download through them."""

from __future__ import annotations

import pytest
from card_test_server import ICCID, PackageWish, ScriptedServer, card, failure, read_point, replacement_keys
from hypothesis import given, settings
from hypothesis import strategies as st

from rsp.tlv import read, wrap, wrap_integer
from simulator.apdu import ISD_R, ApduInterface, StatusWord
from simulator.bpp_segments import split_bound_profile_package
from simulator.metadata import ALLOW_ALL_RULES
from simulator.profiles import ProfileState

SELECT = bytes((0x00, 0xA4, 0x04, 0x00, len(ISD_R))) + ISD_R
OPEN = b"\x00\x70\x00\x00\x01"
GET_EID = b"\xbf\x3e\x03\x5c\x01\x5a"


def word(answer: bytes) -> int:
    return int.from_bytes(answer[-2:], "big")


def store(block: bytes, number: int = 0, *, last: bool = True, channel: int = 0, le: bytes = b"") -> bytes:
    return bytes((0x80 | channel, 0xE2, 0x91 if last else 0x11, number, len(block))) + block + le


def collect(contacts: ApduInterface, answer: bytes, channel: int = 0) -> bytes:
    """All of an answer, asked for with GET RESPONSE as often as the card says that more waits."""
    data = answer[:-2]
    while word(answer) & 0xFF00 == StatusWord.ANSWER_WAITS:
        answer = contacts.transmit(bytes((0x80 | channel, 0xC0, 0, 0, word(answer) & 0xFF)))
        data += answer[:-2]
    assert word(answer) == StatusWord.OK
    return data


def call(contacts: ApduInterface, request: bytes, size: int = 255) -> bytes:
    """One function: the request in blocks of `size` bytes, the whole answer back."""
    blocks = [request[start : start + size] for start in range(0, len(request), size)]
    for number, block in enumerate(blocks[:-1]):
        assert contacts.transmit(store(block, number, last=False)) == b"\x90\x00"
    return collect(contacts, contacts.transmit(store(blocks[-1], len(blocks) - 1)))


@pytest.fixture
def contacts() -> ApduInterface:
    made = ApduInterface(card())
    assert word(made.transmit(SELECT + b"\x00")) == StatusWord.OK
    return made


# Selection and channels ------------------------------------------------------------------------------------------


def test_selecting_the_isd_r_tells_its_identifier_and_the_version_of_the_standard() -> None:
    answer = ApduInterface(card()).transmit(SELECT + b"\x00")
    assert word(answer) == StatusWord.OK
    found = read(answer[:-2]).members()
    assert found[0x84].value == ISD_R
    assert found[0xE0].members()[0x82].value == b"\x02\x05\x00"


def test_an_answer_that_was_not_asked_for_waits_for_get_response() -> None:
    contacts = ApduInterface(card())
    answer = contacts.transmit(SELECT)
    assert answer[:1] == b"\x61"
    assert read(collect(contacts, answer)).tag == 0x6F


def test_no_control_information_comes_when_none_is_wanted() -> None:
    assert ApduInterface(card()).transmit(SELECT[:3] + b"\x0c" + SELECT[4:]) == b"\x90\x00"


@pytest.mark.parametrize(
    ("aid", "expected"),
    [
        (ISD_R[:5], StatusWord.OK),
        (ISD_R[:4], StatusWord.APPLICATION_NOT_FOUND),
        (ISD_R[:-1] + b"\x01", StatusWord.APPLICATION_NOT_FOUND),
        (ISD_R + b"\x00", StatusWord.APPLICATION_NOT_FOUND),
    ],
)
def test_an_application_is_found_by_its_identifier_or_the_start_of_it(aid: bytes, expected: StatusWord) -> None:
    contacts = ApduInterface(card())
    assert word(contacts.transmit(bytes((0, 0xA4, 4, 0, len(aid))) + aid + b"\x00")) == expected


def test_selecting_something_else_leaves_nothing_selected(contacts: ApduInterface) -> None:
    contacts.transmit(b"\x00\xa4\x04\x00\x05\xa0\x00\x00\x00\x87")
    assert word(contacts.transmit(store(GET_EID))) == StatusWord.NOTHING_SELECTED


def test_selecting_by_file_identifier_is_refused() -> None:
    assert word(ApduInterface(card()).transmit(b"\x00\xa4\x00\x00\x02\x3f\x00")) == StatusWord.WRONG_PARAMETERS


def test_channels_open_from_the_lowest_number_until_none_is_left() -> None:
    contacts = ApduInterface(card())
    assert [contacts.transmit(OPEN) for _ in range(19)] == [bytes((n, 0x90, 0)) for n in range(1, 20)]
    assert word(contacts.transmit(OPEN)) == StatusWord.CHANNELS_USED_UP
    assert contacts.transmit(b"\x00\x70\x80\x07") == b"\x90\x00"
    assert contacts.transmit(OPEN) == b"\x07\x90\x00"


def test_a_channel_that_is_named_opens_once() -> None:
    contacts = ApduInterface(card())
    assert contacts.transmit(b"\x00\x70\x00\x05") == b"\x90\x00"
    assert word(contacts.transmit(b"\x00\x70\x00\x05")) == StatusWord.WRONG_PARAMETERS
    assert word(contacts.transmit(b"\x00\x70\x00\x14")) == StatusWord.WRONG_PARAMETERS


@pytest.mark.parametrize("channel", [1, 3, 4, 19])
def test_each_channel_has_a_selection_of_its_own(channel: int) -> None:
    contacts = ApduInterface(card())
    assert contacts.transmit(bytes((0, 0x70, 0, channel))) == b"\x90\x00"
    own = channel if channel < 4 else 0x40 | channel - 4
    assert word(contacts.transmit(store(GET_EID, channel=own, le=b"\x00"))) == StatusWord.NOTHING_SELECTED
    assert word(contacts.transmit(bytes((own,)) + SELECT[1:] + b"\x00")) == StatusWord.OK
    assert word(contacts.transmit(store(GET_EID, channel=own, le=b"\x00"))) == StatusWord.OK
    assert word(contacts.transmit(store(GET_EID))) == StatusWord.NOTHING_SELECTED


def test_a_closed_channel_takes_no_commands() -> None:
    contacts = ApduInterface(card())
    contacts.transmit(OPEN)
    contacts.transmit(b"\x00\x70\x80\x01")
    assert word(contacts.transmit(store(GET_EID, channel=1))) == StatusWord.CHANNEL_NOT_OPEN
    assert word(contacts.transmit(b"\x00\x70\x80\x01")) == StatusWord.CHANNEL_NOT_OPEN
    assert word(contacts.transmit(b"\x00\x70\x80\x00")) == StatusWord.WRONG_PARAMETERS


def test_a_reset_closes_channels_and_forgets_the_selection(contacts: ApduInterface) -> None:
    contacts.transmit(OPEN)
    contacts.reset()
    assert word(contacts.transmit(store(GET_EID))) == StatusWord.NOTHING_SELECTED
    assert contacts.transmit(OPEN) == b"\x01\x90\x00"


# Blocks ----------------------------------------------------------------------------------------------------------


def test_a_request_may_come_in_blocks_of_any_size(contacts: ApduInterface) -> None:
    expected = contacts.card.get_eid()
    assert [call(contacts, GET_EID, size) for size in (1, 2, 5, 6)] == [expected] * 4


def test_a_block_out_of_turn_is_refused_and_ends_the_command(contacts: ApduInterface) -> None:
    assert contacts.transmit(store(GET_EID[:2], 0, last=False)) == b"\x90\x00"
    assert word(contacts.transmit(store(GET_EID[2:], 2))) == StatusWord.WRONG_PARAMETERS
    assert word(contacts.transmit(store(GET_EID[2:], 1))) == StatusWord.WRONG_PARAMETERS
    assert call(contacts, GET_EID) == contacts.card.get_eid()


def test_block_number_nought_starts_a_command_again(contacts: ApduInterface) -> None:
    contacts.transmit(store(b"\xbf\x2d", 0, last=False))
    assert call(contacts, GET_EID, 2) == contacts.card.get_eid()


def test_another_command_between_the_blocks_ends_the_command(contacts: ApduInterface) -> None:
    contacts.transmit(store(GET_EID[:2], 0, last=False))
    contacts.transmit(OPEN)
    assert word(contacts.transmit(store(GET_EID[2:], 1))) == StatusWord.WRONG_PARAMETERS


@pytest.mark.parametrize("p1", [0x00, 0x10, 0x80, 0x90, 0xA1, 0xD1])
def test_only_plain_ber_tlv_with_an_answer_is_stored(contacts: ApduInterface, p1: int) -> None:
    answer = contacts.transmit(bytes((0x80, 0xE2, p1, 0, len(GET_EID))) + GET_EID)
    assert word(answer) == StatusWord.WRONG_PARAMETERS


# Answers ---------------------------------------------------------------------------------------------------------


def test_a_long_answer_is_handed_out_in_parts(contacts: ApduInterface) -> None:
    answer = contacts.transmit(store(b"\xbf\x22\x00", le=b"\x10"))
    assert len(answer) == 18
    assert collect(contacts, answer) == contacts.card.get_euicc_info2()


def test_more_than_255_waiting_bytes_are_announced_as_nought(contacts: ApduInterface) -> None:
    contacts.card.rat = ALLOW_ALL_RULES * 20
    answer = contacts.transmit(store(b"\xbf\x43\x00"))
    assert answer == b"\x61\x00"
    assert collect(contacts, answer) == contacts.card.get_rat()


def test_an_answer_is_lost_when_another_command_comes(contacts: ApduInterface) -> None:
    assert contacts.transmit(store(GET_EID))[:1] == b"\x61"
    contacts.transmit(OPEN)
    assert word(contacts.transmit(b"\x80\xc0\x00\x00\x15")) == StatusWord.NO_ANSWER_WAITS


def test_an_answer_waits_on_its_own_channel_only(contacts: ApduInterface) -> None:
    contacts.transmit(OPEN)
    contacts.transmit(store(GET_EID))
    assert word(contacts.transmit(b"\x81\xc0\x00\x00\x15")) == StatusWord.NO_ANSWER_WAITS


@pytest.mark.parametrize("command", [b"\x80\xc0\x01\x00\x15", b"\x80\xc0\x00\x01\x15"])
def test_get_response_takes_no_parameters(contacts: ApduInterface, command: bytes) -> None:
    contacts.transmit(store(GET_EID))
    assert word(contacts.transmit(command)) == StatusWord.WRONG_PARAMETERS


# Refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (b"", StatusWord.WRONG_LENGTH),
        (b"\x00\xa4\x04", StatusWord.WRONG_LENGTH),
        (b"\x00\xa4\x04\x00\x00\x00\x10", StatusWord.WRONG_LENGTH),
        (SELECT[:-1], StatusWord.WRONG_LENGTH),
        (SELECT + b"\x00\x00", StatusWord.WRONG_LENGTH),
        (b"\x80\xc0\x00\x00\x01\x00", StatusWord.WRONG_LENGTH),
        (b"\x00\xb0\x00\x00\x00", StatusWord.INSTRUCTION_UNKNOWN),
        (b"\x80\xa4\x04\x00\x00", StatusWord.INSTRUCTION_UNKNOWN),
        (b"\x00\xe2\x91\x00\x03\xbf\x20\x00", StatusWord.INSTRUCTION_UNKNOWN),
        (b"\x90\xe2\x91\x00\x03\xbf\x20\x00", StatusWord.CLASS_UNKNOWN),
        (b"\x84\xe2\x91\x00\x03\xbf\x20\x00", StatusWord.CLASS_UNKNOWN),
        (b"\x81\xe2\x91\x00\x03\xbf\x20\x00", StatusWord.CHANNEL_NOT_OPEN),
        (b"\x00\x70\x40\x00", StatusWord.WRONG_PARAMETERS),
        (store(b"\xbf\x7f\x00"), StatusWord.FUNCTION_UNKNOWN),
        (store(b"\xbf"), StatusWord.FUNCTION_UNKNOWN),
        (store(b"\xbf\x20\x01\x00"), StatusWord.WRONG_DATA),
        (store(b"\xbf\x3e\x05\x5c"), StatusWord.WRONG_DATA),
        (store(b"\xbf\x36\x03\xbf\x23\x00"), StatusWord.WRONG_DATA),
    ],
)
def test_a_wrong_command_ends_with_its_status_word(
    contacts: ApduInterface, command: bytes, expected: StatusWord
) -> None:
    assert contacts.transmit(command) == expected.to_bytes(2, "big")


def test_why_a_command_was_refused_is_told_in_words(contacts: ApduInterface) -> None:
    contacts.transmit(store(b"\xbf\x36\x03\xbf\x23\x00"))
    assert "PrepareDownload" in contacts.last_fault


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_no_bytes_ever_bring_an_exception(commands: list[bytes]) -> None:
    contacts = ApduInterface(card())
    contacts.transmit(SELECT)
    assert all(len(contacts.transmit(command)) >= 2 for command in commands)


# The work itself -------------------------------------------------------------------------------------------------


def download(contacts: ApduInterface, size: int, wish: PackageWish) -> bytes:
    """A whole download; the installation result."""
    server = ScriptedServer()
    challenge = read(call(contacts, b"\xbf\x2e\x00", size)).members()[0x80].value
    authenticated = call(contacts, server.authenticate_request(challenge), size)
    prepared = call(contacts, server.prepare_request(authenticated), size)
    assert read_point(prepared)
    for piece in split_bound_profile_package(server.bound_package(prepared, wish)):
        if answer := call(contacts, piece, size):
            return answer
    return b""


@settings(max_examples=12)
@given(size=st.integers(8, 255), replaced=st.booleans())
def test_a_download_works_with_blocks_of_any_size(size: int, replaced: bool) -> None:
    contacts = ApduInterface(card())
    contacts.transmit(SELECT)
    result = download(contacts, size, PackageWish(replacement=replacement_keys() if replaced else None))
    assert failure(result) == (-1, 0)
    assert [profile.iccid for profile in contacts.card.profiles] == [ICCID]


def test_a_profile_is_steered_and_its_notifications_fetched_through_apdus(contacts: ApduInterface) -> None:
    download(contacts, 120, PackageWish())
    assert read(call(contacts, b"\xbf\x28\x00")).members()[0xA0].value
    assert read(call(contacts, wrap(0xBF30, wrap_integer(0x80, 0)))).members()[0x80].integer() == 0
    named = wrap(0xA0, wrap(0x5A, ICCID.to_bytes()))
    assert call(contacts, wrap(0xBF31, named, wrap(0x81, b"\xff")))[-1] == 0
    assert [profile.state for profile in contacts.card.profiles] == [ProfileState.ENABLED]
    assert call(contacts, wrap(0xBF32, named, wrap(0x81, b"\x00")))[-1] == 0
    assert call(contacts, wrap(0xBF33, wrap(0x5A, ICCID.to_bytes())))[-1] == 0
    assert contacts.card.profiles == ()
    events = [read(call(contacts, wrap(0xBF2B, wrap(0xA0, wrap_integer(0x80, n))))) for n in (1, 2, 3)]
    assert all(event.members()[0xA0].value for event in events)
    assert contacts.card.refreshes == 1


@pytest.mark.parametrize(
    "tag", [0xBF20, 0xBF22, 0xBF28, 0xBF2B, 0xBF2D, 0xBF2E, 0xBF3C, 0xBF43], ids=lambda tag: f"{tag:X}"
)
def test_every_question_without_arguments_is_answered_under_its_own_tag(contacts: ApduInterface, tag: int) -> None:
    assert read(call(contacts, wrap(tag))).tag == tag

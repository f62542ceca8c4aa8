"""Identifiers: what is accepted, what is refused, and how each is coded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsp.errors import Malformed
from rsp.identifiers import ActivationCode, Eid, Iccid, MatchingId, TransactionId, fqdn
from rsp.status import ES9_INTEGERS, Status

digits = st.text("0123456789", min_size=18, max_size=20)


@given(digits)
def test_iccid_bytes_round_trip(text: str) -> None:
    assert Iccid.from_bytes(Iccid(text).to_bytes()) == Iccid(text)
    assert Iccid.parse(Iccid(text).to_json()) == Iccid(text)


def test_iccid_bytes_are_swapped_and_padded() -> None:
    assert Iccid("8901234567890123456").to_bytes().hex() == "981032547698103254f6"
    assert Iccid("8901234567890123456").to_json() == "8901234567890123456F"
    assert Iccid("89012345678901234567").to_json() == "89012345678901234567"


@pytest.mark.parametrize(
    "text", ["", "8901", "89012345678901234567F", "89012345678901234x", "٨" * 18, "8901234567890123456\n"]
)
def test_what_is_no_iccid_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        Iccid.parse(text)


@given(st.text("0123456789", min_size=32, max_size=32))
def test_eid_bytes_round_trip(text: str) -> None:
    assert Eid.from_bytes(Eid(text).to_bytes()) == Eid(text)


def test_check_digits_are_told_but_not_demanded() -> None:
    assert Eid("89049032123451234512345678901235").has_valid_check()
    assert not Eid("89049032123451234512345678901236").has_valid_check()
    assert [last for last in "0123456789" if Iccid("898830300000061422" + last).has_valid_check()] == ["4"]


@pytest.mark.parametrize("text", ["", "8904903212345123451234567890123", "8904903212345123451234567890123A"])
def test_what_is_no_eid_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        Eid(text)


@pytest.mark.parametrize("text", ["", "abc", "A B", "A$B", "A" * 256])
def test_what_is_no_matching_id_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        MatchingId(text)


def test_transaction_id_accepts_both_cases_and_writes_upper() -> None:
    assert str(TransactionId.parse("0a0b")) == "0A0B"
    for text in ("", "0", "zz", "00" * 17, "0a 0b"):
        with pytest.raises(Malformed):
            TransactionId.parse(text)


def test_server_addresses_lose_port_and_case() -> None:
    assert fqdn("SMDP.Example.com:8443") == "smdp.example.com"
    for text in ("", "a b", "-a.com", "a..b", "a:b", "smdp.example.com/path", "x" * 256):
        with pytest.raises(Malformed):
            fqdn(text)


@pytest.mark.parametrize(
    "text",
    ["1$smdp.example.com$ABC-1", "1$smdp.example.com$", "1$smdp.example.com$A$2.999.10", "1$smdp.example.com$A$$1"],
)
def test_activation_codes_round_trip(text: str) -> None:
    assert str(ActivationCode.parse(f"LPA:{text}")) == text
    assert str(ActivationCode.parse(text)) == text


@pytest.mark.parametrize("text", ["", "2$a.b$C", "1$a.b", "1$a b$C", "1$a.b$c", "1$a.b$C$1$1$1", "1$a.b$" + "A" * 255])
def test_what_is_no_activation_code_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        ActivationCode.parse(text)


def test_messages_fit_the_buffer_of_common_clients() -> None:
    for status in Status:
        assert status.message.isascii()
        assert len(status.message) < 128


def test_every_status_is_its_own() -> None:
    assert len({(s.subject, s.reason) for s in Status}) == len(list(Status.__members__)), "two names for one code pair"
    for function in ES9_INTEGERS.values():
        assert all(0 < number <= 127 for number in function.values())

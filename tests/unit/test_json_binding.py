"""The JSON binding's forms: what counts as base64, and the header of an answer."""

import base64
import json
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsp.errors import Malformed
from rsp.json_binding import Execution, decode_base64, encode_base64, execution_header, failure_header
from rsp.status import Status


@given(st.binary(max_size=100))
def test_base64_round_trips(data: bytes) -> None:
    text = encode_base64(data)
    assert text.isascii()
    assert not set(text) & set("\r\n -_")
    assert decode_base64(text, "pendingNotification") == data


@given(st.binary(min_size=1, max_size=60), st.integers(1, 20), st.sampled_from(["\n", "\r\n", " ", "\t"]))
def test_white_space_and_line_breaks_are_accepted(data: bytes, width: int, gap: str) -> None:
    text = encode_base64(data)
    broken = gap.join(text[i : i + width] for i in range(0, len(text), width)) + gap
    assert decode_base64(broken, "pendingNotification") == data


@pytest.mark.parametrize(
    "text",
    [
        "A",
        "AA",
        "AAA",
        "AA=A",
        "=AAA",
        "AAAA====",
        "AAAA=",
        "AAAAA===",
        "AA==AA==",
        "?AAA",
        "-_-_",
        "AA\u00e9A",
        "\u2003AAAA",
        "A\0AA",
    ],
)
def test_what_is_no_base64_is_malformed_and_named(text: str) -> None:
    with pytest.raises(Malformed, match="euiccInfo1"):
        decode_base64(text, "euiccInfo1")


@given(st.text(max_size=40))
def test_any_text_is_base64_or_malformed(text: str) -> None:
    with suppress(Malformed):
        decode_base64(text, "euiccInfo1")


@given(st.text(alphabet="AZaz09+/== \n-\u00e9", max_size=16))
def test_what_is_taken_at_once_is_what_the_rule_allows(text: str) -> None:
    """Alphabet, whole groups of four, padding at the end only; white space does not count (RFC 4648 section 4)."""
    packed = re.sub(r"[ \t\r\n]", "", text)
    allowed = len(packed) % 4 == 0 and re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", packed)
    if allowed:
        assert decode_base64(text, "euiccInfo1") == base64.b64decode(packed)
    else:
        with pytest.raises(Malformed):
            decode_base64(text, "euiccInfo1")


def test_success_carries_nothing_but_its_status() -> None:
    assert json.loads(execution_header()) == {"functionExecutionStatus": {"status": "Executed-Success"}}


def test_other_outcomes_carry_their_status() -> None:
    assert json.loads(execution_header(Execution.EXPIRED)) == {"functionExecutionStatus": {"status": "Expired"}}


def test_a_failure_without_a_status_code_is_not_written() -> None:
    with pytest.raises(ValueError, match="failure_header"):
        execution_header(Execution.FAILED)


@pytest.mark.parametrize("status", list(Status))
def test_a_failure_carries_its_code_and_message(status: Status) -> None:
    assert json.loads(failure_header(status)) == {
        "functionExecutionStatus": {
            "status": "Failed",
            "statusCodeData": {
                "subjectCode": status.subject,
                "reasonCode": status.reason,
                "message": status.message,
            },
        }
    }


def test_a_failure_names_its_subject_and_its_detail() -> None:
    header = json.loads(failure_header(Status.ICCID_UNKNOWN, "No profile ...0127.", "89000123456789012341"))
    assert header["functionExecutionStatus"]["statusCodeData"] == {
        "subjectCode": "8.2.1",
        "reasonCode": "3.9",
        "subjectIdentifier": "89000123456789012341",
        "message": "No profile ...0127.",
    }


@given(st.text(min_size=1, max_size=300), st.text(max_size=50))
def test_a_failure_is_ascii_and_its_message_short(detail: str, subject: str) -> None:
    raw = failure_header(Status.MALFORMED, detail, subject)
    assert raw.isascii()
    assert len(json.loads(raw)["functionExecutionStatus"]["statusCodeData"]["message"]) < 128


def test_a_long_detail_is_cut_to_what_clients_can_hold() -> None:
    header = json.loads(failure_header(Status.MALFORMED, "x" * 128))
    assert header["functionExecutionStatus"]["statusCodeData"]["message"] == "x" * 127

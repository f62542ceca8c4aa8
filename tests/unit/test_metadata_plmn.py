"""Network codes as bytes (3GPP TS 24.008)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsp.errors import Malformed
from rsp.plmn import plmn_to_bytes, plmn_to_text


@pytest.mark.parametrize(
    ("text", "coded"), [("262-01", "62f210"), ("310-410", "130014"), ("001-01", "00f110"), ("246-81", "42f618")]
)
def test_known_networks_are_coded_as_the_standard_says(text: str, coded: str) -> None:
    assert plmn_to_bytes(text).hex() == coded
    assert plmn_to_text(bytes.fromhex(coded)) == text


def test_the_hyphen_may_be_left_out() -> None:
    assert plmn_to_bytes("310410") == plmn_to_bytes("310-410")


@settings(max_examples=100, deadline=None)
@given(st.from_regex(r"[0-9]{3}-[0-9]{2,3}", fullmatch=True).filter(str.isascii))
def test_text_survives_the_round_trip(text: str) -> None:
    assert plmn_to_text(plmn_to_bytes(text)) == text


@pytest.mark.parametrize("text", ["", "26201-", "26-01", "262-0", "262-0123", "2620a", "٢62-01", "262-01\n"])
def test_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="network code"):
        plmn_to_bytes(text)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=4))
def test_any_bytes_are_read_or_refused(value: bytes) -> None:
    try:
        text = plmn_to_text(value)
    except Malformed:
        return
    assert plmn_to_bytes(text) == value

"""The search for secrets finds what it is meant to find."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.secret_search import Needle, files_below, search, spellings

_NEEDLE = Needle(name="code", secret=b"4711-Zitrone")


@given(before=st.binary(max_size=9), after=st.binary(max_size=9), secret=st.binary(min_size=8, max_size=40))
def test_secret_inside_base64_is_found_wherever_it_begins(before: bytes, after: bytes, secret: bytes) -> None:
    needle = Needle(name="key", secret=secret)
    assert any(name.startswith("base64") for name in needle.within(base64.b64encode(before + secret + after)))


@pytest.mark.parametrize("spelling", spellings(_NEEDLE.secret))
def test_every_spelling_is_found_in_the_middle_of_other_bytes(spelling: str) -> None:
    place = b"\0\xff" + spellings(_NEEDLE.secret)[spelling] + b"\xfe"
    assert f"code, {spelling}, log" in search([_NEEDLE], {"log": place})


def test_nothing_is_found_where_nothing_is() -> None:
    assert search([_NEEDLE], {"log": b"4711-zitrone 4711 Zitrone", "empty": b""}) == []


def test_files_are_read_except_those_left_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"1")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b").write_bytes(b"2")
    assert dict(files_below(tmp_path, tmp_path / "out")) == {"in/a": b"1"}

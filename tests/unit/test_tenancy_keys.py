"""API keys: tokens, hashes and their ends."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tenancy.keys import SECRET_BYTES, ApiKey, parse_token, token
from tenancy.principal import Principal, PrincipalKind

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SECRET = bytes(range(32))
KEY = ApiKey(
    id=1,
    principal=Principal(kind=PrincipalKind.ADMIN),
    name="k",
    scopes=frozenset(),
    digest=hashlib.sha256(SECRET).digest(),
    created_at=NOW,
)


@given(number=st.integers(0, 10**18 - 1), secret=st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES))
@settings(max_examples=100)
def test_a_token_is_read_back(number: int, secret: bytes) -> None:
    assert parse_token(token(number, secret)) == (number, secret)


@given(text=st.one_of(st.text(max_size=80), st.from_regex(r"smdp_[0-9]*_[A-Za-z0-9_-]*", fullmatch=True)))
@settings(max_examples=100)
def test_anything_else_is_no_token(text: str) -> None:
    parsed = parse_token(text)
    assert parsed is None or len(parsed[1]) == SECRET_BYTES


@given(secret=st.binary(max_size=40))
@settings(max_examples=50)
def test_no_other_secret_opens_a_key(secret: bytes) -> None:
    assert KEY.opens(secret, NOW) == (secret == SECRET)


def test_a_key_is_good_until_it_expires_or_is_revoked() -> None:
    assert KEY.opens(SECRET, NOW)
    assert replace(KEY, expires_at=NOW + timedelta(seconds=1)).opens(SECRET, NOW)
    assert not replace(KEY, expires_at=NOW).opens(SECRET, NOW)
    assert not replace(KEY, revoked_at=NOW - timedelta(seconds=1)).opens(SECRET, NOW)


def test_the_hash_of_a_key_is_not_shown() -> None:
    assert "digest" not in repr(KEY)

"""Sealed secrets and confirmation codes."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import confirmation
from crypto.sealing import BadSeal, SealingKey

KEY = SealingKey.from_bytes(b"k" * 32)


@settings(max_examples=50)
@given(st.binary(max_size=100), st.binary(max_size=40))
def test_sealed_bytes_open_in_their_context(plaintext: bytes, context: bytes) -> None:
    sealed = KEY.seal(plaintext, context)
    assert len(sealed) == len(plaintext) + 28
    assert SealingKey.from_bytes(KEY.to_bytes()).open(sealed, context) == plaintext


@settings(max_examples=50)
@given(st.binary(max_size=30), st.data())
def test_any_flipped_bit_breaks_the_seal(plaintext: bytes, draw: st.DataObject) -> None:
    sealed = bytearray(KEY.seal(plaintext, b"place"))
    bit = draw.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadSeal):
        KEY.open(bytes(sealed), b"place")


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_any_bytes_raise_the_declared_error(sealed: bytes) -> None:
    with pytest.raises(BadSeal):
        KEY.open(sealed, b"place")


def test_another_context_breaks_the_seal() -> None:
    with pytest.raises(BadSeal):
        KEY.open(KEY.seal(b"secret", b"order 1"), b"order 2")


def test_another_key_breaks_the_seal() -> None:
    with pytest.raises(BadSeal):
        SealingKey.generate().open(KEY.seal(b"secret", b"place"), b"place")


def test_sealing_twice_gives_different_bytes() -> None:
    assert KEY.seal(b"secret", b"place") != KEY.seal(b"secret", b"place")


def test_key_is_not_shown() -> None:
    assert repr(KEY) == "SealingKey()"


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SealingKey.from_bytes(bytes(length))


def test_code_is_hashed_as_the_text_typed() -> None:
    assert confirmation.hash_of_code("1234") == hashlib.sha256(b"1234").digest()
    assert confirmation.hash_of_code("añ") == hashlib.sha256("añ".encode()).digest()


def test_session_hash_binds_the_code_to_the_transaction() -> None:
    code_hash = hashlib.sha256(b"1234").digest()
    received = hashlib.sha256(code_hash + b"\x01\x02").digest()
    assert confirmation.matches(confirmation.hash_for_session(code_hash, b"\x01\x02"), received)
    assert not confirmation.matches(confirmation.hash_for_session(code_hash, b"\x01\x03"), received)


@pytest.mark.parametrize("received", [b"", b"\x00", bytes(33)])
def test_hash_of_another_length_does_not_match(received: bytes) -> None:
    assert not confirmation.matches(bytes(32), received)

"""Curves and plain ECDSA signatures."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.curves import Curve, UnsupportedCurve
from crypto.signatures import BadSignature, sign, verify

KEYS = {curve: ec.generate_private_key(curve.instance) for curve in Curve}
curves = st.sampled_from(Curve)


@pytest.mark.parametrize("curve", Curve)
def test_curve_of_a_key_is_found(curve: Curve) -> None:
    assert Curve.of(KEYS[curve]) is Curve.of(KEYS[curve].public_key()) is curve


def test_other_curve_is_refused() -> None:
    with pytest.raises(UnsupportedCurve, match="secp384r1"):
        Curve.of(ec.generate_private_key(ec.SECP384R1()))


def test_rsa_key_is_refused() -> None:
    with pytest.raises(UnsupportedCurve):
        Curve.of(rsa.generate_private_key(65537, 2048))


@settings(max_examples=50, deadline=None)
@given(curves, st.binary(max_size=200))
def test_signature_has_64_bytes_and_verifies(curve: Curve, data: bytes) -> None:
    signature = sign(KEYS[curve], data)
    assert len(signature) == 64
    verify(KEYS[curve].public_key(), signature, data)


@settings(max_examples=50, deadline=None)
@given(curves, st.binary(min_size=1, max_size=50), st.data())
def test_any_flipped_bit_is_refused(curve: Curve, data: bytes, draw: st.DataObject) -> None:
    whole = bytearray(sign(KEYS[curve], data) + data)
    bit = draw.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadSignature):
        verify(KEYS[curve].public_key(), bytes(whole[:64]), bytes(whole[64:]))


@settings(max_examples=100, deadline=None)
@given(curves, st.binary(max_size=80))
def test_any_bytes_as_signature_raise_the_declared_error(curve: Curve, signature: bytes) -> None:
    with pytest.raises(BadSignature):
        verify(KEYS[curve].public_key(), signature, b"data")


@pytest.mark.parametrize("length", [0, 63, 65, 70, 128])
def test_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(BadSignature, match="64 bytes"):
        verify(KEYS[Curve.P256].public_key(), bytes(length), b"data")


@pytest.mark.parametrize("signature", [bytes(64), b"\xff" * 64, bytes(32) + b"\x01" * 32])
def test_numbers_outside_the_group_are_refused(signature: bytes) -> None:
    with pytest.raises(BadSignature):
        verify(KEYS[Curve.P256].public_key(), signature, b"data")


def test_signature_under_another_key_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(BadSignature):
        verify(other.public_key(), sign(KEYS[Curve.P256], b"data"), b"data")

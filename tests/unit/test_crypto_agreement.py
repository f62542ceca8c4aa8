"""One-time keys and the session keys both sides derive."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.agreement import BadPoint, OneTimeKey, SessionKeys, derive_session_keys
from crypto.curves import Curve

HOST_ID = b"host"
EID = bytes.fromhex("89049032123451234512345678901235")


@pytest.mark.parametrize("curve", Curve)
def test_both_sides_derive_the_same_keys(curve: Curve) -> None:
    ours, theirs = OneTimeKey.generate(curve), OneTimeKey.generate(curve)
    one = derive_session_keys(ours, theirs.public, HOST_ID, EID)
    assert one == derive_session_keys(theirs, ours.public, HOST_ID, EID)
    assert len({one.mac_chaining_value, one.s_enc, one.s_mac}) == 3


def test_keys_depend_on_host_id_and_eid() -> None:
    ours, theirs = OneTimeKey.generate(Curve.P256), OneTimeKey.generate(Curve.P256)
    one = derive_session_keys(ours, theirs.public, HOST_ID, EID)
    assert one != derive_session_keys(ours, theirs.public, HOST_ID + b"2", EID)
    assert one != derive_session_keys(ours, theirs.public, HOST_ID, EID[:-1] + b"\x00")


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(Curve), st.integers(1, 2**250))
def test_one_time_key_survives_storage(curve: Curve, number: int) -> None:
    key = OneTimeKey.from_bytes(curve, number.to_bytes(32, "big"))
    assert key.to_bytes() == number.to_bytes(32, "big")
    assert (len(key.public), key.public[0], key.curve) == (65, 4, curve)


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33), bytes(32), b"\xff" * 32])
def test_secret_outside_the_group_is_refused_without_being_quoted(secret: bytes) -> None:
    with pytest.raises(ValueError, match="one-time key") as caught:
        OneTimeKey.from_bytes(Curve.P256, secret)
    assert str(int.from_bytes(b"\xff" * 32, "big")) not in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(Curve), st.binary(max_size=70))
def test_any_bytes_as_peer_key_raise_the_declared_error(curve: Curve, peer: bytes) -> None:
    with pytest.raises(BadPoint):
        derive_session_keys(OneTimeKey.generate(curve), peer, HOST_ID, EID)


def test_point_off_the_curve_is_refused() -> None:
    point = bytearray(OneTimeKey.generate(Curve.P256).public)
    point[64] ^= 1
    with pytest.raises(BadPoint, match="not a point"):
        derive_session_keys(OneTimeKey.generate(Curve.P256), bytes(point), HOST_ID, EID)


def test_point_of_the_other_curve_is_refused() -> None:
    peer = OneTimeKey.generate(Curve.BRAINPOOL_P256R1).public
    with pytest.raises(BadPoint):
        derive_session_keys(OneTimeKey.generate(Curve.P256), peer, HOST_ID, EID)


@pytest.mark.parametrize("prefix", [2, 3])
def test_compressed_point_is_refused(prefix: int) -> None:
    peer = OneTimeKey.generate(Curve.P256).public
    with pytest.raises(BadPoint, match="uncompressed"):
        derive_session_keys(OneTimeKey.generate(Curve.P256), bytes((prefix,)) + peer[1:33], HOST_ID, EID)


@pytest.mark.parametrize(("host_id", "eid"), [(b"", EID), (bytes(17), EID), (HOST_ID, EID[:-1]), (HOST_ID, b"")])
def test_wrong_lengths_are_refused(host_id: bytes, eid: bytes) -> None:
    with pytest.raises(ValueError, match="bytes, not"):
        derive_session_keys(OneTimeKey.generate(Curve.P256), OneTimeKey.generate(Curve.P256).public, host_id, eid)


def test_hybrid_point_is_refused() -> None:
    peer = OneTimeKey.generate(Curve.P256).public
    with pytest.raises(BadPoint, match="uncompressed"):
        derive_session_keys(OneTimeKey.generate(Curve.P256), bytes((6 | peer[64] & 1,)) + peer[1:], HOST_ID, EID)


def test_session_keys_survive_storage() -> None:
    data = bytes(range(48))
    keys = SessionKeys.from_bytes(data)
    assert keys.to_bytes() == data
    assert (keys.mac_chaining_value, keys.s_enc, keys.s_mac) == (data[:16], data[16:32], data[32:])


@pytest.mark.parametrize("length", [0, 47, 49])
def test_session_keys_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="48 bytes"):
        SessionKeys.from_bytes(bytes(length))


def test_short_single_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        SessionKeys(mac_chaining_value=bytes(16), s_enc=bytes(15), s_mac=bytes(16))


def test_secrets_are_not_shown() -> None:
    key = OneTimeKey.generate(Curve.P256)
    keys = SessionKeys.from_bytes(b"secret-secret-16" * 3)
    assert key.to_bytes().hex() not in repr(key)
    assert "secret" not in repr(keys)

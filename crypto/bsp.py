"""The BSP protection of a Bound Profile Package: SCP03t with AES-128 (SGP.22 v2.5, 2.5.4 and 5.5)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from hmac import compare_digest

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC

from crypto.agreement import KEY_LENGTH, SessionKeys

MAX_SEGMENT = 1020
"""Longest segment in bytes; tag, length and MAC are included. Cards with a strict buffer refuse longer ones."""

_BLOCK = 16
_MAC_LENGTH = 8
_MAX_BODY = MAX_SEGMENT - 4 - _MAC_LENGTH
MAX_MAC_ONLY_SLICE = _MAX_BODY
"""Data bytes one MAC-only segment holds: 1008."""

MAX_ENCRYPTED_SLICE = _MAX_BODY - _MAX_BODY % _BLOCK - 1
"""Data bytes one encrypted segment holds, 1007: the padding adds at least one byte before the blocks are filled."""

_ZERO_BLOCK = bytes(_BLOCK)
_PADDINGS = [b"\x80" + bytes(_BLOCK - 1 - over) for over in range(_BLOCK)]


class BadMac(Exception):  # noqa: N818 -- the name is the outcome
    """A segment was not made with these keys at this place of the chain, or it is malformed."""


def random_protection_keys() -> SessionKeys:
    """Fresh profile protection keys (PPK) with their own initial MAC chaining value."""
    return SessionKeys.from_bytes(secrets.token_bytes(3 * KEY_LENGTH))


class Bsp:
    """One secure channel: the counter and the MAC chain run on from call to call, in the order of the package.

    Tags are one byte (86, 87 or 88). One set of keys serves one channel, and thereby one plaintext only.
    """

    __slots__ = ("_chain", "_cmac", "_counter", "_encryption_key", "_encryptor", "_last_block")

    def __init__(self, keys: SessionKeys) -> None:
        self._encryption_key = AES(keys.s_enc)
        self._encryptor = Cipher(self._encryption_key, CBC(_ZERO_BLOCK)).encryptor()
        self._last_block = 0
        self._cmac = CMAC(AES(keys.s_mac))
        self._chain = keys.mac_chaining_value
        self._counter = 0

    def encrypt_and_mac(self, tag: int, data: bytes) -> bytes:
        """Protect `data` by encryption and MAC. Returns all segments, each at most 1020 bytes, in one string."""
        return b"".join(self._close(tag, self._encrypt(piece)) for piece in _slices(data, MAX_ENCRYPTED_SLICE))

    def mac_only(self, tag: int, data: bytes) -> bytes:
        """Protect `data` by MAC alone; the counter steps all the same. Returns all segments in one string."""
        segments = []
        for piece in _slices(data, MAX_MAC_ONLY_SLICE):
            self._counter += 1
            segments.append(self._close(tag, piece))
        return b"".join(segments)

    def decrypt_and_verify(self, tag: int, segments: bytes) -> bytes:
        """Undo `encrypt_and_mac`. Raises BadMac and then stands where it stood before the call."""
        before = self._chain, self._counter
        try:
            return b"".join(self._decrypt(body) for body in self._open(tag, segments))
        except BadMac:
            self._chain, self._counter = before
            raise

    def verify_only(self, tag: int, segments: bytes) -> bytes:
        """Undo `mac_only`. Raises BadMac and then stands where it stood before the call."""
        before = self._chain, self._counter
        try:
            bodies = list(self._open(tag, segments))
        except BadMac:
            self._chain, self._counter = before
            raise
        self._counter += len(bodies)
        return b"".join(bodies)

    def _encrypt(self, piece: bytes) -> bytes:
        return self._run(piece + _PADDINGS[len(piece) % _BLOCK])[_BLOCK:]

    def _run(self, padded: bytes) -> bytes:
        """The chaining vector of the next segment, which is its encrypted counter, and `padded` chained to it."""
        # One CBC run, from a zero vector on, serves all segments: it chains the counter to its last block, which is
        # taken off the counter beforehand.
        self._counter += 1
        done = self._encryptor.update((self._last_block ^ self._counter).to_bytes(_BLOCK, "big") + padded)
        self._last_block = int.from_bytes(done[-_BLOCK:], "big")
        return done

    def _decrypt(self, body: bytes) -> bytes:
        if not body or len(body) % _BLOCK:
            raise BadMac("an encrypted segment is not made of whole blocks")
        padded = Cipher(self._encryption_key, CBC(self._run(b""))).decryptor().update(body)
        data, mark, filler = padded.rpartition(b"\x80")
        if not mark or any(filler) or len(filler) >= _BLOCK:
            raise BadMac("an encrypted segment lacks its padding: the encryption key does not fit")
        return data

    def _close(self, tag: int, body: bytes) -> bytes:
        headed = _header(tag, len(body) + _MAC_LENGTH) + body
        self._chain = self._next_chain(headed)
        return headed + self._chain[:_MAC_LENGTH]

    def _open(self, tag: int, segments: bytes) -> Iterator[bytes]:
        for head, body, mac in _cut(tag, segments):
            chain = self._next_chain(head + body)
            if not compare_digest(chain[:_MAC_LENGTH], mac):
                raise BadMac("a segment's MAC does not match: wrong keys, wrong order or altered bytes")
            self._chain = chain
            yield body

    def _next_chain(self, headed: bytes) -> bytes:
        mac = self._cmac.copy()
        mac.update(self._chain + headed)
        return mac.finalize()


def _slices(data: bytes, size: int) -> Iterator[bytes]:
    if not data:
        raise ValueError("there is nothing to protect: a segment carries at least one byte of data")
    return (data[start : start + size] for start in range(0, len(data), size))


def _header(tag: int, length: int) -> bytes:
    if not 0 < tag <= 0xFF or tag & 0x1F == 0x1F:
        raise ValueError(f"tag {tag:X} does not fit in one byte: segments are tagged 86, 87 or 88")
    if length < 0x80:
        return bytes((tag, length))
    if length <= 0xFF:
        return bytes((tag, 0x81, length))
    return bytes((tag, 0x82)) + length.to_bytes(2, "big")


def _cut(tag: int, segments: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Header, body and MAC of each segment. Only the form that `_header` writes is read."""
    if not segments:
        raise BadMac("there is no segment to open")
    start = 0
    while start < len(segments):
        size = {0x81: 1, 0x82: 2}.get(segments[start + 1], 0) if start + 1 < len(segments) else 0
        body_start = start + 2 + size
        length = int.from_bytes(segments[body_start - max(size, 1) : body_start], "big")
        head = segments[start:body_start]
        end = body_start + length
        if length <= _MAC_LENGTH or end > len(segments) or end - start > MAX_SEGMENT or head != _header(tag, length):
            raise BadMac(f"the bytes at {start} are not a segment of tag {tag:X}")
        yield head, segments[body_start : end - _MAC_LENGTH], segments[end - _MAC_LENGTH : end]
        start = end

"""Keys and protection of a bound profile package, card side (SGP.22 annex G, 2.5.4; ANSI X9.63; SCP03t)."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from rsp import tlv

_BLOCK = 16
_MAC_BYTES = 8
MAX_SEGMENT = 1020
KEY_TYPE_AES = 0x88


class SegmentMalformed(Exception):  # noqa: N818 -- the name is the outcome
    """A protected segment has the wrong size, padding or form (scp03tStructureError)."""


class SegmentForged(Exception):  # noqa: N818 -- the name is the outcome
    """The MAC of a protected segment is wrong (scp03tSecurityError)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionKeys:
    """S-ENC and S-MAC, 16 bytes each, and the initial MAC chaining value."""

    encryption: bytes = field(repr=False)
    mac: bytes = field(repr=False)
    chaining_value: bytes = field(repr=False)


def x963_kdf(secret: bytes, shared_info: bytes, length: int) -> bytes:
    """ANSI X9.63 key derivation with SHA-256."""
    out = b""
    counter = 1
    while len(out) < length:
        out += hashlib.sha256(secret + counter.to_bytes(4, "big") + shared_info).digest()
        counter += 1
    return out[:length]


def derive_session_keys(secret: bytes, host_id: bytes, eid: bytes) -> SessionKeys:
    """Session keys from the ECDH secret; SharedInfo is key type, key length, LV host id, LV EID (annex G)."""
    shared_info = bytes((KEY_TYPE_AES, _BLOCK, len(host_id))) + host_id + bytes((len(eid),)) + eid
    block = x963_kdf(secret, shared_info, 3 * _BLOCK)
    return SessionKeys(chaining_value=block[:_BLOCK], encryption=block[_BLOCK : 2 * _BLOCK], mac=block[2 * _BLOCK :])


class SecureChannel:
    """Opens protected segments in the order they were made: one MAC chain, one counter for encrypted and plain ones."""

    __slots__ = ("_chaining_value", "_counter", "_keys", "_longest")

    def __init__(self, keys: SessionKeys, longest_segment: int = MAX_SEGMENT) -> None:
        self._longest = longest_segment
        self._keys = keys
        self._chaining_value = keys.chaining_value
        self._counter = 0

    def open_plain(self, segment: tlv.Tlv) -> bytes:
        """The data of a segment that is protected by a MAC only (tag 88)."""
        return self._authenticated(segment)

    def open_encrypted(self, segment: tlv.Tlv) -> bytes:
        """The plaintext of an encrypted segment (tags 86 and 87), padding removed."""
        data = self._authenticated(segment)
        if not data or len(data) % _BLOCK:
            raise SegmentMalformed("an encrypted segment is a whole number of AES blocks")
        decryptor = Cipher(algorithms.AES(self._keys.encryption), modes.CBC(self._icv())).decryptor()
        padded = decryptor.update(data) + decryptor.finalize()
        text = padded.rstrip(b"\x00")
        if len(padded) - len(text) >= _BLOCK or text[-1:] != b"\x80":
            raise SegmentMalformed("an encrypted segment is padded with 80 and up to 15 bytes 00")
        return text[:-1]

    def _authenticated(self, segment: tlv.Tlv) -> bytes:
        self._counter += 1
        if not len(segment.value) > _MAC_BYTES or len(segment.raw) > self._longest:
            raise SegmentMalformed(f"a segment is at most {self._longest} bytes with tag, length and an 8-byte MAC")
        mac = CMAC(algorithms.AES(self._keys.mac))
        mac.update(self._chaining_value + segment.raw[:-_MAC_BYTES])
        full = mac.finalize()
        if not hmac.compare_digest(full[:_MAC_BYTES], segment.value[-_MAC_BYTES:]):
            raise SegmentForged("the MAC of a segment is wrong")
        self._chaining_value = full
        return segment.value[:-_MAC_BYTES]

    def _icv(self) -> bytes:
        # The ICV is one raw AES block: the counter enciphered under S-ENC (SCP03, 6.2.6).
        encryptor = Cipher(algorithms.AES(self._keys.encryption), modes.ECB()).encryptor()  # noqa: S305 -- see above
        return encryptor.update(self._counter.to_bytes(_BLOCK, "big"))

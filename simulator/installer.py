"""The card's processing of a bound profile package, piece by piece (SGP.22 2.5.5, 5.5, 5.7.6)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from rsp import tlv
from rsp.identifiers import Iccid
from simulator import der, ecc, metadata
from simulator.metadata import ProfileMetadata
from simulator.misbehaviour import InstallFailure
from simulator.secure_messaging import (
    SecureChannel,
    SegmentForged,
    SegmentMalformed,
    SessionKeys,
    derive_session_keys,
)

_INSTALL_BOUND_PROFILE_PACKAGE = 1
_KEY_BYTES = 16
_MAX_PROPRIETARY_DATA = 128
_REMEMBERED_KEYS = 64


class BppCommand(IntEnum):
    """bppCommandId: what the card was doing when it failed."""

    INITIALISE_SECURE_CHANNEL = 0
    CONFIGURE_ISDP = 1
    STORE_METADATA = 2
    STORE_METADATA_2 = 3
    REPLACE_SESSION_KEYS = 4
    LOAD_PROFILE_ELEMENTS = 5


class ErrorReason(IntEnum):
    """errorReason of a profile installation result."""

    INCORRECT_INPUT_VALUES = 1
    INVALID_SIGNATURE = 2
    INVALID_TRANSACTION_ID = 3
    UNSUPPORTED_CRT_VALUES = 4
    UNSUPPORTED_REMOTE_OPERATION = 5
    UNSUPPORTED_PROFILE_CLASS = 6
    STRUCTURE_ERROR = 7
    SECURITY_ERROR = 8
    ICCID_EXISTS = 9
    INSUFFICIENT_MEMORY = 10
    INTERRUPTED = 11
    PE_PROCESSING_ERROR = 12
    DATA_MISMATCH = 13
    INVALID_NAA_KEY = 14
    PPR_NOT_ALLOWED = 15
    UNDEFINED = 127


class Failed(Exception):  # noqa: N818 -- the name is the outcome
    """A step of the installation ends with this reason."""

    def __init__(self, reason: ErrorReason, detail: str, answer: bytes = b"") -> None:
        super().__init__(detail)
        self.reason = reason
        self.answer = answer


class InstallationFailed(Exception):  # noqa: N818 -- the name is the outcome
    """The package is refused: command and reason for the installation result, `answer` the EUICCResponse if any."""

    def __init__(self, command: BppCommand, failure: Failed) -> None:
        super().__init__(f"{command.name}: {failure}")
        self.command = command
        self.reason = failure.reason
        self.answer = failure.answer


class KeyReuse(dict[str, list[str]]):
    """Digests of the segments seen under each key, in order: one key protects one text (SGP.22 2.5.4, rebinding).

    A package that is bound again to the same one-time keys must carry the same segments byte by byte.
    """

    def note(self, keys: SessionKeys, place: int, segment: bytes) -> None:
        """Remember the segment with number `place` under `keys`. Raises SegmentForged when another stood there."""
        seen = self.setdefault(hashlib.sha256(keys.encryption).hexdigest(), [])
        while len(self) > _REMEMBERED_KEYS:
            del self[next(iter(self))]
        digest = hashlib.sha256(segment).hexdigest()
        if place < len(seen) and seen[place] != digest:
            raise SegmentForged("these keys protected another text before: bind again with fresh one-time keys")
        if place == len(seen):
            seen.append(digest)


class Target(Protocol):
    """What the installer asks of the card."""

    @property
    def longest_segment(self) -> int:
        """The longest segment the card takes, in bytes with tag and length."""

    def admit(self, offered: ProfileMetadata) -> None:
        """Raise Failed when a profile with this metadata may not be installed."""

    def check_room(self, size: int) -> None:
        """Raise Failed when a package of `size` bytes does not fit."""

    def check_package(self, package: bytes, offered: ProfileMetadata) -> None:
        """Raise Failed when the package cannot be installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadContext:
    """What PrepareDownload fixed: session id, binding key of the server, one-time key of the card, the card's EID."""

    transaction_id: bytes
    binding_key: ec.EllipticCurvePublicKey
    one_time_key: ec.EllipticCurvePrivateKey = field(repr=False)
    eid: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedProfile:
    """A package that was loaded to its end: metadata, plaintext package, raw B8 object (empty when absent)."""

    metadata: ProfileMetadata
    package: bytes = field(repr=False)
    proprietary_data: bytes


_SEGMENT = {0xA0: 0x87, 0xA1: 0x88, 0xA2: 0x87, 0xA3: 0x86}
_COMMAND = {
    0xA0: BppCommand.CONFIGURE_ISDP,
    0xA1: BppCommand.STORE_METADATA,
    0xA2: BppCommand.REPLACE_SESSION_KEYS,
    0xA3: BppCommand.LOAD_PROFILE_ELEMENTS,
}
_NEXT: dict[int, tuple[int, ...]] = {0xBF36: (0xA0,), 0xA0: (0xA1,), 0xA1: (0xA2, 0xA3), 0xA2: (0xA3,), 0xA3: ()}
_CARRIED_WITH_HEADER = (0xA0, 0xA2)
_BREAKS_IN = {
    BppCommand.INITIALISE_SECURE_CHANNEL: 0xBF36,
    BppCommand.CONFIGURE_ISDP: 0xA0,
    BppCommand.STORE_METADATA: 0xA1,
    BppCommand.STORE_METADATA_2: 0xA1,
    BppCommand.REPLACE_SESSION_KEYS: 0xA2,
    BppCommand.LOAD_PROFILE_ELEMENTS: 0xA3,
}


class BppReceiver:
    """Takes the pieces of one bound profile package in order; `failure` makes it end on purpose."""

    def __init__(
        self, context: DownloadContext, target: Target, reuse: KeyReuse, failure: InstallFailure | None = None
    ) -> None:
        self._failure = failure
        self._context = context
        self._target = target
        self._reuse = reuse
        self._sequence = 0
        self._package_left = 0
        self._sequence_left = 0
        self._place = 0
        self._data = b""
        self._command = BppCommand.INITIALISE_SECURE_CHANNEL
        self._proprietary_data = b""
        self._metadata: ProfileMetadata | None = None

    @property
    def iccid(self) -> Iccid | None:
        """The ICCID of the profile, once its metadata has come."""
        return None if self._metadata is None else self._metadata.iccid

    def feed(self, piece: bytes) -> ReceivedProfile | None:
        """Process one piece; the profile comes back with the last one. Raises InstallationFailed."""
        with self._reporting():
            if not self._sequence:
                self._open(piece)
                self._break_off()
                return None
            if self._sequence_left:
                self._take(_cut(piece))
            else:
                self._begin_sequence(piece)
            self._break_off()
            return None if self._sequence_left else self._finish_sequence()

    def _break_off(self) -> None:
        """Fail where the card is told to: after BF23, or after the first segment of a sequence."""
        if self._failure is None:
            return
        command = BppCommand(self._failure.command)
        if _BREAKS_IN[command] == self._sequence and (self._data or self._sequence == 0xBF36):
            raise InstallationFailed(command, Failed(ErrorReason(self._failure.reason), "told to fail here"))

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except Failed as failure:
            raise InstallationFailed(self._command, failure) from failure
        except SegmentMalformed as error:
            raise InstallationFailed(self._command, Failed(ErrorReason.STRUCTURE_ERROR, str(error))) from error
        except SegmentForged as error:
            raise InstallationFailed(self._command, Failed(ErrorReason.SECURITY_ERROR, str(error))) from error
        except ValueError as error:
            raise InstallationFailed(self._command, Failed(ErrorReason.INCORRECT_INPUT_VALUES, str(error))) from error

    def _open(self, piece: bytes) -> None:
        self._package_left, rest = _header(piece, (0xBF36,))[1:]
        self._consume(len(rest))
        self._initialise(der.parse(rest, 0xBF23))
        self._sequence = 0xBF36

    def _initialise(self, request: tlv.Tlv) -> None:
        found = der.members(request, 0x82, 0x80, 0xA6, 0x5F49, 0x5F37)
        signature = found[0x5F37]
        own_point = tlv.wrap(ecc.ONE_TIME_KEY_TAG, ecc.public_point(self._context.one_time_key))
        try:
            # The signed structure ends with the card's own one-time key, which the request does not repeat.
            signed = request.data[request.value_start : signature.start]
            ecc.verify(self._context.binding_key, signature, signed, own_point)
        except ecc.SignatureWrong as error:
            raise Failed(ErrorReason.INVALID_SIGNATURE, "smdpSign is wrong") from error
        if der.integer(found[0x82]) != _INSTALL_BOUND_PROFILE_PACKAGE:
            raise Failed(ErrorReason.UNSUPPORTED_REMOTE_OPERATION, "remoteOpId is not 1")
        if found[0x80].value != self._context.transaction_id:
            raise Failed(ErrorReason.INVALID_TRANSACTION_ID, "the package belongs to another transaction")
        host_id = _host_id(found[0xA6])
        secret = ecc.shared_secret(self._context.one_time_key, found[0x5F49])
        self._use(derive_session_keys(secret, host_id, self._context.eid))

    def _use(self, keys: SessionKeys) -> None:
        self._keys = keys
        self._channel = SecureChannel(keys, self._target.longest_segment)
        self._place = 0

    def _begin_sequence(self, piece: bytes) -> None:
        expected = _NEXT[self._sequence]
        self._command = _COMMAND[expected[0]]
        tag, length, rest = _header(piece, expected)
        self._command = _COMMAND[tag]
        self._consume(len(piece) - len(rest))
        if not length:
            raise SegmentMalformed(f"sequence {tag:X} is empty")
        self._sequence, self._sequence_left, self._data = tag, length, b""
        if bool(rest) != (tag in _CARRIED_WITH_HEADER):
            raise SegmentMalformed("A0 and A2 come with their first segment, A1 and A3 as headers alone")
        while rest:
            segment = _cut_first(rest)
            self._take(segment)
            rest = rest[segment.end :]

    def _consume(self, size: int) -> None:
        self._package_left -= size
        if self._package_left < 0:
            raise SegmentMalformed("more bytes come than the package announces")

    def _take(self, segment: tlv.Tlv) -> None:
        size = len(segment.raw)
        self._consume(size)
        self._sequence_left -= size
        if self._sequence_left < 0 or segment.tag != _SEGMENT[self._sequence]:
            raise SegmentMalformed(f"sequence {self._sequence:X} asks for segments {_SEGMENT[self._sequence]:X}")
        opened = self._channel.open_plain(segment) if segment.tag == 0x88 else self._channel.open_encrypted(segment)
        self._reuse.note(self._keys, self._place, segment.raw)
        self._place += 1
        self._data += opened
        if self._command is BppCommand.LOAD_PROFILE_ELEMENTS:
            self._target.check_room(len(self._data))

    def _finish_sequence(self) -> ReceivedProfile | None:
        if self._command is BppCommand.CONFIGURE_ISDP:
            self._proprietary_data = _configuration(self._data)
        elif self._command is BppCommand.STORE_METADATA:
            self._metadata = metadata.parse(self._data)
            self._target.admit(self._metadata)
        elif self._command is BppCommand.REPLACE_SESSION_KEYS:
            self._use(_replacement_keys(self._data))
        else:
            return self._finish()
        return None

    def _finish(self) -> ReceivedProfile:
        if self._package_left or self._metadata is None:
            raise SegmentMalformed("the package announces more bytes than its sequences hold")
        self._target.check_package(self._data, self._metadata)
        return ReceivedProfile(metadata=self._metadata, package=self._data, proprietary_data=self._proprietary_data)


def _header(piece: bytes, expected: tuple[int, ...]) -> tuple[int, int, bytes]:
    """Tag, announced length and the bytes after the header of a piece, whose value may still be on its way."""
    for tag in expected:
        first = tag.to_bytes((tag.bit_length() + 7) // 8, "big")
        if not piece.startswith(first) or len(piece) == len(first):
            continue
        count = piece[len(first)] & 0x7F if piece[len(first)] > 0x7F else 0
        start = len(first) + 1 + count
        length = int.from_bytes(piece[start - count : start], "big") if count else piece[len(first)]
        if piece[:start] == tlv.header(tag, length):
            return tag, length, piece[start:]
    raise SegmentMalformed(f"expected {' or '.join(f'{tag:X}' for tag in expected)} with a length in its shortest form")


def _cut_first(data: bytes) -> tlv.Tlv:
    try:
        segment = tlv.read(data)
        der.check_shortest(segment)
    except ValueError as error:
        raise SegmentMalformed(str(error)) from error
    return segment


def _cut(piece: bytes) -> tlv.Tlv:
    segment = _cut_first(piece)
    if segment.end != len(piece):
        raise SegmentMalformed("a piece holds one segment")
    return segment


def _host_id(template: tlv.Tlv) -> bytes:
    """The host id of a control reference template that asks for AES with 16-byte keys."""
    try:
        found = der.members(template, 0x80, 0x81, 0x84)
        if found[0x80].value != b"\x88" or found[0x81].value != b"\x10":
            raise ValueError("key type is 88 (AES), key length 10 (16 bytes)")
        return der.sized(found[0x84], 1, 16)
    except ValueError as error:
        raise Failed(ErrorReason.UNSUPPORTED_CRT_VALUES, str(error)) from error


def _configuration(data: bytes) -> bytes:
    """The raw dpProprietaryData (B8) of a ConfigureISDP request, empty when absent."""
    found = der.members(der.parse(data, 0xBF24), 0xB8, optional=(0xB8,))
    if 0xB8 not in found:
        return b""
    proprietary = found[0xB8]
    first = next(proprietary.children(), None)
    if first is None or first.tag != 0x80 or len(proprietary.raw) > _MAX_PROPRIETARY_DATA:
        raise ValueError(f"dpProprietaryData starts with dpOid and has at most {_MAX_PROPRIETARY_DATA} bytes")
    tlv.oid_from_bytes(first.value)
    return proprietary.raw


def _replacement_keys(data: bytes) -> SessionKeys:
    """The keys of a ReplaceSessionKeys request, which are as long as those they replace (SGP.22 5.5.4)."""
    found = der.members(der.parse(data, 0xBF26), 0x80, 0x81, 0x82)
    return SessionKeys(
        chaining_value=der.sized(found[0x80], _KEY_BYTES),
        encryption=der.sized(found[0x81], _KEY_BYTES),
        mac=der.sized(found[0x82], _KEY_BYTES),
    )

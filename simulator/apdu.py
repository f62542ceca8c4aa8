"""A virtual eUICC behind APDUs: logical channels, the ISD-R, ES10 in STORE DATA (SGP.22 v2.5, 5.7.1 and 5.7.2).

Commands are those of ISO/IEC 7816-4 (MANAGE CHANNEL, SELECT, GET RESPONSE; short lengths) and STORE DATA of the
GlobalPlatform Card Specification 2.3, 11.11. A device that sends no TERMINAL PROFILE gets no proactive commands, so a
REFRESH is only counted by the card.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType

from rsp import tlv
from simulator import der
from simulator.card import Card

ISD_R = bytes.fromhex("A0000005591010FFFFFFFF8900000100")

_BASIC_CHANNEL = 0
_CHANNELS = 20
_SHORTEST_AID = 5
_WITHOUT_DATA = 0x0C
_LAST_BLOCK = 0x80
_BER_TLV_WITH_ANSWER = 0x11
_MOST_AT_ONCE = 256
_HEADER_BYTES = 4


class StatusWord(IntEnum):
    """SW1 SW2 of ISO/IEC 7816-4, 5.6, as far as this card says them; 61xx tells how much answer waits."""

    OK = 0x9000
    ANSWER_WAITS = 0x6100
    WRONG_LENGTH = 0x6700
    CHANNEL_NOT_OPEN = 0x6881
    NOTHING_SELECTED = 0x6985
    WRONG_DATA = 0x6A80
    CHANNELS_USED_UP = 0x6A81
    APPLICATION_NOT_FOUND = 0x6A82
    WRONG_PARAMETERS = 0x6A86
    FUNCTION_UNKNOWN = 0x6A88
    INSTRUCTION_UNKNOWN = 0x6D00
    CLASS_UNKNOWN = 0x6E00
    NO_ANSWER_WAITS = 0x6F00


class _Refused(Exception):  # noqa: N818 -- the name is the outcome
    """The command ends with this status word."""

    def __init__(self, word: StatusWord) -> None:
        super().__init__(word.name)
        self.word = word


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    """A command APDU in short form; `expected` is Le in bytes, None where it is absent."""

    channel: int
    proprietary: bool
    instruction: int
    p1: int
    p2: int
    data: bytes
    expected: int | None


@dataclass(slots=True)
class _Channel:
    """What one logical channel holds: whether the ISD-R is selected, and the blocks of a command so far."""

    selected: bool = False
    blocks: list[bytes] = field(default_factory=list)


def _without_arguments(tag: int, answer: Callable[[Card], bytes]) -> Callable[[Card, bytes], bytes]:
    def call(card: Card, request: bytes) -> bytes:
        der.members(der.parse(request, tag))
        return answer(card)

    return call


_PACKAGE_PIECES = frozenset({0xBF36, 0xA0, 0xA1, 0xA2, 0xA3, 0x86, 0x87, 0x88})
_FUNCTIONS: Mapping[int, Callable[[Card, bytes], bytes]] = MappingProxyType(
    {
        0xBF20: _without_arguments(0xBF20, Card.get_euicc_info1),
        0xBF21: Card.prepare_download,
        0xBF22: _without_arguments(0xBF22, Card.get_euicc_info2),
        0xBF28: Card.list_notifications,
        0xBF29: Card.set_nickname,
        0xBF2B: Card.retrieve_notifications,
        0xBF2D: Card.get_profiles_info,
        0xBF2E: _without_arguments(0xBF2E, Card.get_euicc_challenge),
        0xBF30: Card.remove_notification,
        0xBF31: Card.enable_profile,
        0xBF32: Card.disable_profile,
        0xBF33: Card.delete_profile,
        0xBF34: Card.reset_memory,
        0xBF38: Card.authenticate_server,
        0xBF3C: Card.get_configured_addresses,
        0xBF3E: Card.get_eid,
        0xBF3F: Card.set_default_smdp_address,
        0xBF41: Card.cancel_session,
        0xBF43: Card.get_rat,
        **dict.fromkeys(_PACKAGE_PIECES, Card.load_bound_profile_package),
    }
)


class ApduInterface:
    """The contacts of a card: `transmit` takes a command APDU and returns data and status word, never an exception.

    `last_fault` says in words why the last command was refused.
    """

    def __init__(self, card: Card) -> None:
        self.card = card
        self.last_fault = ""
        self._channels: dict[int, _Channel] = {}
        self._waiting: tuple[int, bytes] | None = None
        self.reset()

    def reset(self) -> None:
        """What a reset does: only the basic channel is open, nothing is selected, nothing waits."""
        self._channels = {_BASIC_CHANNEL: _Channel()}
        self._waiting = None

    def transmit(self, command: bytes) -> bytes:
        """Carry out one command APDU."""
        try:
            parsed = _parse(command)
            return self._carry_out(parsed)
        except _Refused as refusal:
            return refusal.word.to_bytes(2, "big")

    def _carry_out(self, command: _Command) -> bytes:
        if command.channel not in self._channels:
            raise _Refused(StatusWord.CHANNEL_NOT_OPEN)
        if command.instruction == 0xC0:
            return self._get_response(command)
        self._waiting = None
        if command.instruction != 0xE2:
            self._channels[command.channel].blocks.clear()
        functions = {
            (False, 0x70): self._manage_channel,
            (False, 0xA4): self._select,
            (True, 0xE2): self._store_data,
        }
        function = functions.get((command.proprietary, command.instruction))
        if function is None:
            raise _Refused(StatusWord.INSTRUCTION_UNKNOWN)
        return self._answer(command, function(command))

    # Answers -----------------------------------------------------------------------------------------------------

    def _answer(self, command: _Command, data: bytes) -> bytes:
        """As much as was asked for; the rest waits for GET RESPONSE (SGP.22 5.7.2, for T=0 and T=1 alike)."""
        now = data[: command.expected or 0]
        rest = data[len(now) :]
        if not rest:
            return now + StatusWord.OK.to_bytes(2, "big")
        self._waiting = (command.channel, rest)
        more = len(rest) if len(rest) < _MOST_AT_ONCE else 0
        return now + (StatusWord.ANSWER_WAITS | more).to_bytes(2, "big")

    def _get_response(self, command: _Command) -> bytes:
        waiting, self._waiting = self._waiting, None
        if command.p1 or command.p2:
            raise _Refused(StatusWord.WRONG_PARAMETERS)
        if command.data or command.expected is None:
            raise _Refused(StatusWord.WRONG_LENGTH)
        if waiting is None or waiting[0] != command.channel:
            raise _Refused(StatusWord.NO_ANSWER_WAITS)
        return self._answer(command, waiting[1])

    # Channels and selection --------------------------------------------------------------------------------------

    def _manage_channel(self, command: _Command) -> bytes:
        if (command.p1, command.data) == (0x00, b""):
            return self._open_channel(command.p2)
        if (command.p1, command.data) != (0x80, b"") or command.p2 == _BASIC_CHANNEL:
            raise _Refused(StatusWord.WRONG_PARAMETERS)
        if self._channels.pop(command.p2, None) is None:
            raise _Refused(StatusWord.CHANNEL_NOT_OPEN)
        return b""

    def _open_channel(self, wanted: int) -> bytes:
        """Open the lowest free channel and tell its number, or the one that was named."""
        if wanted in self._channels and wanted != _BASIC_CHANNEL:
            raise _Refused(StatusWord.WRONG_PARAMETERS)
        free = [number for number in range(1, _CHANNELS) if number not in self._channels and wanted in (0, number)]
        if not free:
            raise _Refused(StatusWord.CHANNELS_USED_UP if wanted < _CHANNELS else StatusWord.WRONG_PARAMETERS)
        self._channels[free[0]] = _Channel()
        return b"" if wanted else free[0].to_bytes(1, "big")

    def _select(self, command: _Command) -> bytes:
        """SELECT by application identifier, which may be cut short on the right; answers with the FCI template."""
        if command.p1 != 0x04 or command.p2 not in (0x00, _WITHOUT_DATA):
            raise _Refused(StatusWord.WRONG_PARAMETERS)
        channel = self._channels[command.channel]
        channel.selected = len(command.data) >= _SHORTEST_AID and ISD_R.startswith(command.data)
        if not channel.selected:
            raise _Refused(StatusWord.APPLICATION_NOT_FOUND)
        return b"" if command.p2 == _WITHOUT_DATA else self._control_information()

    def _control_information(self) -> bytes:
        """FCI template with the longest command data (9F65) and ISDRProprietaryApplicationTemplate (E0)."""
        return tlv.wrap(
            0x6F,
            tlv.wrap(0x84, ISD_R),
            tlv.wrap(0xA5, tlv.wrap(0x9F65, b"\xff")),
            tlv.wrap(0xE0, tlv.wrap(0x82, self.card.properties.svn)),
        )

    # ES10 --------------------------------------------------------------------------------------------------------

    def _store_data(self, command: _Command) -> bytes:
        """Collect blocks numbered from 0; the last one (P1 91 instead of 11) lets the card act."""
        channel = self._channels[command.channel]
        if not channel.selected:
            raise _Refused(StatusWord.NOTHING_SELECTED)
        if command.p2 == 0:
            channel.blocks.clear()
        if command.p1 & ~_LAST_BLOCK != _BER_TLV_WITH_ANSWER or command.p2 != len(channel.blocks):
            channel.blocks.clear()
            raise _Refused(StatusWord.WRONG_PARAMETERS)
        channel.blocks.append(command.data)
        if not command.p1 & _LAST_BLOCK:
            return b""
        request = b"".join(channel.blocks)
        channel.blocks.clear()
        return self._call(request)

    def _call(self, request: bytes) -> bytes:
        function = _FUNCTIONS.get(_first_tag(request))
        if function is None:
            self.last_fault = f"no function starts with {request[:3].hex().upper()}"
            raise _Refused(StatusWord.FUNCTION_UNKNOWN)
        try:
            return function(self.card, request)
        except ValueError as error:
            self.last_fault = str(error)
            raise _Refused(StatusWord.WRONG_DATA) from error


def _first_tag(request: bytes) -> int:
    """The tag at the start, of one or two bytes: a piece of a package may be cut off behind it."""
    size = 2 if request[:1] and request[0] & 0x1F == 0x1F else 1
    return int.from_bytes(request[:size], "big")


def _parse(command: bytes) -> _Command:
    """Split a command APDU (ISO/IEC 7816-3, 12.1, short cases 1 to 4)."""
    if len(command) < _HEADER_BYTES:
        raise _Refused(StatusWord.WRONG_LENGTH)
    channel, proprietary = _class(command[0])
    data, expected = _body(command[_HEADER_BYTES:])
    return _Command(
        channel=channel,
        proprietary=proprietary,
        instruction=command[1],
        p1=command[2],
        p2=command[3],
        data=data,
        expected=expected,
    )


def _body(body: bytes) -> tuple[bytes, int | None]:
    if not body:
        return b"", None
    if len(body) == 1:
        return b"", body[0] or _MOST_AT_ONCE
    size = body[0]
    data, rest = body[1 : 1 + size], body[1 + size :]
    if not size or len(data) != size or len(rest) > 1:
        raise _Refused(StatusWord.WRONG_LENGTH)
    return data, (rest[0] or _MOST_AT_ONCE) if rest else None


def _class(byte: int) -> tuple[int, bool]:
    """Channel, and whether the class is that of GlobalPlatform commands; no chaining, no secure messaging."""
    proprietary, rest = bool(byte & 0x80), byte & 0x7F
    if rest <= 0x03:
        return rest, proprietary
    if 0x40 <= rest <= 0x4F:
        return (rest & 0x0F) + 4, proprietary
    raise _Refused(StatusWord.CLASS_UNKNOWN)

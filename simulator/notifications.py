"""Notifications a card keeps until the LPA has delivered them (SGP.22 5.7.9 to 5.7.11, 3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from rsp import tlv
from rsp.identifiers import Iccid
from simulator import der


class Event(IntEnum):
    """Profile management operation by its bit number."""

    INSTALL = 0
    ENABLE = 1
    DISABLE = 2
    DELETE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One pending notification: its metadata (BF2F) and the whole signed object (BF37 or 30)."""

    sequence: int
    event: Event
    metadata: bytes
    raw: bytes


def metadata(sequence: int, event: Event, address: str, iccid: Iccid | None) -> bytes:
    """NotificationMetadata, tag BF2F."""
    return tlv.wrap(
        0xBF2F,
        tlv.wrap_integer(0x80, sequence),
        der.wrap_bits(0x81, (event,)),
        tlv.wrap(0x0C, address.encode()),
        b"" if iccid is None else tlv.wrap(0x5A, iccid.to_bytes()),
    )


class NotificationList(list[Notification]):
    """The pending notifications in the order they arose."""

    def select(self, criteria: dict[int, tlv.Tlv]) -> list[Notification]:
        """Those with the sequence number of member 80 or an event of member 81; all without criteria."""
        chosen = list(self)
        if 0x80 in criteria:
            number = der.integer(criteria[0x80])
            chosen = [entry for entry in chosen if entry.sequence == number]
        if 0x81 in criteria:
            events = der.bits(criteria[0x81])
            chosen = [entry for entry in chosen if entry.event in events]
        return chosen

    def drop(self, sequence: int) -> bool:
        """Forget a delivered notification; False when there is none with this number."""
        before = len(self)
        self[:] = [entry for entry in self if entry.sequence != sequence]
        return len(self) < before

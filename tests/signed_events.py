"""Notifications of enable, disable and delete as a card signs them, with any sequence number (SGP.22 5.7.10)."""

from __future__ import annotations

from rsp import tlv
from rsp.identifiers import Iccid
from simulator import ecc, notifications
from simulator.card import Card
from simulator.notifications import Event
from tests.protocol_stage import NAME


def event(card: Card, number: int, what: Event, iccid: Iccid | None) -> bytes:
    """The notification number `number` of that card."""
    owner = card.credentials[0]
    signed = notifications.metadata(number, what, NAME, iccid)
    return tlv.wrap(0x30, signed, ecc.sign(owner.private_key, signed), owner.euicc_certificate, owner.eum_certificate)

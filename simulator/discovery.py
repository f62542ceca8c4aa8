"""How a device finds its profiles without an activation code: it asks an SM-DS over ES11 (SGP.22 3.6.2, 5.8)."""

from __future__ import annotations

from dataclasses import dataclass

from rsp.identifiers import ActivationCode, MatchingId
from simulator import lpa_messages as messages
from simulator.exchange import Exchange, ProtocolFault
from simulator.lpa import Lpa
from simulator.lpa_messages import Device
from simulator.lpa_types import CardPort
from simulator.strict_json import read_reply, request_body, to_base64

_PATH = "/gsma/rsp2/es9plus/"
"""The device does not know whether an address is that of an SM-DS or of an SM-DP+, so both are asked alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventEntry:
    """An event: where to go, and what to present there as MatchingID."""

    event_id: MatchingId
    rsp_server_address: str

    @property
    def activation_code(self) -> ActivationCode:
        """What a download from that address starts with."""
        return ActivationCode(smdp_address=self.rsp_server_address, matching_id=self.event_id)


class Discovery:
    """The LDS of a device: one card in front of one SM-DS or another."""

    def __init__(self, card: CardPort, exchange: Exchange) -> None:
        self._card = card
        self._exchange = exchange
        self._lpa = Lpa(card, exchange)

    async def events(self, smds_address: str, event_id: MatchingId | None = None) -> list[EventEntry]:
        """What the SM-DS has for this card, or the one event of that id.

        Raises FunctionFailed, NoAnswer, ProtocolFault.
        """
        function = "authenticateClient"
        initiated = await self._lpa.initiate_authentication(smds_address)
        request = messages.authenticate_server_request(
            initiated.server, None if event_id is None else str(event_id), Device()
        )
        members = {
            "transactionId": str(initiated.transaction_id),
            "authenticateServerResponse": to_base64(self._card.authenticate_server(request)),
        }
        answer = await self._exchange.post(smds_address, _PATH + function, request_body(members))
        body = read_reply(function, answer, ("transactionId", "eventEntries"))
        if body.transaction_id() != initiated.transaction_id:
            raise ProtocolFault(function, "the answer is for another transaction")
        return [_entry(function, entry) for entry in body.objects("eventEntries")]


def _entry(function: str, entry: dict[str, object]) -> EventEntry:
    if set(entry) != {"eventId", "rspServerAddress"}:
        raise ProtocolFault(function, "an event entry is eventId and rspServerAddress")
    try:
        return EventEntry(event_id=MatchingId(str(entry["eventId"])), rsp_server_address=str(entry["rspServerAddress"]))
    except ValueError as error:
        raise ProtocolFault(function, f"eventId: {error}") from error

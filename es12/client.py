"""ES12 as a client: registers and deletes events at an SM-DS (SGP.22 5.10). Three outcomes: done, refused, unknown."""

from __future__ import annotations

from collections.abc import Callable

from es12 import messages
from es12.messages import PREFIX
from smdp.event import Event, EventRefused
from transport.client import GsmaClient


class Es12Client:
    """Calls SM-DS as one SM-DP+. `connect` makes the client of the SM-DS with a given address (FQDN)."""

    def __init__(self, connect: Callable[[str], GsmaClient], *, requester_id: str, server_address: str) -> None:
        """`server_address` is the FQDN under which devices find our ES9+: the RSP server address of every event."""
        self._connect = connect
        self._requester_id = requester_id
        self._server_address = server_address

    async def register(self, event: Event, *, forwarding: bool) -> None:
        """RegisterEvent. Raises EventRefused, Unreachable: then it is not known whether the SM-DS has it."""
        request = messages.RegisterEvent(
            header=self._header(f"smdp-event-{event.id}-{event.attempt}"),
            eid=str(event.eid),
            rsp_server_address=self._server_address,
            event_id=str(event.event_id),
            forwarding_indicator=forwarding,
        )
        await self._call(event, "registerEvent", request)

    async def delete(self, event: Event) -> None:
        """DeleteEvent. Raises EventRefused, Unreachable."""
        request = messages.DeleteEvent(
            header=self._header(f"smdp-event-{event.id}-{event.attempt}-delete"),
            eid=str(event.eid),
            event_id=str(event.event_id),
        )
        await self._call(event, "deleteEvent", request)

    def _header(self, call_id: str) -> messages.RequestHeader:
        return messages.RequestHeader(
            function_requester_identifier=self._requester_id, function_call_identifier=call_id
        )

    async def _call(self, event: Event, function: str, request: messages.RegisterEvent | messages.DeleteEvent) -> None:
        reply = await self._connect(event.smds_address).call(f"{PREFIX}/{function}", messages.encode(request))
        if reply.codes is not None:
            raise EventRefused(function, reply.codes, reply.message)

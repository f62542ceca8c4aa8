"""An operator's side of ES2+: a client of its own over mutual TLS, and the callback server beside it (SGP.22 5.3)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from rsp.identifiers import Eid, Iccid, MatchingId
from simulator.exchange import Exchange, ProtocolFault
from simulator.operator_callbacks import CallbackServer, ProgressCall, Trouble, callback_tls
from simulator.strict_json import Body, read_reply, request_body

_Value = TypeVar("_Value")
_PATH = "/gsma/rsp2/es2plus/"


class FinalStatus(Enum):
    """What a profile becomes when its order is cancelled."""

    AVAILABLE = "Available"
    UNAVAILABLE = "Unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """The reply to ConfirmOrder."""

    matching_id: MatchingId
    eid: Eid | None
    smdp_address: str | None


class OperatorClient:
    """Calls one SM-DP+ as one function requester.

    Every call raises FunctionFailed with the status codes, ProtocolFault on an answer that breaks the standard, or
    NoAnswer. `call_id` is the functionCallIdentifier; a fresh one is made when it is None, and retries keep it.
    """

    def __init__(self, exchange: Exchange, *, host: str, function_requester: str) -> None:
        self._exchange = exchange
        self._host = host
        self._function_requester = function_requester

    async def download_order(
        self,
        *,
        eid: Eid | None = None,
        iccid: Iccid | None = None,
        profile_type: str | None = None,
        call_id: str | None = None,
    ) -> Iccid:
        """Reserve a profile, by ICCID or from a type; returns its ICCID."""
        members = {
            "eid": eid and str(eid),
            "iccid": iccid and iccid.to_json(),
            "profileType": profile_type,
        }
        body = await self._call("downloadOrder", members, call_id, required=("iccid",))
        return _parsed(Iccid.parse, body, "downloadOrder", "iccid")

    async def confirm_order(  # noqa: PLR0913 -- one argument for each member of the standard
        self,
        iccid: Iccid,
        *,
        release: bool,
        eid: Eid | None = None,
        matching_id: str | None = None,
        confirmation_code: str | None = None,
        smds_address: str | None = None,
        call_id: str | None = None,
    ) -> Confirmed:
        """Fix MatchingID and confirmation code of an order, and release it when `release` is true."""
        members = {
            "iccid": iccid.to_json(),
            "eid": eid and str(eid),
            "matchingId": matching_id,
            "confirmationCode": confirmation_code,
            "smdsAddress": smds_address,
            "releaseFlag": release,
        }
        body = await self._call(
            "confirmOrder", members, call_id, required=("matchingId",), optional=("eid", "smdpAddress")
        )
        return Confirmed(
            matching_id=_parsed(MatchingId, body, "confirmOrder", "matchingId"),
            eid=_parsed(Eid, body, "confirmOrder", "eid") if body.optional_text("eid") is not None else None,
            smdp_address=body.optional_text("smdpAddress"),
        )

    async def cancel_order(
        self,
        iccid: Iccid,
        final_status: FinalStatus,
        *,
        eid: Eid | None = None,
        matching_id: str | None = None,
        call_id: str | None = None,
    ) -> None:
        """Take an order back."""
        members = {
            "iccid": iccid.to_json(),
            "eid": eid and str(eid),
            "matchingId": matching_id,
            "finalProfileStatusIndicator": final_status.value,
        }
        await self._call("cancelOrder", members, call_id)

    async def release_profile(self, iccid: Iccid, *, call_id: str | None = None) -> None:
        """Make a confirmed order downloadable."""
        await self._call("releaseProfile", {"iccid": iccid.to_json()}, call_id)

    async def recover_profile(self, iccid: Iccid, profile_status: str, *, call_id: str | None = None) -> None:
        """Open a failed order again, or give its profile back: a function of vendors, not of the standard."""
        await self._call("recoverProfile", {"iccid": iccid.to_json(), "profileStatus": profile_status}, call_id)

    async def _call(
        self,
        function: str,
        members: Mapping[str, object],
        call_id: str | None,
        *,
        required: Collection[str] = (),
        optional: Collection[str] = (),
    ) -> Body:
        header = {
            "functionRequesterIdentifier": self._function_requester,
            "functionCallIdentifier": call_id or str(uuid.uuid4()),
        }
        present = {name: value for name, value in members.items() if value is not None}
        answer = await self._exchange.post(self._host, _PATH + function, request_body({"header": header, **present}))
        return read_reply(function, answer, required, optional)


def _parsed(parse: Callable[[str], _Value], body: Body, function: str, name: str) -> _Value:
    try:
        return parse(body.text(name))
    except ValueError as error:
        raise ProtocolFault(function, f"{name}: {error}") from error


__all__ = [
    "CallbackServer",
    "Confirmed",
    "FinalStatus",
    "OperatorClient",
    "ProgressCall",
    "Trouble",
    "callback_tls",
]

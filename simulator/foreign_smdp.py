"""Another maker's SM-DP+ seen by its operators: ES2+ over mutual TLS, strict, forgetful and troublesome on demand.

Written from the standard (SGP.22 3.1, 5.3, 6.5). It keeps profiles and orders, and plays no part of ES9+: tests say
what a card did. Whether it remembers call ids, and which vendors' functions it has, differs between makers: it is told.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from aiohttp import web

from rsp.identifiers import Eid, Iccid, MatchingId
from rsp.status import Status
from simulator.exchange import PROTOCOL, ProtocolFault
from simulator.strict_json import Body, check_members, load_object

PATH = "/gsma/rsp2/es2plus/"
_FINAL = ("Available", "Unavailable")


class State(Enum):
    """Where a profile stands (SGP.22 3.1)."""

    AVAILABLE = "Available"
    ALLOCATED = "Allocated"
    LINKED = "Linked"
    CONFIRMED = "Confirmed"
    RELEASED = "Released"
    DOWNLOADED = "Downloaded"
    INSTALLED = "Installed"
    ERROR = "Error"
    UNAVAILABLE = "Unavailable"


_UNCONFIRMED = (State.ALLOCATED, State.LINKED)
_CANCELLABLE = (*_UNCONFIRMED, State.CONFIRMED, State.RELEASED, State.ERROR)


class Trouble(Enum):
    """How a call goes wrong. BEFORE: nothing is done. AFTER: it is done and only the answer is lost.

    HELD waits for `resume`, and is done then; GARBLED is done and answered by something that is no JSON.
    """

    ERROR_BEFORE = "500 before"
    ERROR_AFTER = "500 after"
    BUSY_BEFORE = "503 before"
    DROP_BEFORE = "connection lost before"
    DROP_AFTER = "connection lost after"
    GARBLED = "garbled"
    HELD = "no answer"


_BEFORE = (Trouble.ERROR_BEFORE, Trouble.BUSY_BEFORE, Trouble.DROP_BEFORE)


class Refusal(Exception):  # noqa: N818 -- the word of functionExecutionStatus is Failed
    """The function answers Failed with these codes."""

    def __init__(self, subject: str, reason: str, message: str = "No.") -> None:
        super().__init__(f"{subject}/{reason}")
        self.codes = {"subjectCode": subject, "reasonCode": reason, "message": message}

    @classmethod
    def of(cls, status: Status) -> Refusal:
        """A code of the standard."""
        return cls(status.subject, status.reason, status.message)


@dataclass(slots=True, kw_only=True)
class Stored:
    """One profile, and its order while it has one."""

    iccid: Iccid
    profile_type: str
    state: State = State.AVAILABLE
    eid: str | None = None
    matching_id: str | None = None
    history: list[State] = field(default_factory=list)

    def become(self, state: State) -> None:
        """Change the state, and keep the one before."""
        self.history.append(self.state)
        self.state = state
        if state in (State.AVAILABLE, State.UNAVAILABLE):
            self.eid = self.matching_id = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that was received."""

    function: str
    call_id: str
    members: Mapping[str, Any]


Function = Callable[[Body, Mapping[str, Any]], dict[str, Any]]


class ForeignSmdp:
    """The server; use it as an async context manager.

    `remembers`: a repeated call id gets the first answer again. `readable`: it has getProfileStatus. `recovers`: it has
    recoverProfile. `names_address`: its ConfirmOrder answers name `address`. `calls` are all calls received, in order;
    `faults` says what was wrong with those that broke the standard. `holds` is set once a call is held.
    """

    def __init__(
        self,
        tls: ssl.SSLContext,
        *,
        address: str = "rsp.foreign.example",
        remembers: bool = True,
        readable: bool = True,
        recovers: bool = True,
        names_address: bool = True,
    ) -> None:
        self.profiles: dict[Iccid, Stored] = {}
        self.calls: list[Call] = []
        self.faults: list[str] = []
        self.address = address
        self.remembers = remembers
        self.readable = readable
        self.recovers = recovers
        self.names_address = names_address
        self.port = 0
        self._tls = tls
        self._answers: dict[str, tuple[Mapping[str, Any], dict[str, Any]]] = {}
        self._troubles: dict[str, list[Trouble | Refusal]] = {}
        self.holds = asyncio.Event()
        self._resumed = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> ForeignSmdp:
        app = web.Application()
        app.router.add_post(PATH + "{function}", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self.resume()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    # What tests say ---------------------------------------------------------------------------------------------------

    def stock(self, iccid: Iccid, profile_type: str) -> Stored:
        """One more profile in stock."""
        self.profiles[iccid] = Stored(iccid=iccid, profile_type=profile_type)
        return self.profiles[iccid]

    def fail_next(self, function: str, *troubles: Trouble | Refusal) -> None:
        """Let the next calls of a function go wrong, one after the other."""
        self._resumed.clear()
        self._troubles.setdefault(function, []).extend(troubles)

    def resume(self) -> None:
        """Carry out and answer what is held."""
        self._resumed.set()

    def count(self, function: str) -> int:
        """How often a function was called."""
        return sum(call.function == function for call in self.calls)

    def ordered_for(self, eid: Eid) -> list[Iccid]:
        """The profiles that are held for a card."""
        return [one.iccid for one in self.profiles.values() if one.eid == str(eid)]

    # HTTP -------------------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.Response:
        function, body = request.match_info["function"], await request.read()
        perform = self._functions().get(function)
        if perform is None:
            return web.Response(status=404, text="There is no such function here.")
        waiting = self._troubles.get(function)
        trouble = waiting.pop(0) if waiting else None
        if trouble is Trouble.HELD:
            self.holds.set()
            await self._resumed.wait()
        if trouble in _BEFORE:
            return _broken(request, trouble)
        answer = self._answered(function, perform, body, trouble)
        if isinstance(trouble, Trouble) and trouble is not Trouble.HELD:
            return _broken(request, trouble)
        headers = {"X-Admin-Protocol": PROTOCOL, "Content-Type": "application/json;charset=UTF-8"}
        return web.Response(body=json.dumps(answer).encode(), headers=headers)

    def _answered(self, function: str, perform: Function, body: bytes, trouble: object) -> dict[str, Any]:
        try:
            members = load_object(body)
            header = _header(function, members.pop("header", None))
            call = Call(function=function, call_id=header, members=members)
            self.calls.append(call)
            if isinstance(trouble, Refusal):
                raise trouble
            return self._once(call, perform)
        except Refusal as refusal:
            status = {"status": "Failed", "statusCodeData": refusal.codes}
            return {"header": {"functionExecutionStatus": status}}
        except (ProtocolFault, ValueError) as fault:
            self.faults.append(f"{function}: {fault}")
            codes = Refusal.of(Status.MALFORMED).codes
            return {"header": {"functionExecutionStatus": {"status": "Failed", "statusCodeData": codes}}}

    def _once(self, call: Call, perform: Function) -> dict[str, Any]:
        """The answer, the earlier one to a call that is remembered. A refused call is not remembered."""
        said = {"function": call.function, **call.members}
        earlier = self._answers.get(call.call_id) if self.remembers else None
        if earlier is not None:
            if earlier[0] != said:
                raise Refusal.of(Status.CALL_ID_REUSED)
            return earlier[1]
        answer = {
            "header": {"functionExecutionStatus": {"status": "Executed-Success"}},
            **perform(Body(call.function, call.members), call.members),
        }
        self._answers[call.call_id] = said, answer
        return answer

    # Functions --------------------------------------------------------------------------------------------------------

    def _functions(self) -> dict[str, Function]:
        found: dict[str, Function] = {
            "downloadOrder": self._download_order,
            "confirmOrder": self._confirm_order,
            "cancelOrder": self._cancel_order,
            "releaseProfile": self._release_profile,
        }
        if self.readable:
            found["getProfileStatus"] = self._get_profile_status
        if self.recovers:
            found["recoverProfile"] = self._recover_profile
        return found

    def _download_order(self, body: Body, members: Mapping[str, Any]) -> dict[str, Any]:
        """5.3.1."""
        check_members("downloadOrder", members, (), ("eid", "iccid", "profileType"))
        iccid, kind = body.optional_text("iccid"), body.optional_text("profileType")
        eid = body.optional_text("eid")
        if eid is not None:
            Eid(eid)
        profile = self._drawn(kind) if iccid is None else self._profile(body)
        if profile.state is not State.AVAILABLE:
            raise Refusal.of(Status.ICCID_IN_USE)
        profile.become(State.LINKED if eid else State.ALLOCATED)
        profile.eid = eid
        return {"iccid": profile.iccid.to_json()}

    def _drawn(self, kind: str | None) -> Stored:
        if kind is None:
            raise ValueError("neither iccid nor profileType")
        of_kind = [one for one in self.profiles.values() if one.profile_type == kind]
        if not of_kind:
            raise Refusal.of(Status.PROFILE_TYPE_UNKNOWN)
        found = next((one for one in of_kind if one.state is State.AVAILABLE), None)
        if found is None:
            raise Refusal.of(Status.PROFILE_TYPE_UNAVAILABLE)
        return found

    def _confirm_order(self, body: Body, members: Mapping[str, Any]) -> dict[str, Any]:
        """5.3.2."""
        optional = ("eid", "matchingId", "confirmationCode", "smdsAddress")
        check_members("confirmOrder", members, ("iccid", "releaseFlag"), optional)
        if type(members["releaseFlag"]) is not bool:
            raise ValueError("releaseFlag is no boolean")
        profile = self._profile(body)
        self._same_card(profile, body.optional_text("eid"))
        wanted = body.optional_text("matchingId")
        if wanted:
            MatchingId(wanted)
        if wanted and any(one.matching_id == wanted for one in self.profiles.values()):
            raise Refusal.of(Status.MATCHING_ID_IN_USE)
        if profile.state not in _UNCONFIRMED:
            raise Refusal.of(Status.ICCID_INVALID_TRANSITION)
        profile.become(State.RELEASED if members["releaseFlag"] else State.CONFIRMED)
        profile.eid = profile.eid or body.optional_text("eid")
        profile.matching_id = wanted or f"MADE-{len(self.calls)}"
        told = {"matchingId": profile.matching_id} | ({"eid": profile.eid} if profile.eid else {})
        return told | ({"smdpAddress": self.address} if self.names_address else {})

    def _cancel_order(self, body: Body, members: Mapping[str, Any]) -> dict[str, Any]:
        """5.3.3."""
        check_members("cancelOrder", members, ("iccid", "finalProfileStatusIndicator"), ("eid", "matchingId"))
        final, profile = body.text("finalProfileStatusIndicator"), self._profile(body)
        if final not in _FINAL:
            raise ValueError("finalProfileStatusIndicator is neither Available nor Unavailable")
        if profile.eid is not None and body.optional_text("eid") is None:
            raise Refusal.of(Status.EID_MISSING)
        self._same_card(profile, body.optional_text("eid"))
        wanted = body.optional_text("matchingId")
        if wanted is not None and wanted != profile.matching_id:
            raise Refusal.of(Status.MATCHING_ID_ASSOCIATED_OTHERWISE)
        if profile.state not in _CANCELLABLE:
            raise Refusal.of(Status.ICCID_IN_USE)
        profile.become(State(final))
        return {}

    def _release_profile(self, body: Body, members: Mapping[str, Any]) -> dict[str, Any]:
        """5.3.4."""
        check_members("releaseProfile", members, ("iccid",), ())
        profile = self._profile(body)
        if profile.state is not State.CONFIRMED:
            raise Refusal.of(Status.ICCID_INVALID_TRANSITION)
        profile.become(State.RELEASED)
        return {}

    def _get_profile_status(self, _: Body, members: Mapping[str, Any]) -> dict[str, Any]:
        """A vendors' function."""
        check_members("getProfileStatus", members, ("iccidList",), ())
        asked = [Iccid.parse(entry["iccid"]) for entry in members["iccidList"]]
        known = [self.profiles[iccid] for iccid in asked if iccid in self.profiles]
        listed = [
            {
                "iccid": one.iccid.to_json(),
                "state": one.state.value,
                "eid": one.eid,
                "acToken": one.matching_id,
                "lockFlag": False,
            }
            for one in known
        ]
        return {"profileStatusList": listed, "completionTimestamp": "2026-11-22T12:00:00Z"}

    def _recover_profile(self, body: Body, members: Mapping[str, Any]) -> dict[str, Any]:
        """A vendors' function."""
        check_members("recoverProfile", members, ("iccid", "profileStatus"), ())
        self._profile(body).become(State(body.text("profileStatus")))
        return {}

    def _profile(self, body: Body) -> Stored:
        profile = self.profiles.get(Iccid.parse(body.text("iccid")))
        if profile is None:
            raise Refusal.of(Status.ICCID_UNKNOWN)
        return profile

    def _same_card(self, profile: Stored, eid: str | None) -> None:
        if profile.eid is not None and eid is not None and profile.eid != eid:
            raise Refusal.of(Status.EID_ASSOCIATED_OTHERWISE)


def _header(function: str, header: object) -> str:
    """The call id of a well-formed request header (6.5.1.3)."""
    if not isinstance(header, dict):
        raise ProtocolFault(function, "header is not an object")
    check_members(function, header, ("functionRequesterIdentifier", "functionCallIdentifier"), ())
    fields = Body(function, header)
    if not all(fields.text(name) for name in header):
        raise ProtocolFault(function, "a member of the header is empty")
    return fields.text("functionCallIdentifier")


def _broken(request: web.Request, trouble: object) -> web.Response:
    if trouble in (Trouble.DROP_BEFORE, Trouble.DROP_AFTER) and request.transport is not None:
        request.transport.abort()
    if trouble is Trouble.GARBLED:
        return web.Response(text="<html>Welcome</html>", content_type="text/html")
    return web.Response(status=503 if trouble is Trouble.BUSY_BEFORE else 500)

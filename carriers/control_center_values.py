"""Control Center's words and ours: everything about its REST API that could not be verified at a live platform.

What is published is the list of calls and fields, the names of the SIM states, HTTP Basic, the envelope of errors with
code 10000001, and one call at a time with five in a second. Every other code below comes from the catalogue of the
platform's older SOAP interface. A platform that differs is corrected here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from carriers.base import Account, Billable, PlatformRefused, Session, SimFacts, SimState
from rsp.identifiers import Iccid

PATH = "/rws/api/v1"
TRANSFER = "/devices/transferDeviceToAccount"
DEVICE = "/devices/{iccid}"
SESSION = "/devices/{iccid}/sessionInfo"
ECHO = "/echo/check"
CHARSET = "ISO-8859-1"
"""Of the platform's answers: a name with other letters would come back changed, and never prove anything."""

STATES: Mapping[str, tuple[SimState, Billable]] = {
    "INVENTORY": (SimState.ALLOCATED, Billable.NO),
    "TEST_READY": (SimState.TEST, Billable.NO),
    "ACTIVATION_READY": (SimState.READY, Billable.ON_FIRST_USE),
    "ACTIVATED": (SimState.ACTIVE, Billable.YES),
    "DEACTIVATED": (SimState.DEACTIVATED, Billable.COMMITMENT),
    "RETIRED": (SimState.RETIRED, Billable.NO),
    "PURGED": (SimState.RETIRED, Billable.NO),
    "REPLACED": (SimState.RETIRED, Billable.NO),
}
"""The platform's status to ours; INVENTORY is ALLOCATED unless the SIM is in the carrier's own inventory account."""

WORDS: Mapping[SimState, str] = {
    SimState.TEST: "TEST_READY",
    SimState.READY: "ACTIVATION_READY",
    SimState.ACTIVE: "ACTIVATED",
    SimState.DEACTIVATED: "DEACTIVATED",
    SimState.RETIRED: "RETIRED",
}
"""The states we may set, and the status that sets them."""

IN_STOCK = "INVENTORY"

PASSING_CODES = frozenset({"400101", "1800105", "1800111", "1800112", "1800117", "1800118"})
"""Refusals that end by themselves: too many calls, a transfer pending, the subscription in use at the moment."""

_DATE = "%Y-%m-%d %H:%M:%S.%f%z"


def read_facts(members: Mapping[str, Any], inventory_account: str, read_at: datetime) -> SimFacts:
    """Get Device Details to our words. Raises KeyError, ValueError or TypeError when it is no such answer."""
    raw, account = _text(members, "status"), _text(members, "accountId")
    state, billable = STATES.get(raw, (SimState.UNKNOWN, Billable.UNKNOWN))
    if raw == IN_STOCK and (not inventory_account or account == inventory_account):
        state = SimState.INVENTORY
    return SimFacts(
        iccid=_iccid(members["iccid"]),
        account=account,
        rate_plan=_text(members, "ratePlan"),
        communication_plan=_text(members, "communicationPlan"),
        state=state,
        billable=billable,
        raw_state=raw,
        read_at=read_at,
        eid=_text(members, "eid"),
        imsi=_text(members, "imsi"),
        msisdn=_text(members, "msisdn"),
    )


def read_session(iccid: Iccid, members: Mapping[str, Any]) -> Session | None:
    """The current or latest session. Raises ValueError or TypeError when it is no such answer."""
    since, ended = _date(members.get("dateSessionStarted")), _date(members.get("dateSessionEnded"))
    if since is None:
        return None
    if ended is not None and ended < since:  # the end of the session before this one
        ended = None
    return Session(iccid=iccid, active=ended is None, since=since, ended=ended)


def check_target(target: Account) -> None:
    """Whether an allocation to this account can be asked for, and proved afterwards. Raises PlatformRefused."""
    names = (target.account, target.rate_plan, target.communication_plan)
    if not all(names):
        raise PlatformRefused("incomplete_target", "name account, rate plan and communication plan", permanent=True)
    try:
        "".join(names).encode(CHARSET)
    except UnicodeEncodeError:
        text = f"the platform's answers cannot carry all letters of {', '.join(names)}; rename the plan there"
        raise PlatformRefused("unreadable_name", text, permanent=True) from None


def refusal(status: int, members: Mapping[str, Any]) -> PlatformRefused:
    """What an answer of 3xx or 4xx means. Without a code of the platform's own, the code is `http_<status>`."""
    code, message = _text(members, "errorCode"), _text(members, "errorMessage")
    if status in (401, 403):
        return PlatformRefused(
            code or f"http_{status}", f"{message or 'no access'}: check user name and API key", permanent=False
        )
    if not code:
        hint = "no answer of the platform's API: base_url is the API host's, for example https://host/rws/api/v1"
        return PlatformRefused(f"http_{status}", message or hint, permanent=False)
    return PlatformRefused(code, message, permanent=status in (400, 404) and code not in PASSING_CODES)


def _iccid(value: object) -> Iccid:
    if not isinstance(value, str):
        raise TypeError("the platform's iccid is no text")
    return Iccid.parse(value)


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    return "" if value is None else str(value)


def _date(value: Any) -> datetime | None:
    return None if not value else datetime.strptime(value, _DATE).astimezone(UTC)

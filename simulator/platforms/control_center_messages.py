"""The messages of the Control Center simulator: JSON in ISO-8859-1, dates and errors as the platform writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aiohttp import web

from rsp.identifiers import Iccid
from simulator.platforms.control_center_book import Book, Rejected, Sim

_CHARSET = "ISO-8859-1"


def read_iccid(text: object) -> Iccid:
    """An ICCID of the path or of a list. Raises Rejected."""
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or not 18 <= len(text) <= 20:
        raise Rejected(400, "100101", "Invalid ICCID")
    return Iccid(text)


async def read_members(request: web.Request, known: tuple[str, ...]) -> dict[str, Any]:
    """The members of a body that has only known ones. Raises Rejected."""
    if request.content_type != "application/json":
        raise Rejected(400, "1000100", "Content-Type is not application/json")
    try:
        members = json.loads((await request.read()).decode(request.charset or _CHARSET))
    except (ValueError, LookupError):
        raise Rejected(400, "1000100", "The body is not JSON") from None
    if not isinstance(members, dict) or set(members) - set(known):
        raise Rejected(400, "1000100", f"The body is an object of {', '.join(known)}")
    return members


def read_texts(members: Mapping[str, Any]) -> dict[str, str]:
    """The members, which are all texts. Raises Rejected."""
    if not all(isinstance(value, str) for value in members.values()):
        raise Rejected(400, "1000100", "Every member is a text")
    return dict(members)


def json_answer(status: int, members: Mapping[str, Any]) -> web.Response:
    """An answer in the charset of the platform."""
    body = json.dumps(members, ensure_ascii=False).encode(_CHARSET, errors="replace")
    return web.Response(status=status, body=body, headers={"Content-Type": f"application/json;charset={_CHARSET}"})


def error_answer(status: int, code: str, message: str) -> web.Response:
    """The envelope of errors: the code is a text."""
    return json_answer(status, {"errorMessage": message, "errorCode": code})


def rate_limited() -> web.Response:
    """The answer to a caller that is too fast, or has two calls open."""
    return error_answer(429, "400101", "Rate limit exceeded")


def unauthorised(request: web.Request) -> web.Response:
    """The answer to missing or wrong credentials: two different bodies."""
    if "Authorization" in request.headers:
        response = error_answer(401, "10000001", "Invalid credentials")
    else:
        response = json_answer(401, {"errorMessage": "Full authentication is required to access this resource"})
    response.headers["WWW-Authenticate"] = 'Basic realm="Jasper"'
    return response


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}+0000"


def details(sim: Sim) -> dict[str, Any]:
    """Get Device Details."""
    return {
        "iccid": sim.iccid.digits,
        "imsi": sim.imsi or None,
        "msisdn": sim.msisdn or None,
        "imei": None,
        "status": sim.status,
        "ratePlan": sim.rate_plan or None,
        "communicationPlan": sim.communication_plan or None,
        "dateActivated": _time(sim.activated),
        "dateAdded": _time(sim.added),
        "dateUpdated": _time(sim.updated),
        "dateShipped": _time(sim.shipped),
        "accountId": sim.account,
        "globalSimType": "NONE",
        "eid": sim.eid or None,
    }


def session_info(sim: Sim) -> dict[str, Any]:
    """The current or latest session."""
    return {
        "iccid": sim.iccid.digits,
        "ipAddress": None,
        "dateSessionStarted": _time(sim.session_started),
        "dateSessionEnded": _time(sim.session_ended),
    }


def audit_trail(book: Book, iccid: Iccid) -> dict[str, Any]:
    """All changes of a device on one page. Raises Rejected."""
    book.sim(iccid)
    lines = [
        {
            "field": change.field,
            "priorValue": change.before,
            "value": change.after,
            "effectiveDate": _time(change.at),
            "status": "Succeeded",
            "userName": change.user,
        }
        for change in book.changes
        if change.iccid == iccid
    ]
    return {"pageNumber": 1, "lastPage": True, "deviceAuditTrails": lines}

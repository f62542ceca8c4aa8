"""Answers of an SM-DP+ to ES2+ as an operator reads them: what is needed must be there, the rest may differ.

Servers write ICCIDs with 18, 19 or 20 digits and with or without padding, leave members out, send null for them, or
add some of their own. An answer that lacks what it is for says nothing about what was done: Unreachable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rsp.errors import Malformed, Unreachable
from rsp.identifiers import Eid, Iccid, MatchingId, fqdn

_LONGEST_STATE = 64
_MOST_PROFILES = 1000
_TRUE = frozenset({"true", "1", "yes"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """Answer of ConfirmOrder. `smdp_address` is empty when the other side leaves it out."""

    matching_id: str
    eid: str
    smdp_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileStatus:
    """What a server tells about one profile. `state` is its own word; empty members were left out.

    `matching_id` is that of the profile's order (acToken), `updated` the time of the state as it was sent.
    """

    iccid: Iccid
    state: str
    eid: Eid | None = None
    matching_id: str = ""
    locked: bool = False
    updated: str = ""


def ordered(body: Mapping[str, Any]) -> Iccid:
    """The profile that DownloadOrder has reserved."""
    return _iccid("downloadOrder", body)


def confirmed(body: Mapping[str, Any]) -> Confirmation:
    """The answer of ConfirmOrder. No matchingId means none: the order is found by its EID."""
    matching_id, address = _text(body, "matchingId"), _text(body, "smdpAddress")
    try:
        return Confirmation(
            matching_id=str(MatchingId(matching_id)) if matching_id else "",
            eid=_text(body, "eid"),
            smdp_address=fqdn(address) if address else "",
        )
    except Malformed as error:
        raise Unreachable(f"confirmOrder answered something that is no answer of SGP.22: {error}") from None


def statuses(body: Mapping[str, Any]) -> tuple[ProfileStatus, ...]:
    """The answer of GetProfileStatus. An entry that cannot be read is left out: nothing is known of its profile."""
    found = body.get("profileStatusList")
    if not isinstance(found, list):
        raise Unreachable("getProfileStatus answered without a profileStatusList")
    read = (_status(entry) for entry in found[:_MOST_PROFILES])
    return tuple(status for status in read if status is not None)


def _status(entry: object) -> ProfileStatus | None:
    if not isinstance(entry, dict):
        return None
    try:
        eid = _text(entry, "eid")
        return ProfileStatus(
            iccid=Iccid.parse(_text(entry, "iccid")),
            state=_text(entry, "state")[:_LONGEST_STATE],
            eid=Eid(eid) if eid else None,
            matching_id=_text(entry, "acToken"),
            locked=_text(entry, "lockFlag").lower() in _TRUE,
            updated=_text(entry, "status_last_update_timestamp"),
        )
    except Malformed:
        return None


def _iccid(function: str, body: Mapping[str, Any]) -> Iccid:
    try:
        return Iccid.parse(_text(body, "iccid"))
    except Malformed as error:
        raise Unreachable(f"{function} answered without a usable iccid: {error}") from None


def _text(body: Mapping[str, Any], name: str) -> str:
    """A member as text: numbers stand for their digits, null and a missing member for nothing."""
    value = body.get(name)
    return "" if value is None or isinstance(value, dict | list) else str(value).strip()

"""Whether an order may be downloaded by this eUICC, now (SGP.22 3.1.3, 5.6.3): pure judgement, no input or output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from rsp.es10 import EuiccInfo2
from rsp.identifiers import Eid
from rsp.status import Status
from smdp.order import Order, OrderChange, OrderEvent, OrderState
from smdp.ports import DownloadFacts, ProfileFacts
from smdp.progress import Message, NotificationPoint, report

DOWNLOADABLE = frozenset({OrderState.RELEASED, OrderState.DOWNLOADED})

# What the person at the device reads; the states before release have the words of the status itself.
_ENDED = {
    OrderState.ERROR: "An earlier attempt ended this order. Ask the operator to make the profile downloadable again.",
    OrderState.INSTALLED: "The profile of this activation code is installed already. Ask the operator for another one.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Refused with `refusal`, or accepted when it is None; and what the order and its owner get to know of it."""

    refusal: Status | None
    detail: str = ""
    order: OrderChange | None = None
    messages: tuple[Message, ...] = ()


def judge(facts: DownloadFacts, eid: Eid, info: EuiccInfo2, now: datetime, default_attempts: int) -> Judgement:
    """May the eUICC `eid` download the order of `facts`? The checks run in the order of SGP.22 5.6.3."""
    order, profile = facts.order, facts.profile
    if order is None or profile is None:
        return Judgement(refusal=Status.MATCHING_ID_REFUSED)
    if order.eid is not None and order.eid != eid:
        return Judgement(refusal=Status.EID_MISMATCH)
    if order.state not in DOWNLOADABLE:
        return Judgement(refusal=Status.NOT_RELEASED, detail=_ENDED.get(order.state, ""))
    spent = _spent(order, now, facts.limits.download_attempts or default_attempts)
    if spent is not None:
        told = report(order, NotificationPoint.ELIGIBILITY, now, spent, eid=str(eid))
        return Judgement(refusal=spent, order=OrderChange.of(order, OrderEvent.FAIL), messages=(told,))
    refusal, detail = _suits(profile, info)
    if refusal:
        told = report(order, NotificationPoint.ELIGIBILITY, now, refusal, eid=str(eid))
        return Judgement(refusal=refusal, detail=detail, messages=(told,))
    change = replace(OrderChange.of(order, OrderEvent.AUTHENTICATE), eid=eid, count_download=True)
    told = report(order, NotificationPoint.ELIGIBILITY, now, eid=str(eid))
    return Judgement(refusal=None, order=change, messages=(told,))


def has_expired(order: Order, now: datetime) -> bool:
    """Whether the order may no longer be downloaded."""
    return order.expires_at is not None and order.expires_at <= now


def _spent(order: Order, now: datetime, attempts: int) -> Status | None:
    if has_expired(order, now):
        return Status.ORDER_EXPIRED
    return Status.DOWNLOAD_ATTEMPTS_EXCEEDED if order.download_attempts >= attempts else None


def _suits(profile: ProfileFacts, info: EuiccInfo2) -> tuple[Status | None, str]:
    """Package version, forbidden policy rules and free memory, as far as the eUICC told them."""
    understood = max((info.profile_version, *info.additional_profile_versions))
    if understood[:2] < profile.saip_version:
        major, minor = profile.saip_version
        return (
            Status.NOT_ELIGIBLE,
            f"The package is of version {major}.{minor}, the eUICC reads {understood[0]}.{understood[1]}.",
        )
    if info.forbidden_policy_rules & profile.policy_rules:
        return Status.NOT_ELIGIBLE, "The eUICC forbids a policy rule of this profile."
    if info.free_memory is not None and info.free_memory < profile.size:
        return Status.INSUFFICIENT_MEMORY, f"{profile.size} bytes are needed, {info.free_memory} are free."
    return None, ""

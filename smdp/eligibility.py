"""Whether an order may be downloaded by this eUICC, now (SGP.22 3.1.3, 5.6.3): pure judgement, no input or output."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rsp.status import Status
from smdp.device_rules import Requester, unsuited
from smdp.order import Order, OrderChange, OrderEvent, OrderState
from smdp.ports import DownloadFacts
from smdp.progress import Message, NotificationPoint, detailed, report

DOWNLOADABLE = frozenset({OrderState.RELEASED, OrderState.DOWNLOADED})

# What the person at the device reads; the states before release have the words of the status itself.
_ENDED = {
    OrderState.ERROR: "An earlier attempt ended this order. Ask the operator to make the profile downloadable again.",
    OrderState.INSTALLED: "The profile of this activation code is installed already. Ask the operator for another one.",
}


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """Refused with `refusal`, or accepted when it is None; and what the order and its owner get to know of it."""

    refusal: Status | None
    detail: str = ""
    order: OrderChange | None = None
    messages: tuple[Message, ...] = ()


def judge(facts: DownloadFacts, requester: Requester, now: datetime, default_attempts: int) -> Judgement:
    """May the requester download the order of `facts`? The checks run in the order of SGP.22 5.6.3.

    An eUICC or device that does not suit uses up no attempt: the right one may come yet.
    """
    order, profile, eid = facts.order, facts.profile, requester.eid
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
    rules = facts.limits.devices
    refusal, detail = unsuited(rules, order, profile, requester)
    if refusal:
        told = report(order, NotificationPoint.ELIGIBILITY, now, refusal, eid=str(eid))
        return Judgement(refusal=refusal, detail=detail, messages=(detailed(told, detail),))
    imei = requester.imei if rules.bind_imei and order.imei is None else None
    change = OrderChange.of(order, OrderEvent.AUTHENTICATE, eid=eid, imei=imei, count_download=True)
    told = report(order, NotificationPoint.ELIGIBILITY, now, eid=str(eid))
    return Judgement(refusal=None, order=change, messages=(told,))


def has_expired(order: Order, now: datetime) -> bool:
    """Whether the order may no longer be downloaded."""
    return order.expires_at is not None and order.expires_at <= now


def _spent(order: Order, now: datetime, attempts: int) -> Status | None:
    if has_expired(order, now):
        return Status.ORDER_EXPIRED
    return Status.DOWNLOAD_ATTEMPTS_EXCEEDED if order.download_attempts >= attempts else None

"""What a card's verified report does to its order, and what the owner is told of it (SGP.22 3.5, 5.6.4): pure.

Reports come weeks late and in any order. The sequence numbers of one card say which came first: what is older than the
installation that counts, or than what is known already, says nothing about the profile of today.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime

import msgspec
from msgspec.structs import replace

from rsp import es10
from rsp.status import Status
from smdp.order import TRANSITIONS, CardReport, CardState, Order, OrderChange, OrderEvent, OrderState
from smdp.ordering import expiry
from smdp.policy import AfterDeletion, Policy
from smdp.ports import DownloadWrite, Limits
from smdp.progress import Message, NotificationPoint, detailed, report
from smdp.session import TRANSITIONS as SESSION_STEPS
from smdp.session import Session, SessionChange, SessionEvent

TEMPORARY = frozenset({10, 11})
"""ErrorReason: too little memory, interruption. The same order may be tried again."""
ALREADY_INSTALLED = 9
"""ErrorReason: the ICCID is on this card. An earlier installation worked and its report was lost."""

_TOO_LATE = "The order was cancelled, and the profile is on this card."
_POINTS = {
    CardState.ENABLED: NotificationPoint.ENABLED,
    CardState.DISABLED: NotificationPoint.DISABLED,
    CardState.DELETED: NotificationPoint.DELETED,
}


class _After(msgspec.Struct, frozen=True, kw_only=True):
    """An order as it was and as it will be, the step that leads there, and what of its row changes with it."""

    before: Order
    order: Order
    event: OrderEvent
    change: OrderChange
    messages: tuple[Message, ...] = ()


class CardReports:
    """Consequences of reports by the rules of the order's owner."""

    def __init__(self, policy: Policy, now: Callable[[], datetime]) -> None:
        self._policy = policy
        self._now = now

    def installation(
        self, session: Session, order: Order, limits: Limits, result: es10.ProfileInstallationResult, raw: bytes
    ) -> DownloadWrite | None:
        """The result of a download; None when this session has reported before."""
        if (session.state, SessionEvent.REPORT) not in SESSION_STEPS:
            return None
        reported = SessionChange.of(session, SessionEvent.REPORT)
        event, status, detail = _meaning(result.result)
        installs, settles = event is OrderEvent.INSTALL, order.awaiting == session.transaction_id.value
        past = order.eid != session.eid or (installs and _is_past(order, result.seq_number))
        step = None if past else _step(order, event, settles=settles)
        if step is None:
            return _noted(reported, order, settles=settles)
        after = self._installed(order, step, result.seq_number if installs else None, settles=settles, limits=limits)
        told: tuple[Message, ...] = ()
        # A report that moves nothing is told unless the owner knows better by now.
        if order.state is not OrderState.INSTALLED or (installs and order.card_state is CardState.DELETED):
            data = base64.b64encode(raw).decode()
            message = report(order, NotificationPoint.BPP_INSTALLATION, self._now(), status, result=data)
            told = (detailed(message, _TOO_LATE if order.state is OrderState.CANCELLED else detail),)
        if step is OrderEvent.INSTALL:
            told += self._held_back(after.order)
        return replace(self._settled(replace(after, messages=told), limits), session=reported)

    def event(self, order: Order, limits: Limits, said: CardReport) -> DownloadWrite | None:
        """The card has enabled, disabled or deleted the profile; None when that says nothing new."""
        if (order.state, OrderEvent.NOTE) not in TRANSITIONS or _is_known(order, said.seq_number):
            return None
        change = replace(OrderChange.of(order, OrderEvent.NOTE), card=said)
        noted = replace(order, card=said)
        told = self._held_back(noted) if noted.card_state is not None else ()
        after = _After(before=order, order=noted, event=OrderEvent.NOTE, change=change, messages=told)
        return self._settled(after, limits)

    def _installed(self, order: Order, event: OrderEvent, seq: int | None, *, settles: bool, limits: Limits) -> _After:
        """The order after a result. Where a deleted profile may be downloaded again its key outlives installation."""
        change = replace(OrderChange.of(order, event), installed_seq=seq, settle=settles)
        if event is OrderEvent.INSTALL and self._reuses(order, limits):
            change = replace(change, keeps_open=True, unbind=True)
        after = replace(
            order,
            state=change.state,
            ended=order.ended or change.ends,
            installed_seq=order.installed_seq if seq is None else seq,
            awaiting=None if settles else order.awaiting,
        )
        return _After(before=order, order=after, event=event, change=change)

    def _held_back(self, order: Order) -> tuple[Message, ...]:
        """What the card told of the profile, once it is known which installation that is about."""
        if order.card is None or order.card_state is None:
            return ()
        return (report(order, _POINTS[order.card_state], order.card.at),)

    def _settled(self, after: _After, limits: Limits) -> DownloadWrite:
        """The write, with what the owner wants of a deleted profile, unless a newer package is on its way."""
        order = after.order
        gone = order.state is OrderState.INSTALLED and order.card_state is CardState.DELETED
        if not gone or order.awaiting is not None:
            return DownloadWrite(order=after.change, messages=after.messages)
        if limits.after_deletion is AfterDeletion.STOCK:
            change = _onwards(after, OrderEvent.CONFIRM_DELETION)
            return DownloadWrite(order=change, messages=after.messages, returned=order.iccid)
        if limits.after_deletion is AfterDeletion.REUSE and not order.ended and self._reuses(order, limits):
            reopened = replace(
                _onwards(after, OrderEvent.REOPEN),
                expires_at=expiry(self._now(), limits, self._policy),
                count_redownload=True,
                reset_attempts=True,
                unbind=True,
                handed_out=False,
                forget_card=not order.eid_named,
            )
            return DownloadWrite(order=reopened, messages=after.messages)
        return DownloadWrite(order=replace(after.change, keeps_open=False), messages=after.messages)

    def _reuses(self, order: Order, limits: Limits) -> bool:
        most = self._policy.redownloads if limits.redownloads is None else limits.redownloads
        return limits.after_deletion is AfterDeletion.REUSE and order.redownloads < most


def _step(order: Order, event: OrderEvent, *, settles: bool) -> OrderEvent | None:
    """What a result does to the order; None when it does not even have to be written there."""
    if event is OrderEvent.INSTALL:
        if (order.state, event) in TRANSITIONS:
            return event
        # A cancelled order stays cancelled, but its owner must learn that the profile is on a card.
        return OrderEvent.NOTE if order.state in (OrderState.CANCELLED, OrderState.INSTALLED) else None
    if order.state is OrderState.DOWNLOADED:
        return event
    # The device cancelled before its card's result came, and perhaps the operator has recovered the order since.
    if order.state in (OrderState.ERROR, OrderState.RELEASED):
        return OrderEvent.NOTE
    return OrderEvent.NOTE if order.state is OrderState.INSTALLED and settles else None


def _onwards(after: _After, event: OrderEvent) -> OrderChange:
    """The change with one more step."""
    steps = OrderChange.of(after.before, after.event, event)
    return replace(after.change, state=steps.state, withdraws=steps.withdraws, keeps_open=False)


def _noted(reported: SessionChange, order: Order, *, settles: bool) -> DownloadWrite:
    """Nothing but that this package is awaited no longer."""
    if not settles or (order.state, OrderEvent.NOTE) not in TRANSITIONS:
        return DownloadWrite(session=reported)
    return DownloadWrite(session=reported, order=replace(OrderChange.of(order, OrderEvent.NOTE), settle=True))


def _is_past(order: Order, seq: int) -> bool:
    """Whether an installation with this number is not the one that counts: a later one is known, or it is undone."""
    if order.installed_seq is not None and seq <= order.installed_seq:
        return True
    undone = order.card is not None and order.card.state is CardState.DELETED and order.card.seq_number > seq
    return undone and order.state is OrderState.RELEASED


def _is_known(order: Order, seq: int) -> bool:
    """Whether something newer is known: what the card said later, or an installation after this."""
    said = order.card is not None and seq <= order.card.seq_number
    return said or (order.installed_seq is not None and seq < order.installed_seq)


def _meaning(result: es10.Installed | es10.InstallationError) -> tuple[OrderEvent, Status | None, str]:
    """What a result does to the order, the status its owner is told, and the detail of it."""
    if isinstance(result, es10.Installed):
        return OrderEvent.INSTALL, None, ""
    if result.reason == ALREADY_INSTALLED:
        return OrderEvent.INSTALL, None, "The profile was on the card already."
    detail = f"bppCommandId {result.command_id}, errorReason {result.reason}"
    if result.reason in TEMPORARY:
        return OrderEvent.FAIL_TEMPORARILY, Status.BPP_EXECUTION_ERROR, detail
    return OrderEvent.FAIL, Status.BPP_EXECUTION_ERROR, detail

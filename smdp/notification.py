"""Notifications of eUICCs: kept first, judged after, over the bytes as received (SGP.22 3.5, 5.6.4)."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from crypto.agreement import BadPoint, read_point
from crypto.certificates import CertificateRejected, TrustStore
from crypto.signatures import BadSignature, verify
from rsp import es10
from rsp.errors import Malformed, Refused
from rsp.identifiers import Eid, TransactionId
from rsp.status import Status
from smdp.credentials import Wallet
from smdp.order import TRANSITIONS as ORDER_STEPS
from smdp.order import Order, OrderChange, OrderEvent, OrderState
from smdp.ports import (
    LARGEST_NOTIFICATION,
    DownloadFacts,
    DownloadWrite,
    NotificationStore,
    PendingNotification,
    SessionFinder,
    TransitionLost,
    Verdict,
)
from smdp.progress import NotificationPoint, report
from smdp.session import TRANSITIONS as SESSION_STEPS
from smdp.session import Session, SessionChange, SessionEvent

_RACES = 5
TEMPORARY = frozenset({10, 11})
"""ErrorReason: too little memory, interruption. The same order may be tried again."""
ALREADY_INSTALLED = 9
"""ErrorReason: the ICCID is on this card. An earlier installation worked and its report was lost."""

_TOO_LATE = "The order was cancelled, and the profile is on this card."
_OUTCOMES = {
    es10.NotificationEvent.INSTALL: "installed",
    es10.NotificationEvent.ENABLE: "enabled",
    es10.NotificationEvent.DISABLE: "disabled",
    es10.NotificationEvent.DELETE: "deleted",
}


Judged = Callable[[Collection[Eid]], Awaitable[None]]
"""Told of the eUICCs whose notifications were judged, when what follows from them is committed."""


_Notification = es10.ProfileInstallationResult | es10.OtherSignedNotification | None
"""What a notification says; None when it cannot be read."""
_Kept = tuple[PendingNotification, _Notification]


async def nobody(_: Collection[Eid]) -> None:
    """For an SM-DP+ that nobody waits for."""


class Notifications:
    """Keeps what eUICCs report and works out what it means."""

    def __init__(
        self,
        inbox: NotificationStore,
        sessions: SessionFinder,
        trust: TrustStore,
        wallet: Wallet,
        now: Callable[[], datetime],
        judged: Judged = nobody,
    ) -> None:
        self._inbox = inbox
        self._sessions = sessions
        self._trust = trust
        self._wallet = wallet
        self._now = now
        self._judged = judged

    async def handle_notification(self, raw: bytes) -> None:
        """Commit the bytes, whatever they are. Raises Unavailable when that fails, Malformed when they are too many."""
        if len(raw) > LARGEST_NOTIFICATION:
            raise Malformed(f"pendingNotification must be at most {LARGEST_NOTIFICATION} bytes")
        await self._inbox.keep_notification(raw, self._now())

    async def judge_pending(self, most: int, lease_seconds: float) -> int:
        """Judge up to `most` kept notifications and return how many there were.

        All together: one read finds their sessions, one commit takes their verdicts. What cannot go together is judged
        one by one: a second report of the same session, and all of them when one meets a row that has moved.
        """
        pending = await self._inbox.claim_notifications(most, lease_seconds)
        first, again = _apart([(one, _parsed(one)) for one in pending])
        known = await self._judge_together(first)
        for one, notification in again:
            known.add(await self._judge(one, notification))
        known.discard(None)
        if known:
            await self._judged({eid for eid in known if eid is not None})
        return len(pending)

    async def _judge_together(self, crowd: Sequence[_Kept]) -> set[Eid | None]:
        """The eUICCs that have reported, as far as that is proven."""
        if len(crowd) > 1:
            wanted = {of for _, notification in crowd if (of := _session_of(notification)) is not None}
            found = await self._sessions.find_sessions(wanted)
            judgements = [self._verdict(one, notification, found) for one, notification in crowd]
            with suppress(TransitionLost):
                await self._inbox.judge_all(judgements)
                return {verdict.eid for verdict, _ in judgements if verdict.verified}
        return {await self._judge(one, notification) for one, notification in crowd}

    async def _judge(self, pending: PendingNotification, notification: _Notification) -> Eid | None:
        """The eUICC that has reported, as far as that is proven."""
        wanted = _session_of(notification)
        for _ in range(_RACES):
            found = await self._sessions.find_sessions(() if wanted is None else (wanted,))
            verdict, write = self._verdict(pending, notification, found)
            with suppress(TransitionLost):
                await self._inbox.judge(verdict, write)
                return verdict.eid if verdict.verified else None
        # The lease runs out and the notification is judged again.
        return None

    def _verdict(
        self, pending: PendingNotification, notification: _Notification, found: Mapping[TransactionId, DownloadFacts]
    ) -> tuple[Verdict, DownloadWrite | None]:
        if notification is None:
            return _unverified(pending, "malformed"), None
        if isinstance(notification, es10.OtherSignedNotification):
            return self._other(pending, notification), None
        return self._installation(pending, notification, found.get(notification.transaction_id))

    def _other(self, pending: PendingNotification, notification: es10.OtherSignedNotification) -> Verdict:
        """Enable, disable, delete: carries its own certificate chain."""
        try:
            identity = self._trust.verify_euicc(
                notification.eum_certificate, notification.euicc_certificate, self._now()
            )
            verify(identity.public_key, notification.signature, notification.signed)
        except CertificateRejected:
            return _unverified(pending, "bad-certificate")
        except BadSignature:
            return _unverified(pending, "bad-signature")
        return Verdict(
            notification_id=pending.id,
            verified=True,
            outcome=_OUTCOMES[notification.event],
            eid=Eid(identity.eid),
            seq_number=notification.seq_number,
            iccid=notification.iccid,
        )

    def _installation(
        self,
        pending: PendingNotification,
        notification: es10.ProfileInstallationResult,
        facts: DownloadFacts | None,
    ) -> tuple[Verdict, DownloadWrite | None]:
        """The result of a download: its key is the one of the session, however long ago that was."""
        if facts is None or facts.session.euicc_key is None or facts.order is None:
            return _unverified(pending, "unknown-session"), None
        session = facts.session
        assert session.euicc_key is not None
        try:
            verify(
                read_point(self._wallet.curve_of(session.ci_key_id), session.euicc_key),
                notification.signature,
                notification.signed,
            )
        except (BadSignature, BadPoint, Refused):
            return _unverified(pending, "bad-signature"), None
        installed = isinstance(notification.result, es10.Installed)
        verdict = Verdict(
            notification_id=pending.id,
            verified=True,
            outcome="installed" if installed else "failed",
            transaction_id=session.transaction_id,
            eid=session.eid,
            seq_number=notification.seq_number,
            iccid=facts.order.iccid,
        )
        return verdict, self._consequence(session, facts.order, notification, pending.raw)

    def _consequence(
        self, session: Session, order: Order, notification: es10.ProfileInstallationResult, raw: bytes
    ) -> DownloadWrite | None:
        if (session.state, SessionEvent.REPORT) not in SESSION_STEPS:
            return None
        reported = SessionChange.of(session, SessionEvent.REPORT)
        event, status, detail = _meaning(notification.result)
        # A cancelled order stays cancelled, but its owner must learn that the profile is on a card.
        too_late = order.state is OrderState.CANCELLED and event is OrderEvent.INSTALL
        known = (order.state, event) in ORDER_STEPS
        if not known and not too_late:
            return DownloadWrite(session=reported)
        told = report(
            order, NotificationPoint.BPP_INSTALLATION, self._now(), status, result=base64.b64encode(raw).decode()
        )
        told = replace(told, body=replace(told.body, detail=_TOO_LATE if too_late else detail))
        change = OrderChange.of(order, event) if known else None
        return DownloadWrite(session=reported, order=change, messages=(told,))


def _parsed(pending: PendingNotification) -> _Notification:
    try:
        return es10.parse_pending_notification(pending.raw)
    except Malformed:
        return None


def _session_of(notification: _Notification) -> TransactionId | None:
    return notification.transaction_id if isinstance(notification, es10.ProfileInstallationResult) else None


def _apart(crowd: Sequence[_Kept]) -> tuple[list[_Kept], list[_Kept]]:
    """Those of which each speaks of a session of its own, and those that speak of one that was named before."""
    first: list[_Kept] = []
    again: list[_Kept] = []
    named: set[TransactionId] = set()
    for kept in crowd:
        session = _session_of(kept[1])
        if session is None or session not in named:
            first.append(kept)
        else:
            again.append(kept)
        if session is not None:
            named.add(session)
    return first, again


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


def _unverified(pending: PendingNotification, outcome: str) -> Verdict:
    return Verdict(notification_id=pending.id, verified=False, outcome=outcome)

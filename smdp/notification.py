"""Notifications of eUICCs: kept first, judged after, over the bytes as received (SGP.22 3.5, 5.6.4)."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from datetime import datetime

from crypto.agreement import BadPoint, read_point
from crypto.certificates import CertificateRejected, TrustStore
from crypto.signatures import BadSignature, verify
from rsp import es10
from rsp.errors import Malformed
from rsp.identifiers import Eid
from rsp.status import Status
from smdp.credentials import Wallet
from smdp.order import TRANSITIONS as ORDER_STEPS
from smdp.order import Order, OrderChange, OrderEvent, OrderState
from smdp.ports import (
    LARGEST_NOTIFICATION,
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
        """Judge up to `most` kept notifications and return how many there were."""
        pending = await self._inbox.claim_notifications(most, lease_seconds)
        eids = [await self._judge(notification) for notification in pending]
        known = {eid for eid in eids if eid is not None}
        if known:
            await self._judged(known)
        return len(pending)

    async def _judge(self, pending: PendingNotification) -> Eid | None:
        """The eUICC that has reported, as far as that is proven."""
        for _ in range(_RACES):
            try:
                verdict, write = await self._verdict(pending)
                await self._inbox.judge(verdict, write)
                return verdict.eid if verdict.verified else None
            except TransitionLost:
                continue
        # The lease runs out and the notification is judged again.
        return None

    async def _verdict(self, pending: PendingNotification) -> tuple[Verdict, DownloadWrite | None]:
        try:
            notification = es10.parse_pending_notification(pending.raw)
        except Malformed:
            return _unverified(pending, "malformed"), None
        if isinstance(notification, es10.OtherSignedNotification):
            return self._other(pending, notification), None
        return await self._installation(pending, notification)

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

    async def _installation(
        self, pending: PendingNotification, notification: es10.ProfileInstallationResult
    ) -> tuple[Verdict, DownloadWrite | None]:
        """The result of a download: its key is the one of the session, however long ago that was."""
        facts = await self._sessions.find_session(notification.transaction_id)
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
        except (BadSignature, BadPoint, KeyError):
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

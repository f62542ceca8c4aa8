"""Notifications of eUICCs: kept first, judged after, over the bytes as received (SGP.22 3.5, 5.6.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec

from crypto.agreement import BadPoint, read_point
from crypto.certificates import CertificateRejected, TrustStore
from crypto.signatures import BadSignature, verify
from rsp import es10
from rsp.errors import Malformed, Refused
from rsp.identifiers import Eid, Iccid, TransactionId
from smdp.card_reports import CardReports
from smdp.credentials import Wallet
from smdp.order import CardReport, CardState
from smdp.policy import Policy
from smdp.ports import (
    LARGEST_NOTIFICATION,
    DownloadFacts,
    DownloadWrite,
    NotificationStore,
    OwnedOrder,
    PendingNotification,
    SessionFinder,
    TransitionLost,
    Verdict,
)

_RACES = 5
_OUTCOMES = {
    es10.NotificationEvent.INSTALL: "installed",
    es10.NotificationEvent.ENABLE: "enabled",
    es10.NotificationEvent.DISABLE: "disabled",
    es10.NotificationEvent.DELETE: "deleted",
}


_CARD_STATES = {
    es10.NotificationEvent.ENABLE: CardState.ENABLED,
    es10.NotificationEvent.DISABLE: CardState.DISABLED,
    es10.NotificationEvent.DELETE: CardState.DELETED,
}

Judged = Callable[[Collection[Eid]], Awaitable[None]]
"""Told of the eUICCs whose notifications were judged, when what follows from them is committed."""


_Notification = es10.ProfileInstallationResult | es10.OtherSignedNotification | None
"""What a notification says; None when it cannot be read."""
_Kept = tuple[PendingNotification, _Notification]


async def nobody(_: Collection[Eid]) -> None:
    """For an SM-DP+ that nobody waits for."""


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of those who reported: the sessions they name, and the orders of the profiles they name."""

    sessions: Mapping[TransactionId, DownloadFacts]
    orders: Mapping[Iccid, Sequence[OwnedOrder]]


class Notifications:
    """Keeps what eUICCs report and works out what it means."""

    def __init__(  # noqa: PLR0913 -- the parts it joins
        self,
        inbox: NotificationStore,
        sessions: SessionFinder,
        trust: TrustStore,
        wallet: Wallet,
        policy: Policy,
        now: Callable[[], datetime],
        *,
        judged: Judged = nobody,
    ) -> None:
        self._reports = CardReports(policy, now)
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
            found = await self._found([notification for _, notification in crowd])
            judgements = [self._verdict(one, notification, found) for one, notification in crowd]
            with suppress(TransitionLost):
                await self._inbox.judge_all(judgements)
                return {verdict.eid for verdict, _ in judgements if verdict.verified}
        return {await self._judge(one, notification) for one, notification in crowd}

    async def _judge(self, pending: PendingNotification, notification: _Notification) -> Eid | None:
        """The eUICC that has reported, as far as that is proven."""
        for _ in range(_RACES):
            found = await self._found([notification])
            verdict, write = self._verdict(pending, notification, found)
            with suppress(TransitionLost):
                await self._inbox.judge(verdict, write)
                return verdict.eid if verdict.verified else None
        # The lease runs out and the notification is judged again.
        return None

    async def _found(self, crowd: Sequence[_Notification]) -> _Found:
        """What they speak of; nothing of it is trusted before their signatures are verified."""
        sessions = {one.transaction_id for one in crowd if isinstance(one, es10.ProfileInstallationResult)}
        profiles = {one.iccid for one in crowd if isinstance(one, es10.OtherSignedNotification)} - {None}
        return _Found(
            sessions=await self._sessions.find_sessions(sessions),
            orders=await self._sessions.find_orders({iccid for iccid in profiles if iccid is not None}),
        )

    def _verdict(
        self, pending: PendingNotification, notification: _Notification, found: _Found
    ) -> tuple[Verdict, DownloadWrite | None]:
        if notification is None:
            return _unverified(pending, "malformed"), None
        if isinstance(notification, es10.OtherSignedNotification):
            verdict = self._other(pending, notification)
            return verdict, self._event(pending, notification, verdict, found)
        return self._installation(pending, notification, found.sessions.get(notification.transaction_id))

    def _event(
        self,
        pending: PendingNotification,
        notification: es10.OtherSignedNotification,
        verdict: Verdict,
        found: _Found,
    ) -> DownloadWrite | None:
        """What follows for the latest order of that profile for that card, if there is one."""
        state = _CARD_STATES.get(notification.event)
        if not verdict.verified or state is None or notification.iccid is None:
            return None
        own = [one for one in found.orders.get(notification.iccid, ()) if one.order.eid == verdict.eid]
        if not own:
            return None
        said = CardReport(state=state, seq_number=notification.seq_number, at=pending.received_at)
        return self._reports.event(own[-1].order, own[-1].limits, said)

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
        return verdict, self._reports.installation(session, facts.order, facts.limits, notification, pending.raw)


def _parsed(pending: PendingNotification) -> _Notification:
    try:
        return es10.parse_pending_notification(pending.raw)
    except Malformed:
        return None


def _subject(notification: _Notification) -> TransactionId | Iccid | None:
    """What it speaks of: the session, or the profile."""
    if isinstance(notification, es10.ProfileInstallationResult):
        return notification.transaction_id
    return notification.iccid if notification is not None else None


def _apart(crowd: Sequence[_Kept]) -> tuple[list[_Kept], list[_Kept]]:
    """Those of which each has a subject of its own, and those that speak of one that was named before."""
    first: list[_Kept] = []
    again: list[_Kept] = []
    named: set[TransactionId | Iccid] = set()
    for kept in crowd:
        subject = _subject(kept[1])
        if subject is None or subject not in named:
            first.append(kept)
        else:
            again.append(kept)
        if subject is not None:
            named.add(subject)
    return first, again


def _unverified(pending: PendingNotification, outcome: str) -> Verdict:
    return Verdict(notification_id=pending.id, verified=False, outcome=outcome)

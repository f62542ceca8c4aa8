"""Cards' notifications that pass through the eIM: which SM-DP+ each is for, and whether a card of ours signed it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from crypto.certificates import CertificateRejected, TrustStore, parse_certificate
from crypto.signatures import BadSignature, verify
from eim.ports import Association, Report
from rsp import es10
from rsp.errors import Malformed
from rsp.identifiers import Eid, fqdn

Notification = es10.ProfileInstallationResult | es10.OtherSignedNotification


def is_signed_by(association: Association, signature: bytes, data: bytes) -> bool:
    """Whether the eUICC of `association` signed `data`; its certificate was verified when it came."""
    try:
        verify(parse_certificate(association.euicc_certificate).public_key, signature, data)
    except BadSignature:
        return False
    return True


class Reporting:
    """Sorts notifications.

    Those for our own SM-DP+ stay here, and it verifies them. Others leave only when a card of ours signed them, or
    anybody could have this server call the address he likes.
    """

    def __init__(self, trust: TrustStore, own_names: Iterable[str], now: Callable[[], datetime]) -> None:
        self._trust = trust
        self._own_names = frozenset(name.lower() for name in own_names)
        self._now = now

    def of(self, notifications: Iterable[bytes], association: Association | None) -> tuple[Report, ...]:
        """The reports to make of `notifications`, which came from the card of `association` as far as known."""
        found = (self._report(raw, association) for raw in notifications)
        return tuple(report for report in found if report is not None)

    def eid_of(self, raw: bytes) -> Eid | None:
        """The card that signed a notification which brings its certificates; None when no trusted one did."""
        notification = _parsed(raw)
        if not isinstance(notification, es10.OtherSignedNotification):
            return None
        try:
            identity = self._trust.verify_euicc(
                notification.eum_certificate, notification.euicc_certificate, self._now()
            )
            verify(identity.public_key, notification.signature, notification.signed)
        except (CertificateRejected, BadSignature):
            return None
        return Eid(identity.eid)

    def _report(self, raw: bytes, association: Association | None) -> Report | None:
        notification = _parsed(raw)
        if notification is None:
            return None
        try:
            address = fqdn(notification.notification_address)
        except Malformed:
            return None
        if address in self._own_names:
            return Report(raw=raw)
        if association is None or not self._is_from(association, raw, notification):
            return None
        return Report(raw=raw, address=address, tenant_id=association.tenant_id, eid=str(association.eid))

    def _is_from(self, association: Association, raw: bytes, notification: Notification) -> bool:
        if isinstance(notification, es10.OtherSignedNotification):
            return self.eid_of(raw) == association.eid
        return is_signed_by(association, notification.signature, notification.signed)


def _parsed(raw: bytes) -> Notification | None:
    try:
        return es10.parse_pending_notification(raw)
    except Malformed:
        return None

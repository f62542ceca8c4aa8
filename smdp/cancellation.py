"""CancelSession: the device gives up, and why decides what becomes of the order (SGP.22 5.6.5, 3.1.3)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace

from crypto.agreement import BadPoint, read_point
from crypto.signatures import BadSignature, verify
from rsp import es10
from rsp.errors import Refused
from rsp.identifiers import TransactionId
from rsp.status import Status
from smdp.credentials import Wallet
from smdp.eligibility import DOWNLOADABLE
from smdp.order import Order, OrderChange, OrderEvent
from smdp.ports import DownloadStore, DownloadWrite, TransitionLost
from smdp.progress import Message, NotificationPoint, report
from smdp.session import Session, SessionChange, SessionEvent, SessionState

_RACES = 5

RESUMABLE = frozenset({1, 2, 16})
"""postponed, timeout, and sessionAborted of v3: the order stays as it is and may be tried again. Any other is final."""

REASON_STATUS = {
    0: Status.END_USER_REJECTED,
    3: Status.PPR_NOT_ALLOWED,
    4: Status.METADATA_MISMATCH,
    5: Status.BPP_EXECUTION_ERROR,
    # From v3 on; what has no status of its own, undefinedReason (127) among it, is an execution error.
    17: Status.ENTERPRISE_UNSUPPORTED,
    18: Status.ENTERPRISE_RULES_NOT_ALLOWED,
    19: Status.ENTERPRISE_PROFILE_REFUSED,
    20: Status.ENTERPRISE_OID_MISMATCH,
    21: Status.ENTERPRISE_PROFILE_REFUSED,
    22: Status.ENTERPRISE_PROFILE_REFUSED,
    23: Status.LPA_PROXY_UNSUPPORTED,
    24: Status.RPM_REFUSED,
    25: Status.METADATA_REFUSED,
    27: Status.RPM_REFUSED,
    28: Status.RPM_PACKAGE_INVALID,
    29: Status.RPM_EXECUTION_ERROR,
    30: Status.DEVICE_CHANGE_STOPPED,
}
_OVER = frozenset({SessionState.ENDED, SessionState.REPORTED})


class Cancellation:
    """Ends a session on the device's signed word."""

    def __init__(self, store: DownloadStore, wallet: Wallet, now: Callable[[], datetime]) -> None:
        self._store = store
        self._wallet = wallet
        self._now = now

    async def cancel_session(self, transaction_id: TransactionId, message: bytes) -> None:
        """`message` is BF41 as received. A session that is over already is left alone. Raises Malformed, Refused."""
        response = es10.parse_cancel_session_response(message)
        digest = hashlib.sha256(message).digest()
        for _ in range(_RACES):
            try:
                return await self._cancel(transaction_id, response, digest)
            except TransitionLost:
                continue
        raise Refused(Status.EXECUTION_ERROR, "Other requests for this session keep coming first.")

    async def _cancel(
        self, transaction_id: TransactionId, response: es10.CancelSessionOk | es10.CancelSessionError, digest: bytes
    ) -> None:
        facts = await self._store.find_session(transaction_id)
        if facts is None or facts.session.euicc_key is None:
            raise Refused(Status.TRANSACTION_UNKNOWN)
        session, order = facts.session, facts.order
        if isinstance(response, es10.CancelSessionError):
            # Not signed, so it may close the session but moves no order.
            order = None
        else:
            self._verify(session, response)
        if session.state in _OVER:
            return
        change = replace(SessionChange.of(session, SessionEvent.END), download_digest=digest)
        final = isinstance(response, es10.CancelSessionOk) and response.reason not in RESUMABLE
        if order is None or not final or order.state not in DOWNLOADABLE:
            await self._store.write(DownloadWrite(session=change))
            return
        assert isinstance(response, es10.CancelSessionOk)
        failed = OrderChange.of(order, OrderEvent.FAIL)
        told = self._told(order, session, response.reason)
        await self._store.write(DownloadWrite(session=change, order=failed, messages=(told,)))

    def _verify(self, session: Session, response: es10.CancelSessionOk) -> None:
        if response.transaction_id != session.transaction_id:
            raise Refused(Status.TRANSACTION_UNKNOWN)
        assert session.euicc_key is not None
        try:
            public_key = read_point(self._wallet.curve_of(session.ci_key_id), session.euicc_key)
            verify(public_key, response.signature, response.signed)
        except (BadSignature, BadPoint) as bad:
            raise Refused(Status.EUICC_SIGNATURE_INVALID) from bad
        credentials = self._wallet.of(session.server_ci_key_id)
        if credentials is None or response.smdp_oid != credentials.oid:
            raise Refused(Status.SMDP_OID_MISMATCH)

    def _told(self, order: Order, session: Session, reason: int) -> Message:
        delivered = session.state is SessionState.DELIVERED
        point = NotificationPoint.BPP_INSTALLATION if delivered else NotificationPoint.BPP_DOWNLOAD
        return report(order, point, self._now(), REASON_STATUS.get(reason, Status.EXECUTION_ERROR))

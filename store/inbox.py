"""Notifications of cards, bytes first and judgement after: `smdp.ports.NotificationStore`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg
from sqlalchemy import BigInteger, Boolean, LargeBinary, Text, bindparam, func, insert, null, select, update

from rsp.errors import Unavailable
from smdp.order import ProfileState
from smdp.ports import DownloadWrite, PendingNotification, TransitionLost, Verdict
from store.changes import Values, written
from store.claims import claim
from store.compiled import Statement, compiled
from store.gathering import Gathering
from store.pool import Arguments, Pool
from store.tables import notifications, profiles

DUPLICATE = "duplicate"
_IDENTITIES = ("uq_notifications_result", "uq_notifications_event")

_KEEP = compiled(insert(notifications).values(raw=bindparam("raw"), received_at=bindparam("received_at")))
_CLAIM = compiled(
    claim(
        notifications,
        select(notifications.c.id).where(notifications.c.judged_at.is_(None)),
        (notifications.c.id,),
    )
)
_VERDICT = (
    update(notifications)
    .where(
        notifications.c.id == bindparam("notification_id", type_=BigInteger),
        notifications.c.judged_at.is_(None),
    )
    .values(
        judged_at=func.now(),
        claimed_until=null(),
        verified=bindparam("is_verified", type_=Boolean),
        outcome=bindparam("said", type_=Text),
        transaction_id=bindparam("of_transaction", type_=LargeBinary),
        eid=bindparam("of_eid", type_=Text),
        seq_number=bindparam("sequence", type_=BigInteger),
        iccid=bindparam("of_iccid", type_=Text),
    )
    .returning(notifications.c.id)
)
_RETURN = (
    update(profiles)
    .where(
        profiles.c.iccid == bindparam("returned", type_=Text),
        profiles.c.state == ProfileState.ORDERED.value,
    )
    .values(state=ProfileState.AVAILABLE.value)
    .returning(profiles.c.id)
)


class Inbox:
    """PostgreSQL behind notifications."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._keeping = Gathering(pool, _KEEP)

    async def keep_notification(self, raw: bytes, received_at: datetime) -> None:
        """Commit the bytes."""
        await self._keeping.run(raw=raw, received_at=received_at)

    async def claim_notifications(self, most: int, lease_seconds: float) -> list[PendingNotification]:
        """Take up to `most` unjudged rows, the oldest first."""
        rows = await self._pool.fetch(_CLAIM, most=most, lease_seconds=lease_seconds)
        pending = [PendingNotification(id=row["id"], raw=row["raw"], received_at=row["received_at"]) for row in rows]
        return sorted(pending, key=lambda notification: notification.id)

    async def judge(self, verdict: Verdict, write: DownloadWrite | None) -> None:
        """The verdict and its consequences in one commit; for an identity that is taken, `duplicate` and no more.

        Raises TransitionLost, also when somebody else has judged this notification.
        """
        try:
            await self._store(verdict, verdict.outcome, write)
        except asyncpg.UniqueViolationError as taken:
            if taken.constraint_name not in _IDENTITIES:
                raise
            await self._store(verdict, DUPLICATE, None)

    async def judge_all(self, judgements: Sequence[tuple[Verdict, DownloadWrite | None]]) -> None:
        """All of them in one commit. Raises TransitionLost when they cannot be stored together."""
        runs: dict[Statement, list[Arguments]] = {}
        for verdict, write in judgements:
            statement, values = _judgement(verdict, verdict.outcome, write)
            runs.setdefault(statement, []).append(statement.arguments(values))
        try:
            await self._pool.run_all(runs)
        except (asyncpg.PostgresError, Unavailable) as refused:
            raise TransitionLost("the verdicts cannot be stored together") from refused

    async def _store(self, verdict: Verdict, outcome: str, write: DownloadWrite | None) -> None:
        statement, values = _judgement(verdict, outcome, write)
        await self._pool.execute(statement, **values)


def _judgement(verdict: Verdict, outcome: str, write: DownloadWrite | None) -> tuple[Statement, Values]:
    """A verdict and its consequences as one statement."""
    if write is not None and write.returned is not None:
        statement, values = written(write, _VERDICT, _RETURN)
        values["returned"] = str(write.returned)
    else:
        statement, values = written(write, _VERDICT)
    return statement, values | _said(verdict, outcome)


def _said(verdict: Verdict, outcome: str) -> dict[str, object]:
    return {
        "notification_id": verdict.notification_id,
        "is_verified": verdict.verified,
        "said": outcome,
        "of_transaction": verdict.transaction_id.value if verdict.transaction_id else None,
        "of_eid": str(verdict.eid) if verdict.eid else None,
        "sequence": verdict.seq_number,
        "of_iccid": str(verdict.iccid) if verdict.iccid else None,
    }

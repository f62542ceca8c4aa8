"""Messages on their way out, in order per line: `smdp.ports.Outbox`."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import BigInteger, Text, Uuid, bindparam, exists, func, literal_column, null, select, update

from smdp.ports import ClaimedMessage
from store.claims import claim, seconds_from_now
from store.compiled import compiled
from store.pool import Pool
from store.tables import outbox

_earlier = outbox.alias("earlier")
_same_line = outbox.alias("same_line")

_PENDING = (outbox.c.sent_at.is_(None), outbox.c.buried_at.is_(None))
_BEHIND = exists().where(
    _earlier.c.line == outbox.c.line,
    _earlier.c.id < outbox.c.id,
    _earlier.c.sent_at.is_(None),
    _earlier.c.buried_at.is_(None),
)
_OURS = (
    outbox.c.id == bindparam("message_id", type_=BigInteger),
    outbox.c.claimed_by == bindparam("worker", type_=Uuid),
    *_PENDING,
)

_CLAIM = compiled(
    claim(
        outbox,
        select(outbox.c.id).where(*_PENDING, outbox.c.due_at <= func.clock_timestamp(), ~_BEHIND),
        (outbox.c.due_at, outbox.c.id),
        claimed_by=bindparam("worker", type_=Uuid),
    )
)
_SENT = compiled(update(outbox).where(*_OURS).values(sent_at=func.now(), claimed_until=null()))
_BURY = compiled(
    update(outbox)
    .where(*_OURS)
    .values(buried_at=func.now(), claimed_until=null(), last_error=bindparam("error", type_=Text))
)
_FAILED = (
    update(outbox)
    .where(*_OURS)
    .values(claimed_until=null(), last_error=bindparam("error", type_=Text), due_at=seconds_from_now("delay_seconds"))
    .returning(outbox.c.id, outbox.c.line, outbox.c.due_at)
    .cte("failed")
)
# The whole line waits with its head: a claim then finds only what is due, however long the queue behind a dead server.
_RETRY = compiled(
    update(outbox)
    .where(outbox.c.line == _FAILED.c.line, outbox.c.id > _FAILED.c.id, *_PENDING)
    .values(due_at=_FAILED.c.due_at)
)
_DEPTH = compiled(
    select(
        func.count().label("unsent"),
        func.coalesce(
            func.extract("epoch", func.clock_timestamp() - func.min(outbox.c.created_at)), literal_column("0")
        ).label("age"),
    ).where(*_PENDING)
)


class Outbox:
    """PostgreSQL behind the messages to operators. One object is one worker: it answers for its own claims only.

    When a lease ran out and another worker took the message over, what this one says of it is ignored: the other sends
    the same bytes again, and only then may the line go on.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._worker = uuid4()

    async def claim_messages(self, most: int, lease_seconds: float) -> list[ClaimedMessage]:
        """Take up to `most` due heads of lines; `attempts` counts this try too, so it is 1 the first time."""
        rows = await self._pool.fetch(_CLAIM, most=most, lease_seconds=lease_seconds, worker=self._worker)
        claimed = [
            ClaimedMessage(
                id=row["id"],
                tenant_id=row["tenant_id"],
                line=row["line"],
                kind=row["kind"],
                body=row["body"].encode(),
                attempts=row["attempts"],
            )
            for row in rows
        ]
        return sorted(claimed, key=lambda message: message.id)

    async def sent(self, message_id: int) -> None:
        """The other side has it."""
        await self._pool.execute(_SENT, message_id=message_id, worker=self._worker)

    async def retry(self, message_id: int, delay_seconds: float, error: str) -> None:
        """It did not get through: due again after the delay; its line waits."""
        await self._pool.execute(
            _RETRY, message_id=message_id, worker=self._worker, delay_seconds=delay_seconds, error=error
        )

    async def bury(self, message_id: int, error: str) -> None:
        """It will never get through: kept for people to see, and its line goes on."""
        await self._pool.execute(_BURY, message_id=message_id, worker=self._worker, error=error)

    async def depth(self) -> tuple[int, float]:
        """How many messages are unsent, and the age of the oldest in seconds."""
        row = await self._pool.fetch_one(_DEPTH)
        assert row is not None
        return row["unsent"], float(row["age"])

"""Messages to operators, for people to look at and to send once more: `smdp.reading.MessageReading`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ARRAY, BigInteger, Integer, Text, any_, bindparam, case, func, null, or_, select, update

from rsp.identifiers import Iccid
from smdp.progress import KIND, line_of
from smdp.reading import MessageFilter, MessageRow, MessageState
from store.compiled import compiled
from store.order_book import told_from
from store.pool import Pool
from store.tables import outbox

_TENANT = bindparam("tenant_id", type_=BigInteger)
_LINE = bindparam("line", type_=Text)
_WANTED = bindparam("state", type_=Text)
_STATE = case(
    (outbox.c.buried_at.is_not(None), MessageState.BURIED.value),
    (outbox.c.sent_at.is_not(None), MessageState.SENT.value),
    else_=MessageState.WAITING.value,
)
_LIST = compiled(
    select(
        outbox.c.id,
        outbox.c.line,
        _STATE.label("state"),
        outbox.c.body,
        outbox.c.attempts,
        func.coalesce(outbox.c.last_error, "").label("error"),
        outbox.c.created_at,
        outbox.c.sent_at,
        outbox.c.buried_at,
    )
    .where(
        outbox.c.tenant_id == _TENANT,
        outbox.c.kind == KIND,
        or_(_LINE == "", outbox.c.line == _LINE),
        or_(_WANTED == "", _STATE == _WANTED),
    )
    .order_by(outbox.c.id.desc())
    .limit(bindparam("most", type_=Integer)),
    planned_by_values=True,
)
_RETRIED = (
    update(outbox)
    .where(
        outbox.c.tenant_id == _TENANT,
        outbox.c.kind == KIND,
        outbox.c.buried_at.is_not(None),
        outbox.c.id == any_(bindparam("message_ids", type_=ARRAY(BigInteger))),
    )
    .values(buried_at=null(), claimed_until=null(), attempts=0, due_at=func.now())
    .returning(outbox.c.id)
    .cte("retried")
)
_RETRY = compiled(select(func.count().label("count")).select_from(_RETRIED))


class Messages:
    """PostgreSQL behind what people see of messages."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_messages(self, wanted: MessageFilter) -> list[MessageRow]:
        """Messages, newest first."""
        rows = await self._pool.fetch(
            _LIST,
            tenant_id=wanted.tenant_id,
            line=line_of(wanted.iccid) if wanted.iccid else "",
            state=wanted.state.value if wanted.state else "",
            most=wanted.most,
        )
        return [
            MessageRow(
                id=row["id"],
                iccid=str(Iccid(row["line"].rpartition("/")[2])),
                state=MessageState(row["state"]),
                told=told_from(row),
            )
            for row in rows
        ]

    async def retry(self, tenant_id: int, message_ids: Sequence[int]) -> int:
        """Make those of these that are buried due again; returns how many there were."""
        row = await self._pool.fetch_one(_RETRY, tenant_id=tenant_id, message_ids=list(message_ids))
        assert row is not None
        return int(row["count"])

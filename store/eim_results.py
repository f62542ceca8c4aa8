"""What devices hand in, bytes first and judgement after: `eim.ports.ResultStore`."""

from __future__ import annotations

import base64
from datetime import datetime

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    DateTime,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    bindparam,
    delete,
    func,
    insert,
    null,
    select,
    update,
)
from sqlalchemy.sql.selectable import Select

from eim.operation import Operation
from eim.ports import (
    FORWARD_KIND,
    ContentChange,
    Forward,
    KeptResult,
    NewOperation,
    Report,
    ResultFacts,
    ResultVerdict,
    ResultWrite,
    Told,
    TransitionLost,
)
from rsp.identifiers import Eid, TransactionId
from store.claims import claim, relaxed
from store.compiled import Statement, compiled
from store.eim_operations import HEAR, QUEUE, moved
from store.eim_rows import ASSOCIATION, OPERATION, association_from, content_from, operation_from, operation_values
from store.eim_tables import eim_results, esim_operations, esims
from store.esims import PROFILES, PUT_PROFILES, Esims, profile_arguments
from store.pool import Connection, Pool
from store.swaps import WAKE
from store.tables import notifications, outbox

_MOMENT = DateTime(timezone=True)
_op, _result = esim_operations.c, eim_results.c
_EID = bindparam("eid", type_=Text)

_KEEP = compiled(insert(eim_results).values({name: bindparam(name) for name in ("raw", "eid", "received_at")}))
# A claim that a crash of the database forgets is made again, and a verdict counts once: nobody waits for the disk.
_CLAIM = compiled(relaxed(claim(eim_results, select(_result.id).where(_result.judged_at.is_(None)), (_result.id,))))
# A verdict that a crash of the database forgets is reached again from the bytes, which were committed to the disk when
# they came; and whoever acts on it commits first, to the disk, and what was committed before goes there with it.
_SETTLE = compiled(
    relaxed(
        update(eim_results)
        .where(_result.id == bindparam("result_id", type_=BigInteger), _result.judged_at.is_(None))
        .values(
            judged_at=bindparam("now", type_=_MOMENT),
            claimed_until=null(),
            verified=bindparam("is_verified", type_=Boolean),
            outcome=bindparam("said", type_=Text),
            operation_id=bindparam("of_operation", type_=BigInteger),
            tenant_id=bindparam("of_tenant", type_=BigInteger),
        )
        .returning(_result.id)
    ).add_cte(WAKE.cte("woken"))
)
_FORGET = compiled(
    delete(eim_results)
    .where(~_result.verified, _result.judged_at < bindparam("before", type_=_MOMENT))
    .returning(_result.id)
)


def _facts(*where: object) -> Statement:
    statement: Select[tuple[object, ...]] = (
        select(
            *OPERATION,
            *ASSOCIATION,
            esims.c.content_version.label("content_version"),
            esims.c.content_seq.label("content_seq"),
            esims.c.content_at.label("content_at"),
        )
        .select_from(esim_operations.join(esims, esims.c.eid == _op.eid))
        .where(*where)  # type: ignore[arg-type]  # the columns of a table of ours
    )
    return compiled(statement)


_BY_TRANSACTION = _facts(_op.transaction_id == bindparam("transaction_id", type_=LargeBinary))
_BY_COUNTER = _facts(_op.eid == _EID, _op.counter == bindparam("counter", type_=BigInteger))
_BY_ID = _facts(_op.id == bindparam("operation_id", type_=BigInteger))

_CONTENT = compiled(
    update(esims)
    .where(esims.c.eid == _EID, esims.c.content_version == bindparam("expected", type_=Integer))
    .values(
        content_version=esims.c.content_version + 1,
        content_seq=func.coalesce(bindparam("seq", type_=BigInteger), esims.c.content_seq),
        content_at=func.coalesce(bindparam("listed_at", type_=_MOMENT), esims.c.content_at),
    )
    .returning(esims.c.eid)
)
_NOTE = compiled(
    update(esims)
    .where(esims.c.eid == _EID)
    .values(
        features=func.coalesce(bindparam("features", type_=ARRAY(SmallInteger)), esims.c.features),
        euicc_info2=func.coalesce(bindparam("euicc_info2", type_=LargeBinary), esims.c.euicc_info2),
        device_info=func.coalesce(bindparam("device_info", type_=LargeBinary), esims.c.device_info),
    )
)
_TO_OURSELVES = compiled(insert(notifications).values(raw=bindparam("raw"), received_at=bindparam("received_at")))
_TO_OTHERS = compiled(insert(outbox).values({name: bindparam(name) for name in ("tenant_id", "line", "kind", "body")}))


class Results:
    """PostgreSQL behind results."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.association = Esims(pool).association

    async def keep_result(self, raw: bytes, eid: Eid | None, received_at: datetime) -> None:
        """Commit the bytes, and what their sender calls itself; only after this may they be acknowledged."""
        await self._pool.execute(_KEEP, raw=raw, eid=str(eid) if eid else None, received_at=received_at)

    async def claim_results(self, most: int, lease_seconds: float) -> list[KeptResult]:
        """Take up to `most` unjudged rows, the oldest first."""
        rows = await self._pool.fetch(_CLAIM, most=most, lease_seconds=lease_seconds)
        kept = [KeptResult(id=row["id"], raw=row["raw"], received_at=row["received_at"]) for row in rows]
        return sorted(kept, key=lambda result: result.id)

    async def facts_by_transaction(self, transaction_id: TransactionId) -> ResultFacts | None:
        """The operation of that eimTransactionId, whatever its state."""
        return await self._found(_BY_TRANSACTION, transaction_id=transaction_id.value)

    async def facts_by_counter(self, eid: Eid, counter: int) -> ResultFacts | None:
        """The operation that used that counter of that eSIM."""
        return await self._found(_BY_COUNTER, eid=str(eid), counter=counter)

    async def facts_by_id(self, operation_id: int) -> ResultFacts | None:
        """The operation of that id."""
        return await self._found(_BY_ID, operation_id=operation_id)

    async def _found(self, statement: Statement, **values: object) -> ResultFacts | None:
        row = await self._pool.fetch_one(statement, **values)
        if row is None:
            return None
        # Profiles newer than the version read before make the guarded write fail, and the judgement starts again.
        profiles = await self._pool.fetch(PROFILES, eids=[row["esim_eid"]])
        return ResultFacts(
            operation=operation_from(row), association=association_from(row), content=content_from(row, profiles)
        )

    async def apply(self, write: ResultWrite, now: datetime) -> None:
        """One commit. Raises TransitionLost, InstallationTaken."""
        async with self._pool.transaction() as connection:
            await _apply(connection, write, now)

    async def note(self, eid: Eid, told: Told) -> None:
        """Keep what a device told about itself; members that are None stay as they are."""
        features = None if told.features is None else sorted(told.features)
        await self._pool.execute(
            _NOTE, eid=str(eid), features=features, euicc_info2=told.euicc_info2, device_info=told.device_info
        )

    async def hear(self, operation: Operation, said: str, ask: NewOperation | None, now: datetime) -> bool:
        """Keep what the device said first of an operation in its hands, and queue `ask`: one commit; whether it was."""
        async with self._pool.transaction() as connection:
            if await connection.fetch_one(HEAR, operation_id=operation.id, said=said, now=now) is None:
                return False
            if ask is not None:
                await connection.fetch_one(QUEUE, **operation_values(ask))
            return True

    async def settle(
        self, verdict: ResultVerdict, reports: tuple[Report, ...], now: datetime, write: ResultWrite | None = None
    ) -> None:
        """What follows, the verdict, the notifications on their way, and the card's swap due: one commit.

        Raises as `apply` does, and TransitionLost when the result is judged already.
        """
        async with self._pool.transaction() as connection:
            if write is not None:
                await _apply(connection, write, now)
            row = await connection.fetch_one(
                _SETTLE,
                result_id=verdict.result_id,
                now=now,
                is_verified=verdict.verified,
                said=verdict.outcome,
                of_operation=verdict.operation_id,
                of_tenant=verdict.tenant_id,
                eids=[str(verdict.answered)] if verdict.answered else [],
            )
            if row is None:
                raise TransitionLost(f"result {verdict.result_id} is judged already")
            for report in reports:
                await _send_on(connection, report, now)

    async def forget_unverified(self, before: datetime) -> int:
        """Drop unverified results judged before that time; how many those were."""
        return len(await self._pool.fetch(_FORGET, before=before))


async def _apply(connection: Connection, write: ResultWrite, now: datetime) -> None:
    if write.content is not None:
        await _replace(connection, write.content)
    await moved(connection, write.operation, now)
    if write.settled is not None:
        await moved(connection, write.settled, now)
    if write.ask is not None:
        await connection.fetch_one(QUEUE, **operation_values(write.ask))


async def _replace(connection: Connection, change: ContentChange) -> None:
    row = await connection.fetch_one(
        _CONTENT, eid=str(change.eid), expected=change.expected, seq=change.seq, listed_at=change.listed_at
    )
    if row is None:
        raise TransitionLost(f"the known profiles of {change.eid} have changed")
    await connection.execute(
        PUT_PROFILES, eid=str(change.eid), tenant_id=change.tenant_id, **profile_arguments(change.profiles)
    )


async def _send_on(connection: Connection, report: Report, now: datetime) -> None:
    if not report.address:
        await connection.execute(_TO_OURSELVES, raw=report.raw, received_at=now)
        return
    body = Forward(address=report.address, pending_notification=base64.b64encode(report.raw).decode())
    await connection.execute(
        _TO_OTHERS,
        tenant_id=report.tenant_id,
        line=f"{FORWARD_KIND}/{report.eid}/{report.address}",
        kind=FORWARD_KIND,
        body=msgspec.json.encode(body).decode(),
    )

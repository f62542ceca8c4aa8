"""PostgreSQL behind the runner of swaps: `swap.ports.SwapStore`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import asyncpg
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Integer,
    Text,
    Uuid,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from rsp.identifiers import Eid, Iccid
from store.compiled import compiled
from store.pool import Connection, Pool
from store.swap_claims import CLAIM_DUE
from store.swap_rows import (
    action_from,
    entry_from,
    history_from,
    swap_from,
    swap_values,
    told_from,
)
from store.swap_tables import swap_actions, swap_events, swap_steps, swaps
from swap.ports import SwapRunning, TransitionLost
from swap.record import Action, Advance, Change, Claimed, Entry, Filter, History, NewSwap, Swap, Told
from swap.swap import SwapState

_RUNNING = "uq_swaps_running"
_MOMENT = DateTime(timezone=True)
_NOW = bindparam("now", type_=_MOMENT)
_INSTANT: ColumnElement[Any] = literal_column("interval '1 microsecond'")
_ID = bindparam("swap_id", type_=BigInteger)
_TENANT = bindparam("tenant_id", type_=BigInteger)
_EID = bindparam("eid", type_=Text)
_NEW = (
    "tenant_id",
    "eid",
    "request",
    "target_id",
    "target_name",
    "plan",
    "state",
    "step",
    "iccid",
    "ordered_by",
    "due_at",
    "deadline_at",
    "created_at",
)
_MOVED = (
    "state",
    "step",
    "attempt",
    "iccid",
    "activation_sealed",
    "confirmed",
    "cancel_requested",
    "ending",
    "reason",
    "attention",
    "enabled_at",
    "source_billed",
    "target_billed",
    "due_at",
    "ended_at",
)

_ADD = compiled(
    upsert(swaps)
    .values({name: bindparam(name, type_=swaps.c[name].type) for name in _NEW})
    .on_conflict_do_nothing(index_elements=[swaps.c.request])
    .returning(*swaps.c)
)
_BY_REQUEST = compiled(select(*swaps.c).where(swaps.c.request == bindparam("request", type_=Text)))
_BY_ID = compiled(select(*swaps.c).where(swaps.c.tenant_id == _TENANT, swaps.c.id == _ID))
_OF_ESIM = compiled(select(swaps.c.id).where(swaps.c.eid == _EID, swaps.c.ended_at.is_(None)))
_state, _before, _open = (
    bindparam("state", type_=Text),
    bindparam("before", type_=BigInteger),
    bindparam("open_only", type_=Boolean),
)
_tenants = bindparam("tenants", type_=ARRAY(BigInteger))
_LIST = compiled(
    select(*swaps.c)
    .where(
        or_(_tenants.is_(None), swaps.c.tenant_id == func.any(_tenants)),
        or_(_EID.is_(None), swaps.c.eid == _EID),
        or_(_state.is_(None), swaps.c.state == _state),
        or_(_before.is_(None), swaps.c.id < _before),
        or_(~_open, swaps.c.ended_at.is_(None)),
    )
    .order_by(swaps.c.id.desc())
    .limit(bindparam("most", type_=Integer)),
    planned_by_values=True,
)
_LEDGER = compiled(select(*swap_steps.c).where(swap_steps.c.swap_id == _ID).order_by(swap_steps.c.id))
_EVENTS = compiled(select(*swap_events.c).where(swap_events.c.swap_id == _ID).order_by(swap_events.c.id))
_ACTIONS = compiled(select(*swap_actions.c).where(swap_actions.c.swap_id == _ID).order_by(swap_actions.c.number))
_OWNER = compiled(
    select(swaps.c.target_id, swaps.c.target_name)
    .where(swaps.c.tenant_id == _TENANT, swaps.c.eid == _EID, swaps.c.iccid == bindparam("iccid", type_=Text))
    .order_by(swaps.c.id.desc())
    .limit(1)
)
# Earlier than it was, even where it was due already: that is how the runner of a step sees that it was woken meanwhile.
WAKE = (
    update(swaps)
    .where(swaps.c.eid == func.any(bindparam("eids", type_=ARRAY(Text))), swaps.c.ended_at.is_(None))
    .values(due_at=func.least(swaps.c.due_at - _INSTANT, _NOW))
)
"""Makes the running swaps of the eSIMs `eids` due `now`; a part for statements that tell of cards."""
_WAKE = compiled(WAKE.returning(swaps.c.id))
_LET_GO = compiled(
    update(swaps)
    .where(swaps.c.id == _ID, swaps.c.claimed_by == bindparam("worker", type_=Uuid))
    .values(claimed_until=null())
)
_BEGIN = compiled(
    upsert(swap_steps)
    .values(
        {
            name: bindparam(name, type_=swap_steps.c[name].type)
            for name in ("tenant_id", "swap_id", "step", "attempt", "key", "started_at")
        }
    )
    .on_conflict_do_nothing()
)
_FINISH = compiled(
    update(swap_steps)
    .where(
        swap_steps.c.swap_id == _ID,
        swap_steps.c.step == bindparam("this_step", type_=Text),
        swap_steps.c.attempt == bindparam("this_attempt", type_=Integer),
        swap_steps.c.outcome.is_(None),
    )
    .values(
        finished_at=bindparam("finished", type_=_MOMENT),
        outcome=bindparam("came_to", type_=Text),
        evidence=bindparam("proof", type_=Text),
    )
)
_MOVE = update(swaps).where(
    swaps.c.id == _ID,
    swaps.c.version == bindparam("expected", type_=Integer),
    swaps.c.ended_at.is_(None),
)
_NEXT = {name: bindparam(f"new_{name}", type_=swaps.c[name].type) for name in _MOVED}
# A runner writes what it claimed, and gives the claim up; people write beside it, and leave the claim alone.
_WOKEN = swaps.c.due_at < bindparam("seen", type_=_MOMENT)
_ADVANCE = compiled(
    _MOVE.where(swaps.c.claimed_by == bindparam("worker", type_=Uuid))
    .values(
        version=swaps.c.version + 1,
        claimed_until=null(),
        **_NEXT | {"due_at": case((_WOKEN, func.least(_NEXT["due_at"], _NOW)), else_=_NEXT["due_at"])},
    )
    .returning(swaps.c.id)
)
_CHANGE = compiled(_MOVE.values(version=swaps.c.version + 1, **_NEXT).returning(*swaps.c))
_TELL = compiled(
    insert(swap_events).from_select(
        ["tenant_id", "swap_id", "at", "stage", "text", "evidence"],
        select(
            _TENANT,
            _ID,
            _NOW,
            *(func.unnest(bindparam(name, type_=ARRAY(Text))) for name in ("stages", "texts", "proofs")),
        ),
    )
)
_ASK = compiled(
    insert(swap_actions).from_select(
        ["tenant_id", "swap_id", "number", "about", "kind", "text", "options", "created_at"],
        select(
            _TENANT,
            _ID,
            select(func.coalesce(func.max(swap_actions.c.number), 0) + 1)
            .where(swap_actions.c.swap_id == _ID)
            .scalar_subquery(),
            bindparam("about", type_=Text),
            bindparam("kind", type_=Text),
            bindparam("text", type_=Text),
            bindparam("options", type_=ARRAY(Text)),
            _NOW,
        ),
    )
)
_RESOLVE = compiled(
    update(swap_actions)
    .where(
        swap_actions.c.swap_id == _ID,
        swap_actions.c.number == bindparam("this_number", type_=Integer),
        swap_actions.c.chosen == "",
    )
    .values(
        chosen=bindparam("choice", type_=Text),
        chosen_by=bindparam("who", type_=Text),
        chosen_at=_NOW,
    )
    .returning(swap_actions.c.number)
)


class Swaps:
    """Swaps and their histories. One object is one worker: it answers for its own claims only."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._worker = uuid4()

    async def add(self, new: NewSwap, now: datetime) -> Swap:
        """Store a new swap; a repetition of the same `request` gets the first one. Raises SwapRunning."""
        try:
            async with self._pool.transaction() as connection:
                row = await connection.fetch_one(_ADD, **swap_values(new, now))
                if row is None:
                    return swap_from(await connection.fetch_one(_BY_REQUEST, request=new.request))
                added = swap_from(row)
                await _write(connection, added, new.told, new.actions, now)
                return added
        except asyncpg.UniqueViolationError as taken:
            if taken.constraint_name != _RUNNING:
                raise
        running = await self.running(new.eid)
        if running is None:  # It has ended between the two looks.
            return await self.add(new, now)
        raise SwapRunning(running)

    async def requested(self, tenant_id: int, request: str) -> Swap | None:
        """The tenant's swap that this request made."""
        row = await self._pool.fetch_one(_BY_REQUEST, request=request)
        return swap_from(row) if row and row["tenant_id"] == tenant_id else None

    async def swap(self, tenant_id: int, swap_id: int) -> Swap | None:
        """One swap of the tenant."""
        row = await self._pool.fetch_one(_BY_ID, tenant_id=tenant_id, swap_id=swap_id)
        return swap_from(row) if row else None

    async def running(self, eid: Eid) -> int | None:
        """The swap of that eSIM that has not ended."""
        row = await self._pool.fetch_one(_OF_ESIM, eid=str(eid))
        return row["id"] if row else None

    async def swaps(self, tenants: Sequence[int] | None, chosen: Filter) -> list[Swap]:
        """Swaps of these tenants, None: of all; newest first."""
        rows = await self._pool.fetch(
            _LIST,
            tenants=None if tenants is None else list(tenants),
            eid=str(chosen.eid) if chosen.eid else None,
            state=chosen.state.value if chosen.state else None,
            before=chosen.before,
            open_only=chosen.open_only,
            most=chosen.most,
        )
        return [swap_from(row) for row in rows]

    async def history(self, swap_id: int) -> History:
        """Ledger, timeline and actions of a swap, each in order."""
        ledger = await self._pool.fetch(_LEDGER, swap_id=swap_id)
        events = await self._pool.fetch(_EVENTS, swap_id=swap_id)
        actions = await self._pool.fetch(_ACTIONS, swap_id=swap_id)
        return History(
            ledger=tuple(map(entry_from, ledger)),
            timeline=tuple(map(told_from, events)),
            actions=tuple(map(action_from, actions)),
        )

    async def owner_of(self, tenant_id: int, eid: Eid, iccid: Iccid) -> tuple[int, str] | None:
        """Id and name of the carrier from which an earlier swap of this eSIM brought that profile."""
        row = await self._pool.fetch_one(_OWNER, tenant_id=tenant_id, eid=str(eid), iccid=iccid.digits)
        return (row["target_id"], row["target_name"]) if row else None

    async def claim_due(self, now: datetime, most: int, lease_seconds: float) -> list[Claimed]:
        """Take up to `most` swaps that are due for `lease_seconds`, and begin their steps; no two callers get one."""
        rows = await self._pool.fetch(CLAIM_DUE, now=now, most=most, lease_seconds=lease_seconds, worker=self._worker)
        return [Claimed(swap=swap_from(row), history=history_from(row)) for row in rows]

    async def wake(self, eids: Collection[Eid], now: datetime) -> int:
        """The running swaps of these eSIMs are due; one that runs a step is due again right after it."""
        return len(await self._pool.fetch(_WAKE, eids=sorted(map(str, eids)), now=now))

    async def let_go(self, swap: Swap) -> None:
        """Give up the claim on a swap, if it is still ours."""
        await self._pool.execute(_LET_GO, swap_id=swap.id, worker=self._worker)

    async def begin(self, swap: Swap, key: str, now: datetime) -> None:
        """Write down that the swap's step and attempt are about to run; once, however often it is repeated."""
        await self._pool.execute(
            _BEGIN,
            tenant_id=swap.tenant_id,
            swap_id=swap.id,
            step=swap.step.value,
            attempt=swap.attempt,
            key=key,
            started_at=now,
        )

    async def advance(self, advance: Advance, seen: datetime, now: datetime) -> None:
        """One commit; due at once when the swap was woken after it was due at `seen`. Raises TransitionLost."""
        async with self._pool.transaction() as connection:
            row = await connection.fetch_one(_ADVANCE, worker=self._worker, seen=seen, now=now, **_moved(advance.swap))
            if row is None:
                raise TransitionLost(f"swap {advance.swap.id} was changed, or taken over")
            if advance.entry is not None:
                await _finish(connection, advance.swap.id, advance.entry)
            await _write(connection, advance.swap, advance.told, advance.actions, now)

    async def change(self, change: Change, now: datetime) -> Swap:
        """What people decide about a running swap. Raises TransitionLost."""
        async with self._pool.transaction() as connection:
            row = await connection.fetch_one(_CHANGE, **_moved(change.swap))
            if row is None:
                raise TransitionLost(f"swap {change.swap.id} was changed meanwhile")
            await _write(connection, change.swap, change.told, (), now)
            if change.resolved is not None:
                await _resolve(connection, change.swap, change.resolved, now)
            return swap_from(row)

    async def resolve(self, swap: Swap, action: Action, told: tuple[Told, ...], now: datetime) -> None:
        """What people choose about a swap that has ended. Raises TransitionLost."""
        async with self._pool.transaction() as connection:
            await _resolve(connection, swap, action, now)
            await _write(connection, swap, told, (), now)


def _moved(swap: Swap) -> dict[str, object]:
    values: dict[str, object] = {f"new_{name}": getattr(swap, name) for name in _MOVED}
    values["new_iccid"] = swap.iccid.digits if swap.iccid else None
    for name in ("state", "step", "ending"):
        member: SwapState | None = getattr(swap, name)
        values[f"new_{name}"] = member.value if member else None
    return values | {"swap_id": swap.id, "expected": swap.version}


async def _finish(connection: Connection, swap_id: int, entry: Entry) -> None:
    await connection.execute(
        _FINISH,
        swap_id=swap_id,
        this_step=entry.step.value,
        this_attempt=entry.attempt,
        finished=entry.finished_at,
        came_to=entry.outcome.value if entry.outcome else None,
        proof=entry.evidence,
    )


async def _write(
    connection: Connection, swap: Swap, told: tuple[Told, ...], actions: tuple[Action, ...], now: datetime
) -> None:
    row: dict[str, object] = {"tenant_id": swap.tenant_id, "swap_id": swap.id}
    if told:
        lines = {
            "stages": [line.stage.value if line.stage else None for line in told],
            "texts": [line.text for line in told],
            "proofs": [line.evidence for line in told],
        }
        await connection.execute(_TELL, **row, now=now, **lines)
    for action in actions:
        await connection.execute(
            _ASK,
            **row,
            about=action.about.value,
            kind=action.kind.value,
            text=action.text,
            options=list(action.options),
            now=now,
        )


async def _resolve(connection: Connection, swap: Swap, action: Action, now: datetime) -> None:
    row = await connection.fetch_one(
        _RESOLVE, swap_id=swap.id, this_number=action.number, choice=action.chosen, who=action.chosen_by, now=now
    )
    if row is None:
        raise TransitionLost(f"action {action.number} of swap {swap.id} is settled already")

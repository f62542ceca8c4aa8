"""Thousands of eSIMs whose swaps wait for their devices, put into the tables at once: each row is one the server made.

Every swap waits at `confirm_on_card`: the card was asked for its list two hours ago, and an earlier answer is kept. One
is due at every moment of an hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from rsp.identifiers import Eid, Iccid
from swap.plan import STEPS, Capabilities, Plan, Target, Way
from swap.swap import STATE_OF, StepName

TENANT = 1
TARGET = Iccid("8988211000000000029")
_TARGET_CARRIER = Target(
    id=2,
    name="partner",
    capabilities=Capabilities(
        can_allocate=False,
        can_release=False,
        can_set_billable=False,
        has_connectable_unbilled_state=False,
        reports_sessions=False,
    ),
)
_SWAPS = """
INSERT INTO swaps (tenant_id, eid, request, target_id, target_name, plan, state, step, iccid, confirmed, ordered_by,
                   due_at, deadline_at, created_at)
SELECT $1, eid, 'crowd-' || eid, 2, 'partner', $3, $4, $5, $6, true, 'bench',
       now() + $7 * interval '1 hour' * nth / cardinality($2::text[]), now() + interval '6 days',
       now() - $7 * interval '2 hours'
FROM unnest($2::text[]) WITH ORDINALITY AS made (eid, nth)
"""
_ESIMS = """
INSERT INTO esims (eid, tenant_id, eim_id, token, counter, eum_certificate, euicc_certificate, content_seq, content_at)
SELECT made.eid, $1, $3, 1, 0, repeat('x', 600)::bytea, repeat('x', 600)::bytea, 1, now()
FROM unnest($2::text[]) AS made (eid)
"""
_CONTACTS = "INSERT INTO esim_contacts (eid, tenant_id) SELECT eid, $1 FROM unnest($2::text[]) AS made (eid)"
_STEPS = """
INSERT INTO swap_steps (tenant_id, swap_id, step, attempt, key, started_at)
SELECT tenant_id, id, step, 1, 'swap-' || id || '-' || step || '-1', created_at FROM swaps WHERE eid = ANY($1::text[])
"""
_EVENTS = """
INSERT INTO swap_events (tenant_id, swap_id, at, stage, text)
SELECT tenant_id, id, created_at, 'allocation', 'allocation confirmed by bench' FROM swaps WHERE eid = ANY($1::text[])
"""
_ACTIONS = """
INSERT INTO swap_actions (tenant_id, swap_id, number, about, kind, text, options, created_at, chosen, chosen_by)
SELECT tenant_id, id, 1, 'allocation', 'task', 'confirm', '{}', created_at, 'confirmed', 'bench'
FROM swaps WHERE eid = ANY($1::text[])
"""
_OPERATIONS = """
INSERT INTO esim_operations (tenant_id, key, eid, kind, state, transaction_id, expires_at)
SELECT tenant_id, key, eid, 'list', 'queued', decode(md5(key), 'hex'), now() + interval '1 day'
FROM swap_steps JOIN swaps USING (tenant_id) WHERE swaps.id = swap_steps.swap_id AND eid = ANY($1::text[])
"""
_RESULTS = """
INSERT INTO eim_results (tenant_id, eid, raw, received_at, judged_at, verified, outcome)
SELECT $1, eid, repeat('x', 300)::bytea, now(), now(), true, 'done' FROM unnest($2::text[]) AS made (eid)
"""


async def waiting(connection: Any, eids: Sequence[Eid]) -> None:
    """Put those eSIMs and their waiting swaps into the tables of the asyncpg `connection`."""
    names = [str(eid) for eid in eids]
    async with connection.transaction():
        await connection.execute(_ESIMS, TENANT, names, "eim.example.com")
        await connection.execute(_CONTACTS, TENANT, names)
        await connection.execute(_SWAPS, *_swap_values(names), 1)
        for lines in (_STEPS, _EVENTS, _ACTIONS):
            await connection.execute(lines, names)
        await connection.execute(_OPERATIONS, names)
        await connection.execute(_RESULTS, TENANT, names)
    await connection.execute("ANALYZE")


async def known(connection: Any, eids: Sequence[Eid]) -> None:
    """Put eSIMs for which nothing waits into the tables."""
    names = [str(eid) for eid in eids]
    async with connection.transaction():
        await connection.execute(_ESIMS, TENANT, names, "eim.example.com")
        await connection.execute(_CONTACTS, TENANT, names)
    await connection.execute("ANALYZE esims, esim_contacts")


async def due(connection: Any, eids: Sequence[Eid]) -> None:
    """Swaps of eSIMs that are known, at `confirm_on_card` and due now: the runner is to ask their cards."""
    names = [str(eid) for eid in eids]
    await connection.execute(_SWAPS, *_swap_values(names), 0)


def _swap_values(names: list[str]) -> tuple[object, ...]:
    way = Way.CUSTOMER_HELD
    plan = Plan(eid=names[0], way=way, steps=STEPS[way], target=_TARGET_CARRIER, terms=None, source=None)
    step = StepName.CONFIRM
    text = msgspec.json.encode(plan).decode()
    return TENANT, names, text, STATE_OF[step].value, step.value, TARGET.digits

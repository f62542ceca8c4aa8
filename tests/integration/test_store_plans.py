"""With many orders in the database, no statement of a download reads a whole table, planned once as it is."""

from __future__ import annotations

import re

import asyncpg
from store_samples import EID, NOW, message, new_order, new_tenant, session, transaction

from rsp.identifiers import MatchingId
from smdp.order import Binding, OrderChange, OrderEvent
from smdp.ports import DownloadWrite, Verdict
from smdp.session import SessionChange, SessionEvent
from store.downloads import Downloads
from store.inbox import Inbox
from store.outbox import Outbox
from store.pool import Pool, open_pool
from tools.bench_flat import _FIRST, _ORDERS, _PROFILES, _SESSIONS

COUNT = 3000
_REPORTS = """
INSERT INTO notifications (raw, received_at, judged_at, verified, outcome, eid, seq_number)
SELECT 'r'::bytea, now(), now(), true, 'enabled', $1, n FROM generate_series(1, $2::int) AS n
"""
_TOLD = """
INSERT INTO outbox (tenant_id, line, kind, body, sent_at)
SELECT 1, 'line', 'kind', '{}', now() FROM generate_series(1, $1::int)
"""
_WHOLE = re.compile(r"Seq Scan on (orders|profiles|packages|sessions|notifications|outbox|smds_events)\b")


async def _filled(database: str) -> None:
    tables = await asyncpg.connect(database)
    try:
        await tables.execute(_PROFILES, _FIRST, 0, COUNT)
        await tables.execute(_ORDERS, _FIRST, 0, COUNT)
        await tables.execute(_SESSIONS, COUNT)
        await tables.execute(_REPORTS, str(EID), COUNT)
        await tables.execute(_TOLD, COUNT)
        # Every profile has a package of its own, as after an import.
        await tables.execute(
            "INSERT INTO packages SELECT gen_random_uuid(), tenant_id, segments, key_sealed, size, saip_major,"
            " saip_minor, created_at, services FROM packages, generate_series(1, $1::int)",
            COUNT,
        )
    finally:
        await tables.close()


async def _downloaded(pool: Pool, order_id: int, token: MatchingId) -> None:
    """A download from its first request to the judgement of its report."""
    store, inbox = Downloads(pool), Inbox(pool)
    await store.open_session(session())
    facts = await store.find_for_authentication(transaction(), token, EID)
    assert facts is not None
    assert facts.order is not None
    assert facts.order.id == order_id
    told = (message(tenant_id=facts.order.tenant_id),)
    accepted = SessionChange.of(facts.session, SessionEvent.AUTHENTICATE, order_id=order_id, eid=EID, euicc_key=b"k")
    step = OrderChange.of(facts.order, OrderEvent.AUTHENTICATE, eid=EID, count_download=True)
    await store.write(DownloadWrite(session=accepted, order=step, messages=told))
    found = await store.find_for_delivery(transaction())
    assert found is not None
    session_now, order = found.session, found.order
    assert order is not None
    delivered = SessionChange.of(session_now, SessionEvent.DELIVER, secure_channel=b"s")
    binding = Binding(euicc_otpk=b"p", otsk_sealed=b"s", host_id=b"h", ci_key_id=b"c")
    step = OrderChange.of(order, OrderEvent.DELIVER, binding=binding, handed_out=True)
    await store.write(DownloadWrite(session=delivered, order=step, messages=told))
    await inbox.keep_notification(b"report", NOW)
    (pending,) = await inbox.claim_notifications(64, 30.0)
    facts = (await store.find_sessions((transaction(),)))[transaction()]
    assert facts.order is not None
    assert facts.order.iccid in await store.find_orders((facts.order.iccid,))
    verdict = Verdict(notification_id=pending.id, verified=True, outcome="installed", transaction_id=transaction())
    reported = SessionChange.of(facts.session, SessionEvent.REPORT)
    step = OrderChange.of(facts.order, OrderEvent.INSTALL, installed_seq=1)
    await inbox.judge_all([(verdict, DownloadWrite(session=reported, order=step, messages=told))])


async def test_no_statement_of_a_download_reads_a_whole_table(database: str) -> None:
    pool = await open_pool(database, 1)
    tenant = await new_tenant(pool)
    order = await new_order(pool, tenant, event=OrderEvent.CONFIRM_AND_RELEASE)
    await pool.close()
    await _filled(database)
    pool = await open_pool(database, 1)
    assert order.matching_id is not None
    await _downloaded(pool, order.id, order.matching_id)
    outbox = Outbox(pool)
    for claimed in await outbox.claim_messages(8, 30.0):
        await outbox.sent(claimed.id)
    await Downloads(pool).expired_orders(NOW, 64)
    kept = pool._kept[0]
    plans = {}
    for sql, prepared in kept.prepared.items():
        given = ", ".join(["NULL"] * len(prepared.get_parameters()))
        asked = f"EXPLAIN EXECUTE {prepared.get_name()}" + (f"({given})" if given else "")
        plans[sql] = "\n".join(row[0] for row in await kept.connection.fetch(asked))
    assert len(plans) >= 13
    assert {sql: plan for sql, plan in plans.items() if _WHOLE.search(plan)} == {}
    await pool.close()

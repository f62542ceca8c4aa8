"""What is past its time goes, in batches, and nothing else does."""

import dataclasses
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace
from store_samples import EID, NOW, new_order, new_tenant

from rsp.identifiers import MatchingId, TransactionId
from smdp.event_ports import Wanted
from smdp.ports import Call, DownloadWrite, Verdict
from smdp.session import Session, SessionChange, SessionEvent, SessionState
from store.api_requests import ApiRequests
from store.compiled import Statement
from store.downloads import Downloads
from store.inbox import Inbox
from store.ordering import Orderings
from store.pool import Pool, open_pool
from store.retention import Retention, Retirement
from tenancy.principal import Principal, PrincipalKind


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    opened = await open_pool(database, 2)
    yield opened
    await opened.close()


def a_session(number: int) -> Session:
    return Session(
        transaction_id=TransactionId(number.to_bytes(16, "big")),
        state=SessionState.INITIATED,
        expires_at=NOW,
        server_address="smdp.example.com",
        server_challenge=bytes(16),
        ci_key_id=bytes(20),
        server_ci_key_id=bytes(20),
    )


async def delivered(pool: Pool, number: int) -> None:
    await Downloads(pool).open_session(a_session(number))
    for event in (SessionEvent.AUTHENTICATE, SessionEvent.DELIVER):
        facts = await Downloads(pool).find_session(a_session(number).transaction_id)
        assert facts is not None
        change = SessionChange.of(facts.session, event)
        if event is SessionEvent.DELIVER:
            change = replace(change, secure_channel=b"BF23")
        await Downloads(pool).write(DownloadWrite(session=change))


async def left(pool: Pool, *numbers: int) -> list[int]:
    """Which of these sessions are still there."""
    found = [(number, await Downloads(pool).find_session(a_session(number).transaction_id)) for number in numbers]
    return [number for number, facts in found if facts is not None]


async def test_requests_of_the_api_are_remembered_for_a_week(pool: Pool) -> None:
    owner, now = Principal(kind=PrincipalKind.ADMIN), await pool_time(pool)
    assert await ApiRequests(pool).claim(owner, "one", bytes(32), 0.0) is None
    await ApiRequests(pool).keep(owner, "one", bytes(32), (201, "/v1/x/1", b"{}"))
    assert await Retirement(pool).remove(now + timedelta(days=6)) == 0
    assert await ApiRequests(pool).claim(owner, "one", bytes(32), 0.0) is not None
    assert await Retirement(pool).remove(now + timedelta(days=8)) == 1
    assert await ApiRequests(pool).claim(owner, "one", bytes(32), 0.0) is None


async def test_abandoned_sessions_go_soon_and_delivered_ones_stay_for_the_cards_report(pool: Pool) -> None:
    await Downloads(pool).open_session(a_session(1))
    await delivered(pool, 2)
    now = (await pool_time(pool)) + timedelta(days=2)
    assert await Retirement(pool).remove(now) == 1
    assert await left(pool, 1, 2) == [2]
    assert await Retirement(pool).remove(now + timedelta(days=400)) == 1
    assert await left(pool, 1, 2) == []


async def test_a_session_in_use_is_not_touched(pool: Pool) -> None:
    await Downloads(pool).open_session(a_session(1))
    assert await Retirement(pool).remove(await pool_time(pool)) == 0
    assert await left(pool, 1) == [1]


async def test_unverified_notifications_go_before_verified_ones_and_unjudged_ones_never(pool: Pool) -> None:
    inbox = Inbox(pool)
    for raw in (b"unverified", b"verified", b"unjudged"):
        await inbox.keep_notification(raw, NOW)
    first, second = await inbox.claim_notifications(2, 60)
    await inbox.judge(Verdict(notification_id=first.id, verified=False, outcome="malformed"), None)
    told = Verdict(notification_id=second.id, verified=True, outcome="enable", seq_number=1)
    await inbox.judge(told, None)
    assert await Retirement(pool).remove(NOW + timedelta(days=31)) == 1
    assert await Retirement(pool).remove(NOW + timedelta(days=401)) == 1
    assert await Retirement(pool).remove(NOW + timedelta(days=4000)) == 0
    assert [pending.raw for pending in await inbox.claim_notifications(9, 60)] == [b"unjudged"]


async def test_results_of_calls_are_forgotten_after_their_time(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    call = Call(tenant_id=tenant, call_id="c-1", function="releaseProfile", digest=bytes(32))
    results: tuple[dict[str, str | None] | None, ...] = (None, {})
    for expected in results:
        async with Orderings(pool).begin(tenant) as work:
            assert await work.earlier_result(call) == expected
            await work.keep_result(call, {})
    assert await Retirement(pool).remove((await pool_time(pool)) + timedelta(days=31)) == 1
    async with Orderings(pool).begin(tenant) as work:
        assert await work.earlier_result(call) is None


async def test_withdrawn_events_are_forgotten_and_live_ones_never(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    order, now = await new_order(pool, tenant), await pool_time(pool)
    wanted = Wanted(order_id=order.id, smds_address="smds.example.com", eid=EID, event_id=MatchingId("GONE"))
    async with Orderings(pool).begin(tenant) as work:
        gone = await work.events.intend(wanted, 60.0)
        await work.events.disown(gone, "another party's")
        live = await work.events.intend(dataclasses.replace(wanted, event_id=MatchingId("LIVE")), 60.0)
        await work.events.registered(live)
    retirement = Retirement(pool, Retention(withdrawn_events=timedelta(days=1)))
    assert await retirement.remove(now) == 0
    assert await retirement.remove(now + timedelta(days=2)) == 1
    async with Orderings(pool).begin(tenant) as work:
        assert (await work.events.intend(dataclasses.replace(wanted, event_id=MatchingId("LIVE")), 60.0)).id == live.id


async def test_a_batch_has_a_size(pool: Pool) -> None:
    for number in range(5):
        await Downloads(pool).open_session(a_session(number + 1))
    retirement = Retirement(pool, Retention(), most=2)
    now = (await pool_time(pool)) + timedelta(days=2)
    assert [await retirement.remove(now) for _ in range(4)] == [2, 2, 1, 0]


async def pool_time(pool: Pool) -> datetime:
    """The time of the database, which stamped the rows."""
    row = await pool.fetch_one(Statement("SELECT now() AS now", ()))
    assert row is not None
    moment = row["now"]
    assert isinstance(moment, datetime)
    return moment

"""The download path: one read finds session and order; one write moves both, or neither."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace
from store_samples import (
    EID,
    OTHER_EID,
    iccid,
    message,
    new_order,
    new_session,
    new_tenant,
    session,
    transaction,
)

from rsp.identifiers import MatchingId
from smdp.order import Binding, OrderChange, OrderEvent, OrderState
from smdp.ports import DownloadWrite, Limits, TransitionLost
from smdp.session import SessionChange, SessionEvent, SessionState
from store.compiled import Statement
from store.downloads import Downloads
from store.ordering import Orderings
from store.outbox import Outbox
from store.pool import Arguments, Pool, Row, open_pool

BINDING = Binding(euicc_otpk=b"\x04" * 65, otsk_sealed=b"sealed otsk", host_id=b"host", ci_key_id=b"k" * 20)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    opened = await open_pool(database, 4)
    yield opened
    await opened.close()


async def stored(database: str, statement: str) -> Any:
    connection = await asyncpg.connect(database)
    try:
        return await connection.fetchrow(statement)
    finally:
        await connection.close()


async def test_a_session_is_found_as_it_was_stored(pool: Pool) -> None:
    store = Downloads(pool)
    opened = session()
    await store.open_session(opened)
    for facts in (
        await store.find_session(transaction()),
        await store.find_for_authentication(transaction(), None, None),
    ):
        assert facts is not None
        assert (facts.session, facts.order, facts.profile) == (opened, None, None)


async def test_an_unknown_session_is_not_found(pool: Pool) -> None:
    store = Downloads(pool)
    assert await store.find_session(transaction()) is None
    assert await store.find_for_authentication(transaction(), MatchingId("TOKEN-1"), EID) is None
    assert await store.find_for_delivery(transaction()) is None


async def test_a_matching_id_leads_to_its_order_profile_and_limits(pool: Pool) -> None:
    tenant = await new_tenant(pool, download_attempts=7)
    order = await new_order(pool, tenant, event=OrderEvent.CONFIRM_AND_RELEASE)
    await new_order(pool, tenant, 2, event=OrderEvent.CONFIRM_AND_RELEASE)
    await new_session(pool)
    facts = await Downloads(pool).find_for_authentication(transaction(), MatchingId("TOKEN-1"), None)
    assert facts is not None
    assert facts.profile is not None
    assert (facts.order, facts.limits) == (order, Limits(download_attempts=7))
    assert (facts.profile.saip_version, facts.profile.size, facts.profile.policy_rules) == (
        (2, 3),
        12345,
        frozenset({1, 2}),
    )
    assert facts.profile.metadata == b"\xbf\x25\x01"


async def test_an_unknown_matching_id_does_not_lead_to_the_order_of_the_eid(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    await bound_to(pool, await new_order(pool, tenant, event=OrderEvent.CONFIRM_AND_RELEASE))
    await new_session(pool, 9)
    facts = await Downloads(pool).find_for_authentication(transaction(9), MatchingId("TOKEN-X"), EID)
    assert facts is not None
    assert facts.order is None


async def bound_to(pool: Pool, order: Any) -> None:
    async with Orderings(pool).begin(order.tenant_id) as work:
        await work.change_order(replace(OrderChange.of(order, OrderEvent.AUTHENTICATE), eid=EID))


async def test_without_matching_id_the_oldest_downloadable_order_of_the_eid_is_found(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    unreleased = await new_order(pool, tenant, 1, event=OrderEvent.CONFIRM)
    async with Orderings(pool).begin(tenant) as work:
        await work.change_order(replace(OrderChange.of(unreleased, OrderEvent.CANCEL), eid=EID))
    for number in (2, 3):
        await bound_to(pool, await new_order(pool, tenant, number, event=OrderEvent.CONFIRM_AND_RELEASE))
    await new_session(pool)
    store = Downloads(pool)
    facts = await store.find_for_authentication(transaction(), None, EID)
    assert facts is not None
    assert facts.order is not None
    assert facts.order.iccid == iccid(2)
    stranger = await store.find_for_authentication(transaction(), None, OTHER_EID)
    assert stranger is not None
    assert stranger.order is None


async def test_a_session_with_an_order_keeps_it_whatever_the_matching_id(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    order = await new_order(pool, tenant, 1, event=OrderEvent.CONFIRM_AND_RELEASE)
    await new_order(pool, tenant, 2, event=OrderEvent.CONFIRM_AND_RELEASE)
    await new_session(pool, order_id=order.id)
    facts = await Downloads(pool).find_for_authentication(transaction(), MatchingId("TOKEN-2"), EID)
    assert facts is not None
    assert facts.order == order


async def test_an_installed_order_is_still_found_and_a_cancelled_one_is_not(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    installed = await new_order(pool, tenant, 1, event=OrderEvent.CONFIRM_AND_RELEASE)
    cancelled = await new_order(pool, tenant, 2, event=OrderEvent.CONFIRM_AND_RELEASE)
    async with Orderings(pool).begin(tenant) as work:
        await work.change_order(replace(OrderChange.of(installed, OrderEvent.FAIL), state=OrderState.INSTALLED))
        await work.change_order(OrderChange.of(cancelled, OrderEvent.CANCEL))
    await new_session(pool)
    store = Downloads(pool)
    first = await store.find_for_authentication(transaction(), MatchingId("TOKEN-1"), None)
    second = await store.find_for_authentication(transaction(), MatchingId("TOKEN-2"), None)
    assert first is not None
    assert second is not None
    assert first.order is not None
    assert (first.order.state, second.order) == (OrderState.INSTALLED, None)


async def test_an_open_order_goes_before_an_installed_one_of_the_same_matching_id(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    opened = await new_order(pool, tenant, 1, event=OrderEvent.CONFIRM)
    installed = await new_order(pool, tenant, 2, event=OrderEvent.CONFIRM_AND_RELEASE)
    async with Orderings(pool).begin(tenant) as work:
        await work.change_order(replace(OrderChange.of(installed, OrderEvent.FAIL), state=OrderState.INSTALLED))
        await work.change_order(replace(OrderChange.of(opened, OrderEvent.RELEASE), matching_id=installed.matching_id))
    await new_session(pool)
    facts = await Downloads(pool).find_for_authentication(transaction(), MatchingId("TOKEN-2"), None)
    assert facts is not None
    assert facts.order is not None
    assert facts.order.id == opened.id


async def test_delivery_finds_the_protected_package(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    order = await new_order(pool, tenant, 3, event=OrderEvent.CONFIRM_AND_RELEASE)
    await new_session(pool, 1, SessionState.AUTHENTICATED, order.id)
    await new_session(pool, 2)
    store = Downloads(pool)
    found = await store.find_for_delivery(transaction(1))
    assert found is not None
    assert found.package is not None
    assert (found.order, found.package.segments, found.package.key_sealed) == (order, b"segments" * 3, b"sealed")
    without = await store.find_for_delivery(transaction(2))
    assert without is not None
    assert without.package is None


async def test_a_write_moves_session_and_order_and_leaves_a_message(pool: Pool) -> None:
    order = await new_order(pool, await new_tenant(pool), event=OrderEvent.CONFIRM_AND_RELEASE)
    opened = await new_session(pool, 1, SessionState.AUTHENTICATED, order.id)
    store = Downloads(pool)
    await store.write(
        DownloadWrite(
            session=replace(
                SessionChange.of(opened, SessionEvent.DELIVER), download_digest=b"d" * 32, secure_channel=b"BF23"
            ),
            order=replace(OrderChange.of(order, OrderEvent.DELIVER), eid=EID, binding=BINDING, count_download=True),
            messages=(message("a"), message("b")),
        )
    )
    facts = await store.find_session(transaction())
    assert facts is not None
    assert facts.session == replace(
        opened, state=SessionState.DELIVERED, download_digest=b"d" * 32, secure_channel=b"BF23"
    )
    assert facts.order == replace(
        order, state=OrderState.DOWNLOADED, version=order.version + 1, eid=EID, binding=BINDING, download_attempts=1
    )
    assert (await Outbox(pool).depth())[0] == 2


async def test_a_session_that_moved_on_loses_the_whole_write(pool: Pool) -> None:
    order = await new_order(pool, await new_tenant(pool), event=OrderEvent.CONFIRM_AND_RELEASE)
    opened = await new_session(pool, 1, SessionState.AUTHENTICATED, order.id)
    store = Downloads(pool)
    await store.write(DownloadWrite(session=SessionChange.of(opened, SessionEvent.END)))
    with pytest.raises(TransitionLost):
        await store.write(
            DownloadWrite(
                session=SessionChange.of(opened, SessionEvent.DELIVER),
                order=OrderChange.of(order, OrderEvent.DELIVER),
                messages=(message(),),
            )
        )
    facts = await store.find_session(transaction())
    assert facts is not None
    assert (facts.session.state, facts.order) == (SessionState.ENDED, order)
    assert (await Outbox(pool).depth())[0] == 0


@pytest.mark.parametrize("wrong", [{"version": 99}, {"expected": OrderState.DOWNLOADED}, {"order_id": 4711}])
async def test_an_order_that_is_elsewhere_loses_the_whole_write(pool: Pool, wrong: dict[str, Any]) -> None:
    order = await new_order(pool, await new_tenant(pool), event=OrderEvent.CONFIRM_AND_RELEASE)
    opened = await new_session(pool, 1, SessionState.AUTHENTICATED, order.id)
    store = Downloads(pool)
    with pytest.raises(TransitionLost):
        await store.write(
            DownloadWrite(
                session=SessionChange.of(opened, SessionEvent.DELIVER),
                order=replace(OrderChange.of(order, OrderEvent.DELIVER), **wrong),
                messages=(message(),),
            )
        )
    facts = await store.find_session(transaction())
    assert facts is not None
    assert (facts.session, facts.order) == (opened, order)
    assert (await Outbox(pool).depth())[0] == 0


async def test_of_many_writes_of_the_same_step_one_wins(pool: Pool) -> None:
    order = await new_order(pool, await new_tenant(pool), event=OrderEvent.CONFIRM_AND_RELEASE)
    opened = [await new_session(pool, number, SessionState.AUTHENTICATED, order.id) for number in range(1, 9)]
    store = Downloads(pool)
    results = await asyncio.gather(
        *(
            store.write(
                DownloadWrite(
                    session=SessionChange.of(each, SessionEvent.DELIVER),
                    order=replace(OrderChange.of(order, OrderEvent.DELIVER), count_download=True),
                    messages=(message(),),
                )
            )
            for each in opened
        ),
        return_exceptions=True,
    )
    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, TransitionLost) for result in results) == 7
    facts = await store.find_session(transaction(1))
    assert facts is not None
    assert facts.order is not None
    assert (facts.order.download_attempts, (await Outbox(pool).depth())[0]) == (1, 1)


async def test_a_wrong_code_is_counted(pool: Pool) -> None:
    order = await new_order(pool, await new_tenant(pool), event=OrderEvent.CONFIRM_AND_RELEASE)
    opened = await new_session(pool, 1, SessionState.AUTHENTICATED, order.id)
    store = Downloads(pool)
    await store.write(
        DownloadWrite(
            session=SessionChange.of(opened, SessionEvent.REFUSE_CODE),
            order=replace(OrderChange.of(order, OrderEvent.REFUSE_CODE), count_confirmation=True),
        )
    )
    facts = await store.find_session(transaction())
    assert facts is not None
    assert facts.order is not None
    assert (facts.order.confirmation_attempts, facts.order.download_attempts) == (1, 0)


async def test_the_end_of_an_order_destroys_its_secrets(pool: Pool, database: str) -> None:
    order = await new_order(pool, await new_tenant(pool), event=OrderEvent.CONFIRM_AND_RELEASE)
    opened = await new_session(pool, 1, SessionState.AUTHENTICATED, order.id)
    store = Downloads(pool)
    delivered = replace(OrderChange.of(order, OrderEvent.DELIVER), binding=BINDING)
    await store.write(DownloadWrite(session=SessionChange.of(opened, SessionEvent.DELIVER), order=delivered))
    facts = await store.find_session(transaction())
    assert facts is not None
    assert facts.order is not None
    installed = OrderChange.of(facts.order, OrderEvent.INSTALL)
    await store.write(DownloadWrite(session=SessionChange.of(facts.session, SessionEvent.REPORT), order=installed))
    row = await stored(database, "SELECT * FROM orders")
    secret = ("key_sealed", "confirmation_sealed", "otsk_sealed", "euicc_otpk", "host_id", "ci_key_id")
    assert [row[name] for name in secret] == [None] * 6
    assert row["ended_at"] is not None


async def test_every_method_is_one_statement(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The promise of one round trip and one commit: the pool is asked once, for one run of one statement."""
    order = await new_order(pool, await new_tenant(pool), event=OrderEvent.CONFIRM_AND_RELEASE)
    opened = session(1, SessionState.AUTHENTICATED, order.id)
    store = Downloads(pool)
    asked: list[int] = []
    run = pool.run

    async def counted(statement: Statement, runs: Sequence[Arguments]) -> list[Row]:
        asked.append(len(runs))
        return await run(statement, runs)

    monkeypatch.setattr(pool, "run", counted)
    await store.open_session(opened)
    await store.find_for_authentication(opened.transaction_id, MatchingId("TOKEN-1"), EID)
    await store.find_for_delivery(opened.transaction_id)
    await store.write(
        DownloadWrite(
            session=SessionChange.of(opened, SessionEvent.DELIVER),
            order=OrderChange.of(order, OrderEvent.DELIVER),
            messages=(message(),),
        )
    )
    assert asked == [1, 1, 1, 1]

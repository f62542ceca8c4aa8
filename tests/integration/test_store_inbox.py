"""Notifications: kept before judged, judged once, and with their consequences in one commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace
from store_samples import (
    EID,
    NOW,
    OTHER_EID,
    iccid,
    message,
    new_order,
    new_session,
    new_tenant,
    session,
    transaction,
)

from smdp.order import OrderChange, OrderEvent, OrderState
from smdp.ports import DownloadWrite, TransitionLost, Verdict
from smdp.session import SessionChange, SessionEvent, SessionState
from store.downloads import Downloads
from store.inbox import Inbox
from store.outbox import Outbox
from store.pool import Pool, open_pool


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    opened = await open_pool(database, 4)
    yield opened
    await opened.close()


async def outcomes(database: str) -> list[Any]:
    connection = await asyncpg.connect(database)
    try:
        return [tuple(row) for row in await connection.fetch("SELECT verified, outcome FROM notifications ORDER BY id")]
    finally:
        await connection.close()


async def kept(pool: Pool, *raw: bytes) -> list[int]:
    inbox = Inbox(pool)
    for each in raw:
        await inbox.keep_notification(each, NOW)
    return [pending.id for pending in await inbox.claim_notifications(100, 60.0)]


def installed(number: int, **members: Any) -> Verdict:
    values: dict[str, Any] = {"transaction_id": transaction(), "eid": EID, "seq_number": 5, "iccid": iccid()}
    return Verdict(notification_id=number, verified=True, outcome="installed", **(values | members))


async def downloaded(pool: Pool) -> DownloadWrite:
    """The consequence of an installation report for a fresh order."""
    order = await new_order(pool, await new_tenant(pool), event=OrderEvent.CONFIRM_AND_RELEASE)
    opened = await new_session(pool, 1, SessionState.AUTHENTICATED, order.id)
    store = Downloads(pool)
    await store.write(
        DownloadWrite(
            session=SessionChange.of(opened, SessionEvent.DELIVER), order=OrderChange.of(order, OrderEvent.DELIVER)
        )
    )
    facts = await store.find_session(transaction())
    assert facts is not None
    assert facts.order is not None
    return DownloadWrite(
        session=SessionChange.of(facts.session, SessionEvent.REPORT),
        order=OrderChange.of(facts.order, OrderEvent.INSTALL),
        messages=(message(),),
    )


async def test_kept_bytes_come_back_as_they_came(pool: Pool) -> None:
    inbox = Inbox(pool)
    await inbox.keep_notification(b"\x00garbage\xff", NOW)
    (pending,) = await inbox.claim_notifications(10, 60.0)
    assert (pending.raw, pending.received_at) == (b"\x00garbage\xff", NOW)


async def test_a_claimed_notification_is_not_claimed_again(pool: Pool) -> None:
    await kept(pool, b"1", b"2")
    assert await Inbox(pool).claim_notifications(10, 60.0) == []


async def test_a_notification_whose_worker_died_is_claimed_again(pool: Pool) -> None:
    inbox = Inbox(pool)
    await inbox.keep_notification(b"1", NOW)
    first = await inbox.claim_notifications(10, 0.0)
    assert await inbox.claim_notifications(10, 60.0) == first


async def test_claims_of_many_workers_do_not_overlap(pool: Pool) -> None:
    inbox = Inbox(pool)
    for number in range(20):
        await inbox.keep_notification(bytes([number]), NOW)
    claims = await asyncio.gather(*(inbox.claim_notifications(5, 60.0) for _ in range(8)))
    taken = [pending.id for each in claims for pending in each]
    assert len(taken) == len(set(taken))


async def test_a_verdict_and_its_consequences_are_stored(pool: Pool, database: str) -> None:
    write = await downloaded(pool)
    (number,) = await kept(pool, b"1")
    await Inbox(pool).judge(installed(number), write)
    facts = await Downloads(pool).find_session(transaction())
    assert facts is not None
    assert facts.order is not None
    assert (facts.session.state, facts.order.state) == (SessionState.REPORTED, OrderState.INSTALLED)
    assert (await Outbox(pool).depth())[0] == 1
    assert await outcomes(database) == [(True, "installed")]


async def test_a_judged_notification_is_not_claimed_again(pool: Pool) -> None:
    inbox = Inbox(pool)
    await inbox.keep_notification(b"1", NOW)
    (pending,) = await inbox.claim_notifications(10, 0.0)
    await inbox.judge(Verdict(notification_id=pending.id, verified=False, outcome="malformed"), None)
    assert await inbox.claim_notifications(10, 60.0) == []


async def test_a_lost_consequence_leaves_the_notification_unjudged(pool: Pool, database: str) -> None:
    write = await downloaded(pool)
    (number,) = await kept(pool, b"1")
    await Downloads(pool).write(
        DownloadWrite(session=SessionChange.of(session(1, SessionState.DELIVERED), SessionEvent.END))
    )
    with pytest.raises(TransitionLost):
        await Inbox(pool).judge(installed(number), write)
    assert await outcomes(database) == [(False, None)]
    assert (await Outbox(pool).depth())[0] == 0


async def test_a_second_report_of_a_session_is_a_duplicate_without_consequences(pool: Pool, database: str) -> None:
    write = await downloaded(pool)
    first, second = await kept(pool, b"1", b"1")
    inbox = Inbox(pool)
    await inbox.judge(installed(first), write)
    await inbox.judge(installed(second, eid=OTHER_EID, seq_number=6), write)
    assert await outcomes(database) == [(True, "installed"), (True, "duplicate")]
    assert (await Outbox(pool).depth())[0] == 1


async def test_of_copies_judged_at_once_one_has_consequences(pool: Pool, database: str) -> None:
    write = await downloaded(pool)
    numbers = await kept(pool, *(b"1" for _ in range(6)))
    inbox = Inbox(pool)
    await asyncio.gather(*(inbox.judge(installed(number), write) for number in numbers))
    found = sorted(outcome for _, outcome in await outcomes(database))
    assert found == ["duplicate"] * 5 + ["installed"]
    assert (await Outbox(pool).depth())[0] == 1


async def test_other_notifications_are_known_by_eid_and_sequence_number(pool: Pool, database: str) -> None:
    numbers = await kept(pool, b"1", b"2", b"3", b"4")
    inbox = Inbox(pool)
    for number, eid, sequence in zip(numbers, (EID, EID, OTHER_EID, EID), (5, 6, 5, 5), strict=True):
        verdict = Verdict(notification_id=number, verified=True, outcome="enabled", eid=eid, seq_number=sequence)
        await inbox.judge(verdict, None)
    assert [outcome for _, outcome in await outcomes(database)] == ["enabled", "enabled", "enabled", "duplicate"]


async def test_an_installation_result_does_not_take_the_number_of_another_notification(
    pool: Pool, database: str
) -> None:
    first, second = await kept(pool, b"1", b"2")
    inbox = Inbox(pool)
    await inbox.judge(installed(first), None)
    event = Verdict(notification_id=second, verified=True, outcome="enabled", eid=EID, seq_number=5)
    await inbox.judge(event, None)
    assert [outcome for _, outcome in await outcomes(database)] == ["installed", "enabled"]


async def test_an_unverified_notification_takes_no_identity(pool: Pool, database: str) -> None:
    first, second = await kept(pool, b"forged", b"real")
    inbox = Inbox(pool)
    forged = installed(first)
    await inbox.judge(
        Verdict(notification_id=first, verified=False, outcome="bad-signature", transaction_id=forged.transaction_id),
        None,
    )
    await inbox.judge(installed(second), None)
    assert await outcomes(database) == [(False, "bad-signature"), (True, "installed")]


async def test_a_notification_is_judged_once(pool: Pool) -> None:
    (number,) = await kept(pool, b"1")
    verdict = Verdict(notification_id=number, verified=False, outcome="malformed")
    await Inbox(pool).judge(verdict, None)
    with pytest.raises(TransitionLost):
        await Inbox(pool).judge(verdict, None)


async def test_verdicts_of_a_crowd_are_stored_in_one_commit(pool: Pool, database: str) -> None:
    ids = await kept(pool, b"report", b"noise", b"event")
    write = await downloaded(pool)
    judgements = [
        (installed(ids[0]), write),
        (Verdict(notification_id=ids[1], verified=False, outcome="malformed"), None),
        (Verdict(notification_id=ids[2], verified=True, outcome="enabled", eid=OTHER_EID, seq_number=9), None),
    ]
    await Inbox(pool).judge_all(judgements)
    assert await outcomes(database) == [(True, "installed"), (False, "malformed"), (True, "enabled")]
    facts = await Downloads(pool).find_session(transaction())
    assert facts is not None
    assert facts.order is not None
    assert (facts.session.state, facts.order.state) == (SessionState.REPORTED, OrderState.INSTALLED)


@pytest.mark.parametrize("spoiler", ["moved row", "identity taken", "judged by another"])
async def test_one_bad_verdict_and_nothing_of_the_crowd_is_stored(pool: Pool, database: str, spoiler: str) -> None:
    ids = await kept(pool, b"earlier", b"first", b"bad", b"last")
    inbox = Inbox(pool)
    await inbox.judge(Verdict(notification_id=ids[0], verified=True, outcome="enabled", eid=EID, seq_number=1), None)
    write = await downloaded(pool)
    assert write.session is not None
    bad: tuple[Verdict, DownloadWrite | None] = {
        "moved row": (installed(ids[2]), DownloadWrite(session=replace(write.session, expected=SessionState.ENDED))),
        "identity taken": (
            Verdict(notification_id=ids[2], verified=True, outcome="disabled", eid=EID, seq_number=1),
            None,
        ),
        "judged by another": (Verdict(notification_id=ids[0], verified=False, outcome="malformed"), None),
    }[spoiler]
    good = [Verdict(notification_id=number, verified=False, outcome="malformed") for number in (ids[1], ids[3])]
    with pytest.raises(TransitionLost):
        await inbox.judge_all([(good[0], None), bad, (good[1], None)])
    assert await outcomes(database) == [(True, "enabled"), (False, None), (False, None), (False, None)]

"""Messages leave in the order of their line, one worker at a time, and again after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from store_samples import message, new_tenant

from smdp.ports import ClaimedMessage
from store.changes import told
from store.compiled import Statement
from store.ordering import Orderings
from store.outbox import Outbox
from store.pool import Pool, open_pool

LEASE = 60.0


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    opened = await open_pool(database, 6)
    yield opened
    await opened.close()


async def put(pool: Pool, *texts: str, line: str = "line") -> None:
    async with Orderings(pool).begin(1) as work:
        for text in texts:
            await work.tell(message(line, text))


def text_of(claimed: ClaimedMessage) -> str:
    return claimed.body.decode().partition('"detail":"')[2].partition('"')[0]


async def claim(outbox: Outbox, most: int = 10, lease: float = LEASE) -> list[str]:
    return [text_of(claimed) for claimed in await outbox.claim_messages(most, lease)]


async def test_only_the_head_of_a_line_is_claimed(pool: Pool) -> None:
    await put(pool, "a1", "a2", line="a")
    await put(pool, "b1", "b2", line="b")
    assert await claim(Outbox(pool)) == ["a1", "b1"]


async def test_a_claimed_head_holds_its_line(pool: Pool) -> None:
    await put(pool, "1", "2")
    assert await claim(Outbox(pool)) == ["1"]
    assert await claim(Outbox(pool)) == []


async def test_the_next_comes_when_the_head_is_sent(pool: Pool) -> None:
    await put(pool, "1", "2")
    outbox = Outbox(pool)
    (head,) = await outbox.claim_messages(10, LEASE)
    await outbox.sent(head.id)
    assert await claim(Outbox(pool)) == ["2"]


async def test_a_line_waits_for_the_retry_of_its_head(pool: Pool) -> None:
    await put(pool, "1", "2")
    outbox = Outbox(pool)
    (head,) = await outbox.claim_messages(10, LEASE)
    await outbox.retry(head.id, 3600.0, "connection refused")
    assert await claim(outbox) == []


async def test_a_head_that_is_due_again_comes_with_the_same_bytes_and_one_more_attempt(pool: Pool) -> None:
    await put(pool, "1", "2")
    outbox = Outbox(pool)
    (first,) = await outbox.claim_messages(10, LEASE)
    await outbox.retry(first.id, 0.0, "connection refused")
    (again,) = await outbox.claim_messages(10, LEASE)
    assert (again.id, again.body) == (first.id, first.body)
    assert (first.attempts, again.attempts) == (1, 2)


async def test_a_message_told_to_a_waiting_line_waits_too(pool: Pool) -> None:
    await put(pool, "1")
    outbox = Outbox(pool)
    (head,) = await outbox.claim_messages(10, LEASE)
    await outbox.retry(head.id, 3600.0, "connection refused")
    await put(pool, "2")
    assert await claim(outbox) == []


async def test_a_buried_message_lets_its_line_go_on(pool: Pool) -> None:
    await put(pool, "1", "2")
    outbox = Outbox(pool)
    (head,) = await outbox.claim_messages(10, LEASE)
    await outbox.bury(head.id, "404")
    assert await claim(outbox) == ["2"]


async def test_a_crash_before_sent_repeats_the_same_bytes(pool: Pool) -> None:
    await put(pool, "1", "2")
    (lost,) = await Outbox(pool).claim_messages(10, 0.0)
    (again,) = await Outbox(pool).claim_messages(10, LEASE)
    assert (again.id, again.body) == (lost.id, lost.body)


async def test_a_worker_whose_lease_was_taken_over_cannot_let_the_line_go_on(pool: Pool) -> None:
    await put(pool, "1", "2")
    slow, quick = Outbox(pool), Outbox(pool)
    (head,) = await slow.claim_messages(10, 0.0)
    await quick.claim_messages(10, LEASE)
    await slow.sent(head.id)
    await slow.bury(head.id, "too late")
    await slow.retry(head.id, 0.0, "too late")
    assert await claim(quick) == []
    assert (await quick.depth())[0] == 2


async def test_no_more_than_asked_for_is_claimed(pool: Pool) -> None:
    for number in range(5):
        await put(pool, str(number), line=str(number))
    assert await claim(Outbox(pool), 2) == ["0", "1"]
    assert await claim(Outbox(pool), 10) == ["2", "3", "4"]


async def test_many_workers_send_everything_once_and_in_order(pool: Pool) -> None:
    for line in range(6):
        await put(pool, *(f"{line}.{number}" for number in range(5)), line=str(line))
    sent: list[str] = []

    async def work() -> None:
        outbox = Outbox(pool)
        while (await outbox.depth())[0]:
            for claimed in await outbox.claim_messages(3, LEASE):
                sent.append(text_of(claimed))
                await outbox.sent(claimed.id)

    await asyncio.gather(*(work() for _ in range(5)))
    for line in range(6):
        assert [text for text in sent if text.startswith(f"{line}.")] == [f"{line}.{number}" for number in range(5)]
    assert len(sent) == 30


async def test_depth_counts_what_is_unsent(pool: Pool) -> None:
    outbox = Outbox(pool)
    assert await outbox.depth() == (0, 0.0)
    await put(pool, "1", "2")
    (head,) = await outbox.claim_messages(10, LEASE)
    await outbox.sent(head.id)
    unsent, age = await outbox.depth()
    assert unsent == 1
    assert age > 0


async def test_a_message_of_an_undone_work_is_not_sent(pool: Pool) -> None:
    tenant = await new_tenant(pool)

    async def fail() -> None:
        async with Orderings(pool).begin(tenant) as work:
            await work.tell(message())
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await claim(Outbox(pool)) == []


async def test_what_nobody_asked_to_be_told_is_kept_and_never_claimed(pool: Pool) -> None:
    silent = await new_tenant(pool, "Silent", callback_url="")
    told = await new_tenant(pool, "Told")
    async with Orderings(pool).begin(silent) as work:
        await work.tell(replace(message("silent", "s1"), tenant_id=silent))
        await work.tell(replace(message("silent", "s2"), tenant_id=silent, kind="another kind"))
        await work.tell(replace(message("told", "t1"), tenant_id=told))
    outbox = Outbox(pool)
    assert await claim(outbox) == ["s2", "t1"]
    rows = await pool.fetch(
        Statement("SELECT buried_at IS NOT NULL AS buried, last_error, attempts FROM outbox ORDER BY id", ())
    )
    assert [tuple(row) for row in rows] == [
        (True, "the operator has no callback address", 0),
        (False, None, 1),
        (False, None, 1),
    ]


async def test_messages_keep_the_order_in_which_one_write_brought_them(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    messages = tuple(replace(message("line", f"m{number}"), tenant_id=tenant) for number in range(20))
    statement, values = told(messages)
    await pool.execute(statement, **values)
    rows = await pool.fetch(Statement("SELECT body FROM outbox ORDER BY id", ()))
    assert [row["body"].partition('"detail":"')[2].partition('"')[0] for row in rows] == [f"m{n}" for n in range(20)]

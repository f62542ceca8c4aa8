"""A step of an order changes what it says and nothing else, whatever it combines."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from store_samples import EID, NOW, OTHER_EID, message, new_order, new_tenant

from rsp.identifiers import MatchingId
from smdp.order import Binding, CardReport, CardState, OrderChange, OrderEvent, OrderState
from smdp.ports import DownloadWrite, TransitionLost
from store.compiled import Statement
from store.downloads import Downloads
from store.pool import Pool, open_pool

STEPS = 90
_ROW = Statement("SELECT * FROM orders WHERE id = $1", ("order_id",))
_SECRETS = ("key_sealed", "confirmation_sealed", "otsk_sealed")
_BINDING = ("euicc_otpk", "otsk_sealed", "host_id", "ci_key_id")
_CARD = ("eid", "imei", "installed_seq", "card_state", "card_seq", "card_at")


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    opened = await open_pool(database, 2)
    yield opened
    await opened.close()


def _any_change(dice: random.Random, row: dict[str, Any]) -> OrderChange:
    """A step with any members, all of them possible for the table but not for the role."""

    def some(value: Any) -> Any:
        return value if dice.random() < 0.4 else None

    tag = dice.randbytes(4)
    return OrderChange(
        order_id=row["id"],
        expected=OrderState(row["state"]),
        version=row["version"],
        state=dice.choice(list(OrderState)),
        eid=some(dice.choice([EID, OTHER_EID])),
        matching_id=some(MatchingId(f"TOKEN-{tag.hex().upper()}")),
        key_sealed=some(b"key" + tag),
        confirmation_sealed=some(b"code" + tag),
        binding=some(Binding(euicc_otpk=b"p" + tag, otsk_sealed=b"s" + tag, host_id=b"h" + tag, ci_key_id=b"c" + tag)),
        expires_at=some(NOW + timedelta(seconds=dice.randrange(1000))),
        eid_named=some(dice.random() < 0.5),
        imei=some(f"{dice.randrange(10**14):014d}"),
        handed_out=some(dice.random() < 0.5),
        awaiting=some(tag),
        installed_seq=some(dice.randrange(1000)),
        card=some(CardReport(state=dice.choice(list(CardState)), seq_number=dice.randrange(1000), at=NOW)),
        smds_address=some("smds.example.com"),
        **{
            name: dice.random() < 0.3
            for name in (
                "withdraws",
                "count_download",
                "count_confirmation",
                "count_redownload",
                "reset_attempts",
                "unbind",
                "settle",
                "forget_card",
                # Once it has ended there are no secrets any more to be brought.
                "keeps_open",
            )
        },
    )


def _expected(row: dict[str, Any], change: OrderChange) -> dict[str, Any]:
    """What the row holds after `change`, without its times."""
    after = dict(row) | {"state": change.state.value, "version": row["version"] + 1}
    brought: dict[str, Any] = {
        name: getattr(change, name)
        for name in (
            "key_sealed",
            "confirmation_sealed",
            "expires_at",
            "eid_named",
            "imei",
            "handed_out",
            "awaiting",
            "installed_seq",
            "smds_address",
        )
    }
    brought["eid"] = str(change.eid) if change.eid else None
    brought["matching_id"] = str(change.matching_id) if change.matching_id else None
    if change.binding:
        brought |= {name: getattr(change.binding, name) for name in _BINDING}
    if change.card:
        brought |= {
            "card_state": change.card.state.value,
            "card_seq": change.card.seq_number,
            "card_at": change.card.at,
        }
    after |= {name: value for name, value in brought.items() if value is not None}
    if change.reset_attempts:
        after |= {"confirmation_attempts": 0, "download_attempts": 0}
    after["confirmation_attempts"] += change.count_confirmation
    after["download_attempts"] += change.count_download
    after["redownloads"] += change.count_redownload
    if change.ends or change.unbind:
        after |= dict.fromkeys(_BINDING)
    if change.ends:
        after |= dict.fromkeys(_SECRETS)
    if change.settle:
        after["awaiting"] = None
    if change.forget_card:
        after |= dict.fromkeys(_CARD)
    return after


def _without_times(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("ended_at", "changed_at")}


async def test_any_step_does_what_it_says_and_nothing_else(pool: Pool) -> None:
    dice = random.Random(20261129)
    tenant = await new_tenant(pool)
    store = Downloads(pool)
    for number in range(1, STEPS + 1):
        if number % 3 == 1:  # A row of its own for every three steps: most of them end it.
            order = await new_order(pool, tenant, number, event=OrderEvent.CONFIRM_AND_RELEASE)
        row = dict((await pool.fetch(_ROW, order_id=order.id))[0])
        change = _any_change(dice, row)
        if row["ended_at"] is not None:
            change = replace(change, key_sealed=None, confirmation_sealed=None, binding=None)
        messages = tuple(message(text=f"{n}", tenant_id=tenant) for n in range(dice.randrange(3)))
        await store.write(DownloadWrite(order=change, messages=messages))
        after = dict((await pool.fetch(_ROW, order_id=order.id))[0])
        assert _without_times(after) == _without_times(_expected(row, change)), change
        assert (after["ended_at"] is not None) == (row["ended_at"] is not None or change.ends)
        assert row["ended_at"] in (None, after["ended_at"])
        assert after["changed_at"] > row["changed_at"]
        told = await pool.fetch(Statement("DELETE FROM outbox RETURNING body", ()))
        assert len(told) == len(messages)


async def test_a_step_from_elsewhere_changes_and_tells_nothing(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    order = await new_order(pool, tenant, event=OrderEvent.CONFIRM_AND_RELEASE)
    row = (await pool.fetch(_ROW, order_id=order.id))[0]
    step = OrderChange.of(order, OrderEvent.AUTHENTICATE, count_download=True)
    for changed in (
        {"version": order.version + 1},
        {"expected": OrderState.ALLOCATED},
        {"order_id": order.id + 1},
    ):
        write = DownloadWrite(order=replace(step, **changed), messages=(message(tenant_id=tenant),))
        with pytest.raises(TransitionLost):
            await Downloads(pool).write(write)
    assert (await pool.fetch(_ROW, order_id=order.id))[0] == row
    assert await pool.fetch(Statement("SELECT 1 FROM outbox", ())) == []

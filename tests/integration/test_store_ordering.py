"""ES2+ works, stock and operators: locked, guarded, one tenant at a time."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from store_samples import EID, iccid, new_order, new_profile, new_tenant

from rsp.errors import Refused
from rsp.identifiers import MatchingId
from rsp.status import Status
from smdp.order import Order, OrderChange, OrderEvent, OrderState, ProfileState
from smdp.ports import Call, ProfileExists, StockProfile, TransitionLost
from store.directory import Operators
from store.ordering import Orderings
from store.pool import Pool, open_pool
from store.stock import Stock
from tenancy.operator import Operator, OperatorExists


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    opened = await open_pool(database, 6)
    yield opened
    await opened.close()


def call(tenant: int, call_id: str = "FCI-1", function: str = "downloadOrder", digest: bytes = b"d" * 32) -> Call:
    return Call(tenant_id=tenant, call_id=call_id, function=function, digest=digest)


async def test_a_repeated_call_gets_its_earlier_result(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    store = Orderings(pool)
    async with store.begin(tenant) as work:
        assert await work.earlier_result(call(tenant)) is None
        await work.keep_result(call(tenant), {"iccid": "8988", "eid": None})
    async with store.begin(tenant) as work:
        assert await work.earlier_result(call(tenant)) == {"iccid": "8988", "eid": None}


async def test_an_empty_result_is_a_result(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    answers: tuple[dict[str, str] | None, ...] = (None, {})
    for expected in answers:
        async with Orderings(pool).begin(tenant) as work:
            assert await work.earlier_result(call(tenant)) == expected
            await work.keep_result(call(tenant), {})


@pytest.mark.parametrize("other", [{"digest": b"e" * 32}, {"function": "confirmOrder"}])
async def test_a_call_id_with_another_content_is_refused(pool: Pool, other: dict[str, str]) -> None:
    tenant = await new_tenant(pool)
    async with Orderings(pool).begin(tenant) as work:
        await work.earlier_result(call(tenant))
        await work.keep_result(call(tenant), {})
    with pytest.raises(Refused) as refusal:
        async with Orderings(pool).begin(tenant) as work:
            await work.earlier_result(call(tenant, **other))  # type: ignore[arg-type]  # bytes and text, by name
    assert refusal.value.status is Status.CALL_ID_REUSED


async def test_a_failed_call_may_come_again_as_new(pool: Pool) -> None:
    tenant = await new_tenant(pool)

    async def fail() -> None:
        async with Orderings(pool).begin(tenant) as work:
            await work.earlier_result(call(tenant))
            raise Refused(Status.ICCID_UNKNOWN)

    with pytest.raises(Refused):
        await fail()
    async with Orderings(pool).begin(tenant) as work:
        assert await work.earlier_result(call(tenant)) is None


async def test_operators_may_use_the_same_call_id(pool: Pool) -> None:
    for name in ("One", "Two"):
        tenant = await new_tenant(pool, name)
        async with Orderings(pool).begin(tenant) as work:
            assert await work.earlier_result(call(tenant)) is None
            await work.keep_result(call(tenant), {})


async def test_of_the_same_call_sent_at_once_one_works_and_the_others_get_its_result(pool: Pool) -> None:
    tenant = await new_tenant(pool)

    async def once(number: int) -> str | None:
        async with Orderings(pool).begin(tenant) as work:
            if earlier := await work.earlier_result(call(tenant)):
                return earlier["by"]
            await work.keep_result(call(tenant), {"by": str(number)})
            return str(number)

    assert len(set(await asyncio.gather(*(once(number) for number in range(6))))) == 1


async def test_works_that_draw_at_once_get_different_profiles(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    for number in range(1, 6):
        await Stock(pool).add_profile(new_profile(tenant, number))

    async def draw() -> StockProfile | None:
        async with Orderings(pool).begin(tenant) as work:
            drawn = await work.draw("prepaid")
            if drawn is not None:
                await work.change_profile(drawn.iccid, ProfileState.AVAILABLE, ProfileState.ORDERED)
            return drawn

    drawn = await asyncio.gather(*(draw() for _ in range(6)))
    rest = await asyncio.gather(*(draw() for _ in range(6)))
    found = [profile.iccid for profile in (*drawn, *rest) if profile is not None]
    assert sorted(found) == [iccid(number) for number in range(1, 6)]


async def test_a_type_without_stock_draws_nothing(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    await new_order(pool, tenant)
    async with Orderings(pool).begin(tenant) as work:
        assert await work.type_open("prepaid") is True
        assert await work.type_open("postpaid") is None
        assert await work.draw("prepaid") is None


async def test_another_operators_rows_are_as_if_they_did_not_exist(pool: Pool) -> None:
    owner, stranger = await new_tenant(pool, "One"), await new_tenant(pool, "Two")
    order = await new_order(pool, owner)
    await Stock(pool).add_profile(new_profile(owner, 2))
    async with Orderings(pool).begin(stranger) as work:
        assert await work.profile(iccid(2)) is None
        assert await work.open_order(order.iccid) is None
        assert await work.type_open("prepaid") is None
        assert await work.draw("prepaid") is None
        with pytest.raises(TransitionLost):
            await work.change_order(OrderChange.of(order, OrderEvent.CONFIRM))
        with pytest.raises(TransitionLost):
            await work.change_profile(iccid(2), ProfileState.AVAILABLE, ProfileState.UNAVAILABLE)


async def test_a_profile_that_is_elsewhere_is_not_moved(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    await Stock(pool).add_profile(new_profile(tenant))
    with pytest.raises(TransitionLost):
        async with Orderings(pool).begin(tenant) as work:
            await work.change_profile(iccid(), ProfileState.ORDERED, ProfileState.AVAILABLE)


async def test_an_order_that_moved_on_is_not_moved(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    order = await new_order(pool, tenant)
    async with Orderings(pool).begin(tenant) as work:
        await work.change_order(OrderChange.of(order, OrderEvent.CONFIRM))
    with pytest.raises(TransitionLost):
        async with Orderings(pool).begin(tenant) as work:
            await work.change_order(OrderChange.of(order, OrderEvent.CONFIRM))


async def test_a_profile_has_one_open_order(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    order = await new_order(pool, tenant)
    with pytest.raises(TransitionLost):
        async with Orderings(pool).begin(tenant) as work:
            await work.add_order(order)


async def test_a_cancelled_order_makes_room_for_another(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    order = await new_order(pool, tenant, event=OrderEvent.CONFIRM)
    async with Orderings(pool).begin(tenant) as work:
        await work.change_order(OrderChange.of(order, OrderEvent.CANCEL))
        assert await work.open_order(order.iccid) is None
        again = Order(
            id=0,
            tenant_id=tenant,
            iccid=order.iccid,
            profile_type="prepaid",
            state=OrderState.LINKED,
            version=0,
            eid=EID,
        )
        stored = await work.add_order(again)
        assert await work.open_order(order.iccid) == stored
        assert stored == replace(again, id=stored.id)


async def test_an_installed_order_still_holds_its_profile(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    order = await new_order(pool, tenant, event=OrderEvent.CONFIRM_AND_RELEASE)
    async with Orderings(pool).begin(tenant) as work:
        await work.change_order(replace(OrderChange.of(order, OrderEvent.FAIL), state=OrderState.INSTALLED))
        found = await work.open_order(order.iccid)
    assert found is not None
    assert found.state is OrderState.INSTALLED


async def test_a_matching_id_in_use_is_refused_even_across_operators(pool: Pool) -> None:
    await new_order(pool, await new_tenant(pool, "One"), 1, event=OrderEvent.CONFIRM)
    tenant = await new_tenant(pool, "Two")
    order = await new_order(pool, tenant, 2)
    step = replace(OrderChange.of(order, OrderEvent.CONFIRM), matching_id=MatchingId("TOKEN-1"))
    with pytest.raises(Refused) as refusal:
        async with Orderings(pool).begin(tenant) as work:
            await work.change_order(step)
    assert refusal.value.status is Status.MATCHING_ID_IN_USE


async def test_a_profile_is_locked_until_the_work_ends(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    await Stock(pool).add_profile(new_profile(tenant))
    reached = asyncio.Event()
    states: list[ProfileState] = []

    async def second() -> None:
        async with Orderings(pool).begin(tenant) as work:
            reached.set()
            profile = await work.profile(iccid())
            assert profile is not None
            states.append(profile.state)

    async with Orderings(pool).begin(tenant) as work:
        await work.profile(iccid())
        other = asyncio.create_task(second())
        await reached.wait()
        await work.change_profile(iccid(), ProfileState.AVAILABLE, ProfileState.ORDERED)
    await other
    assert states == [ProfileState.ORDERED]


async def test_an_iccid_is_in_stock_once_whoever_owns_it(pool: Pool) -> None:
    await Stock(pool).add_profile(new_profile(await new_tenant(pool, "One")))
    other = await new_tenant(pool, "Two")
    with pytest.raises(ProfileExists):
        await Stock(pool).add_profile(new_profile(other))


async def test_the_stock_list_shows_where_the_latest_order_stands(pool: Pool) -> None:
    one, two = await new_tenant(pool, "One"), await new_tenant(pool, "Two")
    await new_order(pool, one, 1, event=OrderEvent.CONFIRM_AND_RELEASE)
    await Stock(pool).add_profile(new_profile(two, 2, "postpaid"))
    stock = Stock(pool)
    newest, oldest = await stock.list_profiles()
    assert (newest.iccid, newest.tenant, newest.state, newest.order_state) == (iccid(2), "Two", "available", "")
    assert (oldest.state, oldest.order_state, oldest.matching_id) == ("ordered", "released", "TOKEN-1")


async def test_the_stock_list_can_be_narrowed(pool: Pool) -> None:
    one, two = await new_tenant(pool, "One"), await new_tenant(pool, "Two")
    await new_order(pool, one, 1, event=OrderEvent.CONFIRM_AND_RELEASE)
    await Stock(pool).add_profile(new_profile(two, 2, "postpaid"))
    await Stock(pool).add_profile(new_profile(one, 3))
    stock = Stock(pool)

    async def numbers(**narrowed: object) -> list[str]:
        return [str(row.iccid)[-1] for row in await stock.list_profiles(**narrowed)]  # type: ignore[arg-type]  # by name

    assert await numbers(tenant_id=one) == ["3", "1"]
    assert await numbers(state="released") == ["1"]
    assert await numbers(state="available") == ["3", "2"]
    assert await numbers(profile_type="postpaid") == ["2"]
    assert await numbers(most=1) == ["3"]


async def test_an_operator_is_found_by_certificate_id_and_name(pool: Pool) -> None:
    directory = Operators(pool)
    asked = Operator(
        id=0, name="One", requester_id="1.2.3", callback_url="https://one.example.com", download_attempts=3
    )
    stored = await directory.add_operator(asked, (b"1" * 32, b"2" * 32))
    await directory.add_certificate(stored.id, b"3" * 32)
    assert stored == dataclasses.replace(asked, id=stored.id)
    for number in (b"1", b"2", b"3"):
        assert await directory.by_certificate(number * 32) == stored
    assert await directory.by_id(stored.id) == stored
    assert await directory.by_name("One") == stored


async def test_an_unknown_operator_is_not_found(pool: Pool) -> None:
    directory = Operators(pool)
    found = [await directory.by_certificate(b"1" * 32), await directory.by_id(1), await directory.by_name("One")]
    assert found == [None, None, None]


async def test_an_inactive_operator_is_not_found_by_certificate(pool: Pool) -> None:
    directory = Operators(pool)
    await directory.add_operator(Operator(id=0, name="One", requester_id="1", active=False), (b"1" * 32,))
    await directory.add_operator(Operator(id=0, name="Two", requester_id="2"), (b"2" * 32,))
    assert await directory.by_certificate(b"1" * 32) is None
    assert [await directory.is_inactive(number * 32) for number in (b"1", b"2", b"3")] == [True, False, False]


@pytest.mark.parametrize(
    ("name", "requester_id", "fingerprint", "said"),
    [("One", "2", b"2", "name"), ("Two", "1", b"2", "requester id"), ("Two", "2", b"1", "certificate")],
)
async def test_name_requester_id_and_certificate_belong_to_one_operator(
    pool: Pool, name: str, requester_id: str, fingerprint: bytes, said: str
) -> None:
    directory = Operators(pool)
    await directory.add_operator(Operator(id=0, name="One", requester_id="1"), (b"1" * 32,))
    with pytest.raises(OperatorExists, match=said):
        await directory.add_operator(Operator(id=0, name=name, requester_id=requester_id), (fingerprint * 32,))
    assert [each.name for each in await directory.list_operators()] == ["One"]


async def test_operators_are_listed_by_name_and_part_of_it(pool: Pool) -> None:
    for name in ("Beta", "Alpha", "100%"):
        await new_tenant(pool, name)
    directory = Operators(pool)
    assert [each.name for each in await directory.list_operators()] == ["100%", "Alpha", "Beta"]
    assert [each.name for each in await directory.list_operators(name_contains="ALP")] == ["Alpha"]
    assert [each.name for each in await directory.list_operators(name_contains="%")] == ["100%"]


async def test_a_callback_can_be_changed(pool: Pool) -> None:
    tenant = await new_tenant(pool)
    found = await Operators(pool).by_id(tenant)
    assert found is not None
    await Operators(pool).change_operator(dataclasses.replace(found, callback_url="https://new.example.com"))
    found = await Operators(pool).by_id(tenant)
    assert found is not None
    assert found.callback_url == "https://new.example.com"


async def test_limits_and_activity_of_an_operator_can_be_changed(pool: Pool) -> None:
    tenant, other = await new_tenant(pool), await new_tenant(pool, "Another")
    directory = Operators(pool)
    found = await directory.by_id(tenant)
    assert found is not None
    changed = dataclasses.replace(found, download_attempts=4, confirmation_attempts=2, active=False)
    await directory.change_operator(changed)
    assert await directory.by_id(tenant) == changed
    assert await directory.by_certificate(hashlib.sha256(b"Operator One").digest()) is None
    untouched = await directory.by_id(other)
    assert untouched is not None
    assert (untouched.download_attempts, untouched.active) == (None, True)


async def test_a_certificate_taken_away_is_nobodys(pool: Pool) -> None:
    tenant, other = await new_tenant(pool), await new_tenant(pool, "Another")
    directory, own = Operators(pool), hashlib.sha256(b"Operator One").digest()
    assert not await directory.remove_certificate(other, own)
    assert await directory.by_certificate(own) is not None
    assert await directory.remove_certificate(tenant, own)
    assert await directory.by_certificate(own) is None
    assert not await directory.remove_certificate(tenant, own)

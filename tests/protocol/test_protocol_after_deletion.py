"""After a card has deleted a profile: what its operator wants; reports that come late, early or never (SGP.22 3.5)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from rsp.identifiers import Iccid
from rsp.status import Status
from simulator.card import Card
from simulator.lpa_messages import CancelReason
from simulator.notifications import Event
from smdp.expiry import Expiry
from smdp.ordering import DownloadOrder, FinalProfileStatus
from smdp.policy import AfterDeletion, Policy
from smdp.ports import Call
from smdp.recovery import VendorFunctions
from smdp.returning import Returning
from smdp.shelf import Shelf
from store.downloads import Downloads
from store.ordering import Orderings
from tests.conformance import conforms
from tests.protocol_attempt import attempt
from tests.protocol_stage import NAME, Ordered, Stage, installed_on, refuses
from tests.signed_events import event

DELETE = Event.DELETE


@pytest.fixture
def policy() -> Policy:
    return Policy(server_names=(NAME,), redownloads=2)


async def hand_in(stage: Stage, *raw: bytes) -> None:
    """Hand notifications in, one after the other, each judged on its own."""
    for one in raw:
        await stage.notifications.handle_notification(one)
        await stage.judge()


async def state(stage: Stage, ordered: Ordered) -> tuple[str, str]:
    """Where order and profile stand."""
    return (await stage.order_row(ordered.iccid))["state"], await stage.profile_state(ordered.iccid)


async def points(stage: Stage, ordered: Ordered) -> list[int]:
    return [body["point"] for body in await stage.reports(ordered.iccid)]


async def shown(stage: Stage, ordered: Ordered) -> str:
    """The state that getProfileStatus tells."""
    vendor = VendorFunctions(Orderings(stage.pool), stage.policy, stage.clock.now)
    (found,) = await vendor.profile_status(ordered.tenant_id, [ordered.iccid])
    return found.state


def remove(card: Card, iccid: Iccid) -> None:
    """The profile goes from the card; a test says what of that is reported."""
    card.memory.profiles[:] = [profile for profile in card.memory.profiles if profile.iccid != iccid]


async def installed(stage: Stage, card: Card, ordered: Ordered, code: str | None = None) -> int:
    """A whole download; answers the number of the card's report."""
    result = await attempt(stage, card, ordered.matching_id).installed(code)
    assert result.succeeded
    return result.sequence_number


# What the operator wants ----------------------------------------------------------------------------------------------


async def test_retired_profile_stays_where_it_is_and_its_state_is_known(stage: Stage) -> None:
    card, ordered = stage.card(), await stage.order(tenant_id=await stage.operator())
    number = await installed(stage, card, ordered)
    for told, word in ((Event.ENABLE, "ENABLED"), (Event.DISABLE, "DISABLED"), (DELETE, "DELETED")):
        number += 1
        await hand_in(stage, event(card, number, told, ordered.iccid))
        assert await shown(stage, ordered) == word
    assert await state(stage, ordered) == ("installed", "ordered")
    assert await points(stage, ordered) == [1, 3, 4, 1001, 1002, 1003]
    with refuses(Status.ICCID_IN_USE):
        await stage.ordering.download_order(stage.call(ordered.tenant_id), DownloadOrder(iccid=ordered.iccid))


async def test_profile_returns_to_stock_and_is_ordered_for_another_card(stage: Stage) -> None:
    first, second = stage.card(), stage.card()
    ordered = await stage.order(tenant_id=await stage.operator(after_deletion="stock"))
    number = await installed(stage, first, ordered)
    deletion = event(first, number + 1, DELETE, ordered.iccid)
    await hand_in(stage, deletion, deletion)
    assert await state(stage, ordered) == ("deleted", "available")
    assert await shown(stage, ordered) == "AVAILABLE"
    again = await stage.order_again(ordered)
    await installed(stage, second, again)
    await hand_in(stage, event(first, number + 2, DELETE, ordered.iccid))
    assert await state(stage, ordered) == ("installed", "ordered")
    assert await shown(stage, ordered) == "INSTALLED"


async def test_code_is_used_again_as_often_as_the_operator_lets(stage: Stage) -> None:
    card, ordered = (
        stage.card(),
        await stage.order(tenant_id=await stage.operator(after_deletion="reuse"), code="4711", matching_id="TOKEN-1"),
    )
    for time in range(3):
        number = await installed(stage, card, ordered, "4711")
        row = await stage.order_row(ordered.iccid)
        assert (row["otsk_sealed"], row["ended_at"] is None) == (None, time < 2)
        stage.clock.advance(days=80)
        remove(card, ordered.iccid)
        await hand_in(stage, event(card, number + 1, DELETE, ordered.iccid))
        card.memory.next_sequence = number + 2
        seen = await stage.seen(ordered)
        if time < 2:
            assert (seen.order, seen.downloads, seen.sealed) == ("released", 0, ("key", "confirmation"))
            row = await stage.order_row(ordered.iccid)
            assert row["expires_at"] == stage.clock.at + timedelta(days=90)
            with refuses(Status.CONFIRMATION_CODE_REFUSED):
                await (await attempt(stage, card, "TOKEN-1").begun()).deliver("0000")
    assert (seen.order, seen.sealed) == ("installed", ())
    with refuses(Status.NOT_RELEASED):
        await attempt(stage, card, "TOKEN-1").begun()


async def test_reused_code_moves_to_another_card_unless_the_operator_named_the_card(stage: Stage) -> None:
    owner = await stage.operator(after_deletion="reuse")
    first, second = stage.card(), stage.card()
    free, tied = await stage.order(tenant_id=owner), await stage.order(tenant_id=owner, eid=first.eid)
    for ordered in (free, tied):
        number = await installed(stage, first, ordered)
        await hand_in(stage, event(first, number + 50, DELETE, ordered.iccid))
        first.memory.next_sequence = number + 51
    await installed(stage, second, free)
    assert installed_on(second) == {str(free.iccid): free.upp}
    with refuses(Status.EID_MISMATCH):
        await attempt(stage, second, tied.matching_id).begun()


async def test_reuse_without_any_left_is_retirement(stage: Stage) -> None:
    card, ordered = (
        stage.card(),
        await stage.order(tenant_id=await stage.operator(after_deletion="reuse", redownloads=0)),
    )
    number = await installed(stage, card, ordered)
    assert (await stage.seen(ordered)).sealed == ()
    await hand_in(stage, event(card, number + 1, DELETE, ordered.iccid))
    assert await state(stage, ordered) == ("installed", "ordered")


async def test_rule_of_the_moment_of_deletion_counts(stage: Stage) -> None:
    """An installation whose key is gone is not opened again; one whose key is there ends when the rule has changed."""
    card, late = stage.card(), await stage.order()
    number = await installed(stage, card, late)
    await stage.tables.execute("UPDATE tenants SET after_deletion = 'reuse'")
    await hand_in(stage, event(card, number + 1, DELETE, late.iccid))
    assert await state(stage, late) == ("installed", "ordered")
    kept, other = await stage.order(tenant_id=late.tenant_id), stage.card()
    number = await installed(stage, other, kept)
    assert (await stage.seen(kept)).sealed == ("key",)
    await stage.tables.execute("UPDATE tenants SET after_deletion = 'retire'")
    await hand_in(stage, event(other, number + 1, DELETE, kept.iccid))
    seen = await stage.seen(kept)
    assert (seen.order, seen.sealed) == ("installed", ())


# Late and out of order ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", list(AfterDeletion))
async def test_deletion_before_its_installation_is_known_waits_for_it(stage: Stage, rule: AfterDeletion) -> None:
    card, ordered = stage.card(), await stage.order(tenant_id=await stage.operator(after_deletion=rule.value))
    trial = attempt(stage, card, ordered.matching_id)
    result = trial.install(await trial.delivered())
    deletion = event(card, result.sequence_number + 1, DELETE, ordered.iccid)
    await hand_in(stage, deletion)
    assert await state(stage, ordered) == ("downloaded", "ordered")
    assert await shown(stage, ordered) == "DOWNLOADED"
    assert await points(stage, ordered) == [1, 3]
    await hand_in(stage, result.raw)
    expected = {
        AfterDeletion.RETIRE: ("installed", "ordered"),
        AfterDeletion.REUSE: ("released", "ordered"),
        AfterDeletion.STOCK: ("deleted", "available"),
    }
    assert await state(stage, ordered) == expected[rule]
    assert await points(stage, ordered) == [1, 3, 4, 1003]


@conforms(
    "SGP.22 3.5",
    "a late notification of deletion concerns the installation before it",
    function="handleNotification",
    where="smdp/card_reports.py",
)
@pytest.mark.parametrize("rule", ["reuse", "stock"])
async def test_late_deletion_of_an_earlier_installation_frees_no_newer_one(stage: Stage, rule: str) -> None:
    """The same card installs, deletes (reported late) and installs again under an order of its own."""
    card, owner = stage.card(), await stage.operator(after_deletion="stock")
    ordered = await stage.order(tenant_id=owner, eid=card.eid)
    number = await installed(stage, card, ordered)
    remove(card, ordered.iccid)
    late = event(card, number + 1, DELETE, ordered.iccid)
    returning = Returning(Orderings(stage.pool))
    call = Call(tenant_id=owner, call_id="swap", function="confirmDeletion", digest=b"")
    await returning.confirm_deletion(call, ordered.iccid, card.eid, reusable=True)
    await stage.tables.execute("UPDATE tenants SET after_deletion = $1", rule)
    card.memory.next_sequence = number + 2
    again = await stage.order_again(ordered, eid=card.eid)
    trial = attempt(stage, card, again.matching_id)
    newer = trial.install(await trial.delivered())
    await hand_in(stage, late)
    assert await state(stage, again) == ("downloaded", "ordered")
    await hand_in(stage, newer.raw)
    assert await state(stage, again) == ("installed", "ordered")
    assert await shown(stage, again) == "INSTALLED"


async def test_deletion_frees_nothing_while_a_newer_package_is_on_its_way(stage: Stage) -> None:
    """Both packages were handed out; the first was installed and deleted, the second may be on the card."""
    card, ordered = stage.card(), await stage.order(tenant_id=await stage.operator(after_deletion="stock"))
    first = attempt(stage, card, ordered.matching_id)
    one = first.install(await first.delivered())
    remove(card, ordered.iccid)
    deletion = event(card, one.sequence_number + 1, DELETE, ordered.iccid)
    card.memory.next_sequence = one.sequence_number + 2
    second = attempt(stage, card, ordered.matching_id)
    two = second.install(await second.delivered())
    assert two.succeeded
    await hand_in(stage, one.raw, deletion)
    assert await state(stage, ordered) == ("installed", "ordered")
    await hand_in(stage, two.raw)
    assert await state(stage, ordered) == ("installed", "ordered")
    assert await shown(stage, ordered) == "INSTALLED"
    assert await points(stage, ordered) == [1, 3, 1, 3, 4, 1003, 4]
    await hand_in(stage, event(card, two.sequence_number + 1, DELETE, ordered.iccid))
    assert await state(stage, ordered) == ("deleted", "available")


async def test_older_word_of_the_card_does_not_replace_a_newer_one(stage: Stage) -> None:
    card, ordered = stage.card(), await stage.order()
    number = await installed(stage, card, ordered)
    disabled = event(card, number + 2, Event.DISABLE, ordered.iccid)
    enabled = event(card, number + 1, Event.ENABLE, ordered.iccid)
    await hand_in(stage, disabled, enabled)
    assert await shown(stage, ordered) == "DISABLED"
    assert await points(stage, ordered) == [1, 3, 4, 1002]


async def test_late_installation_of_a_cancelled_order_keeps_its_profile_away_until_it_is_deleted(stage: Stage) -> None:
    card, ordered = stage.card(), await stage.order(tenant_id=await stage.operator(after_deletion="stock"))
    trial = attempt(stage, card, ordered.matching_id)
    late = trial.install(await trial.delivered())
    await (await attempt(stage, card, ordered.matching_id).begun()).cancel(CancelReason.END_USER_REJECTION)
    await stage.cancel_order(ordered, FinalProfileStatus.UNAVAILABLE, eid=card.eid)
    await hand_in(stage, late.raw)
    shelf = Shelf(Orderings(stage.pool))
    with refuses(Status.ICCID_NOT_ALLOWED):
        await shelf.restore(ordered.tenant_id, ordered.iccid)
    await hand_in(stage, event(card, late.sequence_number + 1, DELETE, ordered.iccid))
    assert await state(stage, ordered) == ("cancelled", "unavailable")
    assert (await points(stage, ordered))[-2:] == [4, 1003]
    await shelf.restore(ordered.tenant_id, ordered.iccid)
    assert await stage.profile_state(ordered.iccid) == "available"


@pytest.mark.parametrize("rule", ["reuse", "stock", "retire"])
async def test_signed_result_at_the_eim_and_the_cards_notification_agree_in_any_order(stage: Stage, rule: str) -> None:
    """A swap deletes a profile: its own confirmation and the notification of the same deletion both arrive."""
    for notified_first in (True, False):
        card, owner = stage.card(), await stage.operator(after_deletion=rule)
        ordered = await stage.order(tenant_id=owner, eid=card.eid)
        number = await installed(stage, card, ordered)
        deletion = event(card, number + 1, DELETE, ordered.iccid)
        if notified_first:
            await hand_in(stage, deletion)
        call = Call(tenant_id=owner, call_id="swap", function="confirmDeletion", digest=b"")
        await Returning(Orderings(stage.pool)).confirm_deletion(call, ordered.iccid, card.eid, reusable=True)
        if not notified_first:
            await hand_in(stage, deletion)
        order, profile = await state(stage, ordered)
        assert (order in ("deleted", "cancelled"), profile) == (True, "available")
        assert (await points(stage, ordered))[:3] == [1, 3, 4]


async def test_crowd_of_reports_is_judged_with_the_same_end(stage: Stage) -> None:
    ends = []
    for _ in range(4):
        card, ordered = stage.card(), await stage.order(tenant_id=await stage.operator(after_deletion="stock"))
        trial = attempt(stage, card, ordered.matching_id)
        result = trial.install(await trial.delivered())
        number = result.sequence_number
        raws = [
            result.raw,
            *(event(card, number + n, what, ordered.iccid) for n, what in ((1, Event.ENABLE), (2, DELETE))),
        ]
        for raw in (*raws, *raws):
            await stage.notifications.handle_notification(raw)
        ends.append(ordered)
    await asyncio.gather(*(stage.notifications.judge_pending(10, 60.0) for _ in range(3)))
    await stage.judge()
    for ordered in ends:
        assert await state(stage, ordered) == ("deleted", "available")
        assert (await points(stage, ordered))[-1] == 1003


# Expiry without a device ----------------------------------------------------------------------------------------------


async def expire(stage: Stage) -> int:
    return await Expiry(Downloads(stage.pool), stage.clock.now).expire_due(100)


@conforms(
    "SGP.22 5.3.5",
    "an order expires without a device, too, and is told",
    Status.ORDER_EXPIRED,
    function="handleDownloadProgressInfo",
    where="smdp/expiry.py",
)
async def test_orders_past_their_time_fail_without_a_device_and_are_told_once(stage: Stage) -> None:
    owner = await stage.operator(order_days=7)
    short, usual = await stage.order(tenant_id=owner), await stage.order()
    assert await expire(stage) == 0
    stage.clock.advance(days=7)
    await asyncio.gather(*(expire(stage) for _ in range(3)))
    assert await expire(stage) == 0
    seen = await stage.seen(short)
    assert (seen.order, seen.told) == ("error", ((1, "ORDER_EXPIRED"),))
    assert (await stage.seen(usual)).order == "released"
    stage.clock.advance(days=83)
    assert await expire(stage) == 1


async def test_report_of_success_after_the_expiry_counts(stage: Stage) -> None:
    card, ordered = stage.card(), await stage.order()
    trial = attempt(stage, card, ordered.matching_id)
    result = trial.install(await trial.delivered())
    stage.clock.advance(days=90)
    assert await expire(stage) == 1
    assert (await stage.seen(ordered)).order == "error"
    await hand_in(stage, result.raw)
    seen = await stage.seen(ordered)
    assert (seen.order, seen.told[-2:]) == ("installed", ((1, "ORDER_EXPIRED"), (4, "")))


async def test_orders_that_are_not_released_or_over_do_not_expire(stage: Stage) -> None:
    card, done = stage.card(), await stage.order()
    await installed(stage, card, done)
    reused = await stage.order(tenant_id=await stage.operator(after_deletion="reuse"))
    await installed(stage, stage.card(), reused)
    stage.clock.advance(days=900)
    assert await expire(stage) == 0
    assert (await state(stage, done), await state(stage, reused)) == (("installed", "ordered"),) * 2

"""Troubles of somebody else's SM-DP+: whatever it answers, nothing is ordered twice, lost, or taken back on doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from rsp.errors import Unreachable
from rsp.identifiers import ActivationCode
from rsp.status import Status
from simulator.foreign_smdp import Refusal, State, Trouble
from swap.ports import ProfileRefused, ProfileState, Returned
from tests.conformance import conforms
from tests.foreign_stage import FOREIGN, access_of, scripted, with_key
from tests.foreign_world import ALL, BROKEN, CARELESS, EID, OTHER, UNDONE, Open
from tests.protocol_stage import Material, Stage


async def again(call: Callable[[], Awaitable[Any]], times: int = 4) -> Any:
    """What a swap does with an outcome that is not known: the same call once more."""
    for _ in range(times):
        with suppress(Unreachable):
            return await call()
    raise AssertionError("the outcome never became known")


# Reservation ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [*BROKEN, *UNDONE])
@conforms(
    "SGP.22 5.3.1",
    "a repeated DownloadOrder reserves nothing more",
    function="downloadOrder",
    where="server/foreign_profiles.py",
)
async def test_a_lost_answer_to_a_reservation_takes_one_profile(opened: Open, trouble: Trouble) -> None:
    world = await opened()
    world.fill(3)
    world.smdp.fail_next("downloadOrder", trouble)
    with pytest.raises(Unreachable):
        await world.reserve()
    iccid = await world.reserve()
    assert (world.smdp.ordered_for(EID), world.held()) == ([iccid], [State.LINKED])
    assert len({call.call_id for call in world.smdp.calls}) == 1
    assert world.smdp.faults == []


async def test_a_slow_answer_that_comes_second_is_surplus_and_given_back(opened: Open) -> None:
    """Two runners asked a server that forgets call ids: each got a profile."""
    world = await opened(**CARELESS)
    world.fill(3)
    world.smdp.fail_next("downloadOrder", Trouble.HELD)
    slow = asyncio.create_task(world.reserve())
    await world.smdp.holds.wait()
    first = await world.reserve()
    world.smdp.resume()
    assert await slow == first
    assert world.smdp.ordered_for(EID) == [first]
    assert world.held() == [State.LINKED]


async def test_a_surplus_whose_cancellation_is_lost_is_cancelled_later(opened: Open) -> None:
    world = await opened(**CARELESS)
    world.fill(3)
    world.smdp.fail_next("downloadOrder", Trouble.HELD)
    slow = asyncio.create_task(world.reserve())
    await world.smdp.holds.wait()
    first = await world.reserve()
    world.smdp.fail_next("cancelOrder", Trouble.ERROR_BEFORE)
    world.smdp.resume()
    assert await slow == first
    assert len(world.smdp.ordered_for(EID)) == 2
    assert await world.home.foreign.profiles.return_surplus() == 1
    assert world.smdp.ordered_for(EID) == [first]
    assert await world.home.foreign.profiles.return_surplus() == 0
    # The one that is used has not been touched.
    assert await world.state(first) is ProfileState.RESERVED


async def test_a_profile_that_was_given_out_twice_is_refused_and_not_cancelled(opened: Open) -> None:
    world = await opened(remembers=False)
    (iccid,) = world.fill(1)
    await world.reserve()
    world.smdp.profiles[iccid].state = State.AVAILABLE
    with pytest.raises(ProfileRefused, match="another order"):
        await world.reserve("b", OTHER)
    assert world.smdp.count("cancelOrder") == 0


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal.of(Status.PROFILE_TYPE_UNAVAILABLE),
        Refusal.of(Status.PROFILE_TYPE_UNKNOWN),
        Refusal("8.99", "12.3", "a code of theirs"),
    ],
)
async def test_a_refused_reservation_leaves_nothing_and_may_be_asked_again(opened: Open, refusal: Refusal) -> None:
    world = await opened()
    world.fill(1)
    world.smdp.fail_next("downloadOrder", refusal)
    with pytest.raises(ProfileRefused):
        await world.reserve()
    assert await world.home.pool.fetch(ALL) == []
    assert await world.reserve() in world.smdp.profiles


async def test_a_refusal_after_a_lost_answer_stays_on_record(opened: Open) -> None:
    """The first ask may have reserved a profile whose ICCID nobody told us: a person has to be able to see it."""
    world = await opened(**CARELESS)
    world.fill(1)
    world.smdp.fail_next("downloadOrder", Trouble.DROP_AFTER)
    with pytest.raises(Unreachable):
        await world.reserve()
    with pytest.raises(ProfileRefused):
        await world.reserve()
    (row,) = await world.home.pool.fetch(ALL)
    assert row["ending"].startswith("refused after a lost answer")
    assert (row["iccid"], row["asks"], row["eid"]) == (None, 2, str(EID))


# Release -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("habits", [{}, {"remembers": False}, CARELESS], ids=["good", "forgetful", "careless"])
@pytest.mark.parametrize("trouble", [*BROKEN, *UNDONE])
async def test_a_lost_answer_to_a_release_ends_in_the_code_the_server_has(
    opened: Open, trouble: Trouble, habits: dict[str, bool]
) -> None:
    world = await opened(**habits)
    world.fill(2)
    iccid = await world.reserve()
    world.smdp.fail_next("confirmOrder", trouble)
    code = ActivationCode.parse(await again(lambda: world.release(iccid)))
    profile = world.smdp.profiles[iccid]
    assert (profile.state, profile.history.count(State.LINKED)) == (State.RELEASED, 1)
    assert (str(code.matching_id), code.smdp_address) == (profile.matching_id, FOREIGN)
    assert await world.state(iccid) is ProfileState.RELEASED


async def test_a_server_that_refuses_the_second_confirmation_by_its_state_has_taken_the_first(opened: Open) -> None:
    world = await opened(**CARELESS)
    world.fill(1)
    iccid = await world.reserve()
    world.smdp.fail_next("confirmOrder", Trouble.DROP_AFTER, Refusal.of(Status.ICCID_INVALID_TRANSITION))
    with pytest.raises(Unreachable):
        await world.release(iccid)
    code = ActivationCode.parse(await world.release(iccid))
    assert str(code.matching_id) == world.smdp.profiles[iccid].matching_id


@pytest.mark.parametrize("readable", [False, True])
async def test_a_refused_confirmation_is_a_refusal(opened: Open, readable: bool) -> None:
    world = await opened(readable=readable)
    world.fill(1)
    iccid = await world.reserve()
    world.smdp.fail_next("confirmOrder", Refusal.of(Status.ICCID_INVALID_TRANSITION))
    with pytest.raises(ProfileRefused):
        await world.release(iccid)
    assert await world.state(iccid) is ProfileState.RESERVED


async def test_a_matching_id_is_never_stored_in_the_clear_and_ends_with_the_order(opened: Open) -> None:
    world = await opened()
    world.fill(1)
    iccid = await world.reserve()
    matching_id = str(ActivationCode.parse(await world.release(iccid)).matching_id)
    (row,) = await world.home.pool.fetch(ALL)
    assert matching_id not in str(dict(row))
    assert matching_id.encode() not in row["matching_sealed"]
    assert await world.recall(iccid)
    (row,) = await world.home.pool.fetch(ALL)
    assert row["matching_sealed"] is None


# Recall --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("habits", [{}, {"remembers": False}], ids=["good", "forgetful"])
@pytest.mark.parametrize("trouble", [*BROKEN, *UNDONE])
async def test_a_lost_answer_to_a_recall_ends_in_stock(opened: Open, trouble: Trouble, habits: dict[str, bool]) -> None:
    world = await opened(**habits)
    world.fill(1)
    iccid = await world.reserve()
    await world.release(iccid)
    world.smdp.fail_next("cancelOrder", trouble)
    assert await again(lambda: world.recall(iccid))
    assert world.held() == []
    assert await world.state(iccid) is None


async def test_a_recall_that_cannot_be_known_is_left_to_the_card(opened: Open) -> None:
    """It forgets call ids and cannot be read: the second CancelOrder is refused, for whichever reason."""
    world = await opened(**CARELESS)
    world.fill(1)
    iccid = await world.reserve()
    await world.release(iccid)
    world.smdp.fail_next("cancelOrder", Trouble.DROP_AFTER)
    with pytest.raises(Unreachable):
        await world.recall(iccid)
    for _ in range(2):
        assert not await world.recall(iccid)
    assert await world.state(iccid) is ProfileState.HANDED_OUT


async def test_a_server_that_is_away_is_asked_again_and_nothing_is_taken_for_undone(opened: Open) -> None:
    world = await opened()
    world.fill(1)
    iccid = await world.reserve()
    world.smdp.fail_next("cancelOrder", *[Trouble.BUSY_BEFORE] * 5)
    for _ in range(5):
        with pytest.raises(Unreachable):
            await world.recall(iccid)
    assert await world.recall(iccid)


async def test_an_unheard_of_download_is_found_out_when_the_recall_is_refused(opened: Open) -> None:
    """Every report was lost, and the server cannot be read."""
    world = await opened(**CARELESS)
    world.fill(1)
    iccid = await world.reserve()
    await world.release(iccid)
    world.smdp.profiles[iccid].become(State.INSTALLED)
    assert await world.state(iccid) is ProfileState.RELEASED
    assert not await world.recall(iccid)
    assert await world.state(iccid) is ProfileState.HANDED_OUT
    assert world.smdp.profiles[iccid].state is State.INSTALLED


async def test_a_profile_the_server_no_longer_knows_is_over_unless_a_card_may_hold_it(opened: Open) -> None:
    world = await opened(**CARELESS)
    world.fill(2)
    first, second = await world.reserve(), await world.reserve("b")
    for iccid in (first, second):
        await world.release(iccid)
    assert await world.report(second, 3) == 204
    del world.smdp.profiles[first], world.smdp.profiles[second]
    assert await world.recall(first)
    assert not await world.recall(second)


@pytest.mark.parametrize("readable", [False, True])
async def test_a_refusal_for_another_reason_is_for_people(opened: Open, readable: bool) -> None:
    world = await opened(readable=readable)
    world.fill(1)
    iccid = await world.reserve()
    world.smdp.fail_next("cancelOrder", Refusal.of(Status.REQUESTER_NOT_ALLOWED))
    with pytest.raises(ProfileRefused):
        await world.recall(iccid)
    assert await world.recall(iccid)


async def test_a_matching_id_the_server_did_not_keep_does_not_keep_the_order_open(opened: Open) -> None:
    world = await opened(**CARELESS)
    world.fill(1)
    iccid = await world.reserve()
    await world.release(iccid)
    world.smdp.profiles[iccid].matching_id = "ANOTHER"
    assert await world.recall(iccid)
    assert world.held() == []


# Giving back ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [*BROKEN, *UNDONE])
async def test_a_lost_answer_to_a_recovery_ends_in_stock(opened: Open, trouble: Trouble) -> None:
    world = await opened(remembers=False)
    world.fill(1)
    iccid = await world.reserve()
    await world.release(iccid)
    world.smdp.profiles[iccid].become(State.INSTALLED)
    world.smdp.fail_next("recoverProfile", trouble)
    assert await again(lambda: world.give_back(iccid)) is Returned.IN_STOCK
    assert world.held() == []


async def test_a_server_that_heard_of_the_deletion_is_not_asked_for_anything(opened: Open) -> None:
    world = await opened()
    world.fill(1)
    iccid = await world.reserve()
    await world.release(iccid)
    profile = world.smdp.profiles[iccid]
    profile.become(State.INSTALLED)
    assert await world.state(iccid) is ProfileState.INSTALLED
    assert await world.report(iccid, 4) == 204
    profile.become(State.AVAILABLE)
    # What once was on a card is not free before the card has spoken.
    assert await world.state(iccid) is ProfileState.INSTALLED
    assert await world.give_back(iccid) is Returned.IN_STOCK
    assert (world.smdp.count("recoverProfile"), world.smdp.count("cancelOrder")) == (0, 0)


async def test_a_server_that_keeps_an_installed_profile_is_shown_as_it_is(opened: Open) -> None:
    world = await opened(**CARELESS)
    world.fill(1)
    iccid = await world.reserve()
    await world.release(iccid)
    world.smdp.profiles[iccid].become(State.INSTALLED)
    assert not await world.recall(iccid)
    assert await world.give_back(iccid) is Returned.KEPT
    assert await world.give_back(iccid) is Returned.KEPT
    assert world.smdp.profiles[iccid].state is State.INSTALLED
    assert await world.state(iccid) is ProfileState.HANDED_OUT


@pytest.mark.parametrize("habits", [{"recovers": False}, CARELESS], ids=["readable", "careless"])
async def test_a_kept_profile_that_is_freed_there_goes_to_another_esim_and_is_not_touched_again(
    opened: Open, habits: dict[str, bool]
) -> None:
    world = await opened(**habits)
    world.fill(1)
    iccid = await world.reserve()
    await world.release(iccid)
    world.smdp.profiles[iccid].become(State.INSTALLED)
    assert not await world.recall(iccid)
    assert await world.give_back(iccid) is Returned.KEPT
    # Somebody there frees it, and the next swap gets it.
    world.smdp.profiles[iccid].become(State.AVAILABLE)
    assert await world.reserve("b", OTHER) == iccid
    came = await world.give_back(iccid)
    assert came is (Returned.IN_STOCK if world.smdp.readable else Returned.KEPT)
    assert world.smdp.ordered_for(OTHER) == [iccid]
    assert await world.report(iccid, 3, eid=str(OTHER)) == 204
    profiles = world.home.foreign.profiles
    assert await profiles.state(world.stock, iccid, OTHER) is not None


async def test_a_kept_profile_is_taken_back_when_the_server_has_heard_of_the_deletion(opened: Open) -> None:
    world = await opened(recovers=False)
    world.fill(1)
    iccid = await world.reserve()
    await world.release(iccid)
    world.smdp.profiles[iccid].become(State.INSTALLED)
    assert await world.give_back(iccid) is Returned.KEPT
    world.smdp.profiles[iccid].become(State.AVAILABLE)
    assert await world.give_back(iccid) is Returned.IN_STOCK
    assert await world.state(iccid) is None


# Configuration -------------------------------------------------------------------------------------------------------


async def test_a_carrier_whose_configuration_is_taken_away_is_waited_for(opened: Open, stage: Stage) -> None:
    world = await opened()
    world.fill(1)
    iccid = await world.reserve()
    await stage.tables.execute("UPDATE carriers SET smdp_url = '', version = version + 1")
    with pytest.raises(Unreachable, match="configured"):
        await world.release(iccid)
    with pytest.raises(Unreachable, match="configured"):
        await world.recall(iccid)
    assert await world.state(iccid) is ProfileState.RESERVED


async def test_a_changed_configuration_is_used_at_once(opened: Open, abroad: Material, stage: Stage) -> None:
    world = await opened()
    world.fill(1)
    iccid = await world.reserve()
    async with scripted(abroad) as moved:
        moved.profiles = world.smdp.profiles
        url = f"https://127.0.0.1:{moved.port}"
        await stage.tables.execute("UPDATE carriers SET smdp_url = $1, version = version + 1", url)
        await world.release(iccid)
        assert (moved.count("confirmOrder"), world.smdp.count("confirmOrder")) == (1, 0)


async def test_a_key_that_does_not_fit_is_told_without_showing_it(opened: Open, abroad: Material, stage: Stage) -> None:
    world = await opened()
    access = await with_key(world.home.material.vault, "abroad", access_of(abroad, "https://x"), abroad)
    assert access.key_sealed is not None
    wrong = await world.home.material.vault.wrap(b"no key", b"smdp-key:abroad")
    await stage.tables.execute("UPDATE carriers SET smdp_key_sealed = $1, version = version + 1", wrong)
    with pytest.raises(Unreachable, match="key") as told:
        await world.reserve()
    assert "no key" not in str(told.value)

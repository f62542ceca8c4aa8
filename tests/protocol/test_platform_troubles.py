"""A platform in trouble: how often it was asked for what, and what is true on it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
from platform_stage import ENTERPRISE, INVENTORY, KEY, OTHER_PLANS, SIM, TARGET, Stage, open_stage

from carriers.base import Account, Billable, PlatformRefused, SimState
from carriers.control_center import ControlCenter
from carriers.control_center_rest import ControlCenterRest, Login, Timing
from carriers.registry import PlatformSettings, Registry
from rsp.errors import Unreachable
from rsp.identifiers import Iccid
from server.setting_kinds import Secret
from simulator.platforms.control_center import Trouble
from simulator.platforms.control_center_book import Book, Transfer

LOST_AFTER = [Trouble.ERROR_AFTER, Trouble.BUSY_AFTER, Trouble.GATEWAY_AFTER, Trouble.DROP_AFTER]
LOST_BEFORE = [Trouble.ERROR_BEFORE, Trouble.BUSY_BEFORE, Trouble.DROP_BEFORE]
THERE = Transfer(iccid=SIM, source=INVENTORY, target=ENTERPRISE)
BACK = Transfer(iccid=SIM, source=ENTERPRISE, target=INVENTORY)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with open_stage() as it:
        yield it


def where(stage: Stage) -> tuple[str, str]:
    return stage.book.sims[SIM].account, stage.book.sims[SIM].status


@pytest.mark.parametrize("trouble", LOST_AFTER)
async def test_transfer_whose_reply_is_lost_is_asked_for_once_and_proved_by_reading(
    stage: Stage, trouble: Trouble
) -> None:
    stage.simulator.fail_next("transfer", trouble)
    facts = await stage.platform.allocate(SIM, TARGET)
    assert (facts.account, facts.state, facts.billable) == (ENTERPRISE, SimState.TEST, Billable.NO)
    assert [seen.operation for seen in stage.simulator.seen] == ["read", "transfer", "read"]
    assert stage.book.transfers == [THERE]
    assert stage.book.charges == []


@pytest.mark.parametrize("trouble", LOST_BEFORE)
async def test_transfer_that_was_not_done_is_not_known_and_asked_for_again_only_by_the_next_call(
    stage: Stage, trouble: Trouble
) -> None:
    stage.simulator.fail_next("transfer", trouble)
    with pytest.raises(Unreachable, match="not known"):
        await stage.platform.allocate(SIM, TARGET)
    assert stage.simulator.count("transfer") == 1
    assert stage.simulator.count("read") == 1 + len(Timing().settling)
    assert (stage.book.transfers, where(stage)) == ([], (INVENTORY, "INVENTORY"))
    await stage.platform.allocate(SIM, TARGET)
    assert stage.simulator.count("transfer") == 2
    assert stage.book.transfers == [THERE]


@pytest.mark.parametrize("trouble", LOST_AFTER)
async def test_release_whose_reply_is_lost_is_asked_for_once(stage: Stage, trouble: Trouble) -> None:
    await stage.platform.allocate(SIM, TARGET)
    stage.simulator.fail_next("transfer", trouble)
    assert (await stage.platform.release(SIM, INVENTORY, held_by=ENTERPRISE)).state is SimState.INVENTORY
    assert stage.book.transfers == [THERE, BACK]
    assert stage.simulator.count("transfer") == 2


@pytest.mark.parametrize("trouble", LOST_AFTER)
async def test_activation_whose_reply_is_lost_is_asked_for_once(stage: Stage, trouble: Trouble) -> None:
    await stage.platform.allocate(SIM, TARGET)
    stage.simulator.fail_next("edit", trouble)
    assert (await stage.platform.set_state(SIM, SimState.ACTIVE)).billable is Billable.YES
    assert stage.simulator.count("edit") == 1
    assert len(stage.book.charges) == 1


async def test_too_many_calls_are_repeated_after_the_vendors_pauses_because_nothing_was_begun(stage: Stage) -> None:
    stage.simulator.fail_next("transfer", Trouble.RATE_LIMIT, times=3)
    await stage.platform.allocate(SIM, TARGET)
    assert [pause for pause in stage.time.pauses if pause >= 10.0] == [10.0, 20.0, 30.0]
    assert stage.simulator.count("transfer") == 4
    assert stage.book.transfers == [THERE]


async def test_too_many_calls_for_too_long_end_the_operation(stage: Stage) -> None:
    stage.simulator.fail_next("transfer", Trouble.RATE_LIMIT, times=5)
    with pytest.raises(Unreachable):
        await stage.platform.allocate(SIM, TARGET)
    assert stage.simulator.count("transfer") == 5
    assert stage.book.transfers == []


@pytest.mark.parametrize("trouble", [Trouble.RATE_LIMIT, Trouble.BUSY_BEFORE, Trouble.GATEWAY_AFTER])
async def test_reads_are_repeated_five_times_at_most(stage: Stage, trouble: Trouble) -> None:
    stage.simulator.fail_next("read", trouble, times=4)
    assert await stage.platform.find(SIM) is not None
    stage.simulator.fail_next("read", trouble, times=5)
    with pytest.raises(Unreachable):
        await stage.platform.find(SIM)
    assert stage.simulator.count("read") == 10


@pytest.mark.parametrize("trouble", [Trouble.ERROR_BEFORE, Trouble.DROP_BEFORE])
async def test_reads_that_fail_otherwise_are_not_repeated(stage: Stage, trouble: Trouble) -> None:
    stage.simulator.fail_next("read", trouble)
    with pytest.raises(Unreachable):
        await stage.platform.find(SIM)
    assert stage.simulator.count("read") == 1


async def test_nothing_is_changed_while_the_sim_cannot_be_read(stage: Stage) -> None:
    for call in (
        stage.platform.allocate(SIM, TARGET),
        stage.platform.release(SIM, INVENTORY),
        stage.platform.set_state(SIM, SimState.ACTIVE),
    ):
        stage.simulator.fail_next("read", Trouble.ERROR_BEFORE)
        with pytest.raises(Unreachable):
            await call
    assert {seen.operation for seen in stage.simulator.seen} == {"read"}


async def test_change_that_is_accepted_and_done_later_is_waited_for(stage: Stage) -> None:
    await stage.platform.allocate(SIM, TARGET)
    stage.simulator.fail_next("edit", Trouble.LATER)
    assert (await stage.platform.set_state(SIM, SimState.ACTIVE)).state is SimState.ACTIVE
    assert stage.simulator.count("edit") == 1
    assert stage.simulator.count("read") == 2 + 1 + 2


async def test_transfer_that_is_done_after_its_caller_gave_up_happens_once(stage: Stage) -> None:
    hasty = stage.adapter(Timing(timeout=0.05))
    stage.simulator.fail_next("transfer", Trouble.HELD)
    with pytest.raises(Unreachable, match="not known"):
        await hasty.allocate(SIM, TARGET)
    assert stage.book.transfers == []
    stage.simulator.resume()
    await stage.simulator.wait_for("transfer", 1)
    stage.time.now += 60.0
    facts = await stage.platform.allocate(SIM, TARGET)
    assert facts.is_in(TARGET)
    assert stage.simulator.count("transfer") == 1
    assert stage.book.transfers == [THERE]


async def test_platform_that_is_gone_leaves_everything_unknown(stage: Stage) -> None:
    await stage.simulator.__aexit__()
    for call in (stage.platform.find(SIM), stage.platform.allocate(SIM, TARGET), stage.platform.check()):
        with pytest.raises(Unreachable):
            await call


async def test_operation_ends_when_its_time_is_up(stage: Stage) -> None:
    patient = stage.adapter(Timing(timeout=60.0, longest=0.05))
    stage.simulator.fail_next("transfer", Trouble.HELD)
    with pytest.raises(Unreachable, match="too long"):
        await patient.allocate(SIM, TARGET)


async def test_two_at_once_for_one_sim_make_one_transfer(stage: Stage) -> None:
    first, second = await asyncio.gather(*(stage.platform.allocate(SIM, TARGET) for _ in range(2)))
    assert first.is_in(TARGET)
    assert second.is_in(TARGET)
    assert stage.simulator.count("transfer") == 1


async def test_the_platforms_limits_are_never_met(stage: Stage) -> None:
    await asyncio.gather(*(stage.platform.find(SIM) for _ in range(40)), *(stage.platform.check() for _ in range(10)))
    assert {seen.status for seen in stage.simulator.seen} == {200}
    assert stage.time.now >= 9.0


async def test_the_platforms_limits_are_never_met_by_several_processes_together(stage: Stage) -> None:
    others = [stage.adapter() for _ in range(3)]
    await asyncio.gather(*(platform.find(SIM) for platform in others for _ in range(15)))
    assert [seen.status for seen in stage.simulator.seen] == [200] * 45
    assert stage.time.now >= 8.0


async def test_refused_transfer_that_an_earlier_call_had_done_counts_as_done(stage: Stage) -> None:
    class Earlier(Book):
        """The transfer of an earlier call is done just before the one that is asked for now."""

        def transfer(self, iccids: tuple[Iccid, ...], account: str, wanted: Mapping[str, str], user: str) -> None:
            super().transfer(iccids, account, wanted, user)
            super().transfer(iccids, account, wanted, user)

    stage.simulator.book = Earlier(clock=stage.time.date, accounts=stage.book.accounts, sims=stage.book.sims)
    facts = await stage.platform.allocate(SIM, TARGET)
    assert facts.is_in(TARGET)
    assert [seen.status for seen in stage.simulator.seen if seen.operation == "transfer"] == [400]


async def test_wrong_key_is_said_and_never_shown(stage: Stage) -> None:
    with pytest.raises(PlatformRefused, match="API key") as caught:
        await stage.adapter(key="not-the-key").check()
    assert (caught.value.code, caught.value.permanent) == ("10000001", False)
    assert "not-the-key" not in str(caught.value)


async def test_unknown_plan_is_refused_in_the_platforms_words_and_moves_nothing(stage: Stage) -> None:
    target = Account(account=ENTERPRISE, rate_plan="nobody's", communication_plan=TARGET.communication_plan)
    with pytest.raises(PlatformRefused, match="nobody's") as caught:
        await stage.platform.allocate(SIM, target)
    assert (caught.value.code, caught.value.permanent) == ("1000102", True)
    assert where(stage) == (INVENTORY, "INVENTORY")


async def test_names_that_cannot_be_read_back_are_not_asked_for(stage: Stage) -> None:
    for plan in ("", "plan Ω"):
        with pytest.raises(PlatformRefused):
            await stage.platform.allocate(SIM, Account(account=ENTERPRISE, rate_plan=plan, communication_plan="x"))
    assert stage.simulator.seen == []


async def test_sim_in_a_foreign_account_is_not_taken_even_when_it_looks_like_stock(stage: Stage) -> None:
    stage.book.sims[SIM].account = "100020699"
    with pytest.raises(PlatformRefused, match="100020699"):
        await stage.platform.allocate(SIM, TARGET)
    assert stage.simulator.count("transfer") == 0


async def test_ready_sim_is_put_back_to_test_so_that_its_first_session_is_free(stage: Stage) -> None:
    await stage.platform.allocate(SIM, TARGET)
    stage.book.use_test_quota(SIM)
    await stage.platform.allocate(SIM, TARGET)
    stage.book.session_starts(SIM)
    assert (where(stage), stage.book.charges) == ((ENTERPRISE, "TEST_READY"), [])


async def test_what_is_so_already_is_read_and_not_asked_for(stage: Stage) -> None:
    await stage.platform.allocate(SIM, TARGET)
    await stage.platform.allocate(SIM, TARGET)
    await stage.platform.set_state(SIM, SimState.TEST)
    await stage.platform.release(SIM, INVENTORY)
    await stage.platform.release(SIM, INVENTORY)
    assert (stage.simulator.count("transfer"), stage.simulator.count("edit")) == (2, 0)


async def test_what_would_touch_a_billed_line_is_not_even_asked_for(stage: Stage) -> None:
    await stage.platform.allocate(SIM, TARGET)
    await stage.platform.set_state(SIM, SimState.ACTIVE)
    before = (stage.simulator.count("transfer"), stage.simulator.count("edit"))
    with pytest.raises(PlatformRefused) as released:
        await stage.platform.release(SIM, INVENTORY, held_by=ENTERPRISE)
    with pytest.raises(PlatformRefused) as moved:
        await stage.platform.allocate(SIM, OTHER_PLANS)
    assert (released.value.code, moved.value.code) == ("billed", "in_use")
    assert (stage.simulator.count("transfer"), stage.simulator.count("edit")) == before


async def test_release_that_stopped_half_way_is_finished(stage: Stage) -> None:
    stage.book.sims[SIM].status = "TEST_READY"
    assert (await stage.platform.release(SIM, INVENTORY)).state is SimState.INVENTORY
    assert (stage.simulator.count("transfer"), stage.simulator.count("edit")) == (0, 1)


async def test_allocation_that_stopped_half_way_is_finished_without_a_second_transfer(stage: Stage) -> None:
    stage.book.transfer((SIM,), ENTERPRISE, {}, "somebody")
    facts = await stage.platform.allocate(SIM, TARGET)
    assert (facts.is_in(TARGET), facts.state) == (True, SimState.TEST)
    assert (stage.simulator.count("transfer"), stage.simulator.count("edit")) == (0, 1)


async def test_sim_given_up_by_its_operator_is_not_taken(stage: Stage) -> None:
    for account, status in ((INVENTORY, "RETIRED"), (INVENTORY, "GLOBAL_TRANSFER"), (ENTERPRISE, "PURGED")):
        stage.book.sims[SIM].account, stage.book.sims[SIM].status = account, status
        with pytest.raises(PlatformRefused, match=status):
            await stage.platform.allocate(SIM, TARGET)
    assert {seen.operation for seen in stage.simulator.seen} == {"read"}


async def test_wrong_address_is_not_taken_for_an_unknown_sim(stage: Stage) -> None:
    login = Login(
        base_url=f"http://127.0.0.1:{stage.simulator.port}/provision", username="orchestrator", api_key=Secret(KEY)
    )
    rest = ControlCenterRest(stage.session, login, stage.pace())
    with pytest.raises(PlatformRefused, match="base_url") as caught:
        await ControlCenter(rest).find(SIM)
    assert (caught.value.code, caught.value.permanent) == ("http_404", False)


async def test_platform_from_settings_works_with_the_host_alone(stage: Stage) -> None:
    settings = PlatformSettings(
        kind="control_center",
        base_url=f"http://127.0.0.1:{stage.simulator.port}",
        username="orchestrator",
        api_key=Secret(KEY),
        inventory_account=INVENTORY,
    )
    platform = Registry(stage.session, stage.lines).platform("partner", settings)
    await platform.check()
    facts = await platform.find(SIM)
    assert facts is not None
    assert facts.state is SimState.INVENTORY

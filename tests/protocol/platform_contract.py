"""What every carrier's platform must do: a test class for each adapter inherits this and says where its SIMs are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from carriers.base import Account, Billable, Platform, PlatformRefused, SimState
from rsp.identifiers import Iccid


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A platform with a SIM in stock, an ICCID it does not know, and an enterprise's account under two sets of plans.

    `connect` lets a device with the SIM open a data session, `disconnect` ends it.
    """

    platform: Platform
    sim: Iccid
    unknown: Iccid
    inventory: str
    target: Account
    other_plans: Account
    other_account: Account
    connect: Callable[[Iccid], object]
    disconnect: Callable[[Iccid], object]


class PlatformContract:
    """Inherit, and define the fixture `place`. What the platform cannot do, it must refuse for good."""

    async def test_credentials_are_tried(self, place: Place) -> None:
        await place.platform.check()

    async def test_unknown_sim_is_not_found(self, place: Place) -> None:
        assert await place.platform.find(place.unknown) is None
        assert await place.platform.session(place.unknown) is None

    async def test_unknown_sim_is_never_changed(self, place: Place) -> None:
        platform = place.platform
        await refused(platform.allocate(place.unknown, place.target))
        await refused(platform.release(place.unknown, place.inventory))
        for state in SimState:
            await refused(platform.set_state(place.unknown, state))

    async def test_allocated_sim_connects_and_costs_nothing(self, place: Place) -> None:
        if not place.platform.capabilities.can_allocate:
            await refused(place.platform.allocate(place.sim, place.target))
            return
        facts = await place.platform.allocate(place.sim, place.target)
        assert facts.iccid == place.sim
        assert facts.is_in(place.target)
        assert place.platform.capabilities.has_connectable_unbilled_state
        assert (facts.state, facts.billable) == (SimState.TEST, Billable.NO)
        found = await place.platform.find(place.sim)
        assert found is not None
        assert found.is_in(place.target)

    async def test_what_is_so_is_not_done_again(self, place: Place) -> None:
        if not place.platform.capabilities.can_allocate:
            return
        first = await place.platform.allocate(place.sim, place.target)
        again = await place.platform.allocate(place.sim, place.target)
        assert (first.state, first.account) == (again.state, again.account)
        await place.platform.set_state(place.sim, SimState.ACTIVE)
        active = await place.platform.allocate(place.sim, place.target)
        assert active.state is SimState.ACTIVE

    async def test_plans_of_a_tested_sim_are_changed_and_those_of_an_active_one_are_not(self, place: Place) -> None:
        if not place.platform.capabilities.can_allocate:
            return
        await place.platform.allocate(place.sim, place.target)
        assert (await place.platform.allocate(place.sim, place.other_plans)).is_in(place.other_plans)
        await place.platform.set_state(place.sim, SimState.ACTIVE)
        await refused(place.platform.allocate(place.sim, place.target))

    async def test_sim_of_one_account_is_not_given_to_another(self, place: Place) -> None:
        if not place.platform.capabilities.can_allocate:
            return
        await place.platform.allocate(place.sim, place.target)
        await refused(place.platform.allocate(place.sim, place.other_account))
        found = await place.platform.find(place.sim)
        assert found is not None
        assert found.is_in(place.target)

    async def test_released_sim_is_in_stock_and_can_be_allocated_to_another_account(self, place: Place) -> None:
        if not place.platform.capabilities.can_release:
            await refused(place.platform.release(place.sim, place.inventory))
            return
        await place.platform.allocate(place.sim, place.target)
        for _ in range(2):
            facts = await place.platform.release(place.sim, place.inventory, held_by=place.target.account)
            assert (facts.account, facts.state, facts.billable) == (place.inventory, SimState.INVENTORY, Billable.NO)
        assert (await place.platform.allocate(place.sim, place.other_account)).is_in(place.other_account)
        await refused(place.platform.release(place.sim, place.inventory, held_by=place.target.account))

    async def test_billed_sim_is_not_released(self, place: Place) -> None:
        if not place.platform.capabilities.can_release:
            return
        await place.platform.allocate(place.sim, place.target)
        await place.platform.set_state(place.sim, SimState.ACTIVE)
        await refused(place.platform.release(place.sim, place.inventory))
        await place.platform.set_state(place.sim, SimState.DEACTIVATED)
        assert (await place.platform.release(place.sim, place.inventory)).state is SimState.INVENTORY

    async def test_every_settable_state_is_reached_and_any_other_refused(self, place: Place) -> None:
        settable = place.platform.capabilities.settable_states
        if place.platform.capabilities.can_allocate:
            await place.platform.allocate(place.sim, place.target)
        for state in set(SimState) - settable:
            await refused(place.platform.set_state(place.sim, state))
        for state in sorted(settable, key=[*SimState].index):
            for _ in range(2):
                assert (await place.platform.set_state(place.sim, state)).state is state

    async def test_active_is_billed_where_we_set_it(self, place: Place) -> None:
        if not place.platform.capabilities.can_set_billable:
            await refused(place.platform.set_state(place.sim, SimState.ACTIVE))
            return
        await place.platform.allocate(place.sim, place.target)
        assert (await place.platform.set_state(place.sim, SimState.ACTIVE)).billable is Billable.YES

    async def test_line_of_another_account_is_not_activated(self, place: Place) -> None:
        if not place.platform.capabilities.can_allocate:
            return
        await place.platform.allocate(place.sim, place.other_account)
        await refused(place.platform.set_state(place.sim, SimState.ACTIVE, held_by=place.target.account))
        found = await place.platform.set_state(place.sim, SimState.ACTIVE, held_by=place.other_account.account)
        assert found.billable is Billable.YES

    async def test_sim_in_stock_is_not_billed_to_the_carrier(self, place: Place) -> None:
        await refused(place.platform.set_state(place.sim, SimState.ACTIVE))

    async def test_sessions_are_told(self, place: Place) -> None:
        assert await place.platform.session(place.sim) is None
        if not place.platform.capabilities.reports_sessions:
            return
        await place.platform.allocate(place.sim, place.target)
        place.connect(place.sim)
        session = await place.platform.session(place.sim)
        assert session is not None
        assert session.active
        place.disconnect(place.sim)
        ended = await place.platform.session(place.sim)
        assert ended is not None
        assert (ended.active, ended.since) == (False, session.since)
        assert ended.ended is not None
        assert ended.ended >= ended.since


async def refused(call: object) -> None:
    """The call is refused for good, with a code and words."""
    with pytest.raises(PlatformRefused) as caught:
        await call  # type: ignore[misc]  # any coroutine
    assert caught.value.permanent
    assert caught.value.code
    assert caught.value.message

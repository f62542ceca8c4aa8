"""What every source of profiles must do for swaps: a test class for each adapter inherits this and says where it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from rsp.identifiers import ActivationCode, Eid, Iccid
from simulator.card import Card
from swap.plan import Stock
from swap.ports import ProfileRefused, ProfileSource, ProfileState, Returned


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A source with its stock, and what cards do there.

    `fill` puts so many profiles into stock. `card` makes a new card. `hand_out` lets a card fetch its package and
    report nothing; `install` lets it install and report. `unknown_type` is stock of a type that the SM-DP+ does not
    have. `takes_back`: whether an installed profile goes back into stock when it is off the card.
    """

    source: ProfileSource
    stock: Stock
    unknown_type: Stock
    address: str
    fill: Callable[[int], Awaitable[list[Iccid]]]
    card: Callable[[], Card]
    hand_out: Callable[[Card, str], Awaitable[None]]
    install: Callable[[Card, str], Awaitable[None]]
    takes_back: bool = True


class ProfileSourceContract:
    """Inherit, and define the fixture `place`. Nothing here may tell one adapter from another."""

    async def released(self, place: Place, eid: Eid, key: str = "a") -> tuple[Iccid, str]:
        iccid = await place.source.reserve(f"{key}-reserve", place.stock, eid)
        return iccid, await place.source.release(f"{key}-release", place.stock, iccid, eid)

    async def test_a_profile_is_available_before_it_is_reserved(self, place: Place) -> None:
        await place.fill(1)
        assert await place.source.available(place.stock)

    async def test_a_reserved_profile_is_of_the_stock_and_held_for_this_esim(self, place: Place) -> None:
        filled = await place.fill(2)
        eid = place.card().eid
        iccid = await place.source.reserve("a", place.stock, eid)
        assert iccid in filled
        assert await place.source.state(place.stock, iccid, eid) is ProfileState.RESERVED

    async def test_the_same_reservation_again_is_the_same_profile(self, place: Place) -> None:
        filled = await place.fill(3)
        eid = place.card().eid
        again = {await place.source.reserve("a", place.stock, eid) for _ in range(3)}
        other = await place.source.reserve("b", place.stock, place.card().eid)
        assert (len(again), other in again) == (1, False)
        third = await place.source.reserve("c", place.stock, eid)
        assert {*again, other, third} == set(filled)

    async def test_an_empty_stock_refuses_and_a_filled_one_gives_under_the_same_key(self, place: Place) -> None:
        await place.fill(1)
        await place.source.reserve("a", place.stock, place.card().eid)
        eid = place.card().eid
        with pytest.raises(ProfileRefused):
            await place.source.reserve("b", place.stock, eid)
        (iccid,) = await place.fill(1)
        assert await place.source.reserve("b", place.stock, eid) == iccid

    async def test_a_type_nobody_has_is_refused(self, place: Place) -> None:
        with pytest.raises(ProfileRefused):
            await place.source.reserve("a", place.unknown_type, place.card().eid)

    async def test_a_release_gives_a_code_of_this_server_and_the_same_one_again(self, place: Place) -> None:
        await place.fill(1)
        eid = place.card().eid
        iccid, code = await self.released(place, eid)
        parsed = ActivationCode.parse(code)
        assert (parsed.smdp_address, parsed.confirmation_code_required) == (place.address, False)
        assert parsed.matching_id is not None
        assert await place.source.release("a-release", place.stock, iccid, eid) == code
        assert await place.source.state(place.stock, iccid, eid) is ProfileState.RELEASED

    async def test_nothing_is_known_or_released_of_a_profile_of_another_esim(self, place: Place) -> None:
        await place.fill(1)
        stranger = place.card().eid
        iccid = await place.source.reserve("a", place.stock, place.card().eid)
        assert await place.source.state(place.stock, iccid, stranger) is None
        with pytest.raises(ProfileRefused):
            await place.source.release("b", place.stock, iccid, stranger)

    async def test_nothing_is_known_or_released_of_a_profile_nobody_ordered(self, place: Place) -> None:
        (iccid,) = await place.fill(1)
        eid = place.card().eid
        assert await place.source.state(place.stock, iccid, eid) is None
        with pytest.raises(ProfileRefused):
            await place.source.release("a", place.stock, iccid, eid)
        assert await place.source.recall("b", place.stock, iccid, eid)

    @pytest.mark.parametrize("released", [False, True])
    async def test_a_recalled_profile_is_in_stock_for_another_esim(self, place: Place, released: bool) -> None:
        await place.fill(1)
        eid, other = place.card().eid, place.card().eid
        iccid = await place.source.reserve("a-reserve", place.stock, eid)
        if released:
            await place.source.release("a-release", place.stock, iccid, eid)
        for _ in range(2):
            assert await place.source.recall("a-recall", place.stock, iccid, eid)
        assert await place.source.state(place.stock, iccid, eid) is None
        assert await place.source.reserve("b", place.stock, other) == iccid
        assert await place.source.state(place.stock, iccid, other) is ProfileState.RESERVED
        # The one that is over is not the one that now is.
        assert await place.source.state(place.stock, iccid, eid) is None

    async def test_a_handed_out_profile_is_not_recalled(self, place: Place) -> None:
        await place.fill(1)
        card = place.card()
        iccid, code = await self.released(place, card.eid)
        await place.hand_out(card, code)
        assert await place.source.state(place.stock, iccid, card.eid) is ProfileState.HANDED_OUT
        for _ in range(2):
            assert not await place.source.recall("a-recall", place.stock, iccid, card.eid)
        assert await place.source.state(place.stock, iccid, card.eid) is ProfileState.HANDED_OUT

    async def test_an_installed_profile_is_not_recalled(self, place: Place) -> None:
        await place.fill(1)
        card = place.card()
        iccid, code = await self.released(place, card.eid)
        await place.install(card, code)
        assert await place.source.state(place.stock, iccid, card.eid) is ProfileState.INSTALLED
        assert not await place.source.recall("a-recall", place.stock, iccid, card.eid)
        assert await place.source.state(place.stock, iccid, card.eid) is ProfileState.INSTALLED

    @pytest.mark.parametrize("reusable", [False, True])
    async def test_a_deleted_profile_comes_back_as_told_and_the_same_again(self, place: Place, reusable: bool) -> None:
        await place.fill(1)
        card = place.card()
        iccid, code = await self.released(place, card.eid)
        await place.install(card, code)
        wanted = Returned.IN_STOCK if reusable else Returned.WITHDRAWN
        expected = wanted if place.takes_back else Returned.KEPT
        for _ in range(2):
            came = await place.source.give_back("a-back", place.stock, iccid, card.eid, reusable=reusable)
            assert came is expected
        # One that is kept is still what it was there.
        left = ProfileState.INSTALLED if expected is Returned.KEPT else None
        assert await place.source.state(place.stock, iccid, card.eid) is left
        if expected is Returned.IN_STOCK:
            assert await place.source.reserve("b", place.stock, place.card().eid) == iccid
        else:
            with pytest.raises(ProfileRefused):
                await place.source.reserve("b", place.stock, place.card().eid)

    async def test_a_profile_no_card_got_is_not_given_back_as_deleted(self, place: Place) -> None:
        await place.fill(1)
        card = place.card()
        iccid, _ = await self.released(place, card.eid)
        with pytest.raises(ProfileRefused):
            await place.source.give_back("a-back", place.stock, iccid, card.eid, reusable=True)
        assert await place.source.state(place.stock, iccid, card.eid) is ProfileState.RELEASED

"""The contract of sources of profiles, kept by our own SM-DP+ in process and by others over ES2+."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from profile_source_contract import Place, ProfileSourceContract

from rsp.identifiers import ActivationCode, Iccid
from server.profile_source import AllProfiles, OwnProfiles
from simulator.card import Card
from simulator.foreign_smdp import State
from smdp.returning import Returning
from store.ordering import Orderings
from store.stock import Stock as StoredStock
from swap.plan import Stock
from tests.foreign_fixtures import Home, report
from tests.foreign_stage import (
    FOREIGN,
    foreign_server,
    scripted,
)
from tests.protocol_attempt import Attempt
from tests.protocol_stage import NAME, TYPE, Clock, Material, Stage


async def handed_out(stage: Stage, card: Card, code: str, address: str) -> tuple[Attempt, bytes]:
    """A download up to the package."""
    matching_id = ActivationCode.parse(code).matching_id
    attempt = Attempt(stage=stage, card=card, matching_id=str(matching_id))
    await attempt.initiate(address)
    await attempt.authenticate()
    return attempt, await attempt.deliver()


async def installed(stage: Stage, card: Card, code: str, address: str) -> None:
    """A download with its report handed in."""
    attempt, bpp = await handed_out(stage, card, code, address)
    await stage.notifications.handle_notification(attempt.install(bpp).raw)
    await stage.judge()


class TestOurOwn(ProfileSourceContract):
    """In process."""

    @pytest.fixture
    async def place(self, stage: Stage) -> Place:
        operator_id = await stage.operator()
        own = OwnProfiles(stage.ordering, Returning(Orderings(stage.pool)), StoredStock(stage.pool), stage.policy)

        async def fill(count: int) -> list[Iccid]:
            return [(await stage.stock(operator_id)).iccid for _ in range(count)]

        async def hand_out(card: Card, code: str) -> None:
            await handed_out(stage, card, code, NAME)

        async def install(card: Card, code: str) -> None:
            await installed(stage, card, code, NAME)

        return Place(
            source=AllProfiles(own, own),
            stock=Stock(operator_id=operator_id, profile_type=TYPE),
            unknown_type=Stock(operator_id=operator_id, profile_type="unheard-of"),
            address=NAME,
            fill=fill,
            card=stage.card,
            hand_out=hand_out,
            install=install,
        )


class TestOurServerAsAnothers(ProfileSourceContract):
    """Another instance of our server over HTTP, which reports downloads to us."""

    @pytest.fixture
    async def place(
        self, home: Home, stage: Stage, other_database: str, abroad: Material, clock: Clock
    ) -> AsyncIterator[Place]:
        async with foreign_server(
            other_database, abroad, clock, report_to=home.listener.port, home=home.material
        ) as server:
            carrier_id = await home.carrier(abroad, server.es2_port, caller=server.caller)

            async def hand_out(card: Card, code: str) -> None:
                await handed_out(server.stage, card, code, FOREIGN)
                await server.report()

            async def install(card: Card, code: str) -> None:
                await installed(server.stage, card, code, FOREIGN)
                await server.report()

            yield Place(
                source=home.foreign.profiles,
                stock=Stock(operator_id=0, profile_type=TYPE, peer_id=carrier_id),
                unknown_type=Stock(operator_id=0, profile_type="unheard-of", peer_id=carrier_id),
                address=FOREIGN,
                fill=server.stock,
                card=stage.card,
                hand_out=hand_out,
                install=install,
                takes_back=False,
            )


Make = Callable[..., Awaitable[Place]]


@pytest.fixture
async def scripted_place(home: Home, stage: Stage, abroad: Material) -> AsyncIterator[Make]:
    """Makes a place at the simulator's SM-DP+; it tells of downloads by reports where it cannot be read."""
    async with AsyncExitStack() as stack:

        async def make(**habits: Any) -> Place:
            smdp = await stack.enter_async_context(scripted(abroad, **habits))
            carrier_id = await home.carrier(abroad, smdp.port, caller=abroad.pki.tls_certificate.read_text())
            numbers = iter(range(1, 1000))

            async def fill(count: int) -> list[Iccid]:
                return [smdp.stock(Iccid(f"89882119{next(numbers):011d}"), TYPE).iccid for _ in range(count)]

            def of(code: str) -> Iccid:
                wanted = str(ActivationCode.parse(code).matching_id)
                return next(one.iccid for one in smdp.profiles.values() if one.matching_id == wanted)

            async def hand_out(card: Card, code: str) -> None:
                smdp.profiles[of(code)].become(State.DOWNLOADED)
                if not smdp.readable:
                    assert await report(home, abroad, of(code), 3, eid=str(card.eid)) == 204

            async def install(card: Card, code: str) -> None:
                await hand_out(card, code)
                smdp.profiles[of(code)].become(State.INSTALLED)
                if not smdp.readable:
                    assert await report(home, abroad, of(code), 4) == 204

            return Place(
                source=home.foreign.profiles,
                stock=Stock(operator_id=0, profile_type=TYPE, peer_id=carrier_id),
                unknown_type=Stock(operator_id=0, profile_type="unheard-of", peer_id=carrier_id),
                address=FOREIGN,
                fill=fill,
                card=stage.card,
                hand_out=hand_out,
                install=install,
                takes_back=smdp.recovers,
            )

        yield make


class TestScripted(ProfileSourceContract):
    """Another maker's, with everything a maker may offer."""

    @pytest.fixture
    async def place(self, scripted_place: Make) -> Place:
        return await scripted_place()


class TestScriptedWithoutVendorFunctions(ProfileSourceContract):
    """Another maker's with nothing but the standard, which forgets call ids and leaves out what it may."""

    @pytest.fixture
    async def place(self, scripted_place: Make) -> Place:
        return await scripted_place(remembers=False, readable=False, recovers=False, names_address=False)

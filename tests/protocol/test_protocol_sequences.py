"""Whatever operator, devices and network do, in whatever order: the tables stay sound, no profile is on two cards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsp.errors import Refused
from rsp.identifiers import Eid
from simulator.card import Card
from simulator.lpa_messages import CancelReason
from simulator.misbehaviour import Misbehaviour
from smdp.ordering import CancelOrder, ConfirmOrder, DownloadOrder, FinalProfileStatus
from tests.protocol_attempt import Attempt, attempt
from tests.protocol_stage import Ordered, Stage, installed_on

MOST_CARDS = 2
SECRET_FREE = {"installed", "cancelled"}


@dataclass(slots=True, kw_only=True)
class World:
    """One profile, two cards that both try to get it, reports on their way."""

    stage: Stage
    stocked: Ordered
    cards: list[Card]
    token: str | None = None
    trials: dict[int, Attempt] = field(default_factory=dict)
    packages: dict[int, bytes] = field(default_factory=dict)
    reports: list[bytes] = field(default_factory=list)
    installed_before: bool = False

    async def order(self, which: int) -> None:
        """DownloadOrder, for any card or for the first."""
        eid: Eid | None = self.cards[0].eid if which else None
        call = self.stage.call(self.stocked.tenant_id)
        await self.stage.ordering.download_order(call, DownloadOrder(iccid=self.stocked.iccid, eid=eid))

    async def confirm(self, which: int) -> None:
        """ConfirmOrder, with release or without."""
        call = self.stage.call(self.stocked.tenant_id)
        request = ConfirmOrder(iccid=self.stocked.iccid, release=bool(which))
        self.token = (await self.stage.ordering.confirm_order(call, request)).matching_id

    async def release(self, which: int) -> None:
        """ReleaseProfile."""
        await self.stage.ordering.release_profile(self.stage.call(self.stocked.tenant_id), self.stocked.iccid)

    async def cancel_order(self, which: int) -> None:
        """CancelOrder; the operator wants the profile back whenever it can have it."""
        row = await self.stage.order_row(self.stocked.iccid)
        request = CancelOrder(
            iccid=self.stocked.iccid,
            final_status=FinalProfileStatus.AVAILABLE if which else FinalProfileStatus.UNAVAILABLE,
            eid=Eid(row["eid"]) if row is not None and row["eid"] else None,
        )
        await self.stage.ordering.cancel_order(self.stage.call(self.stocked.tenant_id), request)

    async def begin(self, which: int) -> None:
        """A card starts a session."""
        self.packages.pop(which, None)
        self.trials[which] = attempt(self.stage, self.cards[which], self.token)
        await self.trials[which].begun()

    async def deliver(self, which: int) -> None:
        """It asks for its package, or asks again with the same bytes."""
        trial = self.trials.get(which)
        if trial is not None and trial.authenticated is not None:
            self.packages[which] = await trial.deliver(message=trial.sent.get("deliver"))

    async def install(self, which: int) -> None:
        """It installs its package."""
        if package := self.packages.pop(which, None):
            # A card whose session is over takes no package.
            with suppress(ValueError):
                self.reports.append(self.trials[which].install(package).raw)

    async def fail(self, which: int) -> None:
        """It fails to install its package."""
        self.cards[which].misbehave = frozenset({Misbehaviour.FAIL_INSTALL_PE})
        await self.install(which)
        self.cards[which].misbehave = frozenset()

    async def cancel_session(self, which: int) -> None:
        """Its user says no."""
        if which in self.trials and self.trials[which].initiated is not None:
            await self.trials[which].cancel(CancelReason.END_USER_REJECTION)

    async def postpone(self, which: int) -> None:
        """Its user says later."""
        if which in self.trials and self.trials[which].initiated is not None:
            await self.trials[which].cancel(CancelReason.POSTPONED)

    async def report(self, which: int) -> None:
        """The oldest or the newest report arrives, and is not forgotten: it may arrive again."""
        if self.reports:
            await self.stage.notifications.handle_notification(self.reports[-which])
            await self.stage.judge()

    async def wait(self, which: int) -> None:
        """Sessions expire."""
        self.stage.clock.advance(minutes=11)

    async def check(self) -> None:
        """What must hold at any time."""
        stage, iccid = self.stage, self.stocked.iccid
        orders: list[Any] = await stage.tables.fetch("SELECT * FROM orders WHERE iccid = $1 ORDER BY id", str(iccid))
        stands = [row for row in orders if row["state"] != "cancelled"]
        assert len(stands) <= 1
        assert (await stage.profile_state(iccid) == "ordered") == bool(stands)
        for row in orders:
            over = row["state"] in SECRET_FREE
            assert over == (row["ended_at"] is not None)
            sealed = [row[name] for name in ("key_sealed", "confirmation_sealed", "otsk_sealed", "euicc_otpk")]
            assert not over or sealed == [None] * 4
        holding = [card for card in self.cards if str(iccid) in installed_on(card)]
        assert len(holding) <= 1
        installed = any(row["state"] == "installed" for row in orders)
        assert installed or not self.installed_before, "an installed order stays installed"
        self.installed_before = installed
        if installed:
            assert [str(card.eid) for card in holding] == [orders[-1]["eid"]]


STEPS: list[Callable[[World, int], Awaitable[None]]] = [
    World.order,
    World.confirm,
    World.release,
    World.cancel_order,
    World.begin,
    World.deliver,
    World.install,
    World.fail,
    World.cancel_session,
    World.postpone,
    World.report,
    World.wait,
]
"""Random steps hardly ever make a download by themselves, so whole stretches of one are also drawn."""
STRETCHES = {
    "ordered": [(World.order, 0), (World.confirm, 1)],
    "downloaded": [(World.begin, 0), (World.deliver, 0)],
    "installed": [(World.begin, 0), (World.deliver, 0), (World.install, 0)],
    "reported": [(World.begin, 0), (World.deliver, 0), (World.install, 0), (World.report, 1)],
    "rejected": [(World.begin, 0), (World.cancel_session, 0)],
    "rival": [(World.begin, 1), (World.deliver, 1), (World.install, 1), (World.report, 1)],
    "ordered again": [(World.cancel_order, 0), (World.order, 0), (World.confirm, 1)],
}

single = st.tuples(st.sampled_from(STEPS), st.integers(0, 1)).map(lambda step: [step])
stretches = st.sampled_from(sorted(STRETCHES)).map(lambda name: STRETCHES[name])
stories = st.lists(single | stretches, min_size=3, max_size=12).map(lambda parts: sum(parts, STRETCHES["ordered"]))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(story=stories)
async def test_no_story_breaks_the_tables_or_puts_a_profile_on_two_cards(
    stage: Stage, story: list[tuple[Callable[[World, int], Awaitable[None]], int]]
) -> None:
    stocked = await stage.stock(await stage.operator())
    world = World(stage=stage, stocked=stocked, cards=[stage.card() for _ in range(MOST_CARDS)])
    for step, which in story:
        with suppress(Refused):
            await step(world, which)
        await world.check()
    # In the end every report gets through.
    for raw in world.reports:
        await stage.notifications.handle_notification(raw)
    await stage.judge()
    await world.check()

"""Events of orders at an SM-DS: registered before the order is released, deleted when it ends (SGP.22 3.6, 5.3)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from rsp.errors import NothingSent, Refused
from rsp.status import Status
from simulator.card import Card
from simulator.smds import Trouble
from smdp.ordering import DownloadOrder, Ordering
from store.ordering import Orderings
from tests.conformance import conforms
from tests.protocol_stage import NAME, Clock, Material, Ordered, Seen, refuses
from tests.smds_stage import SMDS, EventStage, es12_client
from transport.resolving import ChosenHosts
from transport.tls import ci_context


@pytest.fixture
async def at(database: str, material: Material, clock: Clock) -> AsyncIterator[EventStage]:
    async with EventStage.opened(database, material, clock) as opened:
        yield opened


# Registration ---------------------------------------------------------------------------------------------------------


@conforms("SGP.22 3.6.1", "EventID is the MatchingID, the address is ours", where="smdp/announcing.py")
async def test_released_order_has_its_event(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.announced(card.eid)
    assert await at.stage.seen(ordered) == Seen(order="released", eid=str(card.eid))
    assert (await at.rows(ordered), await at.unsent()) == (["registered"], 0)


async def test_operators_own_matching_id_is_the_event(at: EventStage) -> None:
    card = at.stage.card()
    assert (await at.announced(card.eid, matching_id="MY-EVENT")).matching_id == "MY-EVENT"


async def test_empty_matching_id_is_replaced_because_an_event_needs_one(at: EventStage) -> None:
    card = at.stage.card()
    assert (await at.announced(card.eid, matching_id="")).matching_id


@conforms(
    "SGP.22 5.3.2", "an SM-DS needs the EID", Status.EID_MISSING, function="confirmOrder", where="smdp/ordering.py"
)
async def test_order_without_eid_gets_no_event(at: EventStage) -> None:
    ordered = await at.stage.stock(await at.stage.operator())
    await at.stage.ordering.download_order(at.stage.call(ordered.tenant_id), DownloadOrder(iccid=ordered.iccid))
    with refuses(Status.EID_MISSING):
        await at.confirm(ordered)
    card = at.stage.card()
    await at.confirm(ordered, eid=card.eid)
    assert [name for name, _ in at.smds.events(card.eid)]


@conforms("SGP.22 3.6.1", "an order that is confirmed only has no event until ReleaseProfile", where="smdp/ordering.py")
async def test_event_waits_for_the_release(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.confirm(await at.linked(card.eid), release=False)
    assert (at.smds.seen, await at.rows(ordered)) == ([], [])
    await at.stage.ordering.release_profile(at.stage.call(ordered.tenant_id, "release"), ordered.iccid)
    assert at.smds.events(card.eid) == [(ordered.matching_id, NAME)]
    await at.stage.ordering.release_profile(at.stage.call(ordered.tenant_id, "release"), ordered.iccid)
    await at.stage.ordering.release_profile(at.stage.call(ordered.tenant_id), ordered.iccid)
    assert len(at.smds.calls("registerEvent")) == 1


async def test_order_without_sm_ds_calls_none(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.confirm(await at.linked(card.eid), smds_address=None)
    await at.stage.cancel_order(ordered, eid=card.eid)
    assert (at.smds.seen, await at.unsent()) == ([], 0)


async def test_sm_ds_that_is_not_allowed_is_refused_even_before_the_release(at: EventStage) -> None:
    ordered = await at.linked(at.stage.card().eid)
    for release in (True, False):
        with refuses(Status.SMDS_UNREACHABLE):
            await at.confirm(ordered, release=release, smds_address="other.example.com")
    assert ((await at.stage.seen(ordered)).order, at.smds.seen) == ("linked", [])


async def test_repeated_call_gets_its_result_and_no_second_event(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.linked(card.eid)
    first = await at.confirm(ordered, call_id="same")
    assert await at.confirm(ordered, call_id="same") == first
    assert len(at.smds.calls("registerEvent")) == 1


async def test_matching_id_of_another_order_never_gets_to_the_sm_ds(at: EventStage) -> None:
    card = at.stage.card()
    await at.announced(card.eid, matching_id="TAKEN")
    for eid in (card.eid, at.stage.card().eid):
        with refuses(Status.MATCHING_ID_IN_USE):
            await at.confirm(await at.linked(eid), matching_id="TAKEN")
    assert len(at.smds.calls("registerEvent")) == 1


# A registration that fails --------------------------------------------------------------------------------------------


async def untouched(at: EventStage, ordered: Ordered, card: Card) -> None:
    """The order is where it was, and once all is settled nothing is left at the SM-DS or to be done."""
    assert await at.stage.seen(ordered) == Seen(order="linked", eid=str(card.eid), sealed=())
    await at.settle()
    assert await at.stage.seen(ordered) == Seen(order="linked", eid=str(card.eid), sealed=())
    assert (at.smds.events(card.eid), set(await at.rows(ordered)), await at.unsent()) == ([], {"withdrawn"}, 0)


@conforms(
    "SGP.22 5.3.2", "an SM-DS that cannot be reached fails the call", Status.SMDS_UNREACHABLE, function="confirmOrder",
    where="smdp/announcing.py",
)  # fmt: skip
@pytest.mark.parametrize("trouble", [trouble for trouble in Trouble if trouble is not Trouble.HELD])
async def test_lost_registration_leaves_nothing_behind(at: EventStage, trouble: Trouble) -> None:
    card = at.stage.card()
    ordered = await at.linked(card.eid)
    at.smds.fail_next("registerEvent", trouble)
    with refuses(Status.SMDS_UNREACHABLE):
        await at.confirm(ordered, call_id="again")
    assert (await at.rows(ordered), await at.unsent()) == (["withdrawing"], 1)
    await untouched(at, ordered, card)
    assert (await at.confirm(ordered, call_id="again")).matching_id == at.smds.events(card.eid)[0][0]


@dataclass
class Names(AbstractResolver):
    """Every name is at this one address; at none when that is empty."""

    address: str = ""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if not self.address:
            raise OSError("no such name")
        found = ResolveResult(hostname=host, host=self.address, port=port, family=family, proto=0, flags=0)
        return [found]

    async def close(self) -> None:
        """Nothing to close."""


async def confirm_by(at: EventStage, names: AbstractResolver, ordered: Ordered) -> Exception:
    """ConfirmOrder of a server that looks names up so, under a MatchingID of its own; what it is refused with."""
    pki, stage = at.stage.material.pki, at.stage
    tls = ci_context(pki.ci_certificates, pki.tls_certificate, pki.tls_key)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls, resolver=names)) as http:
        server = Ordering(Orderings(stage.pool), stage.material.vault, stage.policy, stage.clock.now, es12_client(http))
        with pytest.raises(Refused) as refusal:
            await at.confirm(ordered, ordering=server, matching_id="MINE")
    assert refusal.value.status is Status.SMDS_UNREACHABLE
    return refusal.value


UNREACHED: dict[str, Callable[[], AbstractResolver]] = {
    "no such name": lambda: ChosenHosts({}, Names()),
    "not public": lambda: ChosenHosts({}, Names("127.0.0.1")),
    "nobody listens": lambda: ChosenHosts({SMDS: ("127.0.0.1", 1)}, Names("127.0.0.1")),
}


@pytest.mark.parametrize("names", UNREACHED.values(), ids=UNREACHED)
async def test_sm_ds_that_was_never_asked_is_not_asked_to_delete(
    at: EventStage, names: Callable[[], AbstractResolver]
) -> None:
    card = at.stage.card()
    ordered = await at.linked(card.eid)
    refusal = await confirm_by(at, names(), ordered)
    assert isinstance(refusal.__cause__, NothingSent)
    assert (await at.rows(ordered), await at.unsent()) == (["withdrawn"], 0)
    await untouched(at, ordered, card)
    assert at.smds.seen == []
    await at.confirm(ordered, matching_id="MINE")
    assert at.smds.events(card.eid) == [("MINE", NAME)]


async def test_sm_ds_that_may_have_been_asked_before_is_asked_to_delete(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.linked(card.eid)
    at.smds.fail_next("registerEvent", Trouble.DROP_AFTER)
    with refuses(Status.SMDS_UNREACHABLE):
        await at.confirm(ordered, matching_id="MINE")
    assert at.smds.events(card.eid) == [("MINE", NAME)]
    await confirm_by(at, ChosenHosts({}, Names()), ordered)
    assert await at.rows(ordered) == ["withdrawn", "withdrawing"]
    await untouched(at, ordered, card)


@conforms(
    "SGP.22 5.3.2", "an error of the SM-DS fails the call", Status.SMDS_ERROR, function="confirmOrder",
    where="smdp/announcing.py",
)  # fmt: skip
@pytest.mark.parametrize(
    ("refusal", "answer"),
    [
        (Status.SMDS_ERROR, Status.SMDS_ERROR),
        (Status.SMDS_UNREACHABLE, Status.SMDS_UNREACHABLE),
        (Status.REQUESTER_UNKNOWN, Status.SMDS_ERROR),
        (Status.EVENT_REGISTERED_ALREADY, Status.SMDS_ERROR),
    ],
)
async def test_refused_registration_leaves_nothing_behind(at: EventStage, refusal: Status, answer: Status) -> None:
    card = at.stage.card()
    ordered = await at.linked(card.eid)
    at.smds.fail_next("registerEvent", refusal)
    with refuses(answer):
        await at.confirm(ordered)
    foreign = refusal is Status.EVENT_REGISTERED_ALREADY
    assert (await at.rows(ordered), await at.unsent()) == ((["withdrawn"], 0) if foreign else (["withdrawing"], 1))
    await untouched(at, ordered, card)


async def test_release_that_fails_leaves_the_order_confirmed(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.confirm(await at.linked(card.eid), release=False)
    at.smds.fail_next("registerEvent", Trouble.DROP_AFTER)
    with refuses(Status.SMDS_UNREACHABLE):
        await at.stage.ordering.release_profile(at.stage.call(ordered.tenant_id), ordered.iccid)
    assert (await at.stage.seen(ordered)).order == "confirmed"
    await at.stage.ordering.release_profile(at.stage.call(ordered.tenant_id), ordered.iccid)
    assert (await at.stage.seen(ordered)).order == "released"
    await at.settle()
    assert at.smds.events(card.eid) == [(ordered.matching_id, NAME)]
    assert (await at.rows(ordered)).count("registered") == 1


@conforms("SGP.22 5.10.1", "8.9.5/3.3 for an event of our own counts as success", where="smdp/announcing.py")
async def test_event_whose_registration_got_lost_is_found_there_again(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.linked(card.eid)
    at.smds.fail_next("registerEvent", Trouble.DROP_AFTER)
    with refuses(Status.SMDS_UNREACHABLE):
        await at.confirm(ordered, matching_id="MINE")
    await at.confirm(ordered, matching_id="MINE")
    assert at.smds.events(card.eid) == [("MINE", NAME)]
    await at.settle()
    assert at.smds.events(card.eid) == [("MINE", NAME)]
    assert (await at.rows(ordered), await at.unsent()) == (["withdrawn", "registered"], 0)


async def test_other_event_of_that_name_is_not_taken_for_our_own(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.linked(card.eid)
    at.smds.fail_next("registerEvent", Status.EVENT_REGISTERED_ALREADY)
    with refuses(Status.SMDS_ERROR):
        await at.confirm(ordered, matching_id="THEIRS")
    await at.settle()
    assert at.smds.calls("deleteEvent") == []


async def test_other_eid_or_name_at_the_next_try_withdraws_the_first_event(at: EventStage) -> None:
    first, second = at.stage.card(), at.stage.card()
    ordered = await at.stage.stock(await at.stage.operator())
    await at.stage.ordering.download_order(at.stage.call(ordered.tenant_id), DownloadOrder(iccid=ordered.iccid))
    at.smds.fail_next("registerEvent", Trouble.DROP_AFTER)
    with refuses(Status.SMDS_UNREACHABLE):
        await at.confirm(ordered, eid=first.eid, matching_id="A")
    await at.confirm(ordered, eid=second.eid, matching_id="B")
    await at.settle()
    assert (at.smds.events(first.eid), at.smds.events(second.eid)) == ([], [("B", NAME)])


async def test_cancelled_while_the_sm_ds_is_slow_nothing_is_released(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.linked(card.eid)
    at.smds.fail_next("registerEvent", Trouble.HELD)
    call = asyncio.create_task(at.confirm(ordered))
    await at.smds.wait_for(lambda now: bool(now.seen))
    await at.stage.cancel_order(ordered, eid=card.eid)
    at.smds.resume()
    with refuses(Status.ICCID_INVALID_TRANSITION):
        await call
    await at.settle()
    assert (await at.stage.seen(ordered)).order == "cancelled"
    assert (at.smds.events(card.eid), await at.unsent()) == ([], 0)


async def test_no_lock_is_held_while_the_sm_ds_is_slow(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.linked(card.eid)
    at.smds.fail_next("registerEvent", Trouble.HELD)
    call = asyncio.create_task(at.confirm(ordered))
    await at.smds.wait_for(lambda now: bool(now.seen))
    assert await at.stage.tables.fetchval("SELECT id FROM orders FOR UPDATE NOWAIT")
    backends = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
    assert await at.stage.tables.fetchval(backends) == 0
    at.smds.resume()
    await call


@pytest.mark.parametrize("same", [True, False])
async def test_call_repeated_while_the_first_waits_registers_one_event(at: EventStage, same: bool) -> None:
    card = at.stage.card()
    ordered = await at.linked(card.eid)
    at.smds.fail_next("registerEvent", Trouble.HELD)
    first = asyncio.create_task(at.confirm(ordered, call_id="one"))
    await at.smds.wait_for(lambda now: len(now.seen) == 1)
    second = asyncio.create_task(at.confirm(ordered, call_id="one" if same else "two"))
    await at.smds.wait_for(lambda now: len(now.seen) == 2)
    at.smds.resume()
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    done = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert done
    assert len(done) == 2 or not same
    await at.settle()
    assert at.smds.events(card.eid) == [(done[0].matching_id, NAME)]
    assert (await at.stage.seen(ordered)).order == "released"


async def test_failed_first_call_does_not_undo_the_second(at: EventStage) -> None:
    card = at.stage.card()
    ordered = await at.linked(card.eid)
    at.smds.fail_next("registerEvent", Trouble.HELD)
    first = asyncio.create_task(at.confirm(ordered, call_id="one"))
    await at.smds.wait_for(lambda now: len(now.seen) == 1)
    second = await at.confirm(ordered, call_id="one")
    at.smds.resume()
    assert await first == second
    await at.settle()
    assert at.smds.events(card.eid) == [(second.matching_id, NAME)]

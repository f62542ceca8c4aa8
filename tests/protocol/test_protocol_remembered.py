"""What AuthenticateClient leaves in memory saves its next request a read and decides nothing by itself."""

from __future__ import annotations

import pytest

from rsp.identifiers import TransactionId
from rsp.status import Status
from simulator.card import Card
from simulator.lpa_messages import CancelReason, Device
from simulator.misbehaviour import Misbehaviour
from smdp.ports import DownloadFacts
from smdp.recent import Recent
from store.downloads import Downloads as StoredDownloads
from tests.protocol_attempt import Attempt, attempt
from tests.protocol_stage import Ordered, Stage, installed_on, refuses

IMEI = "352906110000019"
CODE = "4711"


class Read(StoredDownloads):
    """Counts what is read for GetBoundProfilePackage."""

    reads: int

    async def find_for_delivery(self, transaction_id: TransactionId) -> DownloadFacts | None:
        self.reads += 1
        return await super().find_for_delivery(transaction_id)


@pytest.fixture
def card(stage: Stage) -> Card:
    return stage.card()


@pytest.fixture
def store(stage: Stage) -> Read:
    store = stage.downloads._store
    store.__class__ = Read
    assert isinstance(store, Read)
    store.reads = 0
    return store


def recent(stage: Stage) -> Recent:
    return stage.downloads._recent


async def test_it_is_what_a_read_finds(stage: Stage, card: Card, store: Read) -> None:
    bound = await stage.operator(bind_imei=True)
    for ordered in (
        await stage.order(),
        await stage.order(tenant_id=bound, code=CODE),
        await stage.order(eid=card.eid),
    ):
        for _ in range(2):  # The second session finds an order that is delivered and bound.
            trial = await attempt(stage, card, ordered.matching_id, Device(imei=IMEI)).begun()
            remembered = recent(stage).take(trial.id)
            assert remembered is not None
            assert remembered == await store.find_for_delivery(trial.id)
            await trial.deliver(CODE)


async def test_a_download_reads_once_and_a_process_that_remembers_nothing_once_more(
    stage: Stage, card: Card, store: Read
) -> None:
    ordered = await stage.order()
    trial = await attempt(stage, card, ordered.matching_id).begun()
    package = await trial.deliver()
    assert store.reads == 0
    assert await trial.deliver(message=trial.sent["deliver"]) == package
    assert store.reads == 1
    trial.install(package)
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}
    another = await attempt(stage, stage.card(), (await stage.order()).matching_id).begun()
    recent(stage).take(another.id)
    await another.deliver()
    assert store.reads == 2


async def _cancelled_by_its_operator(stage: Stage, trial: Attempt, ordered: Ordered) -> None:
    await stage.cancel_order(ordered, eid=trial.card.eid)


async def _ended_by_its_device(stage: Stage, trial: Attempt, ordered: Ordered) -> None:
    await trial.cancel(CancelReason.END_USER_REJECTION)


async def _expired(stage: Stage, trial: Attempt, ordered: Ordered) -> None:
    stage.clock.advance(days=400)


@pytest.mark.parametrize("happens", [_cancelled_by_its_operator, _ended_by_its_device, _expired])
async def test_what_has_happened_since_is_answered_as_without_memory(
    stage: Stage, store: Read, happens: object
) -> None:
    """Refused with the same status, and with the same rows left behind."""
    assert callable(happens)
    left = []
    for remembers in (True, False):
        card, ordered = stage.card(), await stage.order()
        trial = await attempt(stage, card, ordered.matching_id).begun()
        message = trial.prepared()
        await happens(stage, trial, ordered)
        if not remembers:
            recent(stage).take(trial.id)
        with pytest.raises(Exception) as refused:  # noqa: PT011 -- compared below
            await trial.deliver(message=message)
        seen = await stage.seen(ordered)
        left.append((type(refused.value), getattr(refused.value, "status", None), await trial.state(), seen.order))
        assert len(recent(stage)) == 0
    assert left[0] == left[1]
    assert left[0][1] is not None


async def test_another_session_of_the_order_makes_the_first_one_read(stage: Stage, card: Card, store: Read) -> None:
    ordered = await stage.order()
    first = await attempt(stage, card, ordered.matching_id).begun()
    message = first.prepared()
    await attempt(stage, card, ordered.matching_id).begun()
    await first.deliver(message=message)
    assert store.reads == 1
    assert (await stage.order_row(ordered.iccid))["state"] == "downloaded"


async def test_nobody_is_refused_by_memory_alone(stage: Stage, card: Card, store: Read) -> None:
    ordered = await stage.order(code=CODE)
    trial = await attempt(stage, card, ordered.matching_id).begun()
    with refuses(Status.CONFIRMATION_CODE_REFUSED):
        await trial.deliver("0000")
    assert store.reads == 1
    await trial.deliver(CODE)
    assert store.reads == 2


async def test_a_bad_signature_is_judged_by_what_is_stored(stage: Stage, store: Read) -> None:
    ordered = await stage.order()
    trial = await attempt(stage, stage.card(Misbehaviour.WRONG_SIGNATURE2), ordered.matching_id).begun()
    with refuses(Status.EUICC_SIGNATURE_INVALID):
        await trial.deliver()
    assert store.reads == 1
    assert await trial.state() == ("ended", "EUICC_SIGNATURE_INVALID")

"""CancelOrder and the card of the order: who must name it, and who need not (SGP.22 5.3.3)."""

from __future__ import annotations

import pytest

from rsp.identifiers import Eid
from rsp.status import Status
from smdp.ordering import CancelOrder, FinalProfileStatus
from tests.protocol_attempt import attempt
from tests.protocol_stage import Ordered, Stage, refuses

EID = Eid("89049032123451234512345678901235")
OTHER = Eid("89049032123451234512345678901236")


async def cancel(stage: Stage, ordered: Ordered, **members: object) -> None:
    """CancelOrder with a call id of its own; the profile goes back."""
    back = FinalProfileStatus.AVAILABLE
    request = CancelOrder(iccid=ordered.iccid, final_status=back, **members)  # type: ignore[arg-type] # its own names
    await stage.ordering.cancel_order(stage.call(ordered.tenant_id), request)


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({}, Status.EID_MISSING),
        ({"eid": OTHER}, Status.EID_ASSOCIATED_OTHERWISE),
        ({"eid": EID, "matching_id": "OTHER-TOKEN"}, Status.MATCHING_ID_ASSOCIATED_OTHERWISE),
        ({"eid": EID, "matching_id": ""}, Status.MATCHING_ID_ASSOCIATED_OTHERWISE),
    ],
)
async def test_cancellation_that_names_another_order_is_refused(
    stage: Stage, members: dict[str, object], status: Status
) -> None:
    ordered = await stage.order(eid=EID, matching_id="TOKEN-1")
    before = await stage.seen(ordered)
    with refuses(status):
        await cancel(stage, ordered, **members)
    assert await stage.seen(ordered) == before
    await cancel(stage, ordered, eid=EID, matching_id="TOKEN-1")
    assert (await stage.seen(ordered)).order == "cancelled"


async def test_order_whose_card_came_by_itself_is_cancelled_without_its_eid_or_with_it(stage: Stage) -> None:
    for named in (False, True):
        card, ordered = stage.card(), await stage.order()
        trial = attempt(stage, card, ordered.matching_id)
        await trial.initiate()
        await trial.authenticate()
        assert (await stage.seen(ordered)).eid == str(card.eid)
        with refuses(Status.EID_ASSOCIATED_OTHERWISE):
            await stage.cancel_order(ordered, eid=OTHER)
        for _ in ("first", "resent under another call id"):
            await stage.cancel_order(ordered, eid=card.eid if named else None)
        seen = await stage.seen(ordered)
        assert (seen.order, seen.profile) == ("cancelled", "available")

"""ES2+ from order to cancellation: codes, repeated calls, other operators, secrets (SGP.22 5.3.1 to 5.3.4)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from rsp.identifiers import Eid, Iccid
from rsp.status import Status
from simulator.lpa_messages import CancelReason
from simulator.misbehaviour import Misbehaviour
from smdp.ordering import CancelOrder, Confirmed, ConfirmOrder, DownloadOrder, FinalProfileStatus
from tests.protocol_attempt import attempt
from tests.protocol_stage import NAME, TYPE, Ordered, Seen, Stage, installed_on, refuses

EID = Eid("89049032123451234512345678901235")
OTHER = Eid("89049032123451234512345678901236")
UNKNOWN = Iccid("8988211999999999999")
BACK, AWAY = FinalProfileStatus.AVAILABLE, FinalProfileStatus.UNAVAILABLE


@pytest.fixture
async def stocked(stage: Stage) -> Ordered:
    """A profile in stock of an operator of its own."""
    return await stage.stock(await stage.operator())


async def order(stage: Stage, owner: int, **members: object) -> Iccid:
    """DownloadOrder with a call id of its own."""
    request = DownloadOrder(**members)  # type: ignore[arg-type] # the names are those of DownloadOrder
    return await stage.ordering.download_order(stage.call(owner), request)


async def confirm(stage: Stage, owner: int, iccid: Iccid, **members: object) -> Confirmed:
    """ConfirmOrder with a call id of its own; releases unless told otherwise."""
    members = {"release": True} | members
    request = ConfirmOrder(iccid=iccid, **members)  # type: ignore[arg-type] # the names are those of ConfirmOrder
    return await stage.ordering.confirm_order(stage.call(owner), request)


async def cancel(stage: Stage, owner: int, iccid: Iccid, final: FinalProfileStatus = BACK, **members: object) -> None:
    """CancelOrder with a call id of its own."""
    request = CancelOrder(iccid=iccid, final_status=final, **members)  # type: ignore[arg-type] # as above
    await stage.ordering.cancel_order(stage.call(owner), request)


async def release(stage: Stage, owner: int, iccid: Iccid) -> None:
    """ReleaseProfile with a call id of its own."""
    await stage.ordering.release_profile(stage.call(owner), iccid)


# DownloadOrder --------------------------------------------------------------------------------------------------------


async def test_order_by_iccid_or_type_with_or_without_a_card(stage: Stage) -> None:
    owner = await stage.operator()
    for eid, state in ((None, "allocated"), (EID, "linked")):
        by_iccid = await stage.stock(owner)
        assert await order(stage, owner, iccid=by_iccid.iccid, eid=eid) == by_iccid.iccid
        by_both = await stage.stock(owner)
        assert await order(stage, owner, iccid=by_both.iccid, profile_type=TYPE, eid=eid) == by_both.iccid
        by_type = await stage.stock(owner)
        assert await order(stage, owner, profile_type=TYPE, eid=eid) == by_type.iccid
        for each in (by_iccid, by_both, by_type):
            assert await stage.seen(each) == Seen(order=state, eid=str(eid) if eid else None, sealed=())


async def test_orders_that_cannot_be_met_are_refused_and_change_nothing(stage: Stage, stocked: Ordered) -> None:
    owner, iccid = stocked.tenant_id, stocked.iccid
    await stage.stock(owner, profile_type="other")
    with refuses(Status.ICCID_UNKNOWN):
        await order(stage, owner, iccid=UNKNOWN)
    with refuses(Status.PROFILE_TYPE_UNKNOWN):
        await order(stage, owner, profile_type="unheard-of")
    with refuses(Status.PROFILE_TYPE_UNKNOWN):
        await order(stage, owner, iccid=iccid, profile_type="unheard-of")
    with refuses(Status.PROFILE_TYPE_MISMATCH):
        await order(stage, owner, iccid=iccid, profile_type="other")
    assert await stage.order_row(iccid) is None
    assert await stage.profile_state(iccid) == "available"
    await order(stage, owner, profile_type=TYPE)
    with refuses(Status.PROFILE_TYPE_UNAVAILABLE):
        await order(stage, owner, profile_type=TYPE)
    with refuses(Status.ICCID_IN_USE):
        await order(stage, owner, iccid=iccid, eid=EID)


async def test_withdrawn_profile_cannot_be_ordered(stage: Stage, stocked: Ordered) -> None:
    await order(stage, stocked.tenant_id, iccid=stocked.iccid)
    await cancel(stage, stocked.tenant_id, stocked.iccid, AWAY)
    assert await stage.seen(stocked) == Seen(order="cancelled", profile="unavailable", sealed=())
    owner, iccid = stocked.tenant_id, stocked.iccid
    others = (confirm(stage, owner, iccid), release(stage, owner, iccid), cancel(stage, owner, iccid))
    for function in (order(stage, owner, iccid=iccid), *others):
        with refuses(Status.ICCID_NOT_ALLOWED):
            await function
    with refuses(Status.PROFILE_TYPE_UNAVAILABLE):
        await order(stage, owner, profile_type=TYPE)


async def test_type_that_is_closed_cannot_be_ordered_but_its_orders_go_on(stage: Stage, stocked: Ordered) -> None:
    owner, iccid = stocked.tenant_id, stocked.iccid
    running = await stage.stock(owner)
    await order(stage, owner, iccid=running.iccid)
    await stage.tables.execute("UPDATE profile_types SET open = false")
    for members in ({"iccid": iccid}, {"profile_type": TYPE}, {"iccid": iccid, "profile_type": TYPE}):
        with refuses(Status.PROFILE_TYPE_NOT_ALLOWED):
            await order(stage, owner, **members)
    with refuses(Status.PROFILE_TYPE_UNKNOWN):
        await order(stage, await stage.operator(), profile_type=TYPE)
    assert await stage.order_row(iccid) is None
    assert await order(stage, owner, iccid=running.iccid) == running.iccid
    await confirm(stage, owner, running.iccid)
    assert (await stage.seen(running)).order == "released"


async def test_draws_at_the_same_time_get_different_profiles(stage: Stage) -> None:
    owner = await stage.operator()
    stock = {(await stage.stock(owner)).iccid for _ in range(6)}
    drawn = await asyncio.gather(*(order(stage, owner, profile_type=TYPE) for _ in range(6)))
    assert set(drawn) == stock
    with refuses(Status.PROFILE_TYPE_UNAVAILABLE):
        await order(stage, owner, profile_type=TYPE)


# ConfirmOrder, ReleaseProfile -----------------------------------------------------------------------------------------


async def test_confirmation_gives_a_token_and_releases_when_asked(stage: Stage, stocked: Ordered) -> None:
    owner, iccid = stocked.tenant_id, stocked.iccid
    await order(stage, owner, iccid=iccid)
    confirmed = await confirm(stage, owner, iccid, release=False, confirmation_code="1234")
    assert (confirmed.eid, confirmed.smdp_address) == (None, NAME)
    assert re.fullmatch("([A-HJ-NP-Z2-9]{5}-){4}[A-HJ-NP-Z2-9]{5}", confirmed.matching_id)
    assert await stage.seen(stocked) == Seen(order="confirmed", sealed=("key", "confirmation"))
    await release(stage, owner, iccid)
    assert (await stage.seen(stocked)).order == "released"
    await release(stage, owner, iccid)
    assert (await stage.seen(stocked)).order == "released"


async def test_confirmation_binds_a_card(stage: Stage, stocked: Ordered) -> None:
    await order(stage, stocked.tenant_id, iccid=stocked.iccid)
    confirmed = await confirm(stage, stocked.tenant_id, stocked.iccid, eid=EID, matching_id="MY-TOKEN-1")
    assert confirmed == Confirmed(eid=str(EID), matching_id="MY-TOKEN-1", smdp_address=NAME)
    assert await stage.seen(stocked) == Seen(order="released", eid=str(EID))


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"matching_id": ""}, Status.EID_MISSING),
        ({"smds_address": "lpa.ds.gsma.com"}, Status.EID_MISSING),
        ({"smds_address": "lpa.ds.gsma.com", "eid": EID}, Status.SMDS_UNREACHABLE),
        ({"matching_id": "lower"}, Status.MATCHING_ID_MALFORMED),
        ({"matching_id": "A" * 256}, Status.MATCHING_ID_MALFORMED),
    ],
)
async def test_confirmation_that_cannot_be_met_is_refused_and_changes_nothing(
    stage: Stage, stocked: Ordered, members: dict[str, object], status: Status
) -> None:
    await order(stage, stocked.tenant_id, iccid=stocked.iccid)
    with refuses(status):
        await confirm(stage, stocked.tenant_id, stocked.iccid, **members)
    assert await stage.seen(stocked) == Seen(order="allocated", sealed=())


async def test_confirmation_for_another_card_or_with_a_taken_token_is_refused(stage: Stage, stocked: Ordered) -> None:
    owner = stocked.tenant_id
    await order(stage, owner, iccid=stocked.iccid, eid=EID)
    with refuses(Status.EID_ASSOCIATED_OTHERWISE):
        await confirm(stage, owner, stocked.iccid, eid=OTHER)
    await confirm(stage, owner, stocked.iccid, matching_id="TAKEN")
    second = await stage.stock(owner)
    await order(stage, owner, iccid=second.iccid)
    with refuses(Status.MATCHING_ID_IN_USE):
        await confirm(stage, owner, second.iccid, matching_id="TAKEN")
    assert await stage.seen(second) == Seen(order="allocated", sealed=())
    foreign = await stage.stock(await stage.operator())
    await order(stage, foreign.tenant_id, iccid=foreign.iccid)
    with refuses(Status.MATCHING_ID_IN_USE):
        await confirm(stage, foreign.tenant_id, foreign.iccid, matching_id="TAKEN")


async def test_functions_out_of_turn_are_refused(stage: Stage, stocked: Ordered) -> None:
    owner, iccid = stocked.tenant_id, stocked.iccid
    for function in (confirm(stage, owner, iccid), release(stage, owner, iccid), cancel(stage, owner, iccid)):
        with refuses(Status.ICCID_INVALID_TRANSITION):
            await function
    await order(stage, owner, iccid=iccid)
    with refuses(Status.ICCID_INVALID_TRANSITION):
        await release(stage, owner, iccid)
    for function in (confirm(stage, owner, UNKNOWN), release(stage, owner, UNKNOWN), cancel(stage, owner, UNKNOWN)):
        with refuses(Status.ICCID_UNKNOWN):
            await function
    assert await stage.seen(stocked) == Seen(order="allocated", sealed=())


# CancelOrder ----------------------------------------------------------------------------------------------------------


async def test_cancelled_order_loses_its_secrets_and_the_profile_can_be_ordered_and_installed_again(
    stage: Stage,
) -> None:
    first = await stage.order(code="1234", matching_id="TOKEN-1")
    assert (await stage.seen(first)).sealed == ("key", "confirmation")
    await stage.cancel_order(first)
    assert await stage.seen(first) == Seen(order="cancelled", profile="available", sealed=())
    second = await stage.order_again(first, matching_id="TOKEN-1")
    card = stage.card()
    assert (await attempt(stage, card, "TOKEN-1").installed()).succeeded
    assert installed_on(card) == {str(first.iccid): first.upp}
    assert await stage.seen(second) == Seen(
        order="installed",
        eid=str(card.eid),
        downloads=1,
        sealed=(),
        told=((1, ""), (3, ""), (4, "")),
        sessions=(("reported", None),),
    )


async def test_failed_order_can_be_cancelled_and_loses_its_secrets(stage: Stage) -> None:
    card, ordered = stage.card(Misbehaviour.FAIL_INSTALL_PE), await stage.order(code="1234")
    trial = attempt(stage, card, ordered.matching_id)
    failure = trial.install(await trial.delivered("1234"))
    assert failure.error_reason == 12
    await stage.notifications.handle_notification(failure.raw)
    await stage.judge()
    assert (await stage.seen(ordered)).sealed == ("key", "confirmation", "otsk")
    await stage.cancel_order(ordered, eid=card.eid)
    seen = await stage.seen(ordered)
    assert (seen.order, seen.profile, seen.sealed) == ("cancelled", "available", ())
    again = await stage.order_again(ordered)
    other = stage.card()
    assert (await attempt(stage, other, again.matching_id).installed()).succeeded


async def test_profile_that_may_be_on_a_card_does_not_return_to_stock(stage: Stage) -> None:
    """A card installs it, its report is held back, and the user cancels a second attempt."""
    card, ordered = stage.card(), await stage.order()
    trial = attempt(stage, card, ordered.matching_id)
    late = trial.install(await trial.delivered())
    second = await attempt(stage, card, ordered.matching_id).begun()
    await second.cancel(CancelReason.END_USER_REJECTION)
    before = await stage.seen(ordered)
    assert before.order == "error"
    with refuses(Status.ICCID_IN_USE):
        await stage.cancel_order(ordered, eid=card.eid)
    assert await stage.seen(ordered) == before
    await stage.cancel_order(ordered, AWAY, eid=card.eid)
    await stage.notifications.handle_notification(late.raw)
    await stage.judge()
    seen = await stage.seen(ordered)
    assert (seen.order, seen.profile, list(installed_on(card))) == ("cancelled", "unavailable", [str(ordered.iccid)])


async def test_profile_on_its_way_or_on_a_card_cannot_be_cancelled(stage: Stage) -> None:
    card, ordered = stage.card(), await stage.order()
    trial = attempt(stage, card, ordered.matching_id)
    bpp = await trial.delivered()
    with refuses(Status.ICCID_IN_USE):
        await stage.cancel_order(ordered, eid=card.eid)
    assert (await stage.seen(ordered)).order == "downloaded"
    await stage.notifications.handle_notification(trial.install(bpp).raw)
    await stage.judge()
    before = await stage.seen(ordered)
    with refuses(Status.ICCID_IN_USE):
        await stage.cancel_order(ordered, eid=card.eid)
    with refuses(Status.ICCID_IN_USE):
        await order(stage, ordered.tenant_id, iccid=ordered.iccid)
    assert await stage.seen(ordered) == before
    assert (before.order, before.profile) == ("installed", "ordered")


# Calls made again -----------------------------------------------------------------------------------------------------


async def test_each_call_made_again_gets_its_earlier_result_whatever_has_happened_since(
    stage: Stage, stocked: Ordered
) -> None:
    owner, iccid = stocked.tenant_id, stocked.iccid
    calls = [stage.call(owner) for _ in range(4)]
    confirmation = ConfirmOrder(iccid=iccid, release=False, confirmation_code="1234")
    away = CancelOrder(iccid=iccid, final_status=BACK)
    use = stage.ordering
    assert await use.download_order(calls[0], DownloadOrder(profile_type=TYPE)) == iccid
    confirmed = await use.confirm_order(calls[1], confirmation)
    await use.release_profile(calls[2], iccid)
    await use.cancel_order(calls[3], away)
    after = await stage.seen(stocked)
    assert await use.download_order(calls[0], DownloadOrder(profile_type=TYPE)) == iccid
    assert await use.confirm_order(calls[1], confirmation) == confirmed
    await use.release_profile(calls[2], iccid)
    await use.cancel_order(calls[3], away)
    assert await stage.seen(stocked) == after == Seen(order="cancelled", profile="available", sealed=())


async def test_call_id_with_other_content_is_refused(stage: Stage, stocked: Ordered) -> None:
    call = stage.call(stocked.tenant_id)
    await stage.ordering.download_order(call, DownloadOrder(iccid=stocked.iccid))
    for other in (replace(call, digest=b"other"), replace(call, function="other")):
        with refuses(Status.CALL_ID_REUSED):
            await stage.ordering.download_order(other, DownloadOrder(iccid=stocked.iccid))


async def test_refused_call_is_not_remembered(stage: Stage, stocked: Ordered) -> None:
    call = stage.call(stocked.tenant_id)
    with refuses(Status.ICCID_INVALID_TRANSITION):
        await stage.ordering.confirm_order(call, ConfirmOrder(iccid=stocked.iccid, release=True))
    await order(stage, stocked.tenant_id, iccid=stocked.iccid)
    await stage.ordering.confirm_order(call, ConfirmOrder(iccid=stocked.iccid, release=True))
    assert (await stage.seen(stocked)).order == "released"


async def test_same_call_many_times_at_once_draws_one_profile(stage: Stage) -> None:
    owner = await stage.operator()
    for _ in range(3):
        await stage.stock(owner)
    call = stage.call(owner)
    drawn = await asyncio.gather(
        *(stage.ordering.download_order(call, DownloadOrder(profile_type=TYPE)) for _ in range(4))
    )
    assert len(set(drawn)) == 1
    assert await stage.tables.fetchval("SELECT count(*) FROM orders") == 1


async def test_order_resent_under_another_call_id_is_the_same_order(stage: Stage, stocked: Ordered) -> None:
    owner, iccid = stocked.tenant_id, stocked.iccid
    for _ in range(2):
        assert await order(stage, owner, iccid=iccid, eid=EID) == iccid
    with refuses(Status.ICCID_IN_USE):
        await order(stage, owner, iccid=iccid, eid=OTHER)
    with refuses(Status.ICCID_IN_USE):
        await order(stage, owner, iccid=iccid)
    assert await stage.tables.fetchval("SELECT count(*) FROM orders") == 1
    assert await stage.seen(stocked) == Seen(order="linked", eid=str(EID), sealed=())


# Operators among each other -------------------------------------------------------------------------------------------


async def test_other_operators_profiles_types_and_orders_answer_as_unknown(stage: Stage) -> None:
    ordered, stranger = await stage.order(), await stage.operator()
    free = await stage.stock(ordered.tenant_id)
    before = await stage.seen(ordered)
    for iccid in (ordered.iccid, free.iccid, UNKNOWN):
        for function in (
            order(stage, stranger, iccid=iccid),
            order(stage, stranger, iccid=iccid, profile_type=TYPE),
            confirm(stage, stranger, iccid),
            release(stage, stranger, iccid),
            cancel(stage, stranger, iccid),
        ):
            with refuses(Status.ICCID_UNKNOWN):
                await function
    with refuses(Status.PROFILE_TYPE_UNKNOWN):
        await order(stage, stranger, profile_type=TYPE)
    assert await stage.seen(ordered) == before
    assert await stage.profile_state(free.iccid) == "available"


async def test_two_operators_may_use_the_same_type_name_and_call_ids(stage: Stage) -> None:
    profiles = [await stage.stock(await stage.operator()) for _ in range(2)]
    for stocked in profiles:
        call = stage.call(stocked.tenant_id, "call-id")
        assert await stage.ordering.download_order(call, DownloadOrder(profile_type=TYPE)) == stocked.iccid

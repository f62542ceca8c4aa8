"""Refusals of AuthenticateClient because of the order: status and tables afterwards (SGP.22 5.6.3)."""

from __future__ import annotations

import pytest

from rsp.errors import Refused
from rsp.status import Status
from simulator.card import Card
from simulator.euicc_info import EuiccProperties
from simulator.lpa_messages import CancelReason
from smdp.ordering import ConfirmOrder, DownloadOrder
from tests.conformance import conforms
from tests.protocol_attempt import attempt
from tests.protocol_stage import Ordered, Seen, Stage, refuses

UNTOUCHED = Seen(order="released")


@pytest.fixture
async def ordered(stage: Stage) -> Ordered:
    return await stage.order()


async def refused_order(stage: Stage, card: Card, matching_id: str | None, status: Status) -> None:
    trial = attempt(stage, card, matching_id)
    await trial.initiate()
    for message in (None, "again"):
        with refuses(status):
            await trial.authenticate(trial.sent["authenticate"] if message else None)
    assert await trial.state() == ("ended", status.name)
    assert (await trial.row())["order_id"] is None


@pytest.mark.parametrize("token", ["NOBODYS-TOKEN", "lower-case", "-" * 255, "A" * 255, "É", "A B"])
async def test_unknown_matching_id_is_refused(stage: Stage, ordered: Ordered, token: str) -> None:
    await refused_order(stage, stage.card(), token, Status.MATCHING_ID_REFUSED)
    assert await stage.seen(ordered) == UNTOUCHED


@pytest.mark.parametrize("token", [None, ""])
async def test_card_nobody_has_ordered_for_finds_nothing_without_a_code(
    stage: Stage, ordered: Ordered, token: str | None
) -> None:
    await refused_order(stage, stage.card(), token, Status.MATCHING_ID_REFUSED)
    assert await stage.seen(ordered) == UNTOUCHED


async def test_malformed_token_does_not_lead_to_the_order_bound_to_the_card(stage: Stage) -> None:
    card = stage.card()
    ordered = await stage.order(eid=card.eid)
    await refused_order(stage, card, "lower-case", Status.MATCHING_ID_REFUSED)
    assert await stage.seen(ordered) == Seen(order="released", eid=str(card.eid))


async def test_order_of_another_card_is_refused(stage: Stage) -> None:
    owner, thief = stage.card(), stage.card()
    ordered = await stage.order(eid=owner.eid)
    await refused_order(stage, thief, ordered.matching_id, Status.EID_MISMATCH)
    assert await stage.seen(ordered) == Seen(order="released", eid=str(owner.eid))
    assert (await attempt(stage, owner, ordered.matching_id).installed()).succeeded


async def test_first_card_to_authenticate_keeps_the_order(stage: Stage, ordered: Ordered) -> None:
    first, second = stage.card(), stage.card()
    await attempt(stage, first, ordered.matching_id).begun()
    await refused_order(stage, second, ordered.matching_id, Status.EID_MISMATCH)
    seen = await stage.seen(ordered)
    assert (seen.eid, seen.downloads, seen.told) == (str(first.eid), 1, ((1, ""),))


async def confirmed_only(stage: Stage) -> Ordered:
    stocked = await stage.stock(await stage.operator())
    owner = stocked.tenant_id
    await stage.ordering.download_order(stage.call(owner), DownloadOrder(iccid=stocked.iccid))
    request = ConfirmOrder(iccid=stocked.iccid, release=False, matching_id="TOKEN-1")
    await stage.ordering.confirm_order(stage.call(owner), request)
    return stocked


async def test_order_that_is_not_released_is_refused_until_it_is(stage: Stage) -> None:
    card, stocked = stage.card(), await confirmed_only(stage)
    await refused_order(stage, card, "TOKEN-1", Status.NOT_RELEASED)
    assert await stage.seen(stocked) == Seen(order="confirmed")
    await stage.ordering.release_profile(stage.call(stocked.tenant_id), stocked.iccid)
    assert (await attempt(stage, card, "TOKEN-1").installed()).succeeded


async def test_installed_order_is_refused(stage: Stage, ordered: Ordered) -> None:
    card = stage.card()
    await attempt(stage, card, ordered.matching_id).installed()
    before = await stage.seen(ordered)
    await refused_order(stage, card, ordered.matching_id, Status.NOT_RELEASED)
    assert await stage.seen(ordered) == before


async def test_refusal_of_an_ended_order_says_what_to_ask_for(stage: Stage) -> None:
    card, words = stage.card(), []
    cancelled, installed = [await stage.order() for _ in range(2)]
    trial = await attempt(stage, card, cancelled.matching_id).begun()
    await trial.cancel(CancelReason.END_USER_REJECTION)
    await attempt(stage, card, installed.matching_id).installed()
    for ordered in (cancelled, installed):
        with pytest.raises(Refused) as refusal:
            await attempt(stage, card, ordered.matching_id).begun()
        words.append(refusal.value.detail)
    assert "Ask the operator to make the profile downloadable again" in words[0]
    assert "installed already" in words[1]
    assert all(text.isascii() and len(text) < 128 for text in words)


async def test_cancelled_order_is_not_found(stage: Stage, ordered: Ordered) -> None:
    await stage.cancel_order(ordered)
    await refused_order(stage, stage.card(), ordered.matching_id, Status.MATCHING_ID_REFUSED)


@conforms(
    "SGP.22 5.3.5",
    "an expired order is told at point 1",
    Status.ORDER_EXPIRED,
    function="handleDownloadProgressInfo",
    where="smdp/eligibility.py",
)
async def test_expired_order_is_refused_ended_and_told(stage: Stage, ordered: Ordered) -> None:
    stage.clock.advance(days=90)
    await refused_order(stage, stage.card(), ordered.matching_id, Status.ORDER_EXPIRED)
    assert await stage.seen(ordered) == Seen(order="error", told=((1, "ORDER_EXPIRED"),))


async def test_order_is_good_until_its_last_moment(stage: Stage, ordered: Ordered) -> None:
    stage.clock.advance(days=90, seconds=-1)
    assert (await attempt(stage, stage.card(), ordered.matching_id).installed()).succeeded


@conforms(
    "SGP.22 5.3.5",
    "download attempts exceeded are told at point 1 and end the order",
    Status.DOWNLOAD_ATTEMPTS_EXCEEDED,
    function="handleDownloadProgressInfo",
    where="smdp/eligibility.py",
)
async def test_attempts_used_up_end_the_order_and_are_told(stage: Stage) -> None:
    card, ordered = stage.card(), await stage.order(tenant_id=await stage.operator(download_attempts=2))
    for _ in range(2):
        await attempt(stage, card, ordered.matching_id).begun()
    await refused_order(stage, card, ordered.matching_id, Status.DOWNLOAD_ATTEMPTS_EXCEEDED)
    told = ((1, ""), (1, ""), (1, "DOWNLOAD_ATTEMPTS_EXCEEDED"))
    sessions = (("authenticated", None), ("authenticated", None))
    assert await stage.seen(ordered) == Seen(
        order="error", eid=str(card.eid), downloads=2, told=told, sessions=sessions
    )
    await refused_order(stage, card, ordered.matching_id, Status.NOT_RELEASED)


async def test_package_too_new_for_the_card_is_refused_and_told(stage: Stage, ordered: Ordered) -> None:
    card = stage.card(properties=EuiccProperties(profile_version=b"\x01\x00\x00"))
    await refused_order(stage, card, ordered.matching_id, Status.NOT_ELIGIBLE)
    assert await stage.seen(ordered) == Seen(order="released", told=((1, "NOT_ELIGIBLE"),))
    assert (await stage.reports(ordered.iccid))[0]["eid"] == str(card.eid)
    assert (await attempt(stage, stage.card(), ordered.matching_id).installed()).succeeded


async def test_policy_rule_the_card_forbids_is_refused_and_told(stage: Stage, ordered: Ordered) -> None:
    await stage.tables.execute("UPDATE profiles SET policy_rules = '{1,2}' WHERE iccid = $1", str(ordered.iccid))
    card = stage.card(properties=EuiccProperties(forbidden_policy_rules=(2,)))
    await refused_order(stage, card, ordered.matching_id, Status.NOT_ELIGIBLE)
    assert await stage.seen(ordered) == Seen(order="released", told=((1, "NOT_ELIGIBLE"),))
    await attempt(
        stage, stage.card(properties=EuiccProperties(forbidden_policy_rules=(0,))), ordered.matching_id
    ).begun()


async def test_full_card_is_refused_and_may_come_back_with_room(stage: Stage, ordered: Ordered) -> None:
    card = stage.card(free_memory=len(ordered.upp) - 1)
    await refused_order(stage, card, ordered.matching_id, Status.INSUFFICIENT_MEMORY)
    assert await stage.seen(ordered) == Seen(order="released", told=((1, "INSUFFICIENT_MEMORY"),))
    card.free_memory = len(ordered.upp)
    assert (await attempt(stage, card, ordered.matching_id).installed()).succeeded

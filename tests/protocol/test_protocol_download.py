"""Whole downloads, from order to card: what must then be on the card, in the tables and on its way to the operator."""

from __future__ import annotations

from pathlib import Path

import pytest

from crypto.curves import Curve
from rsp import saip
from smdp.binding import Protection
from smdp.policy import Policy
from tests.conformance import conforms
from tests.protocol_attempt import attempt
from tests.protocol_stage import CURVES, NAME, Seen, Stage, decoded, installed_on

TS48 = Path(__file__).parents[3] / "shared" / "data" / "ts48"
needs_ts48 = pytest.mark.skipif(not TS48.is_dir(), reason=f"{TS48} is absent: the published test profiles lie there")

COMPLETE = ((1, ""), (3, ""), (4, ""))


@pytest.fixture(params=list(Protection))
def policy(request: pytest.FixtureRequest) -> Policy:
    return Policy(server_names=(NAME,), protection=request.param)


@pytest.mark.parametrize("curve", CURVES)
async def test_ordered_profile_arrives_byte_for_byte_and_every_secret_of_the_order_is_gone(
    stage: Stage, curve: Curve
) -> None:
    card, ordered = stage.card(curves=[curve]), await stage.order()
    result = await attempt(stage, card, ordered.matching_id).installed()
    assert result.succeeded
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}
    assert await stage.judge() == [("installed", True)]
    assert await stage.seen(ordered) == Seen(
        order="installed",
        eid=str(card.eid),
        downloads=1,
        sealed=(),
        told=COMPLETE,
        sessions=(("reported", None),),
    )
    reports = await stage.reports(ordered.iccid)
    assert [report["eid"] for report in reports] == [str(card.eid)] * 3
    assert decoded(reports[2]) == result.raw


@needs_ts48
@pytest.mark.parametrize("name", ["ts48-v7-BERTLV_SUCI.der", "ts48-v7-NoBERTLV.der"])
@pytest.mark.parametrize("curve", CURVES)
async def test_published_test_profile_arrives_byte_for_byte(stage: Stage, curve: Curve, name: str) -> None:
    upp = (TS48 / name).read_bytes()
    card, ordered = stage.card(curves=[curve]), await stage.order(upp=upp)
    assert ordered.iccid == saip.read_header(upp).iccid
    assert (await attempt(stage, card, ordered.matching_id).installed()).succeeded
    assert installed_on(card) == {str(ordered.iccid): upp}
    assert (await stage.seen(ordered)).told == COMPLETE


async def test_card_of_both_curves_is_served_under_the_ci_it_prefers(stage: Stage) -> None:
    for curves in (CURVES, CURVES[::-1]):
        card, ordered = stage.card(curves=curves), await stage.order()
        trial = attempt(stage, card, ordered.matching_id)
        assert (await trial.installed()).succeeded
        row = await trial.row()
        assert row["ci_key_id"] == row["server_ci_key_id"] == card.credentials[0].ci_key_id


async def test_two_cards_install_two_profiles_at_the_same_time(stage: Stage) -> None:
    pairs = [(stage.card(), await stage.order()) for _ in range(2)]
    trials = [await attempt(stage, card, ordered.matching_id).begun() for card, ordered in pairs]
    packages = [await trial.deliver() for trial in trials]
    results = [trial.install(bpp) for trial, bpp in zip(trials, packages, strict=True)]
    for result in reversed(results):
        await stage.notifications.handle_notification(result.raw)
    await stage.judge()
    for card, ordered in pairs:
        assert installed_on(card) == {str(ordered.iccid): ordered.upp}
        seen = await stage.seen(ordered)
        assert (seen.order, seen.eid, seen.told) == ("installed", str(card.eid), COMPLETE)


async def test_device_without_a_code_gets_the_order_bound_to_its_card(stage: Stage) -> None:
    card = stage.card()
    ordered = await stage.order(eid=card.eid, matching_id="")
    assert ordered.matching_id == ""
    assert (await attempt(stage, card, None).installed()).succeeded
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}
    assert (await stage.seen(ordered)).order == "installed"


@conforms(
    "SGP.22 5.6.3",
    "without a MatchingID the oldest order still to be downloaded comes first",
    where="store/downloads.py",
)
async def test_device_without_a_code_gets_its_next_order_though_the_last_is_not_reported_yet(stage: Stage) -> None:
    card = stage.card()
    first, second = [await stage.order(eid=card.eid, matching_id="") for _ in range(2)]
    for ordered in (first, second):
        trial = attempt(stage, card, None)
        assert trial.install(await trial.delivered()).succeeded
        assert (await stage.seen(ordered)).order == "downloaded"
    assert list(installed_on(card)) == [str(first.iccid), str(second.iccid)]


async def test_device_without_a_code_gets_its_downloaded_order_again_when_no_other_waits(stage: Stage) -> None:
    card = stage.card()
    ordered = await stage.order(eid=card.eid, matching_id="")
    await attempt(stage, card, None).delivered()
    assert (await attempt(stage, card, None).installed()).succeeded
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}


async def test_empty_matching_id_means_none(stage: Stage) -> None:
    card = stage.card()
    ordered = await stage.order(eid=card.eid, matching_id="")
    assert (await attempt(stage, card, "").installed()).succeeded
    assert (await stage.seen(ordered)).order == "installed"

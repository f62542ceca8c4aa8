"""A download in which every answer is lost once, in both key modes: the same request again, nothing happens twice."""

from __future__ import annotations

import pytest

from simulator.lpa_messages import CancelReason
from simulator.misbehaviour import InstallFailure
from smdp.binding import Protection
from smdp.policy import Policy
from tests.conformance import conforms
from tests.protocol_attempt import attempt
from tests.protocol_stage import CURVES, NAME, Seen, Stage, installed_on


@pytest.fixture(params=list(Protection))
def policy(request: pytest.FixtureRequest) -> Policy:
    return Policy(server_names=(NAME,), protection=request.param)


@conforms(
    "SGP.22 3.1.3", "requests whose answers were lost are sent again and answered alike", where="smdp/downloads.py"
)
@pytest.mark.parametrize("curve", CURVES)
async def test_download_succeeds_when_every_answer_is_lost_once(stage: Stage, curve: object) -> None:
    card, ordered = stage.card(curves=[curve]), await stage.order(code="4711")  # type: ignore[list-item]
    await attempt(stage, card, ordered.matching_id).initiate()
    trial = attempt(stage, card, ordered.matching_id)
    await trial.initiate()
    first = await trial.authenticate()
    assert await trial.authenticate(trial.sent["authenticate"]) == first
    package = await trial.deliver(code="4711")
    assert await trial.deliver(message=trial.sent["deliver"]) == package
    result = trial.install(package)
    for _ in range(3):
        await stage.notifications.handle_notification(result.raw)
    assert await stage.judge() == [("installed", True), ("duplicate", True), ("duplicate", True)]
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}
    assert await stage.seen(ordered) == Seen(
        order="installed",
        eid=str(card.eid),
        downloads=1,
        sealed=(),
        told=((1, ""), (3, ""), (4, "")),
        sessions=(("reported", None),),
    )


async def test_package_that_never_arrived_is_fetched_in_a_new_session(stage: Stage) -> None:
    card, ordered = stage.card(), await stage.order()
    await attempt(stage, card, ordered.matching_id).delivered()
    await attempt(stage, card, ordered.matching_id).delivered()
    assert (await attempt(stage, card, ordered.matching_id).installed()).succeeded
    seen = await stage.seen(ordered)
    assert (seen.order, seen.downloads) == ("installed", 3)
    assert seen.sessions == (("delivered", None), ("delivered", None), ("reported", None))


async def test_report_that_was_lost_is_made_up_for_by_the_next_attempt(stage: Stage) -> None:
    """The card installed, its report never came: it refuses the second package, and the order is installed."""
    card, ordered = stage.card(), await stage.order()
    trial = attempt(stage, card, ordered.matching_id)
    assert trial.install(await trial.delivered()).succeeded
    again = await attempt(stage, card, ordered.matching_id).installed()
    assert again.error_reason == 9
    assert (await stage.seen(ordered)).order == "installed"
    assert (await stage.reports(ordered.iccid))[-1]["detail"] == "The profile was on the card already."


@pytest.mark.parametrize("command", [0, 1, 2, 5])
async def test_interrupted_installation_goes_on_with_the_same_keys_after_a_postponed_session(
    stage: Stage, command: int
) -> None:
    card, ordered = stage.card(), await stage.order()
    postponed = await attempt(stage, card, ordered.matching_id).begun()
    await postponed.cancel(CancelReason.POSTPONED)
    card.fail_install = InstallFailure(command, 11)
    await attempt(stage, card, ordered.matching_id).installed()
    before = (await stage.order_row(ordered.iccid))["host_id"]
    card.fail_install = None
    assert (await attempt(stage, card, ordered.matching_id).delivered())[:2] == b"\xbf\x36"
    assert (await stage.order_row(ordered.iccid))["host_id"] == before
    assert (await attempt(stage, card, ordered.matching_id).installed()).succeeded, card.last_fault
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}

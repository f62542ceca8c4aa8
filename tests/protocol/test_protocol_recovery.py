"""Failed orders opened again by recoverProfile, a vendor function: the activation code of their users works again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rsp.errors import Refused
from rsp.status import Status
from simulator.card import Card
from simulator.lpa_messages import CancelReason
from simulator.misbehaviour import Misbehaviour
from smdp.ordering import ConfirmOrder
from smdp.recovery import Target, VendorFunctions
from store.ordering import Orderings
from tests.conformance import conforms
from tests.protocol_attempt import attempt
from tests.protocol_stage import START, Ordered, Seen, Stage, installed_on, refuses


@pytest.fixture
def vendor(stage: Stage) -> VendorFunctions:
    return VendorFunctions(Orderings(stage.pool), stage.policy, stage.clock.now)


async def recover(stage: Stage, vendor: VendorFunctions, ordered: Ordered, target: Target = Target.RELEASED) -> None:
    await vendor.recover_profile(stage.call(ordered.tenant_id), ordered.iccid, target)


async def rejected(stage: Stage, card: Card, ordered: Ordered, code: str | None = None) -> None:
    """A common LPA: whatever goes wrong after the package came, it cancels with endUserRejection."""
    trial = attempt(stage, card, ordered.matching_id)
    await trial.delivered(code)
    await trial.cancel(CancelReason.END_USER_REJECTION)


@conforms(
    "vendor",
    "recoverProfile opens a failed order under the same MatchingID",
    function="recoverProfile",
    where="smdp/recovery.py",
)
async def test_same_activation_code_works_again_after_a_rejection(stage: Stage, vendor: VendorFunctions) -> None:
    card, ordered = stage.card(), await stage.order(code="4711", matching_id="TOKEN-1")
    await rejected(stage, card, ordered, "4711")
    failed = await stage.seen(ordered)
    assert (failed.order, failed.sealed) == ("error", ("key", "confirmation", "otsk"))
    stage.clock.advance(days=89)
    await recover(stage, vendor, ordered)
    assert await stage.seen(ordered) == Seen(
        order="released",
        eid=str(card.eid),
        sealed=("key", "confirmation"),
        told=failed.told,
        sessions=failed.sessions,
    )
    row = await stage.order_row(ordered.iccid)
    assert (row["matching_id"], row["expires_at"]) == ("TOKEN-1", START + timedelta(days=89 + 90))
    stage.clock.advance(days=89)
    second = attempt(stage, card, "TOKEN-1")
    await second.begun()
    with refuses(Status.CONFIRMATION_CODE_REFUSED):
        await second.deliver("0000")
    assert second.install(await second.deliver("4711")).succeeded
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}


@pytest.mark.parametrize("times", range(1, 4))
async def test_recovery_may_be_needed_again_and_again(stage: Stage, vendor: VendorFunctions, times: int) -> None:
    card, ordered = stage.card(), await stage.order(tenant_id=await stage.operator(download_attempts=1))
    for _ in range(times):
        await rejected(stage, card, ordered)
        await recover(stage, vendor, ordered)
    assert (await stage.seen(ordered)).downloads == 0
    assert (await attempt(stage, card, ordered.matching_id).installed()).succeeded
    assert (await stage.seen(ordered)).order == "installed"


async def test_counters_begin_anew(stage: Stage, vendor: VendorFunctions) -> None:
    owner = await stage.operator(download_attempts=5, confirmation_attempts=2)
    card, ordered = stage.card(), await stage.order(tenant_id=owner, code="4711")
    trial = await attempt(stage, card, ordered.matching_id).begun()
    for status in (Status.CONFIRMATION_CODE_REFUSED, Status.CONFIRMATION_CODE_RETRIES_EXCEEDED):
        with refuses(status):
            await trial.deliver("0000")
    seen = await stage.seen(ordered)
    assert (seen.order, seen.downloads, seen.codes) == ("error", 1, 2)
    await recover(stage, vendor, ordered)
    seen = await stage.seen(ordered)
    assert (seen.order, seen.downloads, seen.codes) == ("released", 0, 0)


async def test_recovered_order_stays_with_its_card(stage: Stage, vendor: VendorFunctions) -> None:
    """That card may hold the profile all the same."""
    ordered = await stage.order()
    await rejected(stage, stage.card(), ordered)
    await recover(stage, vendor, ordered)
    with refuses(Status.EID_MISMATCH):
        await attempt(stage, stage.card(), ordered.matching_id).begun()


async def test_recovered_package_is_bound_afresh(stage: Stage, vendor: VendorFunctions) -> None:
    card, ordered = stage.card(), await stage.order()
    first = attempt(stage, card, ordered.matching_id)
    before = await first.delivered()
    await first.cancel(CancelReason.END_USER_REJECTION)
    await recover(stage, vendor, ordered)
    assert (await stage.order_row(ordered.iccid))["otsk_sealed"] is None
    again = await attempt(stage, card, ordered.matching_id).delivered()
    assert again[-200:] == before[-200:]  # the part made ahead of time
    assert again != before
    hosts = {(await stage.order_row(ordered.iccid))["host_id"]}
    assert not any(host in before for host in hosts)


async def test_profile_that_may_be_on_a_card_does_not_return_to_stock(stage: Stage, vendor: VendorFunctions) -> None:
    """Neither from the failed order nor from the recovered one, whose binding is gone."""
    card, ordered = stage.card(), await stage.order()
    await rejected(stage, card, ordered)
    with refuses(Status.ICCID_IN_USE):
        await recover(stage, vendor, ordered, Target.AVAILABLE)
    await recover(stage, vendor, ordered)
    with refuses(Status.ICCID_IN_USE):
        await stage.cancel_order(ordered, eid=card.eid)
    assert await stage.profile_state(ordered.iccid) == "ordered"


async def test_profile_that_a_card_reported_to_have_failed_returns_to_stock(
    stage: Stage, vendor: VendorFunctions
) -> None:
    card, ordered = stage.card(Misbehaviour.FAIL_INSTALL_PE), await stage.order()
    await attempt(stage, card, ordered.matching_id).installed()
    await recover(stage, vendor, ordered, Target.AVAILABLE)
    seen = await stage.seen(ordered)
    assert (seen.order, seen.profile, seen.sealed) == ("cancelled", "available", ())
    again = await stage.order_again(ordered)
    assert (await attempt(stage, stage.card(), again.matching_id).installed()).succeeded


async def test_report_of_success_that_comes_after_the_recovery_counts(stage: Stage, vendor: VendorFunctions) -> None:
    card, ordered = stage.card(), await stage.order()
    trial = attempt(stage, card, ordered.matching_id)
    late = trial.install(await trial.delivered())
    await (await attempt(stage, card, ordered.matching_id).begun()).cancel(CancelReason.END_USER_REJECTION)
    await recover(stage, vendor, ordered)
    await stage.notifications.handle_notification(late.raw)
    assert await stage.judge() == [("installed", True)]
    assert (await stage.seen(ordered)).order == "installed"
    with refuses(Status.NOT_RELEASED):
        await attempt(stage, card, ordered.matching_id).begun()


async def test_release_or_confirmation_of_a_failed_order_names_the_function_that_opens_it(stage: Stage) -> None:
    ordered = await stage.order()
    await rejected(stage, stage.card(), ordered)
    with pytest.raises(Refused, match="recoverProfile") as release:
        await stage.ordering.release_profile(stage.call(ordered.tenant_id), ordered.iccid)
    request = ConfirmOrder(iccid=ordered.iccid, release=True)
    with pytest.raises(Refused, match="recoverProfile") as confirmation:
        await stage.ordering.confirm_order(stage.call(ordered.tenant_id), request)
    assert {each.value.status for each in (release, confirmation)} == {Status.ICCID_INVALID_TRANSITION}


async def test_another_operators_order_cannot_be_recovered(stage: Stage, vendor: VendorFunctions) -> None:
    ordered, stranger = await stage.order(), await stage.operator()
    await rejected(stage, stage.card(), ordered)
    for target in Target:
        with refuses(Status.ICCID_UNKNOWN):
            await vendor.recover_profile(stage.call(stranger), ordered.iccid, target)
    assert (await stage.seen(ordered)).order == "error"


async def test_lifetime_is_the_operators(stage: Stage, vendor: VendorFunctions) -> None:
    ordered = await stage.order()
    await stage.tables.execute("UPDATE tenants SET order_days = 7")
    await rejected(stage, stage.card(), ordered)
    await recover(stage, vendor, ordered)
    assert (await stage.order_row(ordered.iccid))["expires_at"] == START + timedelta(days=7)

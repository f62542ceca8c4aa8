"""What cards report and what becomes of it: late, twice, in any order, forged or garbled (SGP.22 3.5, 5.6.4)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from rsp import tlv
from rsp.status import Status
from simulator import ecc
from simulator.card import Card
from simulator.lpa_messages import CancelReason, InstallationResult
from simulator.misbehaviour import Misbehaviour
from smdp.ordering import FinalProfileStatus
from tests.conformance import conforms
from tests.protocol_attempt import Attempt, attempt
from tests.protocol_stage import Ordered, Seen, Stage, decoded, installed_on, refuses

DELIVERED = ((1, ""), (3, ""))
COMPLETE = (*DELIVERED, (4, ""))
FAILED = (4, "BPP_EXECUTION_ERROR")


@pytest.fixture
def card(stage: Stage) -> Card:
    return stage.card()


@pytest.fixture
async def ordered(stage: Stage) -> Ordered:
    return await stage.order()


@pytest.fixture
async def trial(stage: Stage, card: Card, ordered: Ordered) -> Attempt:
    return attempt(stage, card, ordered.matching_id)


async def received(stage: Stage, *raw: bytes) -> list[tuple[str, bool]]:
    """Hand notifications in and judge them; answers all outcomes so far."""
    for one in raw:
        await stage.notifications.handle_notification(one)
    return await stage.judge()


def downloaded(card: Card, **changes: object) -> Seen:
    """What the tables hold between delivery and report."""
    seen = Seen(
        order="downloaded",
        eid=str(card.eid),
        downloads=1,
        sealed=("key", "otsk"),
        told=DELIVERED,
        sessions=(("delivered", None),),
    )
    return replace(seen, **changes)  # type: ignore[arg-type] # the names are those of Seen


# Results of installations ---------------------------------------------------------------------------------------------


async def test_nothing_is_decided_before_the_bytes_are_judged(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    result = trial.install(await trial.delivered())
    await stage.notifications.handle_notification(result.raw)
    assert await stage.seen(ordered) == downloaded(card)
    assert [(row["raw"], row["outcome"]) for row in await stage.notes()] == [(result.raw, None)]


async def test_first_report_of_a_card_has_number_zero(stage: Stage, trial: Attempt) -> None:
    result = await trial.installed()
    assert result.sequence_number == 0
    (row,) = await stage.notes()
    assert (row["seq_number"], row["eid"], row["transaction_id"]) == (0, str(trial.card.eid), trial.id.value)


@conforms(
    "SGP.22 5.6.4",
    "a temporary error leaves the order open, and its owner gets the card's data",
    Status.BPP_EXECUTION_ERROR,
    function="handleNotification",
    where="smdp/card_reports.py",
)
@pytest.mark.parametrize("fault", [Misbehaviour.FAIL_INSTALL_MEMORY, Misbehaviour.FAIL_INSTALL_INTERRUPTED])
async def test_temporary_error_leaves_the_order_open_for_another_attempt(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt, fault: Misbehaviour
) -> None:
    card.misbehave = frozenset({fault})
    result = await trial.installed()
    assert await stage.judge() == [("failed", True)]
    told = (*DELIVERED, FAILED)
    assert await stage.seen(ordered) == downloaded(card, told=told, sessions=(("reported", None),))
    report = (await stage.reports(ordered.iccid))[-1]
    assert report["detail"] == f"bppCommandId {result.bpp_command_id}, errorReason {result.error_reason}"
    assert decoded(report) == result.raw
    card.misbehave = frozenset()
    again = attempt(stage, card, ordered.matching_id)
    assert (await again.installed()).succeeded
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}
    assert await stage.seen(ordered) == Seen(
        order="installed",
        eid=str(card.eid),
        downloads=2,
        sealed=(),
        told=(*told, *COMPLETE),
        sessions=(("reported", None), ("reported", None)),
    )


async def test_permanent_error_ends_the_order(stage: Stage, card: Card, ordered: Ordered, trial: Attempt) -> None:
    card.misbehave = frozenset({Misbehaviour.FAIL_INSTALL_PE})
    assert (await trial.installed()).error_reason == 12
    over = downloaded(card, order="error", told=(*DELIVERED, FAILED), sessions=(("reported", None),))
    assert await stage.seen(ordered) == over
    with refuses(Status.NOT_RELEASED):
        await attempt(stage, card, ordered.matching_id).begun()
    assert await stage.seen(ordered) == over


async def test_profile_that_is_on_the_card_already_counts_as_installed(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    lost = trial.install(await trial.delivered())
    second = attempt(stage, card, ordered.matching_id)
    result = await second.installed()
    assert (lost.succeeded, result.error_reason) == (True, 9)
    expected = Seen(
        order="installed",
        eid=str(card.eid),
        downloads=2,
        sealed=(),
        told=(*DELIVERED, *COMPLETE),
        sessions=(("delivered", None), ("reported", None)),
    )
    assert await stage.seen(ordered) == expected
    assert (await stage.reports(ordered.iccid))[-1]["detail"] == "The profile was on the card already."
    assert await received(stage, lost.raw) == [("failed", True), ("installed", True)]
    assert await stage.seen(ordered) == replace(expected, sessions=(("reported", None), ("reported", None)))


async def test_late_error_of_an_earlier_attempt_cannot_undo_an_installation(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    card.misbehave = frozenset({Misbehaviour.FAIL_INSTALL_PE})
    failure = trial.install(await trial.delivered())
    card.misbehave = frozenset()
    success = await attempt(stage, card, ordered.matching_id).installed()
    assert success.succeeded
    before = await stage.seen(ordered)
    assert before.order == "installed"
    await received(stage, failure.raw)
    assert await stage.seen(ordered) == replace(before, sessions=(("reported", None), ("reported", None)))


async def test_success_after_an_error_of_another_attempt_is_the_truth(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    card.misbehave = frozenset({Misbehaviour.FAIL_INSTALL_PE})
    failure = trial.install(await trial.delivered())
    card.misbehave = frozenset()
    second = attempt(stage, card, ordered.matching_id)
    success = second.install(await second.delivered())
    await received(stage, failure.raw)
    assert (await stage.seen(ordered)).order == "error"
    await received(stage, success.raw)
    seen = await stage.seen(ordered)
    assert (seen.order, seen.sealed, seen.told) == ("installed", (), (*DELIVERED, *DELIVERED, FAILED, (4, "")))


async def test_owner_of_a_cancelled_order_is_told_that_its_profile_is_on_a_card_after_all(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    result = trial.install(await trial.delivered())
    await (await attempt(stage, card, ordered.matching_id).begun()).cancel(CancelReason.END_USER_REJECTION)
    await stage.cancel_order(ordered, FinalProfileStatus.UNAVAILABLE, eid=card.eid)
    told = (*DELIVERED, (1, ""), (3, "END_USER_REJECTED"))
    cancelled = Seen(
        order="cancelled",
        profile="unavailable",
        eid=str(card.eid),
        downloads=2,
        sealed=(),
        told=told,
        sessions=(("delivered", None), ("ended", None)),
    )
    assert await stage.seen(ordered) == cancelled
    assert await received(stage, result.raw, result.raw) == [("installed", True), ("duplicate", True)]
    sessions = (("reported", None), ("ended", None))
    assert await stage.seen(ordered) == replace(cancelled, told=(*told, (4, "")), sessions=sessions)
    assert (await stage.reports(ordered.iccid))[-1][
        "detail"
    ] == "The order was cancelled, and the profile is on this card."


@conforms(
    "SGP.22 3.5", "a report that comes weeks late counts", function="handleNotification", where="smdp/notification.py"
)
@pytest.mark.parametrize("weeks", [1, 8, 52])
async def test_report_that_comes_weeks_late_counts(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt, weeks: int
) -> None:
    result = trial.install(await trial.delivered())
    stage.clock.advance(weeks=weeks)
    assert await received(stage, result.raw) == [("installed", True)]
    seen = await stage.seen(ordered)
    assert (seen.order, seen.sealed, seen.told) == ("installed", (), COMPLETE)


@conforms(
    "SGP.22 3.5", "a repeated report has no second consequence", function="handleNotification", where="store/inbox.py"
)
async def test_same_report_again_is_a_duplicate_and_told_once(stage: Stage, ordered: Ordered, trial: Attempt) -> None:
    result = await trial.installed()
    before = await stage.seen(ordered)
    outcomes = await received(stage, result.raw, result.raw)
    assert outcomes == [("installed", True), ("duplicate", True), ("duplicate", True)]
    assert await stage.seen(ordered) == before


async def test_reports_judged_by_many_at_once_have_one_consequence(
    stage: Stage, ordered: Ordered, trial: Attempt
) -> None:
    result = trial.install(await trial.delivered())
    for _ in range(6):
        await stage.notifications.handle_notification(result.raw)
    await asyncio.gather(*(stage.notifications.judge_pending(1, 60.0) for _ in range(6)))
    outcomes = sorted(await stage.judge())
    assert outcomes == [("duplicate", True)] * 5 + [("installed", True)]
    assert (await stage.seen(ordered)).told == COMPLETE


# Reports that prove nothing -------------------------------------------------------------------------------------------


def signed_by(key_of: Card, result: InstallationResult) -> bytes:
    """The same result with a signature by another card."""
    data, _ = tlv.read_only(result.raw, 0xBF37).children()
    return tlv.wrap(0xBF37, data.raw, ecc.sign(key_of.credentials[0].private_key, data.raw))


async def test_report_with_a_wrong_signature_changes_nothing_and_does_not_take_the_place_of_the_right_one(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    result = trial.install(await trial.delivered())
    spoiled = result.raw[:-1] + bytes([result.raw[-1] ^ 1])
    outcomes = await received(stage, spoiled, signed_by(stage.card(), result))
    assert outcomes == [("bad-signature", False)] * 2
    assert await stage.seen(ordered) == downloaded(card)
    assert (await received(stage, result.raw))[-1] == ("installed", True)
    assert (await stage.seen(ordered)).told == COMPLETE


async def test_card_that_signs_its_report_wrongly_is_not_believed(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    card.misbehave = frozenset({Misbehaviour.WRONG_PIR_SIGNATURE})
    await trial.installed()
    assert await stage.judge() == [("bad-signature", False)]
    assert await stage.seen(ordered) == downloaded(card)


async def test_report_of_a_session_nobody_opened_is_kept_as_such(stage: Stage, trial: Attempt) -> None:
    result = trial.install(await trial.delivered())
    unknown = result.raw.replace(trial.id.value, b"\x00" * 16)
    assert await received(stage, unknown) == [("unknown-session", False)]
    assert (await stage.notes())[0]["raw"] == unknown


async def test_report_for_a_session_that_never_authenticated_is_not_believed(
    stage: Stage, ordered: Ordered, trial: Attempt
) -> None:
    other = attempt(stage, stage.card(), None)
    await other.initiate()
    result = trial.install(await trial.delivered())
    assert await received(stage, result.raw.replace(trial.id.value, other.id.value)) == [("unknown-session", False)]
    assert await other.state() == ("initiated", None)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00",
        b"\xbf\x37\x00",
        b"\x30\x00",
        b"\xbf\x37\x84\xff\xff\xff\xff",
        b"\xbf\x27\x03\x02\x01\x00",
        b"x" * 99_999,
    ],
    ids=["empty", "zero", "no-content", "no-content-30", "endless", "another-tag", "large"],
)
async def test_garbage_is_kept_as_malformed(stage: Stage, raw: bytes) -> None:
    assert await received(stage, raw) == [("malformed", False)]
    assert (await stage.notes())[0]["raw"] == raw


async def test_result_without_iccid_counts(stage: Stage, card: Card, ordered: Ordered, trial: Attempt) -> None:
    result = trial.install(await trial.delivered())
    data, _ = tlv.read_only(result.raw, 0xBF37).children()
    without = b"".join(
        tlv.wrap(0xBF2F, *(each.raw for each in one.children() if each.tag != 0x5A)) if one.tag == 0xBF2F else one.raw
        for one in data.children()
    )
    signed = tlv.wrap(0xBF27, without)
    assert len(signed) == len(data.raw) - 12
    raw = tlv.wrap(0xBF37, signed, ecc.sign(card.credentials[0].private_key, signed))
    assert await received(stage, raw) == [("installed", True)]
    assert (await stage.seen(ordered)).told == COMPLETE
    assert (await stage.notes())[0]["iccid"] == str(ordered.iccid)


async def test_failed_installation_is_told_with_its_data_although_the_device_had_cancelled(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    """A common LPA cancels first and hands in the card's result after that."""
    card.misbehave = frozenset({Misbehaviour.FAIL_INSTALL_PE})
    result = trial.install(await trial.delivered())
    await (await attempt(stage, card, ordered.matching_id).begun()).cancel(CancelReason.LOAD_BPP_EXECUTION_ERROR)
    assert await received(stage, result.raw) == [("failed", True)]
    seen = await stage.seen(ordered)
    assert (seen.order, seen.told[-1]) == ("error", FAILED)
    assert decoded((await stage.reports(ordered.iccid))[-1]) == result.raw


def completed(card: Card) -> Seen:
    """What the tables hold once the report of an installation was judged."""
    return downloaded(card, order="installed", sealed=(), told=COMPLETE, sessions=(("reported", None),))


async def test_reports_of_many_cards_with_a_forged_one_and_a_repeated_one_are_judged_together(stage: Stage) -> None:
    orders = [await stage.order() for _ in range(4)]
    trials = [attempt(stage, stage.card(), ordered.matching_id) for ordered in orders]
    results = [trial.install(await trial.delivered()).raw for trial in trials]
    forged = results[3][:-1] + bytes((results[3][-1] ^ 1,))
    for raw in (results[0], results[1], results[0], b"\x00noise", results[2], forged):
        await stage.notifications.handle_notification(raw)
    assert await stage.notifications.judge_pending(64, 60.0) == 6
    assert [(row["outcome"], row["verified"]) for row in await stage.notes()] == [
        ("installed", True),
        ("installed", True),
        ("duplicate", True),
        ("malformed", False),
        ("installed", True),
        ("bad-signature", False),
    ]
    for ordered, trial in zip(orders[:3], trials, strict=False):
        assert await stage.seen(ordered) == completed(trial.card)
    assert await stage.seen(orders[3]) == downloaded(trials[3].card)


async def test_a_report_of_a_session_that_was_settled_before_harms_no_other_of_its_crowd(stage: Stage) -> None:
    orders = [await stage.order() for _ in range(3)]
    trials = [attempt(stage, stage.card(), ordered.matching_id) for ordered in orders]
    results = [trial.install(await trial.delivered()).raw for trial in trials]
    assert await received(stage, results[1]) == [("installed", True)]
    for raw in results:
        await stage.notifications.handle_notification(raw)
    assert await stage.notifications.judge_pending(64, 60.0) == 3
    assert [row["outcome"] for row in await stage.notes()] == ["installed", "installed", "duplicate", "installed"]
    for ordered, trial in zip(orders, trials, strict=True):
        assert await stage.seen(ordered) == completed(trial.card)

"""Every way in which a card reports a failed installation: what becomes of the order, and what its owner is told.

errorReason and bppCommandId are those of ProfileInstallationResult (SGP.22 5.6.4, 2.5.6).
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from rsp.status import Status
from simulator.misbehaviour import InstallFailure
from tests.conformance import conforms
from tests.protocol_attempt import attempt
from tests.protocol_stage import Seen, Stage, decoded, installed_on, refuses

COMMANDS = {
    0: "initialiseSecureChannel",
    1: "configureISDP",
    2: "storeMetadata",
    3: "storeMetadata2",
    4: "replaceSessionKeys",
    5: "loadProfileElements",
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a reason does to the order, and what of it stays sealed."""

    order: str
    status: str = "BPP_EXECUTION_ERROR"
    sealed: tuple[str, ...] = ("key", "otsk")


PERMANENT = Meaning("error")
TEMPORARY = Meaning("downloaded")
ON_THE_CARD = Meaning("installed", status="", sealed=())

REASONS = {
    1: ("incorrectInputValues", PERMANENT),
    2: ("invalidSignature", PERMANENT),
    3: ("invalidTransactionId", PERMANENT),
    4: ("unsupportedCrtValues", PERMANENT),
    5: ("unsupportedRemoteOperationType", PERMANENT),
    6: ("unsupportedProfileClass", PERMANENT),
    7: ("scp03tStructureError", PERMANENT),
    8: ("scp03tSecurityError", PERMANENT),
    9: ("installFailedDueToIccidAlreadyExistsOnEuicc", ON_THE_CARD),
    10: ("installFailedDueToInsufficientMemoryForProfile", TEMPORARY),
    11: ("installFailedDueToInterruption", TEMPORARY),
    12: ("installFailedDueToPEProcessingError", PERMANENT),
    13: ("installFailedDueToDataMismatch", PERMANENT),
    14: ("testProfileInstallFailedDueToInvalidNaaKey", PERMANENT),
    15: ("pprNotAllowed", PERMANENT),
    127: ("installFailedDueToUnknownError", PERMANENT),
}


@pytest.mark.parametrize("command", COMMANDS, ids=list(COMMANDS.values()))
@pytest.mark.parametrize(
    "reason",
    [
        pytest.param(
            reason,
            id=name,
            marks=conforms(
                "SGP.22 5.6.4",
                f"errorReason {reason} {name}: the order is {meaning.order}",
                function="handleNotification",
                where="smdp/notification.py",
            ),
        )
        for reason, (name, meaning) in REASONS.items()
    ],
)
async def test_a_failed_installation_does_to_the_order_what_its_reason_means(
    stage: Stage, command: int, reason: int
) -> None:
    meaning = REASONS[reason][1]
    card, ordered = stage.card(), await stage.order()
    card.fail_install = InstallFailure(command, reason)
    trial = attempt(stage, card, ordered.matching_id)
    result = await trial.installed()
    assert (result.bpp_command_id, result.error_reason) == (command, reason)
    assert await stage.seen(ordered) == Seen(
        order=meaning.order,
        eid=str(card.eid),
        downloads=1,
        sealed=meaning.sealed,
        told=((1, ""), (3, ""), (4, meaning.status)),
        sessions=(("reported", None),),
    )
    report = (await stage.reports(ordered.iccid))[-1]
    assert decoded(report) == result.raw
    if meaning is ON_THE_CARD:
        assert report["detail"] == "The profile was on the card already."
    else:
        assert report["detail"] == f"bppCommandId {command}, errorReason {reason}"


@pytest.mark.parametrize("command", COMMANDS, ids=list(COMMANDS.values()))
@pytest.mark.parametrize("reason", [reason for reason, (_, meaning) in REASONS.items() if meaning is TEMPORARY])
async def test_after_a_temporary_error_the_same_card_installs_the_profile(
    stage: Stage, command: int, reason: int
) -> None:
    card, ordered = stage.card(), await stage.order()
    card.fail_install = InstallFailure(command, reason)
    await attempt(stage, card, ordered.matching_id).installed()
    card.fail_install = None
    assert (await attempt(stage, card, ordered.matching_id).installed()).succeeded, card.last_fault
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}
    assert (await stage.seen(ordered)).order == "installed"


@pytest.mark.parametrize("reason", [reason for reason, (_, meaning) in REASONS.items() if meaning is not TEMPORARY])
async def test_after_any_other_error_there_is_no_further_download(stage: Stage, reason: int) -> None:
    card, ordered = stage.card(), await stage.order()
    card.fail_install = InstallFailure(5, reason)
    await attempt(stage, card, ordered.matching_id).installed()
    with refuses(Status.NOT_RELEASED):
        await attempt(stage, card, ordered.matching_id).begun()
    assert installed_on(card) == {}


@pytest.mark.parametrize("command", COMMANDS, ids=list(COMMANDS.values()))
async def test_the_card_answers_in_the_middle_of_the_package_and_takes_no_more_of_it(
    stage: Stage, command: int
) -> None:
    from simulator.bpp_segments import split_bound_profile_package

    card, ordered = stage.card(), await stage.order()
    card.fail_install = InstallFailure(command, 11)
    pieces = split_bound_profile_package(await attempt(stage, card, ordered.matching_id).delivered())
    answers = [card.load_bound_profile_package(pieces[0])]
    while not answers[-1]:
        answers.append(card.load_bound_profile_package(pieces[len(answers)]))
    assert len(answers) < len(pieces)
    with pytest.raises(ValueError, match="PrepareDownload"):
        card.load_bound_profile_package(pieces[len(answers)])
    await stage.notifications.handle_notification(answers[-1])
    assert await stage.judge() == [("failed", True)]

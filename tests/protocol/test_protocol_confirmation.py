"""Confirmation codes: missing, wrong, right, too often wrong, and sent where none is asked (SGP.22 5.6.2)."""

from __future__ import annotations

import hashlib

import pytest

from rsp import tlv
from rsp.status import Status
from simulator import ecc
from simulator.card import Card
from simulator.lpa_messages import hashed_confirmation_code
from smdp.binding import Protection
from smdp.policy import Policy
from tests.conformance import conforms
from tests.protocol_attempt import Attempt, attempt
from tests.protocol_stage import NAME, Ordered, Seen, Stage, installed_on, refuses

CODE = "4711"
WRONG = ["1111", "2222", "3333"]
WITH_CODE = ("key", "confirmation")


@pytest.fixture
def policy(request: pytest.FixtureRequest) -> Policy:
    """With the packages' own keys, unless a test asks for another way to protect them."""
    return Policy(server_names=(NAME,), protection=getattr(request, "param", Protection.PPK))


BOTH_KEY_MODES = pytest.mark.parametrize("policy", list(Protection), indirect=True)


@pytest.fixture
def card(stage: Stage) -> Card:
    return stage.card()


@pytest.fixture
async def ordered(stage: Stage) -> Ordered:
    return await stage.order(code=CODE)


@pytest.fixture
async def trial(stage: Stage, card: Card, ordered: Ordered) -> Attempt:
    return await attempt(stage, card, ordered.matching_id).begun()


def signed_without_code(trial: Attempt, hash_cc: bytes = b"") -> bytes:
    """A BF21 with the `hash_cc` given, signed: a strict card refuses to make one when a code is asked for."""
    made = trial.prepared(CODE)
    signed, _ = next(tlv.read_only(made, 0xBF21).children()).children()
    kept = [child.raw for child in signed.children() if child.tag != 0x04]
    return signed_again(trial, tlv.wrap(0x30, *kept, hash_cc))


def signed_again(trial: Attempt, signed: bytes) -> bytes:
    """A BF21 over other content, with a signature of the card that is right."""
    assert trial.authenticated is not None
    key = trial.card.credentials[0].private_key
    return tlv.wrap(0xBF21, tlv.wrap(0xA0, signed, ecc.sign(key, signed, trial.authenticated.smdp_signature2)))


@BOTH_KEY_MODES
async def test_right_code_at_once(stage: Stage, card: Card, ordered: Ordered) -> None:
    assert (await attempt(stage, card, ordered.matching_id).installed(CODE)).succeeded
    assert await stage.seen(ordered) == Seen(
        order="installed",
        eid=str(card.eid),
        downloads=1,
        sealed=(),
        told=((1, ""), (3, ""), (4, "")),
        sessions=(("reported", None),),
    )


async def test_signed_part_asks_for_the_code(stage: Stage, trial: Attempt) -> None:
    assert trial.authenticated is not None
    members = tlv.read_only(trial.authenticated.smdp_signed2, 0x30).members()
    assert members[0x01].value == b"\xff"


@conforms(
    "SGP.22 5.3.5",
    "a wrong confirmation code is told at point 2",
    Status.CONFIRMATION_CODE_REFUSED,
    function="handleDownloadProgressInfo",
    where="smdp/delivery.py",
)
async def test_wrong_code_is_counted_told_and_leaves_order_and_session_usable(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    with refuses(Status.CONFIRMATION_CODE_REFUSED):
        await trial.deliver(WRONG[0])
    assert await stage.seen(ordered) == Seen(
        order="released",
        eid=str(card.eid),
        downloads=1,
        codes=1,
        sealed=WITH_CODE,
        told=((1, ""), (2, "CONFIRMATION_CODE_REFUSED")),
        sessions=(("authenticated", "CONFIRMATION_CODE_REFUSED"),),
    )


async def test_wrong_code_in_the_same_bytes_is_counted_once(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    for message in (None, "again", "and again"):
        with refuses(Status.CONFIRMATION_CODE_REFUSED):
            await trial.deliver(WRONG[0], trial.sent["deliver"] if message else None)
    seen = await stage.seen(ordered)
    assert (seen.order, seen.codes) == ("released", 1)
    assert seen.told == ((1, ""), (2, "CONFIRMATION_CODE_REFUSED"))


@BOTH_KEY_MODES
async def test_right_code_after_a_wrong_one_in_the_same_session(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    with refuses(Status.CONFIRMATION_CODE_REFUSED):
        await trial.deliver(WRONG[0])
    bpp = await trial.deliver(CODE)
    assert trial.install(bpp).succeeded
    seen = await stage.seen(ordered)
    assert seen == Seen(
        order="downloaded",
        eid=str(card.eid),
        downloads=1,
        codes=1,
        sealed=(*WITH_CODE, "otsk"),
        told=((1, ""), (2, "CONFIRMATION_CODE_REFUSED"), (3, "")),
        sessions=seen.sessions,
    )
    assert seen.sessions[0][0] == "delivered"
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}


async def test_lost_answer_to_the_right_code_after_a_wrong_one_is_given_again(trial: Attempt) -> None:
    with refuses(Status.CONFIRMATION_CODE_REFUSED):
        await trial.deliver(WRONG[0])
    bpp = await trial.deliver(CODE)
    assert await trial.deliver(message=trial.sent["deliver"]) == bpp


@conforms(
    "SGP.22 5.3.5",
    "confirmation attempts exceeded are told at point 2 and end the order",
    Status.CONFIRMATION_CODE_RETRIES_EXCEEDED,
    function="handleDownloadProgressInfo",
    where="smdp/delivery.py",
)
async def test_last_wrong_code_ends_order_and_session(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    for wrong in WRONG[:2]:
        with refuses(Status.CONFIRMATION_CODE_REFUSED):
            await trial.deliver(wrong)
    for message in (None, "again"):
        with refuses(Status.CONFIRMATION_CODE_RETRIES_EXCEEDED):
            await trial.deliver(WRONG[2], trial.sent["deliver"] if message else None)
    refused = (2, "CONFIRMATION_CODE_REFUSED")
    over = Seen(
        order="error",
        eid=str(card.eid),
        downloads=1,
        codes=3,
        sealed=WITH_CODE,
        told=((1, ""), refused, refused, (2, "CONFIRMATION_CODE_RETRIES_EXCEEDED")),
        sessions=(("ended", "CONFIRMATION_CODE_RETRIES_EXCEEDED"),),
    )
    assert await stage.seen(ordered) == over
    with refuses(Status.TRANSACTION_UNKNOWN):
        await trial.deliver(CODE)
    with refuses(Status.NOT_RELEASED):
        await attempt(stage, card, ordered.matching_id).begun()
    assert await stage.seen(ordered) == over
    assert installed_on(card) == {}


@conforms(
    "SGP.22 5.6.2",
    "wrong codes are counted per order, across sessions",
    function="getBoundProfilePackage",
    where="smdp/delivery.py",
)
async def test_wrong_codes_are_counted_over_sessions(stage: Stage, card: Card, ordered: Ordered) -> None:
    for wrong, status in zip(
        WRONG,
        [
            Status.CONFIRMATION_CODE_REFUSED,
            Status.CONFIRMATION_CODE_REFUSED,
            Status.CONFIRMATION_CODE_RETRIES_EXCEEDED,
        ],
        strict=True,
    ):
        trial = await attempt(stage, card, ordered.matching_id).begun()
        with refuses(status):
            await trial.deliver(wrong)
    seen = await stage.seen(ordered)
    assert (seen.order, seen.codes, seen.downloads) == ("error", 3, 3)


async def test_operator_sets_its_own_limit_of_wrong_codes(stage: Stage, card: Card) -> None:
    ordered = await stage.order(tenant_id=await stage.operator(confirmation_attempts=1), code=CODE)
    trial = await attempt(stage, card, ordered.matching_id).begun()
    with refuses(Status.CONFIRMATION_CODE_RETRIES_EXCEEDED):
        await trial.deliver(WRONG[0])
    seen = await stage.seen(ordered)
    assert (seen.order, seen.codes) == ("error", 1)
    assert seen.told == ((1, ""), (2, "CONFIRMATION_CODE_RETRIES_EXCEEDED"))


async def test_missing_code_costs_nothing_and_can_be_given_later(
    stage: Stage, card: Card, ordered: Ordered, trial: Attempt
) -> None:
    message = signed_without_code(trial)
    for _ in range(4):
        with refuses(Status.CONFIRMATION_CODE_MISSING):
            await trial.deliver(message=message)
    seen = await stage.seen(ordered)
    assert (seen.order, seen.codes, seen.told) == ("released", 0, ((1, ""),))
    assert seen.sessions == (("authenticated", None),)
    assert trial.install(await trial.deliver(CODE)).succeeded


async def test_code_of_no_length_counts_as_missing(stage: Stage, ordered: Ordered, trial: Attempt) -> None:
    with refuses(Status.CONFIRMATION_CODE_MISSING):
        await trial.deliver(message=signed_without_code(trial, tlv.wrap(0x04, b"")))
    assert (await stage.seen(ordered)).codes == 0


@conforms(
    "SGP.22 5.6.2",
    "a hash of no length is accepted where no code is asked for",
    function="getBoundProfilePackage",
    where="smdp/delivery.py",
)
@pytest.mark.parametrize("hash_cc", [b"", hashlib.sha256(b"anything").digest()])
async def test_code_that_nobody_asked_for_is_passed_over(stage: Stage, card: Card, hash_cc: bytes) -> None:
    ordered = await stage.order()
    trial = await attempt(stage, card, ordered.matching_id).begun()
    assert trial.authenticated is not None
    assert tlv.read_only(trial.authenticated.smdp_signed2, 0x30).members()[0x01].value == b"\x00"
    bpp = await trial.deliver(message=signed_without_code(trial, tlv.wrap(0x04, hash_cc)))
    assert trial.install(bpp).succeeded
    seen = await stage.seen(ordered)
    assert (seen.order, seen.codes, seen.told) == ("downloaded", 0, ((1, ""), (3, "")))


async def test_code_of_another_session_is_wrong(stage: Stage, ordered: Ordered, trial: Attempt) -> None:
    other = await attempt(stage, trial.card, ordered.matching_id).begun()
    foreign = hashed_confirmation_code(CODE, trial.id)
    with refuses(Status.CONFIRMATION_CODE_REFUSED):
        await other.deliver(message=other.prepared(hash_cc=foreign))

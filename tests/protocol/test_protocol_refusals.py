"""Refusals of the download path because of card, session or request: status and tables afterwards (SGP.22 5.6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crypto.curves import Curve
from rsp import tlv
from rsp.errors import Malformed, Refused
from rsp.identifiers import TransactionId
from rsp.status import Status
from simulator import ecc
from simulator.card import Card
from simulator.euicc_info import EuiccProperties
from simulator.lpa_messages import CancelReason
from simulator.misbehaviour import Misbehaviour
from smdp.ordering import CancelOrder, FinalProfileStatus
from tests import protocol_peers as peers
from tests.protocol_attempt import attempt
from tests.protocol_stage import Ordered, Seen, Stage, installed_on, refuses

UNTOUCHED = Seen(order="released")


@pytest.fixture
async def ordered(stage: Stage) -> Ordered:
    return await stage.order()


# InitiateAuthentication ---------------------------------------------------------------------------------------------


async def sessions_kept(stage: Stage) -> int:
    return int(await stage.tables.fetchval("SELECT count(*) FROM sessions"))


@pytest.mark.parametrize("address", ["other.example.com", "", "smdp.example.com.evil.example", "smdp", "-"])
async def test_foreign_address_is_refused_and_opens_no_session(stage: Stage, address: str) -> None:
    with refuses(Status.ADDRESS_REFUSED):
        await attempt(stage, stage.card(), None).initiate(address)
    assert await sessions_kept(stage) == 0


@pytest.mark.parametrize("address", ["SMDP.Example.COM", "smdp.example.com:443", "Smdp.example.com:8443"])
async def test_case_and_port_of_the_address_do_not_matter(stage: Stage, ordered: Ordered, address: str) -> None:
    trial = attempt(stage, stage.card(), ordered.matching_id)
    await trial.initiate(address)
    await trial.authenticate()
    assert (await trial.row())["server_address"] == "smdp.example.com"


async def test_version_one_of_the_specification_is_refused(stage: Stage) -> None:
    card = stage.card(properties=EuiccProperties(svn=b"\x01\x00\x00"))
    with refuses(Status.SVN_UNSUPPORTED):
        await attempt(stage, card, None).initiate()
    assert await sessions_kept(stage) == 0


async def test_card_signing_under_a_foreign_ci_is_refused(stage: Stage) -> None:
    with refuses(Status.CI_FOR_SIGNING_UNSUPPORTED):
        await attempt(stage, peers.foreign_card(stage), None).initiate()
    ours = stage.material.pki.ci_certificates
    with refuses(Status.CI_FOR_SIGNING_UNSUPPORTED):
        await attempt(stage, peers.foreign_card(stage, trusting=ours), None).initiate()
    assert await sessions_kept(stage) == 0


async def test_card_verifying_under_a_foreign_ci_only_is_refused(stage: Stage) -> None:
    card = peers.card_trusting(stage, peers.foreign_ci())
    with refuses(Status.CI_FOR_VERIFICATION_UNAVAILABLE):
        await attempt(stage, card, None).initiate()
    assert await sessions_kept(stage) == 0


async def test_card_may_sign_under_one_ci_and_verify_another(stage: Stage, ordered: Ordered) -> None:
    other = stage.material.pki.device_files(Curve.BRAINPOOL_P256R1).ci_certificate.read_bytes()
    card = peers.card_trusting(stage, other)
    assert (await attempt(stage, card, ordered.matching_id).installed()).succeeded
    assert (await stage.seen(ordered)).order == "installed"


@pytest.mark.parametrize("size", [0, 15, 17])
async def test_challenge_of_another_size_is_malformed(stage: Stage, size: int) -> None:
    with pytest.raises(Malformed):
        await stage.downloads.initiate_authentication(b"c" * size, stage.card().get_euicc_info1(), "smdp.example.com")
    assert await sessions_kept(stage) == 0


# AuthenticateClient: the eUICC --------------------------------------------------------------------------------------

FAULTS = [
    (Misbehaviour.WRONG_SIGNATURE1, Status.EUICC_SIGNATURE_INVALID),
    (Misbehaviour.WRONG_SERVER_CHALLENGE, Status.EUICC_SIGNATURE_INVALID),
    (Misbehaviour.WRONG_SERVER_ADDRESS, Status.EUICC_SIGNATURE_INVALID),
    (Misbehaviour.WRONG_TRANSACTION_ID, Status.TRANSACTION_UNKNOWN),
    (Misbehaviour.FOREIGN_EUM, Status.CI_UNKNOWN),
    (Misbehaviour.FORGED_EUM, Status.EUM_CERTIFICATE_INVALID),
    (Misbehaviour.FORGED_EUICC, Status.EUICC_CERTIFICATE_INVALID),
    (Misbehaviour.REFUSE_AUTHENTICATION, Status.EUICC_SIGNATURE_INVALID),
]


async def refused_at_authentication(stage: Stage, card: Card, ordered: Ordered, status: Status) -> None:
    """The refusal ends the session, is repeated for the same bytes, and the order knows nothing of it."""
    before = await stage.seen(ordered)
    trial = attempt(stage, card, ordered.matching_id)
    await trial.initiate()
    with refuses(status):
        await trial.authenticate()
    with refuses(status):
        await trial.authenticate(trial.sent["authenticate"])
    with refuses(Status.TRANSACTION_UNKNOWN):
        await stage.downloads.get_bound_profile_package(trial.id, tlv.wrap(0xBF21, error(trial.id, 127)))
    row = await trial.row()
    assert (row["state"], row["refusal"]) == ("ended", status.name)
    assert (row["order_id"], row["eid"], row["euicc_key"], row["smdp_signed2"]) == (None, None, None, None)
    assert await stage.seen(ordered) == before
    assert installed_on(card) == {}


def error(transaction_id: TransactionId, code: int) -> bytes:
    """The error arm of ES10b answers."""
    return tlv.wrap(0xA1, tlv.wrap(0x80, transaction_id.value), tlv.wrap_integer(0x02, code))


@pytest.mark.parametrize(("fault", "status"), FAULTS)
async def test_card_that_does_not_prove_itself_is_refused(
    stage: Stage, ordered: Ordered, fault: Misbehaviour, status: Status
) -> None:
    await refused_at_authentication(stage, stage.card(fault), ordered, status)


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (peers.card_of_expired_eum, Status.EUM_CERTIFICATE_EXPIRED),
        (peers.expired_card, Status.EUICC_CERTIFICATE_EXPIRED),
        (peers.card_outside_its_range, Status.EUICC_CERTIFICATE_INVALID),
    ],
)
async def test_card_with_certificates_that_do_not_hold_is_refused(
    stage: Stage, ordered: Ordered, make: Callable[[Stage], Card], status: Status
) -> None:
    await refused_at_authentication(stage, make(stage), ordered, status)


async def test_card_whose_eum_is_revoked_is_refused_at_its_next_use(stage: Stage, ordered: Ordered) -> None:
    card = stage.card()
    await attempt(stage, card, ordered.matching_id).begun()
    peers.revoke(stage, card.credentials[0].eum_certificate)
    await refused_at_authentication(stage, card, ordered, Status.EUM_CERTIFICATE_INVALID)


async def test_session_that_began_before_the_revocation_ends_as_it_would(stage: Stage, ordered: Ordered) -> None:
    card = stage.card()
    trial = await attempt(stage, card, ordered.matching_id).begun()
    peers.revoke(stage, card.credentials[0].eum_certificate)
    await trial.deliver()
    assert (await stage.seen(ordered)).order == "downloaded"


async def test_card_that_authenticates_under_another_ci_than_agreed_is_refused(stage: Stage, ordered: Ordered) -> None:
    card = stage.card(curves=[Curve.P256, Curve.BRAINPOOL_P256R1])
    trial = attempt(stage, card, ordered.matching_id)
    await trial.initiate()
    signed = next(tlv.read_only(trial.challenged(), 0xBF38).children())
    euicc_signed = next(signed.children()).raw
    other = card.credentials[1]
    forged = tlv.wrap(
        0xA0, euicc_signed, ecc.sign(other.private_key, euicc_signed), other.euicc_certificate, other.eum_certificate
    )
    with refuses(Status.CI_UNKNOWN):
        await trial.authenticate(tlv.wrap(0xBF38, forged))
    assert await stage.seen(ordered) == UNTOUCHED


async def test_answer_that_is_cut_off_is_malformed_and_leaves_the_session_open(stage: Stage, ordered: Ordered) -> None:
    trial = attempt(stage, stage.card(Misbehaviour.TRUNCATED_RESPONSE), ordered.matching_id)
    await trial.initiate()
    with pytest.raises(Malformed):
        await trial.authenticate()
    assert await trial.state() == ("initiated", None)
    assert await stage.seen(ordered) == UNTOUCHED


# GetBoundProfilePackage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Misbehaviour.WRONG_SIGNATURE2, Status.EUICC_SIGNATURE_INVALID),
        (Misbehaviour.WRONG_TRANSACTION_ID2, Status.TRANSACTION_UNKNOWN),
        (Misbehaviour.REFUSE_DOWNLOAD, Status.EXECUTION_ERROR),
    ],
)
async def test_card_that_fails_at_the_second_step_ends_the_session_alone(
    stage: Stage, ordered: Ordered, fault: Misbehaviour, status: Status
) -> None:
    card = stage.card(fault)
    trial = await attempt(stage, card, ordered.matching_id).begun()
    for message in (None, "again"):
        with refuses(status):
            await trial.deliver(message=trial.sent["deliver"] if message else None)
    assert await stage.seen(ordered) == Seen(
        order="released", eid=str(card.eid), downloads=1, told=((1, ""),), sessions=(("ended", status.name),)
    )
    card.misbehave = frozenset()
    assert (await attempt(stage, card, ordered.matching_id).installed()).succeeded


async def test_one_time_key_that_is_no_point_of_the_curve_is_refused(stage: Stage, ordered: Ordered) -> None:
    card = stage.card()
    trial = await attempt(stage, card, ordered.matching_id).begun()
    assert trial.authenticated is not None
    signed = tlv.wrap(0x30, tlv.wrap(0x80, trial.id.value), tlv.wrap(0x5F49, b"\x04" + b"\x01" * 64))
    signature = ecc.sign(card.credentials[0].private_key, signed, trial.authenticated.smdp_signature2)
    with refuses(Status.EUICC_SIGNATURE_INVALID):
        await trial.deliver(message=tlv.wrap(0xBF21, tlv.wrap(0xA0, signed, signature)))
    seen = await stage.seen(ordered)
    assert (seen.order, seen.sealed, seen.told) == ("released", ("key",), ((1, ""),))
    assert seen.sessions == (("ended", "EUICC_SIGNATURE_INVALID"),)


async def test_second_step_of_another_session_is_refused(stage: Stage, ordered: Ordered) -> None:
    card = stage.card()
    first = await attempt(stage, card, ordered.matching_id).begun()
    message = first.prepared()
    second = await attempt(stage, card, ordered.matching_id).begun()
    with refuses(Status.TRANSACTION_UNKNOWN):
        await second.deliver(message=message)
    assert await second.state() == ("ended", "TRANSACTION_UNKNOWN")
    assert await first.state() == ("authenticated", None)


async def test_order_that_expires_within_the_session_is_refused_ended_and_told(stage: Stage, ordered: Ordered) -> None:
    stage.clock.advance(days=90, minutes=-1)
    card = stage.card()
    trial = await attempt(stage, card, ordered.matching_id).begun()
    stage.clock.advance(minutes=1)
    for message in (None, "again"):
        with refuses(Status.ORDER_EXPIRED):
            await trial.deliver(message=trial.sent["deliver"] if message else None)
    assert await stage.seen(ordered) == Seen(
        order="error",
        eid=str(card.eid),
        downloads=1,
        told=((1, ""), (3, "ORDER_EXPIRED")),
        sessions=(("ended", "ORDER_EXPIRED"),),
    )


async def test_order_cancelled_within_the_session_is_refused(stage: Stage, ordered: Ordered) -> None:
    card = stage.card()
    trial = await attempt(stage, card, ordered.matching_id).begun()
    cancel = CancelOrder(iccid=ordered.iccid, final_status=FinalProfileStatus.AVAILABLE, eid=card.eid)
    await stage.ordering.cancel_order(stage.call(ordered.tenant_id), cancel)
    with refuses(Status.NOT_RELEASED):
        await trial.deliver()
    assert await stage.seen(ordered) == Seen(
        order="cancelled",
        profile="available",
        eid=str(card.eid),
        downloads=1,
        sealed=(),
        told=((1, ""),),
        sessions=(("ended", "NOT_RELEASED"),),
    )


# Sessions -----------------------------------------------------------------------------------------------------------


async def test_no_step_is_taken_in_a_session_that_has_expired(stage: Stage, ordered: Ordered) -> None:
    late = attempt(stage, stage.card(), ordered.matching_id)
    await late.initiate()
    stage.clock.advance(minutes=10)
    with refuses(Status.TRANSACTION_UNKNOWN):
        await late.authenticate()
    assert await late.state() == ("initiated", None)
    assert await stage.seen(ordered) == UNTOUCHED

    trial = await attempt(stage, stage.card(), ordered.matching_id).begun()
    stage.clock.advance(minutes=10)
    with refuses(Status.TRANSACTION_UNKNOWN):
        await trial.deliver()
    assert (await stage.seen(ordered)).order == "released"


async def test_session_is_good_until_its_last_moment(stage: Stage, ordered: Ordered) -> None:
    trial = attempt(stage, stage.card(), ordered.matching_id)
    await trial.initiate()
    stage.clock.advance(minutes=10, seconds=-1)
    await trial.authenticate()
    assert trial.install(await trial.deliver()).succeeded


async def test_no_step_is_taken_in_a_session_nobody_opened(stage: Stage, ordered: Ordered) -> None:
    trial = await attempt(stage, stage.card(), ordered.matching_id).begun()
    message, unknown = trial.prepared(), TransactionId(b"\x00" * 16)
    for refused in (
        stage.downloads.authenticate_client(unknown, trial.sent["authenticate"]),
        stage.downloads.get_bound_profile_package(unknown, message),
        stage.cancellation.cancel_session(unknown, trial.cancelled(CancelReason.POSTPONED)),
    ):
        with pytest.raises(Refused) as found:
            await refused
        assert (found.value.status.subject, found.value.status.reason) == ("8.10.1", "3.9")
    assert await trial.state() == ("authenticated", None)


async def test_steps_out_of_order_are_refused(stage: Stage, ordered: Ordered) -> None:
    card = stage.card()
    done = await attempt(stage, card, ordered.matching_id).begun()
    message = done.prepared()
    fresh = attempt(stage, stage.card(), ordered.matching_id)
    await fresh.initiate()
    with refuses(Status.TRANSACTION_UNKNOWN):
        await stage.downloads.get_bound_profile_package(fresh.id, message)
    assert await fresh.state() == ("initiated", None)

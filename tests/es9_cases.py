"""Ways to every code of ES9+, taken by a device over TLS in either binding (SGP.22 5.6).

Codes and integers are written out as the standard has them (6.5.2.6 to 6.5.2.10, annex H).
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from rsp import tlv
from rsp.status import Status
from simulator import ecc
from simulator.card import Card
from simulator.euicc_info import EuiccProperties
from simulator.lpa_messages import CancelReason
from simulator.misbehaviour import Misbehaviour
from smdp.ordering import ConfirmOrder, DownloadOrder
from tests import protocol_peers as peers
from tests.es9_stage import AUTHENTICATE, CANCEL, DELIVER, INITIATE, Dialogue, Es9Stage, Refusal, Wire
from tests.protocol_stage import Stage

Provoke = Callable[[Es9Stage, Wire], Awaitable[tuple[Dialogue, Any]]]
"""Answers the device and what the last function came to."""


# InitiateAuthentication -----------------------------------------------------------------------------------------------


async def foreign_address(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    device = es9.dialogue(wire, es9.stage.card())
    return device, await device.initiate("other.example.com")


async def version_one(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    device = es9.dialogue(wire, es9.stage.card(properties=EuiccProperties(svn=b"\x01\x00\x00")))
    return device, await device.initiate()


async def foreign_ci_for_signing(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    ours = es9.stage.material.pki.ci_certificates
    device = es9.dialogue(wire, peers.foreign_card(es9.stage, trusting=ours))
    return device, await device.initiate()


async def foreign_ci_for_verification(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    device = es9.dialogue(wire, peers.card_trusting(es9.stage, peers.foreign_ci()))
    return device, await device.initiate()


# AuthenticateClient ---------------------------------------------------------------------------------------------------


async def authenticated(es9: Es9Stage, wire: Wire, card: Card, matching_id: str | None) -> tuple[Dialogue, Any]:
    device = es9.dialogue(wire, card, matching_id)
    assert not isinstance(await device.initiate(), Refusal)
    return device, await device.authenticate()


def card_that(*misbehave: Misbehaviour) -> Provoke:
    async def provoke(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
        ordered = await es9.stage.order()
        return await authenticated(es9, wire, es9.stage.card(*misbehave), ordered.matching_id)

    return provoke


def card_from(make: Callable[[Stage], Card]) -> Provoke:
    async def provoke(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
        ordered = await es9.stage.order()
        return await authenticated(es9, wire, make(es9.stage), ordered.matching_id)

    return provoke


async def unknown_transaction(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    device = es9.dialogue(wire, es9.stage.card())
    await device.initiate()
    assert device.initiated is not None
    message = device.challenged()
    device.initiated = {**device.initiated, "transactionId": bytes(16)}
    return device, await device.authenticate(message)


async def expired_transaction(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    device = es9.dialogue(wire, es9.stage.card())
    await device.initiate()
    es9.stage.clock.advance(minutes=10)
    return device, await device.authenticate()


async def step_done_before(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    ordered = await es9.stage.order()
    device = await es9.dialogue(wire, es9.stage.card(), ordered.matching_id).begun()
    error = tlv.wrap(0xA1, tlv.wrap(0x80, device.transaction_id), tlv.wrap_integer(0x02, 127))
    return device, await device.authenticate(tlv.wrap(0xBF38, error))


async def eum_revoked_since(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    """The chain proved good a moment ago, and the server remembers it."""
    card, ordered = es9.stage.card(), await es9.stage.order()
    await es9.dialogue(wire, card, ordered.matching_id).begun()
    peers.revoke(es9.stage, card.credentials[0].eum_certificate)
    return await authenticated(es9, wire, card, ordered.matching_id)


async def unknown_token(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    return await authenticated(es9, wire, es9.stage.card(), "NOBODYS-TOKEN")


async def nothing_ordered_for_this_card(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    await es9.stage.order()
    return await authenticated(es9, wire, es9.stage.card(), None)


async def order_of_another_card(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    ordered = await es9.stage.order(eid=es9.stage.card().eid)
    return await authenticated(es9, wire, es9.stage.card(), ordered.matching_id)


async def order_not_released(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    await confirmed(es9.stage, "TOKEN-1")
    return await authenticated(es9, wire, es9.stage.card(), "TOKEN-1")


async def confirmed(stage: Stage, token: str, **more: Any) -> None:
    """An order that waits for its release."""
    stocked = await stage.stock(await stage.operator())
    owner = stocked.tenant_id
    await stage.ordering.download_order(stage.call(owner), DownloadOrder(iccid=stocked.iccid, **more))
    request = ConfirmOrder(iccid=stocked.iccid, release=False, matching_id=token, **more)
    await stage.ordering.confirm_order(stage.call(owner), request)


async def order_expired(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    ordered = await es9.stage.order()
    es9.stage.clock.advance(days=90)
    return await authenticated(es9, wire, es9.stage.card(), ordered.matching_id)


async def attempts_used_up(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    stage = es9.stage
    card, ordered = stage.card(), await stage.order(tenant_id=await stage.operator(download_attempts=1))
    await es9.dialogue(wire, card, ordered.matching_id).begun()
    return await authenticated(es9, wire, card, ordered.matching_id)


async def package_too_new(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    ordered = await es9.stage.order()
    card = es9.stage.card(properties=EuiccProperties(profile_version=b"\x01\x00\x00"))
    return await authenticated(es9, wire, card, ordered.matching_id)


async def full_card(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    ordered = await es9.stage.order()
    card = es9.stage.card(free_memory=len(ordered.upp) - 1)
    return await authenticated(es9, wire, card, ordered.matching_id)


# GetBoundProfilePackage -----------------------------------------------------------------------------------------------


async def begun(es9: Es9Stage, wire: Wire, *misbehave: Misbehaviour, **order: Any) -> Dialogue:
    ordered = await es9.stage.order(**order)
    return await es9.dialogue(wire, es9.stage.card(*misbehave), ordered.matching_id).begun()


def second_step_of_card_that(*misbehave: Misbehaviour) -> Provoke:
    async def provoke(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
        device = await begun(es9, wire, *misbehave)
        return device, await device.deliver()

    return provoke


async def second_step_before_the_first(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    device = es9.dialogue(wire, es9.stage.card())
    await device.initiate()
    error = tlv.wrap(0xA1, tlv.wrap(0x80, device.transaction_id), tlv.wrap_integer(0x02, 127))
    return device, await device.deliver(message=tlv.wrap(0xBF21, error))


async def code_missing(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    device = await begun(es9, wire, code="4711")
    return device, await device.deliver(message=without_code(device))


def without_code(device: Dialogue, *hash_cc: bytes) -> bytes:
    """The card's BF21 with these hashCc values: a strict card would refuse to leave out a code that is asked for."""
    assert device.shown is not None
    point = ecc.public_point(ecc.one_time_key(device.card.credentials[0].private_key.curve, secrets.token_bytes))
    parts = (tlv.wrap(0x80, device.transaction_id), tlv.wrap(0x5F49, point), *(tlv.wrap(0x04, one) for one in hash_cc))
    signed = tlv.wrap(0x30, *parts)
    signature = ecc.sign(device.card.credentials[0].private_key, signed, device.shown["smdpSignature2"])
    return tlv.wrap(0xBF21, tlv.wrap(0xA0, signed, signature))


async def code_of_no_length(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    device = await begun(es9, wire, code="4711")
    return device, await device.deliver(message=without_code(device, b""))


async def code_wrong(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    device = await begun(es9, wire, code="4711")
    return device, await device.deliver("4712")


async def codes_used_up(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    device = await begun(es9, wire, code="4711", tenant_id=await es9.stage.operator(confirmation_attempts=2))
    await device.deliver("4712")
    return device, await device.deliver("4713")


async def order_expired_meanwhile(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    ordered = await es9.stage.order()
    es9.stage.clock.advance(days=90, minutes=-1)
    device = await es9.dialogue(wire, es9.stage.card(), ordered.matching_id).begun()
    es9.stage.clock.advance(minutes=1)
    return device, await device.deliver()


# CancelSession --------------------------------------------------------------------------------------------------------


def cancelling_card_that(*misbehave: Misbehaviour) -> Provoke:
    async def provoke(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
        device = await begun(es9, wire, *misbehave)
        return device, await device.cancel(device.cancelled(CancelReason.POSTPONED))

    return provoke


async def cancel_before_the_card_is_known(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    device = es9.dialogue(wire, es9.stage.card())
    await device.initiate()
    return device, await device.cancel(device.cancelled(CancelReason.POSTPONED))


async def cancel_of_another_session(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    device = await begun(es9, wire)
    message = device.cancelled(CancelReason.POSTPONED)
    other = await es9.dialogue(wire, device.card, device.matching_id).begun()
    return other, await other.cancel(message)


async def bound_to_another_key(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    card, ordered = es9.stage.card(), await es9.stage.order(tenant_id=await es9.stage.operator(rebinding=False))
    first = await es9.dialogue(wire, card, ordered.matching_id).begun()
    assert not isinstance(await first.deliver(), Refusal)
    card.memory.one_time_keys.clear()
    device = await es9.dialogue(wire, card, ordered.matching_id).begun()
    return device, await device.deliver()


async def cancel_of_an_unknown_session(es9: Es9Stage, wire: Wire) -> tuple[Dialogue, Any]:
    device = await begun(es9, wire)
    message = device.cancelled(CancelReason.POSTPONED)
    device.initiated = {"transactionId": bytes(16)}
    return device, await device.cancel(message)


# All of them ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way to one code: dotted in JSON, an integer in ASN.1."""

    function: str
    status: Status
    code: str
    integer: int
    rule: str
    provoke: Provoke
    where: str


def _case(function: str, status: Status, codes: tuple[str, int], rule: str, provoke: Provoke, where: str = "") -> Case:
    files = {INITIATE: "smdp/downloads.py", AUTHENTICATE: "smdp/downloads.py", DELIVER: "smdp/delivery.py"}
    return Case(
        function=function,
        status=status,
        code=codes[0],
        integer=codes[1],
        rule=rule,
        provoke=provoke,
        where=where or files.get(function, "smdp/cancellation.py"),
    )


_S, _M = Status, Misbehaviour
_CREDENTIALS, _ELIGIBILITY, _TRUST = "smdp/credentials.py", "smdp/eligibility.py", "crypto/certificates.py"
CASES = (
    _case(INITIATE, _S.ADDRESS_REFUSED, ("8.8.1/3.8", 1), "the address is one of ours", foreign_address),
    _case(INITIATE, _S.SVN_UNSUPPORTED, ("8.8.3/3.1", 2), "the eUICC is of version 2 or later", version_one),
    _case(INITIATE, _S.CI_FOR_SIGNING_UNSUPPORTED, ("8.8.2/3.1", 3), "the eUICC signs under a CI we trust",
          foreign_ci_for_signing, _CREDENTIALS),
    _case(INITIATE, _S.CI_FOR_VERIFICATION_UNAVAILABLE, ("8.8.4/3.7", 3), "the eUICC verifies a certificate of ours",
          foreign_ci_for_verification, _CREDENTIALS),
    _case(AUTHENTICATE, _S.TRANSACTION_UNKNOWN, ("8.10.1/3.9", 10), "the session is known", unknown_transaction),
    _case(AUTHENTICATE, _S.TRANSACTION_UNKNOWN, ("8.10.1/3.9", 10), "the session lives", expired_transaction),
    _case(AUTHENTICATE, _S.TRANSACTION_UNKNOWN, ("8.10.1/3.9", 10), "the session is at this step", step_done_before),
    _case(AUTHENTICATE, _S.TRANSACTION_UNKNOWN, ("8.10.1/3.9", 10), "the signed transactionId is that of the session",
          card_that(_M.WRONG_TRANSACTION_ID)),
    _case(AUTHENTICATE, _S.CI_UNKNOWN, ("8.11.1/3.9", 9), "the EUM's CI is trusted", card_that(_M.FOREIGN_EUM), _TRUST),
    _case(AUTHENTICATE, _S.EUM_CERTIFICATE_INVALID, ("8.1.2/6.1", 1), "the EUM certificate is signed by its CI",
          card_that(_M.FORGED_EUM), _TRUST),
    _case(AUTHENTICATE, _S.EUM_CERTIFICATE_INVALID, ("8.1.2/6.1", 1), "the EUM certificate is not revoked by its CI",
          eum_revoked_since, _TRUST),
    _case(AUTHENTICATE, _S.EUM_CERTIFICATE_EXPIRED, ("8.1.2/6.3", 2), "the EUM certificate is valid now",
          card_from(peers.card_of_expired_eum), _TRUST),
    _case(AUTHENTICATE, _S.EUICC_CERTIFICATE_INVALID, ("8.1.3/6.1", 3), "the eUICC certificate is signed by its EUM",
          card_that(_M.FORGED_EUICC), _TRUST),
    _case(AUTHENTICATE, _S.EUICC_CERTIFICATE_INVALID, ("8.1.3/6.1", 3), "the EID is within the EUM's range",
          card_from(peers.card_outside_its_range), _TRUST),
    _case(AUTHENTICATE, _S.EUICC_CERTIFICATE_EXPIRED, ("8.1.3/6.3", 4), "the eUICC certificate is valid now",
          card_from(peers.expired_card), _TRUST),
    _case(AUTHENTICATE, _S.EUICC_SIGNATURE_INVALID, ("8.1/6.1", 5), "euiccSignature1 holds",
          card_that(_M.WRONG_SIGNATURE1)),
    _case(AUTHENTICATE, _S.EUICC_SIGNATURE_INVALID, ("8.1/6.1", 5), "the signed challenge is ours",
          card_that(_M.WRONG_SERVER_CHALLENGE)),
    _case(AUTHENTICATE, _S.EUICC_SIGNATURE_INVALID, ("8.1/6.1", 5), "the signed address is ours",
          card_that(_M.WRONG_SERVER_ADDRESS)),
    _case(AUTHENTICATE, _S.EUICC_SIGNATURE_INVALID, ("8.1/6.1", 5), "authenticateResponseError ends the session",
          card_that(_M.REFUSE_AUTHENTICATION)),
    _case(AUTHENTICATE, _S.MATCHING_ID_REFUSED, ("8.2.6/3.8", 6), "the MatchingID leads to an order", unknown_token,
          _ELIGIBILITY),
    _case(AUTHENTICATE, _S.MATCHING_ID_REFUSED, ("8.2.6/3.8", 6), "without a MatchingID the EID leads to an order",
          nothing_ordered_for_this_card, _ELIGIBILITY),
    _case(AUTHENTICATE, _S.EID_MISMATCH, ("8.1.1/3.8", 7), "an order bound to another EID is refused",
          order_of_another_card, _ELIGIBILITY),
    _case(AUTHENTICATE, _S.NOT_RELEASED, ("8.2/1.2", 8), "the profile is released", order_not_released, _ELIGIBILITY),
    _case(AUTHENTICATE, _S.ORDER_EXPIRED, ("8.8.5/4.10", 8), "the order has not expired", order_expired, _ELIGIBILITY),
    _case(AUTHENTICATE, _S.DOWNLOAD_ATTEMPTS_EXCEEDED, ("8.8.5/6.4", 8), "download attempts are left",
          attempts_used_up, _ELIGIBILITY),
    _case(AUTHENTICATE, _S.NOT_ELIGIBLE, ("8.2.5/4.3", 8), "the package suits the eUICC", package_too_new,
          _ELIGIBILITY),
    _case(AUTHENTICATE, _S.INSUFFICIENT_MEMORY, ("8.1/4.8", 11), "the eUICC has room", full_card, _ELIGIBILITY),
    _case(DELIVER, _S.TRANSACTION_UNKNOWN, ("8.10.1/3.9", 95), "the session is at this step",
          second_step_before_the_first),
    _case(DELIVER, _S.TRANSACTION_UNKNOWN, ("8.10.1/3.9", 95), "the signed transactionId is that of the session",
          second_step_of_card_that(_M.WRONG_TRANSACTION_ID2)),
    _case(DELIVER, _S.EUICC_SIGNATURE_INVALID, ("8.1/6.1", 1), "euiccSignature2 holds",
          second_step_of_card_that(_M.WRONG_SIGNATURE2)),
    _case(DELIVER, _S.EXECUTION_ERROR, ("8/4.2", 127), "downloadResponseError ends the session",
          second_step_of_card_that(_M.REFUSE_DOWNLOAD)),
    _case(DELIVER, _S.CONFIRMATION_CODE_MISSING, ("8.2.7/2.2", 2), "a code that is asked for is sent", code_missing),
    _case(DELIVER, _S.CONFIRMATION_CODE_MISSING, ("8.2.7/2.2", 2), "a code of no length is none", code_of_no_length),
    _case(DELIVER, _S.CONFIRMATION_CODE_REFUSED, ("8.2.7/3.8", 3), "the code is right", code_wrong),
    _case(DELIVER, _S.CONFIRMATION_CODE_RETRIES_EXCEEDED, ("8.2.7/6.4", 4), "wrong codes are limited", codes_used_up),
    _case(DELIVER, _S.ORDER_EXPIRED, ("8.8.5/4.10", 6), "the order has not expired meanwhile", order_expired_meanwhile),
    _case(DELIVER, _S.REBINDING_REFUSED, ("8.2/3.7", 5), "the package may be bound to this key", bound_to_another_key),
    _case(CANCEL, _S.TRANSACTION_UNKNOWN, ("8.10.1/3.9", 1), "the session is known", cancel_of_an_unknown_session),
    _case(CANCEL, _S.TRANSACTION_UNKNOWN, ("8.10.1/3.9", 1), "the card of the session is known",
          cancel_before_the_card_is_known),
    _case(CANCEL, _S.TRANSACTION_UNKNOWN, ("8.10.1/3.9", 1), "the signed transactionId is that of the session",
          cancel_of_another_session),
    _case(CANCEL, _S.EUICC_SIGNATURE_INVALID, ("8.1/6.1", 2), "the card's signature holds",
          cancelling_card_that(_M.WRONG_CANCEL_SIGNATURE)),
    _case(CANCEL, _S.SMDP_OID_MISMATCH, ("8.8/3.10", 127), "the signed OID is ours",
          cancelling_card_that(_M.WRONG_CANCEL_OID)),
)  # fmt: skip

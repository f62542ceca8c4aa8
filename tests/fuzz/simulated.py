"""The readers of the simulator as targets: LPA, IPA, card, SM-DS."""

from __future__ import annotations

import contextlib
from functools import cache

from certs import recipe
from certs.recipe import Terms
from crypto.curves import Curve
from crypto.x509 import parse_certificate
from rsp import tlv
from rsp.errors import Malformed
from rsp.identifiers import Iccid, TransactionId
from simulator import (
    bpp_segments,
    euicc_package,
    ipa_messages,
    lpa_messages,
    profile_package,
    server_certificates,
    smds_book,
    strict_json,
)
from simulator import metadata as card_metadata
from simulator.apdu import ApduInterface
from simulator.card import Card
from simulator.card_memory import CardImage
from simulator.exchange import Answer, FunctionFailed, ProtocolFault
from simulator.issuer import EumIssuer
from simulator.lpa_bindings import Asn1Binding, JsonBinding
from tests.fuzz.target import NOW, Target, cis

_OWN_ICCID = Iccid("8900012345678901234")
_REFUSED = (Malformed, ValueError)
_SIGNED = ("serverSigned1", "serverSignature1", "euiccCiPKIdToBeUsed", "serverCertificate")
_SHOWN = ("profileMetadata", "smdpSigned2", "smdpSignature2", "smdpCertificate")
_ANSWERS = {
    "initiateAuthentication": ("transactionId", *_SIGNED),
    "authenticateClient": ("transactionId", *_SHOWN),
    "getBoundProfilePackage": ("transactionId", "boundProfilePackage"),
    "cancelSession": (),
}


def _lpa(data: bytes) -> None:
    shown, transaction_id = b"\xbf\x25\x00", TransactionId(bytes(range(16)))
    for read in (
        lpa_messages.euicc_challenge,
        lpa_messages.confirmation_code_required,
        lpa_messages.transaction_inside,
        lpa_messages.notifications,
        lpa_messages.sequence_and_address,
        lpa_messages.read_installation_result,
        lambda data: lpa_messages.check_server_signed1(data, transaction_id, bytes(16), "smdp.example.com"),
        lambda data: lpa_messages.check_bound_profile_package(data, transaction_id, shown),
        bpp_segments.split_bound_profile_package,
        card_metadata.parse,
    ):
        with contextlib.suppress(ValueError):
            read(data)


def _answers(data: bytes) -> None:
    """An answer of ES9+ in either binding, as the LPA reads it."""
    for binding in (JsonBinding(), Asn1Binding()):
        headers = {"Content-Type": binding.content_type, "X-Admin-Protocol": "gsma/rsp/v2.5.0"}
        answer = Answer(status=200, headers=headers, body=data, attempt=1)
        for function, required in _ANSWERS.items():
            with contextlib.suppress(ProtocolFault, FunctionFailed):
                found = binding.reply(function, answer, required)
                if "transactionId" in required:
                    found.transaction_id()


def _ipa(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        trigger = ipa_messages.read_trigger(tlv.read_only(data, 0xBF54))
        ipa_messages.code_of(trigger, "smdp.example.com")
    euicc_package.parse(data)


def _profile(data: bytes) -> None:
    profile_package.check(data, _OWN_ICCID)


def _card_certificate(data: bytes) -> None:
    trusted = {parse_certificate(ci).subject_key_id: ci for ci in cis()}
    server_certificates.check(data, roles=(server_certificates.ROLE_DP_AUTH,), trusted=trusted, now=NOW)


def no_chance(size: int) -> bytes:
    """In place of randomness, so that a card asks with the challenge of the corpus."""
    return bytes(range(1, size + 1))


@cache
def _card_state() -> bytes:
    """A card of an EUM of its own that trusts servers under the CI of the corpus."""
    ci = recipe.ci(Terms(now=NOW, serial=1), Curve.P256)
    eum = recipe.eum(ci, Terms(now=NOW, serial=2))
    issuer = EumIssuer(eum.der, eum.key, cis())
    eid = issuer.eid(1)
    return Card(eid, [issuer.issue(eid)], now=lambda: NOW).to_bytes()


def _card(data: bytes) -> None:
    """Every command of a card that takes bytes, on a card that has just asked with its challenge."""
    card = Card.from_bytes(_card_state(), now=lambda: NOW, random=no_chance)
    card.get_euicc_challenge()
    for command in (
        card.authenticate_server,
        card.prepare_download,
        card.cancel_session,
        card.load_bound_profile_package,
        card.list_notifications,
        card.get_configured_addresses,
        card.set_default_smdp_address,
    ):
        with contextlib.suppress(ValueError):
            command(data)


def _apdu(data: bytes) -> None:
    """Commands of five bytes and more, as they lie one after the other."""
    interface = ApduInterface(Card.from_bytes(_card_state(), now=lambda: NOW))
    interface.transmit(bytes.fromhex("00a4040010a0000005591010ffffffff8900000100"))
    for start in range(0, min(len(data), 4 * 64), 64):
        interface.transmit(data[start : start + 64])
    interface.transmit(data[:260])


def _strict(data: bytes) -> None:
    strict_json.load_object(data)


def _smds(data: bytes) -> None:
    for function in ("registerEvent", "deleteEvent"):
        with contextlib.suppress(smds_book.SmdsRefused, ValueError):
            smds_book.read_request(function, data)


def _card_image(data: bytes) -> None:
    CardImage.from_bytes(data)


TARGETS: tuple[Target, ...] = (
    Target("lpa", "tlv", _lpa, _REFUSED),
    Target("lpa_answer_json", "json", _answers, _REFUSED),
    Target("lpa_answer_asn1", "tlv", _answers, _REFUSED),
    Target("ipa", "tlv", _ipa, _REFUSED),
    Target("card", "tlv", _card, _REFUSED),
    Target("apdu", "octets", _apdu, ()),
    Target("card_package", "tlv", _profile, (profile_package.ElementRefused, profile_package.WrongIccid)),
    Target("card_certificate", "tlv", _card_certificate, (server_certificates.CertificateRefused,)),
    Target("strict_json", "json", _strict, _REFUSED),
    Target("smds", "json", _smds, _REFUSED),
    Target("card_image", "json", _card_image, _REFUSED),
)

"""Each deliberate fault of the virtual eUICC breaks what its name says and nothing before it."""

from __future__ import annotations

import pytest
from card_test_pki import pki
from card_test_server import (
    PackageWish,
    ScriptedServer,
    authenticate,
    card,
    error_code,
    failure,
    install,
    prepare,
    read_point,
)
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from test_card_download import check_signature

from rsp.tlv import Tlv, read, wrap
from simulator.misbehaviour import Misbehaviour


def authenticated(*faults: Misbehaviour) -> list[Tlv]:
    return list(next(read(authenticate(card(misbehave=faults), ScriptedServer())).children()).children())


def test_signature_1_can_be_wrong() -> None:
    signed, signature, *_ = authenticated(Misbehaviour.WRONG_SIGNATURE1)
    with pytest.raises(InvalidSignature):
        check_signature("nist", signature, signed.raw)


@pytest.mark.parametrize(
    ("fault", "tag"),
    [
        (Misbehaviour.WRONG_TRANSACTION_ID, 0x80),
        (Misbehaviour.WRONG_SERVER_ADDRESS, 0x83),
        (Misbehaviour.WRONG_SERVER_CHALLENGE, 0x84),
    ],
)
def test_one_echoed_member_can_be_wrong_under_a_good_signature(fault: Misbehaviour, tag: int) -> None:
    signed, signature, *_ = authenticated(fault)
    check_signature("nist", signature, signed.raw)
    good = authenticated()[0].members()
    changed = [other for other, member in signed.members().items() if member.raw != good[other].raw]
    assert changed == [tag]


def test_a_foreign_eum_names_an_unknown_ci() -> None:
    eum = x509.load_der_x509_certificate(authenticated(Misbehaviour.FOREIGN_EUM)[3].raw)
    named = eum.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert named != pki("nist").ci.key_id


@pytest.mark.parametrize(("fault", "place"), [(Misbehaviour.FORGED_EUM, 3), (Misbehaviour.FORGED_EUICC, 2)])
def test_a_forged_certificate_differs_in_its_signature_alone(fault: Misbehaviour, place: int) -> None:
    forged = x509.load_der_x509_certificate(authenticated(fault)[place].raw)
    real = (pki("nist").eum if place == 3 else pki("nist").euicc).certificate
    issuer = (pki("nist").ci if place == 3 else pki("nist").eum).certificate
    assert forged.tbs_certificate_bytes == real.tbs_certificate_bytes
    with pytest.raises(InvalidSignature):
        forged.verify_directly_issued_by(issuer)


def test_a_response_can_be_truncated() -> None:
    with pytest.raises(ValueError, match="announces"):
        read(authenticate(card(misbehave=(Misbehaviour.TRUNCATED_RESPONSE,)), ScriptedServer()))


def test_authentication_and_download_can_be_refused() -> None:
    assert error_code(authenticate(card(misbehave=(Misbehaviour.REFUSE_AUTHENTICATION,)), ScriptedServer())) == 127
    assert error_code(prepare(card(misbehave=(Misbehaviour.REFUSE_DOWNLOAD,)), ScriptedServer())) == 127


def test_signature_2_and_its_transaction_can_be_wrong() -> None:
    target, server = card(misbehave=(Misbehaviour.WRONG_SIGNATURE2,)), ScriptedServer()
    request = server.prepare_request(authenticate(target, server))
    signed, signature = next(read(target.prepare_download(request)).children()).children()
    with pytest.raises(InvalidSignature):
        check_signature("nist", signature, signed.raw + list(read(request).children())[1].raw)
    target.misbehave = frozenset({Misbehaviour.WRONG_TRANSACTION_ID2})
    signed, signature = next(read(target.prepare_download(request)).children()).children()
    check_signature("nist", signature, signed.raw + list(read(request).children())[1].raw)
    assert signed.members()[0x80].value != server.transaction_id


def test_the_stored_one_time_key_can_be_forgotten() -> None:
    target, server = card(misbehave=(Misbehaviour.NEW_ONE_TIME_KEY,)), ScriptedServer()
    first = prepare(target, server)
    request = server.prepare_request(authenticate(target, server), euicc_point=read_point(first))
    assert read_point(target.prepare_download(request)) != read_point(first)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Misbehaviour.FAIL_INSTALL_MEMORY, 10),
        (Misbehaviour.FAIL_INSTALL_INTERRUPTED, 11),
        (Misbehaviour.FAIL_INSTALL_PE, 12),
    ],
)
def test_an_installation_can_fail(fault: Misbehaviour, reason: int) -> None:
    target = card(misbehave=(fault,))
    result = install(target, ScriptedServer(), PackageWish())
    assert failure(result) == (5, reason)
    data, signature = read(result).children()
    check_signature("nist", signature, data.raw)


def test_the_signature_of_the_installation_result_can_be_wrong() -> None:
    data, signature = read(
        install(card(misbehave=(Misbehaviour.WRONG_PIR_SIGNATURE,)), ScriptedServer(), PackageWish())
    ).children()
    with pytest.raises(InvalidSignature):
        check_signature("nist", signature, data.raw)


def test_the_signature_of_another_notification_can_be_wrong() -> None:
    target = card(misbehave=(Misbehaviour.WRONG_NOTIFICATION_SIGNATURE,))
    install(target, ScriptedServer(), PackageWish())
    target.enable_profile(wrap(0xBF31, wrap(0xA0, wrap(0x4F, target.profiles[0].aid)), wrap(0x81, b"\xff")))
    pending = list(next(read(target.retrieve_notifications()).children()).children())
    described, signature, *_ = pending[1].children()
    with pytest.raises(InvalidSignature):
        check_signature("nist", signature, described.raw)


def cancelled(fault: Misbehaviour) -> Tlv:
    target, server = card(misbehave=(fault,)), ScriptedServer()
    authenticate(target, server)
    request = wrap(0xBF41, wrap(0x80, server.transaction_id), wrap(0x81, b"\0"))
    return next(read(target.cancel_session(request)).children())


def test_a_cancellation_can_be_wrong() -> None:
    signed, signature = cancelled(Misbehaviour.WRONG_CANCEL_SIGNATURE).children()
    with pytest.raises(InvalidSignature):
        check_signature("nist", signature, signed.raw)
    signed, signature = cancelled(Misbehaviour.WRONG_CANCEL_OID).children()
    check_signature("nist", signature, signed.raw)
    assert signed.members()[0x81].value == b"\x88\x37\x0b"
    assert cancelled(Misbehaviour.REFUSE_CANCEL).raw == wrap(0x81, b"\x7f")

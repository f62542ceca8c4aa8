"""What the virtual eUICC refuses in AuthenticateServer and PrepareDownload, and with which code."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta

import pytest
from card_test_pki import NOW, Wish, pki, server_entity
from card_test_server import (
    CONTEXT,
    ScriptedServer,
    authenticate,
    card,
    challenge_of,
    error_code,
    prepare,
    read_point,
)
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from rsp.tlv import read, wrap
from simulator.es10b import AuthenticateError, DownloadError

OK = -1
EXPIRED = {"start": NOW - timedelta(days=30), "end": NOW - timedelta(days=1)}

# What is wrong with the certificate; the codes for AuthenticateServer and PrepareDownload.
FAULTY_CERTIFICATES = {
    "expired": (EXPIRED, AuthenticateError.INVALID_CERTIFICATE),
    "not yet valid": ({"start": NOW + timedelta(days=1)}, AuthenticateError.INVALID_CERTIFICATE),
    "unknown CI": ({"issuer_key_id": b"u" * 20}, AuthenticateError.CI_KEY_UNKNOWN),
    "other issuer name": ({"issuer_name": "somebody"}, AuthenticateError.INVALID_CERTIFICATE),
    "other curve than its CI": ({"curve": ec.BrainpoolP256R1()}, AuthenticateError.INVALID_CERTIFICATE),
    "unsupported curve": ({"curve": ec.SECP384R1()}, AuthenticateError.UNSUPPORTED_CURVE),
    "key usage without signing": ({"signs": False}, AuthenticateError.INVALID_CERTIFICATE),
    "key usage of a CA": ({"certifies": True}, AuthenticateError.INVALID_CERTIFICATE),
    "a CA": ({"ca": True}, AuthenticateError.INVALID_CERTIFICATE),
    "key usage not critical": ({"critical_usage": False}, AuthenticateError.INVALID_CERTIFICATE),
    "policy not critical": ({"critical_policy": False}, AuthenticateError.INVALID_OID),
    "wrong role": ({"role": "euicc"}, AuthenticateError.INVALID_OID),
    "no owner": ({"owner": None}, AuthenticateError.INVALID_CERTIFICATE),
    "unknown critical extension": ({"extra_critical": True}, AuthenticateError.INVALID_CERTIFICATE),
}


@pytest.mark.parametrize("fault", FAULTY_CERTIFICATES)
def test_a_faulty_authentication_certificate_is_refused(fault: str) -> None:
    changes, code = FAULTY_CERTIFICATES[fault]
    server = ScriptedServer()
    server.auth = server_entity("nist", replace(Wish(), **changes))  # type: ignore[arg-type] # a table of fields
    assert error_code(authenticate(card(), server)) == code


@pytest.mark.parametrize("fault", [*FAULTY_CERTIFICATES, "foreign owner", "other CI"])
def test_a_faulty_binding_certificate_is_refused(fault: str) -> None:
    changes, code = FAULTY_CERTIFICATES.get(fault, ({}, AuthenticateError.INVALID_CERTIFICATE))
    if fault == "foreign owner":
        changes = {"owner": "2.999.11"}
    server = ScriptedServer()
    curve = "brainpool" if fault == "other CI" else "nist"
    server.binding = server_entity(curve, replace(Wish(role="dp_pb"), **changes))  # type: ignore[arg-type] # as above
    curve_code = code == AuthenticateError.UNSUPPORTED_CURVE
    expected = DownloadError.UNSUPPORTED_CURVE if curve_code else DownloadError.INVALID_CERTIFICATE
    assert error_code(prepare(card("nist", "brainpool"), server)) == expected


def test_a_certificate_the_ci_never_signed_is_refused() -> None:
    target, server = card(), ScriptedServer()
    request = bytearray(server.authenticate_request(challenge_of(target)))
    certificate = list(read(bytes(request)).children())[3]
    request[certificate.end - 1] ^= 1
    assert error_code(target.authenticate_server(bytes(request))) == AuthenticateError.INVALID_CERTIFICATE


def test_a_negative_serial_number_is_refused() -> None:
    target, server = card(), ScriptedServer()
    request = bytearray(server.authenticate_request(challenge_of(target)))
    serial = list(next(list(read(bytes(request)).children())[3].children()).children())[1]
    request[serial.value_start] |= 0x80
    assert error_code(target.authenticate_server(bytes(request))) == AuthenticateError.INVALID_CERTIFICATE


def test_without_a_challenge_there_is_no_session() -> None:
    request = ScriptedServer().authenticate_request(bytes(16))
    assert error_code(card().authenticate_server(request)) == AuthenticateError.NO_SESSION_CONTEXT


def test_a_challenge_serves_once() -> None:
    target, server = card(), ScriptedServer()
    request = server.authenticate_request(challenge_of(target))
    assert error_code(target.authenticate_server(request)) == OK
    assert error_code(target.authenticate_server(request)) == AuthenticateError.NO_SESSION_CONTEXT


def test_another_challenge_is_refused() -> None:
    target = card()
    challenge_of(target)
    answer = target.authenticate_server(ScriptedServer().authenticate_request(b"c" * 16))
    assert error_code(answer) == AuthenticateError.CHALLENGE_MISMATCH


def spoilt(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


def test_a_wrong_server_signature_is_refused() -> None:
    target = card()
    request = ScriptedServer().authenticate_request(challenge_of(target), signature=spoilt)
    assert error_code(target.authenticate_server(request)) == AuthenticateError.INVALID_SIGNATURE


def test_a_signature_in_der_form_is_refused() -> None:
    from cryptography.hazmat.primitives import hashes

    target, server = card(), ScriptedServer()
    challenge = challenge_of(target)
    body = next(read(server.authenticate_request(challenge)).children()).raw
    made = wrap(0x5F37, server.auth.key.sign(body, ec.ECDSA(hashes.SHA256())))
    request = server.authenticate_request(challenge, signature=lambda _: made)
    assert error_code(target.authenticate_server(request)) == AuthenticateError.INVALID_SIGNATURE


def test_the_binding_key_cannot_authenticate_the_server() -> None:
    target, server = card(), ScriptedServer()
    server.auth = server.binding
    assert error_code(authenticate(target, server)) == AuthenticateError.INVALID_OID


def test_a_ci_under_which_the_card_does_not_sign_is_refused() -> None:
    target = card()
    request = ScriptedServer().authenticate_request(challenge_of(target), ci_key_id=b"k" * 20)
    assert error_code(target.authenticate_server(request)) == AuthenticateError.CI_KEY_UNKNOWN


def test_an_address_that_is_no_host_name_is_refused() -> None:
    server = ScriptedServer()
    server.address = "https://smdp.example.com/"
    assert error_code(authenticate(card(), server)) == AuthenticateError.UNDEFINED


def test_a_length_that_is_not_the_shortest_is_refused() -> None:
    def longer(body: bytes) -> bytes:
        return b"\x30\x81" + body[1:]

    target = card()
    request = ScriptedServer().authenticate_request(challenge_of(target), signed=longer)
    assert error_code(target.authenticate_server(request)) == AuthenticateError.UNDEFINED


def test_an_unknown_member_is_refused() -> None:
    def longer(body: bytes) -> bytes:
        return wrap(0x30, read(body).value, wrap(0x85, b"x"))

    target = card()
    request = ScriptedServer().authenticate_request(challenge_of(target), signed=longer)
    assert error_code(target.authenticate_server(request)) == AuthenticateError.UNDEFINED


@pytest.mark.parametrize("context", [wrap(0xA0), wrap(0xA0, wrap(0xA1, wrap(0x80, b"tac"), wrap(0xA1)))])
def test_context_parameters_without_a_proper_device_info_are_refused(context: bytes) -> None:
    target = card()
    request = ScriptedServer().authenticate_request(challenge_of(target), context=context)
    assert error_code(target.authenticate_server(request)) == AuthenticateError.UNDEFINED


def test_device_info_may_carry_an_imei_and_no_matching_id() -> None:
    device = wrap(0xA1, wrap(0x80, b"taci"), wrap(0xA1), wrap(0x82, b"imeiimei"))
    target = card()
    request = ScriptedServer().authenticate_request(challenge_of(target), context=wrap(0xA0, device))
    assert error_code(target.authenticate_server(request)) == OK


def test_a_request_without_transaction_id_is_no_command() -> None:
    with pytest.raises(ValueError, match="transactionId"):
        card().authenticate_server(wrap(0xBF38, wrap(0x30)))


# PrepareDownload -------------------------------------------------------------------------------------------------


def test_prepare_download_needs_an_authenticated_server() -> None:
    target, server = card(), ScriptedServer()
    request = server.prepare_request(authenticate(card(), server))
    assert error_code(target.prepare_download(request)) == DownloadError.NO_SESSION_CONTEXT


def test_a_wrong_second_signature_is_refused() -> None:
    target, server = card(), ScriptedServer()
    request = server.prepare_request(authenticate(target, server), signature=spoilt)
    assert error_code(target.prepare_download(request)) == DownloadError.INVALID_SIGNATURE


def test_a_second_signature_over_another_cards_signature_is_refused() -> None:
    target, server = card(), ScriptedServer()
    authenticate(target, server)
    request = server.prepare_request(authenticate(card(), server))
    assert error_code(target.prepare_download(request)) == DownloadError.INVALID_SIGNATURE


def test_another_transaction_is_refused() -> None:
    target, server = card(), ScriptedServer()
    request = server.prepare_request(authenticate(target, server), transaction_id=b"another")
    assert error_code(target.prepare_download(request)) == DownloadError.INVALID_TRANSACTION_ID


def test_a_required_confirmation_code_must_come() -> None:
    target, server = card(), ScriptedServer()
    request = server.prepare_request(authenticate(target, server), cc_required=b"\xff")
    assert error_code(target.prepare_download(request)) == DownloadError.UNDEFINED


def test_a_hash_of_another_size_is_refused() -> None:
    target, server = card(), ScriptedServer()
    request = server.prepare_request(authenticate(target, server), hash_cc=b"short")
    assert error_code(target.prepare_download(request)) == DownloadError.UNDEFINED


def test_a_boolean_that_is_not_der_is_refused() -> None:
    target, server = card(), ScriptedServer()
    request = server.prepare_request(authenticate(target, server), cc_required=b"\x01")
    assert error_code(target.prepare_download(request)) == DownloadError.UNDEFINED


def test_another_hash_may_be_tried_in_the_same_session() -> None:
    target, server = card(), ScriptedServer()
    response = authenticate(target, server)
    for code in (b"1" * 32, b"2" * 32):
        assert error_code(target.prepare_download(server.prepare_request(response, hash_cc=code))) == OK


def test_an_error_answer_names_the_transaction() -> None:
    target, server = card(), ScriptedServer()
    challenge_of(target)
    answer = target.authenticate_server(server.authenticate_request(b"c" * 16))
    assert next(read(answer).children()).members()[0x80].value == server.transaction_id


def test_the_fault_is_told_in_words() -> None:
    target = card()
    challenge_of(target)
    target.authenticate_server(ScriptedServer().authenticate_request(b"c" * 16))
    assert target.last_fault == "the server signed another challenge"


@settings(max_examples=100)
@given(st.binary(max_size=200), st.integers(0, 4))
def test_any_bytes_give_an_answer_or_a_value_error(noise: bytes, place: int) -> None:
    target = card()
    challenge = challenge_of(target)
    request = ScriptedServer().authenticate_request(challenge)
    parts = [child.raw for child in read(request).children()]
    parts[place : place + 1] = [noise]
    for function, tag in ((target.authenticate_server, 0xBF38), (target.prepare_download, 0xBF21)):
        try:
            assert error_code(function(wrap(tag, *parts))) != OK
        except ValueError:
            continue


@settings(max_examples=100)
@given(st.data())
def test_one_changed_byte_is_never_accepted(data: st.DataObject) -> None:
    target, server = card(), ScriptedServer()
    request = bytearray(server.authenticate_request(challenge_of(target)))
    before_context = len(request) - len(CONTEXT)
    place = data.draw(st.integers(5, before_context - 1))
    request[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ValueError):
        assert error_code(target.authenticate_server(bytes(request))) != OK


def test_the_reused_key_must_be_the_one_of_this_server() -> None:
    target, server = card(), ScriptedServer()
    first = prepare(target, server)
    other = ScriptedServer()
    other.auth = server_entity("nist", Wish(owner="2.999.11"))
    other.binding = server_entity("nist", Wish(role="dp_pb", owner="2.999.11"))
    request = other.prepare_request(authenticate(target, other), euicc_point=read_point(first))
    assert read_point(target.prepare_download(request)) != read_point(first)


def test_the_trust_of_two_cis_is_announced() -> None:
    found = read(card("nist", "brainpool").get_euicc_info1()).members()
    ids = [pki("nist").ci.key_id, pki("brainpool").ci.key_id]
    assert [entry.value for entry in found[0xA9].children()] == ids
    assert [entry.value for entry in found[0xAA].children()] == ids

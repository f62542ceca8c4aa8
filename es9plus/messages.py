"""The JSON spelling of ES9+ (SGP.22 6.5.2.6 to 6.5.2.10): members in, exactly the standard's members out."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from es9plus.requests import CardResponse, InitiateAuthentication
from rsp import tlv
from rsp.errors import Malformed
from rsp.identifiers import TransactionId
from rsp.json_binding import base64_json, decode_base64, execution_header
from smdp.downloads import Authenticated, Initiated

PREFIX = "/gsma/rsp2/es9plus"

_SUCCESS = execution_header()
_T = TypeVar("_T", bound=msgspec.Struct)


class _InitiateAuthentication(msgspec.Struct, frozen=True, rename="camel"):
    """A header or members of later versions are passed over, here and below."""

    euicc_challenge: str
    euicc_info1: str
    smdp_address: str


class _AuthenticateClient(msgspec.Struct, frozen=True, rename="camel"):
    transaction_id: str
    authenticate_server_response: str


class _GetBoundProfilePackage(msgspec.Struct, frozen=True, rename="camel"):
    transaction_id: str
    prepare_download_response: str


class _HandleNotification(msgspec.Struct, frozen=True, rename="camel"):
    pending_notification: str


class _CancelSession(msgspec.Struct, frozen=True, rename="camel"):
    transaction_id: str
    cancel_session_response: str


# Requests -------------------------------------------------------------------------------------------------------------


def initiate_authentication(body: bytes) -> InitiateAuthentication:
    """6.5.2.6."""
    request = _decode(_InitiateAuthentication, body)
    return InitiateAuthentication(
        euicc_challenge=decode_base64(request.euicc_challenge, "euiccChallenge"),
        euicc_info1=decode_base64(request.euicc_info1, "euiccInfo1"),
        smdp_address=request.smdp_address,
    )


def authenticate_client(body: bytes) -> CardResponse:
    """6.5.2.8."""
    request = _decode(_AuthenticateClient, body)
    return _response(request.transaction_id, request.authenticate_server_response, "authenticateServerResponse")


def get_bound_profile_package(body: bytes) -> CardResponse:
    """6.5.2.7."""
    request = _decode(_GetBoundProfilePackage, body)
    return _response(request.transaction_id, request.prepare_download_response, "prepareDownloadResponse")


def handle_notification(body: bytes) -> bytes:
    """6.5.2.9."""
    return decode_base64(_decode(_HandleNotification, body).pending_notification, "pendingNotification")


def cancel_session(body: bytes) -> CardResponse:
    """6.5.2.10."""
    request = _decode(_CancelSession, body)
    return _response(request.transaction_id, request.cancel_session_response, "cancelSessionResponse")


def _decode(kind: type[_T], body: bytes) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"The body is not the JSON of this function: {error}") from None


def _response(transaction_id: str, text: str, member: str) -> CardResponse:
    return CardResponse(transaction_id=TransactionId.parse(transaction_id), response=decode_base64(text, member))


# Answers --------------------------------------------------------------------------------------------------------------


def initiated(answer: Initiated) -> bytes:
    """6.5.2.6; the CI key id travels as OCTET STRING."""
    return (
        b'{"header":%b,"transactionId":"%b","serverSigned1":%b,"serverSignature1":%b,'
        b'"euiccCiPKIdToBeUsed":%b,"serverCertificate":%b}'
    ) % (
        _SUCCESS,
        _hex(answer.transaction_id),
        base64_json(answer.server_signed1),
        base64_json(answer.server_signature1),
        base64_json(tlv.wrap(0x04, answer.ci_key_id)),
        base64_json(answer.certificate),
    )


def authenticated(answer: Authenticated) -> bytes:
    """6.5.2.8."""
    return (
        b'{"header":%b,"transactionId":"%b","profileMetadata":%b,"smdpSigned2":%b,"smdpSignature2":%b,'
        b'"smdpCertificate":%b}'
    ) % (
        _SUCCESS,
        _hex(answer.transaction_id),
        base64_json(answer.metadata),
        base64_json(answer.smdp_signed2),
        base64_json(answer.smdp_signature2),
        base64_json(answer.certificate),
    )


def bound(transaction_id: TransactionId, package: bytes) -> bytes:
    """6.5.2.7."""
    return b'{"header":%b,"transactionId":"%b","boundProfilePackage":%b}' % (
        _SUCCESS,
        _hex(transaction_id),
        base64_json(package),
    )


def cancelled() -> bytes:
    """6.5.2.10: nothing but the header."""
    return b'{"header":%b}' % _SUCCESS


def _hex(transaction_id: TransactionId) -> bytes:
    return str(transaction_id).encode()

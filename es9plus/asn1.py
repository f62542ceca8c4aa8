"""The ASN.1 spelling of ES9+ (SGP.22 6.6, annex H): one path, RemoteProfileProvisioningRequest in, -Response out.

Members are cut from what came and wrapped around what goes; no schema is walked. The module tags automatically where a
list has no tags of its own, which is why CancelSession and HandleNotification look unlike the other three.
"""

from __future__ import annotations

from collections.abc import Mapping

from es9plus import requests
from es9plus.requests import CardResponse, InitiateAuthentication
from rsp import tlv
from rsp.errors import Malformed, Refused
from rsp.identifiers import TransactionId
from rsp.status import es9_integer
from rsp.tlv import Tlv
from smdp.downloads import Authenticated, Initiated
from transport.functions import Binding

PREFIX = "/gsma/rsp2"
PATH = "asn1"
MEDIA_TYPE = "application/x-gsma-rsp-asn1"

REMOTE_PROFILE_PROVISIONING = 0xA2
"""Requests and answers of ES9+ are inside this tag. ESipa, on the same path, has none around its messages."""

_INITIATE_AUTHENTICATION, _GET_BOUND_PROFILE_PACKAGE, _AUTHENTICATE_CLIENT = 0xBF39, 0xBF3A, 0xBF3B
_HANDLE_NOTIFICATION, _CANCEL_SESSION = 0xBF3D, 0xBF41
_FUNCTIONS = {
    _INITIATE_AUTHENTICATION: requests.INITIATE_AUTHENTICATION,
    _AUTHENTICATE_CLIENT: requests.AUTHENTICATE_CLIENT,
    _GET_BOUND_PROFILE_PACKAGE: requests.GET_BOUND_PROFILE_PACKAGE,
    _HANDLE_NOTIFICATION: requests.HANDLE_NOTIFICATION,
    _CANCEL_SESSION: requests.CANCEL_SESSION,
}
_TAGS = {function: tag for tag, function in _FUNCTIONS.items()}
_OK, _ERROR = 0xA0, 0x81


def function_of(body: bytes) -> str:
    """The function a request calls. Raises Malformed for what is no request of ES9+."""
    return _FUNCTIONS[_called(body).tag]


def refused(function: str, refusal: Refused) -> bytes:
    """The answer of a refused function: its error integer; the words of the refusal have no place here."""
    return _answer(_TAGS[function], tlv.wrap_integer(_ERROR, es9_integer(function, refusal.status)))


BINDING = Binding(media_type=MEDIA_TYPE, answer_type=MEDIA_TYPE, protocol="gsma/rsp/v2.5.0", refusal=refused)


# Requests -------------------------------------------------------------------------------------------------------------


def initiate_authentication(body: bytes) -> InitiateAuthentication:
    """BF39."""
    members = _members(body, _INITIATE_AUTHENTICATION)
    return InitiateAuthentication(
        euicc_challenge=_member(members, 0x81, "euiccChallenge").value,
        euicc_info1=_member(members, 0xBF20, "euiccInfo1").raw,
        smdp_address=_member(members, 0x83, "smdpAddress").text(),
    )


def authenticate_client(body: bytes) -> CardResponse:
    """BF3B."""
    members = _members(body, _AUTHENTICATE_CLIENT)
    return _response(members, _member(members, 0xBF38, "authenticateServerResponse").raw)


def get_bound_profile_package(body: bytes) -> CardResponse:
    """BF3A."""
    members = _members(body, _GET_BOUND_PROFILE_PACKAGE)
    return _response(members, _member(members, 0xBF21, "prepareDownloadResponse").raw)


def handle_notification(body: bytes) -> bytes:
    """BF3D: A0 around the notification, because an alternative keeps its own tag."""
    notification = _member(_members(body, _HANDLE_NOTIFICATION), 0xA0, "pendingNotification")
    return notification.value


def cancel_session(body: bytes) -> CardResponse:
    """BF41: the tag A1 stands in place of the BF41 of the eUICC's answer, which is put back."""
    members = _members(body, _CANCEL_SESSION)
    return _response(members, tlv.wrap(0xBF41, _member(members, 0xA1, "cancelSessionResponse").value))


def _called(body: bytes) -> Tlv:
    if body[:1] != b"\xa2":
        raise Malformed(f"a request of ES9+ starts with tag A2, this one with {body[:2].hex().upper() or 'nothing'}")
    outer = tlv.read_only(body, REMOTE_PROFILE_PROVISIONING)
    inner = tlv.read(body, outer.value_start, outer.end)
    if inner.end != outer.end:
        raise Malformed(f"{outer.end - inner.end} bytes follow the function {inner.tag:X}: call one at a time")
    if inner.tag not in _FUNCTIONS:
        known = ", ".join(f"{tag:X}" for tag in _FUNCTIONS)
        raise Malformed(f"{inner.tag:X} is no function of ES9+ here: send one of {known}")
    return inner


def _members(body: bytes, tag: int) -> Mapping[int, Tlv]:
    called = _called(body)
    if called.tag != tag:
        raise Malformed(f"expected function {tag:X}, found {called.tag:X}")
    members = called.members()
    if 0x00 in members:
        raise Malformed(f"tag 00 is no member of {tag:X}: use definite lengths, and nothing between the members")
    return members


def _member(members: Mapping[int, Tlv], tag: int, name: str) -> Tlv:
    found = members.get(tag)
    if found is None:
        raise Malformed(f"{name} (tag {tag:X}) is missing: send every mandatory member")
    return found


def _response(members: Mapping[int, Tlv], response: bytes) -> CardResponse:
    transaction_id = TransactionId(_member(members, 0x80, "transactionId").value)
    return CardResponse(transaction_id=transaction_id, response=response)


# Answers --------------------------------------------------------------------------------------------------------------


def initiated(answer: Initiated) -> bytes:
    """BF39."""
    return _ok(
        _INITIATE_AUTHENTICATION,
        tlv.wrap(0x80, answer.transaction_id.value),
        answer.server_signed1,
        answer.server_signature1,
        tlv.wrap(0x04, answer.ci_key_id),
        answer.certificate,
    )


def authenticated(answer: Authenticated) -> bytes:
    """BF3B."""
    return _ok(
        _AUTHENTICATE_CLIENT,
        tlv.wrap(0x80, answer.transaction_id.value),
        answer.metadata,
        answer.smdp_signed2,
        answer.smdp_signature2,
        answer.certificate,
    )


def bound(transaction_id: TransactionId, package: bytes) -> bytes:
    """BF3A."""
    return _ok(_GET_BOUND_PROFILE_PACKAGE, tlv.wrap(0x80, transaction_id.value), package)


def cancelled() -> bytes:
    """BF41: an empty sequence."""
    return _ok(_CANCEL_SESSION, b"")


def _ok(function: int, *members: bytes) -> bytes:
    return _answer(function, tlv.wrap(_OK, *members))


def _answer(function: int, arm: bytes) -> bytes:
    return tlv.wrap(REMOTE_PROFILE_PROVISIONING, tlv.wrap(function, arm))

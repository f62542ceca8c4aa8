"""The JSON spelling of ES9+ (SGP.22 6.5.2.6 to 6.5.2.10): members in, exactly the standard's members out."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from rsp import tlv
from rsp.errors import Malformed
from rsp.identifiers import TransactionId
from rsp.json_binding import decode_base64, encode_base64, execution_header

PREFIX = "/gsma/rsp2/es9plus"

_SUCCESS = execution_header()
_T = TypeVar("_T", bound=msgspec.Struct)


class InitiateAuthentication(msgspec.Struct, frozen=True, rename="camel"):
    """Request; a header or members of later versions are passed over."""

    euicc_challenge: str
    euicc_info1: str
    smdp_address: str


class AuthenticateClient(msgspec.Struct, frozen=True, rename="camel"):
    """Request."""

    transaction_id: str
    authenticate_server_response: str


class GetBoundProfilePackage(msgspec.Struct, frozen=True, rename="camel"):
    """Request."""

    transaction_id: str
    prepare_download_response: str


class HandleNotification(msgspec.Struct, frozen=True, rename="camel"):
    """Request."""

    pending_notification: str


class CancelSession(msgspec.Struct, frozen=True, rename="camel"):
    """Request."""

    transaction_id: str
    cancel_session_response: str


def decode(kind: type[_T], body: bytes) -> _T:
    """One request. Raises Malformed with a sentence naming the member."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"The body is not the JSON of this function: {error}") from None


def initiated(
    transaction_id: TransactionId, signed1: bytes, signature1: bytes, ci_key_id: bytes, certificate: bytes
) -> bytes:
    """Answer of InitiateAuthentication; the CI key id travels as OCTET STRING."""
    return (
        b'{"header":%b,"transactionId":"%b","serverSigned1":"%b","serverSignature1":"%b",'
        b'"euiccCiPKIdToBeUsed":"%b","serverCertificate":"%b"}'
    ) % (
        _SUCCESS,
        str(transaction_id).encode(),
        _b64(signed1),
        _b64(signature1),
        _b64(tlv.wrap(0x04, ci_key_id)),
        _b64(certificate),
    )


def authenticated(
    transaction_id: TransactionId, metadata: bytes, signed2: bytes, signature2: bytes, certificate: bytes
) -> bytes:
    """Answer of AuthenticateClient."""
    return (
        b'{"header":%b,"transactionId":"%b","profileMetadata":"%b","smdpSigned2":"%b","smdpSignature2":"%b",'
        b'"smdpCertificate":"%b"}'
    ) % (
        _SUCCESS,
        str(transaction_id).encode(),
        _b64(metadata),
        _b64(signed2),
        _b64(signature2),
        _b64(certificate),
    )


def bound(transaction_id: TransactionId, package: bytes) -> bytes:
    """Answer of GetBoundProfilePackage."""
    return b'{"header":%b,"transactionId":"%b","boundProfilePackage":"%b"}' % (
        _SUCCESS,
        str(transaction_id).encode(),
        _b64(package),
    )


def cancelled() -> bytes:
    """Answer of CancelSession: nothing but the header."""
    return b'{"header":%b}' % _SUCCESS


def member(text: str, name: str) -> bytes:
    """The bytes of a base64 member. Raises Malformed naming it."""
    return decode_base64(text, name)


def _b64(data: bytes) -> bytes:
    return encode_base64(data).encode()

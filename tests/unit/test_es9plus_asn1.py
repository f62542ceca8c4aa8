"""The ASN.1 spelling of ES9+ reads what a compiled module writes, and refuses all else with Malformed (SGP.22 6.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from es9plus import asn1, messages, requests
from es9plus.requests import Spelling
from rsp import schema, tlv
from rsp.errors import Malformed, Refused
from rsp.identifiers import TransactionId
from rsp.status import ES9_INTEGERS, Status
from smdp.downloads import Authenticated, Initiated

TAGS = {
    requests.INITIATE_AUTHENTICATION: 0xBF39,
    requests.AUTHENTICATE_CLIENT: 0xBF3B,
    requests.GET_BOUND_PROFILE_PACKAGE: 0xBF3A,
    requests.HANDLE_NOTIFICATION: 0xBF3D,
    requests.CANCEL_SESSION: 0xBF41,
}
ID = TransactionId(bytes(range(16)))


def readers(spelling: Spelling) -> dict[str, Callable[[bytes], Any]]:
    return {
        requests.INITIATE_AUTHENTICATION: spelling.initiate_authentication,
        requests.AUTHENTICATE_CLIENT: spelling.authenticate_client,
        requests.GET_BOUND_PROFILE_PACKAGE: spelling.get_bound_profile_package,
        requests.HANDLE_NOTIFICATION: spelling.handle_notification,
        requests.CANCEL_SESSION: spelling.cancel_session,
    }


def error(tag: int) -> bytes:
    return tlv.wrap(tag, tlv.wrap(0xA1, tlv.wrap(0x80, ID.value), tlv.wrap_integer(0x02, 127)))


def test_what_a_compiled_module_writes_is_read() -> None:
    refusal = ("authenticateResponseError", {"transactionId": ID.value, "authenticateErrorCode": 127})
    written = schema.encode(
        "RemoteProfileProvisioningRequest",
        ("authenticateClientRequest", {"transactionId": ID.value, "authenticateServerResponse": refusal}),
    )
    assert asn1.function_of(written) == requests.AUTHENTICATE_CLIENT
    read = asn1.authenticate_client(written)
    assert (read.transaction_id, read.response) == (ID, error(0xBF38))
    cancel = ("cancelSessionResponseError", 5)
    written = schema.encode(
        "RemoteProfileProvisioningRequest",
        ("cancelSessionRequestEs9", {"transactionId": ID.value, "cancelSessionResponse": cancel}),
    )
    read = asn1.cancel_session(written)
    assert (read.transaction_id, read.response) == (ID, bytes.fromhex("bf4103810105"))


def test_answers_are_what_a_compiled_module_reads() -> None:
    signed1 = tlv.wrap(
        0x30,
        tlv.wrap(0x80, ID.value),
        tlv.wrap(0x81, bytes(16)),
        tlv.wrap(0x83, b"a.example"),
        tlv.wrap(0x84, bytes(16)),
    )
    initiated = Initiated(
        transaction_id=ID,
        server_signed1=signed1,
        server_signature1=tlv.wrap(0x5F37, bytes(64)),
        ci_key_id=bytes(20),
        certificate=b"\x30\x00",
    )
    name, (arm, value) = schema.decode("RemoteProfileProvisioningResponse", asn1.initiated(initiated))
    assert (name, arm) == ("initiateAuthenticationResponse", "initiateAuthenticationOk")
    assert (value["transactionId"], value["euiccCiPKIdToBeUsed"]) == (ID.value, bytes(20))
    assert value["serverSigned1"]["serverAddress"] == "a.example"
    assert asn1.cancelled().hex() == "a205bf4102a000"
    assert asn1.bound(ID, b"\xbf\x36\x00")[:2] == b"\xa2\x1a"
    shown = Authenticated(
        transaction_id=ID,
        metadata=b"\xbf\x25\x00",
        smdp_signed2=b"\x30\x00",
        smdp_signature2=tlv.wrap(0x5F37, bytes(64)),
        certificate=b"\x30\x00",
    )
    called = tlv.read_only(tlv.read_only(asn1.authenticated(shown), 0xA2).value, 0xBF3B)
    assert [part.tag for part in next(called.children()).children()] == [0x80, 0xBF25, 0x30, 0x5F37, 0x30]


@pytest.mark.parametrize("function", ES9_INTEGERS)
def test_a_refusal_is_the_integer_of_the_function_and_127_where_it_has_none(function: str) -> None:
    for status in Status:
        number = ES9_INTEGERS[function].get(status, 127)
        expected = tlv.wrap(0xA2, tlv.wrap(TAGS[function], bytes((0x81, 1, number))))
        assert asn1.refused(function, Refused(status, "detail")) == expected


_MEMBERS = st.lists(
    st.tuples(st.sampled_from((0x80, 0x81, 0x83, 0xA0, 0xA1, 0xBF20, 0xBF21, 0xBF38)), st.binary(max_size=40)).map(
        lambda member: tlv.wrap(*member)
    ),
    max_size=5,
).map(b"".join)
_FRAMED = st.tuples(st.sampled_from(list(TAGS.values())), _MEMBERS | st.binary(max_size=60)).map(
    lambda called: tlv.wrap(0xA2, tlv.wrap(*called))
)


@given(st.binary(max_size=200) | _FRAMED)
@example(b"\xa2\x03\xbf\x3d\x00")
def test_any_bytes_are_read_or_malformed(body: bytes) -> None:
    for function, read in readers(asn1).items():
        try:
            assert asn1.function_of(body) in TAGS
            found = read(body)
        except Malformed:
            continue
        assert asn1.function_of(body) == function
        assert found is not None


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_of_the_json_spelling_are_read_or_malformed(body: bytes) -> None:
    for read in readers(messages).values():
        with pytest.raises(Malformed):
            read(body)

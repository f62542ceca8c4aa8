"""The LPA's ASN.1 binding against answers nobody may send, and its requests against a compiled module (SGP.22 6.6)."""

from __future__ import annotations

from typing import Any

import pytest
from lpa_script import CERTIFICATE, METADATA, SIGNATURE, TRANSACTION, package, server_signed1, smdp_signed2

from rsp import schema, tlv
from rsp.identifiers import TransactionId
from simulator.exchange import Answer, FunctionFailed, ProtocolFault
from simulator.lpa_bindings import BINDINGS, Members, Spelling

ASN1 = BINDINGS[Spelling.ASN1]
ID = TransactionId(TRANSACTION)
HEADERS = {"Content-Type": "application/x-gsma-rsp-asn1", "X-Admin-Protocol": "gsma/rsp/v2.5.0"}
TAGS = {"initiateAuthentication": 0xBF39, "authenticateClient": 0xBF3B, "getBoundProfilePackage": 0xBF3A}
TAGS |= {"cancelSession": 0xBF41}
MEMBERS: dict[str, tuple[str, ...]] = {
    "initiateAuthentication": (
        "transactionId",
        "serverSigned1",
        "serverSignature1",
        "euiccCiPKIdToBeUsed",
        "serverCertificate",
    ),
    "authenticateClient": ("transactionId", "profileMetadata", "smdpSigned2", "smdpSignature2", "smdpCertificate"),
    "getBoundProfilePackage": ("transactionId", "boundProfilePackage"),
    "cancelSession": (),
}
ARMS = {
    "initiateAuthentication": (server_signed1(), SIGNATURE, tlv.wrap(0x04, bytes(20)), CERTIFICATE),
    "authenticateClient": (METADATA, smdp_signed2(), SIGNATURE, CERTIFICATE),
    "getBoundProfilePackage": (package(),),
}


def body(function: str, *arm: bytes) -> bytes:
    return tlv.wrap(0xA2, tlv.wrap(TAGS[function], *arm))


def good(function: str) -> bytes:
    first = tlv.wrap(0x80, TRANSACTION) if function in ARMS else b""
    return body(function, tlv.wrap(0xA0, first, *ARMS.get(function, ())))


def read(function: str, content: bytes, status: int = 200, **headers: str) -> Any:
    answer = Answer(status=status, headers={**HEADERS, **headers}, body=content, attempt=1)
    return ASN1.reply(function, answer, MEMBERS[function])


@pytest.mark.parametrize("function", MEMBERS)
def test_a_good_answer_is_read_member_by_member(function: str) -> None:
    reply = read(function, good(function))
    if function in ARMS:
        assert reply.transaction_id() == ID
        first = tlv.read(ARMS[function][0])
        assert reply.tlv(MEMBERS[function][1], first.tag) == first.raw


@pytest.mark.parametrize("function", MEMBERS)
def test_an_error_is_told_by_name_and_number(function: str) -> None:
    with pytest.raises(FunctionFailed) as failed:
        read(function, body(function, b"\x81\x01\x01"))
    assert (failed.value.codes.subject, failed.value.codes.code) == ("", "1")
    assert failed.value.codes.message
    with pytest.raises(FunctionFailed, match="127 undefinedError"):
        read(function, body(function, b"\x81\x01\x7f"))
    with pytest.raises(ProtocolFault, match="77 is no error"):
        read(function, body(function, b"\x81\x01\x4d"))


@pytest.mark.parametrize(
    ("function", "number"), [("authenticateClient", 10), ("getBoundProfilePackage", 95), ("cancelSession", 1)]
)
def test_a_lost_session_has_its_number_in_each_function(function: str, number: int) -> None:
    for candidate in (number, 127):
        with pytest.raises(FunctionFailed) as failed:
            read(function, body(function, tlv.wrap_integer(0x81, candidate)))
        assert ASN1.lost_session(failed.value) == (candidate == number)


BAD = {
    "no outer tag": good("authenticateClient")[2:],
    "two functions": tlv.wrap(0xA2, b"\xbf\x3b\x00", b"\xbf\x3b\x00"),
    "another function": good("getBoundProfilePackage"),
    "two alternatives": body("authenticateClient", b"\xa0\x00", b"\x81\x01\x01"),
    "an unknown alternative": body("authenticateClient", b"\xa2\x00"),
    "a member missing": body("authenticateClient", tlv.wrap(0xA0, tlv.wrap(0x80, TRANSACTION))),
    "a member too many": body(
        "authenticateClient",
        tlv.wrap(0xA0, tlv.wrap(0x80, TRANSACTION), *ARMS["authenticateClient"], b"\x82\x00"),
    ),
    "a length not in the shortest form": b"\xa2\x81\x06\xbf\x3b\x03\x81\x01\x01",
    "more after it": good("authenticateClient") + b"\x00",
    "nothing": b"",
}


@pytest.mark.parametrize("what", BAD)
def test_an_answer_that_breaks_the_standard_is_a_fault(what: str) -> None:
    with pytest.raises(ProtocolFault):
        read("authenticateClient", BAD[what])


def test_status_headers_and_sizes_are_checked() -> None:
    content = good("authenticateClient")
    for status, headers in ((201, {}), (200, {"Content-Type": "application/json"}), (200, {"X-Admin-Protocol": ""})):
        with pytest.raises(ProtocolFault):
            read("authenticateClient", content, status, **headers)
    with pytest.raises(ProtocolFault):
        read("authenticateClient", content).tlv("smdpSignature2", 0x5F37, 63)
    long = tlv.wrap(0xA0, tlv.wrap(0x80, bytes(17)), *ARMS["authenticateClient"])
    with pytest.raises(ProtocolFault):
        read("authenticateClient", body("authenticateClient", long)).transaction_id()


def test_requests_are_what_the_module_reads() -> None:
    error = tlv.wrap(0xA1, tlv.wrap(0x80, TRANSACTION), b"\x02\x01\x7f")
    info1 = tlv.wrap(0xBF20, tlv.wrap(0x82, b"\x02\x05\x00"), b"\xa9\x00", b"\xaa\x00")
    sent: dict[str, Members] = {
        "initiateAuthentication": {"euiccChallenge": bytes(16), "euiccInfo1": info1, "smdpAddress": "a.example"},
        "authenticateClient": {"transactionId": ID, "authenticateServerResponse": tlv.wrap(0xBF38, error)},
        "getBoundProfilePackage": {"transactionId": ID, "prepareDownloadResponse": tlv.wrap(0xBF21, error)},
        "cancelSession": {"transactionId": ID, "cancelSessionResponse": bytes.fromhex("bf4103810105")},
    }
    names = {
        "initiateAuthentication": "initiateAuthenticationRequest",
        "authenticateClient": "authenticateClientRequest",
        "getBoundProfilePackage": "getBoundProfilePackageRequest",
        "cancelSession": "cancelSessionRequestEs9",
    }
    for function, members in sent.items():
        written = ASN1.request(function, members)
        name, value = schema.decode("RemoteProfileProvisioningRequest", written)
        assert name == names[function]
        if "transactionId" in members:
            assert value["transactionId"] == TRANSACTION
    assert ASN1.request("cancelSession", sent["cancelSession"]).hex().endswith("a103810105")
    assert ASN1.request("handleNotification", {"pendingNotification": b"\x30\x00"}).hex() == "a207bf3d04a0023000"

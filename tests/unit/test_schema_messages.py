"""The ASN.1 module: the tags where compilers go wrong, object identifiers under 2.999, and what is refused."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsp import schema, tlv
from rsp.errors import Malformed

few = settings(max_examples=100, deadline=None)

ERROR = {"transactionId": b"\x01", "authenticateErrorCode": 2}
RESULT = {
    "profileInstallationResultData": {
        "transactionId": b"\x01",
        "notificationMetadata": {
            "seqNumber": 0,
            "profileManagementOperation": (b"\x80", 1),
            "notificationAddress": "a.b",
        },
        "smdpOid": "2.999.10",
        "finalResult": ("errorResult", {"bppCommandId": 5, "errorReason": 10}),
    },
    "euiccSignPIR": bytes(64),
}
CANCELLED = {
    "euiccCancelSessionSigned": {"transactionId": b"\x01", "smdpOid": "2.999.10", "reason": 0},
    "euiccCancelSessionSignature": bytes(2),
}

MESSAGES: list[tuple[str, Any, str]] = [
    (
        "RemoteProfileProvisioningRequest",
        (
            "authenticateClientRequest",
            {"transactionId": b"\x01", "authenticateServerResponse": ("authenticateResponseError", ERROR)},
        ),
        "a211 bf3b0e 800101 bf3808 a106 800101 020102",
    ),
    (
        "RemoteProfileProvisioningRequest",
        (
            "getBoundProfilePackageRequest",
            {
                "transactionId": b"\x01",
                "prepareDownloadResponse": (
                    "downloadResponseError",
                    {"transactionId": b"\x01", "downloadErrorCode": 5},
                ),
            },
        ),
        "a211 bf3a0e 800101 bf2108 a106 800101 020105",
    ),
    (
        "RemoteProfileProvisioningRequest",
        (
            "cancelSessionRequestEs9",
            {"transactionId": b"\x01", "cancelSessionResponse": ("cancelSessionResponseOk", CANCELLED)},
        ),
        "a21c bf4119 800101 a114 a012 300b 800101 810388370a 820100 5f37020000",
    ),
    (
        "RemoteProfileProvisioningRequest",
        (
            "cancelSessionRequestEs9",
            {"transactionId": b"\x01", "cancelSessionResponse": ("cancelSessionResponseError", 5)},
        ),
        "a20b bf4108 800101 a103 810105",
    ),
    (
        "RemoteProfileProvisioningRequest",
        ("handleNotification", {"pendingNotification": ("profileInstallationResult", RESULT)}),
        "a26f bf3d6c a06a bf3767 bf2721 800101 bf2f0c 800100 81020780 0c03612e62"
        " 060388370a a208 a106 800105 81010a 5f3740" + "00" * 64,
    ),
    (
        "RemoteProfileProvisioningResponse",
        ("initiateAuthenticationResponse", ("initiateAuthenticationError", 3)),
        "a206 bf3903 810103",
    ),
    (
        "RemoteProfileProvisioningResponse",
        ("authenticateClientResponseEs9", ("authenticateClientError", 127)),
        "a206 bf3b03 81017f",
    ),
    (
        "RemoteProfileProvisioningResponse",
        ("getBoundProfilePackageResponse", ("getBoundProfilePackageError", 95)),
        "a206 bf3a03 81015f",
    ),
    ("RemoteProfileProvisioningResponse", ("cancelSessionResponseEs9", ("cancelSessionOk", {})), "a205 bf4102 a000"),
    ("CancelSessionResponse", ("cancelSessionResponseError", 5), "bf4103 810105"),
]

every_message = pytest.mark.parametrize(("name", "value", "raw"), MESSAGES)


@every_message
def test_a_message_is_written_with_the_tags_of_the_wire(name: str, value: object, raw: str) -> None:
    assert schema.encode(name, value).hex() == raw.replace(" ", "")


@every_message
def test_a_message_is_read_from_the_tags_of_the_wire(name: str, value: object, raw: str) -> None:
    assert schema.encode(name, schema.decode(name, bytes.fromhex(raw))).hex() == raw.replace(" ", "")


@every_message
def test_a_message_cut_at_any_byte_is_malformed(name: str, value: object, raw: str) -> None:
    whole = bytes.fromhex(raw)
    for length in range(len(whole)):
        with pytest.raises(Malformed):
            schema.decode(name, whole[:length])


@every_message
def test_a_byte_behind_a_message_is_malformed(name: str, value: object, raw: str) -> None:
    with pytest.raises(Malformed, match="follow"):
        schema.decode(name, bytes.fromhex(raw) + b"\x00")


@every_message
def test_any_changed_byte_reads_or_is_malformed(name: str, value: object, raw: str) -> None:
    whole = bytes.fromhex(raw)
    for place in range(len(whole)):
        for other in (0x00, 0x7F, 0x80, 0xFF, whole[place] ^ 0x20):
            try:
                schema.decode(name, whole[:place] + bytes((other,)) + whole[place + 1 :])
            except Malformed:
                continue


@few
@given(st.binary(max_size=80))
def test_any_bytes_read_or_are_malformed(data: bytes) -> None:
    for candidate in (data, tlv.wrap(0xA2, data), tlv.wrap(0xA2, tlv.wrap(0xBF3B, data))):
        try:
            schema.decode("RemoteProfileProvisioningRequest", candidate)
        except Malformed:
            continue


@few
@given(st.integers(0, 2), st.integers(0, 39) | st.just(999), st.lists(st.integers(0, 2**40), max_size=4))
def test_object_identifiers_come_back(top: int, second: int, rest: list[int]) -> None:
    dotted = ".".join(map(str, (top if second < 40 else 2, second, *rest)))
    raw = schema.encode("DpProprietaryData", {"dpOid": dotted})
    assert raw == tlv.wrap(0x30, tlv.wrap(0x80, tlv.oid_to_bytes(dotted)))
    assert schema.decode("DpProprietaryData", raw) == {"dpOid": dotted}


def test_text_that_looks_like_an_object_identifier_stays_as_it_is() -> None:
    value = {"euiccChallenge": bytes(16), "smdpAddress": "26.39.10.1", "euiccInfo1": INFO1}
    raw = schema.encode("InitiateAuthenticationRequest", value)
    assert schema.decode("InitiateAuthenticationRequest", raw) == value


INFO1 = {"svn": b"\x02\x05\x00", "euiccCiPKIdListForVerification": [bytes(20)], "euiccCiPKIdListForSigning": []}


def test_unknown_members_are_skipped() -> None:
    known = tlv.read_only(schema.encode("EUICCInfo1", INFO1), 0xBF20).value
    newer = tlv.wrap(0xBF20, known, tlv.wrap(0xB1, tlv.wrap(0x04, bytes(20))), tlv.wrap(0x9F70, b"x"))
    assert schema.decode("EUICCInfo1", newer) == INFO1


@pytest.mark.parametrize(
    "value",
    [
        INFO1 | {"svn": b"\x02\x05"},
        INFO1 | {"svn": "2.5.0"},
        {"svn": b"\x02\x05\x00"},
        ("svn", 5),
        INFO1 | {"euiccCiPKIdListForSigning": [5]},
    ],
)
def test_a_value_that_does_not_fit_is_malformed(value: object) -> None:
    with pytest.raises(Malformed, match="EUICCInfo1"):
        schema.encode("EUICCInfo1", value)


def test_sizes_are_checked_when_reading() -> None:
    with pytest.raises(Malformed, match="svn"):
        schema.decode("EUICCInfo1", bytes.fromhex("bf2008 82020205 a900 aa00"))


def test_an_object_identifier_that_is_no_number_is_malformed() -> None:
    with pytest.raises(Malformed):
        schema.encode("DpProprietaryData", {"dpOid": "2.x"})


@pytest.mark.parametrize("content", [b"\x88", b"\x2a" + b"\xff" * 5000 + b"\x01"])
def test_an_object_identifier_that_cannot_be_read_is_malformed(content: bytes) -> None:
    with pytest.raises(Malformed, match="DpProprietaryData"):
        schema.decode("DpProprietaryData", tlv.wrap(0x30, tlv.wrap(0x80, content)))


def test_a_type_the_module_lacks_is_an_error_of_the_caller() -> None:
    with pytest.raises(KeyError):
        schema.decode("NoSuchType", b"\x30\x00")
    with pytest.raises(KeyError):
        schema.encode("NoSuchType", {})

"""What card and IPA say, read by an ASN.1 compiler with the module of SGP.32 v1.2: tags, types and sizes."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import asn1tools
import pytest
from card_test_pki import EID
from iot_stage import LIST, PARTNER, TRANSACTION, Wish, add_profile, delete, enable, iot_card, package
from iot_stage import THIRD as OTHER

from rsp.tlv import objects, read_only, wrap
from simulator import ipa_messages
from simulator.esipa import ResponseError
from simulator.lpa_messages import Device

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "asn1"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="../shared/data with the ASN.1 modules is absent")

# Imported types stand in by what this test needs of them; the information object class is beyond the compiler.
STAND_INS = """
UICCCapability ::= BIT STRING
Certificate ::= SEQUENCE { ... }
CertificateList ::= SEQUENCE { ... }
SubjectPublicKeyInfo ::= SEQUENCE { ... }
Time ::= UTCTime
SubjectKeyIdentifier ::= OCTET STRING
VendorSpecificExtension ::= SEQUENCE { ... }
"""
# The compiler tags members of these types twice: they are tagged choices, whose tag the member's own replaces.
TAGGED_TWICE = ("EuiccPackageResult", "SGP32-ProfileInfoListResponse", "IpaEuiccDataResponse")


@cache
def module() -> Any:
    base = (FOLDER / "RSPDefinitions.asn").read_text()
    base = re.sub(r"IMPORTS.*?;", STAND_INS, base, count=1, flags=re.S)
    base = re.sub(r"OPENTYPE ::= CLASS \{.*?\n\}", "", base, flags=re.S)
    base = re.sub(r"VendorSpecificExtension ::= SEQUENCE OF SEQUENCE \{.*?\n\}", "", base, flags=re.S)
    text = (FOLDER / "SGP32Definitions.asn").read_text()
    text = re.sub(r"IMPORTS.*?;", "", text, count=1, flags=re.S)
    for name in TAGGED_TWICE:
        choice = re.search(rf"^{name} ::= \[\d+\] (CHOICE.*?^\}})", text, re.S | re.M)
        assert choice is not None
        text = re.sub(rf"(\[\d+\]) {name}\b", rf"\1 {name}-Untagged", text) + f"{name}-Untagged ::= {choice[1]}\n"
    inner = text[text.index("BEGIN") + 5 :].replace("\nEND", "\n")
    return asn1tools.compile_string(base[: base.rindex("END")] + inner + "\nEND\n", "der")


def decoded(name: str, data: bytes) -> Any:
    value, length = module().decode_with_length(name, data)
    assert length == len(data)
    return value


def test_results_are_what_the_module_says() -> None:
    card = iot_card()
    arm, result = decoded("EuiccPackageResult", card.load_euicc_package(package(card, 1, LIST, enable(PARTNER))))
    assert arm == "euiccPackageResultSigned"
    data = result["euiccPackageResultDataSigned"]
    assert (data["counterValue"], data["eimTransactionId"], data["seqNumber"]) == (1, TRANSACTION, 1)
    (listing, (kind, profiles)), enabling = data["euiccResult"]
    assert (listing, kind, len(profiles)) == ("listProfileInfoResult", "profileInfoListOk", 2)
    assert enabling == ("enableResult", 0)


def test_errors_are_what_the_module_says() -> None:
    card = iot_card()
    arm, error = decoded("EuiccPackageResult", card.load_euicc_package(package(card, 0, LIST)))
    assert (arm, error["euiccPackageErrorDataSigned"]["euiccPackageErrorCode"]) == ("euiccPackageErrorSigned", 4)
    arm, error = decoded("EuiccPackageResult", card.load_euicc_package(package(card, 1, LIST, wish=Wish(token=0))))
    assert arm == "euiccPackageErrorUnsigned"
    assert error["associationToken"] == card.iot.eims[0].token


def test_codes_of_commands_are_what_the_module_says() -> None:
    card = iot_card()
    add_profile(card, OTHER)
    request = package(card, 1, delete(OTHER), enable(PARTNER), LIST)
    _, result = decoded("EuiccPackageResult", card.load_euicc_package(request))
    assert result["euiccPackageResultDataSigned"]["euiccResult"] == [
        ("deleteResult", 0),
        ("enableResult", 0),
        ("listProfileInfoResult", ("profileInfoListError", 11)),
    ]
    _, result = decoded("EuiccPackageResult", card.load_euicc_package(package(card, 2, wrap(0xA6))))
    assert result["euiccPackageResultDataSigned"]["euiccResult"] == [("processingTerminated", 2)]


def test_a_rollback_is_what_the_module_says() -> None:
    card = iot_card()
    refused = decoded("ProfileRollbackResponse", card.profile_rollback(bytes.fromhex("bf58038001ff")))
    assert refused == {"cmdResult": 1}
    card.load_euicc_package(package(card, 1, enable(PARTNER, rollback=True)))
    done = decoded("ProfileRollbackResponse", card.profile_rollback(bytes.fromhex("bf58038001ff")))
    assert done["cmdResult"] == 0
    _, result = done["eUICCPackageResult"]
    assert result["euiccPackageResultDataSigned"]["euiccResult"] == [("rollbackResult", 0)]


def test_requests_of_the_standard_are_those_the_card_takes() -> None:
    assert module().encode("ProfileRollbackRequest", {"refreshFlag": True}).hex() == "bf58038001ff"
    retrieve = {"searchCriteria": ("euiccPackageResults", None)}
    assert module().encode("SGP32-RetrieveNotificationsListRequest", retrieve) == ipa_messages.ALL_RESULTS
    found = module().encode("GetEimConfigurationDataRequest", {"searchCriteria": ("eimId", "x")})
    assert found == wrap(0xBF55, wrap(0xA0, wrap(0x80, b"x")))
    assert module().encode("GetCertsRequest", {"euiccCiPKId": bytes(20)}) == wrap(0xBF56, wrap(0x80, bytes(20)))


def test_lists_of_the_card_are_what_the_module_says() -> None:
    card = iot_card()
    card.load_euicc_package(package(card, 1, enable(PARTNER)))
    arm, results = decoded(
        "SGP32-RetrieveNotificationsListResponse", card.retrieve_notifications(ipa_messages.ALL_RESULTS)
    )
    assert (arm, len(results)) == ("euiccPackageResultList", 1)
    (eim,) = decoded("GetEimConfigurationDataResponse", card.get_eim_configuration_data())["eimConfigurationDataList"]
    assert (eim["counterValue"], eim["associationToken"]) == (1, card.iot.eims[0].token)
    assert eim["eimSupportedProtocol"] == (b"\x80", 1)
    assert eim["eimPublicKeyData"][0] == "eimPublicKey"
    assert decoded("GetCertsResponse", card.get_certs())[0] == "certs"
    assert decoded("GetCertsResponse", card.get_certs(wrap(0xBF56, wrap(0x80, bytes(20))))) == ("getCertsError", 1)


def test_answers_about_the_first_eim_are_what_the_module_says() -> None:
    card = iot_card()
    (eim,) = read_only(card.get_eim_configuration_data(), 0xBF55).members()[0xA0].children()
    request = wrap(0xBF57, wrap(0xA0, eim.raw))
    assert decoded("AddInitialEimResponse", card.add_initial_eim(request)) == ("addInitialEimError", 2)
    card.iot.eims.clear()
    for configuration, added in ((eim.raw, None), (without_token(eim.raw), ("addOk", None))):
        card.iot.eims.clear()
        answer = decoded("AddInitialEimResponse", card.add_initial_eim(wrap(0xBF57, wrap(0xA0, configuration))))
        if added:
            assert answer == ("addInitialEimOk", [added])
        else:
            assert answer == ("addInitialEimError", 5)


def without_token(configuration: bytes) -> bytes:
    members = read_only(configuration, 0x30).members()
    return wrap(0x30, *(found.raw for tag, found in members.items() if tag != 0x84))


def test_the_card_describes_itself_as_the_module_says() -> None:
    info = decoded("SGP32-EUICCInfo2", iot_card().get_euicc_info2())
    assert (info["ipaMode"], info["iotSpecificInfo"]) == (0, {"iotVersion": [b"\x01\x02\x00"]})


def test_what_the_device_tells_is_what_the_module_says() -> None:
    card = iot_card()
    card.load_euicc_package(package(card, 1, enable(PARTNER)))
    tags = wrap(0x5C, bytes.fromhex("A0A2BF20BF228384A5A6A8A9"))
    request = next(objects(wrap(0xBF52, tags, wrap(0x83, TRANSACTION))))
    arm, told = decoded("IpaEuiccDataResponse", ipa_messages.answer_data_request(request, card, Device()).raw)
    assert (arm, told["eimTransactionId"]) == ("ipaEuiccData", TRANSACTION)
    assert (len(told["notificationsList"]), len(told["euiccPackageResultList"])) == (1, 1)
    assert told["ipaCapabilities"] == {"ipaFeatures": (b"\x80", 1), "ipaSupportedProtocols": (b"\x80", 1)}
    assert (told["rootSmdsAddress"], told["associationToken"]) == ("lpa.ds.gsma.com", card.iot.eims[0].token)
    assert {"eumCertificate", "euiccCertificate", "euiccInfo1", "euiccInfo2", "deviceInfo"} <= set(told)


def test_errors_of_the_device_are_what_the_module_says() -> None:
    card = iot_card()
    request = next(objects(wrap(0xBF52, wrap(0x5C, b"\x5a"), wrap(0x83, TRANSACTION))))
    answer = decoded("IpaEuiccDataResponse", ipa_messages.answer_data_request(request, card, Device()).raw)
    assert answer == ("ipaEuiccDataResponseError", {"eimTransactionId": TRANSACTION, "ipaEuiccDataErrorCode": 1})
    body = ipa_messages.response_error(TRANSACTION, ResponseError.INVALID_PACKAGE_FORMAT)
    _, (arm, error) = decoded("ProvideEimPackageResult", wrap(0xBF50, wrap(0x5A, bytes.fromhex(EID)), body)).values()
    assert (arm, error) == (
        "eimPackageResultResponseError",
        {"eimTransactionId": TRANSACTION, "eimPackageResultErrorCode": 1},
    )
    failed = ipa_messages.trigger_result(wrap(0x82, TRANSACTION), None, "no")
    arm, reason = decoded("ProfileDownloadTriggerResult", failed)["profileDownloadTriggerResultData"]
    assert (arm, reason) == ("profileDownloadError", {"profileDownloadErrorReason": 127, "errorResponse": b"no"})

"""What the virtual eUICC says, read by an ASN.1 compiler with the module of SGP.22 v2.5: tags, types and sizes."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import asn1tools
import pytest
from card_test_server import (
    ICCID,
    PackageWish,
    ScriptedServer,
    authenticate,
    card,
    challenge_of,
    install,
    prepare,
)

from rsp.tlv import wrap, wrap_integer
from simulator.metadata import ALLOW_ALL_RULES

MODULE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "asn1" / "RSPDefinitions.asn"
pytestmark = pytest.mark.skipif(not MODULE.is_file(), reason="../shared/data with the ASN.1 module is absent")

# Imported types stand in by what this test needs of them; the information object class is beyond the compiler.
STAND_INS = """
UICCCapability ::= BIT STRING
Certificate ::= SEQUENCE { ... }
CertificateList ::= SEQUENCE { ... }
Time ::= UTCTime
SubjectKeyIdentifier ::= OCTET STRING
VendorSpecificExtension ::= SEQUENCE { ... }
"""


@cache
def module() -> Any:
    text = MODULE.read_text()
    text = re.sub(r"IMPORTS.*?;", STAND_INS, text, count=1, flags=re.S)
    text = re.sub(r"OPENTYPE ::= CLASS \{.*?\n\}", "", text, flags=re.S)
    text = re.sub(r"VendorSpecificExtension ::= SEQUENCE OF SEQUENCE \{.*?\n\}", "", text, flags=re.S)
    return asn1tools.compile_string(text, "der")


def decoded(name: str, data: bytes) -> Any:
    value, length = module().decode_with_length(name, data)
    assert length == len(data)
    return value


def test_euicc_info_is_what_the_module_says() -> None:
    target = card()
    assert decoded("EUICCInfo1", target.get_euicc_info1())["svn"] == b"\x02\x05\x00"
    info = decoded("EUICCInfo2", target.get_euicc_info2())
    assert (info["svn"], info["rspCapability"]) == (b"\x02\x05\x00", (b"\x90", 4))


def test_the_session_messages_are_what_the_module_says() -> None:
    target, server = card(), ScriptedServer()
    answer = authenticate(target, server)
    kind, ok = decoded("AuthenticateServerResponse", answer)
    assert (kind, ok["euiccSigned1"]["transactionId"]) == ("authenticateResponseOk", server.transaction_id)
    prepared = target.prepare_download(server.prepare_request(answer, hash_cc=b"h" * 32))
    kind, ok = decoded("PrepareDownloadResponse", prepared)
    assert (kind, ok["euiccSigned2"]["hashCc"]) == ("downloadResponseOk", b"h" * 32)
    request = wrap(0xBF41, wrap(0x80, server.transaction_id), wrap_integer(0x81, 127))
    assert decoded("CancelSessionRequest", request)["reason"] == 127
    kind, ok = decoded("CancelSessionResponse", target.cancel_session(request))
    assert (kind, ok["euiccCancelSessionSigned"]["reason"]) == ("cancelSessionResponseOk", 127)


def test_the_error_answers_are_what_the_module_says() -> None:
    target, server = card(), ScriptedServer()
    challenge_of(target)
    answer = target.authenticate_server(server.authenticate_request(bytes(16)))
    assert decoded("AuthenticateServerResponse", answer)[1]["authenticateErrorCode"] == 6
    refused = target.prepare_download(server.prepare_request(authenticate(card(), server)))
    assert decoded("PrepareDownloadResponse", refused)[1]["downloadErrorCode"] == 4
    cancel = wrap(0xBF41, wrap(0x80, b"other"), wrap(0x81, b"\0"))
    assert decoded("CancelSessionResponse", target.cancel_session(cancel)) == ("cancelSessionResponseError", 5)


def test_installation_results_are_what_the_module_says() -> None:
    good = decoded("ProfileInstallationResult", install(card(), ScriptedServer(), PackageWish()))
    bad = decoded("ProfileInstallationResult", install(card(free_memory=9), ScriptedServer(), PackageWish()))
    results = [found["profileInstallationResultData"]["finalResult"] for found in (good, bad)]
    assert [kind for kind, _ in results] == ["successResult", "errorResult"]
    assert (results[1][1]["bppCommandId"], results[1][1]["errorReason"]) == (5, 10)
    assert good["profileInstallationResultData"]["notificationMetadata"]["profileManagementOperation"] == (b"\x80", 1)


def test_local_management_is_what_the_module_says() -> None:
    target = card(rat=ALLOW_ALL_RULES)
    install(target, ScriptedServer(), PackageWish())
    request = wrap(0xBF31, wrap(0xA0, wrap(0x5A, ICCID.to_bytes())), wrap(0x81, b"\xff"))
    assert decoded("EnableProfileRequest", request)["refreshFlag"] is True
    assert decoded("EnableProfileResponse", target.enable_profile(request))["enableResult"] == 0
    kind, listed = decoded("RetrieveNotificationsListResponse", target.retrieve_notifications())
    assert [arm for arm, _ in listed] == ["profileInstallationResult", "otherSignedNotification"], kind
    _, profiles = decoded("ProfileInfoListResponse", target.get_profiles_info())
    assert (profiles[0]["profileState"], profiles[0]["profileName"]) == (1, "Test profile")
    _, described = decoded("ListNotificationResponse", target.list_notifications())
    assert [entry["seqNumber"] for entry in described] == [0, 1]
    (rule,) = decoded("GetRatResponse", target.get_rat())["rat"]
    assert (rule["pprIds"], rule["allowedOperators"][0]["mccMnc"]) == ((b"\x60", 3), b"\xee\xee\xee")
    assert decoded("EuiccConfiguredAddressesResponse", target.get_configured_addresses())["rootDsAddress"]
    assert decoded("GetEuiccDataResponse", target.get_eid())["eidValue"] == target.eid.to_bytes()


def test_a_prepared_download_has_an_uncompressed_point() -> None:
    _, ok = decoded("PrepareDownloadResponse", prepare(card(), ScriptedServer()))
    assert ok["euiccSigned2"]["euiccOtpk"][0] == 4

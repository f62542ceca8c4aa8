"""Our ASN.1 module of the eIM against the published one of SGP.32 v1.2: same bytes, same values."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import asn1tools
import pytest

from rsp import schema

ASN1 = Path(__file__).parents[3] / "shared" / "data" / "asn1"
PUBLISHED = ASN1 / "SGP32Definitions.asn"

pytestmark = pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"the published ASN.1 module is not at {PUBLISHED}")

# What the published modules import, by what it looks like from outside: certificates and keys one level deep, since
# a tag of their own replaces that of their SEQUENCE.
IMPORTED = """
PKIX1Explicit88 DEFINITIONS EXPLICIT TAGS ::= BEGIN
Certificate ::= SEQUENCE { toBeSigned ANY, algorithm ANY, signature BIT STRING }
CertificateList ::= ANY
Time ::= ANY
SubjectPublicKeyInfo ::= SEQUENCE { algorithm ANY, publicKey BIT STRING }
END
PKIX1Implicit88 DEFINITIONS EXPLICIT TAGS ::= BEGIN
SubjectKeyIdentifier ::= OCTET STRING
END
"""

EID = bytes.fromhex("89049032123451234512345678901235")
ICCID = bytes.fromhex("98001032547698103214")
VERSION = b"\x02\x05\x00"
CERTIFICATE = {"toBeSigned": b"\x30\x00", "algorithm": b"\x30\x00", "signature": (b"\x01", 8)}
PUBLIC_KEY = {"algorithm": b"\x30\x00", "publicKey": (b"\x04\x01", 16)}
METADATA = {
    "seqNumber": 300,
    "profileManagementOperation": (b"\x40", 2),
    "notificationAddress": "a.b",
    "iccid": ICCID,
}
PROFILE = {
    "iccid": ICCID,
    "isdpAid": bytes(16),
    "profileState": 1,
    "profileNickname": "nick",
    "serviceProviderName": "provider",
    "profileName": "name",
    "iconType": 1,
    "icon": b"\x89PNG",
    "profileClass": 2,
    "notificationConfigurationInfo": [{"profileManagementOperation": (b"\xf0", 4), "notificationAddress": "a.b"}],
    "profileOwner": {"mccMnc": b"\x62\xf2\x20"},
    "dpProprietaryData": {"dpOid": "1.3.6.1"},
    "profilePolicyRules": (b"\x40", 2),
    "ecallIndication": False,
    "fallbackAttribute": True,
    "fallbackAllowed": True,
}
# The compiler tags a choice a second time where the module tags it again, so lists of profiles are compared alone.
RESULTS = [
    ("enableResult", 0),
    ("disableResult", 2),
    ("deleteResult", 21),
    ("configureImmediateEnableResult", 7),
    ("rollbackResult", 127),
    ("setFallbackAttributeResult", 3),
    ("unsetFallbackAttributeResult", 2),
    ("processingTerminated", 3),
]
SIGNED_RESULT = (
    "euiccPackageResultSigned",
    {
        "euiccPackageResultDataSigned": {
            "eimId": "e.a",
            "counterValue": 70_000,
            "eimTransactionId": b"\x01",
            "seqNumber": 9,
            "euiccResult": RESULTS,
        },
        "euiccSignEPR": bytes(64),
    },
)
INFO2 = {
    "profileVersion": VERSION,
    "svn": VERSION,
    "euiccFirmwareVer": VERSION,
    "extCardResource": b"\x82\x01\x00",
    "uiccCapability": (b"\x7f\x20", 11),
    "rspCapability": (b"\x90", 4),
    "euiccCiPKIdListForVerification": [bytes(20)],
    "euiccCiPKIdListForSigning": [bytes(20)],
    "ppVersion": VERSION,
    "sasAcreditationNumber": "GI-BA-UP-0419",
    "ipaMode": 0,
    "highestSvn": VERSION,
    "iotSpecificInfo": {"iotVersion": [b"\x01\x02\x00"], "ecallSupported": None, "fallbackSupported": None},
}
COMPACT = {
    "compactProfileInstallationResultData": {
        "transactionId": b"\x01",
        "seqNumber": 11,
        "iccidPresent": False,
        "compactFinalResult": ("compactSuccessResult", {"compactAid": b"\x01\x02", "simaResponse": b"\x30\x00"}),
    },
    "euiccSignPIR": bytes(64),
}
NOTIFICATIONS = [
    ("compactProfileInstallationResult", COMPACT),
    (
        "compactOtherSignedNotification",
        {"eidValue": EID, "tbsOtherNotification": METADATA, "euiccNotificationSignature": bytes(64)},
    ),
    (
        "profileInstallationResult",
        {
            "profileInstallationResultData": {
                "transactionId": b"\x01",
                "notificationMetadata": METADATA,
                "smdpOid": "1.3.6.1",
                "finalResult": ("successResult", {"aid": bytes(16), "simaResponse": b"\x30\x00"}),
            },
            "euiccSignPIR": bytes(64),
        },
    ),
]
PACKAGE = {
    "eimId": "e.a",
    "eidValue": EID,
    "counterValue": 200,
    "eimTransactionId": b"\x01",
    "euiccPackage": (
        "psmoList",
        [
            ("enable", {"iccid": ICCID, "rollbackFlag": None}),
            ("disable", {"iccid": ICCID}),
            ("delete", {"iccid": ICCID}),
            ("listProfileInfo", {"searchCriteria": ("iccid", ICCID), "tagList": b"\x5a"}),
        ],
    ),
}
ERROR = {"eimId": "e.a", "counterValue": 1, "eimTransactionId": b"\x01", "euiccPackageErrorCode": 4}
CONFIGURATION = {
    "eimId": "e.a",
    "eimFqdn": "f.a",
    "eimIdType": 2,
    "counterValue": 1,
    "associationToken": -1,
    "eimSupportedProtocol": (b"\xa0", 3),
    "euiccCiPKId": bytes(20),
    "indirectProfileDownload": None,
}
SAMPLES: list[tuple[str, str, Any]] = [
    ("EuiccPackageRequest", "EuiccPackageRequest", {"euiccPackageSigned": PACKAGE, "eimSignature": bytes(64)}),
    (
        "IpaEuiccDataRequest",
        "IpaEuiccDataRequest",
        {
            "tagList": b"\xa0",
            "euiccCiPKIdentifierToBeUsed": bytes(20),
            "searchCriteriaNotification": ("seqNumber", 3),
            "searchCriteriaEuiccPackageResult": ("seqNumber", 4),
            "eimTransactionId": b"\x01",
        },
    ),
    *(
        (
            "ProfileDownloadTriggerRequest",
            "ProfileDownloadTriggerRequest",
            {"profileDownloadData": data, "eimTransactionId": b"\x01"},
        )
        for data in (
            ("activationCode", "1$a.b$C"),
            ("contactDefaultSmdp", None),
            ("contactSmds", {"smdsAddress": "d.s"}),
        )
    ),
    ("EuiccPackageResult", "EuiccPackageResult", SIGNED_RESULT),
    (
        "EuiccPackageResult",
        "EuiccPackageResult",
        ("euiccPackageErrorSigned", {"euiccPackageErrorDataSigned": ERROR, "euiccSignEPE": bytes(64)}),
    ),
    (
        "EuiccPackageResult",
        "EuiccPackageResult",
        ("euiccPackageErrorUnsigned", {"eimId": "e.a", "eimTransactionId": b"\x01", "associationToken": 5}),
    ),
    ("ProfileInfoListResponse", "SGP32-ProfileInfoListResponse", ("profileInfoListOk", [PROFILE, {"iccid": ICCID}])),
    ("ProfileInfoListResponse", "SGP32-ProfileInfoListResponse", ("profileInfoListError", 11)),
    (
        "IpaEuiccDataResponse",
        "IpaEuiccDataResponse",
        (
            "ipaEuiccData",
            {
                "notificationsList": NOTIFICATIONS,
                "defaultSmdpAddress": "d.p",
                "euiccPackageResultList": [SIGNED_RESULT],
                "euiccInfo2": INFO2,
                "rootSmdsAddress": "d.s",
                "associationToken": 200,
                "eumCertificate": CERTIFICATE,
                "euiccCertificate": CERTIFICATE,
                "eimTransactionId": b"\x01",
                "ipaCapabilities": {"ipaFeatures": (b"\xc4", 6), "ipaSupportedProtocols": (b"\x80", 1)},
                "deviceInfo": {"tac": bytes(4), "deviceCapabilities": {"gsmSupportedRelease": VERSION}},
            },
        ),
    ),
    (
        "IpaEuiccDataResponse",
        "IpaEuiccDataResponse",
        ("ipaEuiccDataResponseError", {"eimTransactionId": b"\x01", "ipaEuiccDataErrorCode": 5}),
    ),
    (
        "ProfileDownloadTriggerResult",
        "ProfileDownloadTriggerResult",
        {
            "eimTransactionId": b"\x01",
            "profileDownloadTriggerResultData": (
                "profileDownloadError",
                {"profileDownloadErrorReason": 127, "errorResponse": b"\x01"},
            ),
        },
    ),
    *(("IotPendingNotification", "SGP32-PendingNotification", one) for one in NOTIFICATIONS),
    (
        "GetEimPackageRequest",
        "GetEimPackageRequest",
        {"eidValue": EID, "notifyStateChange": None, "stateChangeCause": 1, "rPLMN": b"\x62\xf2\x20"},
    ),
    ("GetEimPackageResponse", "GetEimPackageResponse", ("eimPackageError", 1)),
    (
        "GetEimPackageResponse",
        "GetEimPackageResponse",
        ("euiccPackageRequest", {"euiccPackageSigned": PACKAGE, "eimSignature": bytes(64)}),
    ),
    (
        "ProvideEimPackageResult",
        "ProvideEimPackageResult",
        {
            "eidValue": EID,
            "eimPackageResult": (
                "eimPackageResultResponseError",
                {"eimTransactionId": b"\x01", "eimPackageResultErrorCode": 2},
            ),
        },
    ),
    ("ProvideEimPackageResultResponse", "ProvideEimPackageResultResponse", ("eimAcknowledgements", [9, 300])),
    ("ProvideEimPackageResultResponse", "ProvideEimPackageResultResponse", ("emptyResponse", {})),
    ("ProvideEimPackageResultResponse", "ProvideEimPackageResultResponse", ("provideEimPackageResultError", 2)),
    *(("HandleNotificationEsipa", "HandleNotificationEsipa", ("pendingNotification", one)) for one in NOTIFICATIONS),
]


@cache
def published() -> Any:
    text = (ASN1 / "RSPDefinitions.asn").read_text(encoding="utf-8")
    text = re.sub(r"OPENTYPE ::= CLASS \{.*?\n\}", "", text, flags=re.DOTALL)
    text = text.replace("OPENTYPE.&typeId", "OBJECT IDENTIFIER").replace("OPENTYPE.&Type", "EXPLICIT ANY")
    text = re.sub(r"\nEND\s*$", "\nUICCCapability ::= BIT STRING\nEND\n", text)
    return asn1tools.compile_string(IMPORTED + text + PUBLISHED.read_text(encoding="utf-8"), "der")


@pytest.mark.parametrize(("ours", "theirs", "value"), SAMPLES)
def test_our_module_writes_what_the_published_one_writes(ours: str, theirs: str, value: object) -> None:
    assert schema.encode(ours, value) == bytes(published().encode(theirs, value))


@pytest.mark.parametrize(("ours", "theirs", "value"), SAMPLES)
def test_our_module_reads_what_the_published_one_writes(ours: str, theirs: str, value: object) -> None:
    assert without_defaults(schema.decode(ours, bytes(published().encode(theirs, value)))) == value


def without_defaults(value: Any) -> Any:
    """`value` without the members a reader adds because the module gives them a default."""
    if isinstance(value, dict):
        return {
            name: without_defaults(one) for name, one in value.items() if (name, one) != ("fallbackAttribute", False)
        }
    if isinstance(value, list):
        return [without_defaults(one) for one in value]
    return tuple(map(without_defaults, value)) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", ["eimPublicKeyData", "trustedPublicKeyDataTls"])
@pytest.mark.parametrize("kind", ["publicKey", "certificate"])
def test_our_configuration_is_that_of_the_published_module(name: str, kind: str) -> None:
    arms = {
        ("eimPublicKeyData", "publicKey"): "eimPublicKey",
        ("eimPublicKeyData", "certificate"): "eimCertificate",
        ("trustedPublicKeyDataTls", "publicKey"): "trustedEimPkTls",
        ("trustedPublicKeyDataTls", "certificate"): "trustedCertificateTls",
    }
    key = PUBLIC_KEY if kind == "publicKey" else CERTIFICATE
    ours = CONFIGURATION | {name: (kind, key)}
    theirs = CONFIGURATION | {name: (arms[name, kind], key)}
    assert schema.encode("EimConfigurationData", ours) == bytes(published().encode("EimConfigurationData", theirs))
    assert schema.encode("AddInitialEimRequest", {"eimConfigurationDataList": [ours]}) == bytes(
        published().encode("AddInitialEimRequest", {"eimConfigurationDataList": [theirs]})
    )

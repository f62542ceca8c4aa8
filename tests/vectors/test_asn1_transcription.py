"""Our ASN.1 module against the published one: same bytes, same values; and against one recorded session."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import asn1tools
import pytest

from rsp import schema, tlv

DATA = Path(__file__).parents[3] / "shared" / "data"
PUBLISHED = DATA / "asn1" / "RSPDefinitions.asn"
SESSION = DATA / "session"

pytestmark = pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"the published ASN.1 module is not at {PUBLISHED}")

# Imported types by what they look like from outside: certificates as open types, the rest by their base type.
IMPORTED = """
Certificate ::= ANY
CertificateList ::= ANY
Time ::= ANY
SubjectKeyIdentifier ::= OCTET STRING
UICCCapability ::= BIT STRING
END
"""

CERTIFICATE = tlv.wrap(0x30, b"\x02\x01\x01")
VERSION = b"\x02\x05\x00"
KEYS = {"euiccCiPKIdListForVerification": [bytes(20), b"\x01" * 20], "euiccCiPKIdListForSigning": [b"\x01" * 20]}
INFO1 = {"svn": VERSION, **KEYS}
INFO2 = {
    "profileVersion": VERSION,
    "svn": VERSION,
    "euiccFirmwareVer": VERSION,
    "extCardResource": b"\x82\x01\x00",
    "uiccCapability": (b"\x7f\x20", 11),
    "ts102241Version": VERSION,
    "globalplatformVersion": VERSION,
    "rspCapability": (b"\x90", 4),
    **KEYS,
    "euiccCategory": 2,
    "forbiddenProfilePolicyRules": (b"\x40", 2),
    "ppVersion": VERSION,
    "sasAcreditationNumber": "GI-BA-UP-0419",
    "certificationDataObject": {"platformLabel": "label", "discoveryBaseURL": "https://example.com"},
    "treProperties": (b"\x80", 1),
    "treProductReference": "reference",
    "additionalEuiccProfilePackageVersions": [VERSION],
}
CAPABILITIES = {
    "gsmSupportedRelease": VERSION,
    "utranSupportedRelease": VERSION,
    "cdma2000onexSupportedRelease": VERSION,
    "cdma2000hrpdSupportedRelease": VERSION,
    "cdma2000ehrpdSupportedRelease": VERSION,
    "eutranEpcSupportedRelease": VERSION,
    "contactlessSupportedRelease": VERSION,
    "rspCrlSupportedVersion": VERSION,
    "nrEpcSupportedRelease": VERSION,
    "nr5gcSupportedRelease": VERSION,
    "eutran5gcSupportedRelease": VERSION,
    "lpaSvn": VERSION,
    "catSupportedClasses": (b"\x80", 1),
    "euiccFormFactorType": 1,
    "deviceAdditionalFeatureSupport": {"naiSupport": VERSION},
}
CONTEXT = (
    "ctxParamsForCommonAuthentication",
    {"matchingId": "ABC-1", "deviceInfo": {"tac": bytes(4), "deviceCapabilities": CAPABILITIES, "imei": bytes(8)}},
)
SIGNED1 = {
    "transactionId": b"\x01",
    "euiccChallenge": bytes(16),
    "serverAddress": "a.b",
    "serverChallenge": bytes(16),
}
EUICC_SIGNED1 = {
    "transactionId": b"\x01",
    "serverAddress": "a.b",
    "serverChallenge": bytes(16),
    "euiccInfo2": INFO2,
    "ctxParams1": CONTEXT,
}
SIGNED2 = {"transactionId": b"\x01", "ccRequiredFlag": True, "bppEuiccOtpk": bytes(65)}
METADATA = {
    "iccid": bytes(10),
    "serviceProviderName": "provider",
    "profileName": "name",
    "iconType": 1,
    "icon": b"\x89PNG",
    "profileClass": 0,
    "notificationConfigurationInfo": [{"profileManagementOperation": (b"\xf0", 4), "notificationAddress": "a.b"}],
    "profileOwner": {"mccMnc": bytes(3), "gid1": b"\x01", "gid2": b"\x02"},
    "profilePolicyRules": (b"\x20", 3),
    "serviceSpecificDataStoredInEuicc": [{"vendorOid": "1.3.6.1", "vendorSpecificData": b"\x04\x00"}],
    "serviceSpecificDataNotStoredInEuicc": [{"vendorOid": "1.3.6.1", "vendorSpecificData": b"\x04\x00"}],
}
TOLD = {
    "seqNumber": 300,
    "profileManagementOperation": (b"\x10", 4),
    "notificationAddress": "a.b",
    "iccid": bytes(10),
}
PACKAGE = {
    "initialiseSecureChannelRequest": {
        "remoteOpId": 1,
        "transactionId": b"\x01",
        "controlRefTemplate": {"keyType": b"\x88", "keyLen": b"\x10", "hostId": b"host"},
        "smdpOtpk": bytes(65),
        "smdpSign": bytes(64),
    },
    "firstSequenceOf87": [b"one"],
    "sequenceOf88": [b"two", b"three"],
    "secondSequenceOf87": [b"four"],
    "sequenceOf86": [b"five"],
}
SAMPLES: list[tuple[str, Any]] = [
    ("EUICCInfo1", INFO1),
    ("EUICCInfo2", INFO2),
    (
        "AuthenticateServerRequest",
        {
            "serverSigned1": SIGNED1,
            "serverSignature1": bytes(64),
            "euiccCiPKIdToBeUsed": bytes(20),
            "serverCertificate": CERTIFICATE,
            "ctxParams1": CONTEXT,
        },
    ),
    (
        "AuthenticateServerResponse",
        (
            "authenticateResponseOk",
            {
                "euiccSigned1": EUICC_SIGNED1,
                "euiccSignature1": bytes(64),
                "euiccCertificate": CERTIFICATE,
                "eumCertificate": CERTIFICATE,
            },
        ),
    ),
    (
        "AuthenticateServerResponse",
        ("authenticateResponseError", {"transactionId": b"\x01", "authenticateErrorCode": 7}),
    ),
    (
        "PrepareDownloadRequest",
        {
            "smdpSigned2": SIGNED2,
            "smdpSignature2": bytes(64),
            "hashCc": bytes(32),
            "smdpCertificate": CERTIFICATE,
        },
    ),
    (
        "PrepareDownloadResponse",
        (
            "downloadResponseOk",
            {
                "euiccSigned2": {"transactionId": b"\x01", "euiccOtpk": bytes(65), "hashCc": bytes(32)},
                "euiccSignature2": bytes(64),
            },
        ),
    ),
    ("PrepareDownloadResponse", ("downloadResponseError", {"transactionId": b"\x01", "downloadErrorCode": 127})),
    ("CancelSessionRequest", {"transactionId": b"\x01", "reason": 1}),
    (
        "CancelSessionResponse",
        (
            "cancelSessionResponseOk",
            {
                "euiccCancelSessionSigned": {"transactionId": b"\x01", "smdpOid": "1.3.6.1", "reason": 127},
                "euiccCancelSessionSignature": bytes(64),
            },
        ),
    ),
    ("CancelSessionResponse", ("cancelSessionResponseError", 5)),
    ("StoreMetadataRequest", METADATA),
    ("BoundProfilePackage", PACKAGE),
    ("ConfigureISDPRequest", {"dpProprietaryData": {"dpOid": "1.3.6.1"}}),
    ("ReplaceSessionKeysRequest", {"initialMacChainingValue": bytes(16), "ppkEnc": bytes(16), "ppkCmac": bytes(16)}),
    (
        "PendingNotification",
        (
            "profileInstallationResult",
            {
                "profileInstallationResultData": {
                    "transactionId": b"\x01",
                    "notificationMetadata": TOLD,
                    "smdpOid": "1.3.6.1",
                    "finalResult": ("successResult", {"aid": bytes(16), "simaResponse": b"\x30\x00"}),
                },
                "euiccSignPIR": bytes(64),
            },
        ),
    ),
    (
        "PendingNotification",
        (
            "profileInstallationResult",
            {
                "profileInstallationResultData": {
                    "transactionId": b"\x01",
                    "notificationMetadata": TOLD,
                    "smdpOid": "1.3.6.1",
                    "finalResult": ("errorResult", {"bppCommandId": 5, "errorReason": 12, "simaResponse": b"\x01"}),
                },
                "euiccSignPIR": bytes(64),
            },
        ),
    ),
    (
        "PendingNotification",
        (
            "otherSignedNotification",
            {
                "tbsOtherNotification": TOLD,
                "euiccNotificationSignature": bytes(64),
                "euiccCertificate": CERTIFICATE,
                "eumCertificate": CERTIFICATE,
            },
        ),
    ),
    ("InitiateAuthenticationRequest", {"euiccChallenge": bytes(16), "smdpAddress": "a.b", "euiccInfo1": INFO1}),
    (
        "InitiateAuthenticationResponse",
        (
            "initiateAuthenticationOk",
            {
                "transactionId": b"\x01",
                "serverSigned1": SIGNED1,
                "serverSignature1": bytes(64),
                "euiccCiPKIdToBeUsed": bytes(20),
                "serverCertificate": CERTIFICATE,
            },
        ),
    ),
    (
        "AuthenticateClientResponseEs9",
        (
            "authenticateClientOk",
            {
                "transactionId": b"\x01",
                "profileMetaData": METADATA,
                "smdpSigned2": SIGNED2,
                "smdpSignature2": bytes(64),
                "smdpCertificate": CERTIFICATE,
            },
        ),
    ),
    (
        "GetBoundProfilePackageResponse",
        ("getBoundProfilePackageOk", {"transactionId": b"\x01", "boundProfilePackage": PACKAGE}),
    ),
    ("CancelSessionResponseEs9", ("cancelSessionOk", {})),
    ("CancelSessionResponseEs9", ("cancelSessionError", 127)),
]


@cache
def published() -> Any:
    text = re.sub(r"IMPORTS.*?;", "", PUBLISHED.read_text(encoding="utf-8"), count=1, flags=re.DOTALL)
    text = re.sub(r"OPENTYPE ::= CLASS \{.*?\n\}", "", text, flags=re.DOTALL)
    # A tag on an open type is always explicit (ITU-T X.680, 31.2.7), which the compiler does not know by itself.
    text = text.replace("OPENTYPE.&typeId", "OBJECT IDENTIFIER").replace("OPENTYPE.&Type", "EXPLICIT ANY")
    return asn1tools.compile_string(re.sub(r"\nEND\s*$", IMPORTED, text), "der")


@pytest.mark.parametrize(("name", "value"), SAMPLES)
def test_our_module_writes_what_the_published_one_writes(name: str, value: object) -> None:
    assert schema.encode(name, value) == bytes(published().encode(name, value))


@pytest.mark.parametrize(("name", "value"), SAMPLES)
def test_our_module_reads_what_the_published_one_writes(name: str, value: object) -> None:
    assert schema.decode(name, bytes(published().encode(name, value))) == value


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("EUICCInfo1", "euicc-info1.der"),
        ("InitiateAuthenticationOkEs9", "initiate-response.der"),
        ("AuthenticateServerResponse", "auth-server-response.der"),
        ("AuthenticateClientResponseEs9", "authenticate-response.der"),
        ("PrepareDownloadResponse", "prepare-download-response.der"),
        ("BoundProfilePackage", "bound-profile-package.der"),
        ("PendingNotification", "pending-notification.der"),
        ("StoreMetadataRequest", "store-metadata.der"),
    ],
)
def test_recorded_messages_come_back_byte_for_byte(name: str, file: str) -> None:
    raw = (SESSION / file).read_bytes()
    assert schema.encode(name, schema.decode(name, raw)) == raw

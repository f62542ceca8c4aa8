"""The slicing readers and builders of ES10 against the ASN.1 module, a second reader and writer of the same."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rsp import es10, schema, tlv
from rsp.identifiers import Iccid, TransactionId

few = settings(max_examples=50, deadline=None)

numbers = st.integers(0, 2**31)
transaction_ids = st.binary(min_size=1, max_size=16)
octets16 = st.binary(min_size=16, max_size=16)
octets32 = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=64, max_size=64)
points = st.binary(min_size=65, max_size=65)
versions = st.binary(min_size=3, max_size=3)
key_ids = st.lists(st.binary(min_size=20, max_size=20), max_size=3)
texts = st.text(max_size=20)
certificates = st.binary(max_size=40).map(lambda content: tlv.wrap(0x30, content))
iccids = st.text("0123456789", min_size=18, max_size=20).map(lambda digits: Iccid(digits).to_bytes())
oids = st.sampled_from(["2.999.10", "2.999", "1.3.6.1.4.1.99999.1", "2.16.840", "0.4.0.127"])
bit_strings = st.binary(max_size=4).flatmap(
    lambda value: st.integers(max(0, len(value) * 8 - 7), len(value) * 8).map(lambda count: cut_bits(value, count))
)


def cut_bits(value: bytes, count: int) -> tuple[bytes, int]:
    """The first `count` bits, those after them in the last octet put to zero as DER asks."""
    whole = int.from_bytes(value, "big") >> (len(value) * 8 - count) << (len(value) * 8 - count)
    return whole.to_bytes(len(value), "big"), count


def set_bits(bit_string: tuple[bytes, int]) -> frozenset[int]:
    value, count = bit_string
    return frozenset(n for n in range(count) if value[n // 8] >> (7 - n % 8) & 1)


def version(value: bytes) -> es10.Version:
    return value[0], value[1], value[2]


def record(mandatory: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> Any:
    return st.fixed_dictionaries(mandatory, optional=optional)


infos1 = record({"svn": versions, "euiccCiPKIdListForVerification": key_ids, "euiccCiPKIdListForSigning": key_ids})
infos2 = record(
    {
        "profileVersion": versions,
        "svn": versions,
        "euiccFirmwareVer": versions,
        "extCardResource": st.integers(0, 2**32 - 1).map(
            lambda free: bytes.fromhex("810100") + tlv.wrap(0x82, free.to_bytes(4, "big")) + bytes.fromhex("83021000")
        ),
        "uiccCapability": bit_strings,
        "rspCapability": bit_strings,
        "euiccCiPKIdListForVerification": key_ids,
        "euiccCiPKIdListForSigning": key_ids,
        "ppVersion": versions,
        "sasAcreditationNumber": texts.filter(lambda text: len(text.encode()) <= 64),
    },
    ts102241Version=versions,
    globalplatformVersion=versions,
    euiccCategory=st.integers(0, 3),
    forbiddenProfilePolicyRules=bit_strings,
    certificationDataObject=record({"platformLabel": texts, "discoveryBaseURL": texts}),
    treProperties=bit_strings,
    treProductReference=texts,
    additionalEuiccProfilePackageVersions=st.lists(versions, min_size=1, max_size=3),
)
device_infos = record(
    {
        "tac": st.binary(min_size=4, max_size=4),
        "deviceCapabilities": record({}, gsmSupportedRelease=versions, nr5gcSupportedRelease=versions),
    },
    imei=st.text("0123456789", min_size=15, max_size=15).map(
        lambda digits: bytes.fromhex("".join(digits[i + 1] + digits[i] for i in range(0, 14, 2)) + digits[14] + "f")
    ),
)
contexts = record({"deviceInfo": device_infos}, matchingId=texts)
metadata = record(
    {
        "seqNumber": numbers,
        "profileManagementOperation": st.sampled_from([(b"\x80", 1), (b"\x40", 2), (b"\x20", 3), (b"\x10", 4)]),
        "notificationAddress": texts,
    },
    iccid=iccids,
)


@few
@given(infos1)
def test_euicc_info1_reads_as_the_schema_wrote_it(value: dict[str, Any]) -> None:
    info = es10.parse_euicc_info1(schema.encode("EUICCInfo1", value))
    assert info.svn == version(value["svn"])
    assert list(info.ci_for_verification) == value["euiccCiPKIdListForVerification"]
    assert list(info.ci_for_signing) == value["euiccCiPKIdListForSigning"]


@few
@given(infos2)
def test_euicc_info2_reads_as_the_schema_wrote_it(value: dict[str, Any]) -> None:
    raw = schema.encode("EUICCInfo2", value)
    assert es10.parse_euicc_info2(raw) == es10.EuiccInfo2(
        profile_version=version(value["profileVersion"]),
        svn=version(value["svn"]),
        firmware=version(value["euiccFirmwareVer"]),
        free_memory=int.from_bytes(value["extCardResource"][5:9], "big"),
        uicc_capability=set_bits(value["uiccCapability"]),
        rsp_capability=set_bits(value["rspCapability"]),
        ci_for_verification=tuple(value["euiccCiPKIdListForVerification"]),
        ci_for_signing=tuple(value["euiccCiPKIdListForSigning"]),
        category=value.get("euiccCategory"),
        forbidden_policy_rules=set_bits(value.get("forbiddenProfilePolicyRules", (b"", 0))),
        additional_profile_versions=tuple(map(version, value.get("additionalEuiccProfilePackageVersions", []))),
    )


authentications = record(
    {
        "euiccSigned1": record(
            {
                "transactionId": transaction_ids,
                "serverAddress": texts,
                "serverChallenge": octets16,
                "euiccInfo2": infos2,
                "ctxParams1": st.tuples(st.just("ctxParamsForCommonAuthentication"), contexts),
            }
        ),
        "euiccSignature1": signatures,
        "euiccCertificate": certificates,
        "eumCertificate": certificates,
    }
)


@few
@given(authentications)
def test_an_authentication_reads_as_the_schema_wrote_it(value: dict[str, Any]) -> None:
    raw = schema.encode("AuthenticateServerResponse", ("authenticateResponseOk", value))
    answer = es10.parse_authenticate_server_response(raw)
    assert isinstance(answer, es10.AuthenticateServerOk)
    signed = value["euiccSigned1"]
    context = signed["ctxParams1"][1]
    assert answer == es10.AuthenticateServerOk(
        transaction_id=TransactionId(signed["transactionId"]),
        signed=schema.encode("EuiccSigned1", signed),
        signature=value["euiccSignature1"],
        signature_tlv=es10.signature_object(value["euiccSignature1"]),
        server_address=signed["serverAddress"],
        server_challenge=signed["serverChallenge"],
        euicc_info2=schema.encode("EUICCInfo2", signed["euiccInfo2"]),
        matching_id=context.get("matchingId"),
        device_info=answer.device_info,
        euicc_certificate=value["euiccCertificate"],
        eum_certificate=value["eumCertificate"],
    )
    assert_device(answer.device_info, context["deviceInfo"])


def assert_device(device: es10.DeviceInfo, value: dict[str, Any]) -> None:
    swapped = value["tac"].hex().upper()
    assert device.tac == "".join(swapped[i : i + 2][::-1] for i in range(0, 8, 2))
    assert tlv.wrap(0x30, device.capabilities) == schema.encode("DeviceCapabilities", value["deviceCapabilities"])
    if "imei" in value:
        assert device.imei is not None
        assert len(device.imei) == 15
        coded = "".join(device.imei[i + 1] + device.imei[i] for i in range(0, 14, 2)) + device.imei[14] + "f"
        assert coded == value["imei"].hex()
    else:
        assert device.imei is None


@few
@given(transaction_ids, st.integers(0, 127))
def test_errors_of_the_euicc_read_as_the_schema_wrote_them(transaction_id: bytes, code: int) -> None:
    raw = schema.encode(
        "AuthenticateServerResponse",
        ("authenticateResponseError", {"transactionId": transaction_id, "authenticateErrorCode": code}),
    )
    assert es10.parse_authenticate_server_response(raw) == es10.AuthenticateServerError(
        transaction_id=TransactionId(transaction_id), code=code
    )
    raw = schema.encode(
        "PrepareDownloadResponse",
        ("downloadResponseError", {"transactionId": transaction_id, "downloadErrorCode": code}),
    )
    assert es10.parse_prepare_download_response(raw) == es10.PrepareDownloadError(
        transaction_id=TransactionId(transaction_id), code=code
    )
    raw = schema.encode("CancelSessionResponse", ("cancelSessionResponseError", code))
    assert es10.parse_cancel_session_response(raw) == es10.CancelSessionError(code=code)


@few
@given(record({"transactionId": transaction_ids, "euiccOtpk": points}, hashCc=octets32), signatures)
def test_a_download_response_reads_as_the_schema_wrote_it(signed: dict[str, Any], signature: bytes) -> None:
    value = {"euiccSigned2": signed, "euiccSignature2": signature}
    raw = schema.encode("PrepareDownloadResponse", ("downloadResponseOk", value))
    assert es10.parse_prepare_download_response(raw) == es10.PrepareDownloadOk(
        transaction_id=TransactionId(signed["transactionId"]),
        signed=schema.encode("EUICCSigned2", signed),
        signature=signature,
        signature_tlv=es10.signature_object(signature),
        euicc_otpk=signed["euiccOtpk"],
        hash_cc=signed.get("hashCc"),
    )


@few
@given(record({"transactionId": transaction_ids, "smdpOid": oids, "reason": st.integers(0, 127)}), signatures)
def test_a_cancelled_session_reads_as_the_schema_wrote_it(signed: dict[str, Any], signature: bytes) -> None:
    value = {"euiccCancelSessionSigned": signed, "euiccCancelSessionSignature": signature}
    raw = schema.encode("CancelSessionResponse", ("cancelSessionResponseOk", value))
    assert es10.parse_cancel_session_response(raw) == es10.CancelSessionOk(
        transaction_id=TransactionId(signed["transactionId"]),
        signed=schema.encode("EuiccCancelSessionSigned", signed),
        signature=signature,
        smdp_oid=signed["smdpOid"],
        reason=signed["reason"],
    )


results = st.one_of(
    st.tuples(
        st.just("successResult"),
        record({"aid": st.binary(min_size=5, max_size=16), "simaResponse": st.binary(max_size=20)}),
    ),
    st.tuples(
        st.just("errorResult"),
        record(
            {"bppCommandId": st.integers(0, 5), "errorReason": st.integers(1, 127)}, simaResponse=st.binary(max_size=20)
        ),
    ),
)


def expected_result(kind: str, value: dict[str, Any]) -> es10.Installed | es10.InstallationError:
    if kind == "successResult":
        return es10.Installed(aid=value["aid"], sima_response=value["simaResponse"])
    return es10.InstallationError(
        command_id=value["bppCommandId"], reason=value["errorReason"], sima_response=value.get("simaResponse")
    )


@few
@given(transaction_ids, metadata, oids, results, signatures)
def test_an_installation_result_reads_as_the_schema_wrote_it(
    transaction_id: bytes, told: dict[str, Any], oid: str, result: tuple[str, dict[str, Any]], signature: bytes
) -> None:
    signed = {
        "transactionId": transaction_id,
        "notificationMetadata": told,
        "smdpOid": oid,
        "finalResult": result,
    }
    value = {"profileInstallationResultData": signed, "euiccSignPIR": signature}
    raw = schema.encode("PendingNotification", ("profileInstallationResult", value))
    assert es10.parse_pending_notification(raw) == es10.ProfileInstallationResult(
        transaction_id=TransactionId(transaction_id),
        signed=schema.encode("ProfileInstallationResultData", signed),
        signature=signature,
        seq_number=told["seqNumber"],
        events=1 << (told["profileManagementOperation"][1] - 1),
        notification_address=told["notificationAddress"],
        iccid=Iccid.from_bytes(told["iccid"]) if "iccid" in told else None,
        smdp_oid=oid,
        result=expected_result(*result),
    )


@few
@given(metadata, signatures, certificates, certificates)
def test_other_notifications_read_as_the_schema_wrote_them(
    told: dict[str, Any], signature: bytes, euicc: bytes, eum: bytes
) -> None:
    value = {
        "tbsOtherNotification": told,
        "euiccNotificationSignature": signature,
        "euiccCertificate": euicc,
        "eumCertificate": eum,
    }
    raw = schema.encode("PendingNotification", ("otherSignedNotification", value))
    assert es10.parse_pending_notification(raw) == es10.OtherSignedNotification(
        signed=schema.encode("NotificationMetadata", told),
        signature=signature,
        seq_number=told["seqNumber"],
        event=es10.NotificationEvent(1 << (told["profileManagementOperation"][1] - 1)),
        notification_address=told["notificationAddress"],
        iccid=Iccid.from_bytes(told["iccid"]) if "iccid" in told else None,
        euicc_certificate=euicc,
        eum_certificate=eum,
    )


@few
@given(transaction_ids, octets16, texts, octets16)
def test_server_signed1_is_what_the_schema_writes(
    transaction_id: bytes, euicc_challenge: bytes, address: str, server_challenge: bytes
) -> None:
    built = es10.server_signed1(
        transaction_id=TransactionId(transaction_id),
        euicc_challenge=euicc_challenge,
        server_address=address,
        server_challenge=server_challenge,
    )
    assert schema.decode("ServerSigned1", built) == {
        "transactionId": transaction_id,
        "euiccChallenge": euicc_challenge,
        "serverAddress": address,
        "serverChallenge": server_challenge,
    }


@few
@given(transaction_ids, st.booleans(), st.none() | points)
def test_smdp_signed2_is_what_the_schema_writes(transaction_id: bytes, required: bool, key: bytes | None) -> None:
    built = es10.smdp_signed2(
        transaction_id=TransactionId(transaction_id), confirmation_code_required=required, bpp_euicc_otpk=key
    )
    value = {"transactionId": transaction_id, "ccRequiredFlag": required}
    assert built == schema.encode("SmdpSigned2", value if key is None else value | {"bppEuiccOtpk": key})

"""The slicing readers and builders of the eIM against the ASN.1 module, a second reader and writer of the same."""

from typing import Any

from esep_values import (
    bit_string,
    codes,
    command_value,
    commands,
    device_data,
    distinct,
    eids,
    eim_ids,
    encoded,
    expected_answer,
    expected_data,
    infos2,
    installations,
    notifications,
    notified,
    numbers,
    numbers_of,
    package_results,
    provide,
    record,
    signatures,
    signed_objects,
    texts,
    tokens,
    told_transaction_id,
    transaction_ids,
    versions,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from rsp import esep, schema
from rsp.identifiers import Eid, TransactionId

few = settings(max_examples=30, deadline=None)


@few
@given(eim_ids, eids, st.integers(0, esep.MAX_COUNTER), transaction_ids, st.lists(commands, min_size=1), signatures)
def test_the_schema_reads_the_package_that_was_built(
    eim_id: str, eid: Eid, counter: int, transaction_id: bytes, listed: list[esep.Psmo], signature: bytes
) -> None:
    signed = esep.euicc_package_signed(
        eim_id=eim_id, eid=eid, counter=counter, transaction_id=TransactionId(transaction_id), commands=listed
    )
    value = {
        "eimId": eim_id,
        "eidValue": eid.to_bytes(),
        "counterValue": counter,
        "eimTransactionId": transaction_id,
        "euiccPackage": ("psmoList", list(map(command_value, listed))),
    }
    request = esep.euicc_package_request(signed, signature)
    whole = {"euiccPackageSigned": value, "eimSignature": signature}
    assert schema.encode("EuiccPackageRequest", whole) == request
    assert schema.decode("GetEimPackageResponse", esep.eim_package(request)) == ("euiccPackageRequest", whole)


@few
@given(st.binary(min_size=1, max_size=10), transaction_ids, numbers)
def test_the_schema_reads_the_request_for_data_that_was_built(tags: bytes, transaction_id: bytes, number: int) -> None:
    built = esep.ipa_euicc_data_request(
        tags=tags, transaction_id=TransactionId(transaction_id), result_seq_number=number
    )
    value = {
        "tagList": tags + b"\xa2",
        "searchCriteriaEuiccPackageResult": ("seqNumber", number),
        "eimTransactionId": transaction_id,
    }
    assert schema.encode("IpaEuiccDataRequest", value) == built
    assert schema.decode("GetEimPackageResponse", esep.eim_package(built)) == ("ipaEuiccDataRequest", value)


@few
@given(texts, transaction_ids)
def test_the_schema_reads_the_trigger_that_was_built(code: str, transaction_id: bytes) -> None:
    built = esep.profile_download_trigger(code, TransactionId(transaction_id))
    value = {"profileDownloadData": ("activationCode", code), "eimTransactionId": transaction_id}
    assert schema.encode("ProfileDownloadTriggerRequest", value) == built


@few
@given(st.lists(numbers, min_size=1))
def test_the_schema_reads_the_acknowledgements_that_were_built(listed: list[int]) -> None:
    decoded = schema.decode("ProvideEimPackageResultResponse", esep.acknowledgements(listed))
    assert decoded == ("eimAcknowledgements", listed)


def test_the_schema_reads_the_short_answers() -> None:
    response = "ProvideEimPackageResultResponse"
    assert schema.decode(response, esep.empty_response()) == ("emptyResponse", {})
    for code in esep.ResultError:
        assert schema.decode(response, esep.result_error(code)) == ("provideEimPackageResultError", code)
    for error in esep.EimPackageError:
        assert schema.decode("GetEimPackageResponse", esep.eim_package_error(error)) == ("eimPackageError", error)


@few
@given(eids, st.booleans(), st.none() | codes, st.none() | versions)
def test_a_poll_reads_as_the_schema_wrote_it(eid: Eid, changed: bool, cause: int | None, network: bytes | None) -> None:
    value = {"eidValue": eid.to_bytes(), "notifyStateChange": None, "stateChangeCause": cause, "rPLMN": network}
    absent = {name for name in ("stateChangeCause", "rPLMN") if value[name] is None}
    absent |= set() if changed else {"notifyStateChange"}
    written = schema.encode("GetEimPackageRequest", {name: value[name] for name in value if name not in absent})
    assert esep.parse_get_eim_package(written) == esep.GetEimPackage(
        eid=eid, notify_state_change=changed, state_change_cause=cause, rplmn=network
    )


@few
@given(package_results, st.none() | eids)
def test_a_package_result_reads_as_the_schema_wrote_it(value: tuple[str, Any], eid: Eid | None) -> None:
    raw = provide(("euiccPackageResult", value), eid)
    assert esep.parse_provide_eim_package_result(raw) == esep.ProvidedResult(eid=eid, result=expected_answer(value))
    assert esep.sequence_numbers(raw) == distinct(numbers_of(value))


@few
@given(package_results, st.lists(notifications, max_size=3))
def test_a_result_with_notifications_reads_as_the_schema_wrote_it(
    value: tuple[str, Any], listed: list[tuple[str, Any]]
) -> None:
    raw = provide(("ePRAndNotifications", {"euiccPackageResult": value, "notificationList": listed}))
    assert esep.parse_provide_eim_package_result(raw) == esep.ProvidedResult(
        eid=None, result=expected_answer(value), notifications=encoded(listed)
    )
    assert esep.sequence_numbers(raw) == distinct([*numbers_of(value), *map(notified, listed)])


@few
@given(notifications)
def test_a_notification_reads_as_the_schema_wrote_it(value: tuple[str, Any]) -> None:
    raw = schema.encode("HandleNotificationEsipa", ("pendingNotification", value))
    assert esep.parse_handle_notification(raw) == encoded([value])[0]


@few
@given(package_results)
def test_a_result_as_notification_reads_as_the_schema_wrote_it(value: tuple[str, Any]) -> None:
    result = {"eimPackageResult": ("euiccPackageResult", value)}
    raw = schema.encode("HandleNotificationEsipa", ("provideEimPackageResult", result))
    assert esep.parse_handle_notification(raw) == esep.ProvidedResult(eid=None, result=expected_answer(value))


@few
@given(device_data)
def test_data_of_a_device_reads_as_the_schema_wrote_it(value: dict[str, Any]) -> None:
    raw = provide(("ipaEuiccDataResponse", ("ipaEuiccData", value)))
    answer = esep.parse_provide_eim_package_result(raw).result
    assert answer == expected_data(value)
    kept = [number for one in value.get("euiccPackageResultList", []) for number in numbers_of(one)]
    assert esep.sequence_numbers(raw) == distinct([*kept, *map(notified, value.get("notificationsList", []))])
    for one, listed in zip(answer.package_results, value.get("euiccPackageResultList", []), strict=True):
        assert esep.parse_package_result(one) == expected_answer(listed)


@few
@given(infos2)
def test_the_versions_of_a_card_read_as_the_schema_wrote_them(value: dict[str, Any]) -> None:
    told = value.get("iotSpecificInfo", {"iotVersion": []})["iotVersion"]
    assert esep.iot_versions(schema.encode("IotEuiccInfo2", value)) == tuple(map(tuple, told))


@few
@given(record({"ipaEuiccDataErrorCode": codes}, eimTransactionId=transaction_ids))
def test_an_error_of_a_device_reads_as_the_schema_wrote_it(value: dict[str, Any]) -> None:
    raw = provide(("ipaEuiccDataResponse", ("ipaEuiccDataResponseError", value)))
    assert esep.parse_provide_eim_package_result(raw).result == esep.DataError(
        transaction_id=told_transaction_id(value), code=value["ipaEuiccDataErrorCode"]
    )


@few
@given(record({"eimPackageResultErrorCode": codes}, eimTransactionId=transaction_ids))
def test_a_response_error_reads_as_the_schema_wrote_it(value: dict[str, Any]) -> None:
    raw = provide(("eimPackageResultResponseError", value))
    assert esep.parse_provide_eim_package_result(raw).result == esep.ResponseError(
        transaction_id=told_transaction_id(value), code=value["eimPackageResultErrorCode"]
    )


@few
@given(
    st.one_of(
        st.tuples(st.just("profileInstallationResult"), installations),
        st.tuples(
            st.just("profileDownloadError"),
            record({"profileDownloadErrorReason": codes}, errorResponse=st.binary(max_size=5)),
        ),
    ),
    transaction_ids,
)
def test_a_triggered_download_reads_as_the_schema_wrote_it(result: tuple[str, Any], transaction_id: bytes) -> None:
    value = {"eimTransactionId": transaction_id, "profileDownloadTriggerResultData": result}
    raw = provide(("profileDownloadTriggerResult", value))
    kind, content = result
    installed = kind == "profileInstallationResult"
    assert esep.parse_provide_eim_package_result(raw).result == esep.TriggerResult(
        transaction_id=TransactionId(transaction_id),
        installation=schema.encode("ProfileInstallationResult", content) if installed else None,
        error=None if installed else (content["profileDownloadErrorReason"], content.get("errorResponse")),
    )
    assert esep.sequence_numbers(raw) == ((notified(result),) if installed else ())


@few
@given(
    eim_ids,
    texts,
    numbers,
    st.none() | tokens,
    st.none() | signed_objects,
    st.sets(st.sampled_from(list(esep.EimProtocol))),
)
def test_the_schema_reads_the_configuration_that_was_built(  # one argument for each kind of member
    eim_id: str,
    address: str,
    counter: int,
    token: int | None,
    certificate: dict[str, Any] | None,
    protocols: set[esep.EimProtocol],
) -> None:
    key = {"algorithm": b"\x30\x00", "publicKey": (b"\x04" + bytes(64), 520)}
    built = esep.eim_configuration_data(
        eim_id=eim_id,
        fqdn=address,
        counter=counter,
        token=token,
        public_key_spki=schema.encode("PublicKeyObject", key),
        tls_spki_or_certificate=schema.encode("SignedObject", certificate) if certificate else None,
        protocols=protocols,
        ci_key_id=bytes(20),
    )
    value = {
        "eimId": eim_id,
        "eimFqdn": address,
        "eimIdType": 2,
        "counterValue": counter,
        "eimPublicKeyData": ("publicKey", key),
        "eimSupportedProtocol": bit_string(frozenset(map(int, protocols))),
        "euiccCiPKId": bytes(20),
    }
    value |= {} if token is None else {"associationToken": token}
    value |= {"trustedPublicKeyDataTls": ("certificate", certificate)} if certificate else {}
    assert schema.encode("EimConfigurationData", value) == built
    whole = {"eimConfigurationDataList": [value]}
    assert schema.encode("AddInitialEimRequest", whole) == esep.add_initial_eim_request(built)

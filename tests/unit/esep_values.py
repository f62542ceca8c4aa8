"""Structures of SGP.32 as the ASN.1 module takes them, drawn at random, and what our readers make of each."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from rsp import esep, schema, tlv
from rsp.identifiers import Eid, Iccid, TransactionId

numbers = st.integers(0, 2**31)
codes = st.integers(0, 127)
tokens = st.integers(-1, 2**40)
transaction_ids = st.binary(min_size=1, max_size=16)
signatures = st.binary(min_size=64, max_size=64)
eim_ids = st.text(min_size=1, max_size=20)
texts = st.text(max_size=20)
names = st.text("abcdefgé", max_size=16)
eids = st.text("0123456789", min_size=32, max_size=32).map(Eid)
iccids = st.text("0123456789", min_size=18, max_size=20).map(Iccid)
versions = st.binary(min_size=3, max_size=3)
signed_objects = st.fixed_dictionaries(
    {
        "toBeSigned": st.binary(max_size=40).map(lambda content: tlv.wrap(0x30, content)),
        "algorithm": st.just(b"\x30\x00"),
        "signature": st.binary(max_size=8).map(lambda value: (value, 8 * len(value))),
    }
)
bit_sets = st.frozensets(st.integers(0, 7))


def bit_string(bits: frozenset[int]) -> tuple[bytes, int]:
    value = sum(0x80 >> bit for bit in bits)
    return (bytes((value,)), max(bits) + 1) if bits else (b"", 0)


def record(mandatory: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> Any:
    return st.fixed_dictionaries(mandatory, optional=optional)


commands = st.one_of(
    st.builds(esep.Enable, iccid=iccids, rollback=st.booleans()),
    st.builds(esep.Disable, iccid=iccids),
    st.builds(esep.Delete, iccid=iccids),
    st.builds(esep.ListProfileInfo, tags=st.sampled_from([b"", b"\x5a", bytes.fromhex("5a9f709f26")])),
)


def command_value(command: esep.Psmo) -> tuple[str, dict[str, Any]]:
    match command:
        case esep.Enable(iccid=iccid, rollback=rollback):
            return "enable", {"iccid": iccid.to_bytes()} | ({"rollbackFlag": None} if rollback else {})
        case esep.Disable(iccid=iccid):
            return "disable", {"iccid": iccid.to_bytes()}
        case esep.Delete(iccid=iccid):
            return "delete", {"iccid": iccid.to_bytes()}
        case esep.ListProfileInfo(tags=tags):
            return "listProfileInfo", {"tagList": tags} if tags else {}


profiles = record(
    {"iccid": iccids.map(Iccid.to_bytes)},
    isdpAid=st.binary(min_size=5, max_size=16),
    profileState=st.integers(0, 1),
    profileNickname=names,
    serviceProviderName=names,
    profileName=names,
    iconType=st.integers(0, 1),
    icon=st.binary(max_size=20),
    profileClass=st.integers(0, 2),
    profileOwner=st.just({"mccMnc": b"\x62\xf2\x20"}),
    profilePolicyRules=bit_sets.map(bit_string),
    ecallIndication=st.booleans(),
    fallbackAttribute=st.just(True),
    fallbackAllowed=st.booleans(),
)


def expected_profile(value: dict[str, Any]) -> esep.ProfileInfo:
    rules, _ = value.get("profilePolicyRules", (b"\x00", 0))
    state = value.get("profileState")
    return esep.ProfileInfo(
        iccid=Iccid.from_bytes(value["iccid"]),
        aid=value.get("isdpAid"),
        state=None if state is None else esep.ProfileState(state),
        nickname=value.get("profileNickname"),
        service_provider_name=value.get("serviceProviderName"),
        profile_name=value.get("profileName"),
        profile_class=value.get("profileClass"),
        policy_rules=frozenset(bit for bit in range(8) if rules and rules[0] & 0x80 >> bit),
        ecall_indication=value.get("ecallIndication"),
        fallback_attribute=value.get("fallbackAttribute", False),
        fallback_allowed=value.get("fallbackAllowed"),
    )


CODED: dict[str, Callable[..., esep.CommandResult]] = {
    "enableResult": esep.EnableResult,
    "disableResult": esep.DisableResult,
    "deleteResult": esep.DeleteResult,
    "rollbackResult": esep.RollbackResult,
    "processingTerminated": esep.ProcessingTerminated,
}
results = st.one_of(
    st.tuples(st.sampled_from(sorted(CODED)), codes),
    st.tuples(
        st.just("listProfileInfoResult"),
        st.one_of(
            st.tuples(st.just("profileInfoListOk"), st.lists(profiles, max_size=3)),
            st.tuples(st.just("profileInfoListError"), codes),
        ),
    ),
    st.tuples(st.sampled_from(["setFallbackAttributeResult", "unsetFallbackAttributeResult"]), codes),
)


def expected_result(value: tuple[str, Any]) -> esep.CommandResult:
    name, content = value
    if name in CODED:
        return CODED[name](code=content)
    if name == "listProfileInfoResult":
        if content[0] == "profileInfoListError":
            return esep.ProfileListError(code=content[1])
        return esep.ProfileList(profiles=tuple(map(expected_profile, content[1])))
    raw = schema.encode("EuiccResultData", value)
    return esep.OtherResult(tag=raw[0], raw=raw)


result_data = record(
    {"eimId": eim_ids, "counterValue": numbers, "seqNumber": numbers, "euiccResult": st.lists(results, max_size=4)},
    eimTransactionId=transaction_ids,
)
package_results = st.one_of(
    st.tuples(
        st.just("euiccPackageResultSigned"),
        record({"euiccPackageResultDataSigned": result_data, "euiccSignEPR": signatures}),
    ),
    st.tuples(
        st.just("euiccPackageErrorSigned"),
        record(
            {
                "euiccPackageErrorDataSigned": record(
                    {"eimId": eim_ids, "counterValue": numbers, "euiccPackageErrorCode": codes},
                    eimTransactionId=transaction_ids,
                ),
                "euiccSignEPE": signatures,
            }
        ),
    ),
    st.tuples(
        st.just("euiccPackageErrorUnsigned"),
        record({"eimId": eim_ids}, eimTransactionId=transaction_ids, associationToken=tokens),
    ),
)


def told_transaction_id(value: dict[str, Any]) -> TransactionId | None:
    return TransactionId(value["eimTransactionId"]) if "eimTransactionId" in value else None


def expected_answer(value: tuple[str, dict[str, Any]]) -> esep.PackageAnswer:
    arm, content = value
    if arm == "euiccPackageResultSigned":
        data = content["euiccPackageResultDataSigned"]
        return esep.PackageResult(
            signed=schema.encode("EuiccPackageResultDataSigned", data),
            signature=content["euiccSignEPR"],
            eim_id=data["eimId"],
            counter=data["counterValue"],
            transaction_id=told_transaction_id(data),
            seq_number=data["seqNumber"],
            results=tuple(map(expected_result, data["euiccResult"])),
        )
    if arm == "euiccPackageErrorSigned":
        data = content["euiccPackageErrorDataSigned"]
        return esep.PackageErrorSigned(
            signed=schema.encode("EuiccPackageErrorDataSigned", data),
            signature=content["euiccSignEPE"],
            eim_id=data["eimId"],
            counter=data["counterValue"],
            transaction_id=told_transaction_id(data),
            code=data["euiccPackageErrorCode"],
        )
    return esep.PackageErrorUnsigned(
        eim_id=content["eimId"],
        transaction_id=told_transaction_id(content),
        token=content.get("associationToken"),
    )


def numbers_of(value: tuple[str, dict[str, Any]]) -> list[int]:
    arm, content = value
    return [content["euiccPackageResultDataSigned"]["seqNumber"]] if arm == "euiccPackageResultSigned" else []


def distinct(listed: list[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(listed))


def provide(result: tuple[str, Any], eid: Eid | None = None) -> bytes:
    given_eid = {"eidValue": eid.to_bytes()} if eid else {}
    return schema.encode("ProvideEimPackageResult", given_eid | {"eimPackageResult": result})


metadata = record(
    {
        "seqNumber": numbers,
        "profileManagementOperation": st.just((b"\x40", 2)),
        "notificationAddress": texts,
    },
    iccid=iccids.map(Iccid.to_bytes),
)
other_notifications = record(
    {
        "tbsOtherNotification": metadata,
        "euiccNotificationSignature": signatures,
        "euiccCertificate": st.just(b"\x30\x00"),
        "eumCertificate": st.just(b"\x30\x00"),
    }
)
installations = record(
    {
        "profileInstallationResultData": record(
            {
                "transactionId": transaction_ids,
                "notificationMetadata": metadata,
                "smdpOid": st.just("2.999.10"),
                "finalResult": st.just(("errorResult", {"bppCommandId": 5, "errorReason": 10})),
            }
        ),
        "euiccSignPIR": signatures,
    }
)
compact_installations = record(
    {
        "compactProfileInstallationResultData": record(
            {
                "transactionId": transaction_ids,
                "seqNumber": numbers,
                "compactFinalResult": st.just(("compactSuccessResult", {"compactAid": b"\x01\x02"})),
            }
        ),
        "euiccSignPIR": signatures,
    }
)
compact_others = record(
    {"tbsOtherNotification": metadata, "euiccNotificationSignature": signatures},
    eidValue=eids.map(Eid.to_bytes),
)
notifications = st.one_of(
    st.tuples(st.just("profileInstallationResult"), installations),
    st.tuples(st.just("otherSignedNotification"), other_notifications),
    st.tuples(st.just("compactProfileInstallationResult"), compact_installations),
    st.tuples(st.just("compactOtherSignedNotification"), compact_others),
)


def notified(value: tuple[str, dict[str, Any]]) -> int:
    name, content = value
    if name == "profileInstallationResult":
        return int(content["profileInstallationResultData"]["notificationMetadata"]["seqNumber"])
    if name == "compactProfileInstallationResult":
        return int(content["compactProfileInstallationResultData"]["seqNumber"])
    return int(content["tbsOtherNotification"]["seqNumber"])


def encoded(listed: list[tuple[str, Any]]) -> tuple[bytes, ...]:
    return tuple(schema.encode("IotPendingNotification", one) for one in listed)


infos2 = record(
    {
        "profileVersion": versions,
        "svn": versions,
        "euiccFirmwareVer": versions,
        "extCardResource": st.just(bytes.fromhex("82023000")),
        "uiccCapability": bit_sets.map(bit_string),
        "rspCapability": bit_sets.map(bit_string),
        "euiccCiPKIdListForVerification": st.just([bytes(20)]),
        "euiccCiPKIdListForSigning": st.just([bytes(20)]),
        "ppVersion": versions,
        "sasAcreditationNumber": names,
    },
    ipaMode=st.integers(0, 1),
    highestSvn=versions,
    iotSpecificInfo=record({"iotVersion": st.lists(versions, max_size=3)}, fallbackSupported=st.none()),
)
device_data = record(
    {},
    notificationsList=st.lists(notifications, min_size=1, max_size=2),
    defaultSmdpAddress=texts,
    euiccPackageResultList=st.lists(package_results, min_size=1, max_size=2),
    euiccInfo2=infos2,
    rootSmdsAddress=texts,
    associationToken=tokens,
    eumCertificate=signed_objects,
    euiccCertificate=signed_objects,
    eimTransactionId=transaction_ids,
    ipaCapabilities=record({"ipaFeatures": bit_sets.map(bit_string)}, ipaSupportedProtocols=bit_sets.map(bit_string)),
    deviceInfo=st.just({"tac": bytes(4), "deviceCapabilities": {}}),
)


def expected_data(value: dict[str, Any]) -> esep.DataResponse:
    def member(name: str, kind: str) -> bytes | None:
        return schema.encode(kind, value[name]) if name in value else None

    device = member("deviceInfo", "DeviceInfo")
    capabilities = value.get("ipaCapabilities")
    kept = value.get("euiccPackageResultList", [])
    return esep.DataResponse(
        transaction_id=told_transaction_id(value),
        eum_certificate=member("eumCertificate", "SignedObject"),
        euicc_certificate=member("euiccCertificate", "SignedObject"),
        token=value.get("associationToken"),
        package_results=tuple(schema.encode("EuiccPackageResult", one) for one in kept),
        notifications=encoded(value.get("notificationsList", [])),
        euicc_info1=None,
        euicc_info2=member("euiccInfo2", "IotEuiccInfo2"),
        ipa_capabilities=expected_capabilities(capabilities) if capabilities else None,
        default_smdp_address=value.get("defaultSmdpAddress"),
        root_smds_address=value.get("rootSmdsAddress"),
        device_info=tlv.wrap(0xA9, tlv.read(device).value) if device else None,
    )


def expected_capabilities(value: dict[str, Any]) -> esep.IpaCapabilities:
    def bits(name: str) -> frozenset[int]:
        octets, _ = value.get(name, (b"", 0))
        return frozenset(bit for bit in range(8) if octets and octets[0] & 0x80 >> bit)

    return esep.IpaCapabilities(features=bits("ipaFeatures"), protocols=bits("ipaSupportedProtocols"))

"""What devices and cards hand in, in the forms of SGP.32 v1.2 and v1.0.1, worked out by hand."""

from collections.abc import Callable

import pytest

from rsp import esep
from rsp.errors import Malformed
from rsp.identifiers import Eid, Iccid, TransactionId
from rsp.tlv import wrap

EID = Eid("89049032123451234512345678901235")
EID_TLV = bytes.fromhex("5a10 89049032123451234512345678901235")
ICCID = Iccid("89000123456789012341")
TRANSACTION_ID = TransactionId(b"\x0a\x0b")
SIGNATURE = bytes(range(64))
SIGNATURE_TLV = wrap(0x5F37, SIGNATURE)
LEAD_PROFILE = bytes.fromhex("e321 5a0a98001032547698103214 9f700101 9103414243 99020640 9f2601ff 9f670100")
SPARE_PROFILE = bytes.fromhex("e30c 5a0a98001032547698103224")
CERTIFICATE = bytes.fromhex("3009 3000 3000 0303000102")


def result_data(*results: str) -> bytes:
    inner = wrap(0x30, bytes.fromhex("".join(results)))
    return wrap(0x30, bytes.fromhex("8003652e61 810105 82020a0b 830109"), inner)


def error_data(code: str) -> bytes:
    return wrap(0x30, bytes.fromhex("8003652e61 810105 82020a0b" + code))


def provided(*parts: bytes) -> esep.Provided:
    return esep.parse_provide_eim_package_result(wrap(0xBF50, EID_TLV, *parts)).result


def results_of(*results: str) -> tuple[esep.CommandResult, ...]:
    answer = provided(wrap(0xBF51, wrap(0xA0, result_data(*results), SIGNATURE_TLV)))
    assert isinstance(answer, esep.PackageResult)
    return answer.results


def test_a_result_keeps_what_was_signed_as_it_came() -> None:
    # The length of the list is written in two bytes where one would do: what was signed is not to be put right.
    data = bytes.fromhex("3015 8003652e61 810105 82020a0b 830109 308103830100")
    message = wrap(0xBF50, EID_TLV, wrap(0xBF51, wrap(0xA0, data, SIGNATURE_TLV)))
    assert esep.parse_provide_eim_package_result(message) == esep.ProvidedResult(
        eid=EID,
        result=esep.PackageResult(
            signed=data,
            signature=SIGNATURE,
            eim_id="e.a",
            counter=5,
            transaction_id=TRANSACTION_ID,
            seq_number=9,
            results=(esep.EnableResult(code=0),),
        ),
        notifications=(),
    )


FORMS: list[Callable[[bytes], bytes]] = [
    lambda content: wrap(0xBF51, wrap(0xA0, content)),
    lambda content: wrap(0xBF51, wrap(0x30, content)),
    lambda content: wrap(0xBF51, content),
    lambda content: wrap(0xA0, content),
]


@pytest.mark.parametrize("form", FORMS)
def test_a_result_reads_with_and_without_its_tag(form: Callable[[bytes], bytes]) -> None:
    answer = esep.parse_package_result(form(result_data("8c0100") + SIGNATURE_TLV))
    assert isinstance(answer, esep.PackageResult)
    assert answer.results == (esep.RollbackResult(code=0),)


@pytest.mark.parametrize("form", [*FORMS, lambda content: wrap(0xBF51, wrap(0xA1, content))])
def test_a_signed_error_reads_with_and_without_its_tag(form: Callable[[bytes], bytes]) -> None:
    data = error_data("020104")
    assert esep.parse_package_result(form(data + SIGNATURE_TLV)) == esep.PackageErrorSigned(
        signed=data,
        signature=SIGNATURE,
        eim_id="e.a",
        counter=5,
        transaction_id=TRANSACTION_ID,
        code=esep.PackageErrorCode.REPLAY_ERROR,
    )


@pytest.mark.parametrize("form", [*FORMS, lambda content: wrap(0xBF51, wrap(0xA2, content))])
def test_an_unsigned_error_reads_with_and_without_its_tag(form: Callable[[bytes], bytes]) -> None:
    answer = esep.parse_package_result(form(bytes.fromhex("8003652e61 82020a0b 840200c8")))
    assert answer == esep.PackageErrorUnsigned(eim_id="e.a", transaction_id=TRANSACTION_ID, token=200)


def test_results_come_in_the_order_of_the_commands() -> None:
    assert results_of("830114", "840103", "850115", "8c017f", "020103") == (
        esep.EnableResult(code=esep.EnableCode.ROLLBACK_NOT_AVAILABLE),
        esep.DisableResult(code=esep.DisableCode.DISALLOWED_BY_POLICY),
        esep.DeleteResult(code=esep.DeleteCode.RETURN_FALLBACK_PROFILE),
        esep.RollbackResult(code=esep.RollbackCode.UNDEFINED_ERROR),
        esep.ProcessingTerminated(code=esep.TerminationCode.INTERRUPTION),
    )


def test_results_of_other_commands_are_kept_raw() -> None:
    assert results_of("8d0100", "a80384010c") == (
        esep.OtherResult(tag=0x8D, raw=bytes.fromhex("8d0100")),
        esep.OtherResult(tag=0xA8, raw=bytes.fromhex("a80384010c")),
    )


@pytest.mark.parametrize("form", ["a0", "30", ""])
def test_a_list_of_profiles_reads_with_and_without_its_tag(form: str) -> None:
    profiles = LEAD_PROFILE + SPARE_PROFILE
    inner = wrap(int(form, 16), profiles) if form else profiles
    (listed,) = results_of(wrap(0xBF2D, inner).hex())
    assert listed == esep.ProfileList(
        profiles=(
            esep.ProfileInfo(
                iccid=ICCID,
                state=esep.ProfileState.ENABLED,
                service_provider_name="ABC",
                policy_rules=frozenset({1}),
                fallback_attribute=True,
                fallback_allowed=False,
            ),
            esep.ProfileInfo(iccid=Iccid("89000123456789012342")),
        )
    )


def test_every_member_of_a_profile_is_read() -> None:
    profile = bytes.fromhex(
        "5a0a98001032547698103214 4f10a0000005591010ffffffff8900001000 9f700100 90014e 910153 920150 950102 9f7b01ff"
    )
    (listed,) = results_of(wrap(0xBF2D, wrap(0xA0, wrap(0xE3, profile))).hex())
    assert listed == esep.ProfileList(
        profiles=(
            esep.ProfileInfo(
                iccid=ICCID,
                aid=bytes.fromhex("a0000005591010ffffffff8900001000"),
                state=esep.ProfileState.DISABLED,
                nickname="N",
                service_provider_name="S",
                profile_name="P",
                profile_class=2,
                ecall_indication=True,
            ),
        )
    )


def test_a_card_without_profiles_lists_none() -> None:
    assert results_of("bf2d02a000") == (esep.ProfileList(profiles=()),)


@pytest.mark.parametrize("form", ["bf2d0381010b", "bf2d0302010b"])
def test_a_refused_list_of_profiles_reads_with_and_without_its_tag(form: str) -> None:
    assert results_of(form) == (esep.ProfileListError(code=esep.ProfileListCode.PROFILE_CHANGE_ONGOING),)


@pytest.mark.parametrize(
    ("der", "expected"),
    [
        ("3006 020101 020102", bytes(31) + b"\x01" + bytes(31) + b"\x02"),
        ("3045 0221" + "00" + "ff" * 32 + "0220" + "7f" * 32, b"\xff" * 32 + b"\x7f" * 32),
    ],
)
def test_a_signature_in_der_becomes_two_halves(der: str, expected: bytes) -> None:
    answer = esep.parse_package_result(
        wrap(0xBF51, wrap(0xA0, result_data("830100"), wrap(0x5F37, bytes.fromhex(der))))
    )
    assert isinstance(answer, esep.PackageResult)
    assert answer.signature == expected


@pytest.mark.parametrize(
    "der",
    [
        "",
        "3006 020101 040102",
        "3003 020101",
        "3009 020101 020102 020103",
        "3006 0201ff 020102",
        "3026 0222" + "01" * 34 + "020101",
        "3026 0221" + "01" * 33 + "020101",
        "3005 0200 020101",
        "3006 020101 020102 00",
    ],
)
def test_a_signature_of_neither_form_is_malformed(der: str) -> None:
    with pytest.raises(Malformed):
        esep.parse_package_result(wrap(0xBF51, wrap(0xA0, result_data("830100"), wrap(0x5F37, bytes.fromhex(der)))))


def test_notifications_come_beside_a_result() -> None:
    notifications = (wrap(0x30, b""), wrap(0xBF37, b"\x80\x00"), wrap(0xA1, b""))
    package = wrap(0xBF51, wrap(0xA0, result_data("830100"), SIGNATURE_TLV))
    both = wrap(0x30, package, wrap(0xA0, *notifications))
    answer = esep.parse_provide_eim_package_result(wrap(0xBF50, both))
    assert answer == esep.ProvidedResult(
        eid=None, result=esep.parse_package_result(package), notifications=notifications
    )


@pytest.mark.parametrize("result", ["bf3702 8000", "bf3700"])
def test_a_triggered_download_tells_its_installation(result: str) -> None:
    raw = bytes.fromhex(result)
    assert provided(wrap(0xBF54, b"\x82\x02\x0a\x0b", raw)) == esep.TriggerResult(
        transaction_id=TRANSACTION_ID, installation=raw, error=None
    )


def test_a_triggered_download_tells_its_failure() -> None:
    assert provided(wrap(0xBF54, bytes.fromhex("82020a0b 3007 80017f 0402aabb"))) == esep.TriggerResult(
        transaction_id=TRANSACTION_ID, installation=None, error=(127, b"\xaa\xbb")
    )
    assert provided(wrap(0xBF54, bytes.fromhex("3003 800168"))) == esep.TriggerResult(
        transaction_id=None, installation=None, error=(esep.TriggerErrorCode.ECALL_ACTIVE, None)
    )


def test_a_device_that_could_do_nothing_says_so() -> None:
    assert provided(bytes.fromhex("a007 80020a0b 020102")) == esep.ResponseError(
        transaction_id=TRANSACTION_ID, code=esep.ResponseErrorCode.UNKNOWN_PACKAGE
    )
    assert provided(bytes.fromhex("a003 020101")) == esep.ResponseError(transaction_id=None, code=1)


INFO2 = wrap(0xBF22, wrap(0xB4, wrap(0xA0, bytes.fromhex("0403010000 0403010200")), b"\x81\x00"))
NOTIFICATION = wrap(0x30, wrap(0xBF2F, b"\x80\x01\x07"), SIGNATURE_TLV)
KEPT = wrap(0xBF51, wrap(0xA0, result_data("830100"), SIGNATURE_TLV))


def told(**changes: object) -> esep.DataResponse:
    values: dict[str, object] = dict.fromkeys(esep.DataResponse.__dataclass_fields__)
    return esep.DataResponse(**(values | {"package_results": (), "notifications": ()} | changes))  # type: ignore[arg-type] # built by name


def test_a_device_tells_what_it_was_asked() -> None:
    data = wrap(
        0xA0,
        wrap(0xA0, NOTIFICATION),
        wrap(0x81, b"d.p"),
        wrap(0xA2, KEPT),
        bytes.fromhex("bf2000"),
        INFO2,
        wrap(0x83, b"d.s"),
        bytes.fromhex("84020080"),
        wrap(0xA5, CERTIFICATE[2:]),
        wrap(0xA6, CERTIFICATE[2:]),
        bytes.fromhex("87020a0b a808 8002 02c4 8102 0780 a900"),
    )
    answer = provided(wrap(0xBF52, data))
    assert answer == esep.DataResponse(
        transaction_id=TRANSACTION_ID,
        eum_certificate=CERTIFICATE,
        euicc_certificate=CERTIFICATE,
        token=128,
        package_results=(KEPT,),
        notifications=(NOTIFICATION,),
        euicc_info1=bytes.fromhex("bf2000"),
        euicc_info2=INFO2,
        ipa_capabilities=esep.IpaCapabilities(features=frozenset({0, 1, 5}), protocols=frozenset({0})),
        default_smdp_address="d.p",
        root_smds_address="d.s",
        device_info=bytes.fromhex("a900"),
    )


def test_data_of_the_first_version_is_bare() -> None:
    members = [bytes.fromhex("84010c"), wrap(0xA5, CERTIFICATE), wrap(0xA6, CERTIFICATE), wrap(0x80, b"d.p")]
    assert provided(wrap(0xBF52, *members)) == told(
        token=12, eum_certificate=CERTIFICATE, euicc_certificate=CERTIFICATE, default_smdp_address="d.p"
    )


@pytest.mark.parametrize("head", ["a0", "bf2b"])
def test_notifications_of_the_first_version_are_found(head: str) -> None:
    listed = wrap(0xA0, NOTIFICATION)
    bare = listed if head == "a0" else wrap(0xBF2B, listed)
    assert provided(wrap(0xBF52, bare)) == told(notifications=(NOTIFICATION,))
    assert provided(wrap(0xBF52, bare, b"\x84\x01\x01")) == told(notifications=(NOTIFICATION,), token=1)


def test_results_of_the_first_version_are_found() -> None:
    assert provided(wrap(0xBF52, wrap(0xBF2B, wrap(0xA2, KEPT)))) == told(package_results=(KEPT,))


def test_a_device_with_nothing_to_tell_tells_nothing() -> None:
    assert provided(bytes.fromhex("bf5202 a000")) == told()
    assert provided(bytes.fromhex("bf5200")) == told()


@pytest.mark.parametrize("arm", ["a1", "30"])
def test_a_device_says_why_it_tells_nothing(arm: str) -> None:
    answer = provided(bytes.fromhex(f"bf5209 {arm}07 80020a0b 020105"))
    assert answer == esep.DataError(transaction_id=TRANSACTION_ID, code=esep.DataErrorCode.EUICC_CI_PKID_NOT_FOUND)


def test_the_versions_of_a_card_are_in_its_information() -> None:
    assert esep.iot_versions(INFO2) == ((1, 0, 0), (1, 2, 0))
    assert esep.iot_versions(bytes.fromhex("bf2205 8203020500")) == ()


def test_a_notification_comes_alone() -> None:
    for raw in (NOTIFICATION, wrap(0xBF37, b""), wrap(0xA1, NOTIFICATION[2:]), COMPACT):
        assert esep.parse_handle_notification(wrap(0xBF3D, wrap(0xA0, raw))) == raw
        assert esep.parse_handle_notification(wrap(0xBF3D, raw)) == raw


def test_a_result_comes_as_a_notification() -> None:
    inner = wrap(0xBF50, EID_TLV, KEPT)
    assert esep.parse_handle_notification(wrap(0xBF3D, inner)) == esep.parse_provide_eim_package_result(inner)


COMPACT = wrap(0xA0, wrap(0xA0, bytes.fromhex("80010a 02010b")), SIGNATURE_TLV)
INSTALLATION = wrap(0xBF37, wrap(0xBF27, wrap(0xBF2F, b"\x80\x01\x0c")), SIGNATURE_TLV)
COMPACT_OTHER = wrap(0xA1, EID_TLV, wrap(0xBF2F, b"\x80\x02\x01\x00"), SIGNATURE_TLV)
REFUSED = wrap(0xBF51, wrap(0xA1, error_data("020104"), SIGNATURE_TLV))


@pytest.mark.parametrize(
    ("result", "numbers"),
    [
        (KEPT, (9,)),
        (wrap(0xBF51, result_data(), SIGNATURE_TLV), (9,)),
        (REFUSED, ()),
        (wrap(0x30, KEPT, wrap(0xA0, NOTIFICATION, INSTALLATION, COMPACT, COMPACT_OTHER)), (9, 7, 12, 11, 256)),
        (wrap(0x30, REFUSED, wrap(0xA0, NOTIFICATION, NOTIFICATION)), (7,)),
        (wrap(0xBF52, wrap(0xA0, wrap(0xA0, NOTIFICATION), wrap(0xA2, KEPT, REFUSED))), (9, 7)),
        (wrap(0xBF52, wrap(0xA0, b"\x84\x01\x01")), ()),
        (wrap(0xBF52, wrap(0xBF2B, wrap(0xA0, NOTIFICATION))), (7,)),
        (wrap(0xBF54, b"\x82\x01\x01", INSTALLATION), (12,)),
        (wrap(0xBF54, wrap(0x30, b"\x80\x01\x7f")), ()),
        (wrap(0xA0, b"\x02\x01\x01"), ()),
    ],
)
def test_sequence_numbers_are_those_that_arrived(result: bytes, numbers: tuple[int, ...]) -> None:
    assert esep.sequence_numbers(wrap(0xBF50, EID_TLV, result)) == numbers


def test_what_cannot_be_read_has_no_sequence_number_and_hides_no_other() -> None:
    broken = [wrap(0x30, wrap(0xBF2F, b"\x80")), wrap(0xBF37, b"\x01"), wrap(0x04, b""), wrap(0xA0, wrap(0xA0))]
    message = wrap(0xBF50, wrap(0x5A, b""), wrap(0x30, wrap(0xBF51, b"\xff"), wrap(0xA0, *broken, NOTIFICATION)))
    assert esep.sequence_numbers(message) == (7,)

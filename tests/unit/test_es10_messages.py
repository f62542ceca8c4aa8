"""What ES10 readers tell: the values real devices and eUICCs send, and those they send oddly."""

import pytest

from rsp import es10
from rsp.errors import Malformed
from rsp.tlv import wrap

TRANSACTION_ID = wrap(0x80, b"\x01\x02")
SIGNATURE = wrap(0x5F37, bytes(64))
KEYS = wrap(0xA9, wrap(0x04, b"\x01" * 20), wrap(0x04, b"\x02" * 20)) + wrap(0xAA, wrap(0x04, b"\x02" * 20))


def info2(*, resource: str = "82023000", more: str = "") -> bytes:
    return wrap(
        0xBF22,
        bytes.fromhex("8103020301 8203020500 8303010203"),
        wrap(0x84, bytes.fromhex(resource)),
        bytes.fromhex("8503057f20 88020490"),
        KEYS,
        bytes.fromhex("0403010000 0c00" + more),
    )


def authentication(context: bytes) -> es10.AuthenticateServerOk:
    signed = wrap(
        0x30, TRANSACTION_ID, wrap(0x83, b"smdp.example.com"), wrap(0x84, bytes(16)), info2(), wrap(0xA0, context)
    )
    certificates = wrap(0x30, b"") + wrap(0x30, b"")
    answer = es10.parse_authenticate_server_response(wrap(0xBF38, wrap(0xA0, signed, SIGNATURE, certificates)))
    assert isinstance(answer, es10.AuthenticateServerOk)
    return answer


def device(*, tac: str = "53920611", imei: str = "") -> bytes:
    number = wrap(0x82, bytes.fromhex(imei)) if imei else b""
    return wrap(0xA1, wrap(0x80, bytes.fromhex(tac)), wrap(0xA1, bytes.fromhex("8003050000")), number)


def download(hash_cc: bytes) -> es10.PrepareDownloadOk:
    signed = wrap(0x30, TRANSACTION_ID, wrap(0x5F49, bytes(65)), hash_cc)
    answer = es10.parse_prepare_download_response(wrap(0xBF21, wrap(0xA0, signed, SIGNATURE)))
    assert isinstance(answer, es10.PrepareDownloadOk)
    return answer


def installation_failure(events: str, result: str, sequence: str = "00") -> es10.ProfileInstallationResult:
    metadata = wrap(0xBF2F, bytes.fromhex(f"8001{sequence}"), wrap(0x81, bytes.fromhex(events)), wrap(0x0C, b"a.b"))
    oid = wrap(0x06, bytes.fromhex("88370a"))
    outcome = wrap(0xA2, wrap(0xA1, bytes.fromhex(result)))
    answer = es10.parse_pending_notification(
        wrap(0xBF37, wrap(0xBF27, TRANSACTION_ID, metadata, oid, outcome), SIGNATURE)
    )
    assert isinstance(answer, es10.ProfileInstallationResult)
    return answer


def test_key_identifiers_keep_the_order_of_preference() -> None:
    info = es10.parse_euicc_info2(info2())
    assert info.ci_for_verification == (b"\x01" * 20, b"\x02" * 20)
    assert info.ci_for_signing == (b"\x02" * 20,)


def test_capabilities_are_bit_numbers() -> None:
    info = es10.parse_euicc_info2(info2())
    assert info.uicc_capability == {1, 2, 3, 4, 5, 6, 7, 10}
    assert info.rsp_capability == {0, 3}


@pytest.mark.parametrize(
    ("resource", "free"),
    [
        ("810102 82023000 83020800", 12288),
        ("810102 820400012345", 0x12345),
        ("810102 8302ffff", None),
        ("00", None),
        ("", None),
    ],
)
def test_free_memory_is_told_or_unknown(resource: str, free: int | None) -> None:
    assert es10.parse_euicc_info2(info2(resource=resource)).free_memory == free


def test_a_memory_told_twice_is_malformed() -> None:
    with pytest.raises(Malformed, match="84 occurs twice"):
        es10.parse_euicc_info2(info2(more="840482023000"))


def test_infos_of_unusual_size_are_read_alike() -> None:
    known = wrap(0xA9, *(wrap(0x04, bytes((n,)) * 20) for n in range(40)))
    info = es10.parse_euicc_info1(wrap(0xBF20, bytes.fromhex("8203020500"), known, wrap(0xAA)))
    assert len(info.ci_for_verification) == 40
    assert es10.parse_euicc_info2(info2(more="df7f820200" + "00" * 512)) == es10.parse_euicc_info2(info2())


def test_members_of_later_versions_are_skipped() -> None:
    newer = es10.parse_euicc_info2(info2(more="900100 b1020400 930103 bf320101"))
    assert newer.svn == (2, 5, 0)


def test_an_absent_and_an_empty_matching_id_are_told_apart() -> None:
    assert authentication(device()).matching_id is None
    assert authentication(wrap(0x80, b"") + device()).matching_id == ""
    assert authentication(wrap(0x80, b"ab c") + device()).matching_id == "ab c"


def test_tac_and_imei_are_telephony_bcd() -> None:
    info = authentication(device(imei="539206111234567f")).device_info
    assert info == es10.DeviceInfo(tac="35296011", imei="352960112143657", capabilities=bytes.fromhex("8003050000"))


def test_an_imei_of_earlier_versions_has_its_filler_first() -> None:
    assert authentication(device(imei="53920611123456f7")).device_info.imei == "352960112143657"


def test_an_empty_hash_of_the_confirmation_code_is_no_absent_one() -> None:
    assert download(b"").hash_cc is None
    assert download(wrap(0x04)).hash_cc == b""


def test_a_hash_of_other_length_is_malformed() -> None:
    with pytest.raises(Malformed, match="32"):
        download(wrap(0x04, bytes(20)))


def test_the_hash_of_the_confirmation_code_is_not_shown() -> None:
    assert "secret" not in repr(download(wrap(0x04, b"secret" + bytes(26))))


def test_a_sequence_number_of_zero_is_legal() -> None:
    assert installation_failure("0780", "800105 81010a").seq_number == 0


def test_reasons_of_later_versions_stay_numbers() -> None:
    result = installation_failure("0780", "800109 810163").result
    assert result == es10.InstallationError(command_id=9, reason=99, sima_response=None)


def test_events_without_a_name_are_kept() -> None:
    assert installation_failure("0388", "800105 81010a").events == es10.NotificationEvent.INSTALL | 16


def test_named_values_are_those_of_the_module() -> None:
    assert es10.CancelReason(5).name == "LOAD_BPP_EXECUTION_ERROR"
    assert es10.BppCommand(2).name == "STORE_METADATA"
    assert es10.BppCommand(5).name == "LOAD_PROFILE_ELEMENTS"
    assert es10.InstallationReason(2).name == "INVALID_SIGNATURE"
    assert es10.InstallationReason(9).name == "ICCID_ALREADY_EXISTS_ON_EUICC"


def test_a_required_confirmation_code_is_der_true() -> None:
    transaction_id = download(b"").transaction_id
    built = es10.smdp_signed2(
        transaction_id=transaction_id, confirmation_code_required=True, bpp_euicc_otpk=b"\x04" + bytes(64)
    )
    assert built == wrap(0x30, TRANSACTION_ID, b"\x01\x01\xff", wrap(0x5F49, b"\x04" + bytes(64)))


def test_signature_inputs_join_the_signed_part_and_the_others_signature() -> None:
    assert es10.smdp_signature2_input(b"signed2", SIGNATURE) == b"signed2" + SIGNATURE
    assert es10.euicc_signature2_input(b"signed2", SIGNATURE) == b"signed2" + SIGNATURE

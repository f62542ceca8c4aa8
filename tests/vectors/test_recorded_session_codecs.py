"""One recorded ES9+ session of an independent implementation: every message reads, and what we build has its bytes."""

from pathlib import Path

import pytest

from rsp import es8plus, es10, tlv
from rsp.identifiers import Iccid, TransactionId
from rsp.tlv import Tlv

SESSION = Path(__file__).parents[3] / "shared" / "data" / "session"

pytestmark = pytest.mark.skipif(not SESSION.is_dir(), reason=f"the recorded session is not at {SESSION}")

ADDRESS = "smdp.example.com"


def recorded(name: str) -> bytes:
    return (SESSION / name).read_bytes()


@pytest.fixture
def transaction_id() -> TransactionId:
    """The id the server gave the session, from its first answer."""
    answer = tlv.read_only(recorded("initiate-response.der"), 0x30)
    return TransactionId(next(answer.children()).value)


@pytest.fixture
def authentication() -> es10.AuthenticateServerOk:
    answer = es10.parse_authenticate_server_response(recorded("auth-server-response.der"))
    assert isinstance(answer, es10.AuthenticateServerOk)
    return answer


@pytest.fixture
def package() -> Tlv:
    return tlv.read_only(recorded("bound-profile-package.der"), 0xBF36)


def test_euicc_info1_reads() -> None:
    info = es10.parse_euicc_info1(recorded("euicc-info1.der"))
    assert info == es10.EuiccInfo1(svn=(2, 0, 0), ci_for_verification=(), ci_for_signing=())


def test_server_signed1_has_the_recorded_bytes(transaction_id: TransactionId) -> None:
    built = es10.server_signed1(
        transaction_id=transaction_id,
        euicc_challenge=recorded("euicc-challenge.bin"),
        server_address=ADDRESS,
        server_challenge=recorded("server-challenge.bin"),
    )
    answer = list(tlv.read_only(recorded("initiate-response.der"), 0x30).children())
    assert built == answer[1].raw


def test_a_signature_object_has_the_recorded_bytes() -> None:
    answer = list(tlv.read_only(recorded("initiate-response.der"), 0x30).children())
    assert es10.signature_object(answer[2].value) == answer[2].raw


def test_the_authentication_of_the_euicc_reads(
    authentication: es10.AuthenticateServerOk, transaction_id: TransactionId
) -> None:
    assert authentication.transaction_id == transaction_id
    assert authentication.server_challenge == recorded("server-challenge.bin")
    assert authentication.server_address == ADDRESS
    assert authentication.matching_id is None
    assert authentication.device_info == es10.DeviceInfo(tac="00000000", imei=None, capabilities=b"")


def test_the_signed_parts_are_the_received_bytes(authentication: es10.AuthenticateServerOk) -> None:
    sent = recorded("auth-server-response.der")
    parts = (
        authentication.signed,
        authentication.signature_tlv,
        authentication.euicc_certificate,
        authentication.eum_certificate,
    )
    assert sent.endswith(b"".join(parts))
    assert authentication.signature_tlv.endswith(authentication.signature)
    assert authentication.euicc_info2 in authentication.signed


def test_euicc_info2_reads(authentication: es10.AuthenticateServerOk) -> None:
    info = es10.parse_euicc_info2(authentication.euicc_info2)
    assert (info.profile_version, info.svn, info.firmware) == ((2, 2, 0), (2, 2, 0), (1, 0, 0))
    assert info.free_memory is None
    assert info.uicc_capability == info.rsp_capability == frozenset()


def test_smdp_signed2_has_the_recorded_bytes(transaction_id: TransactionId) -> None:
    built = es10.smdp_signed2(transaction_id=transaction_id, confirmation_code_required=False, bpp_euicc_otpk=None)
    answer = next(tlv.read_only(recorded("authenticate-response.der"), 0xBF3B).children())
    assert built == list(answer.children())[2].raw


def test_the_download_response_reads(transaction_id: TransactionId) -> None:
    answer = es10.parse_prepare_download_response(recorded("prepare-download-response.der"))
    assert isinstance(answer, es10.PrepareDownloadOk)
    assert answer.transaction_id == transaction_id
    assert answer.euicc_otpk[0] == 0x04
    assert answer.hash_cc is None
    assert recorded("prepare-download-response.der").endswith(answer.signed + answer.signature_tlv)


def test_the_installation_result_reads(transaction_id: TransactionId) -> None:
    result = es10.parse_pending_notification(recorded("pending-notification.der"))
    assert isinstance(result, es10.ProfileInstallationResult)
    assert result.transaction_id == transaction_id
    assert result.seq_number == 1
    assert result.events == es10.NotificationEvent.INSTALL
    assert result.notification_address == ADDRESS
    assert result.iccid == Iccid("89000123456789012341")
    assert result.smdp_oid == "2.999"
    assert isinstance(result.result, es10.Installed)
    assert result.result.aid.hex() == "a0000005591010ffffffff8900001100"
    assert recorded("pending-notification.der").endswith(result.signed + es10.signature_object(result.signature))


def test_the_bound_profile_package_has_the_recorded_bytes(package: Tlv, transaction_id: TransactionId) -> None:
    opening, first87, segments88, segments86 = package.children()
    members = opening.members()
    bf23 = es8plus.initialise_secure_channel(
        transaction_id=transaction_id,
        host_id=members[0xA6].members()[0x84].value,
        smdp_otpk=members[0x5F49].value,
        smdp_sign=members[0x5F37].value,
    )
    built = es8plus.bound_profile_package(
        bf23=bf23,
        first87=first87.value,
        segments88=segments88.value,
        second87=b"",
        segments86=segments86.value,
    )
    assert built == package.raw


def test_what_is_signed_into_the_package_is_its_opening(package: Tlv, transaction_id: TransactionId) -> None:
    opening = next(package.children())
    members = opening.members()
    answer = es10.parse_prepare_download_response(recorded("prepare-download-response.der"))
    assert isinstance(answer, es10.PrepareDownloadOk)
    signed = es8plus.initialise_secure_channel_signed_part(
        transaction_id=transaction_id,
        host_id=members[0xA6].members()[0x84].value,
        smdp_otpk=members[0x5F49].value,
        euicc_otpk=answer.euicc_otpk,
    )
    assert signed == b"".join(members[tag].raw for tag in (0x82, 0x80, 0xA6, 0x5F49)) + tlv.wrap(
        0x5F49, answer.euicc_otpk
    )

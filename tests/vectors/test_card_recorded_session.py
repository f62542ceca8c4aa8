"""The card's own mathematics against a complete session that an independent implementation recorded."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from rsp import tlv
from rsp.identifiers import Eid, Iccid
from simulator import ecc, metadata, server_certificates
from simulator.bpp_segments import split_bound_profile_package
from simulator.card import Card
from simulator.credentials import CardCredentials
from simulator.secure_messaging import SecureChannel, SegmentForged, derive_session_keys

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the folder ../shared/data with the recorded session is absent"
)

NOW = datetime(2026, 8, 9, tzinfo=UTC)
EID = Eid("89049032123451234512345678901235")
CI_KEY_ID = bytes.fromhex("F54172BDF98A95D65CBEB88A38A1C11D800A85C3")


def recorded(name: str) -> bytes:
    return (DATA / "session" / name).read_bytes()


def certificate(path: str) -> bytes:
    return (DATA / "sgp26" / path).read_bytes()


def ci() -> bytes:
    return certificate("CertificateIssuer/CERT_CI_ECDSA_NIST.der")


def key_of(der: bytes) -> ec.EllipticCurvePublicKey:
    key = x509.load_der_x509_certificate(der).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def binding_certificate() -> bytes:
    return list(next(tlv.read(recorded("authenticate-response.der")).children()).children())[4].raw


def euicc_point() -> tlv.Tlv:
    ok = next(tlv.read(recorded("prepare-download-response.der")).children())
    return next(ok.children()).members()[0x5F49]


def channel() -> SecureChannel:
    """Keys from the recorded server secret and the card's public point: ECDH is the same from both ends."""
    secret_key = ec.derive_private_key(int.from_bytes(recorded("otsk-dp.bin"), "big"), ec.SECP256R1())
    secret = ecc.shared_secret(secret_key, euicc_point())
    template = tlv.read(recorded("bound-profile-package.der")).members()[0xBF23].members()[0xA6]
    return SecureChannel(derive_session_keys(secret, template.members()[0x84].value, EID.to_bytes()))


def test_the_server_certificate_passes_the_cards_checks() -> None:
    der = list(tlv.read(recorded("initiate-response.der")).children())[4].raw
    roles = (server_certificates.ROLE_DP_AUTH,)
    found = server_certificates.check(der, roles=roles, trusted={CI_KEY_ID: ci()}, now=NOW)
    assert (found.owner_oid, found.ci_key_id) == ("2.999.10", CI_KEY_ID)


def test_server_signature_1_verifies() -> None:
    _, signed, signature, _, der = tlv.read(recorded("initiate-response.der")).children()
    ecc.verify(key_of(der.raw), signature, signed.raw)


def test_euicc_signature_1_verifies() -> None:
    signed, signature, euicc, _ = next(tlv.read(recorded("auth-server-response.der")).children()).children()
    ecc.verify(key_of(euicc.raw), signature, signed.raw)


def test_server_signature_2_covers_the_cards_signature() -> None:
    ok = next(tlv.read(recorded("auth-server-response.der")).children())
    signature1 = list(ok.children())[1].raw
    _, _, signed, signature, der = next(tlv.read(recorded("authenticate-response.der")).children()).children()
    ecc.verify(key_of(der.raw), signature, signed.raw, signature1)


def test_euicc_signature_2_covers_the_servers_signature() -> None:
    euicc = list(next(tlv.read(recorded("auth-server-response.der")).children()).children())[2].raw
    signature2 = list(next(tlv.read(recorded("authenticate-response.der")).children()).children())[3].raw
    signed, signature = next(tlv.read(recorded("prepare-download-response.der")).children()).children()
    ecc.verify(key_of(euicc), signature, signed.raw, signature2)


def test_the_signature_of_the_secure_channel_covers_the_cards_one_time_key() -> None:
    request = tlv.read(recorded("bound-profile-package.der")).members()[0xBF23]
    signature = request.members()[0x5F37]
    signed = request.data[request.value_start : signature.start]
    ecc.verify(key_of(binding_certificate()), signature, signed, euicc_point().raw)


def test_the_package_decrypts_to_the_recorded_profile() -> None:
    package = tlv.read(recorded("bound-profile-package.der")).members()
    opened = channel()
    configuration = b"".join(opened.open_encrypted(segment) for segment in package[0xA0].children())
    stored = b"".join(opened.open_plain(segment) for segment in package[0xA1].children())
    profile = b"".join(opened.open_encrypted(segment) for segment in package[0xA3].children())
    assert tlv.read(configuration).tag == 0xBF24
    assert stored == recorded("store-metadata.der")
    assert profile == recorded("upp.der")


def test_a_changed_segment_fails_its_mac() -> None:
    package = bytearray(recorded("bound-profile-package.der"))
    segment = next(tlv.read(bytes(package)).members()[0xA0].children())
    package[segment.value_start] ^= 1
    with pytest.raises(SegmentForged):
        channel().open_encrypted(next(tlv.read(bytes(package)).members()[0xA0].children()))


def test_the_metadata_is_read() -> None:
    assert metadata.parse(recorded("store-metadata.der")).iccid == Iccid("89000123456789012341")


def test_the_notification_verifies_over_its_signed_part() -> None:
    euicc = list(next(tlv.read(recorded("auth-server-response.der")).children()).children())[2].raw
    data, signature = tlv.read(recorded("pending-notification.der")).children()
    ecc.verify(key_of(euicc), signature, data.raw)


def test_the_pieces_of_the_package_join_to_it_again() -> None:
    package = recorded("bound-profile-package.der")
    pieces = split_bound_profile_package(package)
    assert b"".join(pieces) == package
    assert [piece[0] for piece in pieces] == [0xBF, 0xA0, 0xA1, 0x88, 0xA3, 0x86]


def test_the_card_accepts_the_recorded_server_message() -> None:
    challenge = recorded("euicc-challenge.bin")
    card = Card(EID, [sgp26_credentials()], random=lambda count: challenge[:count], now=lambda: NOW)
    card.get_euicc_challenge()
    _, *parts = (part.raw for part in tlv.read(recorded("initiate-response.der")).children())
    signed1 = next(next(tlv.read(recorded("auth-server-response.der")).children()).children())
    context = signed1.members()[0xA0].raw
    answer = card.authenticate_server(tlv.wrap(0xBF38, *parts, context))
    assert next(tlv.read(answer).children()).tag == 0xA0, card.last_fault


def sgp26_credentials() -> CardCredentials:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(certificate("eUICC/SK_EUICC_ECDSA_NIST.pem"), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return CardCredentials(
        euicc_certificate=certificate("eUICC/CERT_EUICC_ECDSA_NIST.der"),
        eum_certificate=certificate("EUM/CERT_EUM_ECDSA_NIST.der"),
        ci_certificates=(ci(),),
        private_key=key,
    )

"""A recorded ES9+ session of an independent implementation: keys, segments and signatures made from its inputs agree.

The recordings and their inputs are described in the README beside them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from crypto import signatures
from crypto.agreement import OneTimeKey, SessionKeys, derive_session_keys
from crypto.bsp import BadMac, Bsp
from crypto.certificates import EuiccIdentity, Role, TrustStore, parse_certificate
from crypto.curves import Curve
from rsp import tlv

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SESSION = DATA / "session"
NOW = datetime(2026, 11, 22, tzinfo=UTC)

pytestmark = pytest.mark.skipif(not SESSION.is_dir(), reason="the recorded session is not on this machine")


def recorded(name: str) -> bytes:
    return (SESSION / name).read_bytes()


def member(parent: tlv.Tlv, *tags: int) -> tlv.Tlv:
    for tag in tags:
        parent = parent.members()[tag]
    return parent


@pytest.fixture
def package() -> tlv.Tlv:
    return tlv.read_only(recorded("bound-profile-package.der"), 0xBF36)


@pytest.fixture
def prepared() -> list[tlv.Tlv]:
    return list(member(tlv.read_only(recorded("prepare-download-response.der"), 0xBF21), 0xA0).children())


@pytest.fixture
def authenticated() -> list[tlv.Tlv]:
    return list(member(tlv.read_only(recorded("auth-server-response.der"), 0xBF38), 0xA0).children())


@pytest.fixture
def card(authenticated: list[tlv.Tlv]) -> EuiccIdentity:
    store = TrustStore([(DATA / "sgp26/CertificateIssuer/CERT_CI_ECDSA_NIST.der").read_bytes()])
    return store.verify_euicc(authenticated[3].raw, authenticated[2].raw, NOW)


@pytest.fixture
def our_key() -> OneTimeKey:
    return OneTimeKey.from_bytes(Curve.P256, recorded("otsk-dp.bin"))


@pytest.fixture
def keys(package: tlv.Tlv, prepared: list[tlv.Tlv], our_key: OneTimeKey, card: EuiccIdentity) -> SessionKeys:
    peer_public = member(prepared[0], 0x5F49).value
    host_id = member(package, 0xBF23, 0xA6, 0x84).value
    return derive_session_keys(our_key, peer_public, host_id, bytes.fromhex(card.eid))


def joined(package: tlv.Tlv, tag: int) -> bytes:
    return member(package, tag).value


def test_recorded_chain_leads_to_the_card(card: EuiccIdentity) -> None:
    assert card.eid == "89049032123451234512345678901235"


def test_stored_one_time_key_gives_the_recorded_public_key(package: tlv.Tlv, our_key: OneTimeKey) -> None:
    assert member(package, 0xBF23, 0x5F49).value == our_key.public


def test_package_opens_to_the_profile(package: tlv.Tlv, keys: SessionKeys) -> None:
    bsp = Bsp(keys)
    configured = bsp.decrypt_and_verify(0x87, joined(package, 0xA0))
    metadata = bsp.verify_only(0x88, joined(package, 0xA1))
    profile = bsp.decrypt_and_verify(0x86, joined(package, 0xA3))
    assert tlv.read(configured).tag == 0xBF24
    assert metadata == recorded("store-metadata.der")
    assert profile == recorded("upp.der")


def test_same_inputs_give_the_same_segments(package: tlv.Tlv, keys: SessionKeys) -> None:
    configured = Bsp(keys).decrypt_and_verify(0x87, joined(package, 0xA0))
    bsp = Bsp(keys)
    assert bsp.encrypt_and_mac(0x87, configured) == joined(package, 0xA0)
    assert bsp.mac_only(0x88, recorded("store-metadata.der")) == joined(package, 0xA1)
    assert bsp.encrypt_and_mac(0x86, recorded("upp.der")) == joined(package, 0xA3)


def test_segments_of_another_order_are_refused(package: tlv.Tlv, keys: SessionKeys) -> None:
    with pytest.raises(BadMac):
        Bsp(keys).verify_only(0x88, joined(package, 0xA1))


def test_server_signature_1_verifies() -> None:
    members = list(tlv.read_only(recorded("initiate-response.der"), 0x30).children())
    certificate = parse_certificate(members[4].raw)
    assert certificate.roles == {Role.DP_AUTH}
    signatures.verify(certificate.public_key, members[2].value, members[1].raw)


def test_euicc_signature_1_verifies(authenticated: list[tlv.Tlv], card: EuiccIdentity) -> None:
    signatures.verify(card.public_key, authenticated[1].value, authenticated[0].raw)


def test_smdp_signature_2_verifies_over_euicc_signature_1(authenticated: list[tlv.Tlv]) -> None:
    answer = list(member(tlv.read_only(recorded("authenticate-response.der"), 0xBF3B), 0xA0).children())
    certificate = parse_certificate(answer[4].raw)
    signatures.verify(certificate.public_key, answer[3].value, answer[2].raw + authenticated[1].raw)


def test_euicc_signature_2_verifies_over_smdp_signature_2(prepared: list[tlv.Tlv], card: EuiccIdentity) -> None:
    answer = list(member(tlv.read_only(recorded("authenticate-response.der"), 0xBF3B), 0xA0).children())
    signatures.verify(card.public_key, prepared[1].value, prepared[0].raw + answer[3].raw)


def test_smdp_sign_verifies_over_both_one_time_keys(package: tlv.Tlv, prepared: list[tlv.Tlv]) -> None:
    answer = list(member(tlv.read_only(recorded("authenticate-response.der"), 0xBF3B), 0xA0).children())
    *signed, signature = member(package, 0xBF23).children()
    data = b"".join(part.raw for part in signed) + member(prepared[0], 0x5F49).raw
    signatures.verify(parse_certificate(answer[4].raw).public_key, signature.value, data)


def test_profile_installation_result_verifies(card: EuiccIdentity) -> None:
    result, signature = tlv.read_only(recorded("pending-notification.der"), 0xBF37).children()
    signatures.verify(card.public_key, signature.value, result.raw)

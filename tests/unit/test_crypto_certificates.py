"""Reading RSP certificates and judging chains: each defect has its own fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import crypto_pki as pki
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.certificates import BadCertificate, CertificateRejected, Fault, Role, TrustStore, parse_certificate
from crypto.curves import Curve

SGP26 = Path(__file__).resolve().parents[3] / "shared" / "data" / "sgp26"
needs_sgp26 = pytest.mark.skipif(not SGP26.is_dir(), reason="the SGP.26 test certificates are not on this machine")
NOW = pki.NOW
LONG_AGO = datetime(2021, 1, 1, tzinfo=UTC)

CI = pki.issue(pki.CI)
EUM = pki.issue(pki.EUM, CI)
EUICC = pki.issue(pki.EUICC, EUM)
STRANGER = pki.issue(pki.CI)


@pytest.fixture
def store() -> TrustStore:
    return TrustStore([CI.der])


def fault_of(store: TrustStore, eum: bytes, euicc: bytes, now: datetime = NOW) -> Fault:
    with pytest.raises(CertificateRejected) as caught:
        store.verify_euicc(eum, euicc, now)
    assert caught.value.detail
    return caught.value.fault


def flipped_last_byte(der: bytes) -> bytes:
    return der[:-1] + bytes((der[-1] ^ 1,))


OTHER_CURVE = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030177")


def test_of_an_unreadable_certificate_issuer_and_dates_are_judged_first(store: TrustStore) -> None:
    """Of a curve nobody knows, for example."""
    late = NOW + timedelta(days=100_000)
    stranger = pki.issue(pki.EUM, STRANGER).der.replace(*OTHER_CURVE)
    assert fault_of(store, stranger, EUICC.der) is Fault.CI_UNKNOWN
    eum, euicc = EUM.der.replace(*OTHER_CURVE), EUICC.der.replace(*OTHER_CURVE)
    brief = pki.issue(replace(pki.EUM, not_after=LONG_AGO), CI).der.replace(*OTHER_CURVE)
    assert fault_of(store, brief, EUICC.der) is Fault.EUM_EXPIRED
    assert fault_of(store, eum, EUICC.der) is Fault.EUM_INVALID
    old = pki.issue(replace(pki.EUICC, not_after=LONG_AGO), EUM).der.replace(*OTHER_CURVE)
    assert fault_of(store, EUM.der, old) is Fault.EUICC_EXPIRED
    assert fault_of(store, EUM.der, euicc) is Fault.EUICC_INVALID
    assert fault_of(store, b"\x30\x00", EUICC.der) is Fault.EUM_INVALID
    assert fault_of(store, EUM.der, EUICC.der, late) is Fault.CI_UNKNOWN


def test_good_chain_gives_the_identity_of_the_card(store: TrustStore) -> None:
    identity = store.verify_euicc(EUM.der, EUICC.der, NOW)
    assert identity.eid == pki.EID
    assert identity.public_key == EUICC.key.public_key()
    assert identity.ci_key_id == store.key_ids[0] == parse_certificate(CI.der).subject_key_id
    assert identity.eum_key_id == parse_certificate(EUM.der).subject_key_id
    assert identity.curve is Curve.P256


@needs_sgp26
@pytest.mark.parametrize(("name", "curve"), [("NIST", Curve.P256), ("BRP", Curve.BRAINPOOL_P256R1)])
def test_sgp26_chain_is_trusted(name: str, curve: Curve) -> None:
    store = TrustStore(path.read_bytes() for path in sorted((SGP26 / "CertificateIssuer").glob("*.der")))
    eum = (SGP26 / f"EUM/CERT_EUM_ECDSA_{name}.der").read_bytes()
    euicc = (SGP26 / f"eUICC/CERT_EUICC_ECDSA_{name}.der").read_bytes()
    identity = store.verify_euicc(eum, euicc, NOW)
    assert (identity.eid, identity.curve) == ("89049032123451234512345678901235", curve)


@needs_sgp26
def test_sgp26_chains_of_two_curves_do_not_mix() -> None:
    store = TrustStore(path.read_bytes() for path in sorted((SGP26 / "CertificateIssuer").glob("*.der")))
    eum = (SGP26 / "EUM/CERT_EUM_ECDSA_NIST.der").read_bytes()
    euicc = (SGP26 / "eUICC/CERT_EUICC_ECDSA_BRP.der").read_bytes()
    assert fault_of(store, eum, euicc) is Fault.EUICC_INVALID


@needs_sgp26
@pytest.mark.parametrize("name", ["NIST", "BRP"])
@pytest.mark.parametrize(("file", "role"), [("auth", Role.DP_AUTH), ("pb", Role.DP_PB)])
def test_sgp26_server_certificates_are_trusted(name: str, file: str, role: Role) -> None:
    store = TrustStore([(SGP26 / f"CertificateIssuer/CERT_CI_ECDSA_{name}.der").read_bytes()])
    der = (SGP26 / f"DP{file}/CERT_S_SM_DP{file}_ECDSA_{name}.der").read_bytes()
    assert store.verify_server_certificate(der, role, NOW).oid == "2.999.10"


@needs_sgp26
def test_sgp26_key_ids_are_the_published_ones() -> None:
    store = TrustStore(path.read_bytes() for path in sorted((SGP26 / "CertificateIssuer").glob("*.der")))
    assert {key_id.hex().upper() for key_id in store.key_ids} == {
        "F54172BDF98A95D65CBEB88A38A1C11D800A85C3",
        "C0BC70BA36929D43B467FF57570530E57AB8FCD8",
    }


@needs_sgp26
def test_sgp26_eum_constraint_is_read() -> None:
    eum = parse_certificate((SGP26 / "EUM/CERT_EUM_ECDSA_NIST.der").read_bytes())
    assert (eum.iin_prefixes, eum.permitted_names[0].organization) == (("89049032",), "RSP Test EUM")
    assert (eum.is_ca, eum.path_length, eum.oid) == (True, 0, "2.999.5")


EUM_DEFECTS: dict[str, pki.Plan] = {
    "wrong role": replace(pki.EUM, role=pki.ROLE + "1"),
    "no CA flag": replace(pki.EUM, ca=False),
    "no keyCertSign": replace(pki.EUM, cert_sign=False, digital_signature=True),
    "no name constraints": replace(pki.EUM, permitted=()),
    "constraint without issuer number": replace(pki.EUM, permitted=(("Test EUM", ""),)),
    "issuer number of letters": replace(pki.EUM, permitted=(("Test EUM", "89ABC"),)),
    "excluded names": replace(pki.EUM, excluded=(("Other", "8904"),)),
    "unknown critical extension": replace(pki.EUM, unknown_critical=True),
    "other curve than its CI": replace(pki.EUM, curve=ec.BrainpoolP256R1()),
    "unsupported curve": replace(pki.EUM, curve=ec.SECP384R1()),
    "other digest": replace(pki.EUM, digest=hashes.SHA384()),
}


@pytest.mark.parametrize("defect", EUM_DEFECTS)
def test_defective_eum_is_the_eums_fault(store: TrustStore, defect: str) -> None:
    eum = pki.issue(EUM_DEFECTS[defect], CI)
    euicc = pki.issue(replace(pki.EUICC, curve=eum.key.curve), eum)
    assert fault_of(store, eum.der, euicc.der) is Fault.EUM_INVALID


EUICC_DEFECTS: dict[str, pki.Plan] = {
    "wrong role": replace(pki.EUICC, role=pki.ROLE + "2"),
    "CA flag": replace(pki.EUICC, ca=True),
    "no digitalSignature": replace(pki.EUICC, digital_signature=False),
    "issuer number out of range": replace(pki.EUICC, serial_number="89049033000000000000000000000070"),
    "other organization": replace(pki.EUICC, organization="Another EUM"),
    "no organization": replace(pki.EUICC, organization=""),
    "no EID": replace(pki.EUICC, serial_number=""),
    "short EID": replace(pki.EUICC, serial_number=pki.EID[:-1]),
    "EID with letters": replace(pki.EUICC, serial_number=pki.EID[:-1] + "A"),
    "other curve than its EUM": replace(pki.EUICC, curve=ec.BrainpoolP256R1()),
    "unknown critical extension": replace(pki.EUICC, unknown_critical=True),
    "two EIDs": replace(pki.EUICC, second_serial_number=pki.EID),
}


@pytest.mark.parametrize("defect", EUICC_DEFECTS)
def test_defective_euicc_is_the_cards_fault(store: TrustStore, defect: str) -> None:
    assert fault_of(store, EUM.der, pki.issue(EUICC_DEFECTS[defect], EUM).der) is Fault.EUICC_INVALID


@pytest.mark.parametrize(
    ("plan", "detail"),
    [
        (replace(pki.EUICC, organization="Another EUM"), "organization 'Another EUM'"),
        (replace(pki.EUICC, serial_number="89049033000000000000000000000070"), "issuer numbers"),
        (replace(pki.EUICC, digest=hashes.SHA384()), "ECDSA and SHA-256"),
    ],
)
def test_detail_names_the_defect(store: TrustStore, plan: pki.Plan, detail: str) -> None:
    with pytest.raises(CertificateRejected, match=detail):
        store.verify_euicc(EUM.der, pki.issue(plan, EUM).der, NOW)


def test_organization_and_issuer_number_must_come_from_one_constraint(store: TrustStore) -> None:
    eum = pki.issue(replace(pki.EUM, permitted=(("Test EUM", "89033"), ("Another EUM", "89049032"))), CI)
    assert fault_of(store, eum.der, pki.issue(pki.EUICC, eum).der) is Fault.EUICC_INVALID


def test_second_constraint_counts_too(store: TrustStore) -> None:
    eum = pki.issue(replace(pki.EUM, permitted=(("Test EUM", "89033"), ("test  eum", "89049032"))), CI)
    assert store.verify_euicc(eum.der, pki.issue(pki.EUICC, eum).der, NOW).eid == pki.EID


def test_foreign_ci_is_named_before_any_other_fault(store: TrustStore) -> None:
    eum = pki.issue(replace(pki.EUM, role=pki.ROLE + "1", not_after=LONG_AGO), STRANGER)
    assert fault_of(store, eum.der, b"") is Fault.CI_UNKNOWN


def test_expired_ci_is_not_trusted() -> None:
    old = pki.issue(replace(pki.CI, not_after=LONG_AGO))
    eum = pki.issue(pki.EUM, old)
    assert fault_of(TrustStore([old.der]), eum.der, pki.issue(pki.EUICC, eum).der) is Fault.CI_UNKNOWN


def test_expired_eum_is_named_before_its_other_faults(store: TrustStore) -> None:
    eum = pki.issue(replace(pki.EUM, role=pki.ROLE + "1", not_after=LONG_AGO), CI, signer=STRANGER)
    assert fault_of(store, eum.der, b"") is Fault.EUM_EXPIRED


def test_eum_not_yet_valid_is_refused_as_expired(store: TrustStore) -> None:
    eum = pki.issue(replace(pki.EUM, not_before=NOW + timedelta(days=1)), CI)
    assert fault_of(store, eum.der, EUICC.der) is Fault.EUM_EXPIRED


def test_expired_euicc_is_named_before_its_other_faults(store: TrustStore) -> None:
    euicc = pki.issue(replace(pki.EUICC, organization="Another EUM", not_after=LONG_AGO), EUM, signer=STRANGER)
    assert fault_of(store, EUM.der, euicc.der) is Fault.EUICC_EXPIRED


def test_bad_eum_is_named_before_an_expired_euicc(store: TrustStore) -> None:
    euicc = pki.issue(replace(pki.EUICC, not_after=LONG_AGO), EUM)
    assert fault_of(store, flipped_last_byte(EUM.der), euicc.der) is Fault.EUM_INVALID


def test_eum_signed_by_somebody_else_is_refused(store: TrustStore) -> None:
    assert fault_of(store, pki.issue(pki.EUM, CI, signer=STRANGER).der, EUICC.der) is Fault.EUM_INVALID


def test_euicc_signed_by_somebody_else_is_refused(store: TrustStore) -> None:
    assert fault_of(store, EUM.der, pki.issue(pki.EUICC, EUM, signer=STRANGER).der) is Fault.EUICC_INVALID


def test_euicc_that_names_another_eum_is_refused(store: TrustStore) -> None:
    other = pki.issue(pki.EUM, CI)
    assert fault_of(store, EUM.der, pki.issue(pki.EUICC, other, signer=EUM).der) is Fault.EUICC_INVALID


def test_tampered_euicc_is_refused_after_the_good_one_was_remembered(store: TrustStore) -> None:
    store.verify_euicc(EUM.der, EUICC.der, NOW)
    tampered = EUICC.der.replace(pki.EID.encode(), pki.EID[:-1].encode() + b"1")
    assert tampered != EUICC.der
    assert fault_of(store, EUM.der, tampered) is Fault.EUICC_INVALID


@pytest.mark.parametrize("garbage", [b"", b"\x30\x03\x02\x01", bytes(9000)])
def test_unreadable_certificates_are_the_fault_of_their_holder(store: TrustStore, garbage: bytes) -> None:
    assert fault_of(store, garbage, EUICC.der) is Fault.EUM_INVALID
    assert fault_of(store, EUM.der, garbage) is Fault.EUICC_INVALID


def test_dates_are_judged_again_for_a_remembered_chain(store: TrustStore) -> None:
    brief = pki.issue(replace(pki.EUICC, not_after=NOW + timedelta(hours=1)), EUM)
    store.verify_euicc(EUM.der, brief.der, NOW)
    assert fault_of(store, EUM.der, brief.der, NOW + timedelta(hours=2)) is Fault.EUICC_EXPIRED
    assert store.verify_euicc(EUM.der, brief.der, NOW + timedelta(hours=1)).eid == pki.EID


def test_one_store_does_not_remember_for_another(store: TrustStore) -> None:
    store.verify_euicc(EUM.der, EUICC.der, NOW)
    assert fault_of(TrustStore([STRANGER.der]), EUM.der, EUICC.der) is Fault.CI_UNKNOWN


@pytest.mark.parametrize(
    "plan",
    [replace(pki.CI, role=pki.ROLE + "2"), replace(pki.CI, ca=False), replace(pki.CI, cert_sign=False)],
    ids=["role", "CA flag", "keyCertSign"],
)
def test_certificate_that_is_no_ci_is_not_taken_as_an_anchor(plan: pki.Plan) -> None:
    with pytest.raises(BadCertificate):
        TrustStore([pki.issue(plan).der])


def test_ci_that_does_not_sign_itself_is_not_taken_as_an_anchor() -> None:
    with pytest.raises(BadCertificate, match="signature"):
        TrustStore([pki.issue(pki.CI, CI, signer=STRANGER).der])


@pytest.mark.parametrize("newer_first", [False, True])
def test_renewed_ci_takes_the_place_of_the_old_one(newer_first: bool) -> None:
    old = pki.issue(replace(pki.CI, not_after=LONG_AGO))
    new = pki.issue(pki.CI, key=old.key)
    eum = pki.issue(pki.EUM, old)
    store = TrustStore([new.der, old.der] if newer_first else [old.der, new.der])
    assert len(store.key_ids) == 1
    assert store.verify_euicc(eum.der, pki.issue(pki.EUICC, eum).der, NOW).eid == pki.EID


def test_two_ci_keys_with_one_key_id_are_refused() -> None:
    same_id = replace(pki.CI, subject_key_id=parse_certificate(CI.der).subject_key_id)
    with pytest.raises(BadCertificate, match="two CI certificates"):
        TrustStore([CI.der, pki.issue(same_id).der])


def test_certificate_longer_than_the_limit_is_refused() -> None:
    names = tuple((f"Organization {number}", "8904") for number in range(300))
    with pytest.raises(BadCertificate, match="8192"):
        parse_certificate(pki.issue(replace(pki.EUM, permitted=names), CI).der)


def test_second_registered_id_is_refused() -> None:
    with pytest.raises(BadCertificate, match="registered id"):
        parse_certificate(pki.issue(replace(pki.DP_AUTH, second_oid="2.999.11"), CI).der)


def test_dp_auth_certificate_is_read_in_full(store: TrustStore) -> None:
    der = pki.issue(pki.DP_AUTH, CI).der
    certificate = store.verify_server_certificate(der, Role.DP_AUTH, NOW)
    assert (certificate.oid, certificate.der) == ("2.999.10", der)
    assert certificate.roles == {Role.DP_AUTH}
    assert (certificate.organization, certificate.dns_names, certificate.eid) == ("ACME", (), "")


def test_dp_tls_certificate_names_its_host(store: TrustStore) -> None:
    certificate = store.verify_server_certificate(pki.issue(pki.DP_TLS, CI).der, Role.DP_TLS, NOW)
    assert certificate.dns_names == ("smdp.example.com",)


SERVER_DEFECTS: dict[str, Callable[[], bytes]] = {
    "other role": lambda: pki.issue(replace(pki.DP_AUTH, role=pki.ROLE + "5"), CI).der,
    "expired": lambda: pki.issue(replace(pki.DP_AUTH, not_after=LONG_AGO), CI).der,
    "foreign CI": lambda: pki.issue(pki.DP_AUTH, STRANGER).der,
    "below an EUM": lambda: pki.issue(pki.DP_AUTH, EUM).der,
    "signed by another": lambda: pki.issue(pki.DP_AUTH, CI, signer=STRANGER).der,
    "other curve": lambda: pki.issue(replace(pki.DP_AUTH, curve=ec.BrainpoolP256R1()), CI).der,
    "garbage": lambda: b"garbage",
}


@pytest.mark.parametrize("defect", SERVER_DEFECTS)
def test_defective_server_certificate_is_refused(store: TrustStore, defect: str) -> None:
    with pytest.raises(BadCertificate):
        store.verify_server_certificate(SERVER_DEFECTS[defect](), Role.DP_AUTH, NOW)


def test_tls_certificate_without_server_authentication_is_refused(store: TrustStore) -> None:
    with pytest.raises(BadCertificate, match="serverAuth"):
        store.verify_server_certificate(pki.issue(replace(pki.DP_TLS, tls_server=False), CI).der, Role.DP_TLS, NOW)


@pytest.mark.parametrize("oid", ["2.999", "2.999.10", "2.999.123456789.1", "1.3.6.1.4.1.53457", "2.47.1", "2.48.1"])
def test_registered_id_is_read_as_it_is_written(oid: str) -> None:
    assert parse_certificate(pki.issue(replace(pki.DP_AUTH, oid=oid), CI).der).oid == oid


@pytest.mark.filterwarnings("ignore")  # the library warns of odd values that a later signature check refuses
@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_a_certificate_or_the_declared_error(data: bytes) -> None:
    with pytest.raises(BadCertificate):
        parse_certificate(data)


def test_signature_with_unused_bits_is_refused() -> None:
    """Who cannot sign cannot make a second form of a signed certificate either."""
    while (eum := pki.issue(pki.EUM, CI)).der[-1] & 1:
        pass
    place = eum.der.rindex(b"\x03", 0, eum.der.rindex(b"\x00\x30", 0, len(eum.der) - 60)) + 2
    assert eum.der[place] == 0
    with pytest.raises(CertificateRejected):
        TrustStore([CI.der]).verify_euicc(
            eum.der[:place] + b"\x01" + eum.der[place + 1 :], pki.issue(pki.EUICC, eum).der, NOW
        )


@pytest.mark.filterwarnings("ignore")  # as above
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_altered_eum_never_passes_and_never_crashes(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(EUM.der) - 1))
    change = data.draw(st.integers(1, 255))
    altered = EUM.der[:position] + bytes((EUM.der[position] ^ change,)) + EUM.der[position + 1 :]
    with pytest.raises(CertificateRejected):
        TrustStore([CI.der]).verify_euicc(altered, EUICC.der, NOW)


@pytest.mark.parametrize("name", ["found-negative-serial", "found-long-name"])
def test_what_the_library_only_grumbles_at_is_read(name: str) -> None:
    """Negative serial numbers are on cards in the field; a name of 100 letters does no harm either."""
    certificate = (Path(__file__).parents[1] / "fuzz" / "corpus" / "certificate" / name).read_bytes()
    assert parse_certificate(certificate).der == certificate

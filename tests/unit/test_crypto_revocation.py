"""Revocation lists: which are believed, which are in force, and what they do to chains that were judged before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import crypto_pki as pki
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from crypto.certificates import BadCertificate, CertificateRejected, Fault, Role, TrustStore
from crypto.revocation import MAX_LENGTH, BadRevocationList, NotYet, RevocationList
from rsp import tlv
from tests.revocation_lists import THIS_UPDATE, EndOfEntry, ListPlan, Unknown, part, point, serial_of, signed_list

NOW = pki.NOW
CI = pki.issue(pki.CI)
EUM = pki.issue(pki.EUM, CI)
EUICC = pki.issue(pki.EUICC, EUM)
OTHER_EUM = pki.issue(pki.EUM, CI)
OTHER_EUICC = pki.issue(pki.EUICC, OTHER_EUM)
OTHER_CI = pki.issue(pki.CI)
LAST = ListPlan(serials=(serial_of(EUM.der),))


@pytest.fixture
def store() -> TrustStore:
    return TrustStore([CI.der, OTHER_CI.der])


def made(plan: ListPlan, issuer: pki.Issued = CI, signer: pki.Issued | None = None) -> bytes:
    return signed_list(issuer.der, issuer.key, plan, signer.key if signer else None)


def read(store: TrustStore, plan: ListPlan, issuer: pki.Issued = CI) -> RevocationList:
    return store.read_revocation_list(made(plan, issuer), NOW)


def take(store: TrustStore, plan: ListPlan, issuer: pki.Issued = CI) -> bool:
    return store.revocations.take(read(store, plan, issuer))


def fault_of(store: TrustStore, eum: bytes = EUM.der, euicc: bytes = EUICC.der) -> Fault:
    with pytest.raises(CertificateRejected) as caught:
        store.verify_euicc(eum, euicc, NOW)
    return caught.value.fault


def test_list_is_read_in_full(store: TrustStore) -> None:
    found = read(store, replace(LAST, number=2024, serials=(7, 5)))
    assert found.issuer == "CN=CI,O=CI"
    assert found.issuer_key_id == x509.SubjectKeyIdentifier.from_public_key(CI.key.public_key()).digest
    assert (found.number, found.scope) == (2024, b"")
    assert (found.this_update, found.next_update) == (THIS_UPDATE, THIS_UPDATE + timedelta(days=60))
    assert sorted(entry.serial_number for entry in found.revoked) == [5, 7]


def test_chain_that_was_judged_good_is_refused_from_the_revocation_of_its_eum_on(store: TrustStore) -> None:
    for _ in range(2):
        assert store.verify_euicc(EUM.der, EUICC.der, NOW).eid == pki.EID
    assert take(store, LAST)
    assert fault_of(store) is Fault.EUM_REVOKED
    assert store.verify_euicc(OTHER_EUM.der, OTHER_EUICC.der, NOW).eid == pki.EID


def test_chain_that_was_never_judged_is_refused_alike(store: TrustStore) -> None:
    take(store, LAST)
    assert [fault_of(store), fault_of(store)] == [Fault.EUM_REVOKED] * 2


def test_list_that_is_only_read_is_not_in_force(store: TrustStore) -> None:
    read(store, LAST)
    assert store.verify_euicc(EUM.der, EUICC.der, NOW).eid == pki.EID


def test_serial_number_counts_for_its_issuer_only(store: TrustStore) -> None:
    take(store, LAST, OTHER_CI)
    assert store.verify_euicc(EUM.der, EUICC.der, NOW).eid == pki.EID


def test_newer_list_takes_the_place_of_the_older_one(store: TrustStore) -> None:
    take(store, LAST)
    assert take(store, ListPlan(number=2, serials=(serial_of(OTHER_EUM.der),)))
    assert fault_of(store, OTHER_EUM.der, OTHER_EUICC.der) is Fault.EUM_REVOKED
    assert store.verify_euicc(EUM.der, EUICC.der, NOW).eid == pki.EID


def test_older_list_changes_nothing(store: TrustStore) -> None:
    take(store, replace(LAST, number=5))
    with pytest.raises(BadRevocationList, match="4 is older than 5"):
        take(store, ListPlan(number=4))
    assert fault_of(store) is Fault.EUM_REVOKED


def test_two_lists_with_one_number_are_one_too_many(store: TrustStore) -> None:
    take(store, replace(LAST, number=5))
    with pytest.raises(BadRevocationList, match="another list with its number 5"):
        take(store, ListPlan(number=5))
    assert fault_of(store) is Fault.EUM_REVOKED


def test_same_list_again_is_no_news(store: TrustStore) -> None:
    found = read(store, LAST)
    assert [store.revocations.take(found), store.revocations.take(found)] == [True, False]


def test_lists_of_different_scope_stand_side_by_side(store: TrustStore) -> None:
    take(store, replace(LAST, number=9, extensions=((point("http://ci.example/CRL-A.crl", cas=True), True),)))
    take(
        store, ListPlan(number=1, serials=(3,), extensions=((point("http://ci.example/CRL-B.crl", users=True), True),))
    )
    take(store, ListPlan(number=4, serials=(4,)), OTHER_CI)
    assert sorted(one.number for one in store.revocations) == [1, 4, 9]
    assert len(store.revocations.revoked) == 3
    assert fault_of(store) is Fault.EUM_REVOKED


def test_list_that_is_overdue_keeps_its_effect(store: TrustStore) -> None:
    plan = replace(LAST, this_update=NOW - timedelta(days=9), next_update=NOW - timedelta(days=2))
    take(store, plan)
    (found,) = store.revocations
    assert found.is_overdue(NOW)
    assert not found.is_overdue(found.next_update)
    assert fault_of(store) is Fault.EUM_REVOKED


def test_ci_that_revokes_itself_is_unknown(store: TrustStore) -> None:
    store.verify_euicc(EUM.der, EUICC.der, NOW)
    take(store, ListPlan(serials=(serial_of(CI.der),)))
    assert fault_of(store) is Fault.CI_UNKNOWN


def test_own_certificate_that_is_revoked_does_not_serve(store: TrustStore) -> None:
    own = pki.issue(pki.DP_AUTH, CI).der
    store.verify_server_certificate(own, Role.DP_AUTH, NOW)
    take(store, ListPlan(number=8, serials=(serial_of(own),)))
    with pytest.raises(BadCertificate, match="has revoked it, see its list number 8"):
        store.verify_server_certificate(own, Role.DP_AUTH, NOW)


def test_no_certificate_serves_under_a_ci_that_revoked_itself(store: TrustStore) -> None:
    take(store, ListPlan(serials=(serial_of(CI.der),)))
    with pytest.raises(BadCertificate, match="has revoked itself"):
        store.verify_server_certificate(pki.issue(pki.DP_AUTH, CI).der, Role.DP_AUTH, NOW)


ALLOWED = {
    "only CAs": ((point(cas=True), True),),
    "only users, by its address": ((point("http://ci.example/CRL-B.crl", users=True), True),),
    "some reasons": ((point(reasons=frozenset({x509.ReasonFlags.key_compromise})), True),),
    "in one part": ((part(1), False), (part(1, "2.23.146.1.2.0.3"), False)),
    "unknown, not critical": ((Unknown, False),),
}


@pytest.mark.parametrize("extensions", ALLOWED.values(), ids=ALLOWED)
def test_what_such_a_list_names_is_revoked(
    store: TrustStore, extensions: tuple[tuple[x509.ExtensionType, bool], ...]
) -> None:
    take(store, replace(LAST, extensions=extensions))
    assert fault_of(store) is Fault.EUM_REVOKED


def test_entries_may_say_when_they_end_and_why(store: TrustStore) -> None:
    reason = x509.CRLReason(x509.ReasonFlags.ca_compromise)
    take(store, replace(LAST, entry_extensions=((EndOfEntry, True), (reason, False), (Unknown, False))))
    assert fault_of(store) is Fault.EUM_REVOKED


REFUSED = {
    "delta": (replace(LAST, extensions=((x509.DeltaCRLIndicator(1), True),)), "delta"),
    "part": (replace(LAST, extensions=((part(3), False),)), "one part"),
    "second part": (replace(LAST, extensions=((part(2, "2.23.146.1.2.0.3"), False),)), "one part"),
    "indirect": (replace(LAST, extensions=((point(indirect=True), True),)), "indirect"),
    "attribute certificates": (replace(LAST, extensions=((point(attributes=True), True),)), "attribute certificates"),
    "unknown": (replace(LAST, extensions=((Unknown, True),)), r"critical extension 1\.2\.3\.4"),
    "unknown in an entry": (replace(LAST, entry_extensions=((Unknown, True),)), r"an entry .* 1\.2\.3\.4"),
    "other issuer of an entry": (
        replace(LAST, entry_extensions=((x509.CertificateIssuer([x509.DNSName("x.example")]), True),)),
        r"an entry .* 2\.5\.29\.29",
    ),
    "no number": (replace(LAST, number=None), "no number"),
    "no key id": (replace(LAST, names_issuer=False), "authority key identifier"),
    "other digest": (replace(LAST, digest=hashes.SHA384()), "SHA-256"),
}


@pytest.mark.parametrize(("plan", "why"), REFUSED.values(), ids=REFUSED)
def test_list_that_may_mean_something_else_is_refused(store: TrustStore, plan: ListPlan, why: str) -> None:
    with pytest.raises(BadRevocationList, match=why):
        read(store, plan)


def test_list_signed_by_somebody_else_is_refused(store: TrustStore) -> None:
    with pytest.raises(BadRevocationList, match="signature does not match"):
        store.read_revocation_list(made(LAST, signer=OTHER_CI), NOW)


def test_list_of_an_unknown_issuer_is_refused() -> None:
    with pytest.raises(BadRevocationList, match="no CI that is trusted"):
        TrustStore([OTHER_CI.der]).read_revocation_list(made(LAST), NOW)


def test_eum_issues_no_lists(store: TrustStore) -> None:
    store.verify_euicc(EUM.der, EUICC.der, NOW)
    with pytest.raises(BadRevocationList, match="no CI that is trusted"):
        store.read_revocation_list(made(ListPlan(serials=(serial_of(EUICC.der),)), EUM), NOW)


def test_ci_without_the_usage_issues_no_lists() -> None:
    ci = pki.issue(replace(pki.CI, crl_sign=False))
    with pytest.raises(BadRevocationList, match="cRLSign"):
        TrustStore([ci.der]).read_revocation_list(made(LAST, ci), NOW)


def test_list_begins_when_it_says(store: TrustStore) -> None:
    plan = replace(LAST, this_update=NOW + timedelta(minutes=1))
    with pytest.raises(NotYet, match="begins on"):
        read(store, plan)
    assert read(store, replace(LAST, this_update=NOW)).number == 1


def test_list_on_brainpool_is_believed() -> None:
    ci = pki.issue(replace(pki.CI, curve=ec.BrainpoolP256R1()))
    store = TrustStore([ci.der])
    assert take(store, LAST, ci)


def test_list_must_say_when_the_next_one_comes(store: TrustStore) -> None:
    with pytest.raises(BadRevocationList, match="nextUpdate"):
        read(store, replace(LAST, next_update=THIS_UPDATE))
    signed, algorithm, _ = tlv.read_only(made(LAST), 0x30).children()
    endless = tlv.wrap(0x30, *(part.raw for place, part in enumerate(signed.children()) if place != 4))
    signature = CI.key.sign(endless, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(BadRevocationList, match="nextUpdate"):
        store.read_revocation_list(tlv.wrap(0x30, endless, algorithm.raw, tlv.wrap(0x03, bytes(1) + signature)), NOW)


@pytest.mark.parametrize("garbage", [b"", b"\x30", EUM.der, made(LAST) + b"\x00", b"\x30\x80" + made(LAST)[2:]])
def test_other_bytes_are_no_list(store: TrustStore, garbage: bytes) -> None:
    with pytest.raises(BadRevocationList):
        store.read_revocation_list(garbage, NOW)


@pytest.mark.parametrize("unused", range(1, 8))
def test_signature_is_whole_bytes(store: TrustStore, unused: int) -> None:
    signed, algorithm, _ = tlv.read_only(made(LAST), 0x30).children()
    signature = b"\x01"
    while signature[-1] % (1 << unused):  # what is said to be unused has to be zero for a reader of DER
        signature = CI.key.sign(signed.raw, ec.ECDSA(hashes.SHA256()))
    whole, cut = (
        tlv.wrap(0x30, signed.raw, algorithm.raw, tlv.wrap(0x03, bytes((bits,)) + signature)) for bits in (0, unused)
    )
    assert store.read_revocation_list(whole, NOW).der == whole
    with pytest.raises(BadRevocationList, match="whole bytes"):
        store.read_revocation_list(cut, NOW)


def test_oversized_list_is_refused_unread(store: TrustStore) -> None:
    with pytest.raises(BadRevocationList, match=f"at most {MAX_LENGTH} bytes"):
        store.read_revocation_list(bytes(MAX_LENGTH + 1), NOW)


_DER = made(LAST)


@given(place=st.integers(0, len(_DER) - 1), bit=st.integers(0, 7))
def test_list_with_one_bit_changed_is_refused(place: int, bit: int) -> None:
    der = _DER[:place] + bytes((_DER[place] ^ 1 << bit,)) + _DER[place + 1 :]
    with pytest.raises(BadRevocationList):
        TrustStore([CI.der]).read_revocation_list(der, NOW)

"""Judgements of chains that are remembered: nothing bad gets in, nothing outdated comes out, and there is a bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import crypto_pki as pki
import pytest

from crypto import slices
from crypto.certificates import Certificate, CertificateRejected, Fault, TrustStore, parse_certificate

NOW = pki.NOW
SOON = NOW + timedelta(hours=1)
LATER = SOON + timedelta(seconds=1)
CI = pki.issue(pki.CI)
OTHER_CI = pki.issue(pki.CI)
EUM = pki.issue(pki.EUM, CI)
EUICC = pki.issue(pki.EUICC, EUM)


@pytest.fixture
def store() -> TrustStore:
    return TrustStore([CI.der, OTHER_CI.der])


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """How often the signature of each certificate (DER) was verified."""
    found: Counter[bytes] = Counter()
    check = Certificate.check_signed_by

    def counted(self: Certificate, issuer: Certificate) -> None:
        found[self.der] += 1
        check(self, issuer)

    monkeypatch.setattr(Certificate, "check_signed_by", counted)
    return found


def fault_of(store: TrustStore, eum: bytes, euicc: bytes, now: datetime = NOW, under: bytes | None = None) -> Fault:
    with pytest.raises(CertificateRejected) as caught:
        store.verify_euicc(eum, euicc, now, under)
    return caught.value.fault


def is_good(store: TrustStore, eum: bytes = EUM.der, euicc: bytes = EUICC.der, now: datetime = NOW) -> bool:
    return store.verify_euicc(eum, euicc, now).eid == pki.EID


def key_id(ci: pki.Issued) -> bytes:
    return parse_certificate(ci.der).subject_key_id


# What gets in ---------------------------------------------------------------------------------------------------------


def test_good_chain_is_verified_once(store: TrustStore, verified: Counter[bytes]) -> None:
    for _ in range(3):
        assert is_good(store, bytes(bytearray(EUM.der)), bytes(bytearray(EUICC.der)))
    assert verified == {EUM.der: 1, EUICC.der: 1}


def test_eum_is_verified_once_for_all_its_cards(store: TrustStore, verified: Counter[bytes]) -> None:
    for _ in range(3):
        is_good(store, euicc=pki.issue(pki.EUICC, EUM).der)
    assert verified[EUM.der] == 1


BAD_CHAINS: dict[str, tuple[pki.Issued, pki.Issued, Fault]] = {
    "forged EUM": (pki.issue(pki.EUM, CI, signer=OTHER_CI), EUICC, Fault.EUM_INVALID),
    "forged eUICC": (EUM, pki.issue(pki.EUICC, EUM, signer=OTHER_CI), Fault.EUICC_INVALID),
    "foreign organization": (EUM, pki.issue(replace(pki.EUICC, organization="Other"), EUM), Fault.EUICC_INVALID),
    "EUM without the right to issue": (
        pki.issue(replace(pki.EUM, cert_sign=False), CI),
        EUICC,
        Fault.EUM_INVALID,
    ),
}


@pytest.mark.parametrize(("eum", "euicc", "fault"), BAD_CHAINS.values(), ids=BAD_CHAINS)
def test_chain_that_failed_fails_again(store: TrustStore, eum: pki.Issued, euicc: pki.Issued, fault: Fault) -> None:
    assert [fault_of(store, eum.der, euicc.der) for _ in range(3)] == [fault] * 3
    assert is_good(store)
    assert fault_of(store, eum.der, euicc.der) is fault


def test_chain_that_failed_is_not_remembered(store: TrustStore, verified: Counter[bytes]) -> None:
    forged = pki.issue(pki.EUICC, EUM, signer=OTHER_CI).der
    for _ in range(3):
        fault_of(store, EUM.der, forged)
    assert verified == {EUM.der: 1, forged: 3}


def test_good_card_is_not_good_under_another_eum(store: TrustStore) -> None:
    assert is_good(store)
    same_id = pki.issue(replace(pki.EUM, subject_key_id=key_id(EUM)), CI)
    assert fault_of(store, pki.issue(pki.EUM, CI).der, EUICC.der) is Fault.EUICC_INVALID
    assert fault_of(store, same_id.der, EUICC.der) is Fault.EUICC_INVALID


def test_card_is_judged_by_the_certificate_its_eum_shows(store: TrustStore) -> None:
    elsewhere = pki.issue(replace(pki.EUM, permitted=(("Test EUM", "89033023"),)), CI, key=EUM.key)
    assert is_good(store)
    assert fault_of(store, elsewhere.der, EUICC.der) is Fault.EUICC_INVALID
    assert is_good(store)


def test_good_chain_is_not_good_under_another_ci_than_agreed(store: TrustStore) -> None:
    for _ in range(2):
        assert store.verify_euicc(EUM.der, EUICC.der, NOW, under=key_id(CI)).ci_key_id == key_id(CI)
        assert fault_of(store, EUM.der, EUICC.der, under=key_id(OTHER_CI)) is Fault.CI_UNKNOWN


def test_eum_of_another_ci_with_the_same_key_is_judged_by_itself(store: TrustStore) -> None:
    other = pki.issue(pki.EUM, OTHER_CI, key=EUM.key)
    assert is_good(store)
    assert store.verify_euicc(other.der, EUICC.der, NOW).ci_key_id == key_id(OTHER_CI)
    assert store.verify_euicc(EUM.der, EUICC.der, NOW).ci_key_id == key_id(CI)
    assert fault_of(store, other.der, EUICC.der, under=key_id(CI)) is Fault.CI_UNKNOWN


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_certificate_that_differs_in_one_byte_is_another_one(store: TrustStore) -> None:
    assert is_good(store)
    for place in range(len(EUICC.der)):
        fault_of(store, EUM.der, EUICC.der[:place] + bytes((EUICC.der[place] ^ 1,)) + EUICC.der[place + 1 :])
    for place in range(len(EUM.der)):
        fault_of(store, EUM.der[:place] + bytes((EUM.der[place] ^ 1,)) + EUM.der[place + 1 :], EUICC.der)
    assert is_good(store)


# Dates ----------------------------------------------------------------------------------------------------------------


START, END = pki.CI.not_before, pki.CI.not_after


def dated(who: str, start: datetime = START, end: datetime = END) -> tuple[TrustStore, bytes, bytes]:
    """A store and a chain; the certificate of `who` is valid from `start` to `end`."""
    plans = {"ci": pki.CI, "eum": pki.EUM, "euicc": pki.EUICC}
    plans[who] = replace(plans[who], not_before=start, not_after=end)
    ci = pki.issue(plans["ci"])
    eum = pki.issue(plans["eum"], ci)
    return TrustStore([ci.der]), eum.der, pki.issue(plans["euicc"], eum).der


DATED = [("ci", Fault.CI_UNKNOWN), ("eum", Fault.EUM_EXPIRED), ("euicc", Fault.EUICC_EXPIRED)]


@pytest.mark.parametrize(("who", "fault"), DATED)
def test_certificate_that_expires_while_it_is_remembered_is_refused(who: str, fault: Fault) -> None:
    store, eum, euicc = dated(who, end=SOON)
    for _ in range(2):
        assert is_good(store, eum, euicc)
    assert is_good(store, eum, euicc, SOON)
    assert [fault_of(store, eum, euicc, LATER) for _ in range(2)] == [fault] * 2
    assert is_good(store, eum, euicc)


@pytest.mark.parametrize(("who", "fault"), DATED)
def test_certificate_that_is_not_valid_yet_is_refused_until_it_is(who: str, fault: Fault) -> None:
    store, eum, euicc = dated(who, start=LATER)
    assert [fault_of(store, eum, euicc, moment) for moment in (NOW, SOON)] == [fault] * 2
    assert is_good(store, eum, euicc, LATER)
    assert fault_of(store, eum, euicc) is fault


# How many -------------------------------------------------------------------------------------------------------------


def test_oldest_card_is_forgotten_first(monkeypatch: pytest.MonkeyPatch, verified: Counter[bytes]) -> None:
    monkeypatch.setattr("crypto.certificates._REMEMBERED_EUICCS", 3)
    store, cards = TrustStore([CI.der]), [pki.issue(pki.EUICC, EUM).der for _ in range(4)]
    for card in cards[:3]:
        is_good(store, euicc=card)
    is_good(store, euicc=cards[0])
    is_good(store, euicc=cards[3])
    assert set(verified.values()) == {1}
    for card in (cards[0], cards[2], cards[3]):
        is_good(store, euicc=card)
    assert set(verified.values()) == {1}
    assert is_good(store, euicc=cards[1])
    assert verified[cards[1]] == 2


def test_oldest_eum_is_forgotten_first(monkeypatch: pytest.MonkeyPatch, verified: Counter[bytes]) -> None:
    monkeypatch.setattr("crypto.certificates._REMEMBERED_EUMS", 2)
    store, eums = TrustStore([CI.der]), [pki.issue(pki.EUM, CI, key=EUM.key).der for _ in range(3)]
    for eum in (*eums, eums[2], eums[1], eums[0]):
        assert is_good(store, eum)
    assert [verified[eum] for eum in eums] == [2, 1, 1]


def test_bad_chains_push_no_good_one_out(monkeypatch: pytest.MonkeyPatch, verified: Counter[bytes]) -> None:
    monkeypatch.setattr("crypto.certificates._REMEMBERED_EUICCS", 2)
    monkeypatch.setattr("crypto.certificates._REMEMBERED_EUMS", 2)
    store = TrustStore([CI.der])
    assert is_good(store)
    for number in range(5):
        forged = pki.issue(pki.EUM, CI, signer=OTHER_CI)
        fault_of(store, forged.der, EUICC.der)
        fault_of(store, EUM.der, EUICC.der[:-1] + bytes((EUICC.der[-1] ^ number + 1,)))
    assert is_good(store)
    assert (verified[EUM.der], verified[EUICC.der]) == (1, 1)


def test_what_is_remembered_is_bounded() -> None:
    assert parse_certificate.cache_info().maxsize == 1024
    store = TrustStore([CI.der])
    assert store._checked_euicc.cache_info().maxsize == 4096
    assert store._checked_eum.cache_info().maxsize == 256


# Both readers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def whole_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Called, it has every certificate read by the whole reader from then on."""

    def switch() -> None:
        monkeypatch.setattr(slices, "euicc", lambda _: None)
        parse_certificate.cache_clear()

    yield switch
    parse_certificate.cache_clear()


SAME: dict[str, tuple[bytes, bytes]] = {
    "good": (EUM.der, EUICC.der),
    "expired": (EUM.der, pki.issue(replace(pki.EUICC, not_after=datetime(2021, 1, 1, tzinfo=UTC)), EUM).der),
    "outside": (EUM.der, pki.issue(replace(pki.EUICC, serial_number="89033023" + "1" * 24), EUM).der),
    "unusual": (EUM.der, pki.issue(replace(pki.EUICC, organization="test  EUM", dns_name="a.example"), EUM).der),
    **{name: (eum.der, euicc.der) for name, (eum, euicc, _) in BAD_CHAINS.items()},
}


@pytest.mark.parametrize("chain", SAME.values(), ids=SAME)
def test_both_readers_come_to_the_same_judgement(chain: tuple[bytes, bytes], whole_reader: Callable[[], None]) -> None:
    assert slices.euicc(EUICC.der) is not None
    remembering = TrustStore([CI.der])
    before = judged(remembering, chain)
    whole_reader()
    assert judged(remembering, chain) == before
    assert judged(TrustStore([CI.der]), chain) == before


def judged(store: TrustStore, chain: tuple[bytes, bytes]) -> object:
    try:
        return store.verify_euicc(*chain, NOW)
    except CertificateRejected as rejected:
        return rejected.fault, rejected.detail

"""AddInitialEim, GetEimConfigurationData and GetCerts of the virtual eUICC (SGP.32 5.9.16 to 5.9.18)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from card_test_pki import EID, pki
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from iot_stage import EIM_HOST, EIM_ID, EIM_KEYS, LEAD, iot_card, spki

from rsp.identifiers import Eid
from rsp.tlv import read_only, wrap, wrap_integer
from simulator.credentials import CardCredentials
from simulator.eim_association import LARGEST_COUNTER
from simulator.iot_card import IotCard
from simulator.iot_factory import FactoryProfile, association_token, eim_configuration, made_in_factory

KEY = spki(EIM_KEYS["nist"])
KEY_DATA = wrap(0xA5, wrap(0xA0, read_only(KEY, 0x30).value))
HEAD = wrap(0x80, EIM_ID.encode()) + wrap(0x81, EIM_HOST.encode())
COUNTER = wrap_integer(0x83, 0)
ASK = wrap_integer(0x84, -1)


def blank(curve: str = "nist", random: Callable[[int], bytes] | None = None) -> IotCard:
    card = IotCard(Eid(EID), [pki(curve).credentials()])
    if random:
        card.random = random
    return card


def add(card: IotCard, *configurations: bytes) -> bytes:
    return card.add_initial_eim(wrap(0xBF57, wrap(0xA0, *configurations)))


def configuration(*parts: bytes) -> bytes:
    return wrap(0x30, *parts)


def test_a_requested_token_is_made_and_answered() -> None:
    card = blank(random=lambda size: b"\x81" * size)
    assert add(card, configuration(HEAD, COUNTER, ASK, KEY_DATA)).hex() == "bf5709a0078405" + "00" + "81" * 4
    assert association_token(card, EIM_ID) == 0x81818181


def test_a_token_is_never_the_zero_that_means_none() -> None:
    card = blank(random=bytes)
    add(card, configuration(HEAD, COUNTER, ASK, KEY_DATA))
    assert association_token(card, EIM_ID) == 1


def test_an_eim_that_asks_for_no_token_is_just_added() -> None:
    card = blank()
    assert add(card, configuration(HEAD, COUNTER, KEY_DATA)).hex() == "bf5704a0020500"
    assert association_token(card, EIM_ID) is None


def test_several_eims_are_added_at_once_and_found_by_id() -> None:
    card = blank()
    other = configuration(wrap(0x80, b"other"), COUNTER, KEY_DATA)
    add(card, configuration(HEAD, COUNTER, ASK, KEY_DATA), other)
    assert [eim.eim_id for eim in card.iot.eims] == [EIM_ID, "other"]
    answer = card.get_eim_configuration_data(wrap(0xBF55, wrap(0xA0, wrap(0x80, b"other"))))
    assert answer == wrap(0xBF55, wrap(0xA0, other))


def test_an_unknown_eim_has_no_configuration() -> None:
    answer = iot_card().get_eim_configuration_data(wrap(0xBF55, wrap(0xA0, wrap(0x80, b"nobody"))))
    assert answer == wrap(0xBF55, wrap(0xA0))


def test_configuration_data_tells_the_present_token() -> None:
    card = blank(random=lambda size: b"\x11" * size)
    add(card, configuration(HEAD, COUNTER, ASK, KEY_DATA))
    told = configuration(HEAD, COUNTER, wrap(0x84, b"\x11" * 4), KEY_DATA)
    assert card.get_eim_configuration_data() == wrap(0xBF55, wrap(0xA0, told))


def test_a_certificate_may_stand_for_the_key() -> None:
    certificate = pki("nist").euicc
    card = blank()
    add(card, configuration(HEAD, COUNTER, wrap(0xA5, wrap(0xA1, read_only(certificate.der, 0x30).value))))
    assert card.iot.eims[0].public_key() == certificate.key.public_key()


def foreign_key() -> bytes:
    return wrap(0xA5, wrap(0xA0, read_only(spki(ec.generate_private_key(ec.SECP384R1())), 0x30).value))


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        (3, (HEAD, COUNTER, KEY_DATA, wrap(0x88, bytes(20)))),
        (5, (HEAD, COUNTER, wrap_integer(0x84, 7), KEY_DATA)),
        (6, (HEAD, wrap_integer(0x83, LARGEST_COUNTER + 1), KEY_DATA)),
        (7, (HEAD, KEY_DATA)),
        (7, (HEAD, COUNTER)),
        (7, (COUNTER, KEY_DATA)),
        (7, (wrap(0x80), COUNTER, KEY_DATA)),
        (7, (wrap(0x80, b"x" * 129), COUNTER, KEY_DATA)),
        (7, (HEAD, wrap_integer(0x82, 4), COUNTER, KEY_DATA)),
        (7, (HEAD, COUNTER, KEY_DATA, wrap(0x89, b"\x01"))),
        (7, (HEAD, COUNTER, wrap(0xA5, wrap(0xA0, b"\x04\x00")))),
        (7, (HEAD, COUNTER, wrap(0xA5, wrap(0xA2)))),
        (7, (HEAD, COUNTER, foreign_key())),
        (7, (HEAD, COUNTER, KEY_DATA, wrap(0xA6, wrap(0x30)))),
        (7, (COUNTER, HEAD, KEY_DATA)),
    ],
)
def test_a_wrong_configuration_is_refused(code: int, parts: tuple[bytes, ...]) -> None:
    card = blank()
    assert add(card, configuration(*parts)) == wrap(0xBF57, wrap_integer(0x81, code)), card.last_fault
    assert card.iot.eims == []


def test_a_second_first_eim_is_refused() -> None:
    card = iot_card()
    assert add(card, configuration(wrap(0x80, b"intruder"), COUNTER, KEY_DATA)).hex() == "bf5703810102"
    assert [eim.eim_id for eim in card.iot.eims] == [EIM_ID]


def test_one_wrong_configuration_spoils_the_list() -> None:
    card = blank()
    answer = add(card, configuration(HEAD, COUNTER, KEY_DATA), configuration(HEAD, COUNTER, KEY_DATA))
    assert (answer.hex(), card.iot.eims) == ("bf5703810102", [])


def test_an_empty_list_is_a_command_error() -> None:
    assert add(blank()).hex() == "bf5703810107"


def test_too_many_eims_do_not_fit() -> None:
    many = [configuration(wrap(0x80, bytes((65 + number,))), COUNTER, KEY_DATA) for number in range(9)]
    assert add(blank(), *many).hex() == "bf5703810101"


def test_the_factory_says_why_a_card_does_not_take_an_eim() -> None:
    bad = eim_configuration(eim_id=EIM_ID, fqdn=EIM_HOST, public_key=KEY, counter=LARGEST_COUNTER + 1)
    lead = FactoryProfile(iccid=LEAD, provider="Lead", name="Lead")
    with pytest.raises(ValueError, match="counter reaches"):
        made_in_factory(Eid(EID), [pki("nist").credentials()], lead=lead, configurations=[bad])


def test_certificates_come_out_under_their_ci() -> None:
    chains: list[CardCredentials] = [pki("nist").credentials(), pki("brainpool").credentials()]
    card = IotCard(Eid(EID), chains)
    for chain in chains:
        answer = card.get_certs(wrap(0xBF56, wrap(0x80, chain.ci_key_id)))
        found = read_only(read_only(answer, 0xBF56).members()[0xA0].raw, 0xA0).members()
        assert list(found) == [0xA5, 0xA6]
        assert wrap(0x30, found[0xA5].value) == chain.eum_certificate
        assert x509.load_der_x509_certificate(wrap(0x30, found[0xA6].value)).subject
    assert card.get_certs() == card.get_certs(wrap(0xBF56, wrap(0x80, chains[0].ci_key_id)))


def test_certificates_under_an_unknown_ci_are_refused() -> None:
    assert iot_card().get_certs(wrap(0xBF56, wrap(0x80, bytes(20)))).hex() == "bf5603810101"


def test_the_card_says_what_it_is() -> None:
    info = read_only(iot_card().get_euicc_info2(), 0xBF22).members()
    assert info[0x90].value == b"\x00"
    assert info[0xB4].value.hex() == "a0050403010200"

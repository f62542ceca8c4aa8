"""The virtual eUICC and its IPA against the project's own codec of SGP.32: each side was written without the other."""

from __future__ import annotations

import pytest
from card_test_pki import EID
from card_test_server import sign
from iot_stage import EIM_HOST, EIM_ID, EIM_KEYS, LEAD, PARTNER, iot_card, package, spki, states, token_tlv
from iot_stage import LIST as LIST_COMMAND

from rsp import esep
from rsp.identifiers import Eid, TransactionId
from rsp.tlv import objects, read_only, wrap
from simulator import ipa_messages
from simulator.iot_card import IotCard
from simulator.iot_factory import association_token, eim_configuration
from simulator.lpa_messages import Device
from simulator.misbehaviour import Misbehaviour

TRANSACTION = TransactionId(bytes(range(16)))
EID_ = Eid(EID)


def request(card: IotCard, counter: int, *commands: esep.Psmo) -> tuple[bytes, bytes]:
    """A package of the codec, and its signature (64 bytes)."""
    signed = esep.euicc_package_signed(
        eim_id=EIM_ID, eid=EID_, counter=counter, transaction_id=TRANSACTION, commands=commands
    )
    data = esep.euicc_package_signature_input(signed, association_token(card, EIM_ID))
    signature = sign(EIM_KEYS["nist"], data)[3:]
    return esep.euicc_package_request(signed, signature), signature


@pytest.mark.parametrize("token", [True, False])
def test_a_package_of_the_codec_is_executed_and_its_result_read(*, token: bool) -> None:
    card = iot_card(token=token)
    body, _ = request(card, 1, esep.ListProfileInfo(), esep.Enable(iccid=PARTNER, rollback=True))
    found = esep.parse_package_result(card.load_euicc_package(body))
    assert isinstance(found, esep.PackageResult)
    listing, enabling = found.results
    assert isinstance(listing, esep.ProfileList)
    assert [(profile.iccid, profile.state) for profile in listing.profiles] == [(LEAD, 1), (PARTNER, 0)]
    assert enabling == esep.EnableResult(code=0)
    assert (found.eim_id, found.counter, found.transaction_id) == (EIM_ID, 1, TRANSACTION)
    data = esep.package_result_signature_input(found.signed, association_token(card, EIM_ID))
    assert data == found.signed + token_tlv(card)


def test_a_rollback_is_read_by_the_codec() -> None:
    card = iot_card()
    card.load_euicc_package(request(card, 1, esep.Enable(iccid=PARTNER, rollback=True))[0])
    _, result = read_only(card.profile_rollback(bytes.fromhex("bf58038001ff")), 0xBF58).children()
    found = esep.parse_package_result(result.raw)
    assert isinstance(found, esep.PackageResult)
    assert (found.results, found.counter) == ((esep.RollbackResult(code=0),), 1)


def test_all_commands_of_the_codec_are_known_to_the_card() -> None:
    card = iot_card()
    body, _ = request(card, 1, esep.Enable(iccid=PARTNER, rollback=False), esep.Delete(iccid=LEAD))
    found = esep.parse_package_result(card.load_euicc_package(body))
    assert isinstance(found, esep.PackageResult)
    assert found.results == (esep.EnableResult(code=0), esep.DeleteResult(code=0))
    card.load_euicc_package(request(card, 2, esep.Disable(iccid=PARTNER))[0])
    assert states(card) == {PARTNER: False}


def test_refusals_are_read_by_the_codec() -> None:
    card = iot_card()
    refused = esep.parse_package_result(card.load_euicc_package(request(card, 0, esep.ListProfileInfo())[0]))
    assert isinstance(refused, esep.PackageErrorSigned)
    assert refused.code == esep.PackageErrorCode.REPLAY_ERROR
    card.misbehave = frozenset({Misbehaviour.UNSIGNED_PACKAGE_ERROR})
    unsigned = esep.parse_package_result(card.load_euicc_package(request(card, 1, esep.ListProfileInfo())[0]))
    assert isinstance(unsigned, esep.PackageErrorUnsigned)
    assert unsigned.token == association_token(card, EIM_ID)


def test_an_old_signature_is_over_what_the_codec_says() -> None:
    card = iot_card(misbehave=[Misbehaviour.OLD_PACKAGE_RESULT_SIGNATURE])
    body, signature = request(card, 1, esep.ListProfileInfo())
    found = esep.parse_package_result(card.load_euicc_package(body))
    assert isinstance(found, esep.PackageResult)
    told = esep.package_result_signature_input_1_0(found.signed, signature)
    assert told == found.signed + read_only(body, 0xBF51).members()[0x5F37].raw


def test_a_configuration_of_the_codec_is_the_one_a_factory_writes() -> None:
    key = spki(EIM_KEYS["nist"])
    exported = esep.eim_configuration_data(
        eim_id=EIM_ID,
        fqdn=EIM_HOST,
        counter=0,
        token=-1,
        public_key_spki=key,
        tls_spki_or_certificate=None,
        protocols=[esep.EimProtocol.RETRIEVE_HTTPS],
        ci_key_id=None,
    )
    assert exported == eim_configuration(eim_id=EIM_ID, fqdn=EIM_HOST, public_key=key)
    full = esep.eim_configuration_data(
        eim_id=EIM_ID,
        fqdn=EIM_HOST,
        counter=5,
        token=None,
        public_key_spki=key,
        tls_spki_or_certificate=key,
        protocols=list(esep.EimProtocol),
        ci_key_id=iot_card().credentials[0].ci_key_id,
    )
    card = iot_card()
    card.iot.eims.clear()
    assert card.add_initial_eim(esep.add_initial_eim_request(full)).hex() == "bf5704a0020500", card.last_fault


def test_onboarding_data_is_read_by_the_codec() -> None:
    card = iot_card()
    card.load_euicc_package(package(card, 1, LIST_COMMAND))
    asked = esep.ipa_euicc_data_request(tags=esep.ONBOARDING_TAGS, transaction_id=TRANSACTION, package_results=True)
    answer = ipa_messages.answer_data_request(next(objects(asked)), card, Device())
    body = wrap(0xBF50, wrap(0x5A, EID_.to_bytes()), answer.raw)
    found = esep.parse_provide_eim_package_result(body).result
    assert isinstance(found, esep.DataResponse)
    assert (found.transaction_id, found.token) == (TRANSACTION, association_token(card, EIM_ID))
    assert found.eum_certificate == card.credentials[0].eum_certificate
    assert found.euicc_certificate == card.credentials[0].euicc_certificate
    assert found.euicc_info2 == card.get_euicc_info2()
    assert len(found.package_results) == 1
    assert esep.sequence_numbers(body) == answer.sequence_numbers


def test_triggers_and_their_results_agree_with_the_codec() -> None:
    asked = esep.profile_download_trigger("1$smdp.example.com$X", TRANSACTION)
    trigger = ipa_messages.read_trigger(next(objects(asked)))
    assert trigger.activation_code == "1$smdp.example.com$X"
    body = wrap(0xBF50, ipa_messages.trigger_result(trigger.transaction_id, None, "no"))
    found = esep.parse_provide_eim_package_result(body).result
    assert found == esep.TriggerResult(transaction_id=TRANSACTION, installation=None, error=(127, b"no"))

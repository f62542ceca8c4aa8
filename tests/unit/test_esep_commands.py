"""What the eIM writes and polls it reads: exact bytes worked out by hand from SGP.32 v1.2."""

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
CERTIFICATE = bytes.fromhex("3009 3000 3000 0303000102")
PUBLIC_KEY = bytes.fromhex("3007 3000 0303000102")


def signed(*commands: esep.Psmo, counter: int = 5) -> bytes:
    return esep.euicc_package_signed(
        eim_id="e.a", eid=EID, counter=counter, transaction_id=TRANSACTION_ID, commands=commands
    )


@pytest.mark.parametrize(
    ("command", "coded"),
    [
        (esep.Enable(iccid=ICCID), "a30c 5a0a98001032547698103214"),
        (esep.Enable(iccid=ICCID, rollback=True), "a30e 5a0a98001032547698103214 0500"),
        (esep.Disable(iccid=ICCID), "a40c 5a0a98001032547698103214"),
        (esep.Delete(iccid=ICCID), "a50c 5a0a98001032547698103214"),
        (esep.ListProfileInfo(), "bf2d00"),
        (esep.ListProfileInfo(tags=bytes.fromhex("5a9f70")), "bf2d05 5c035a9f70"),
    ],
)
def test_a_command_has_its_tag(command: esep.Psmo, coded: str) -> None:
    inner = bytes.fromhex(coded)
    head = bytes.fromhex("8003652e61 5a1089049032123451234512345678901235 810105 82020a0b")
    assert signed(command) == wrap(0x30, head, wrap(0xA0, inner))


def test_commands_keep_their_order() -> None:
    both = signed(esep.Enable(iccid=ICCID), esep.ListProfileInfo())
    assert both.endswith(bytes.fromhex("a011 a30c 5a0a98001032547698103214 bf2d00"))


@pytest.mark.parametrize(("counter", "coded"), [(0, "810100"), (128, "81020080"), (8_388_607, "81037fffff")])
def test_a_counter_is_written_in_its_shortest_form(counter: int, coded: str) -> None:
    assert bytes.fromhex(coded + "82020a0b") in signed(esep.ListProfileInfo(), counter=counter)


@pytest.mark.parametrize("counter", [-1, 8_388_608])
def test_a_counter_no_card_takes_is_refused(counter: int) -> None:
    with pytest.raises(Malformed, match="updateEim"):
        signed(esep.ListProfileInfo(), counter=counter)


def test_a_package_without_commands_is_refused() -> None:
    with pytest.raises(Malformed, match="command"):
        signed()


@pytest.mark.parametrize("eim_id", ["", "e" * 129, "\ud800"])
def test_a_name_no_eim_can_have_is_refused(eim_id: str) -> None:
    with pytest.raises(Malformed):
        esep.euicc_package_signed(
            eim_id=eim_id, eid=EID, counter=1, transaction_id=TRANSACTION_ID, commands=[esep.ListProfileInfo()]
        )


@pytest.mark.parametrize(("token", "coded"), [(None, "840100"), (0, "840100"), (1, "840101"), (200, "840200c8")])
def test_the_association_token_ends_what_is_signed(token: int | None, coded: str) -> None:
    assert esep.euicc_package_signature_input(b"data", token) == b"data" + bytes.fromhex(coded)
    assert esep.package_result_signature_input(b"data", token) == b"data" + bytes.fromhex(coded)


def test_cards_of_the_first_version_sign_our_signature() -> None:
    assert esep.package_result_signature_input_1_0(b"data", SIGNATURE) == b"data" + SIGNATURE_TLV


def test_a_request_joins_the_package_and_its_signature() -> None:
    package = signed(esep.ListProfileInfo())
    assert esep.euicc_package_request(package, SIGNATURE) == wrap(0xBF51, package, SIGNATURE_TLV)
    with pytest.raises(Malformed, match="64"):
        esep.euicc_package_request(package, bytes(70))


def test_a_request_for_data_names_its_tags() -> None:
    request = esep.ipa_euicc_data_request(tags=esep.ONBOARDING_TAGS, transaction_id=TRANSACTION_ID)
    assert request == bytes.fromhex("bf5210 5c0abf20bf2284a5a6a8a9a0 83020a0b")


def test_a_request_for_results_names_their_tag_and_which() -> None:
    every = esep.ipa_euicc_data_request(tags=b"", transaction_id=TRANSACTION_ID, package_results=True)
    assert every == bytes.fromhex("bf5207 5c01a2 83020a0b")
    one = esep.ipa_euicc_data_request(tags=b"\x84", transaction_id=TRANSACTION_ID, result_seq_number=9)
    assert one == bytes.fromhex("bf520d 5c0284a2 a203800109 83020a0b")
    with pytest.raises(Malformed, match="tag"):
        esep.ipa_euicc_data_request(tags=b"", transaction_id=TRANSACTION_ID)


def test_a_trigger_holds_the_activation_code() -> None:
    trigger = esep.profile_download_trigger("1$a.b$C", TRANSACTION_ID)
    assert trigger == bytes.fromhex("bf540f a009 800731 24612e622443 82020a0b")
    with pytest.raises(Malformed, match="255"):
        esep.profile_download_trigger("1$a.b$" + "C" * 250, TRANSACTION_ID)


def test_a_poll_is_answered_with_a_package_or_a_reason() -> None:
    assert esep.eim_package(b"\xbf\x54\x00") == bytes.fromhex("bf4f03 bf5400")
    assert esep.eim_package_error(esep.EimPackageError.NO_EIM_PACKAGE_AVAILABLE) == bytes.fromhex("bf4f03 020101")
    assert esep.eim_package_error(esep.EimPackageError.EID_NOT_FOUND) == bytes.fromhex("bf4f03 020102")


def test_a_poll_tells_the_eid_alone_or_what_changed() -> None:
    plain = esep.GetEimPackage(eid=EID, notify_state_change=False, state_change_cause=None, rplmn=None)
    assert esep.parse_get_eim_package(wrap(0xBF4F, EID_TLV)) == plain
    full = wrap(0xBF4F, EID_TLV, bytes.fromhex("8000 810101 820362f220"))
    assert esep.parse_get_eim_package(full) == esep.GetEimPackage(
        eid=EID,
        notify_state_change=True,
        state_change_cause=esep.StateChangeCause.FALLBACK,
        rplmn=bytes.fromhex("62f220"),
    )


def test_a_poll_of_the_first_version_tells_its_network_elsewhere() -> None:
    poll = esep.parse_get_eim_package(wrap(0xBF4F, EID_TLV, bytes.fromhex("810362f220")))
    assert (poll.rplmn, poll.state_change_cause) == (bytes.fromhex("62f220"), None)


def test_a_poll_without_an_eid_is_told_apart_from_one_with_a_wrong_eid() -> None:
    with pytest.raises(esep.EidMissing):
        esep.parse_get_eim_package(bytes.fromhex("bf4f02 8000"))
    for wrong in (wrap(0x5A, bytes(15)), wrap(0x5A, b"\xaa" * 16)):
        with pytest.raises(esep.EidInvalid):
            esep.parse_get_eim_package(wrap(0xBF4F, wrong))
        with pytest.raises(esep.EidInvalid):
            esep.parse_provide_eim_package_result(wrap(0xBF50, wrong, wrap(0xA0, b"\x02\x01\x01")))


def test_acknowledgements_list_the_numbers() -> None:
    assert esep.acknowledgements([9, 0, 200]) == bytes.fromhex("bf500d bf530a 800109 800100 800200c8")


def test_nothing_to_acknowledge_is_the_empty_response() -> None:
    assert esep.acknowledgements(()) == esep.empty_response() == bytes.fromhex("bf5002 3000")


def test_a_result_that_was_not_taken_is_answered_with_a_reason() -> None:
    assert esep.result_error(esep.ResultError.EID_NOT_FOUND) == bytes.fromhex("bf5003 020102")


def test_the_first_tag_says_the_function() -> None:
    assert esep.first_tag(bytes.fromhex("bf4f00")) == 0xBF4F
    for cut in (b"", b"\xbf", bytes.fromhex("bf4f05")):
        with pytest.raises(Malformed):
            esep.first_tag(cut)


def test_a_configuration_has_its_keys_in_their_alternatives() -> None:
    built = esep.eim_configuration_data(
        eim_id="e.a",
        fqdn="f.a",
        counter=1,
        token=-1,
        public_key_spki=PUBLIC_KEY,
        tls_spki_or_certificate=CERTIFICATE,
        protocols=[esep.EimProtocol.RETRIEVE_HTTPS, esep.EimProtocol.INJECT_HTTPS],
        ci_key_id=b"\xab\xcd",
    )
    assert built == bytes.fromhex(
        "3033 8003652e61 8103662e61 820102 830101 8401ff a509a007 30000303000102 a60ba109 300030000303000102"
        "870205a0 8802abcd"
    )
    assert esep.add_initial_eim_request(built) == bytes.fromhex("bf5737 a035") + built


def test_a_configuration_leaves_out_what_is_not_there() -> None:
    built = esep.eim_configuration_data(
        eim_id="2.999",
        fqdn="f.a",
        counter=0,
        token=None,
        public_key_spki=PUBLIC_KEY,
        tls_spki_or_certificate=None,
        protocols=[],
        ci_key_id=None,
        id_type=esep.EimIdType.OID,
    )
    assert built == bytes.fromhex("3020 8005322e393939 8103662e61 820101 830100 a509a007 30000303000102 870100")


@pytest.mark.parametrize("key", ["", "3000", "30020500", "3104 3000 0300", "3004 3000 0300 00"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(Malformed):
        esep.eim_configuration_data(
            eim_id="e.a",
            fqdn="f.a",
            counter=0,
            token=None,
            public_key_spki=bytes.fromhex(key),
            tls_spki_or_certificate=None,
            protocols=[],
            ci_key_id=None,
        )

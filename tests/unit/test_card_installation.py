"""What the virtual eUICC refuses while it loads a bound profile package: command and reason of the result."""

from __future__ import annotations

from dataclasses import replace

import pytest
from card_test_pki import EID
from card_test_server import (
    ADDRESS,
    ICCID,
    PackageWish,
    ScriptedServer,
    authenticate,
    card,
    failure,
    install,
    load,
    metadata,
    notify,
    prepare,
    profile_package,
    replacement_keys,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from rsp.identifiers import Iccid
from rsp.tlv import header, objects, read, wrap, wrap_integer
from simulator.bpp_segments import split_bound_profile_package
from simulator.card import Card
from simulator.euicc_info import EuiccProperties
from simulator.metadata import ALLOW_ALL_RULES, AuthorisationRule, OperatorId
from tests.pictures import png, png_of

WISH = PackageWish()
OTHER = Iccid("8900012345678901242")
ISD_P, METADATA, KEYS, ELEMENTS = 1, 2, 4, 5
VALUES, STRUCTURE, SECURITY = 1, 7, 8
OWNER = wrap(0xB7, wrap(0x80, b"\x00\xf1\x10"))
PPR1, PPR2 = wrap(0x99, b"\x06\x40"), wrap(0x99, b"\x05\x20")


def spoilt(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


def template(key_type: bytes = b"\x88", length: bytes = b"\x10", host: bytes = b"host") -> bytes:
    return wrap(0x80, key_type) + wrap(0x81, length) + wrap(0x84, host)


FAULTY_PACKAGES = {
    "wrong opening signature": (replace(WISH, open_signature=spoilt), (0, 2)),
    "other transaction": (replace(WISH, transaction_id=b"other"), (0, 3)),
    "key type not AES": (replace(WISH, template=template(key_type=b"\x80")), (0, 4)),
    "key length not 16": (replace(WISH, template=template(length=b"\x20")), (0, 4)),
    "empty host id": (replace(WISH, template=template(host=b"")), (0, 4)),
    "host id of 17 bytes": (replace(WISH, template=template(host=bytes(17))), (0, 4)),
    "other remote operation": (replace(WISH, remote_operation=2), (0, 5)),
    "point off the curve": (replace(WISH, point=spoilt), (0, VALUES)),
    "keys for another EID": (replace(WISH, eid=EID[:-1] + "6"), (ISD_P, SECURITY)),
    "configuration of another tag": (replace(WISH, configuration=wrap(0xBF25)), (ISD_P, VALUES)),
    "too much proprietary data": (
        replace(WISH, configuration=wrap(0xBF24, wrap(0xB8, wrap(0x80, b"\x88\x37"), wrap(0x81, bytes(130))))),
        (ISD_P, VALUES),
    ),
    "proprietary data without OID": (
        replace(WISH, configuration=wrap(0xBF24, wrap(0xB8, wrap(0x81, b"x")))),
        (ISD_P, VALUES),
    ),
    "metadata without names": (replace(WISH, metadata=wrap(0xBF25, wrap(0x5A, ICCID.to_bytes()))), (METADATA, VALUES)),
    "metadata out of order": (
        replace(WISH, metadata=wrap(0xBF25, wrap(0x91, b"o"), wrap(0x5A, ICCID.to_bytes()), wrap(0x92, b"n"))),
        (METADATA, VALUES),
    ),
    "icon without its type": (
        replace(WISH, metadata=metadata(ICCID, wrap(0x94, b"png"), notifications=b"")),
        (METADATA, VALUES),
    ),
    "icon of another format than its type": (
        replace(WISH, metadata=metadata(ICCID, wrap(0x93, b"\x00"), wrap(0x94, png()), notifications=b"")),
        (METADATA, VALUES),
    ),
    "icon of 1025 bytes": (
        replace(WISH, metadata=metadata(ICCID, wrap(0x93, b"\x01"), wrap(0x94, png_of(1025)), notifications=b"")),
        (METADATA, VALUES),
    ),
    "vendor's data without its OID": (
        replace(WISH, metadata=metadata(ICCID, wrap(0xBF22, wrap(0x30, wrap(0xA1, b"\x04\x00"))))),
        (METADATA, VALUES),
    ),
    "fallbackAllowed neither true nor false": (
        replace(WISH, metadata=metadata(ICCID, wrap(0x9F67, b"\x01"))),
        (METADATA, VALUES),
    ),
    "fallbackAllowed before the vendor's data": (
        replace(WISH, metadata=metadata(ICCID, wrap(0x9F67, b"\xff"), wrap(0xBF22))),
        (METADATA, VALUES),
    ),
    "unknown profile class": (
        replace(WISH, metadata=metadata(ICCID, wrap(0x95, b"\x03"), notifications=b"")),
        (METADATA, VALUES),
    ),
    "notification address with a path": (
        replace(WISH, metadata=metadata(notifications=notify(b"\x04\xf0", "a/b"))),
        (METADATA, VALUES),
    ),
    "notification address with a port": (
        replace(WISH, metadata=metadata(notifications=notify(b"\x04\xf0", "a.example.com:8443"))),
        (METADATA, VALUES),
    ),
    "provider name of 33 characters": (
        replace(WISH, metadata=metadata(provider=b"O" * 33)),
        (METADATA, VALUES),
    ),
    "profile name of 65 characters": (replace(WISH, metadata=metadata(name=b"n" * 65)), (METADATA, VALUES)),
    "policy rule without owner": (replace(WISH, metadata=metadata(ICCID, PPR2)), (METADATA, VALUES)),
    "policy rule without authorisation": (replace(WISH, metadata=metadata(ICCID, OWNER, PPR2)), (METADATA, 15)),
    "replaced keys of another length": (
        replace(WISH, replacement=wrap(0xBF26, wrap(0x80, bytes(16)), wrap(0x81, bytes(24)), wrap(0x82, bytes(16)))),
        (KEYS, VALUES),
    ),
    "package of another ICCID": (replace(WISH, package=profile_package(OTHER)), (ELEMENTS, 13)),
    "package without end": (replace(WISH, package=profile_package()[:-4]), (ELEMENTS, 12)),
    "package cut off": (replace(WISH, package=profile_package()[:-1]), (ELEMENTS, 12)),
    "package with two headers": (replace(WISH, package=profile_package()[:40] + profile_package()), (ELEMENTS, 12)),
    "package of foreign tags": (replace(WISH, package=wrap(0xA0) + wrap(0x81) + wrap(0xAA)), (ELEMENTS, 12)),
    "element segment of 1036 bytes": (replace(WISH, size=1008), (ELEMENTS, STRUCTURE)),
    "metadata segment of 1021 bytes": (
        replace(WISH, metadata=metadata(ICCID, wrap(0xBF3F, bytes(2000))), metadata_size=1009),
        (METADATA, STRUCTURE),
    ),
}


@pytest.mark.parametrize("fault", FAULTY_PACKAGES)
def test_a_faulty_package_is_refused(fault: str) -> None:
    wish, expected = FAULTY_PACKAGES[fault]
    target = card()
    assert failure(install(target, ScriptedServer(), wish)) == expected, target.last_fault
    assert target.profiles == ()


def test_an_iccid_on_the_card_is_refused() -> None:
    target = card()
    install(target, ScriptedServer(), WISH)
    assert failure(install(target, ScriptedServer(), replace(WISH, secret=99))) == (METADATA, 9)


def test_too_little_memory_is_told() -> None:
    assert failure(install(card(free_memory=2000), ScriptedServer(), WISH)) == (ELEMENTS, 10)


def test_memory_is_counted_down_and_announced() -> None:
    target = card(free_memory=4000)
    install(target, ScriptedServer(), WISH)
    resources = read(target.get_euicc_info2()).members()[0x84].value
    found = {entry.tag: int.from_bytes(entry.value, "big") for entry in objects(resources)}
    assert (found[0x81], found[0x82]) == (1, 4000 - len(WISH.package))


@pytest.mark.parametrize(("flags", "expected"), [(b"", False), (b"\x00", False), (b"\xff", True)])
def test_the_card_keeps_whether_its_profile_may_be_the_fallback(flags: bytes, expected: bool) -> None:
    target = card()
    wish = replace(WISH, metadata=metadata(ICCID, wrap(0x9F67, flags) if flags else b""))
    assert failure(install(target, ScriptedServer(), wish)) == (-1, 0)
    assert target.profiles[0].details().fallback_allowed is expected
    assert (wrap(0x9F67, b"\xff") in target.profiles[0].info([0x5A, 0x9F67])) is expected


def test_data_for_the_device_alone_is_not_told_by_the_card() -> None:
    target = card()
    stored, other = (
        wrap(tag, wrap(0x30, wrap(0x80, b"*"), wrap(0xA1, wrap(0x04, text))))
        for tag, text in ((0xBF22, b"s"), (0xBF23, b"o"))
    )
    assert failure(install(target, ScriptedServer(), replace(WISH, metadata=metadata(ICCID, stored, other)))) == (-1, 0)
    told = target.profiles[0].info([0xBF22, 0xBF23])
    assert stored in told
    assert other not in told


def test_a_test_profile_needs_a_card_that_takes_them() -> None:
    target = card()
    target.properties = EuiccProperties(rsp_capability=(0,))
    wish = replace(WISH, metadata=metadata(ICCID, wrap(0x95, b"\x00"), notifications=b""))
    assert failure(install(target, ScriptedServer(), wish)) == (METADATA, 6)


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (OperatorId(mcc_mnc=b"\x00\xf1\x10"), (-1, 0)),
        (OperatorId(mcc_mnc=b"\x00\xf1\xee"), (-1, 0)),
        (OperatorId(mcc_mnc=b"\x00\xf1\x20"), (METADATA, 15)),
        (OperatorId(mcc_mnc=b"\xee\xee\xee", gid1=b"g"), (METADATA, 15)),
    ],
)
def test_a_policy_rule_is_for_authorised_operators(operator: OperatorId, expected: tuple[int, int]) -> None:
    rule = AuthorisationRule(policy_rules=frozenset({2}), operators=(operator,))
    wish = replace(WISH, metadata=metadata(ICCID, OWNER, PPR2))
    assert failure(install(card(rat=(rule,)), ScriptedServer(), wish)) == expected


def test_a_forbidden_policy_rule_beats_the_authorisation_table() -> None:
    target = card(rat=ALLOW_ALL_RULES)
    target.properties = EuiccProperties(forbidden_policy_rules=(2,))
    wish = replace(WISH, metadata=metadata(ICCID, OWNER, PPR2))
    assert failure(install(target, ScriptedServer(), wish)) == (METADATA, 15)


def test_ppr1_is_for_the_first_operational_profile() -> None:
    target = card(rat=ALLOW_ALL_RULES)
    install(target, ScriptedServer(), WISH)
    wish = replace(WISH, metadata=metadata(OTHER, OWNER, PPR1), package=profile_package(OTHER), secret=7)
    assert failure(install(target, ScriptedServer(), wish)) == (METADATA, 15)


def pieces_for(target: Card, wish: PackageWish = WISH) -> list[bytes]:
    server = ScriptedServer()
    return split_bound_profile_package(server.bound_package(prepare(target, server), wish))


def test_every_changed_segment_fails_its_mac() -> None:
    expected = [(ISD_P, SECURITY), (METADATA, SECURITY), (KEYS, SECURITY), (ELEMENTS, SECURITY)]
    found = []
    for tag in (0xA0, 0x88, 0xA2, 0x86):
        target = card()
        pieces = pieces_for(target, replace(WISH, replacement=replacement_keys()))
        place = next(index for index, piece in enumerate(pieces) if piece[0] == tag)
        pieces[place] = spoilt(pieces[place])
        found.append(failure(load(target, pieces)))
    assert found == expected


@pytest.mark.parametrize(("place", "expected"), [(3, (METADATA, STRUCTURE)), (5, (ELEMENTS, STRUCTURE))])
def test_a_segment_of_another_tag_is_refused(place: int, expected: tuple[int, int]) -> None:
    target = card()
    pieces = pieces_for(target)
    pieces[place] = b"\x87" + pieces[place][1:]
    assert failure(load(target, pieces)) == expected


def test_segments_in_another_order_fail() -> None:
    target = card()
    pieces = pieces_for(target)
    pieces[-2], pieces[-3] = pieces[-3], pieces[-2]
    assert failure(load(target, pieces)) == (ELEMENTS, SECURITY)


@pytest.mark.parametrize(("skipped", "expected"), [(1, (ISD_P, STRUCTURE)), (2, (METADATA, STRUCTURE))])
def test_a_missing_sequence_is_told(skipped: int, expected: tuple[int, int]) -> None:
    target = card()
    pieces = pieces_for(target)
    del pieces[skipped]
    assert failure(load(target, pieces)) == expected


def test_two_segments_in_one_piece_are_refused() -> None:
    target = card()
    pieces = pieces_for(target)
    pieces[-3:-1] = [pieces[-3] + pieces[-2]]
    assert failure(load(target, pieces)) == (ELEMENTS, STRUCTURE)


def test_a_header_with_a_long_form_of_a_short_length_is_refused() -> None:
    target = card()
    pieces = pieces_for(target)
    assert pieces[2] == header(0xA1, pieces[2][1])
    pieces[2] = b"\xa1\x81" + pieces[2][1:]
    assert failure(load(target, pieces)) == (METADATA, STRUCTURE)


def test_a_package_that_announces_more_than_it_holds_is_refused() -> None:
    target = card()
    pieces = pieces_for(target)
    first = bytearray(pieces[0])
    first[4] += 1
    assert failure(load(target, [bytes(first), *pieces[1:]])) == (ELEMENTS, STRUCTURE)


def test_a_package_that_holds_more_than_it_announces_is_refused() -> None:
    target = card()
    pieces = pieces_for(target)
    first = bytearray(pieces[0])
    first[4] -= 1
    assert failure(load(target, [bytes(first), *pieces[1:]])) == (ELEMENTS, STRUCTURE)


@pytest.mark.parametrize(("place", "expected"), [(2, (METADATA, STRUCTURE)), (4, (ELEMENTS, STRUCTURE))])
def test_a_sequence_header_comes_without_its_first_segment(place: int, expected: tuple[int, int]) -> None:
    target = card()
    pieces = pieces_for(target)
    pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
    assert failure(load(target, pieces)) == expected


def test_after_a_result_the_session_is_over() -> None:
    target = card()
    pieces = pieces_for(target, replace(WISH, open_signature=spoilt))
    load(target, pieces)
    with pytest.raises(ValueError, match="PrepareDownload"):
        target.load_bound_profile_package(pieces[1])


def test_a_failure_after_the_metadata_names_the_iccid() -> None:
    result = install(card(free_memory=10), ScriptedServer(), WISH)
    assert read(result).members()[0xBF27].members()[0xBF2F].members()[0x5A].value == ICCID.to_bytes()


def test_a_failed_result_waits_as_notification() -> None:
    target = card(free_memory=10)
    result = install(target, ScriptedServer(), WISH)
    assert next(read(target.retrieve_notifications()).children()).value == result


def test_a_later_version_may_add_members_to_the_metadata() -> None:
    wish = replace(WISH, metadata=metadata(ICCID, wrap(0xBF3F, wrap(0x80, b"new"))))
    assert failure(install(card(), ScriptedServer(), wish)) == (-1, 0)


@settings(max_examples=60)
@given(st.data())
def test_any_bytes_as_a_piece_end_in_a_result(data: st.DataObject) -> None:
    target = card()
    pieces = pieces_for(target)
    place = data.draw(st.integers(0, len(pieces) - 1))
    noise = data.draw(st.binary(max_size=40).filter(lambda value: value != pieces[place]))
    answer = b""
    for piece in (*pieces[:place], noise):
        answer = target.load_bound_profile_package(piece)
    assert failure(answer)[1] != 0


# Cancel ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [0, 1, 2, 3, 4, 5, 127])
def test_a_session_is_cancelled_with_a_signed_answer(reason: int) -> None:
    from test_card_download import check_signature

    target, server = card(), ScriptedServer()
    authenticate(target, server)
    request = wrap(0xBF41, wrap(0x80, server.transaction_id), wrap_integer(0x81, reason))
    signed, signature = next(read(target.cancel_session(request)).children()).children()
    check_signature("nist", signature, signed.raw)
    found = signed.members()
    assert (found[0x80].value, found[0x81].value) == (server.transaction_id, b"\x88\x37\x0a")
    assert found[0x82].integer() == reason


@pytest.mark.parametrize("transaction_id", [b"other", bytes(range(16))])
def test_a_session_that_is_not_open_cannot_be_cancelled(transaction_id: bytes) -> None:
    target, server = card(), ScriptedServer()
    if transaction_id == b"other":
        authenticate(target, server)
    answer = target.cancel_session(wrap(0xBF41, wrap(0x80, transaction_id), wrap(0x81, b"\0")))
    assert answer == wrap(0xBF41, wrap(0x81, b"\x05"))


def test_an_unknown_reason_is_no_command() -> None:
    with pytest.raises(ValueError, match="reason"):
        card().cancel_session(wrap(0xBF41, wrap(0x80, b"t"), wrap(0x81, b"\x06")))


def test_the_server_address_is_where_the_result_goes() -> None:
    result = install(card(), ScriptedServer(), WISH)
    assert read(result).members()[0xBF27].members()[0xBF2F].members()[0x0C].text() == ADDRESS


def test_a_card_of_the_field_takes_longer_segments_than_the_standard_allows() -> None:
    patient = card()
    patient.properties = EuiccProperties(longest_segment=1036)
    assert failure(install(patient, ScriptedServer(), replace(WISH, size=1008))) == (-1, 0)
    assert failure(install(patient, ScriptedServer(), replace(WISH, size=1024, secret=6)))[1] != 0

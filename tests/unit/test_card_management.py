"""Local management of the virtual eUICC: profiles, notifications, addresses, and what survives on disk."""

from __future__ import annotations

import contextlib
import stat
from pathlib import Path

import pytest
from card_test_pki import NOW, pki
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
    read_point,
    replacement_keys,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from test_card_download import check_signature

from rsp.identifiers import Iccid
from rsp.tlv import Tlv, read, wrap, wrap_integer
from simulator.bpp_segments import split_bound_profile_package
from simulator.card import Card
from simulator.euicc_info import EuiccProperties
from simulator.metadata import ALLOW_ALL_RULES
from simulator.profiles import ProfileState

OTHER = Iccid("8900012345678901242")
OWNER = wrap(0xB7, wrap(0x80, b"\x00\xf1\x10"))
PPR1, PPR2 = wrap(0x99, b"\x06\x40"), wrap(0x99, b"\x05\x20")
NO_SUCH = Iccid("8900099999999999999")
INSTALL, ENABLE, DISABLE, DELETE = b"\x07\x80", b"\x06\x40", b"\x05\x20", b"\x04\x10"


def wish(iccid: Iccid = ICCID, *more: bytes, secret: int = 12345) -> PackageWish:
    return PackageWish(metadata=metadata(iccid, *more), package=profile_package(iccid), secret=secret)


def card_with(*iccids: Iccid, more: tuple[bytes, ...] = ()) -> Card:
    target = card(rat=ALLOW_ALL_RULES)
    for number, iccid in enumerate(iccids):
        assert failure(install(target, ScriptedServer(), wish(iccid, *more, secret=number + 5))) == (-1, 0)
        target.remove_notification(wrap(0xBF30, wrap_integer(0x80, number)))
    return target


def named(iccid: Iccid) -> bytes:
    return wrap(0x5A, iccid.to_bytes())


def enable(target: Card, iccid: Iccid, refresh: bytes = b"\xff") -> int:
    answer = target.enable_profile(wrap(0xBF31, wrap(0xA0, named(iccid)), wrap(0x81, refresh)))
    return read(answer).members()[0x80].integer()


def disable(target: Card, iccid: Iccid) -> int:
    answer = target.disable_profile(wrap(0xBF32, wrap(0xA0, named(iccid)), wrap(0x81, b"\xff")))
    return read(answer).members()[0x80].integer()


def delete(target: Card, iccid: Iccid) -> int:
    return read(target.delete_profile(wrap(0xBF33, named(iccid)))).members()[0x80].integer()


def states(target: Card) -> list[ProfileState]:
    return [profile.state for profile in target.profiles]


def events(target: Card) -> list[bytes]:
    listed = next(read(target.list_notifications()).children()).children()
    return [entry.members()[0x81].value for entry in listed]


def pending(target: Card, request: bytes = b"\xbf\x2b\x00") -> list[Tlv]:
    return list(next(read(target.retrieve_notifications(request)).children()).children())


def test_enabling_disables_the_current_profile() -> None:
    target = card_with(ICCID, OTHER)
    assert [enable(target, ICCID), enable(target, OTHER)] == [0, 0]
    assert states(target) == [ProfileState.DISABLED, ProfileState.ENABLED]
    assert events(target) == [ENABLE, DISABLE, ENABLE]


def test_the_refresh_flag_asks_for_a_refresh() -> None:
    target = card_with(ICCID, OTHER)
    enable(target, ICCID, refresh=b"\x00")
    assert target.refreshes == 0
    enable(target, OTHER)
    assert target.refreshes == 1


def test_a_profile_may_be_named_by_its_aid() -> None:
    target = card_with(ICCID)
    request = wrap(0xBF31, wrap(0xA0, wrap(0x4F, target.profiles[0].aid)), wrap(0x81, b"\xff"))
    assert target.enable_profile(request) == wrap(0xBF31, wrap(0x80, b"\0"))


@pytest.mark.parametrize("operation", [enable, disable, delete])
def test_an_unknown_profile_is_not_found(operation: object) -> None:
    assert callable(operation)
    assert operation(card_with(ICCID), NO_SUCH) == 1


def test_an_operation_in_the_wrong_state_is_refused() -> None:
    target = card_with(ICCID)
    assert disable(target, ICCID) == 2
    enable(target, ICCID)
    assert [enable(target, ICCID), delete(target, ICCID)] == [2, 2]


def test_ppr1_forbids_disabling_and_replacing() -> None:
    target = card(rat=ALLOW_ALL_RULES)
    install(target, ScriptedServer(), wish(ICCID, OWNER, PPR1))
    install(target, ScriptedServer(), wish(OTHER, secret=6))
    enable(target, ICCID)
    assert [disable(target, ICCID), enable(target, OTHER)] == [3, 3]


def test_ppr2_forbids_deletion() -> None:
    target = card_with(ICCID, more=(OWNER, PPR2))
    assert delete(target, ICCID) == 3


def test_deletion_frees_memory_and_the_iccid() -> None:
    target = card_with(ICCID)
    before = target.free_memory
    assert delete(target, ICCID) == 0
    assert target.free_memory == before + len(profile_package())
    assert failure(install(target, ScriptedServer(), wish(secret=77))) == (-1, 0)


def test_other_notifications_carry_their_chain_and_verify() -> None:
    target = card_with(ICCID)
    enable(target, ICCID)
    described, signature, euicc, eum = pending(target)[0].children()
    check_signature("nist", signature, described.raw)
    assert (euicc.raw, eum.raw) == (pki("nist").euicc.der, pki("nist").eum.der)
    found = described.members()
    assert [found[tag].value for tag in (0x80, 0x81, 0x0C, 0x5A)] == [
        b"\x01", ENABLE, ADDRESS.encode(), ICCID.to_bytes()
    ]  # fmt: skip


def test_events_nobody_asked_for_leave_no_notification() -> None:
    target = card()
    entries = notify(b"\x07\x80", ADDRESS) + notify(b"\x04\x10", ADDRESS) + notify(b"\x04\x10", "b.example.com")
    install(target, ScriptedServer(), PackageWish(metadata=metadata(notifications=entries)))
    enable(target, ICCID)
    disable(target, ICCID)
    assert events(target) == [INSTALL]
    delete(target, ICCID)
    assert events(target) == [INSTALL, DELETE, DELETE]


def test_an_address_is_told_once_per_event() -> None:
    target = card()
    entries = notify(b"\x04\x10", ADDRESS) + notify(b"\x04\x10", ADDRESS)
    install(target, ScriptedServer(), PackageWish(metadata=metadata(notifications=entries)))
    delete(target, ICCID)
    assert events(target) == [INSTALL, DELETE]


def test_sequence_numbers_count_on_after_removal() -> None:
    target = card_with(ICCID)
    enable(target, ICCID)
    target.remove_notification(wrap(0xBF30, wrap(0x80, b"\x01")))
    disable(target, ICCID)
    assert next(pending(target)[0].children()).members()[0x80].integer() == 2


def test_notifications_are_selected_by_number_and_event() -> None:
    target = card_with(ICCID)
    enable(target, ICCID)
    disable(target, ICCID)
    assert len(pending(target, wrap(0xBF2B, wrap(0xA0, wrap(0x80, b"\x02"))))) == 1
    assert len(pending(target, wrap(0xBF2B, wrap(0xA0, wrap(0x81, ENABLE))))) == 1
    assert pending(target, wrap(0xBF2B, wrap(0xA0, wrap(0x80, b"\x63")))) == []
    assert target.list_notifications(wrap(0xBF28, wrap(0x81, DELETE))) == wrap(0xBF28, wrap(0xA0))


def test_removing_a_notification_twice_is_told() -> None:
    target = card()
    install(target, ScriptedServer(), wish())
    request = wrap(0xBF30, wrap(0x80, b"\0"))
    assert target.remove_notification(request) == wrap(0xBF30, wrap(0x80, b"\0"))
    assert target.remove_notification(request) == wrap(0xBF30, wrap(0x80, b"\1"))


def test_profiles_are_listed_with_the_default_members() -> None:
    target = card_with(ICCID)
    listed = next(next(read(target.get_profiles_info()).children()).children())
    found = {child.tag: child.value for child in listed.children()}
    assert list(found) == [0x5A, 0x4F, 0x9F70, 0x91, 0x92, 0x95]
    assert (found[0x5A], found[0x9F70], found[0x95]) == (ICCID.to_bytes(), b"\0", b"\2")


def test_profiles_are_searched_and_members_chosen() -> None:
    target = card_with(ICCID, OTHER)
    request = wrap(0xBF2D, wrap(0xA0, named(OTHER)), wrap(0x5C, b"\x5a\x9f\x70"))
    expected = wrap(0xE3, named(OTHER), wrap(0x9F70, b"\0"))
    assert target.get_profiles_info(request) == wrap(0xBF2D, wrap(0xA0, expected))
    by_class = wrap(0xBF2D, wrap(0xA0, wrap(0x95, b"\0")))
    assert target.get_profiles_info(by_class) == wrap(0xBF2D, wrap(0xA0))


def test_two_search_criteria_are_no_command() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        card().get_profiles_info(wrap(0xBF2D, wrap(0xA0, named(ICCID), named(OTHER))))


def test_a_nickname_is_kept_and_removed() -> None:
    target = card_with(ICCID)
    assert target.set_nickname(wrap(0xBF29, named(ICCID), wrap(0x90, b"work"))) == wrap(0xBF29, wrap(0x80, b"\0"))
    assert [profile.nickname for profile in target.profiles] == ["work"]
    target.set_nickname(wrap(0xBF29, named(ICCID), wrap(0x90)))
    assert [profile.nickname for profile in target.profiles] == [None]
    assert target.set_nickname(wrap(0xBF29, named(NO_SUCH), wrap(0x90))) == wrap(0xBF29, wrap(0x80, b"\1"))


def test_the_default_address_is_set_and_read() -> None:
    target = card()
    target.set_default_smdp_address(wrap(0xBF3F, wrap(0x80, ADDRESS.encode())))
    assert read(target.get_configured_addresses()).members()[0x80].text() == ADDRESS


def test_the_eid_is_told() -> None:
    target = card()
    assert target.get_eid() == wrap(0xBF3E, wrap(0x5A, target.eid.to_bytes()))


def test_the_rules_authorisation_table_is_told() -> None:
    rule = wrap(0x30, wrap(0x80, b"\x05\x60"), wrap(0xA1, wrap(0x30, wrap(0x80, b"\xee\xee\xee"))), wrap(0x82, b"\0"))
    assert card(rat=ALLOW_ALL_RULES).get_rat() == wrap(0xBF43, wrap(0xA0, rule))


def test_a_reset_deletes_operational_profiles_even_when_enabled() -> None:
    target = card_with(ICCID, more=(OWNER, PPR2))
    enable(target, ICCID)
    assert target.reset_memory(wrap(0xBF34, wrap(0x82, b"\x07\x80"))) == wrap(0xBF34, wrap(0x80, b"\0"))
    assert target.profiles == ()
    assert events(target) == [ENABLE, DELETE]
    assert target.reset_memory(wrap(0xBF34, wrap(0x82, b"\x07\x80"))) == wrap(0xBF34, wrap(0x80, b"\1"))


def test_later_versions_may_add_to_the_info() -> None:
    target = card()
    extra = wrap(0xB4, wrap(0x80, b"v3"))
    target.properties = EuiccProperties(svn=b"\x02\x02\x02", extra_info1=extra, extra_info2=extra)
    for info in (target.get_euicc_info1(), target.get_euicc_info2()):
        found = read(info).members()
        assert (found[0x82].value, found[0xB4].raw) == (b"\x02\x02\x02", extra)


@pytest.mark.parametrize(
    "function",
    ["enable_profile", "disable_profile", "delete_profile", "set_nickname", "remove_notification", "get_profiles_info",
     "retrieve_notifications", "list_notifications", "get_eid", "get_rat", "reset_memory", "cancel_session",
     "get_configured_addresses", "set_default_smdp_address", "prepare_download", "authenticate_server"],
)  # fmt: skip
@settings(max_examples=30)
@given(noise=st.binary(max_size=60))
def test_any_bytes_are_answered_or_no_command(function: str, noise: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert read(getattr(card(), function)(noise)).raw[:2] == noise[:2]


# On disk ---------------------------------------------------------------------------------------------------------


def test_a_card_survives_its_process(tmp_path: Path) -> None:
    target = card_with(ICCID, more=(OWNER, PPR2))
    enable(target, ICCID)
    target.set_nickname(wrap(0xBF29, named(ICCID), wrap(0x90, b"work")))
    target.save(tmp_path / "card.json")
    again = Card.load(tmp_path / "card.json")
    assert again.profiles == target.profiles
    assert again.to_bytes() == target.to_bytes()
    assert again.get_euicc_info2() == target.get_euicc_info2()
    assert again.get_rat() == target.get_rat()
    assert pending(again) == pending(target)
    assert disable(again, ICCID) == 0
    assert next(pending(again)[-1].children()).members()[0x80].integer() == 2


def test_a_saved_card_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    for _ in range(2):
        card().save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["card.json"]


def test_a_stored_one_time_key_and_the_segments_seen_survive() -> None:
    target, server = card(), ScriptedServer()
    first = prepare(target, server)
    load(target, split_bound_profile_package(server.bound_package(first, PackageWish()))[:-1])
    again = Card.from_bytes(target.to_bytes(), now=lambda: NOW)
    second = again.prepare_download(server.prepare_request(authenticate(again, server), euicc_point=read_point(first)))
    assert read_point(second) == read_point(first)
    changed = PackageWish(package=profile_package(size=2400))
    assert failure(load(again, split_bound_profile_package(server.bound_package(second, changed)))) == (5, 8)


def test_a_download_continues_on_a_card_read_from_disk() -> None:
    again = Card.from_bytes(card("nist", "brainpool").to_bytes(), now=lambda: NOW)
    assert failure(install(again, ScriptedServer("brainpool"), PackageWish(replacement=replacement_keys()))) == (-1, 0)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"format": 2}', b'{"format": 1}', b"\xff"])
def test_something_else_is_no_card(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Card.from_bytes(data)


def test_no_private_key_shows_in_a_representation() -> None:
    target, server = card(), ScriptedServer()
    prepare(target, server)
    shown = repr(target) + repr(target.credentials) + repr(target.memory)
    assert "PrivateKey" not in shown
    assert "private" not in shown

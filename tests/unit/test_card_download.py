"""Whole downloads onto the virtual eUICC, on both curves and in both protection modes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from card_test_pki import OWNER, pki
from card_test_server import (
    ADDRESS,
    CONTEXT,
    ICCID,
    PackageWish,
    ScriptedServer,
    authenticate,
    card,
    challenge_of,
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
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from rsp.identifiers import Iccid
from rsp.tlv import Tlv, oid_from_bytes, read, wrap
from simulator.bpp_segments import split_bound_profile_package
from simulator.profiles import ProfileState

BOTH_CURVES = pytest.mark.parametrize("curve", ["nist", "brainpool"])


def check_signature(curve: str, signature: Tlv, data: bytes) -> None:
    value = signature.value
    made = utils.encode_dss_signature(int.from_bytes(value[:32], "big"), int.from_bytes(value[32:], "big"))
    pki(curve).euicc.key.public_key().verify(made, data, ec.ECDSA(hashes.SHA256()))


@BOTH_CURVES
def test_a_profile_is_installed_with_session_keys(curve: str) -> None:
    target = card("nist", "brainpool")
    assert failure(install(target, ScriptedServer(curve), PackageWish())) == (-1, 0)
    (profile,) = target.profiles
    assert (profile.iccid, profile.state, profile.smdp_oid) == (ICCID, ProfileState.DISABLED, OWNER)
    assert (profile.package, profile.metadata) == (profile_package(), metadata())


@BOTH_CURVES
def test_a_profile_is_installed_with_replaced_keys(curve: str) -> None:
    target = card(curve)
    wish = PackageWish(replacement=replacement_keys())
    assert failure(install(target, ScriptedServer(curve), wish)) == (-1, 0)
    assert target.profiles[0].package == profile_package()


def test_the_answer_to_authentication_is_signed_over_what_was_received() -> None:
    target, server = card(), ScriptedServer()
    answer = authenticate(target, server)
    signed, signature, euicc, eum = next(read(answer).children()).children()
    check_signature("nist", signature, signed.raw)
    assert [child.raw for child in signed.children()] == [
        wrap(0x80, server.transaction_id),
        wrap(0x83, ADDRESS.encode()),
        wrap(0x84, server.server_challenge),
        target.get_euicc_info2(),
        CONTEXT,
    ]
    assert (euicc.raw, eum.raw) == (pki("nist").euicc.der, pki("nist").eum.der)


def test_the_answer_to_prepare_download_carries_the_hash_and_is_signed_with_the_servers_signature() -> None:
    target, server = card(), ScriptedServer()
    request = server.prepare_request(authenticate(target, server), hash_cc=b"h" * 32, cc_required=b"\xff")
    signed, signature = next(read(target.prepare_download(request)).children()).children()
    check_signature("nist", signature, signed.raw + list(read(request).children())[1].raw)
    assert signed.members()[0x04].value == b"h" * 32


def test_the_installation_result_is_signed_and_names_session_profile_and_server() -> None:
    target, server = card(), ScriptedServer()
    result = install(target, server, PackageWish())
    data, signature = read(result).children()
    check_signature("nist", signature, data.raw)
    found = data.members()
    described = found[0xBF2F].members()
    assert found[0x80].value == server.transaction_id
    assert oid_from_bytes(found[0x06].value) == OWNER
    assert [described[tag].value for tag in (0x80, 0x81, 0x0C, 0x5A)] == [
        b"\x00", b"\x07\x80", ADDRESS.encode(), ICCID.to_bytes()
    ]  # fmt: skip
    assert next(found[0xA2].children()).members()[0x4F].value == target.profiles[0].aid


def test_openssl_verifies_the_installation_result(tmp_path: Path) -> None:
    data, signature = read(install(card(), ScriptedServer(), PackageWish())).children()
    value = signature.value
    made = utils.encode_dss_signature(int.from_bytes(value[:32], "big"), int.from_bytes(value[32:], "big"))
    key = pki("nist").euicc.key.public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for name, content in (("key.pem", pem), ("sig", made), ("data", data.raw)):
        (tmp_path / name).write_bytes(content)
    command = ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "sig", "data"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_other_addresses_get_an_install_notification_of_their_own() -> None:
    target = card()
    entries = notify(b"\x07\x80", ADDRESS) + notify(b"\x07\x80", "other.example.com")
    install(target, ScriptedServer(), PackageWish(metadata=metadata(notifications=entries)))
    pending = list(next(read(target.retrieve_notifications()).children()).children())
    assert [entry.tag for entry in pending] == [0xBF37, 0x30]
    described, signature, *_ = pending[1].children()
    check_signature("nist", signature, described.raw)
    assert described.members()[0x0C].text() == "other.example.com"


def test_the_server_address_may_be_an_sm_ds() -> None:
    from card_test_pki import Wish, server_entity

    server = ScriptedServer()
    server.auth = server_entity("nist", Wish(role="ds_auth"))
    assert next(read(authenticate(card(), server)).children()).tag == 0xA0


def test_an_interrupted_download_continues_with_the_stored_key_and_the_same_segments() -> None:
    target, server = card(), ScriptedServer()
    first = prepare(target, server)
    pieces = split_bound_profile_package(server.bound_package(first, PackageWish()))
    assert load(target, pieces[:-1]) == b""
    server.transaction_id = b"second session.."
    request = server.prepare_request(authenticate(target, server), euicc_point=read_point(first))
    second = target.prepare_download(request)
    assert read_point(second) == read_point(first)
    again = split_bound_profile_package(server.bound_package(second, PackageWish()))
    assert again[1:] == pieces[1:]
    assert failure(load(target, again)) == (-1, 0)


def test_a_one_time_key_is_spent_by_an_installation() -> None:
    target, server = card(), ScriptedServer()
    first = prepare(target, server)
    load(target, split_bound_profile_package(server.bound_package(first, PackageWish())))
    request = server.prepare_request(authenticate(target, server), euicc_point=read_point(first))
    assert read_point(target.prepare_download(request)) != read_point(first)


def test_an_unknown_offered_key_gives_a_fresh_one() -> None:
    target, server = card(), ScriptedServer()
    first = prepare(target, server)
    unknown = b"\x04" + b"u" * 64
    second = target.prepare_download(server.prepare_request(authenticate(target, server), euicc_point=unknown))
    assert read_point(second) not in (read_point(first), unknown)


def test_the_same_keys_for_another_text_are_refused() -> None:
    target, server = card(), ScriptedServer()
    first = prepare(target, server)
    load(target, split_bound_profile_package(server.bound_package(first, PackageWish()))[:-1])
    request = server.prepare_request(authenticate(target, server), euicc_point=read_point(first))
    wish = PackageWish(package=profile_package(size=2400))
    package = server.bound_package(target.prepare_download(request), wish)
    assert failure(load(target, split_bound_profile_package(package))) == (5, 8)


def test_the_same_protection_keys_for_another_profile_are_refused() -> None:
    target = card()
    install(target, ScriptedServer(), PackageWish(replacement=replacement_keys()))
    other = Iccid("8900012345678901242")
    wish = PackageWish(
        metadata=metadata(other), package=profile_package(other), replacement=replacement_keys(), secret=999
    )
    assert failure(install(target, ScriptedServer(), wish)) == (5, 8)


def test_content_without_profile_elements_is_installed_when_the_check_is_off() -> None:
    target = card(check_profile_elements=False)
    assert failure(install(target, ScriptedServer(), PackageWish(package=b"plain text"))) == (-1, 0)


def test_proprietary_data_of_the_server_is_kept() -> None:
    target = card()
    data = wrap(0xB8, wrap(0x80, b"\x88\x37\x0a"))
    install(target, ScriptedServer(), PackageWish(configuration=wrap(0xBF24, data)))
    assert target.profiles[0].proprietary_data == data


def test_a_first_sequence_of_several_segments_may_come_one_by_one() -> None:
    target, server = card(), ScriptedServer()
    data = wrap(0xB8, wrap(0x80, b"\x88\x37\x0a"), wrap(0x81, bytes(90)))
    wish = PackageWish(configuration=wrap(0xBF24, data), size=64)
    pieces = split_bound_profile_package(server.bound_package(prepare(target, server), wish))
    sequence = read(pieces[1])
    first, *others = sequence.children()
    pieces[1:2] = [pieces[1][: first.end], *(segment.raw for segment in others)]
    assert failure(load(target, pieces)) == (-1, 0)


def test_a_new_challenge_ends_the_session() -> None:
    target, server = card(), ScriptedServer()
    pieces = split_bound_profile_package(server.bound_package(prepare(target, server), PackageWish()))
    challenge_of(target)
    with pytest.raises(ValueError, match="no download is prepared"):
        load(target, pieces)


@BOTH_CURVES
def test_the_one_time_key_lies_on_the_curve_of_the_server(curve: str) -> None:
    target = card("nist", "brainpool")
    point = read_point(prepare(target, ScriptedServer(curve)))
    ec.EllipticCurvePublicKey.from_encoded_point(pki(curve).curve, point)

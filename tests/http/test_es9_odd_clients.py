"""Odd but real clients and devices of later versions are served as any other, in both bindings (SGP.22 5.6, 6.2)."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from rsp import tlv
from simulator.card import Card
from simulator.euicc_info import EuiccProperties
from simulator.lpa_messages import Device
from tests.conformance import conforms
from tests.es9_cases import without_code
from tests.es9_stage import (
    ASN1,
    AUTHENTICATE,
    DELIVER,
    INITIATE,
    JSON,
    WIRES,
    Dialogue,
    Es9Stage,
    Refusal,
    Wire,
)
from tests.protocol_stage import Ordered, Stage, installed_on

both = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
FRP = bytes.fromhex("4c27967ad20c14b391e9601e41e604ad57c0222f")
"""A key id under which no CI is known here, such as those of keys on FRP256v1."""


@pytest.fixture
async def es9(stage: Stage) -> AsyncIterator[Es9Stage]:
    async with Es9Stage.opened(stage) as opened:
        yield opened


@pytest.fixture
async def ordered(stage: Stage) -> Ordered:
    return await stage.order()


async def installs(device: Dialogue, ordered: Ordered, info: Device | None = None) -> None:
    """The whole way."""
    assert not isinstance(await device.initiate(), Refusal)
    shown = await device.authenticate(device.challenged(info))
    assert not isinstance(shown, Refusal), shown
    assert device.install(await device.deliver()).succeeded
    assert installed_on(device.card) == {str(ordered.iccid): ordered.upp}


# How a request is written ---------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    "address", ["SMDP.EXAMPLE.COM", "Smdp.Example.com:443", "smdp.example.com:8443", "smdp.example.com"]
)
async def test_the_address_may_have_any_case_and_a_port(
    es9: Es9Stage, ordered: Ordered, wire: Wire, address: str
) -> None:
    device = es9.dialogue(wire, es9.stage.card(), ordered.matching_id)
    found = await device.initiate(address)
    assert not isinstance(found, Refusal)
    assert tlv.read(found["serverSigned1"]).members()[0x83].value == b"smdp.example.com"
    assert not isinstance(await device.authenticate(), Refusal)


HEADERS: dict[str, Mapping[str, str]] = {
    "the oldest": {"X-Admin-Protocol": "gsma/rsp/v2.0.0"},
    "lpac": {"X-Admin-Protocol": "gsma/rsp/v2.2.2", "User-Agent": "gsma-rsp-lpad"},
    "version 3": {"X-Admin-Protocol": "gsma/rsp/v3.0.0"},
    "a later version 3": {"X-Admin-Protocol": "gsma/rsp/v3.1.0", "User-Agent": "gsma-rsp-lpad"},
    "none that anybody knows": {"X-Admin-Protocol": "x"},
    "empty": {"X-Admin-Protocol": ""},
    "all that a browser sends": {"Accept": "*/*", "Accept-Encoding": "gzip, br", "Cookie": "a=b", "Origin": "null"},
}


@both
@pytest.mark.parametrize("what", HEADERS)
async def test_header_fields_of_any_client_do_not_disturb(es9: Es9Stage, wire: Wire, what: str) -> None:
    device = es9.dialogue(wire, es9.stage.card())
    await device.initiate()
    body = device.sent[INITIATE]
    assert not isinstance(wire.read(INITIATE, await device.send(INITIATE, body, **HEADERS[what])), Refusal)


@both
async def test_a_media_type_may_have_parameters_and_any_case(es9: Es9Stage, wire: Wire) -> None:
    device = es9.dialogue(wire, es9.stage.card())
    await device.initiate()
    for media in (f"{wire.media_type}; charset=utf-8", wire.media_type.upper()):
        answer = await device.send(INITIATE, device.sent[INITIATE], **{"Content-Type": media})
        assert not isinstance(wire.read(INITIATE, answer), Refusal)


def in_lines(text: str) -> str:
    return "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76)) + "\r\n"


async def test_base64_in_lines_and_hexadecimal_in_lower_case_are_read_in_every_function(
    es9: Es9Stage, ordered: Ordered
) -> None:
    def odd(body: bytes) -> bytes:
        members = json.loads(body)
        for name, text in members.items():
            members[name] = text.lower() if name == "transactionId" else in_lines(text)
            members[name] = text.upper() if name == "smdpAddress" else members[name]
        return json.dumps(members, indent=2).encode()

    class OddWire(type(JSON)):  # type: ignore[misc]
        def write(self, function: str, members: Mapping[str, bytes]) -> bytes:
            return odd(JSON.write(function, members))

    await installs(es9.dialogue(OddWire(), es9.stage.card(), ordered.matching_id), ordered)


BODY_HEADERS: list[Any] = [
    {"functionRequesterIdentifier": "x", "functionCallIdentifier": "y"},
    {},
    None,
    [],
    "header",
    {"functionExecutionStatus": {"status": "Failed"}},
]


@pytest.mark.parametrize("header", BODY_HEADERS)
async def test_a_header_in_the_body_of_a_request_is_passed_over(es9: Es9Stage, ordered: Ordered, header: Any) -> None:
    class WithHeader(type(JSON)):  # type: ignore[misc]
        def write(self, function: str, members: Mapping[str, bytes]) -> bytes:
            return json.dumps({"header": header, **json.loads(JSON.write(function, members))}).encode()

    await installs(es9.dialogue(WithHeader(), es9.stage.card(), ordered.matching_id), ordered)


# What is in it --------------------------------------------------------------------------------------------------------


@conforms("SGP.22 5.6.3", "without a MatchingID the order is found by the EID", function=AUTHENTICATE,
          where="store/downloads.py")  # fmt: skip
@both
@pytest.mark.parametrize("matching_id", [None, ""])
async def test_no_matching_id_or_an_empty_one_finds_the_order_of_the_card(
    es9: Es9Stage, wire: Wire, matching_id: str | None
) -> None:
    card = es9.stage.card()
    await es9.stage.order()
    ordered = await es9.stage.order(eid=card.eid)
    await installs(es9.dialogue(wire, card, matching_id), ordered)


@conforms("SGP.22 5.6.2", "a hashCc nobody asked for is passed over", function=DELIVER, where="smdp/delivery.py")
@both
@pytest.mark.parametrize("hash_cc", [b"", bytes(32)])
async def test_a_confirmation_code_nobody_asked_for_is_passed_over(
    es9: Es9Stage, ordered: Ordered, wire: Wire, hash_cc: bytes
) -> None:
    device = await es9.dialogue(wire, es9.stage.card(), ordered.matching_id).begun()
    found = await device.deliver(message=without_code(device, hash_cc))
    assert not isinstance(found, Refusal)
    assert (await es9.stage.seen(ordered)).codes == 0


@both
async def test_a_device_may_tell_its_imei_or_hardly_anything(es9: Es9Stage, wire: Wire) -> None:
    for info in (Device(imei="352906110000008"), Device(capabilities={}), Device(tac="00000000", capabilities={})):
        await installs(
            es9.dialogue(wire, es9.stage.card(), (ordered := await es9.stage.order()).matching_id), ordered, info
        )


# Later versions -------------------------------------------------------------------------------------------------------

_SIGNING_V3 = tlv.wrap(0xB1, tlv.wrap(0x04, FRP))
_HIGHEST = tlv.wrap(0x93, b"\x03\x01\x00")
V3 = EuiccProperties(
    svn=b"\x02\x02\x00",
    extra_info1=_SIGNING_V3 + tlv.wrap(0x88, b"\x00\xff") + _HIGHEST,
    extra_info2=_SIGNING_V3 + tlv.wrap(0x92, b"\x01\x00\x00") + _HIGHEST + tlv.wrap(0xBF7C, tlv.wrap(0x80, b"x")),
)
V3_ONLY = EuiccProperties(svn=b"\x03\x01\x00", extra_info1=V3.extra_info1, extra_info2=V3.extra_info2)
IOT = EuiccProperties(
    extra_info1=_SIGNING_V3 + _HIGHEST,
    extra_info2=tlv.wrap(0x90, b"\x01")
    + _SIGNING_V3
    + tlv.wrap(0xB2, tlv.wrap(0x80, b"x"))
    + _HIGHEST
    + tlv.wrap(0xB4, tlv.wrap(0xA0, tlv.wrap(0x04, b"\x01\x02\x00"))),
)
V3_DEVICE = Device(
    imei="352906110000008",
    later=tlv.wrap(0xA3, tlv.wrap(0x0C, b"de"), tlv.wrap(0x0C, b"en")) + tlv.wrap(0x84) + tlv.wrap(0x85, b"\x06\xc0"),
    later_capabilities=tlv.wrap(0x8B, b"\x03\x01\x00") + tlv.wrap(0x8C, b"\x07\x80") + tlv.wrap(0x8D, b"\x01"),
)


@conforms("SGP.22 6.1", "devices and eUICCs of version 3 and SGP.32 are served as version 2", function=AUTHENTICATE,
          where="rsp/es10/infos.py")  # fmt: skip
@both
@pytest.mark.parametrize("properties", [V3, V3_ONLY, IOT], ids=["v3", "v3-only", "sgp32"])
async def test_a_device_of_a_later_version_is_served_as_version_2(
    es9: Es9Stage, ordered: Ordered, wire: Wire, properties: EuiccProperties
) -> None:
    device = es9.dialogue(wire, es9.stage.card(properties=properties), ordered.matching_id)
    await installs(device, ordered, V3_DEVICE)


async def test_the_capabilities_of_an_lpa_of_version_3_are_passed_over(es9: Es9Stage) -> None:
    device = es9.dialogue(JSON, es9.stage.card())
    await device.initiate()
    body = {**json.loads(device.sent[INITIATE]), "lpaRspCapability": base64.b64encode(b"\x03\x02\x07\x80").decode()}
    assert not isinstance(JSON.read(INITIATE, await device.send(INITIATE, json.dumps(body).encode())), Refusal)
    device = es9.dialogue(ASN1, es9.stage.card())
    await device.initiate()
    called = tlv.read_only(tlv.read_only(device.sent[INITIATE], 0xA2).value, 0xBF39)
    longer = tlv.wrap(0xA2, tlv.wrap(0xBF39, called.value, tlv.wrap(0x85, b"\x06\xc0")))
    assert not isinstance(ASN1.read(INITIATE, await device.send(INITIATE, longer)), Refusal)


def info1(card: Card, verification: tuple[bytes, ...], signing: tuple[bytes, ...]) -> bytes:
    """EUICCInfo1 with other key lists."""
    members = tlv.read_only(card.get_euicc_info1(), 0xBF20).members()
    lists = [
        tlv.wrap(tag, *(tlv.wrap(0x04, one) for one in ids)) for tag, ids in ((0xA9, verification), (0xAA, signing))
    ]
    return tlv.wrap(0xBF20, members[0x82].raw, *lists)


@both
async def test_keys_nobody_knows_are_passed_over_in_both_lists(es9: Es9Stage, ordered: Ordered, wire: Wire) -> None:
    card = es9.stage.card()
    own = card.credentials[0].ci_key_id
    many = (FRP, bytes(20), b"short", bytes(64), *(bytes((number,)) * 20 for number in range(1, 60)))
    device = es9.dialogue(wire, card, ordered.matching_id)
    found = await device.initiate(euiccInfo1=info1(card, (*many, own), (*many, own)))
    assert not isinstance(found, Refusal)
    assert found["euiccCiPKIdToBeUsed"] == tlv.wrap(0x04, own)
    assert not isinstance(await device.authenticate(), Refusal)
    for verification, signing, code in (
        ((*many, own), many, "8.8.2/3.1"),
        (many, (*many, own), "8.8.4/3.7"),
        (many, many, "8.8.2/3.1"),
        ((), (), "8.8.2/3.1"),
        ((), (own,), "8.8.4/3.7"),
    ):
        refused = await device.initiate(euiccInfo1=info1(card, verification, signing))
        assert isinstance(refused, Refusal)
        assert refused.code == (code if wire is JSON else 3)

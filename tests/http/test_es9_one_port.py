"""ES9+ and ESipa on one listener or on two: the first tag and the TLS name tell them apart (SGP.22 6.6, SGP.32 6.1)."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientConnectorCertificateError

from rsp import tlv
from server import listening
from server.settings import load
from tests.http_stage import NAME, Answer, Edge, Material, edge

EIM = "eim.example.com"
PATH = "/gsma/rsp2/asn1"
# GetEimPackage of a card the eIM does not know, and InitiateAuthentication for a server this is not.
ESIPA = tlv.wrap(0xBF4F, tlv.wrap(0x5A, bytes.fromhex("89049032123451234512345678901235")))
ES9 = tlv.wrap(
    0xA2,
    tlv.wrap(
        0xBF39,
        tlv.wrap(0x81, bytes(16)),
        tlv.wrap(0x83, b"other.example.com"),
        bytes.fromhex("bf20098203020500a900aa00"),
    ),
)
ESIPA_ANSWER, ES9_ANSWER = "bf4f03020102", "a206bf3903810101"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture
async def one_port(database: str, edge_material: Material, tmp_path: Path) -> AsyncIterator[Edge]:
    port = free_port()
    async with edge(edge_material, database, tmp_path, es9_port=port, eim_port=port) as opened:
        assert opened.ports["eim"] == opened.ports["es9"] == port
        yield opened


async def post(edge: Edge, listener: str, name: str, body: bytes) -> Answer:
    async with edge.http.post(
        f"https://127.0.0.1:{edge.ports[listener]}{PATH}",
        data=body,
        headers={"Content-Type": "application/x-gsma-rsp-asn1"},
        ssl=edge.material.trust(),
        server_hostname=name,
    ) as response:
        return Answer(status=response.status, headers=dict(response.headers), body=await response.read())


@pytest.mark.parametrize("name", [NAME, EIM, EIM.upper()])
async def test_one_listener_answers_both_under_each_name(one_port: Edge, name: str) -> None:
    smdp, eim = await post(one_port, "es9", name, ES9), await post(one_port, "es9", name, ESIPA)
    assert (smdp.status, smdp.body.hex(), smdp.headers["X-Admin-Protocol"]) == (200, ES9_ANSWER, "gsma/rsp/v2.5.0")
    assert (eim.status, eim.body.hex(), eim.headers["X-Admin-Protocol"]) == (200, ESIPA_ANSWER, "gsma/rsp/v2.1.0")


async def test_one_listener_shows_no_certificate_for_a_name_that_is_neither(one_port: Edge) -> None:
    with pytest.raises(ClientConnectorCertificateError):
        await post(one_port, "es9", "other.example.com", ES9)


async def test_one_listener_still_answers_the_json_binding(one_port: Edge) -> None:
    answer = await one_port.device("initiateAuthentication", one_port.card().initiate())
    assert (answer.status, "serverSigned1" in answer.json()) == (200, True)


async def test_what_is_neither_is_400_on_one_listener(one_port: Edge) -> None:
    for body in (b"", b"\xbf", bytes.fromhex("bf3b00"), b"{}"):
        answer = await post(one_port, "es9", NAME, body)
        assert (answer.status, b" " in answer.body) == (400, True), answer


async def test_each_listener_of_its_own_refuses_the_other_ones_tag_with_a_sentence(at_edge: Edge) -> None:
    assert at_edge.ports["eim"] != at_edge.ports["es9"]
    smdp, eim = await post(at_edge, "es9", NAME, ES9), await post(at_edge, "eim", EIM, ESIPA)
    assert (smdp.body.hex(), eim.body.hex()) == (ES9_ANSWER, ESIPA_ANSWER)
    smdp, eim = await post(at_edge, "es9", NAME, ESIPA), await post(at_edge, "eim", EIM, ES9)
    assert (smdp.status, smdp.body) == (400, b"a request of ES9+ starts with tag A2, this one with BF4F")
    assert (eim.status, eim.body) == (400, b"A2 is no function of ESipa here: send one of BF4F, BF50, BF3D")


def test_only_the_same_host_and_port_make_one_listener() -> None:
    assert load({}, es9_port=8443, eim_port=8443).shares_es9_listener
    assert not load({}, es9_port=0, eim_port=0).shares_es9_listener
    assert not load({}, es9_port=8443, eim_port=8443, eim_host="127.0.0.2").shares_es9_listener
    with listening.reserved(load({}, es9_port=0, es2_port=0, eim_port=0, api_port=0, ops_port=0)) as ports:
        assert ports["es9"] != ports["eim"]

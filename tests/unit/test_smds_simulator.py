"""ES12 and ES11 between our client, the simulated SM-DS and simulated cards, over TLS (SGP.22 3.6, 5.8, 5.10)."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
import pytest

from crypto.curves import Curve
from es12.client import Es12Client
from rsp.errors import Refused, Unreachable
from rsp.identifiers import Eid, MatchingId
from rsp.status import Status
from simulator.card import Card
from simulator.discovery import Discovery
from simulator.euicc_info import EuiccProperties
from simulator.exchange import FunctionFailed
from simulator.misbehaviour import Misbehaviour
from simulator.smds import ES12, SmDs, Trouble
from simulator.smds_book import Book, SmdsRefused
from simulator.smds_sessions import Sessions
from simulator.strict_json import read_reply, request_body, to_base64
from smdp.event import Event, EventRefused, SmdsPolicy
from tests.conformance import conforms
from tests.protocol_stage import Material
from tests.smds_stage import ROOT, SMDS, device_exchange, es12_client, es12_session, issuers
from transport.resolving import ChosenHosts, is_public

EID = Eid("89049032123451234512345678901235")


def event(eid: Eid = EID, event_id: str = "TOKEN-1", address: str = SMDS) -> Event:
    return Event(id=7, tenant_id=1, order_id=1, smds_address=address, eid=eid, event_id=MatchingId(event_id), attempt=1)


@pytest.fixture
async def smds(material: Material) -> AsyncIterator[SmDs]:
    async with SmDs(issuers(material.pki), address=SMDS) as running:
        yield running


@pytest.fixture
async def es12(material: Material, smds: SmDs) -> AsyncIterator[Es12Client]:
    async with es12_session(material.pki, smds) as http:
        yield es12_client(http)


def a_card(material: Material, curve: Curve, *misbehave: Misbehaviour) -> Card:
    issuer = material.issuers[curve]
    eid = issuer.eid(4711)
    return Card(eid, [issuer.issue(eid)], misbehave=frozenset(misbehave))


@conforms(
    "SGP.22 5.10.1", "an event is registered with EID, address, EventID and forwarding indicator",
    function="registerEvent", binding="json", where="es12/client.py",
)  # fmt: skip
async def test_event_is_registered_and_deleted(es12: Es12Client, smds: SmDs) -> None:
    await es12.register(event(), forwarding=True)
    (call,) = smds.calls("registerEvent")
    assert (call.requester, call.call_id) == ("smdp.example.com", "smdp-event-7-1")
    assert (call.eid, call.event_id, call.address, call.forwarding) == (
        EID, MatchingId("TOKEN-1"), "smdp.example.com", True,
    )  # fmt: skip
    assert smds.events(EID) == [("TOKEN-1", "smdp.example.com")]
    await es12.delete(event())
    assert (smds.events(EID), smds.faults) == ([], [])
    assert smds.calls("deleteEvent")[0].call_id == "smdp-event-7-1-delete"


async def test_sm_ds_tells_what_it_refuses(es12: Es12Client) -> None:
    await es12.register(event(), forwarding=False)
    with pytest.raises(EventRefused) as twice:
        await es12.register(event(), forwarding=False)
    assert twice.value.means(Status.EVENT_REGISTERED_ALREADY)
    await es12.delete(event())
    with pytest.raises(EventRefused) as gone:
        await es12.delete(event())
    assert gone.value.means(Status.EVENT_UNKNOWN)


@pytest.mark.parametrize("trouble", [trouble for trouble in Trouble if trouble is not Trouble.HELD])
async def test_lost_answer_is_neither_done_nor_refused(es12: Es12Client, smds: SmDs, trouble: Trouble) -> None:
    smds.fail_next("registerEvent", trouble)
    with pytest.raises(Unreachable):
        await es12.register(event(), forwarding=False)
    done = trouble in (Trouble.ERROR_AFTER, Trouble.DROP_AFTER)
    assert smds.events(EID) == ([("TOKEN-1", "smdp.example.com")] if done else [])


async def test_slow_sm_ds_is_given_up(material: Material, smds: SmDs) -> None:
    smds.fail_next("registerEvent", Trouble.HELD)
    async with es12_session(material.pki, smds) as http:
        with pytest.raises(Unreachable, match="TimeoutError"):
            await es12_client(http, timeout=0.2).register(event(), forwarding=False)


async def test_sm_ds_that_is_certified_for_another_name_is_not_trusted(material: Material, smds: SmDs) -> None:
    impostor = SmDs(issuers(material.pki), address="other.example.com", port=smds.port)
    async with es12_session(material.pki, impostor) as http:
        with pytest.raises(Unreachable, match="Certificate"):
            await es12_client(http).register(event(address="other.example.com"), forwarding=False)
    assert smds.seen == []


async def test_caller_without_a_certificate_is_turned_away(material: Material, smds: SmDs) -> None:
    context = ssl.create_default_context(cadata=material.pki.ci_certificates[0])
    async with aiohttp.ClientSession() as http:
        url = f"https://127.0.0.1:{smds.port}{ES12}deleteEvent"
        async with http.post(url, data=b"{}", ssl=context, server_hostname=SMDS) as answer:
            assert answer.status == 403


@pytest.mark.parametrize("lacks", ["header", "eid", "rspServerAddress", "eventId", "forwardingIndicator"])
async def test_sm_ds_wants_exactly_the_members_of_the_standard(material: Material, smds: SmDs, lacks: str) -> None:
    body = {
        "header": {"functionRequesterIdentifier": "a", "functionCallIdentifier": "b"},
        "eid": str(EID),
        "rspServerAddress": "smdp.example.com",
        "eventId": "TOKEN-1",
        "forwardingIndicator": False,
    }
    body.pop(lacks)
    headers = {"Content-Type": "application/json", "X-Admin-Protocol": "gsma/rsp/v2.5.0"}
    async with es12_session(material.pki, smds) as http:
        url = f"https://{SMDS}{ES12}registerEvent"
        async with http.post(url, data=json.dumps(body), headers=headers) as answer:
            assert answer.status == 400
    assert len(smds.faults) == 1


@pytest.mark.parametrize("curve", [Curve.P256, Curve.BRAINPOOL_P256R1])
async def test_card_is_told_its_own_events(material: Material, es12: Es12Client, smds: SmDs, curve: Curve) -> None:
    card = a_card(material, curve)
    await es12.register(event(), forwarding=False)
    await es12.register(event(card.eid, "MINE"), forwarding=False)
    async with device_exchange(material.pki, smds_example_com=("127.0.0.1", smds.port)) as exchange:
        lds = Discovery(card, exchange)
        (entry,) = await lds.events(SMDS)
        assert (str(entry.event_id), entry.rsp_server_address) == ("MINE", "smdp.example.com")
        assert await lds.events(SMDS, entry.event_id) == [entry]
        with pytest.raises(FunctionFailed, match=r"8\.9\.5/3\.9"):
            await lds.events(SMDS, MatchingId("TOKEN-1"))


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Misbehaviour.WRONG_SIGNATURE1, r"8\.1/6\.1"),
        (Misbehaviour.WRONG_SERVER_CHALLENGE, r"8\.1/6\.1"),
        (Misbehaviour.FORGED_EUICC, r"8\.1\.3/6\.1"),
        (Misbehaviour.FORGED_EUM, r"8\.1\.2/6\.1"),
        (Misbehaviour.FOREIGN_EUM, r"8\.11\.1/3\.9"),
    ],
)
async def test_sm_ds_tells_nothing_to_an_impostor(
    material: Material, smds: SmDs, fault: Misbehaviour, code: str
) -> None:
    card = a_card(material, Curve.P256, fault)
    async with device_exchange(material.pki, smds_example_com=("127.0.0.1", smds.port)) as exchange:
        with pytest.raises(FunctionFailed, match=code):
            await Discovery(card, exchange).events(SMDS)


def asked(card: Card, address: str = SMDS) -> bytes:
    """InitiateAuthentication of ES11."""
    return request_body(
        {
            "euiccChallenge": to_base64(card.get_euicc_challenge()[-16:]),
            "euiccInfo1": to_base64(card.get_euicc_info1()),
            "smdpAddress": address,
        }
    )


def refused(material: Material, body: bytes) -> Status:
    sessions = Sessions(SMDS, Book(), issuers(material.pki, [Curve.P256]), lambda: datetime.now(UTC))
    with pytest.raises(SmdsRefused) as refusal:
        sessions.initiate_authentication(body)
    return refusal.value.status


def test_sm_ds_refuses_what_an_sm_dp_plus_would_refuse(material: Material) -> None:
    card, brainpool = a_card(material, Curve.P256), a_card(material, Curve.BRAINPOOL_P256R1)
    old = Card(card.eid, card.credentials, properties=EuiccProperties(svn=bytes((1, 9, 0))))
    deaf = Card(card.eid, [replace(card.credentials[0], ci_certificates=brainpool.credentials[0].ci_certificates)])
    assert refused(material, asked(card, "other.example.com")) is Status.SMDS_ADDRESS_REFUSED
    assert refused(material, asked(old)) is Status.SMDS_SVN_UNSUPPORTED
    assert refused(material, asked(brainpool)) is Status.SMDS_CI_FOR_SIGNING_UNSUPPORTED
    assert refused(material, asked(deaf)) is Status.SMDS_CI_FOR_VERIFICATION_UNAVAILABLE


async def test_session_of_the_sm_ds_is_used_once(material: Material, smds: SmDs) -> None:
    card = a_card(material, Curve.P256)
    body = request_body({"transactionId": "00" * 16, "authenticateServerResponse": to_base64(b"\xbf\x38\x00")})
    async with device_exchange(material.pki, smds_example_com=("127.0.0.1", smds.port)) as exchange:
        assert await Discovery(card, exchange).events(SMDS) == []
        answer = await exchange.post(SMDS, "/gsma/rsp2/es11/authenticateClient", body)
        with pytest.raises(FunctionFailed, match=r"8\.10\.1/3\.9"):
            read_reply("authenticateClient", answer, ())


async def test_alternative_sm_ds_cascades_to_its_root(material: Material, es12: Es12Client) -> None:
    card = a_card(material, Curve.P256)
    async with (
        SmDs(issuers(material.pki), address=ROOT) as root,
        SmDs(issuers(material.pki), address=SMDS, root=root) as alternative,
        es12_session(material.pki, alternative) as http,
        device_exchange(
            material.pki,
            smds_example_com=("127.0.0.1", alternative.port),
            root_example_com=("127.0.0.1", root.port),
        ) as exchange,
    ):
        client, lds = es12_client(http), Discovery(card, exchange)
        await client.register(event(card.eid), forwarding=True)
        (first,) = await lds.events(ROOT)
        assert first.rsp_server_address == SMDS
        (second,) = await lds.events(SMDS, first.event_id)
        assert second.rsp_server_address == "smdp.example.com"
        await client.delete(event(card.eid))
        assert (root.events(card.eid), alternative.events(card.eid)) == ([], [])


# Which SM-DS may be called --------------------------------------------------------------------------------------------


@conforms(
    "SGP.22 5.3.2", "an address that is none of an SM-DS is refused",
    Status.SMDS_UNREACHABLE, function="confirmOrder", where="smdp/event.py",
)  # fmt: skip
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "[::1]", "::1", "localhost", "127.1", "2130706433", "0x7f000001", "127.0.0.0x1",
        "smds", "smds.example.com:22", "smds.example.com/x", "user@smds.example.com", "smds.example.com?", "a..b", "",
        " smds.example.com", "smds.example.com\n", "smds.example.com.", "-a.example", "\u24de.example", "1.2.3",
    ],
)  # fmt: skip
def test_what_is_no_public_host_name_is_refused(address: str) -> None:
    with pytest.raises(Refused) as refusal:
        SmdsPolicy().accepted(address)
    assert refusal.value.status is Status.SMDS_UNREACHABLE


def test_listed_names_are_the_only_ones_once_there_are_any() -> None:
    policy = SmdsPolicy(hosts=frozenset({"smds", "lpa.ds.gsma.com"}))
    assert policy.accepted("LPA.ds.GSMA.com") == "lpa.ds.gsma.com"
    assert policy.accepted("smds") == "smds"
    with pytest.raises(Refused):
        policy.accepted("other.example.com")


def test_event_at_an_alternative_sm_ds_is_forwarded() -> None:
    policy = SmdsPolicy(roots=frozenset({ROOT}))
    assert (policy.forwards(ROOT), policy.forwards(SMDS)) == (False, True)


class Answers(aiohttp.abc.AbstractResolver):
    """A name server that says what it is told."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts
        self.asked: list[tuple[str, int]] = []

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[aiohttp.abc.ResolveResult]:
        self.asked.append((host, port))
        common = aiohttp.abc.ResolveResult(hostname=host, host="", port=port, family=0, proto=0, flags=0)
        return [{**common, "host": address} for address in self.hosts]

    async def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "ff02::1",
        "2002:7f00:1::", "192.0.2.1",
    ],
)  # fmt: skip
async def test_name_that_leads_to_an_address_of_our_own_network_is_not_called(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(OSError, match="not at a public address"):
        await ChosenHosts({}, Answers(address)).resolve("smds.example.com", 443)


async def test_public_addresses_are_kept_of_a_name_that_has_both_kinds() -> None:
    found = await ChosenHosts({}, Answers("127.0.0.1", "8.8.8.8", "2001:4860:4860::8888")).resolve("a.example", 443)
    assert [ipaddress.ip_address(address["host"]).version for address in found] == [4, 6]


async def test_listed_name_goes_where_the_server_was_told() -> None:
    answers = Answers("127.0.0.1")
    resolver = ChosenHosts({"smds.example.com": ("ds", 8449), "ds.internal": None}, answers)
    (found,) = await resolver.resolve("SMDS.example.com", 443)
    await resolver.resolve("ds.internal", 443)
    assert answers.asked == [("ds", 8449), ("ds.internal", 443)]
    assert (found["host"], found["port"], found["hostname"]) == ("127.0.0.1", 8449, "SMDS.example.com")


async def test_unlisted_name_at_loopback_is_not_connected_to(material: Material, smds: SmDs) -> None:
    context = ssl.create_default_context(cadata=material.pki.ci_certificates[0])
    connector = aiohttp.TCPConnector(ssl=context, resolver=ChosenHosts({}, Answers("127.0.0.1")))
    async with aiohttp.ClientSession(connector=connector) as http:
        with pytest.raises(Unreachable):
            await es12_client(http).register(replace(event(), smds_address=SMDS), forwarding=False)
    assert smds.seen == []


async def test_held_call_is_done_even_when_its_caller_is_gone(material: Material, smds: SmDs) -> None:
    smds.fail_next("registerEvent", Trouble.HELD)
    async with es12_session(material.pki, smds) as http:
        call = asyncio.create_task(es12_client(http).register(event(), forwarding=False))
        await smds.wait_for(lambda now: bool(now.seen))
        smds.resume()
        await call
    assert len(smds.events(EID)) == 1

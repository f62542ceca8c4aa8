"""The ES9+ client against our own server: a download, refusals, and notifications that are sent on (SGP.22 5.6)."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import pytest

from crypto.curves import Curve
from eim.ports import Forward
from es9plus.client import USER_AGENT, DownloadRefused, Es9PlusClient
from rsp import tlv
from rsp.errors import Unreachable
from rsp.identifiers import TransactionId
from server.forwarding import NotificationForwarder
from simulator import lpa_messages
from simulator.bpp_segments import split_bound_profile_package
from simulator.card import Card
from simulator.exchange import AddressBook
from simulator.lpa_messages import CancelReason, Device
from simulator.misbehaviour import Misbehaviour
from smdp.downloads import Authenticated, Initiated
from tests.es9_stage import Es9Stage, lpa_trust
from tests.protocol_stage import CURVES, NAME, Stage, installed_on
from transport.client import GsmaClient


@pytest.fixture
async def es9(stage: Stage) -> AsyncIterator[Es9Stage]:
    async with Es9Stage.opened(stage) as opened:
        yield opened


@pytest.fixture
async def session(es9: Es9Stage) -> AsyncIterator[aiohttp.ClientSession]:
    """As the server makes it, but for the addresses of names."""
    book = AddressBook({NAME: ("127.0.0.1", es9.port)})
    connector = aiohttp.TCPConnector(ssl=lpa_trust(es9.stage), resolver=book, use_dns_cache=False)
    async with aiohttp.ClientSession(connector=connector, headers={"User-Agent": USER_AGENT}) as opened:
        yield opened


@pytest.fixture
def client(session: aiohttp.ClientSession) -> Es9PlusClient:
    return Es9PlusClient(GsmaClient(session, f"https://{NAME}", 5.0))


async def initiated(client: Es9PlusClient, card: Card) -> Initiated:
    challenge = lpa_messages.euicc_challenge(card.get_euicc_challenge())
    return await client.initiate_authentication(challenge, card.get_euicc_info1(), NAME)


def challenged(card: Card, begun: Initiated, matching_id: str | None) -> bytes:
    key_id = tlv.wrap(0x04, begun.ci_key_id)
    server = (begun.server_signed1, begun.server_signature1, key_id, begun.certificate)
    return card.authenticate_server(lpa_messages.authenticate_server_request(server, matching_id, Device()))


def prepared(card: Card, shown: Authenticated, code: str) -> bytes:
    hashed = lpa_messages.hashed_confirmation_code(code, shown.transaction_id)
    request = lpa_messages.prepare_download_request(
        shown.smdp_signed2, shown.smdp_signature2, shown.certificate, hashed
    )
    return card.prepare_download(request)


@pytest.mark.parametrize("curve", CURVES)
async def test_a_whole_download_through_the_client_is_installed(
    es9: Es9Stage, client: Es9PlusClient, curve: Curve
) -> None:
    ordered, card = await es9.stage.order(code="4711"), es9.stage.card(curves=(curve,))
    begun = await initiated(client, card)
    shown = await client.authenticate_client(begun.transaction_id, challenged(card, begun, ordered.matching_id))
    with pytest.raises(DownloadRefused) as refused:
        await client.get_bound_profile_package(begun.transaction_id, prepared(card, shown, "4712"))
    assert refused.value.codes == ("8.2.7", "3.8")
    package = await client.get_bound_profile_package(begun.transaction_id, prepared(card, shown, "4711"))
    reports = [card.load_bound_profile_package(piece) for piece in split_bound_profile_package(package)]
    await client.handle_notification(reports[-1])
    assert await es9.stage.judge() == [("installed", True)]
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}


async def test_refusals_and_cancellations_come_through(es9: Es9Stage, client: Es9PlusClient) -> None:
    ordered, card = await es9.stage.order(), es9.stage.card()
    with pytest.raises(DownloadRefused) as refused:
        await client.initiate_authentication(bytes(16), card.get_euicc_info1(), "other.example.com")
    assert (refused.value.codes, refused.value.function) == (("8.8.1", "3.8"), "initiateAuthentication")
    with pytest.raises(DownloadRefused) as refused:
        await client.initiate_authentication(bytes(15), card.get_euicc_info1(), NAME)
    assert refused.value.codes == ("1.3.1", "2.1")
    forger = es9.stage.card(Misbehaviour.WRONG_SIGNATURE1)
    begun = await initiated(client, forger)
    with pytest.raises(DownloadRefused) as refused:
        await client.authenticate_client(begun.transaction_id, challenged(forger, begun, ordered.matching_id))
    assert refused.value.codes == ("8.1", "6.1")
    begun = await initiated(client, card)
    await client.authenticate_client(begun.transaction_id, challenged(card, begun, ordered.matching_id))
    cancel = card.cancel_session(lpa_messages.cancel_session_request(begun.transaction_id, CancelReason.POSTPONED))
    await client.cancel_session(begun.transaction_id, cancel)
    with pytest.raises(DownloadRefused) as refused:
        await client.cancel_session(TransactionId(bytes(16)), cancel)
    assert refused.value.codes == ("8.10.1", "3.9")
    assert (await es9.stage.seen(ordered)).sessions == (("ended", None),)


async def test_a_server_that_is_away_is_unreachable(session: aiohttp.ClientSession) -> None:
    client = Es9PlusClient(GsmaClient(session, "https://nobody.example.com", 5.0))
    with pytest.raises(Unreachable):
        await client.handle_notification(b"\x30\x00")


def message(address: str, notification: bytes) -> Any:
    forward = Forward(address=address, pending_notification=base64.b64encode(notification).decode())
    return SimpleNamespace(body=msgspec.json.encode(forward))


async def test_a_notification_is_sent_on_byte_for_byte_to_the_server_a_card_names(
    es9: Es9Stage, session: aiohttp.ClientSession
) -> None:
    forwarder = NotificationForwarder(session, 5.0)
    await forwarder.send(message(NAME, b"\x30\x03\x02\x01\x00"))
    assert [row["raw"] for row in await es9.stage.notes()] == [b"\x30\x03\x02\x01\x00"]
    with pytest.raises(Unreachable):
        await forwarder.send(message("nobody.example.com", b"\x30\x00"))

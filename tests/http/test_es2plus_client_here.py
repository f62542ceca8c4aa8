"""The ES2+ client against our own server: every function over mutual TLS, as another operator would call it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest

from es2plus.client import Es2PlusClient, OrderRefused
from rsp.errors import Unreachable
from rsp.identifiers import Eid, Iccid
from rsp.status import Status
from tests.http_stage import NAME, OPERATOR, TYPE, Edge
from transport.client import GsmaClient
from transport.tls import peer_context

EID = Eid("89049032123451234512345678901235")


@pytest.fixture
async def client(at_edge: Edge) -> AsyncIterator[Es2PlusClient]:
    certificate, key = at_edge.material.pki.operator_files(OPERATOR)
    tls = peer_context(_ci(at_edge), certificate.read_text(), key.read_text())
    async with aiohttp.ClientSession() as session:
        gsma = GsmaClient(session, f"https://127.0.0.1:{at_edge.ports['es2']}", 10.0, NAME, tls)
        yield Es2PlusClient(gsma, OPERATOR)


def _ci(edge: Edge) -> str:
    """The CI of the server's TLS certificate, as PEM."""
    return "".join(ssl.DER_cert_to_PEM_cert(der) for der in edge.material.pki.ci_certificates)


def codes(status: Status) -> tuple[str, str]:
    return status.subject, status.reason


async def test_an_order_lives_and_ends_by_the_client(at_edge: Edge, client: Es2PlusClient) -> None:
    (digits,) = await at_edge.stock()
    iccid = await client.download_order("c-1", eid=EID, profile_type=TYPE)
    assert iccid == Iccid(digits)
    assert await client.download_order("c-1", eid=EID, profile_type=TYPE) == iccid
    confirmed = await client.confirm_order("c-2", iccid, release=False, eid=EID, matching_id="OURS-1")
    assert (confirmed.matching_id, confirmed.eid, confirmed.smdp_address) == ("OURS-1", str(EID), NAME)
    (status,) = await client.profile_status("c-3", [iccid, Iccid("8988211999999999999")])
    assert (status.iccid, status.state, status.eid, status.matching_id) == (iccid, "CONFIRMED", EID, "OURS-1")
    await client.release_profile("c-4", iccid)
    with pytest.raises(OrderRefused) as refused:
        await client.recover_profile("c-5", iccid, "Available")
    assert refused.value.codes == codes(Status.ICCID_INVALID_TRANSITION)
    await client.cancel_order("c-6", iccid, "Available", eid=EID, matching_id="OURS-1")
    (status,) = await client.profile_status("c-7", [iccid])
    assert (status.state, status.eid, status.matching_id) == ("AVAILABLE", None, "")


async def test_refusals_come_with_the_codes_of_the_server(at_edge: Edge, client: Es2PlusClient) -> None:
    (digits,) = await at_edge.stock()
    iccid = Iccid(digits)
    for call, status in (
        (client.download_order("c-1", profile_type="unheard-of"), Status.PROFILE_TYPE_UNKNOWN),
        (client.release_profile("c-2", Iccid("8988211999999999999")), Status.ICCID_UNKNOWN),
        (client.confirm_order("c-3", iccid, release=True), Status.ICCID_INVALID_TRANSITION),
    ):
        with pytest.raises(OrderRefused) as refused:
            await call
        assert refused.value.codes == codes(status)
    await client.download_order("c-4", iccid=iccid)
    with pytest.raises(OrderRefused) as reused:
        await client.download_order("c-4", profile_type=TYPE)
    assert reused.value.codes == codes(Status.CALL_ID_REUSED)
    with pytest.raises(OrderRefused) as unreachable:
        await client.confirm_order("c-5", iccid, release=True, eid=EID, smds_address="smds.example.com")
    assert unreachable.value.codes == codes(Status.SMDS_UNREACHABLE)


async def test_a_server_that_drains_or_does_not_know_us_says_nothing_about_what_was_done(
    at_edge: Edge, client: Es2PlusClient
) -> None:
    at_edge.gate.open = False
    with pytest.raises(Unreachable, match="503"):
        await client.release_profile("c-1", Iccid("8988211999999999999"))
    at_edge.gate.open = True
    await at_edge.execute("DELETE FROM tenant_certificates")
    with pytest.raises(Unreachable, match="403"):
        await client.release_profile("c-1", Iccid("8988211999999999999"))

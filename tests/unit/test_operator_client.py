"""The operator's ES2+ client against a scripted SM-DP+ that asks for a client certificate."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import pytest
from lpa_pki import Pki, make_pki
from lpa_script import Reply, Script, failure, success

from rsp.identifiers import Eid, Iccid, MatchingId
from simulator.exchange import Exchange, FunctionFailed, Habits, NoAnswer, ProtocolFault, Retries, identify, trust
from simulator.operator import Confirmed, FinalStatus, OperatorClient

HOST = "es2.example.com"
ICCID = Iccid("8900012345678901234")
EID = Eid("89049032123451234512345678901235")


async def no_pause(seconds: float) -> None:
    return None


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"), HOST)


@pytest.fixture
async def script(pki: Pki) -> AsyncIterator[Script]:
    server = Script()
    tls = pki.server()
    tls.verify_mode = ssl.CERT_REQUIRED
    await server.start(tls, "/gsma/rsp2/es2plus/{function}")
    yield server
    await server.stop()


@pytest.fixture
async def operator(script: Script, pki: Pki) -> AsyncIterator[OperatorClient]:
    tls = identify(trust(pki.ca_file), pki.folder / "client.pem", pki.folder / "client.key")
    addresses = {HOST: ("127.0.0.1", script.port)}
    async with Exchange(tls=tls, addresses=addresses, habits=Habits(pause=no_pause)) as exchange:
        yield OperatorClient(exchange, host=HOST, function_requester="1.2.3")


async def test_download_order_sends_what_is_given_and_reads_the_iccid(operator: OperatorClient, script: Script) -> None:
    script.prepare("downloadOrder", success(iccid="8900012345678901234F"))
    assert await operator.download_order(eid=EID, profile_type="gold", call_id="call-1") == ICCID
    assert script.seen[0].json == {
        "header": {"functionRequesterIdentifier": "1.2.3", "functionCallIdentifier": "call-1"},
        "eid": str(EID),
        "profileType": "gold",
    }
    assert "User-Agent" not in script.seen[0].headers


async def test_confirm_order_reads_the_optional_members(operator: OperatorClient, script: Script) -> None:
    script.prepare("confirmOrder", success(matchingId="A-1"), success(matchingId="A-1", eid=str(EID), smdpAddress="x"))
    first = await operator.confirm_order(ICCID, release=False, confirmation_code="1234")
    second = await operator.confirm_order(ICCID, release=True, matching_id="A-1", eid=EID, smds_address="ds.example")
    assert first == Confirmed(matching_id=MatchingId("A-1"), eid=None, smdp_address=None)
    assert second == Confirmed(matching_id=MatchingId("A-1"), eid=EID, smdp_address="x")
    assert script.seen[0].json["releaseFlag"] is False
    assert script.seen[0].json["iccid"] == "8900012345678901234F"
    assert set(script.seen[0].json) == {"header", "iccid", "releaseFlag", "confirmationCode"}
    assert set(script.seen[1].json) == {"header", "iccid", "releaseFlag", "eid", "matchingId", "smdsAddress"}


async def test_cancel_and_release_need_no_member_in_reply(operator: OperatorClient, script: Script) -> None:
    script.prepare("cancelOrder", success())
    script.prepare("releaseProfile", success())
    await operator.cancel_order(ICCID, FinalStatus.UNAVAILABLE, matching_id="A-1")
    await operator.release_profile(ICCID)
    assert script.seen[0].json["finalProfileStatusIndicator"] == "Unavailable"
    assert set(script.seen[1].json) == {"header", "iccid"}


async def test_every_call_has_a_call_id_of_its_own_and_a_retry_keeps_it(
    operator: OperatorClient, script: Script
) -> None:
    script.prepare("releaseProfile", Reply(drop=True), success(), success())
    await operator.release_profile(ICCID)
    await operator.release_profile(ICCID)
    ids = [seen.json["header"]["functionCallIdentifier"] for seen in script.seen]
    assert ids[0] == ids[1] != ids[2]


async def test_a_failure_carries_its_codes(operator: OperatorClient, script: Script) -> None:
    script.prepare("downloadOrder", failure("8.2.1", "3.3", "In use."))
    with pytest.raises(FunctionFailed) as caught:
        await operator.download_order(iccid=ICCID)
    codes = caught.value.codes
    assert (caught.value.function, codes.subject, codes.reason, codes.message) == (
        "downloadOrder",
        "8.2.1",
        "3.3",
        "In use.",
    )


@pytest.mark.parametrize(
    "reply", [success(), success(iccid="12"), success(iccid="8900012345678901234F", eid=str(EID)), Reply(status=401)]
)
async def test_a_reply_outside_the_standard_is_a_fault(operator: OperatorClient, script: Script, reply: Reply) -> None:
    script.prepare("downloadOrder", reply)
    with pytest.raises(ProtocolFault):
        await operator.download_order(iccid=ICCID)


@pytest.mark.parametrize("stem", [None, "stranger"])
async def test_a_client_without_a_known_certificate_gets_no_answer(script: Script, pki: Pki, stem: str | None) -> None:
    tls = trust(pki.ca_file)
    if stem:
        identify(tls, pki.folder / f"{stem}.pem", pki.folder / f"{stem}.key")
    habits = Habits(pause=no_pause, retries=Retries(attempts=1))
    async with Exchange(tls=tls, addresses={HOST: ("127.0.0.1", script.port)}, habits=habits) as exchange:
        with pytest.raises(NoAnswer):
            await OperatorClient(exchange, host=HOST, function_requester="x").release_profile(ICCID)
    assert script.seen == []

"""Every answer of ES9+ and ES2+: exactly the members, headers and status of the standard (SGP.22 6.2 to 6.5)."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from rsp.identifiers import TransactionId
from simulator import lpa_messages
from simulator.bpp_segments import split_bound_profile_package
from tests.http_stage import NAME, Answer, Edge, Ordered, b64

_SUCCESS = {"functionExecutionStatus": {"status": "Executed-Success"}}
_INITIATED = {
    "header",
    "transactionId",
    "serverSigned1",
    "serverSignature1",
    "euiccCiPKIdToBeUsed",
    "serverCertificate",
}
_SHOWN = {"header", "transactionId", "profileMetadata", "smdpSigned2", "smdpSignature2", "smdpCertificate"}


def _succeeded(answer: Answer, members: set[str]) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert answer.headers["X-Admin-Protocol"] == "gsma/rsp/v2.5.0"
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    assert not {"Content-Encoding", "Transfer-Encoding", "Location"} & set(answer.headers)
    assert answer.body.isascii()
    body = answer.json()
    assert set(body) == members
    assert body["header"] == _SUCCESS
    return body


def _accepted(answer: Answer) -> None:
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["X-Admin-Protocol"] == "gsma/rsp/v2.5.0"
    assert "Content-Type" not in answer.headers


async def test_a_whole_download_has_exactly_the_members_of_the_standard(at_edge: Edge) -> None:
    order, device = await at_edge.ordered(), at_edge.card()
    initiated = _succeeded(await at_edge.device("initiateAuthentication", device.initiate()), _INITIATED)
    assert len(initiated["transactionId"]) == 32
    assert initiated["transactionId"] == initiated["transactionId"].upper()
    request = device.authenticate(initiated, order.matching_id)
    shown = _succeeded(await at_edge.device("authenticateClient", request), _SHOWN)
    answer = await at_edge.device("getBoundProfilePackage", device.prepare(shown))
    bound = _succeeded(answer, {"header", "transactionId", "boundProfilePackage"})
    reports = [
        device.card.load_bound_profile_package(segment)
        for segment in split_bound_profile_package(base64.b64decode(bound["boundProfilePackage"]))
    ]
    _accepted(await at_edge.device("handleNotification", {"pendingNotification": b64(reports[-1])}))
    assert await at_edge.services.notifications.judge_pending(10, 30.0) == 1
    rows = await at_edge.rows()
    assert len(rows["orders"]) == 1
    assert "installed" in rows["orders"][0]
    assert [str(profile.iccid) for profile in device.card.profiles] == [order.iccid]


async def test_cancel_session_answers_with_the_header_only(at_edge: Edge) -> None:
    order, device = await at_edge.ordered(), at_edge.card()
    initiated = (await at_edge.device("initiateAuthentication", device.initiate())).json()
    shown = (await at_edge.device("authenticateClient", device.authenticate(initiated, order.matching_id))).json()
    transaction_id = TransactionId.parse(shown["transactionId"])
    request = lpa_messages.cancel_session_request(transaction_id, lpa_messages.CancelReason.POSTPONED)
    body = {"transactionId": shown["transactionId"], "cancelSessionResponse": b64(device.card.cancel_session(request))}
    _succeeded(await at_edge.device("cancelSession", body), {"header"})


async def test_the_four_functions_of_es2_have_exactly_the_members_of_the_standard(at_edge: Edge) -> None:
    (iccid,) = await at_edge.stock()
    eid = str(at_edge.card().card.eid)
    ordered = _succeeded(await at_edge.operator("downloadOrder", {"iccid": iccid}), {"header", "iccid"})
    assert ordered["iccid"] == iccid + "F" * (len(iccid) == 19)
    answer = await at_edge.operator("confirmOrder", {"iccid": iccid, "releaseFlag": False})
    confirmed = _succeeded(answer, {"header", "matchingId", "smdpAddress"})
    assert confirmed["smdpAddress"] == NAME
    _succeeded(await at_edge.operator("releaseProfile", {"iccid": iccid}), {"header"})
    cancel = {"iccid": iccid, "finalProfileStatusIndicator": "Available", "matchingId": confirmed["matchingId"]}
    _succeeded(await at_edge.operator("cancelOrder", cancel), {"header"})
    await at_edge.operator("downloadOrder", {"iccid": iccid, "eid": eid})
    answer = await at_edge.operator("confirmOrder", {"iccid": iccid, "eid": eid, "releaseFlag": "true"})
    assert _succeeded(answer, {"header", "eid", "matchingId", "smdpAddress"})["eid"] == eid


async def test_refused_function_answers_200_with_header_codes_and_a_short_message(at_edge: Edge) -> None:
    device = at_edge.card()
    answer = await at_edge.device("initiateAuthentication", device.initiate(smdpAddress="other.example.com"))
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert answer.failed() == ("8.8.1", "3.8")
    unknown = await at_edge.operator("releaseProfile", {"iccid": "8988211999999999999"})
    assert (unknown.status, unknown.failed()) == (200, ("8.2.1", "3.9"))


@pytest.mark.parametrize("address", ["SMDP.Example.COM", "smdp.example.com:8443", "SMDP.EXAMPLE.COM:443"])
async def test_address_in_any_case_and_with_a_port_is_ours(at_edge: Edge, address: str) -> None:
    answer = await at_edge.device("initiateAuthentication", at_edge.card().initiate(smdpAddress=address))
    _succeeded(answer, _INITIATED)


async def test_lower_case_transaction_id_and_base64_in_lines_are_accepted(at_edge: Edge) -> None:
    order, device = await at_edge.ordered(), at_edge.card()
    initiated = (await at_edge.device("initiateAuthentication", device.initiate())).json()
    body = device.authenticate(initiated, order.matching_id)
    text = body["authenticateServerResponse"]
    body["authenticateServerResponse"] = "\r\n".join(text[n : n + 64] for n in range(0, len(text), 64)) + "\n"
    body["transactionId"] = body["transactionId"].lower()
    shown = _succeeded(await at_edge.device("authenticateClient", body), _SHOWN)
    assert shown["transactionId"] == initiated["transactionId"]


async def test_header_and_unknown_members_of_an_es9_request_are_passed_over(at_edge: Edge) -> None:
    header = {"functionRequesterIdentifier": 7, "functionCallIdentifier": None}
    body = at_edge.card().initiate(header=header, lpaRspCapability="BwA=", unheardOf=[1, {"a": None}])
    _succeeded(await at_edge.device("initiateAuthentication", body), _INITIATED)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "Application/JSON; charset=utf-8"},
        {"Content-Type": "application/json;charset=UTF-8", "X-Admin-Protocol": "gsma/rsp/v3.1.0"},
        {"Content-Type": "application/json", "X-Admin-Protocol": "nonsense", "Accept-Encoding": "gzip, br"},
    ],
)
async def test_header_fields_of_any_client_are_accepted_and_nothing_is_compressed(
    at_edge: Edge, headers: dict[str, str]
) -> None:
    answer = await at_edge.device("initiateAuthentication", at_edge.card().initiate(), headers=headers)
    _succeeded(answer, _INITIATED)


async def test_es2_request_with_padded_iccid_finds_the_same_profile(at_edge: Edge) -> None:
    order: Ordered = await at_edge.ordered()
    padded = order.iccid.ljust(20, "F")
    _succeeded(await at_edge.operator("releaseProfile", {"iccid": padded}), {"header"})

"""Bad input to every function of ES9+ and ES2+: its status code or a 4xx with a sentence, and nothing changes."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsp.status import Status
from tests.conformance import conforms
from tests.http_stage import ES2, ES9, Answer, Edge, Ordered, b64

_DEVICE = {
    "initiateAuthentication": ("euiccChallenge", "euiccInfo1", "smdpAddress"),
    "authenticateClient": ("transactionId", "authenticateServerResponse"),
    "getBoundProfilePackage": ("transactionId", "prepareDownloadResponse"),
    "handleNotification": ("pendingNotification",),
    "cancelSession": ("transactionId", "cancelSessionResponse"),
}
_OPERATOR = {
    "downloadOrder": ("header",),
    "confirmOrder": ("header", "iccid", "releaseFlag"),
    "cancelOrder": ("header", "iccid", "finalProfileStatusIndicator"),
    "releaseProfile": ("header", "iccid"),
}
_NO_JSON_OBJECT: dict[str, bytes] = {
    "empty": b"",
    "cut off": b'{"transactionId":"00',
    "array": b"[]",
    "number": b"1",
    "null": b"null",
    "two objects": b"{}{}",
    "single quotes": b"{'transactionId':'00'}",
    "not UTF-8": b'{"transactionId":"\xff\xfe"}',
    "UTF-16": '{"transactionId":"00"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "NaN": b'{"transactionId":NaN}',
    "deep arrays": b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"x":' * 20_000 + b"1" + b"}" * 20_000,
    "unclosed depth": b"[" * 200_000,
    "lone surrogate": b'{"transactionId":"\\ud800"}',
    "control character": b'{"transactionId":"\x01"}',
    "binary": bytes(range(256)) * 4,
}
_WRONG_VALUES: dict[str, Any] = {
    "number": 7,
    "big integer": 10**400,
    "real": 1.5,
    "list": ["00"],
    "object": {"a": "b"},
    "null": None,
    "NUL": "\0",
    "NUL inside": "00\x0000",
    "surrogate pair": "\U0001f4a9",
    "astral": "é\u202e\uffff",
    "long": "A" * 70_000,
    "spaces": "   ",
    "injection": "'; DROP TABLE orders; --",
}


def _turned_away(answer: Answer) -> bool:
    """A 4xx with a sentence, or Failed with its code: never a 5xx, never a success."""
    if answer.status == 200:
        return bool(answer.failed())
    sentence = answer.body.decode()
    if answer.headers["Content-Type"].startswith("application/json"):
        assert answer.failed()
        sentence = answer.json()["header"]["functionExecutionStatus"]["statusCodeData"]["message"]
    assert answer.headers["X-Admin-Protocol"] == "gsma/rsp/v2.5.0"
    return 400 <= answer.status < 500 and " " in sentence


@pytest.fixture
async def order(at_edge: Edge) -> Ordered:
    """Something in the tables that could change."""
    return await at_edge.ordered(confirmationCode="4711")


@pytest.fixture
async def unchanged(at_edge: Edge, order: Ordered) -> AsyncIterator[None]:
    """The tables hold after the test what they held before."""
    before = await at_edge.rows()
    assert len(before["orders"]) == 1
    yield
    assert await at_edge.rows() == before


@conforms("SGP.22 6.5", "what is not the JSON of the function is 400", Status.MALFORMED, binding="json",
          where="transport/functions.py")  # fmt: skip
@pytest.mark.usefixtures("unchanged")
async def test_body_that_is_no_json_object_is_400_at_every_function(at_edge: Edge) -> None:
    wrong = []
    for what, body in _NO_JSON_OBJECT.items():
        for function in _DEVICE:
            answer = await at_edge.device(function, body)
            wrong += [(function, what, answer)] if answer.status != 400 or not _turned_away(answer) else []
        for function in _OPERATOR:
            answer = await at_edge.operator(function, body)
            wrong += [(function, what, answer)] if answer.status != 400 or not _turned_away(answer) else []
    assert wrong == []


@pytest.mark.usefixtures("unchanged")
async def test_missing_member_is_400_and_named(at_edge: Edge, order: Ordered) -> None:
    for function, members in _DEVICE.items():
        for missing in members:
            body = {name: b64(b"0") for name in members if name != missing}
            answer = await at_edge.device(function, body)
            assert (answer.status, missing in answer.body.decode()) == (400, True), (function, missing)
    for function, members in _OPERATOR.items():
        for missing in members:
            whole = {"header": at_edge.header(), **_valid(function, order)}
            spoilt = json.dumps({name: value for name, value in whole.items() if name != missing}).encode()
            answer = await at_edge.operator(function, spoilt)
            # CancelOrder has a status code for what it lacks; everywhere else the request has not its form.
            status = 200 if function == "cancelOrder" and missing != "header" else 400
            assert (answer.status, missing in answer.body.decode()) == (status, True), (function, missing)
            assert answer.failed() == (("8.2.1", "2.2") if status == 200 else ("1.3.1", "2.1"))


def _valid(function: str, order: Ordered) -> dict[str, Any]:
    """A request that would change something, were it not for the member that a test spoils."""
    bodies: dict[str, dict[str, Any]] = {
        "downloadOrder": {"iccid": order.iccid, "profileType": "prepaid"},
        "confirmOrder": {"iccid": order.iccid, "releaseFlag": True},
        "cancelOrder": {
            "iccid": order.iccid,
            "finalProfileStatusIndicator": "Available",
            "matchingId": order.matching_id,
        },
        "releaseProfile": {"iccid": order.iccid},
    }
    return bodies[function]


@pytest.mark.usefixtures("unchanged")
async def test_member_of_the_wrong_type_or_content_is_turned_away_at_es9(at_edge: Edge) -> None:
    initiated = at_edge.card().initiate()
    for function, members in _DEVICE.items():
        if function == "handleNotification":
            continue
        for member in members:
            for what, value in _WRONG_VALUES.items():
                good = initiated if function == "initiateAuthentication" else _plausible(members)
                answer = await at_edge.device(function, {**good, member: value})
                assert _turned_away(answer), (function, member, what, answer)


def _plausible(members: tuple[str, ...]) -> dict[str, str]:
    return {name: "00" * 16 if name == "transactionId" else b64(b"\x30\x00") for name in members}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("function", _OPERATOR)
async def test_member_of_the_wrong_type_or_content_is_turned_away_at_es2(
    at_edge: Edge, order: Ordered, function: str
) -> None:
    good = _valid(function, order)
    for member in {**good, "eid": "", "matchingId": ""}:
        for what, value in _WRONG_VALUES.items():
            if value is None and member in ("eid", "matchingId", "profileType"):
                continue
            if (function, member) in {("downloadOrder", "matchingId"), ("releaseProfile", "matchingId")}:
                continue
            if (function, member) == ("releaseProfile", "eid"):
                continue
            answer = await at_edge.operator(function, {**good, member: value})
            assert _turned_away(answer), (function, member, what, answer)


@pytest.mark.usefixtures("unchanged")
async def test_es2_header_that_does_not_name_caller_and_call_is_400(at_edge: Edge, order: Ordered) -> None:
    good = at_edge.header()
    bad: list[Any] = [None, 7, "x", [], {}]
    for member in good:
        bad += [{**good, member: value} for value in ("", "\0", "A" * 256, None, 5, ["x"])]
        bad.append({name: value for name, value in good.items() if name != member})
    for header in bad:
        answer = await at_edge.operator("releaseProfile", {"iccid": order.iccid, "header": header})
        assert (answer.status, answer.failed()) == (400, ("1.3.1", "2.1")), header


_NOT_BASE64 = ("A", "AAA", "AAAA=", "AA=A", "-_-_", "=AAA", "AAAA\0", "€€€€", "AA\u00a0AA", "%41%41", "AAAA====")


@pytest.mark.usefixtures("unchanged")
async def test_what_is_not_base64_is_400_and_named(at_edge: Edge) -> None:
    initiated = at_edge.card().initiate()
    for function, members in _DEVICE.items():
        member = members[-1] if function != "initiateAuthentication" else "euiccInfo1"
        good = initiated if function == "initiateAuthentication" else _plausible(members)
        for text in _NOT_BASE64:
            answer = await at_edge.device(function, {**good, member: text})
            assert (answer.status, member in answer.body.decode()) == (400, True), (function, text)


_NOT_DER: dict[str, bytes] = {
    "nothing": b"",
    "zeros": bytes(20),
    "cut off": bytes.fromhex("bf3882ffff"),
    "indefinite length": bytes.fromhex("bf38800000"),
    "length of lengths": bytes.fromhex("bf3889ffffffffffffffffff"),
    "other tag": bytes.fromhex("bf2500"),
    "empty": bytes.fromhex("bf3800"),
    "more after it": bytes.fromhex("bf380000"),
    "endless tag": b"\xbf" + b"\xff" * 64,
    "deep": b"".join(b"\x30\x82" + (4 * n).to_bytes(2, "big") for n in range(4000, -1, -1)),
}


@pytest.mark.usefixtures("unchanged")
async def test_what_is_not_the_object_of_the_function_is_turned_away(at_edge: Edge) -> None:
    initiated = at_edge.card().initiate()
    for function, members in _DEVICE.items():
        if function == "handleNotification":
            continue
        member = members[-1] if function != "initiateAuthentication" else "euiccInfo1"
        good = initiated if function == "initiateAuthentication" else _plausible(members)
        for what, der in _NOT_DER.items():
            answer = await at_edge.device(function, {**good, member: b64(der)})
            assert _turned_away(answer), (function, what, answer)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("function", "change", "codes"),
    [
        ("initiateAuthentication", {"euiccChallenge": b64(bytes(15))}, None),
        ("initiateAuthentication", {"euiccChallenge": b64(bytes(17))}, None),
        ("initiateAuthentication", {"smdpAddress": ""}, ("8.8.1", "3.8")),
        ("initiateAuthentication", {"smdpAddress": "smdp.example.com/../"}, ("8.8.1", "3.8")),
        ("initiateAuthentication", {"smdpAddress": "smdp.example.com:port"}, ("8.8.1", "3.8")),
        ("initiateAuthentication", {"smdpAddress": "xsmdp.example.com"}, ("8.8.1", "3.8")),
    ],
)
async def test_values_of_initiate_authentication(
    at_edge: Edge, function: str, change: dict[str, str], codes: tuple[str, str] | None
) -> None:
    answer = await at_edge.device(function, at_edge.card().initiate(**change))
    assert (answer.status, answer.failed()) == ((200, codes) if codes else (400, ("1.3.1", "2.1")))


@pytest.mark.usefixtures("unchanged")
async def test_unknown_transaction_is_8_10_1_at_every_function_of_a_session(at_edge: Edge) -> None:
    error = bytes.fromhex("a115801000000000000000000000000000000000020105")
    responses = {
        "authenticateClient": ("authenticateServerResponse", bytes.fromhex("bf38") + bytes([len(error)]) + error),
        "getBoundProfilePackage": ("prepareDownloadResponse", bytes.fromhex("bf21") + bytes([len(error)]) + error),
        "cancelSession": ("cancelSessionResponse", bytes.fromhex("bf4103810105")),
    }
    for function, (member, der) in responses.items():
        for transaction_id in ("00" * 16, "AB", "ab" * 16):
            answer = await at_edge.device(function, {"transactionId": transaction_id, member: b64(der)})
            assert (answer.status, answer.failed()) == (200, ("8.10.1", "3.9")), (function, answer)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("text", ["", "0", "XY", "0x00", "00 00", "00" * 17, "\u0660\u0660", "00\n"])
async def test_what_is_no_transaction_id_is_400(at_edge: Edge, text: str) -> None:
    body = {"transactionId": text, "cancelSessionResponse": b64(bytes.fromhex("bf4103810105"))}
    assert (await at_edge.device("cancelSession", body)).status == 400


@pytest.mark.usefixtures("unchanged")
async def test_paths_methods_and_media_types_are_answered_with_a_sentence(at_edge: Edge) -> None:
    tls = at_edge.material.operator()
    for listener, prefix, function in (("es9", ES9, "handleNotification"), ("es2", ES2, "releaseProfile")):
        for path in ("/", prefix, prefix + "noSuchFunction", prefix + function + "/", prefix.upper() + function):
            answer = await at_edge.request(listener, path, b"{}", tls=tls)
            assert (answer.status, _turned_away(answer)) == (404, True), path
        for method in ("GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"):
            answer = await at_edge.request(listener, prefix + function, b"", tls=tls, method=method)
            assert (answer.status, answer.headers["Allow"]) == (405, "POST"), method
        for media in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-gsma-rsp-asn1"}):
            answer = await at_edge.request(listener, prefix + function, b"{}", tls=tls, headers=media)
            assert (answer.status, b"application/json" in answer.body) == (415, True), media
    wrong_side = await at_edge.request("es9", ES2 + "releaseProfile", b"{}")
    assert wrong_side.status == 404


async def test_notification_of_any_content_is_204_and_kept_byte_for_byte(at_edge: Edge) -> None:
    contents = [*_NOT_DER.values(), b"\xff" * 1000, bytes(100_000)]
    for raw in contents:
        answer = await at_edge.device("handleNotification", {"pendingNotification": b64(raw)})
        assert (answer.status, answer.body) == (204, b"")
    assert await at_edge.services.notifications.judge_pending(100, 30.0) == len(contents)
    kept = (await at_edge.rows())["notifications"]
    assert len(kept) == len(contents)
    assert [row for row in kept if "malformed" not in row] == []


async def test_the_same_member_twice_counts_once(at_edge: Edge) -> None:
    once, twice = b64(b"\x30\x00"), b64(b"\x31\x00")
    body = f'{{"pendingNotification":"{once}","pendingNotification":"{twice}"}}'.encode()
    assert (await at_edge.device("handleNotification", body)).status == 204
    assert len((await at_edge.rows())["notifications"]) == 1


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists, max_leaves=5
)


@pytest.mark.usefixtures("unchanged")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    function=st.sampled_from([name for name in _DEVICE if name != "handleNotification"]),
    values=st.lists(_JSON | st.binary(max_size=60).map(b64), min_size=3, max_size=3),
)
async def test_any_values_of_es9_members_are_turned_away(at_edge: Edge, function: str, values: list[Any]) -> None:
    answer = await at_edge.device(function, dict(zip(_DEVICE[function], values, strict=False)))
    assert _turned_away(answer)


@pytest.mark.usefixtures("unchanged")
async def test_compressed_bodies_are_bounded_by_what_they_hold(at_edge: Edge) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < at_edge.settings.max_body_bytes
    answer = await at_edge.request("es9", ES9 + "handleNotification", bomb, headers=headers)
    assert (answer.status, _turned_away(answer)) == (413, True)
    answer = await at_edge.request("es9", ES9 + "handleNotification", b"no gzip at all", headers=headers)
    assert (answer.status, _turned_away(answer)) == (400, True)


def test_the_cases_are_what_they_say() -> None:
    assert base64.b64decode(b64(_NOT_DER["deep"])) == _NOT_DER["deep"]
    assert _NOT_DER["deep"][:2] == b"\x30\x82"

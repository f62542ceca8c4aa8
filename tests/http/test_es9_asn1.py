"""The ASN.1 binding of ES9+ beside the JSON one: whole downloads, exact bytes, and what cannot be read (SGP.22 6.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from crypto.curves import Curve
from rsp import schema, tlv
from simulator import lpa_messages
from simulator.exchange import Exchange
from simulator.lpa import USER_AGENT, Lpa, Spelling
from simulator.lpa_types import Installed, Refused
from smdp.binding import Protection
from smdp.policy import Policy
from tests.conformance import conforms
from tests.es9_stage import (
    ASN1,
    AUTHENTICATE,
    CANCEL,
    DELIVER,
    INITIATE,
    JSON,
    NOTIFY,
    Asn1Wire,
    Es9Stage,
    Refusal,
    lpa_trust,
)
from tests.protocol_stage import CURVES, NAME, Seen, Stage, installed_on

MEDIA = {"Content-Type": "application/x-gsma-rsp-asn1"}
PATH = "/gsma/rsp2/asn1"


@pytest.fixture
def policy(request: pytest.FixtureRequest) -> Policy:
    return Policy(server_names=(NAME,), protection=getattr(request, "param", Protection.PPK))


@pytest.fixture
async def es9(stage: Stage) -> AsyncIterator[Es9Stage]:
    async with Es9Stage.opened(stage) as opened:
        yield opened


@conforms(
    "SGP.22 6.6", "a whole download in the ASN.1 binding", function=DELIVER, binding="asn1", where="es9plus/asn1.py"
)
@pytest.mark.parametrize("policy", list(Protection), indirect=True)
@pytest.mark.parametrize("curve", CURVES)
async def test_a_whole_download_with_a_confirmation_code_is_installed(es9: Es9Stage, curve: Curve) -> None:
    ordered = await es9.stage.order(code="4711")
    device = es9.dialogue(ASN1, es9.stage.card(curves=(curve,)), ordered.matching_id)
    await device.begun()
    result = device.install(await device.deliver("4711"))
    await device.notify(result.raw)
    assert await es9.stage.judge() == [("installed", True)]
    assert installed_on(device.card) == {str(ordered.iccid): ordered.upp}
    assert await es9.stage.seen(ordered) == Seen(
        order="installed",
        eid=str(device.card.eid),
        downloads=1,
        sealed=(),
        told=((1, ""), (3, ""), (4, "")),
        sessions=(("reported", None),),
    )


@pytest.mark.parametrize("policy", list(Protection), indirect=True)
@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("spelling", list(Spelling))
async def test_the_simulated_device_downloads_in_either_binding(
    es9: Es9Stage, curve: Curve, spelling: Spelling
) -> None:
    ordered = await es9.stage.order(code="4711")
    card = es9.stage.card(curves=(curve,))
    address = {NAME: ("127.0.0.1", es9.port)}
    async with Exchange(tls=lpa_trust(es9.stage), addresses=address, user_agent=USER_AGENT) as exchange:
        lpa = Lpa(card, exchange, spelling=spelling)
        wrong = await lpa.download(f"1${NAME}${ordered.matching_id}", "4712")
        assert isinstance(wrong, Refused)
        assert (wrong.function, wrong.code) == (DELIVER, "8.2.7/3.8" if spelling is Spelling.JSON else "3")
        result = await lpa.download(f"1${NAME}${ordered.matching_id}", "4711")
    assert isinstance(result, Installed), result
    assert result.notification_fault == ""
    assert await es9.stage.judge() == [("installed", True)]
    assert installed_on(card) == {str(ordered.iccid): ordered.upp}


async def test_answers_are_what_a_compiled_module_reads(es9: Es9Stage) -> None:
    ordered = await es9.stage.order()
    device = await es9.dialogue(ASN1, es9.stage.card(), ordered.matching_id).begun()
    await device.deliver()
    await device.cancel(device.cancelled(lpa_timeout()))
    names = {
        INITIATE: ("initiateAuthenticationResponse", "initiateAuthenticationOk"),
        AUTHENTICATE: ("authenticateClientResponseEs9", "authenticateClientOk"),
        DELIVER: ("getBoundProfilePackageResponse", "getBoundProfilePackageOk"),
        CANCEL: ("cancelSessionResponseEs9", "cancelSessionOk"),
    }
    for function, (response, arm) in names.items():
        read = schema.decode("RemoteProfileProvisioningResponse", device.got[function].body)
        assert (read[0], read[1][0]) == (response, arm)


def lpa_timeout() -> lpa_messages.CancelReason:
    return lpa_messages.CancelReason.TIMEOUT


@conforms("SGP.22 5.6", "a repeated request gets the same bytes", function=AUTHENTICATE, binding="asn1")
async def test_the_same_request_gets_the_same_bytes_again_also_over_the_other_binding(es9: Es9Stage) -> None:
    ordered = await es9.stage.order()
    device = await es9.dialogue(ASN1, es9.stage.card(), ordered.matching_id).begun()
    first = device.got[AUTHENTICATE].body
    assert (await device.again(AUTHENTICATE)).body == first
    other = es9.dialogue(JSON, device.card)
    other.initiated = device.initiated
    response = tlv.read_only(tlv.read_only(device.sent[AUTHENTICATE], 0xA2).value, 0xBF3B).members()[0xBF38].raw
    assert await other.authenticate(response) == device.shown
    await device.deliver()
    package = device.got[DELIVER].body
    assert (await device.again(DELIVER)).body == package
    assert (await es9.stage.seen(ordered)).downloads == 1


# What is no request --------------------------------------------------------------------------------------------------


def _functions() -> dict[str, bytes]:
    return {name: tlv.wrap(tag) for name, tag in Asn1Wire.tags.items()}


_NO_REQUEST: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "nothing"),
    "JSON": (b'{"transactionId":"00"}', "A2"),
    "a function without the outer tag": (bytes.fromhex("bf3b00"), "A2"),
    "a message of ESipa": (bytes.fromhex("bf4f125a10") + bytes(16), "BF4F"),
    "empty": (bytes.fromhex("a200"), "ends"),
    "cut off": (bytes.fromhex("a2820100bf39"), "announces"),
    "more after it": (bytes.fromhex("a203bf390000"), "follow"),
    "two functions": (bytes.fromhex("a206bf3900bf3900"), "one at a time"),
    "indefinite length": (bytes.fromhex("a280bf39000000"), "definite"),
    "indefinite length inside": (bytes.fromhex("a205bf39800000"), "definite"),
    "a function of ES11": (bytes.fromhex("a203bf4000"), "BF40"),
    "a function of version 3": (bytes.fromhex("a203bf4c00"), "BF4C"),
    "endless tag": (b"\xa2\x7f\xbf" + b"\xff" * 126, "tag"),
    "endless length": (bytes.fromhex("a289ffffffffffffffffff"), "length"),
    "binary": (bytes(range(256)), "A2"),
}


@pytest.mark.parametrize("what", _NO_REQUEST)
async def test_what_is_no_request_is_400_with_a_sentence(es9: Es9Stage, what: str) -> None:
    body, word = _NO_REQUEST[what]
    answer = await es9.post(PATH, body, MEDIA)
    assert (answer.status, word in answer.body.decode()) == (400, True), answer
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("function", Asn1Wire.tags)
async def test_missing_member_is_400_and_named(es9: Es9Stage, function: str) -> None:
    answer = await es9.post(PATH, ASN1.write(function, {}), MEDIA)
    named = {INITIATE: "euiccChallenge", NOTIFY: "pendingNotification", AUTHENTICATE: "authenticateServerResponse"}
    named |= {DELIVER: "prepareDownloadResponse", CANCEL: "cancelSessionResponse"}
    assert (answer.status, named[function] in answer.body.decode()) == (400, True), answer


async def test_transaction_id_of_another_size_is_400(es9: Es9Stage) -> None:
    for size in (0, 17):
        members = {"transactionId": bytes(size), "cancelSessionResponse": bytes.fromhex("bf4103810105")}
        assert (await es9.post(PATH, ASN1.write(CANCEL, members), MEDIA)).status == 400


async def test_member_that_occurs_twice_is_400(es9: Es9Stage) -> None:
    body = tlv.wrap(0xA2, tlv.wrap(0xBF41, bytes.fromhex("800100800101a103810105")))
    answer = await es9.post(PATH, body, MEDIA)
    assert (answer.status, b"twice" in answer.body) == (400, True)


async def test_other_media_types_methods_and_sizes_are_turned_away(es9: Es9Stage) -> None:
    body = bytes.fromhex("a203bf3900")
    assert (await es9.post(PATH, body, {"Content-Type": "application/json"})).status == 415
    assert (await es9.post("/gsma/rsp2/es9plus/cancelSession", body, MEDIA)).status == 415
    assert (await es9.post(PATH, tlv.wrap(0xA2, bytes(300_000)), MEDIA)).status == 413
    assert (await es9.post(PATH + "/", body, MEDIA)).status == 404


async def test_a_path_of_another_generation_is_404_and_logged(es9: Es9Stage) -> None:
    with capture_logs() as logged:
        for path in ("/gsma/rsp3/es9plus/handleDeviceChangeRequest", "/gsma/rsp3/asn1?" + "x" * 500, "/secret"):
            answer = await es9.post(path, b"{}", {"Content-Type": "application/json"})
            assert (answer.status, b"/gsma/rsp2/" in answer.body) == (404, True)
    paths = [entry["path"] for entry in logged if entry["event"] == "lost"]
    assert paths[0] == "/gsma/rsp3/es9plus/handleDeviceChangeRequest"
    assert (paths[1][:17], len(paths[1]), paths[2]) == ("/gsma/rsp3/asn1?x", 100, "")


async def test_unknown_members_are_passed_over(es9: Es9Stage) -> None:
    device = es9.dialogue(ASN1, es9.stage.card())
    found = await device.initiate()
    assert not isinstance(found, Refusal)
    inner = tlv.read_only(tlv.read_only(device.sent[INITIATE], 0xA2).value, 0xBF39)
    body = tlv.wrap(0xA2, tlv.wrap(0xBF39, inner.value, bytes.fromhex("85020700bf7f00")))
    assert not isinstance(ASN1.read(INITIATE, await device.send(INITIATE, body)), Refusal)


async def test_notification_of_any_content_is_204_and_kept_byte_for_byte(es9: Es9Stage) -> None:
    device = es9.dialogue(ASN1, es9.stage.card())
    contents = [b"", b"\x00", bytes.fromhex("bf3700"), bytes.fromhex("3080"), b"\xff" * 1000, bytes(100_000)]
    for raw in contents:
        await device.notify(raw)
    assert [row["raw"] for row in await es9.stage.notes()] == contents

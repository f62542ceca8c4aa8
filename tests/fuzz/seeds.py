"""Writes the corpus: right messages of every kind, made by the simulator and by the tests' own peers.

Run as `PYTHONPATH=tests/unit:tests/protocol python -m tests.fuzz.seeds` from the top of the project.

Keys and challenges are fresh each time, so the bytes
differ from run to run; their form does not.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import card_test_pki as cards
import card_test_server as peer
import test_es10_rejects as es10_samples
import test_esep_rejects as esep_samples
from test_protocol_metadata import FULL, PLAIN

from certs import recipe
from certs.recipe import Terms
from crypto.bsp import Bsp
from crypto.curves import Curve
from rsp import tlv
from rsp.esep import profile_download_trigger
from rsp.identifiers import Eid, TransactionId
from rsp.saip_template import generate
from server.test_profiles import personalisations
from simulator.bpp_segments import split_bound_profile_package
from simulator.card import Card
from simulator.issuer import EumIssuer
from tests.fuzz import simulated
from tests.fuzz.simulated import no_chance
from tests.fuzz.target import CORPUS, NOW
from tests.fuzz.targets import KEYS
from tests.pictures import jpeg, png
from tests.revocation_lists import EndOfEntry, ListPlan, part, point, signed_list

SESSION = "00112233445566778899AABBCCDDEEFF"


def main() -> None:
    """Write what is not there yet; files of the found kind stay."""
    for name, messages in everything().items():
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, message in enumerate(messages):
            (folder / f"right-{number:02d}").write_bytes(message)
    print(sum(1 for file in CORPUS.rglob("*") if file.is_file()), "files")  # noqa: T201


def everything() -> dict[str, list[bytes]]:
    """The right messages of each target."""
    card, server = Card(Eid(cards.EID), [cards.pki("nist").credentials()], now=lambda: cards.NOW), peer.ScriptedServer()
    card.random = no_chance
    authenticate = server.authenticate_request(peer.challenge_of(card))
    authenticated = card.authenticate_server(authenticate)
    prepare = server.prepare_request(authenticated, hash_cc=bytes(32))
    prepared = card.prepare_download(prepare)
    bpp = server.bound_package(prepared, peer.PackageWish(replacement=peer.replacement_keys()))
    installed = peer.load(card, split_bound_profile_package(bpp))
    enabled = _enabled(card)
    notifications = card.retrieve_notifications()
    cancelled = _cancelled()
    iccid = personalisations("898821100000000001", 1, PLAIN)
    small = generate(next(iccid))
    plain, full = (offer.metadata(peer.ICCID, "smdp.example.com").encode() for offer in (PLAIN, FULL))
    credentials = cards.pki("nist").credentials()
    brainpool = cards.pki("brainpool").credentials()
    chains = [_chain(curve) for curve in Curve]
    list_cis, lists = _lists()
    es9 = _es9(card, authenticated, prepared, installed, cancelled)
    certificates = [
        credentials.euicc_certificate,
        credentials.eum_certificate,
        server.auth.der,
        brainpool.euicc_certificate,
    ]
    esep = [message for _, message in esep_samples.MESSAGES]
    return {
        "tlv": [authenticated, bpp[:700], plain, installed],
        "authenticate_server": [authenticated, es10_samples.AUTHENTICATED, es10_samples.NOT_AUTHENTICATED],
        "prepare_download": [prepared, es10_samples.DOWNLOAD, es10_samples.NO_DOWNLOAD],
        "cancel_session": [cancelled, es10_samples.CANCELLED, es10_samples.NOT_CANCELLED],
        "notification": [installed, enabled, es10_samples.NOT_INSTALLED, es10_samples.ENABLED],
        "euicc_info1": [card.get_euicc_info1(), es10_samples.INFO1],
        "euicc_info2": [card.get_euicc_info2(), es10_samples.INFO2],
        "metadata": [plain, full],
        "icon": [png(), jpeg(), jpeg(padding=b"\xff\xff\x01")],
        "package": [small],
        "text": [text.encode() for text in _TEXTS],
        "base64": [base64.b64encode(small[:90]), b"AA==", b"AAA=\r\n", b""],
        "segments": [Bsp(KEYS).encrypt_and_mac(0x86, bytes(1500)), Bsp(KEYS).mac_only(0x88, full)],
        "certificate": [*certificates, brainpool.euicc_certificate, *(euicc for _, _, euicc in chains)],
        "chain": [chain for chain, _, _ in chains],
        "revocation_list": lists,
        "ci": [*credentials.ci_certificates, *(ci for _, ci, _ in chains), *list_cis],
        "es9_json": [json.dumps(body).encode() for body in es9],
        "es9_asn1": _es9_binary(card, authenticated, prepared, installed, cancelled),
        "es2_json": [json.dumps({"header": _HEADER, **body}).encode() for body in _ES2],
        "api_json": [json.dumps(body).encode() for body in _API],
        "esipa": [message for message in esep if message[:2] in (b"\xbf\x4f", b"\xbf\x50", b"\xbf\x3d")],
        "package_result": [esep_samples.RESULT, esep_samples.REFUSED, esep_samples.UNSIGNED],
        "sequence": [message for message in esep if message[:2] == b"\xbf\x50"],
        "platform": [json.dumps(body).encode() for body in _PLATFORM],
        "reply": [
            *(json.dumps(body).encode() for body in _REPLIES),
            *_answers(authenticate, prepare, plain, bpp[:600])[0],
        ],
        "lpa_answer_json": _answers(authenticate, prepare, plain, bpp)[0],
        "lpa_answer_asn1": _answers(authenticate, prepare, plain, bpp)[1],
        "lpa": [bpp, installed, notifications, authenticate, plain, full],
        "ipa": [_trigger(), *_euicc_packages()],
        "card": [authenticate, prepare, bpp[:400], _CANCEL, b"\xbf\x28\x00", tlv.wrap(0xBF3F, tlv.wrap(0x80, b"a.b"))],
        "apdu": [_apdus(authenticate)],
        "card_package": [small, peer.profile_package(size=60)],
        "card_certificate": [server.auth.der, server.binding.der],
        "strict_json": [json.dumps(es9[1]).encode(), json.dumps(_REPLIES[0]).encode()],
        "smds": [json.dumps({"header": _HEADER, **body}).encode() for body in _ES12],
        "card_image": [_state(card)],
    }


_HEADER = {"functionRequesterIdentifier": "operator-a", "functionCallIdentifier": "call-1"}
_EID = "89049032123451234512345678901235"
_TEXTS = (
    "89049032123451234512345678901235",
    "8900012345678901234F",
    "XDCGK-NGGDC-CV7JU",
    SESSION,
    "smdp.example.com:8443",
    "262-01",
    "2.999.10",
    "2.999.10:0403414243",
    "00" * 20 + ":com.example",
    "LPA:1$smdp.example.com$XDCGK-NGGDC$2.999.10$1",
    "1$smdp.example.com$",
)
_ES2: tuple[dict[str, Any], ...] = (
    {"eid": _EID, "iccid": "8900012345678901234F", "profileType": "prepaid"},
    {
        "iccid": "8900012345678901234F",
        "releaseFlag": True,
        "matchingId": "ABC-1",
        "confirmationCode": "4711",
        "smdsAddress": "lpa.ds.example.com",
        "eid": _EID,
    },
    {"iccid": "8900012345678901234F", "finalProfileStatusIndicator": "Available", "eid": _EID, "matchingId": "ABC-1"},
    {"iccid": "8900012345678901234F"},
    {"iccidList": [{"iccid": "8900012345678901234F"}, {"iccid": "8900012345678901242F"}]},
    {"iccid": "8900012345678901234F", "profileStatus": "Released"},
)
_ES12: tuple[dict[str, Any], ...] = (
    {
        "eid": _EID,
        "rspServerAddress": "smdp.example.com",
        "eventId": "EVENT-1",
        "forwardingIndicator": False,
    },
    {"eid": _EID, "eventId": "EVENT-1"},
)
_API: tuple[dict[str, Any], ...] = (
    {"name": "carrier-a", "role": "both", "platform": "external", "settings": {"baseUrl": "https://a.example"}},
    {"name": "acme-meters", "leadCarrierId": 1},
    {"partnerCarrierId": 2, "plans": {"ratePlan": "R", "communicationPlan": "C"}, "territory": ["DE", "FR"]},
    {"eid": _EID, "iccid": "8900012345678901234", "eumCertificate": "MAA=", "euiccCertificate": "MAA="},
    {"kind": "download", "activationCode": "LPA:1$smdp.example.com$ABC", "enable": True},
    {"eid": _EID, "targetCarrierId": 2, "plan": "R", "reason": "cost"},
    {"scopes": ["swaps:read", "swaps:write"], "enterpriseId": 1},
    {"number": 1, "choice": "keep"},
)
_PLATFORM: tuple[dict[str, Any], ...] = (
    {
        "iccid": "8900012345678901234",
        "imsi": "001010123456789",
        "msisdn": "491700000000",
        "eid": _EID,
        "status": "ACTIVATED",
        "ratePlan": "R",
        "communicationPlan": "C",
        "accountId": "1000",
        "dateAdded": "2026-10-01 12:00:00.000+0000",
    },
    {
        "iccid": "8900012345678901234",
        "dateSessionStarted": "2026-10-01 12:00:00.000+0000",
        "dateSessionEnded": None,
        "ipAddress": "10.0.0.1",
    },
    {"errorCode": "10000024", "errorMessage": "Invalid ICCID"},
)
_REPLIES: tuple[dict[str, Any], ...] = (
    {"header": {"functionExecutionStatus": {"status": "Executed-Success"}}, "transactionId": SESSION},
    {
        "header": {
            "functionExecutionStatus": {
                "status": "Failed",
                "statusCodeData": {"subjectCode": "8.1", "reasonCode": "6.1", "message": "No."},
            }
        }
    },
)
_CANCEL = tlv.wrap(0xBF41, tlv.wrap(0x80, bytes(range(16))), tlv.wrap_integer(0x81, 0))


def _chain(curve: Curve) -> tuple[bytes, bytes, bytes]:
    """EUM and eUICC certificate one after the other, their CI, and the eUICC's alone."""
    ci = recipe.ci(Terms(now=NOW, serial=1), curve)
    eum = recipe.eum(ci, Terms(now=NOW, serial=2))
    issuer = EumIssuer(eum.der, eum.key, (ci.der,))
    euicc = issuer.issue(issuer.eid(1)).euicc_certificate
    return eum.der + euicc, ci.der, euicc


def _lists() -> tuple[list[bytes], list[bytes]]:
    """CIs and lists of theirs: empty, with entries, and with all that SGP.22 adds to one."""
    plans = (
        ListPlan(),
        ListPlan(number=7, serials=(1, 2, 1 << 150)),
        ListPlan(
            serials=(5,),
            extensions=((point("http://ci.example.com/a.crl", cas=True), True), (part(1), False)),
            entry_extensions=((EndOfEntry, True),),
        ),
    )
    cis = [recipe.ci(Terms(now=NOW, serial=1), curve) for curve in Curve]
    return [ci.der for ci in cis], [signed_list(ci.der, ci.key, plan) for plan in plans for ci in cis]


def _enabled(card: Card) -> bytes:
    card.enable_profile(tlv.wrap(0xBF31, tlv.wrap(0xA0, tlv.wrap(0x5A, peer.ICCID.to_bytes())), b"\x81\x01\xff"))
    entries = [found.raw for found in next(tlv.read(card.retrieve_notifications()).children()).children()]
    return entries[-1]


def _cancelled() -> bytes:
    card, server = peer.card(), peer.ScriptedServer()
    peer.authenticate(card, server)
    request = tlv.wrap(0xBF41, tlv.wrap(0x80, server.transaction_id), tlv.wrap_integer(0x81, 0))
    return card.cancel_session(request)


def _es9(card: Card, *messages: bytes) -> list[dict[str, Any]]:
    authenticated, prepared, installed, cancelled = (base64.b64encode(message).decode() for message in messages)
    return [
        {
            "euiccChallenge": base64.b64encode(bytes(16)).decode(),
            "euiccInfo1": base64.b64encode(card.get_euicc_info1()).decode(),
            "smdpAddress": "smdp.example.com",
        },
        {"transactionId": SESSION, "authenticateServerResponse": authenticated},
        {"transactionId": SESSION, "prepareDownloadResponse": prepared},
        {"pendingNotification": installed},
        {"transactionId": SESSION, "cancelSessionResponse": cancelled},
    ]


def _es9_binary(card: Card, *messages: bytes) -> list[bytes]:
    authenticated, prepared, installed, cancelled = messages
    session = tlv.wrap(0x80, bytes.fromhex(SESSION))
    bodies = (
        tlv.wrap(0xBF39, tlv.wrap(0x81, bytes(16)), tlv.wrap(0x83, b"smdp.example.com"), card.get_euicc_info1()),
        tlv.wrap(0xBF3B, session, authenticated),
        tlv.wrap(0xBF3A, session, prepared),
        tlv.wrap(0xBF3D, tlv.wrap(0xA0, installed)),
        tlv.wrap(0xBF41, session, tlv.wrap(0xA1, tlv.read(cancelled).value)),
    )
    return [tlv.wrap(0xA2, body) for body in bodies]


def _answers(authenticate: bytes, prepare: bytes, metadata: bytes, bpp: bytes) -> tuple[list[bytes], list[bytes]]:
    """Answers of ES9+ in JSON and ASN.1."""
    server, shown = list(tlv.read(authenticate).children())[:4], list(tlv.read(prepare).children())
    asked = {
        "initiateAuthentication": (0xBF39, [found.raw for found in server]),
        "authenticateClient": (0xBF3B, [metadata, shown[0].raw, shown[1].raw, shown[-1].raw]),
        "getBoundProfilePackage": (0xBF3A, [bpp]),
        "cancelSession": (0xBF41, []),
    }
    in_json, in_asn1 = [], []
    for function, (tag, members) in asked.items():
        names = [name for name in simulated._ANSWERS[function] if name != "transactionId"]
        body: dict[str, Any] = {"header": {"functionExecutionStatus": {"status": "Executed-Success"}}}
        session = tlv.wrap(0x80, bytes.fromhex(SESSION)) if names else b""
        body |= {"transactionId": SESSION} if names else {}
        body |= {name: base64.b64encode(member).decode() for name, member in zip(names, members, strict=True)}
        in_json.append(json.dumps(body).encode())
        in_asn1.append(tlv.wrap(0xA2, tlv.wrap(tag, tlv.wrap(0xA0, session, *members))))
    return in_json, in_asn1


def _trigger() -> bytes:
    return profile_download_trigger("1$smdp.example.com$ABC-1", TransactionId(b"\x01\x02"))


def _euicc_packages() -> list[bytes]:
    head = tlv.wrap(0x80, b"2.25.7"), tlv.wrap(0x5A, bytes.fromhex(_EID)), b"\x81\x01\x05", b"\x82\x02\x0a\x0b"
    iccid = tlv.wrap(0x5A, peer.ICCID.to_bytes())
    commands = (tlv.wrap(0xA3, iccid, b"\x05\x00"), tlv.wrap(0xA5, iccid), tlv.wrap(0xBF2D, tlv.wrap(0x5C, b"\x5a")))
    return [
        tlv.wrap(0xBF51, tlv.wrap(0x30, *head, tlv.wrap(0xA0, command)), tlv.wrap(0x5F37, bytes(64)))
        for command in commands
    ]


def _apdus(request: bytes) -> bytes:
    select = bytes.fromhex("00a4040010a0000005591010ffffffff8900000100")
    first = bytes.fromhex("80e21100") + bytes((59,)) + request[:59]
    return b"".join(
        command.ljust(64, b"\0") for command in (select, bytes.fromhex("0070000001"), first, b"\0\xc0\0\0\0")
    )


def _state(card: Card) -> bytes:
    """Without private keys: they are not committed."""
    state = json.loads(card.to_bytes())
    state["credentials"], state["memory"]["one_time_keys"] = [], {}
    return json.dumps(state).encode()


if __name__ == "__main__":
    main()

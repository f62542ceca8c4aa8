"""The bridge between an LPA program on its standard streams, the card and a server; the program here is a script."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from card_test_pki import EID
from card_test_server import card
from lpa_pki import Pki, make_pki
from lpa_script import HOST, Reply, Script

from simulator.apdu import ISD_R, ApduInterface
from simulator.exchange import trust
from tools.interop.stdio_bridge import Fault, StdioBridge, apdu

PROGRAM = """
import json, sys

def ask(kind, **payload):
    print(json.dumps({"type": kind, "payload": payload}), flush=True)
    return json.loads(sys.stdin.readline())["payload"]

def tell(kind, **payload):
    print(json.dumps({"type": kind, "payload": payload}), flush=True)

def post(function, headers=("Content-Type: application/json", "User-Agent: gsma-rsp-lpad")):
    url = "https://smdp.example.com/gsma/rsp2/es9plus/" + function
    return ask("http", url=url, tx=b"{}".hex(), headers=list(headers))

"""
READ_EID = """
assert ask("apdu", func="connect", param=None) == {"ecode": 0}
channel = ask("apdu", func="logic_channel_open", param="%s")["ecode"]
data = ask("apdu", func="transmit", param="81e2910006bf3e035c015a00")["data"]
closed = ask("apdu", func="logic_channel_close", param="01")["ecode"]
tell("lpa", code=0, message="success", data=[channel, data, closed])
"""


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"), HOST, "other.example.com")


@pytest.fixture
async def script(pki: Pki) -> AsyncIterator[Script]:
    server = Script()
    await server.start(pki.server())
    yield server
    await server.stop()


def bridge(text: str, pki: Pki, script: Script, trusted: Path | None = None) -> StdioBridge:
    program = (sys.executable, "-c", PROGRAM + text)
    address = ("127.0.0.1", script.port)
    return StdioBridge(
        program,
        ApduInterface(card()),
        tls=trust(trusted or pki.ca_file),
        addresses={HOST: address, "wrong.example.com": address},
        environment=os.environ,
    )


async def test_the_program_reaches_the_card(pki: Pki, script: Script) -> None:
    outcome = await bridge(READ_EID % ISD_R.hex(), pki, script).run()
    channel, data, closed = outcome.data
    assert (outcome.status, outcome.code, outcome.message) == (0, 0, "success")
    assert (channel, closed) == (1, 0)
    assert data == f"bf3e125a10{EID}9000"


async def test_the_program_reaches_the_server_with_its_own_headers(pki: Pki, script: Script) -> None:
    text = 'answer = post("cancelSession")\ntell("lpa", code=0, message="", data=answer["rcode"])'
    outcome = await bridge(text, pki, script).run()
    assert outcome.data == 200
    assert outcome.functions == ["cancelSession"]
    (seen,) = script.seen
    assert seen.body == b"{}"
    assert {name: seen.headers[name] for name in ("Content-Type", "User-Agent")} == {
        "Content-Type": "application/json",
        "User-Agent": "gsma-rsp-lpad",
    }
    assert "Accept" not in seen.headers


async def test_an_answer_without_a_body_reaches_the_program(pki: Pki, script: Script) -> None:
    text = 'answer = post("handleNotification")\ntell("lpa", code=0, message="", data=answer)'
    assert (await bridge(text, pki, script).run()).data == {"rcode": 204, "rx": ""}


async def test_redirections_are_not_followed(pki: Pki, script: Script) -> None:
    moved = Reply(status=302, headers={"Location": f"https://{HOST}/gsma/rsp2/es9plus/cancelSession"})
    script.prepare("initiateAuthentication", moved)
    text = 'tell("lpa", code=0, message="", data=post("initiateAuthentication")["rcode"])'
    assert (await bridge(text, pki, script).run()).data == 302
    assert script.functions() == ["initiateAuthentication"]


async def test_a_server_whose_certificate_is_not_trusted_hears_nothing(pki: Pki, script: Script) -> None:
    text = 'tell("lpa", code=0, message="", data=post("cancelSession")["rcode"])'
    outcome = await bridge(text, pki, script, trusted=pki.folder / "stranger.pem").run()
    assert outcome.data == 0
    assert script.seen == []


async def test_a_server_with_another_name_hears_nothing(pki: Pki, script: Script) -> None:
    text = """
answer = ask("http", url="https://wrong.example.com/gsma/rsp2/es9plus/cancelSession", tx="", headers=[])
tell("lpa", code=0, message="", data=answer["rcode"])"""
    assert (await bridge(text, pki, script).run()).data == 0
    assert script.seen == []


@pytest.mark.parametrize(("fault", "heard"), [(Fault.LOSE_REQUEST, 0), (Fault.LOSE_ANSWER, 1)])
async def test_messages_are_lost_on_demand(pki: Pki, script: Script, fault: Fault, heard: int) -> None:
    text = 'tell("lpa", code=0, message="", data=[post("cancelSession"), post("handleNotification")["rcode"]])'
    made = bridge(text, pki, script)
    made.interfere = lambda function: fault if function == "cancelSession" else None
    outcome = await made.run()
    assert outcome.data == [{"rcode": 0, "rx": ""}, 204]
    assert [exchanged.status for exchanged in outcome.exchanges] == [0, 204]
    assert script.functions().count("cancelSession") == heard


async def test_a_person_answers_the_preview(pki: Pki, script: Script) -> None:
    text = """
tell("progress", code=0, message="es9p_authenticate_client", data="")
tell("progress", code=0, message="preview", data={"profileName": "Test"})
tell("lpa", code=-1, message=sys.stdin.read(1), data="")"""
    outcome = await bridge(text, pki, script).run("profile", typed=["n"])
    assert (outcome.code, outcome.message) == (-1, "n")
    assert outcome.progress == ("es9p_authenticate_client", "preview")


async def test_a_program_that_ends_without_a_verdict_has_failed(pki: Pki, script: Script) -> None:
    outcome = await bridge('print("usage: ..."); sys.stderr.write("no such file"); sys.exit(3)', pki, script).run()
    assert (outcome.status, outcome.code, outcome.errors) == (3, -1, "no such file")


def test_an_application_that_is_not_there_opens_no_channel() -> None:
    contacts = ApduInterface(card())
    opened = apdu(contacts, {"func": "logic_channel_open", "param": "a0000000871002"})
    assert opened == {"ecode": -1}
    assert contacts.transmit(b"\x00\x70\x00\x00\x01") == b"\x01\x90\x00"


def test_what_no_card_reader_does_fails() -> None:
    assert apdu(ApduInterface(card()), {"func": "reset", "param": None}) == {"ecode": -1}

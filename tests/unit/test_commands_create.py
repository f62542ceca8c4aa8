"""`smdp order create` that is refused half way: nothing is reserved without a word, and what is can be taken up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from es2plus.client import OrderRefused
from es2plus.replies import Confirmation
from rsp.errors import Malformed, Unreachable
from rsp.identifiers import Eid, Iccid
from rsp.status import Status
from server.__main__ import application
from server.commands import order

ICCID, EID = "8988000000000000008", "89049032123451234512345678901235"


def refused(function: str, status: Status) -> OrderRefused:
    return OrderRefused(function, (status.subject, status.reason), status.message)


@dataclass
class Server:
    """One profile, and what becomes of ConfirmOrder; `linked_to` is the card it was reserved for, once it was."""

    trouble: Exception | None = None
    linked_to: Eid | str | None = "nobody"
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    async def download_order(self, call_id: str, *, eid: Eid | None, iccid: Iccid | None, **_: object) -> Iccid:
        self.asked.append((call_id, eid))
        if self.linked_to == "nobody":
            self.linked_to = eid
        elif iccid is None or self.linked_to != eid:
            raise refused("downloadOrder", Status.ICCID_IN_USE)
        return Iccid.parse(ICCID)

    async def confirm_order(self, call_id: str, _: Iccid, *, eid: Eid | None, **__: object) -> Confirmation:
        self.asked.append((call_id, eid))
        if self.trouble:
            raise self.trouble
        return Confirmation(matching_id="CODE", eid=str(eid or ""), smdp_address="smdp.example.com")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """What the commands speak with."""
    made = Server()

    async def at_once(_: float) -> None:
        """No pause between tries."""

    def with_client(use: Any, **_: object) -> Any:
        return asyncio.run(use(made))

    monkeypatch.setattr(order, "_with_client", with_client)
    monkeypatch.setattr(asyncio, "sleep", at_once)
    return made


def create(*words: str) -> Result:
    return CliRunner().invoke(application(), ["order", "create", "--operator", "operator-a", *words])


def test_an_sm_ds_without_a_card_is_refused_before_anything_is_reserved(server: Server) -> None:
    result = create("--type", "iot-basic", "--smds-address", "smds.example.com")
    assert isinstance(result.exception, Malformed)
    assert "--smds-address needs --eid" in str(result.exception)
    assert server.asked == []


def test_a_refused_confirmation_says_what_is_reserved_and_how_to_go_on(server: Server) -> None:
    server.trouble = refused("confirmOrder", Status.SMDS_UNREACHABLE)
    result = create("--type", "iot-basic", "--eid", EID, "--smds-address", "smds.example.com")
    assert isinstance(result.exception, OrderRefused)
    assert result.exception.codes == (Status.SMDS_UNREACHABLE.subject, Status.SMDS_UNREACHABLE.reason)
    assert str(result.exception).endswith(
        f"try again. ICCID {ICCID} stays reserved: go on with `smdp order create --operator operator-a "
        f"--iccid {ICCID} --eid {EID}` or give it back with "
        f"`smdp order cancel {ICCID} --operator operator-a --eid {EID}`."
    )
    server.trouble = None
    assert "CODE" in create("--iccid", ICCID, "--eid", EID).output


def test_an_order_that_turns_out_to_need_a_card_goes_on_with_one(server: Server) -> None:
    server.trouble = refused("confirmOrder", Status.EID_MISSING)
    text = str(create("--type", "iot-basic").exception)
    assert f"--iccid {ICCID} --eid EID`" in text
    assert text.endswith(f"`smdp order cancel {ICCID} --operator operator-a`.")
    server.trouble, server.asked = None, []
    assert "CODE" in create("--iccid", ICCID, "--eid", EID, "--call-id", "c").output
    assert server.asked == [("c-1", Eid(EID)), ("c-1-any", None), ("c-2", Eid(EID))]


def test_an_order_of_another_card_is_not_taken_up(server: Server) -> None:
    server.linked_to = Eid("89049032123451234512345678901236")
    result = create("--iccid", ICCID, "--eid", EID)
    assert isinstance(result.exception, OrderRefused)
    assert result.exception.codes == (Status.ICCID_IN_USE.subject, Status.ICCID_IN_USE.reason)
    assert len(server.asked) == 2


def test_an_order_that_is_not_there_to_be_confirmed_is_not_called_reserved(server: Server) -> None:
    server.trouble = refused("confirmOrder", Status.ICCID_INVALID_TRANSITION)
    assert "reserved" not in str(create("--type", "iot-basic").exception)


def test_a_lost_confirmation_names_the_call_that_goes_on(server: Server) -> None:
    server.trouble = Unreachable("no answer")
    result = create("--type", "iot-basic", "--call-id", "c")
    assert isinstance(result.exception, Unreachable)
    assert f"ICCID {ICCID} is reserved" in str(result.exception)
    assert str(result.exception).endswith("--call-id c")

"""`smdp order recover`: which state the profile is brought into, and what is printed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from es2plus.client import OrderRefused
from rsp.identifiers import Iccid
from rsp.status import Status
from server.__main__ import application
from server.commands import order

ICCID = "8988000000000000008"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Iccid, str]]:
    """What the client is asked for."""
    calls: list[tuple[Iccid, str]] = []

    class Client:
        async def recover_profile(self, call_id: str, iccid: Iccid, profile_status: str) -> None:
            calls.append((iccid, profile_status))
            if profile_status == "Available":
                raise OrderRefused("recoverProfile", (Status.ICCID_IN_USE.subject, Status.ICCID_IN_USE.reason), "No.")

    def with_client(use: Any, **_: object) -> None:
        asyncio.run(use(Client()))

    monkeypatch.setattr(order, "_with_client", with_client)
    return calls


def run(*words: str) -> Any:
    return CliRunner().invoke(application(), ["order", "recover", ICCID, "--operator", "operator-a", *words])


def test_failed_order_is_released_again(asked: list[tuple[Iccid, str]]) -> None:
    assert run().stdout == f"ICCID {ICCID} is released\n"
    found = json.loads(run("--json").stdout)
    assert (found["iccid"], found["state"], len(found["callId"])) == (ICCID, "released", 16)
    assert asked == [(Iccid(ICCID), "Released")] * 2


def test_profile_that_may_be_on_a_card_is_not_given_back(asked: list[tuple[Iccid, str]]) -> None:
    result = run("--to-stock")
    assert isinstance(result.exception, OrderRefused)
    assert asked == [(Iccid(ICCID), "Available")]

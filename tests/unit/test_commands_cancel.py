"""`smdp order cancel` of an order that is tied to a card: the refusal says which option to give."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from typer.testing import CliRunner

from es2plus.client import OrderRefused
from rsp.status import Status
from server.__main__ import application
from server.commands import order


@pytest.mark.parametrize(
    ("status", "hinted"),
    [(Status.EID_MISSING, True), (Status.EID_ASSOCIATED_OTHERWISE, True), (Status.MATCHING_ID_IN_USE, False)],
)
def test_a_refusal_about_the_card_names_the_option(
    monkeypatch: pytest.MonkeyPatch, status: Status, hinted: bool
) -> None:
    class Client:
        async def cancel_order(self, *_: object, **__: object) -> None:
            raise OrderRefused("cancelOrder", (status.subject, status.reason), status.message)

    def with_client(use: Any, **_: object) -> None:
        asyncio.run(use(Client()))

    monkeypatch.setattr(order, "_with_client", with_client)
    words = ["order", "cancel", "8988000000000000008", "--operator", "operator-a"]
    result = CliRunner().invoke(application(), words)
    assert isinstance(result.exception, OrderRefused)
    assert result.exception.codes == (status.subject, status.reason)
    assert status.message in str(result.exception)
    assert str(result.exception).endswith(". Name its card with --eid: `smdp order show` tells which.") is hinted

"""Fixtures of the tests of the LPA: a scripted SM-DP+, and LPAs that talk to it without waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from lpa_pki import Pki, make_pki
from lpa_script import HOST, ConstantCard, Script
from lpa_stage import Make, Pauses

from simulator.exchange import Exchange, Habits, trust
from simulator.lpa import Lpa


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"), HOST, "other.example.com")


@pytest.fixture
async def script(pki: Pki) -> AsyncIterator[Script]:
    server = Script()
    await server.start(pki.server())
    yield server
    await server.stop()


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def make(script: Script, pki: Pki, pauses: Pauses) -> AsyncIterator[Make]:
    opened: list[Exchange] = []

    def build(card: ConstantCard | None = None, habits: dict[str, Any] | None = None, **options: Any) -> Lpa:
        exchange = Exchange(
            tls=trust(pki.ca_file),
            addresses={HOST: ("127.0.0.1", script.port)},
            habits=Habits(pause=pauses, **(habits or {})),
            user_agent="gsma-rsp-lpad",
        )
        opened.append(exchange)
        return Lpa(card or ConstantCard(), exchange, **options)

    yield build
    for each in opened:
        await each.close()

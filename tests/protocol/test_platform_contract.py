"""The contract of platforms, kept by Control Center and by a carrier without integration."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from platform_contract import Place, PlatformContract
from platform_stage import INVENTORY, OTHER_ACCOUNT, OTHER_PLANS, SIM, TARGET, UNKNOWN, open_stage

from carriers.base import Platform
from carriers.external import External


def place_of(platform: Platform, connect: object = None, disconnect: object = None) -> Place:
    return Place(
        platform=platform,
        sim=SIM,
        unknown=UNKNOWN,
        inventory=INVENTORY,
        target=TARGET,
        other_plans=OTHER_PLANS,
        other_account=OTHER_ACCOUNT,
        connect=connect,  # type: ignore[arg-type]  # None where the platform tells no sessions
        disconnect=disconnect,  # type: ignore[arg-type]
    )


class TestControlCenter(PlatformContract):
    """With the inventory account configured."""

    @pytest.fixture
    async def place(self) -> AsyncIterator[Place]:
        async with open_stage() as stage:
            yield place_of(stage.platform, stage.book.session_starts, stage.book.session_ends)


class TestControlCenterOfAnyAccount(PlatformContract):
    """Without it: stock is told by the state alone."""

    @pytest.fixture
    async def place(self) -> AsyncIterator[Place]:
        async with open_stage() as stage:
            yield place_of(stage.adapter(inventory=""), stage.book.session_starts, stage.book.session_ends)


class TestExternal(PlatformContract):
    """A carrier that we cannot ask."""

    @pytest.fixture
    async def place(self) -> Place:
        return place_of(External())

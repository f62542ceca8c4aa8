"""Fixtures of the protocol tests: certificates once for the run, a server on a fresh database for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from smdp.policy import Policy
from tests.protocol_stage import NAME, Clock, Material, Stage


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A generated PKI on both curves, its vault, and the makers of its cards."""
    return Material.make(tmp_path_factory.mktemp("material"))


@pytest.fixture
def clock() -> Clock:
    """The time of server and cards."""
    return Clock()


@pytest.fixture
def policy() -> Policy:
    """The rules of the server; a module or a test may override this fixture."""
    return Policy(server_names=(NAME,))


@pytest.fixture
async def stage(database: str, material: Material, clock: Clock, policy: Policy) -> AsyncIterator[Stage]:
    """A server on a fresh database."""
    async with Stage.opened(database, material, clock, policy) as opened:
        yield opened

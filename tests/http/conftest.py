"""Fixtures of the HTTP tests: certificates once for the run, listeners over a fresh database for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.http_stage import Edge, Material, edge


@pytest.fixture(scope="session")
def edge_material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A generated PKI and its vault."""
    return Material.make(tmp_path_factory.mktemp("edge"))


@pytest.fixture
async def at_edge(database: str, edge_material: Material, tmp_path: Path) -> AsyncIterator[Edge]:
    """A process that answers."""
    async with edge(edge_material, database, tmp_path) as opened:
        yield opened

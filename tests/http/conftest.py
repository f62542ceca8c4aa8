"""Fixtures of the HTTP tests: certificates once for the run, listeners over a fresh database for each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from tests.http_stage import Edge, Material, edge


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Runs these tests on the loop the server runs on: its TLS is an implementation of its own."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def edge_material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A generated PKI and its vault."""
    return Material.make(tmp_path_factory.mktemp("edge"))


@pytest.fixture
async def at_edge(database: str, edge_material: Material, tmp_path: Path) -> AsyncIterator[Edge]:
    """A process that answers."""
    async with edge(edge_material, database, tmp_path) as opened:
        yield opened

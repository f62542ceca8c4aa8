"""Fixtures of the HTTP tests: certificates once for the run, listeners over a fresh database for each test."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
import uvloop

from store.embedded import EmbeddedPostgres
from tests.es2_scene import Scene
from tests.functions_stage import Functions
from tests.http_stage import Edge, Material, edge

_numbers = itertools.count(1)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Runs these tests on the loop the server runs on: its TLS is an implementation of its own."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def edge_material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A generated PKI and its vault."""
    return Material.make(tmp_path_factory.mktemp("edge"))


@pytest.fixture
def functions() -> Functions:
    """Functions that do what a test wants."""
    return Functions()


@pytest.fixture
async def at_edge(database: str, edge_material: Material, tmp_path: Path) -> AsyncIterator[Edge]:
    """A process that answers."""
    async with edge(edge_material, database, tmp_path) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def es2(
    postgres: EmbeddedPostgres, edge_material: Material, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Edge]:
    """One process for all tests of this file; each works on profiles of its own."""
    name = f"es2_{next(_numbers)}"
    database = postgres.create_database(name, template="template_migrated")
    async with edge(edge_material, database, tmp_path_factory.mktemp("es2")) as opened:
        yield opened
    postgres.drop_database(name)


@pytest_asyncio.fixture(loop_scope="module")
async def scene(es2: Edge) -> Scene:
    """A fresh profile in stock."""
    (iccid,) = await es2.stock()
    return Scene(edge=es2, iccid=iccid)

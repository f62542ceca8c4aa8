"""The OpenAPI document and its page: what the server does, in a form that tools can read, without a key."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from api.openapi import document
from api.operation import AnyOperation, Nothing
from api.problems import CODES
from tests.http_stage import Answer, Edge


async def fetched(edge: Edge, path: str) -> Answer:
    return await edge.request("api", path, b"", method="GET", headers={})


@pytest.fixture
def operations(at_edge: Edge) -> tuple[AnyOperation, ...]:
    return at_edge.services.api.operations


async def test_the_document_describes_every_operation(at_edge: Edge, operations: tuple[AnyOperation, ...]) -> None:
    answer = await fetched(at_edge, "/v1/openapi.json")
    assert answer.status == 200
    made = answer.json()
    assert made["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, methods in made["paths"].items() for method in methods}
    assert described == {(one.method, one.path) for one in operations}
    assert {"/v1/carriers", "/v1/enterprises", "/v1/partnerships", "/v1/keys", "/v1/esims"} <= set(made["paths"])
    names = [one["operationId"] for methods in made["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names))


async def test_every_reference_of_the_document_leads_somewhere(at_edge: Edge) -> None:
    text = (await fetched(at_edge, "/v1/openapi.json")).body.decode()
    schemas = json.loads(text)["components"]["schemas"]
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert named <= set(schemas)


async def test_every_example_is_of_its_type_and_every_code_has_a_meaning(operations: tuple[AnyOperation, ...]) -> None:
    for one in operations:
        msgspec.json.decode(msgspec.json.encode(one.example), type=one.answer)
        if one.body is not Nothing:
            assert one.body_example is not None, one.name
            msgspec.json.decode(msgspec.json.encode(one.body_example), type=one.body)
        assert set(one.problems) <= set(CODES)


async def test_what_makes_something_needs_an_idempotency_key(operations: tuple[AnyOperation, ...]) -> None:
    made: dict[str, Any] = document(operations)
    for one in operations:
        named = {p["name"] for p in made["paths"][one.path][one.method.lower()]["parameters"]}
        assert ("Idempotency-Key" in named) == one.creates, one.name
        assert one.creates == (one.status in (201, 202)), one.name


async def test_every_list_has_pages(operations: tuple[AnyOperation, ...]) -> None:
    made: dict[str, Any] = document(operations)
    for one in operations:
        if one.name.startswith("list"):
            named = {p["name"] for p in made["paths"][one.path]["get"]["parameters"] if p["in"] == "query"}
            assert {"limit", "after"} <= named, one.name


async def test_the_page_loads_nothing_from_anywhere(at_edge: Edge) -> None:
    answer = await fetched(at_edge, "/docs")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    page = answer.body.decode()
    assert not re.search(r"<(script|link|img|iframe)|\bsrc=|@import|url\(", page)
    assert "/v1/partnerships" in page

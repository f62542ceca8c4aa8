"""The OpenAPI 3.1 document, made from the operations and types that the server runs, so that the two cannot differ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from api.operation import AnyOperation, Nothing
from api.problems import CODES, CONTENT_TYPE, ProblemDocument
from api.repetition import HEADER

_REF = "#/components/schemas/{name}"
_ALWAYS = ("malformed", "unauthenticated", "not_allowed", "too_many_requests", "internal", "unavailable")
_WITH_BODY = ("timeout", "too_large", "unsupported_media_type")
_CREATING = ("idempotency_key_missing", "request_in_flight", "idempotency_key_reused")
_JSON = "application/json"


def document(operations: Sequence[AnyOperation], server_url: str = "/") -> dict[str, Any]:
    """The whole document."""
    kinds = {kind for operation in operations for kind in (operation.body, operation.answer, operation.query)}
    _, components = msgspec.json.schema_components(
        sorted(kinds | {ProblemDocument}, key=lambda kind: str(kind.__name__)), ref_template=_REF
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, components)
    queries = {operation.query.__name__ for operation in operations}
    shown = {name: schema for name, schema in components.items() if name not in queries and name != "Nothing"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "smdp-flex API",
            "version": "1",
            "description": "Carriers, enterprises, partnerships, eSIMs and swaps of carriers. Errors are problem "
            "documents (RFC 9457); every answer echoes the header x-correlator.",
        },
        "servers": [{"url": server_url}],
        "security": [{"apiKey": []}],
        "paths": paths,
        "components": {
            "schemas": shown,
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer", "bearerFormat": "smdp_<id>_<secret>"}},
        },
    }


def codes_of(operation: AnyOperation) -> tuple[str, ...]:
    """Every code of a problem that the operation may answer."""
    codes = [*_ALWAYS, *operation.problems]
    if "{" in operation.path:
        codes.append("not_found")
    if operation.body is not Nothing:
        codes += _WITH_BODY
    if operation.creates:
        codes += _CREATING
    return tuple(dict.fromkeys(codes))


def _operation(operation: AnyOperation, components: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Needs the scope `{operation.scope.value}`.",
        "tags": [operation.path.split("/")[2]],
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation, components)],
        "responses": {str(operation.status): _answer(operation), **_problems(operation)},
    }
    if operation.creates:
        made["parameters"].append(
            {"name": HEADER, "in": "header", "required": True, "schema": {"type": "string", "maxLength": 255}}
        )
    if operation.body is not Nothing:
        content: dict[str, Any] = {"schema": {"$ref": _REF.format(name=operation.body.__name__)}}
        if operation.body_example is not None:
            content["example"] = msgspec.to_builtins(operation.body_example)
        made["requestBody"] = {"required": True, "content": {_JSON: content}}
    return made


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _query_parameters(operation: AnyOperation, components: dict[str, Any]) -> list[dict[str, Any]]:
    schema = components.get(operation.query.__name__, {})
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": member}
        for name, member in schema.get("properties", {}).items()
    ]


def _answer(operation: AnyOperation) -> dict[str, Any]:
    headers: dict[str, Any] = {"x-correlator": {"schema": {"type": "string"}}}
    if operation.location is not None:
        headers["Location"] = {"schema": {"type": "string"}}
    return {
        "description": operation.summary,
        "headers": headers,
        "content": {
            _JSON: {
                "schema": {"$ref": _REF.format(name=operation.answer.__name__)},
                "example": msgspec.to_builtins(operation.example),
            }
        },
    }


def _problems(operation: AnyOperation) -> dict[str, Any]:
    by_status: dict[str, list[str]] = {}
    for code in codes_of(operation):
        by_status.setdefault(str(CODES[code][0]), []).append(code)
    return {status: _problem(codes) for status, codes in sorted(by_status.items())}


def _problem(codes: list[str]) -> dict[str, Any]:
    examples = {
        code: {
            "value": {
                "type": f"urn:smdp-flex:problem:{code}",
                "title": CODES[code][1],
                "status": CODES[code][0],
                "code": code,
                "detail": CODES[code][1],
                "correlator": "c0ffee",
            }
        }
        for code in codes
    }
    schema = {"$ref": _REF.format(name="ProblemDocument")}
    return {"description": ", ".join(codes), "content": {CONTENT_TYPE: {"schema": schema, "examples": examples}}}

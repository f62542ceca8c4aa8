"""What anybody may read without a key: the OpenAPI document, and a page that shows it and loads nothing else."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from api.openapi import document
from api.operation import AnyOperation

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
h2{margin-top:2.5rem;border-bottom:1px solid #ccc}code,pre{font:14px/1.4 ui-monospace,monospace}
pre{background:#f4f4f4;padding:.8rem;overflow:auto}details{margin:.4rem 0}summary{cursor:pointer}
.m{display:inline-block;min-width:4rem;font-weight:600}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def pages(operations: Sequence[AnyOperation]) -> list[web.RouteDef]:
    """`/v1/openapi.json` and `/docs`, made once."""
    made = document(operations)
    as_json, as_page = msgspec.json.format(msgspec.json.encode(made), indent=2), _page(made)

    async def openapi(_: web.Request) -> web.Response:
        return web.Response(body=as_json, content_type="application/json")

    async def docs(_: web.Request) -> web.Response:
        answer = web.Response(text=as_page, content_type="text/html")
        answer.headers["Content-Security-Policy"] = _POLICY
        return answer

    return [web.route("GET", "/v1/openapi.json", openapi), web.route("GET", "/docs", docs)]


def _page(made: dict[str, Any]) -> str:
    parts = [f"<h1>{html.escape(made['info']['title'])}</h1><p>{html.escape(made['info']['description'])}</p>"]
    parts.append('<p>The same for programs: <a href="/v1/openapi.json">/v1/openapi.json</a></p>')
    tag = ""
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                parts.append(f"<h2>{html.escape(tag)}</h2>")
            parts.append(_entry(path, method, operation))
    parts.append("<h2>types</h2>")
    for name, schema in made["components"]["schemas"].items():
        parts.append(f"<details><summary><code>{html.escape(name)}</code></summary>{_code(schema)}</details>")
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>API</title><style>{_STYLE}</style>"
    return head + "".join(parts)


def _entry(path: str, method: str, operation: dict[str, Any]) -> str:
    title = f"<span class=m>{method.upper()}</span><code>{html.escape(path)}</code> {html.escape(operation['summary'])}"
    inside = [f"<p>{html.escape(operation['description'])}</p>"]
    if operation["parameters"]:
        inside.append("<p>Parameters</p>" + _code(operation["parameters"]))
    if "requestBody" in operation:
        inside.append("<p>Request</p>" + _code(operation["requestBody"]["content"]["application/json"].get("example")))
    for status, answer in operation["responses"].items():
        content = answer["content"].get("application/json", {})
        inside.append(f"<p>{status}: {html.escape(answer['description'])}</p>")
        inside += [_code(content["example"])] if content else []
    return f"<details><summary>{title}</summary>{''.join(inside)}</details>"


def _code(value: Any) -> str:
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return f"<pre>{html.escape(text)}</pre>"

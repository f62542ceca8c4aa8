"""The API of one process over PostgreSQL and TLS: carriers and enterprises with keys, and callers that hold them."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from api.operation import AnyOperation
from api.problems import CODES, CONTENT_TYPE, ProblemDocument
from tenancy.keys import NewKey, token
from tenancy.principal import Act, Principal, PrincipalKind, Scope
from tests.http_stage import Answer, Edge

ADMIN = Principal(kind=PrincipalKind.ADMIN)
_numbers: Iterator[int] = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCaller:
    """Somebody with an API key. Every answer is held against the document before the test sees it."""

    edge: Edge
    token: str = field(repr=False)
    principal: Principal

    async def get(self, path: str, **headers: str) -> Answer:
        """GET."""
        return await self.call("GET", path, None, headers)

    async def post(self, path: str, body: object = None, *, key: str | None = None, **headers: str) -> Answer:
        """POST with an Idempotency-Key of its own unless `key` is given; an empty one sends none."""
        given = f"key-{next(_numbers)}" if key is None else key
        named = {"Idempotency-Key": given} if given else {}
        return await self.call("POST", path, body, named | headers)

    async def patch(self, path: str, body: object, **headers: str) -> Answer:
        """PATCH."""
        return await self.call("PATCH", path, body, headers)

    async def call(self, method: str, path: str, body: object, headers: Mapping[str, str]) -> Answer:
        """Any method."""
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **headers}
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        answer = await self.edge.request("api", path, data, method=method, headers=sent)
        conforms(self.edge.services.api.operations, method, path, answer)
        return answer


def conforms(operations: tuple[AnyOperation, ...], method: str, path: str, answer: Answer) -> None:
    """Whether the answer is one that the document promises."""
    assert answer.headers["x-correlator"]
    if answer.status >= 400:
        assert answer.headers["Content-Type"] == CONTENT_TYPE
        problem = msgspec.json.decode(answer.body, type=ProblemDocument)
        assert (problem.status, problem.title) == CODES[problem.code]
        assert (answer.status, problem.correlator) == (problem.status, answer.headers["x-correlator"])
        return
    served = [one for one in operations if one.method == method and _matches(one.path, path.partition("?")[0])]
    assert len(served) == 1, (method, path)
    assert answer.status == served[0].status
    assert answer.headers["Content-Type"].startswith("application/json")
    msgspec.json.decode(answer.body, type=served[0].answer)
    assert ("Location" in answer.headers) == (served[0].location is not None)


def _matches(pattern: str, path: str) -> bool:
    wanted, given = pattern.split("/"), path.split("/")
    return len(wanted) == len(given) and all(a == b or a.startswith("{") for a, b in zip(wanted, given, strict=True))


async def caller(edge: Edge, principal: Principal = ADMIN, scopes: frozenset[Scope] = frozenset(Scope)) -> ApiCaller:
    """A caller with a key of `principal`, stored behind the API's back."""
    import hashlib

    secret = secrets.token_bytes(32)
    new = NewKey(
        principal=principal,
        name="test",
        scopes=scopes,
        digest=hashlib.sha256(secret).digest(),
        created_at=edge.services.api.now(),
    )
    made = await edge.services.api.keys.add_key(Act(principal=ADMIN, scopes=frozenset(Scope)), new)
    return ApiCaller(edge=edge, token=token(made.id, secret), principal=principal)


def carrier_body(name: str, role: str = "both", **more: Any) -> dict[str, Any]:
    """A carrier to be registered, without platform."""
    return {"name": name, "role": role, "platform": {"kind": "external"}, **more}

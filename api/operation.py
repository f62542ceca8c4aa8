"""One operation of the API as a value: its route, types, scope and examples; the server and the document read it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from rsp.errors import Malformed
from rsp.identifiers import Eid
from tenancy.ports import Page
from tenancy.principal import Act, Scope, Unknown

LARGEST_PAGE = 200
_LARGEST_ID = 2**63 - 1


class Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What every request body is: members in camelCase, none that is not known."""


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What every answer is. Members are always there; null says that there is no value."""


class Query(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What the query of an operation may hold; this one: nothing."""


class Listed(Query, frozen=True, kw_only=True):
    """What the query of every list may hold: how many rows, and the `next` of the page before."""

    limit: int = 50
    after: int = 0

    def page(self) -> Page:
        """The page asked for, one row longer: that row tells whether there is a next page. Raises Malformed."""
        if not 1 <= self.limit <= LARGEST_PAGE:
            raise Malformed(f"limit must be 1 to {LARGEST_PAGE}")
        if not 0 <= self.after <= _LARGEST_ID:
            raise Malformed("after is the `next` of the page before")
        return Page(after=self.after, most=self.limit + 1)


class Nothing(Body, frozen=True):
    """The body of operations that need none."""


B = TypeVar("B", bound=Body)
Q = TypeVar("Q", bound=Query)
V = TypeVar("V", bound=View)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Generic[B, Q]):
    """An authenticated request with everything parsed. `act.request` is what a write is stored under."""

    act: Act
    body: B
    query: Q
    path: Mapping[str, str]

    def id(self, name: str) -> int:
        """A number of the path. Raises Unknown when it is none."""
        text = self.path[name]
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise Unknown("there is nothing of this id")
        return int(text)

    def eid(self) -> Eid:
        """The EID of the path. Raises Unknown when it is none."""
        try:
            return Eid(self.path["eid"])
        except Malformed:
            raise Unknown("there is no eSIM with this EID") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[B, Q, V]):
    """One method of one path.

    `creates`: it makes something, so it needs an Idempotency-Key and is done once for each. `location` gives the path
    of what was made. `kept` is what a repeated request gets instead of the first answer, where that held a secret.
    """

    name: str
    method: str
    path: str
    summary: str
    scope: Scope
    call: Callable[[Request[B, Q]], Awaitable[V]]
    answer: type[V]
    example: V
    status: int = 200
    body: type[B]
    body_example: B | None = None
    query: type[Q]
    creates: bool = False
    location: Callable[[V], str] | None = None
    kept: Callable[[V], V] | None = None
    problems: tuple[str, ...] = ()


AnyOperation = Operation[Any, Any, Any]


def page_end(limit: int, ids: list[int]) -> int | None:
    """The `next` of a page whose rows, and one more if there is one, have these ids."""
    return ids[limit - 1] if len(ids) > limit else None

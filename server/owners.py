"""Finds the operator a command names."""

from __future__ import annotations

from rsp.errors import Malformed
from store.directory import Operators
from store.pool import Pool
from tenancy.operator import Operator


async def owner_of(pool: Pool, name: str) -> Operator:
    """The operator with this name. Raises Malformed, which says what to do."""
    found = await Operators(pool).by_name(name)
    if found is None:
        raise Malformed(f"no operator is called {name!r}: see `smdp operator list`")
    return found

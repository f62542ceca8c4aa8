"""The lines of callers at carriers' platforms: a guarded document for each credential, beside the database's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Integer, Text, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert

from store.compiled import compiled
from store.pool import Pool
from store.tenancy_tables import platform_lines

_CREDENTIAL = bindparam("credential", type_=Text)
_of_it = platform_lines.c.credential == _CREDENTIAL
_READ = compiled(
    select(
        func.clock_timestamp().label("now"),
        select(platform_lines.c.version).where(_of_it).scalar_subquery().label("version"),
        select(platform_lines.c.line).where(_of_it).scalar_subquery().label("line"),
    )
)
_new = insert(platform_lines).values(
    credential=_CREDENTIAL,
    version=bindparam("version", type_=Integer) + 1,
    line=bindparam("line", type_=Text),
)
_REPLACE = compiled(
    _new.on_conflict_do_update(
        index_elements=[platform_lines.c.credential],
        set_={"version": _new.excluded.version, "line": _new.excluded.line},
        where=platform_lines.c.version == bindparam("version", type_=Integer),
    ).returning(platform_lines.c.credential)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLine:
    """A document as it was read, its version, and the time; version 0 and no document when there was none."""

    version: int
    line: str
    now: datetime


class PlatformLines:
    """PostgreSQL behind the pace of calls to platforms. Single statements: no lock outlives one, no session is tied."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self, credential: str) -> StoredLine:
        """The line of a credential."""
        row = await self._pool.fetch_one(_READ, credential=credential)
        assert row is not None, "a statement without a table has one row"
        return StoredLine(version=row["version"] or 0, line=row["line"] or "", now=row["now"])

    async def replace(self, credential: str, version: int, line: str) -> bool:
        """Keep this document if it still has that version; whether it had."""
        row = await self._pool.fetch_one(_REPLACE, credential=credential, version=version, line=line)
        return row is not None

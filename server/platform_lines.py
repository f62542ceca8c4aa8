"""`carriers.pace.Lines` over PostgreSQL: the pace of calls to platforms holds for all processes of one database."""

from __future__ import annotations

import msgspec

from carriers.pace import Kept, Line
from store.platform_lines import PlatformLines


class SharedLines:
    """The lines of callers that all processes share."""

    def __init__(self, stored: PlatformLines) -> None:
        self._stored = stored

    async def read(self, credential: str) -> Kept:
        """The line of a credential."""
        found = await self._stored.read(credential)
        line = msgspec.json.decode(found.line, type=Line) if found.line else Line()
        return Kept(line=line, version=found.version, now=found.now)

    async def replace(self, credential: str, version: int, line: Line) -> bool:
        """Keep this line if it still has that version."""
        return await self._stored.replace(credential, version, msgspec.json.encode(line).decode())

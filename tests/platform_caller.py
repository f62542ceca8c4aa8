"""A process that reads a SIM at a platform: `python -m tests.platform_caller DATABASE BASE_URL ICCID CALLS`."""

from __future__ import annotations

import asyncio
import sys

import aiohttp

from carriers.registry import PlatformSettings, Registry
from rsp.identifiers import Iccid
from server.platform_lines import SharedLines
from server.setting_kinds import Secret
from store.platform_lines import PlatformLines
from store.pool import open_pool


async def main(database: str, base_url: str, iccid: str, calls: str) -> None:
    """Reads it so many times, as often at once as it can."""
    pool = await open_pool(database, 2)
    settings = PlatformSettings(
        kind="control_center", base_url=base_url, username="flex", api_key=Secret("platform-key")
    )
    async with aiohttp.ClientSession() as session:
        platform = Registry(session, SharedLines(PlatformLines(pool))).platform("one", settings)
        found = await asyncio.gather(*(platform.find(Iccid(iccid)) for _ in range(int(calls))))
    await pool.close()
    sys.exit(None in found)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

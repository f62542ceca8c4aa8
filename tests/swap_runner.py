"""A process that does nothing but run swaps: `python -m tests.swap_runner DATABASE PKI VAULT`; tests kill it."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from carriers.registry import Registry
from certs import layout
from crypto.certificates import TrustStore
from eim.association import EimIdentity
from hsm_mock import MockVault
from server.clock import SystemClock
from server.eim_wiring import eim_of
from server.foreign_wiring import foreign_over
from server.hints import Unheard
from server.platform_lines import SharedLines
from server.swap_wiring import Surroundings, Waking, swaps_of
from smdp.ordering import Ordering
from smdp.policy import Policy
from store.ordering import Orderings
from store.platform_lines import PlatformLines
from store.pool import open_pool
from tests.eim_stage import EIM, SMDP
from tests.swap_stage import QUICK, TIMING

LEASE_SECONDS = 0.3


async def main(database: str, pki_path: str, vault_path: str) -> None:
    """Runs what is due, for ever."""
    pki, vault, now = layout.load(Path(pki_path)), MockVault.open(Path(vault_path), "passphrase"), SystemClock().now
    pool, policy = await open_pool(database, 2), Policy(server_names=(SMDP,))
    assert pki.eim is not None
    identity = EimIdentity(eim_id=EIM, fqdn=EIM, signing_key=pki.eim.signing_key)
    waking = Waking(pool, Unheard(), now)
    foreign = await AsyncExitStack().enter_async_context(foreign_over(pool, vault, waking.of_card, now, 5.0))
    around = Surroundings(
        pool=pool,
        foreign=foreign.profiles,
        vault=vault,
        ordering=Ordering(Orderings(pool), vault, policy, now),
        policy=policy,
        eim=eim_of(identity, pool, vault, TrustStore(pki.ci_certificates), (SMDP,), now),
        registry=Registry(aiohttp.ClientSession(), SharedLines(PlatformLines(pool)), QUICK),
        now=now,
        timing=TIMING,
    )
    saga = swaps_of(around).saga()
    sys.stdout.write("running\n")
    sys.stdout.flush()
    while True:
        if not await saga.run_due(1, LEASE_SECONDS):
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

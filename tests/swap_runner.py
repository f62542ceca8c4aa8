"""A process that runs swaps: `python -m tests.swap_runner DATABASE PKI VAULT LEASE_SECONDS`; tests kill it.

It writes a line `begins SWAP STEP` before each step and `ends SWAP STEP` after it, each with the time that all
processes of this machine share.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
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
from swap.outcomes import Context, Step, StepOutcome
from swap.swap import StepName
from tests.eim_stage import EIM, SMDP
from tests.swap_stage import QUICK, TIMING

AT_ONCE = 2
_CALL_SECONDS = 5.0


def say(*words: object) -> None:
    """A line for the test, with the time."""
    sys.stdout.write(" ".join(map(str, (*words, time.monotonic_ns()))) + "\n")
    sys.stdout.flush()


class Told(Step):
    """A step that says when it runs."""

    def __init__(self, step: Step) -> None:
        self._step = step

    async def run(self, context: Context) -> StepOutcome:
        say("begins", context.swap.id, context.swap.step)
        outcome = await self._step.run(context)
        say("ends", context.swap.id, context.swap.step)
        return outcome


async def main(database: str, pki_path: str, vault_path: str, lease_seconds: str) -> None:
    """Runs what is due, for ever."""
    pki, vault, now = layout.load(Path(pki_path)), MockVault.open(Path(vault_path), "passphrase"), SystemClock().now
    pool, policy = await open_pool(database, 4), Policy(server_names=(SMDP,))
    assert pki.eim is not None
    identity = EimIdentity(eim_id=EIM, fqdn=EIM, signing_key=pki.eim.signing_key)
    waking = Waking(pool, Unheard(), now)
    foreign = await AsyncExitStack().enter_async_context(foreign_over(pool, vault, waking.of_card, now, 5.0))
    timing = replace(QUICK, timeout=_CALL_SECONDS)
    around = Surroundings(
        pool=pool,
        foreign=foreign.profiles,
        vault=vault,
        ordering=Ordering(Orderings(pool), vault, policy, now),
        policy=policy,
        eim=eim_of(identity, pool, vault, TrustStore(pki.ci_certificates), (SMDP,), now),
        registry=Registry(aiohttp.ClientSession(), SharedLines(PlatformLines(pool)), timing),
        now=now,
        timing=TIMING,
    )
    made = swaps_of(around)

    async def run() -> None:
        saga = made.saga()
        steps: Mapping[StepName, Step] = saga._steps
        saga._steps = {name: Told(step) for name, step in steps.items()}
        while True:
            if not await saga.run_due(1, float(lease_seconds)):
                await asyncio.sleep(0.02)

    say("running")
    await asyncio.gather(*(run() for _ in range(AT_ONCE)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

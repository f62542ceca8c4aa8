"""What tables, card, platforms and API must hold once a swap has ended: all of it, to the last row."""

from __future__ import annotations

from collections import Counter

from swap_world import ACCOUNT, INVENTORY, PLANS, Job, SwapWorld

from rsp import tlv
from simulator.platforms.control_center_book import Transfer
from swap.plan import STEPS, UNDO, Way

FORWARD = [step.value for step in STEPS[Way.FULL]]
BACK = [step.value for step in UNDO[Way.FULL]]
_UP_TO_ENABLE = FORWARD[: FORWARD.index("enable_profile") + 1]
_STATES = ["preparing", "downloading", "installed", "enabling"]


async def assert_completed(world: SwapWorld, job: Job) -> None:
    """Allocated, downloaded, enabled and billed: each of it once."""
    await _assert_swap(world, job, "completed", [(step, "done") for step in FORWARD])
    await _assert_told(world, job, FORWARD, [*_STATES, "verifying", "committing", "completed"])
    assert job.states() == {str(job.lead_line): False, str(job.iccid): True}
    sim = job.partner.book.sim(job.iccid)
    assert (sim.account, sim.status, sim.rate_plan) == (ACCOUNT, "ACTIVATED", PLANS.rate_plan)
    assert job.partner.book.transfers == [Transfer(iccid=job.iccid, source=INVENTORY, target=ACCOUNT)]
    assert (job.partner.platform.count("transfer"), job.partner.platform.count("edit")) == (1, 1)
    (charge,) = job.partner.book.charges
    (swap,) = await world.rows("swaps", "id", job.swap_id)
    assert (charge.account, charge.until) == (ACCOUNT, None)
    assert charge.since >= swap["enabled_at"]
    assert (swap["source_billed"], swap["target_billed"]) == ("yes", "yes")
    await _assert_operations(world, job, ["list", "download", "list", "enable"])
    await _assert_stock(world, job, order="installed", profile="ordered")
    actions = await world.database.fetch("SELECT about, chosen FROM swap_actions WHERE swap_id = $1", job.swap_id)
    assert [tuple(row) for row in actions] == [("source_line", "")]


async def assert_rolled_back(world: SwapWorld, job: Job) -> None:
    """Everything is as it was: the profile deleted on the card and in stock, the SIM in the inventory, never billed."""
    lines = [(step, "done") for step in _UP_TO_ENABLE[:-1]] + [("enable_profile", "refused")]
    await _assert_swap(world, job, "rolled_back", lines + [(step, "done") for step in BACK])
    await _assert_told(world, job, [*_UP_TO_ENABLE[:-1], *BACK], [*_STATES, "undoing", "rolled_back"])
    assert job.states() == {str(job.lead_line): True}
    sim = job.partner.book.sim(job.iccid)
    assert (sim.account, sim.status) == (INVENTORY, "INVENTORY")
    assert job.partner.book.transfers == [
        Transfer(iccid=job.iccid, source=INVENTORY, target=ACCOUNT),
        Transfer(iccid=job.iccid, source=ACCOUNT, target=INVENTORY),
    ]
    assert (job.partner.platform.count("transfer"), job.partner.platform.count("edit")) == (2, 0)
    assert job.partner.book.charges == []
    operations = ["list", "download", "list", "enable", "delete"]
    await _assert_operations(world, job, operations, rolled_back="enable")
    await _assert_stock(world, job, order="deleted", profile="available")
    assert await world.database.fetch("SELECT FROM swap_actions WHERE swap_id = $1", job.swap_id) == []


async def _assert_swap(world: SwapWorld, job: Job, state: str, ledger: list[tuple[str, str]]) -> None:
    """The row, its ledger with one attempt of each step, and the API's word."""
    (swap,) = await world.rows("swaps", "eid", job.eid)
    assert (swap["state"], swap["iccid"], swap["attention"]) == (state, str(job.iccid), "")
    assert swap["ended_at"] is not None
    assert (swap["activation_sealed"], swap["claimed_until"]) == (None, None)
    steps = await world.rows("swap_steps", "swap_id", job.swap_id)
    assert [(row["step"], row["outcome"]) for row in steps] == ledger
    assert {row["attempt"] for row in steps} == {1}
    assert {row["key"] for row in steps} == {f"swap-{job.swap_id}-{step}-1" for step, _ in ledger}
    assert all(row["started_at"] <= row["finished_at"] for row in steps)
    status, answer = await world.call("GET", f"/v1/swaps/{job.swap_id}")
    assert (status, answer["swap"]["state"]) == (200, state)


async def _assert_told(world: SwapWorld, job: Job, done: list[str], states: list[str]) -> None:
    """The timeline tells every step and every state once, in order, at times that never go back."""
    events = await world.rows("swap_events", "swap_id", job.swap_id)
    texts = [row["text"] for row in events]
    assert [text for text in texts if text.endswith(": done")] == [f"{step}: done" for step in done]
    told = [text.removeprefix("the swap is ").partition(":")[0] for text in texts if text.startswith("the swap is ")]
    assert told == states
    assert sum(text.startswith("ordered by") for text in texts) == 1
    assert [row["at"] for row in events] == sorted(row["at"] for row in events)


async def _assert_operations(world: SwapWorld, job: Job, kinds: list[str], rolled_back: str = "") -> None:
    """Each asked for once, under a counter of its own; what the card got is what was signed, the same each time."""
    operations = await world.rows("esim_operations", "eid", job.eid)
    assert [(row["kind"], row["state"]) for row in operations] == [
        (kind, "rolled_back" if kind == rolled_back else "done") for kind in kinds
    ]
    signed = {row["counter"]: row["request"] for row in operations if row["counter"] is not None}
    assert len(signed) == len(kinds) - kinds.count("download")
    given = {tlv.read(raw).members()[0x30].members()[0x81].integer(): raw for raw in job.packages}
    assert given == signed
    assert Counter(job.packages) == Counter(signed.values())


async def _assert_stock(world: SwapWorld, job: Job, *, order: str, profile: str) -> None:
    """One order, bound to this eSIM, and the profile's place in stock."""
    (row,) = await world.rows("orders", "iccid", str(job.iccid))
    assert (row["state"], row["eid"], row["download_attempts"]) == (order, job.eid, 1)
    assert {row[name] for name in ("key_sealed", "otsk_sealed", "euicc_otpk")} == {None}
    state = await world.database.fetchval("SELECT state FROM profiles WHERE iccid = $1", str(job.iccid))
    assert state == profile

"""What the demonstration shows of carrier swaps, act by act; any deviation from what must happen ends it."""

from __future__ import annotations

from dataclasses import dataclass

from rsp.errors import Unreachable
from rsp.identifiers import Iccid
from server.api_client import ApiRefused
from server.demo import esim_acts
from server.demo.esim_acts import asked, carrier_order, expect_card, expect_known
from server.demo.narration import Narrator
from server.demo.stage import Deviation, Server
from server.demo.swap_cast import ENTERPRISE, EXTERNAL, LEAD, PARTNER, THIRD, Cast, assembled
from server.demo.swap_checks import (
    expect_allocated,
    expect_billed_from,
    expect_network,
    expect_operations,
    expect_session,
    expect_status_changes,
    expect_stock,
    expect_transfers,
    expect_unbilled,
    line,
    operations,
)
from server.demo.swap_story import Swap, moment
from server.demo.swap_tables import show_tables
from simulator.exchange import FunctionFailed, NoAnswer, ProtocolFault
from simulator.platforms.control_center import Trouble
from simulator.platforms.control_center_book import Transfer

_ALL_DONE = ("done", "done", "done")
_TOLD_BY_BOTH = "the card's signed installation result at the eIM, and the SM-DP+: installed"


async def perform(server: Server, narrator: Narrator) -> None:
    """All acts. Raises Deviation."""
    try:
        await _perform(server, narrator)
    except (ApiRefused, Unreachable, FunctionFailed, NoAnswer, ProtocolFault) as failed:
        raise Deviation(f"a call that must succeed did not: {failed}") from failed


async def _perform(server: Server, narrator: Narrator) -> None:
    narrator.act("Carriers, an enterprise, and its devices under the eIM")
    async with assembled(server) as cast:
        introduce(cast, narrator)
        await esim_acts.steered_by_hand(cast, narrator)
        lines = await to_partner(cast, narrator)
        await back_to_lead(cast, narrator, lines)
        await to_third_and_back(cast, narrator, lines)
        await to_external(cast, narrator, lines)
        await show_tables(cast, narrator)


def introduce(cast: Cast, narrator: Narrator) -> None:
    """Who is who."""
    narrator.step(f"{LEAD} is the lead carrier of {ENTERPRISE}: its profiles are on the cards, its lines are active")
    stocks = ", ".join(f"{name} {len(cast.stock[name])}" for name in (PARTNER, THIRD))
    narrator.step(f"partners with a Control Center platform each, and profiles in stock here: {stocks}")
    narrator.step(f"{EXTERNAL} is a partner without integration; every partnership is agreed by both sides")
    for device in (cast.meter, cast.sensor):
        narrator.step(f"{device.name}, eSIM {device.eid}, is onboarded and polls the eIM over ESipa")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """The meter's lines after its first swap."""

    lead: Iccid
    partner: Iccid


async def to_partner(cast: Cast, narrator: Narrator) -> Lines:
    """Allocated, downloaded, activated; billed last.

    While the line is allocated the device is out of reach, and the platform's answer to the transfer gets lost.
    """
    narrator.act(f"A swap to {PARTNER}: allocation, download, activation")
    meter = cast.meter
    listed = await asked(cast, narrator, meter, "list")
    lead = Iccid(next(iter(meter.profiles())))
    before = line(cast, LEAD, lead)
    meter.ipa.silent = True
    cast.platforms[PARTNER].fail_next("transfer", Trouble.DROP_AFTER)
    swap = await Swap.ordered(cast, narrator, PARTNER, "full")
    await swap.expect_only_one(THIRD)
    await swap.reach(("downloading",))
    await _expect_allocation(cast, narrator, swap.iccid)
    meter.ipa.silent = False
    await swap.finish("completed", _ALL_DONE)
    lines = Lines(lead=lead, partner=swap.iccid)
    expect_card(meter, {str(lines.lead): False, str(lines.partner): True})
    await expect_known(cast, meter)
    asked_for = await operations(cast, after=listed["id"])
    expect_operations(asked_for, ("download", "done"), ("list", "done"), ("enable", "done"))
    _expect_partner_told(cast, swap, lines)
    await _expect_in_use(cast, swap, lines)
    if before != line(cast, LEAD, lead) or any(change.iccid == lead for change in cast.book(LEAD).changes):
        raise Deviation(f"the line {lead} of {LEAD} must be as it was, but is: {line(cast, LEAD, lead)}")
    narrator.step(f"one transfer, billed since after the pivot; the line of {LEAD} is as it was")
    swap.expect_lines((LEAD, lines.lead, "yes"), (PARTNER, lines.partner, "yes"))
    swap.expect_asked(("source_line", "decision"))
    both = (f"{lines.lead} of {LEAD} (billable: yes)", f"{lines.partner} of {PARTNER} (billable: yes)")
    swap.expect_asked_about("source_line", *both)
    return lines


async def _expect_allocation(cast: Cast, narrator: Narrator, iccid: Iccid) -> None:
    """While the device has heard of nothing yet: allocated, not billed, ordered for this eSIM alone."""
    expect_allocated(cast, PARTNER, iccid, "TEST_READY")
    expect_unbilled(cast, PARTNER, iccid)
    await expect_stock(cast, PARTNER, iccid, "ordered", "released")
    narrator.step(f"{iccid} is in the enterprise's account: TEST_READY, not billable; its order is bound to this EID")
    if (asked_for := cast.platforms[PARTNER].count("transfer")) != 1:
        raise Deviation(f"the platform must have been asked for one transfer, but was asked for {asked_for}")
    narrator.step("the platform's answer to the transfer was lost: it was read back and not asked for again")


def _expect_partner_told(cast: Cast, swap: Swap, lines: Lines) -> None:
    swap.expect_told(
        ("reserve_profile", f"{lines.partner} ordered for eSIM {cast.meter.eid} alone"),
        ("allocate_sim", "TEST_READY, billable: no"),
        ("prepare_profile", "released"),
        ("download_profile", _TOLD_BY_BOTH),
        ("confirm_on_card", "signed list"),
        ("enable_profile", "signed result, acknowledged"),
        ("verify_line", f"session of {lines.partner} at the platform"),
        ("commit_billing", "ACTIVATED, billable: yes"),
        ("close", "billable: yes"),
    )


async def _expect_in_use(cast: Cast, swap: Swap, lines: Lines) -> None:
    """Moved once, active, billed only since the pivot, with a session; the device polls over the new network."""
    expect_allocated(cast, PARTNER, lines.partner, "ACTIVATED")
    expect_status_changes(cast, PARTNER, lines.partner, "TEST_READY", "ACTIVATED")
    expect_billed_from(cast, PARTNER, lines.partner, swap.enabled_at)
    expect_session(cast, PARTNER, lines.partner)
    await expect_stock(cast, PARTNER, lines.partner, "ordered", "installed")
    await expect_network(cast, PARTNER)


async def back_to_lead(cast: Cast, narrator: Narrator, lines: Lines) -> None:
    """Activation only: the card holds the profile, and its SIM is in the enterprise's account."""
    narrator.act(f"The swap back to {LEAD}: activation only")
    meter, last = cast.meter, (await operations(cast))[-1]["id"]
    before = (line(cast, LEAD, lines.lead), line(cast, PARTNER, lines.partner))
    swap = await Swap.ordered(cast, narrator, LEAD, "activation_only")
    await swap.finish("completed", _ALL_DONE)
    expect_card(meter, {str(lines.lead): True, str(lines.partner): False})
    expect_operations(await operations(cast, after=last), ("list", "done"), ("enable", "done"))
    swap.expect_told(
        ("check_allocation", "ACTIVATED"),
        ("confirm_on_card", "signed list"),
        ("enable_profile", "signed result, acknowledged"),
        ("verify_line", f"session of {lines.lead} at the platform"),
        ("commit_billing", "ACTIVATED"),
    )
    if before != (line(cast, LEAD, lines.lead), line(cast, PARTNER, lines.partner)):
        raise Deviation("activation only must change no line at any platform")
    expect_transfers(cast, {LEAD: 0, PARTNER: 1, THIRD: 0})
    expect_session(cast, LEAD, lines.lead)
    await expect_network(cast, LEAD)
    narrator.step("nothing was transferred, ordered or downloaded, and no line changed at its platform")
    swap.expect_asked(("source_line", "decision"))


async def to_third_and_back(cast: Cast, narrator: Narrator, lines: Lines) -> None:
    """Enabled, no attach: the device goes back and says so over the old network; everything is taken back."""
    narrator.act(f"A swap to {THIRD}, whose network lets nobody in: the device goes back")
    meter, last = cast.meter, (await operations(cast))[-1]["id"]
    known = line(cast, LEAD, lines.lead), line(cast, PARTNER, lines.partner)
    swap = await Swap.ordered(cast, narrator, THIRD, "full")
    await swap.finish("rolled_back", ("done", "done", "failed"))
    iccid = swap.iccid
    if meter.rollbacks != 1:
        raise Deviation(f"the card must have gone back once, but did {meter.rollbacks} times")
    expect_card(meter, {str(lines.lead): True, str(lines.partner): False})
    await expect_known(cast, meter)
    asked_for = await operations(cast, after=last)
    wanted = (("download", "done"), ("list", "done"), ("enable", "rolled_back"), ("delete", "done"))
    expect_operations(asked_for, *wanted)
    swap.expect_told(
        ("download_profile", _TOLD_BY_BOTH),
        ("withdraw_operations", ""),
        ("recall_profile", "deleted there first"),
        ("delete_on_card", f"signed result: profile {iccid} is deleted"),
        ("return_profile", "back in stock"),
        ("release_sim", "billable: no"),
    )
    _expect_returned(cast, iccid, asked_for[-1]["endedAt"])
    await expect_stock(cast, THIRD, iccid, "available", "deleted")
    await expect_network(cast, LEAD)
    if known != (line(cast, LEAD, lines.lead), line(cast, PARTNER, lines.partner)) or swap.view["enabledAt"]:
        raise Deviation("a swap that was rolled back must change no other line, and pass no pivot")
    narrator.step(f"the card went back by itself; the device reports over the network of {LEAD} again")
    narrator.step("nothing was billed; profile and SIM went back only after the card's signed delete")
    swap.expect_asked()


def _expect_returned(cast: Cast, iccid: Iccid, deleted_at: str) -> None:
    """The SIM went to the account and back, the latter after the card had deleted its profile; never billed."""
    found = line(cast, THIRD, iccid)
    there, back = found.transfers[:1], found.transfers[1:]
    expect_unbilled(cast, THIRD, iccid)
    expect_status_changes(cast, THIRD, iccid, "TEST_READY", "INVENTORY")
    if there != tuple(Transfer(iccid=one.iccid, source=one.target, target=one.source) for one in back):
        raise Deviation(f"SIM {iccid} must have been moved there and back, but: {found.transfers}")
    returned = [one.at for one in cast.book(THIRD).changes if (one.iccid, one.field) == (iccid, "accountId")][-1]
    if returned < moment(deleted_at):
        raise Deviation(f"SIM {iccid} went back at {returned}, before its profile was deleted at {deleted_at}")


async def to_external(cast: Cast, narrator: Narrator, lines: Lines) -> None:
    """The customer allocates and says so; what we cannot do about billing stays open as an action."""
    narrator.act(f"A swap to {EXTERNAL}, which has no integration: the customer allocates")
    meter, last = cast.meter, (await operations(cast))[-1]["id"]
    changes = [len(cast.book(name).changes) for name in cast.platforms]
    swap = await Swap.ordered(cast, narrator, EXTERNAL, "customer_allocates")
    swap.expect_asked(("allocation", "task"))
    code, iccid = await carrier_order(cast)
    narrator.step(f"the customer has had {EXTERNAL} allocate {iccid}, and confirms it with the activation code")
    await swap.confirm(iccid, str(code))
    await swap.finish("completed", _ALL_DONE)
    expect_card(meter, {str(lines.lead): False, str(lines.partner): False, str(iccid): True})
    asked_for = await operations(cast, after=last)
    wanted = (("download", "done"), ("list", "done"), ("enable", "done"), ("list", "done"))
    expect_operations(asked_for, *wanted)
    swap.expect_told(
        ("await_customer", f"confirmed the allocation of {iccid}"),
        ("download_profile", "signed installation result"),
        ("enable_profile", "signed result, acknowledged"),
        ("verify_line", "signed list over the new network"),
        ("commit_billing", "left to the customer"),
    )
    if changes != [len(cast.book(name).changes) for name in cast.platforms]:
        raise Deviation(f"a swap to {EXTERNAL} must change nothing at the platforms of others")
    await expect_network(cast, EXTERNAL)
    swap.expect_lines((LEAD, lines.lead, "yes"), (EXTERNAL, iccid, "unknown"))
    swap.expect_asked(("billing", "task"), ("source_line", "decision"))
    swap.expect_asked_about("billing", str(iccid), EXTERNAL, "billing state")

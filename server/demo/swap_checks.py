"""What must be so at platforms, in the stock and on record; every deviation is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rsp.identifiers import Iccid
from server.demo.stage import Deviation
from server.demo.swap_cast import ACCOUNT, COMMUNICATION_PLAN, COUNTRY, INVENTORY, NETWORKS, RATE_PLAN, Cast, command
from simulator.platforms.control_center_book import Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFacts:
    """A line as its carrier's platform has it, without sessions; `charges` are begin and end of its billed times."""

    account: str
    status: str
    rate_plan: str
    communication_plan: str
    charges: tuple[tuple[datetime, datetime | None], ...]
    transfers: tuple[Transfer, ...]


def line(cast: Cast, carrier: str, iccid: Iccid) -> LineFacts:
    """The line as it is now."""
    book = cast.book(carrier)
    sim = book.sims[iccid]
    return LineFacts(
        account=sim.account,
        status=sim.status,
        rate_plan=sim.rate_plan,
        communication_plan=sim.communication_plan,
        charges=tuple((charge.since, charge.until) for charge in book.billed(iccid)),
        transfers=tuple(one for one in book.transfers if one.iccid == iccid),
    )


def expect_allocated(cast: Cast, carrier: str, iccid: Iccid, status: str) -> LineFacts:
    """One transfer brought the line into the enterprise's account, under its plans, with this status."""
    found = line(cast, carrier, iccid)
    wanted = (ACCOUNT, status, RATE_PLAN, COMMUNICATION_PLAN)
    if (found.account, found.status, found.rate_plan, found.communication_plan) != wanted:
        raise Deviation(f"line {iccid} of {carrier} must be {wanted}, but is {found}")
    if found.transfers != (Transfer(iccid=iccid, source=INVENTORY, target=ACCOUNT),):
        raise Deviation(f"line {iccid} of {carrier} must have been moved once, but: {found.transfers}")
    return found


def expect_unbilled(cast: Cast, carrier: str, iccid: Iccid) -> None:
    """The line was never billed."""
    if charges := line(cast, carrier, iccid).charges:
        raise Deviation(f"line {iccid} of {carrier} must never have been billed, but was: {charges}")


def expect_billed_from(cast: Cast, carrier: str, iccid: Iccid, pivot: datetime) -> None:
    """The line is billed, for the first time, and not since before the pivot."""
    charges = line(cast, carrier, iccid).charges
    if len(charges) != 1 or charges[0][1] is not None or charges[0][0] < pivot:
        raise Deviation(f"line {iccid} of {carrier} must be billed once, after {pivot}, but: {charges}")


def expect_status_changes(cast: Cast, carrier: str, iccid: Iccid, *statuses: str) -> None:
    """The platform's audit trail has exactly these changes of status."""
    changes = [change for change in cast.book(carrier).changes if (change.iccid, change.field) == (iccid, "status")]
    if tuple(change.after for change in changes) != statuses:
        raise Deviation(f"the status of {iccid} must have become {statuses}, but: {changes}")


def expect_transfers(cast: Cast, wanted: Mapping[str, int]) -> None:
    """So many transfers at all were made at the platforms of these carriers."""
    found = {name: len(cast.book(name).transfers) for name in wanted}
    if found != wanted:
        raise Deviation(f"the transfers at the platforms must be {wanted}, but are {found}")


def expect_session(cast: Cast, carrier: str, iccid: Iccid) -> None:
    """The line has a session now."""
    sim = cast.book(carrier).sims[iccid]
    if sim.session_started is None or sim.session_ended is not None:
        raise Deviation(f"line {iccid} of {carrier} must have a session")


async def expect_stock(cast: Cast, carrier: str, iccid: Iccid, state: str, order: str) -> None:
    """What the SM-DP+ has on record of the profile: state of stock and order; the order is the meter's alone."""
    rows = await command(cast.server.settings, "profile", "list", "--operator", carrier)
    row = next(row for row in rows if row["iccid"] == str(iccid))
    found, wanted = (row["state"], row["orderState"], row["eid"]), (state, order, str(cast.meter.eid))
    if found != wanted:
        raise Deviation(f"profile {iccid} must be {wanted} at the SM-DP+, but is {found}")


async def expect_network(cast: Cast, carrier: str) -> None:
    """The meter polls over the carrier's network."""
    network = f"{COUNTRY}-{NETWORKS[carrier]}"
    path = f"/v1/esims/{cast.meter.eid}"
    await cast.customer.until(path, lambda view: view["lastNetwork"] == network, f"a poll over network {network}")


async def operations(cast: Cast, after: int = 0) -> list[Any]:
    """The meter's operations with ids above `after`, oldest first."""
    page = await cast.customer.get(f"/v1/esims/{cast.meter.eid}/operations?limit=200")
    return sorted((one for one in page["items"] if one["id"] > after), key=lambda one: int(one["id"]))


def expect_operations(found: Sequence[Any], *wanted: tuple[str, str]) -> None:
    """These operations (kind, state) and no others were asked of the card."""
    told = [(one["kind"], one["state"]) for one in found]
    if told != list(wanted):
        raise Deviation(f"the card must have been asked {wanted}, but was asked {told}")

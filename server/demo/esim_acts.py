"""What customers do who steer their eSIMs themselves: each function of the eSIM asked for through the API."""

from __future__ import annotations

from typing import Any

from rsp.identifiers import ActivationCode, Iccid
from server.demo.cast import operator_client, operator_exchange
from server.demo.iot_device import IotDevice
from server.demo.narration import Narrator
from server.demo.stage import Deviation
from server.demo.swap_cast import EXTERNAL, PROFILE_TYPE, Cast

_OPEN = ("queued", "sent", "doubtful")


async def steered_by_hand(cast: Cast, narrator: Narrator) -> None:
    """One device: list, download, enable with permission to go back, enable the first profile again, delete."""
    narrator.act("A customer steers an eSIM through the API, and the eIM tells the device")
    device = cast.sensor
    lead = next(iter(device.profiles()))
    await asked(cast, narrator, device, "list")
    expect_card(device, {lead: True})
    code, ordered = await carrier_order(cast)
    iccid = str(ordered)
    narrator.detail(f"{EXTERNAL} has sold the customer an activation code for {iccid}")
    await asked(cast, narrator, device, "download", activationCode=str(code))
    expect_card(device, {lead: True, iccid: False})
    await asked(cast, narrator, device, "enable", iccid=iccid, rollback=True)
    expect_card(device, {lead: False, iccid: True})
    await asked(cast, narrator, device, "enable", iccid=lead, rollback=True)
    expect_card(device, {lead: True, iccid: False})
    await asked(cast, narrator, device, "delete", iccid=iccid)
    expect_card(device, {lead: True})
    await asked(cast, narrator, device, "list")
    await expect_known(cast, device)
    if device.rollbacks:
        raise Deviation(f"{device.name} went back {device.rollbacks} times, and nobody gave it reason to")


async def asked(cast: Cast, narrator: Narrator, device: IotDevice, kind: str, **members: object) -> Any:
    """Ask for an operation and wait until the card has done it, under its signature."""
    path = f"/v1/esims/{device.eid}/operations"
    made = await cast.customer.post(path, {"kind": kind, **members})
    what = f"{kind} on {device.name}"
    ended = await cast.customer.until(f"{path}/{made['id']}", lambda view: view["state"] not in _OPEN, what)
    if (ended["state"], ended["resultCode"]) != ("done", 0):
        raise Deviation(
            f"{what} must end done, but is {ended['state']} with code {ended['resultCode']}: {ended['detail']}"
        )
    about = f" {members['iccid']}" if "iccid" in members else ""
    narrator.step(f"{kind}{about}: done, says the card's signed result")
    return ended


async def carrier_order(cast: Cast) -> tuple[ActivationCode, Iccid]:
    """The carrier without integration sells a line: its own order over ES2+, and what its customer gets."""
    async with operator_exchange(cast.server, EXTERNAL) as exchange:
        client = operator_client(cast.server, exchange, EXTERNAL)
        iccid = await client.download_order(profile_type=PROFILE_TYPE)
        confirmed = await client.confirm_order(iccid, release=True)
    address = confirmed.smdp_address or cast.server.name
    return ActivationCode(smdp_address=address, matching_id=confirmed.matching_id), iccid


def expect_card(device: IotDevice, wanted: dict[str, bool]) -> None:
    """The card holds exactly these profiles, enabled or not."""
    if device.profiles() != wanted:
        raise Deviation(f"the card of {device.name} must hold {_said(wanted)}, but holds {_said(device.profiles())}")


async def expect_known(cast: Cast, device: IotDevice) -> None:
    """The API tells of the card what the card itself says."""
    view = await cast.customer.get(f"/v1/esims/{device.eid}")
    told = {one["iccid"]: one["enabled"] for one in view["profiles"]}
    if told != device.profiles():
        raise Deviation(
            f"the API says that {device.name} holds {_said(told)}, the card says {_said(device.profiles())}"
        )


def _said(profiles: dict[str, bool]) -> str:
    return (
        ", ".join(f"{iccid} {'enabled' if enabled else 'disabled'}" for iccid, enabled in profiles.items()) or "nothing"
    )

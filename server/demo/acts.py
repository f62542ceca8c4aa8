"""What the demonstration shows, act by act; any deviation from what must happen ends it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from crypto.curves import Curve
from rsp.identifiers import ActivationCode, Eid, Iccid, MatchingId
from rsp.status import Status, es9_integer
from server.demo.cast import Device, Devices, callback_server, operator_client, operator_exchange
from server.demo.narration import Narrator
from server.demo.stage import Deviation, Server, smdp
from simulator.exchange import Exchange
from simulator.lpa_bindings import Spelling
from simulator.lpa_types import Installed, Refused
from simulator.operator import OperatorClient
from simulator.operator_callbacks import CallbackServer

OPERATORS = ("operator-a", "operator-b")
PROFILE_TYPE = "iot-basic"
_IN_STOCK = 3
_CODE = "4711-0815"
_WRONG_CODE = "0000"
_POINTS = (1, 3, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """Everything that is on stage."""

    server: Server
    narrator: Narrator
    devices: Devices
    lpa: Exchange
    operators: dict[str, OperatorClient]
    callbacks: CallbackServer
    package: bytes | None


async def perform(server: Server, narrator: Narrator, upp: Path | None, spelling: Spelling) -> None:
    """All acts; `upp` is a package of one's own, `spelling` the binding devices speak. Raises Deviation."""
    from server.demo.smds_acts import discovered  # it is made of what stands below

    async with AsyncExitStack() as stack:
        callbacks = await stack.enter_async_context(callback_server(server.pki))
        devices = Devices(server, Curve.P256, spelling)
        clients = {}
        for name in OPERATORS:
            exchange = await stack.enter_async_context(operator_exchange(server, name))
            clients[name] = operator_client(server, exchange, name)
        play = Play(
            server=server,
            narrator=narrator,
            devices=devices,
            lpa=await stack.enter_async_context(devices.exchange()),
            operators=clients,
            callbacks=callbacks,
            package=_content(upp),
        )
        stock(play, upp)
        used = await plain_download(play)
        await download_with_code(play)
        await refusals(play, used)
        await discovered(play)
        split_sessions(play)


def _content(upp: Path | None) -> bytes | None:
    return upp.read_bytes() if upp else None


def stock(play: Play, upp: Path | None) -> None:
    """Two operators, each with profiles in stock."""
    play.narrator.act("Two operators, each with profiles in stock")
    settings = play.server.settings
    for number, name in enumerate(OPERATORS, start=1):
        certificate, _ = play.server.pki.operator_files(name)
        url = f"https://localhost:{play.callbacks.port}"
        smdp(settings, "operator", "add", name, "--certificate", str(certificate), "--callback-url", url)
        own = ("--operator", name, "--type", PROFILE_TYPE)
        if upp and number == 1:
            made = smdp(settings, "profile", "import", str(upp), *own)["iccids"]
            play.narrator.step(f"{name} imports {upp.name}, ICCID {made[0]}")
        first = f"8988{number:02d}000000000000"
        made = smdp(settings, "profile", "generate", str(_IN_STOCK), *own, "--first-iccid", first)["iccids"]
        play.narrator.step(f"{name} has {len(made)} generated profiles in stock, from ICCID {made[0]} on")


async def plain_download(play: Play) -> ActivationCode:
    """Order, download, installation, and what the operator is told."""
    play.narrator.act("A carrier orders a profile over ES2+, a device downloads it over ES9+")
    device = play.devices.next(play.lpa)
    wanted = _imported(play)
    code, iccid = await order(play, OPERATORS[0], iccid=wanted)
    await install(play, device, code, iccid)
    if wanted and device.card.profiles[0].package != play.package:
        raise Deviation("the package on the card is not byte for byte the one that was imported")
    return code


async def download_with_code(play: Play) -> None:
    """The same with a confirmation code; the wrong one is refused first and the session stays usable."""
    play.narrator.act("The same with a confirmation code, for an EID known beforehand, at the other operator")
    device = play.devices.next(play.lpa)
    code, iccid = await order(play, OPERATORS[1], eid=device.eid, confirmation_code=_CODE)
    result = await device.lpa.download(code, _WRONG_CODE)
    expect_refusal(play, "a wrong confirmation code", result, Status.CONFIRMATION_CODE_REFUSED)
    await install(play, device, code, iccid, _CODE, points=(2, *_POINTS))


async def refusals(play: Play, used: ActivationCode) -> None:
    """What must fail fails with its status code."""
    play.narrator.act("What must fail, fails with its status code")
    second = play.devices.next(play.lpa)
    expect_refusal(
        play, "a second card with a used activation code", await second.lpa.download(used), Status.EID_MISMATCH
    )

    code, iccid = await order(play, OPERATORS[0])
    stranger = play.devices.stranger(play.lpa)
    expect_refusal(play, "a card of an unknown issuer", await stranger.lpa.download(code), Status.CI_UNKNOWN)

    unknown = replace(code, matching_id=MatchingId("NO-SUCH-TOKEN"))
    expect_refusal(play, "an unknown MatchingID", await second.lpa.download(unknown), Status.MATCHING_ID_REFUSED)

    kept, held = await order(play, OPERATORS[1], release=False)
    expect_refusal(play, "a profile that is not released", await second.lpa.download(kept), Status.NOT_RELEASED)

    play.narrator.step(f"the refused downloads have spent nothing: {iccid} still installs, {held} once released")
    await install(play, second, code, iccid)
    await play.operators[OPERATORS[1]].release_profile(held)
    await install(play, play.devices.next(play.lpa), kept, held)


async def order(
    play: Play,
    operator: str,
    *,
    iccid: Iccid | None = None,
    eid: Eid | None = None,
    confirmation_code: str | None = None,
    release: bool = True,
) -> tuple[ActivationCode, Iccid]:
    """DownloadOrder and ConfirmOrder; returns the activation code a user would get."""
    client = play.operators[operator]
    wanted = None if iccid else PROFILE_TYPE
    reserved = await client.download_order(eid=eid, iccid=iccid, profile_type=wanted)
    confirmed = await client.confirm_order(reserved, release=release, eid=eid, confirmation_code=confirmation_code)
    code = ActivationCode(
        smdp_address=confirmed.smdp_address or play.server.name,
        matching_id=confirmed.matching_id,
        confirmation_code_required=confirmation_code is not None,
    )
    state = "released" if release else "confirmed, not released"
    play.narrator.step(f"{operator} orders ICCID {reserved}: {state}")
    play.narrator.detail(f"activation code LPA:{code}")
    return code, reserved


async def install(
    play: Play,
    device: Device,
    code: ActivationCode,
    iccid: Iccid,
    confirmation_code: str | None = None,
    points: Sequence[int] = _POINTS,
) -> None:
    """A download that must end installed, on the card, at the server and at the operator."""
    started = perf_counter()
    result = await device.lpa.download(code, confirmation_code)
    if not isinstance(result, Installed) or result.notification_fault:
        raise Deviation(f"the download of {iccid} must end installed, but: {result} ({device.card.last_fault})")
    if [profile.iccid for profile in device.card.profiles] != [iccid]:
        raise Deviation(f"the card must hold exactly {iccid}")
    elapsed = (perf_counter() - started) * 1000
    play.narrator.step(f"card {device.eid} has authenticated the server, decrypted and installed {iccid}")
    play.narrator.detail(f"session {result.transaction_id}, {elapsed:.0f} ms, card and network included")
    try:
        calls = await play.callbacks.wait_for_points(iccid, *points)
    except TimeoutError:
        raise Deviation(f"the operator was not told about all of {points} of {iccid}") from None
    told = [f"{call.point}{'' if call.failure is None else ' (failed)'}" for call in calls]
    play.narrator.detail(f"the operator was told notification points {', '.join(told)}")
    if play.callbacks.faults:
        raise Deviation(f"the operator could not read a report: {play.callbacks.faults[0]}")


def expect_refusal(play: Play, what: str, result: object, status: Status) -> None:
    """The result must be a refusal with exactly this code, or its error integer in the ASN.1 binding."""
    codes = f"{status.subject}/{status.reason}"
    expected = codes
    if isinstance(result, Refused) and play.devices.spelling is Spelling.ASN1:
        expected = str(es9_integer(result.function, status))
    if not isinstance(result, Refused) or result.code != expected:
        raise Deviation(f"{what} must be refused with {codes}, but: {result}")
    play.narrator.refusal(what, result.code, result.message)


def split_sessions(play: Play) -> None:
    """Steps of one session were answered by different processes, so nothing of it lives in a process."""
    play.narrator.act("Sessions live in the database, not in a process")
    answered: dict[str, set[int]] = {}
    for record in play.server.records():
        if record.get("event") == "answered" and "transaction_id" in record:
            answered.setdefault(record["transaction_id"], set()).add(record["pid"])
    split = sum(len(pids) > 1 for pids in answered.values())
    if not split:
        raise Deviation("no session was answered by more than one process")
    play.narrator.step(f"{split} of {len(answered)} sessions were answered by more than one server process")


def _imported(play: Play) -> Iccid | None:
    if play.package is None:
        return None
    rows = smdp(play.server.settings, "profile", "list", "--operator", OPERATORS[0])
    return Iccid(rows[-1]["iccid"])

"""Runs lpac, a C LPA for consumer devices, against the simulated card and a server of its own; see --help.

lpac must be built with its APDU and HTTP drivers `stdio`; the libraries it needs must be found (LD_LIBRARY_PATH).
The card speaks APDUs, the server TLS with the name of the activation code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from crypto.curves import Curve
from rsp.identifiers import Iccid
from server.demo.cast import Device
from server.demo.stage import SMDS, smdp
from simulator.apdu import ApduInterface
from simulator.card import Card
from simulator.misbehaviour import Misbehaviour
from tools.interop import scene as stage
from tools.interop.scene import DELETED, DISABLED, ENABLED, OPERATOR, PROFILE_TYPE, Ordered, Scene
from tools.interop.stdio_bridge import Fault, Outcome, StdioBridge, undisturbed
from tools.interop.verdicts import Verdicts, expect

_DOWNLOAD = ["initiateAuthentication", "authenticateClient", "getBoundProfilePackage"]
_CODE, _WRONG_CODE = "4711-0815", "0000"
_IMEI = "352906110000008"
_DRIVERS = {"LPAC_APDU": "stdio", "LPAC_HTTP": "stdio"}


class Phone:
    """A device whose LPA is lpac, with a card of its own."""

    def __init__(self, scene: Scene, program: Path, device: Device, block: int | None = None) -> None:
        self.card: Card = device.card
        environment = {**os.environ, **_DRIVERS}
        if block:
            environment["LPAC_CUSTOM_ES10X_MSS"] = str(block)
        tls = scene.devices[Curve.P256].tls()
        self.bridge = StdioBridge(
            (program,), ApduInterface(device.card), tls=tls, addresses=scene.es9, environment=environment
        )

    async def run(self, *arguments: str, typed: Sequence[str] = ()) -> Outcome:
        """lpac with these arguments; it must succeed."""
        outcome = await self.bridge.run(*arguments, typed=typed)
        expect(
            outcome.code == 0,
            f"`lpac {' '.join(arguments)}` must succeed, but: {outcome.message} {outcome.data} {outcome.errors}",
        )
        return outcome

    async def fails(self, *arguments: str, where: str, typed: Sequence[str] = ()) -> Outcome:
        """lpac with these arguments; it must fail at the step `where`."""
        outcome = await self.bridge.run(*arguments, typed=typed)
        told = f"{outcome.message} {outcome.data}"
        expect(outcome.code != 0 and outcome.message == where, f"lpac must fail at {where}, but: {told}")
        return outcome

    async def notifications(self) -> list[tuple[str, str]]:
        """What waits on the card: operation and ICCID."""
        listed = (await self.run("notification", "list")).data
        return [(entry["profileManagementOperation"], entry["iccid"]) for entry in listed]

    async def profiles(self) -> dict[str, str]:
        """ICCID and state of the profiles on the card."""
        return {entry["iccid"]: entry["profileState"] for entry in (await self.run("profile", "list")).data}


class Play:
    """The scenarios."""

    def __init__(self, scene: Scene, program: Path, upp: Path | None) -> None:
        self.scene = scene
        self.program = program
        self.upp = upp

    def phone(self, curve: Curve = Curve.P256, block: int | None = None) -> Phone:
        """A fresh one."""
        return Phone(self.scene, self.program, self.scene.device(curve), block)

    # The card ----------------------------------------------------------------------------------------------------

    async def chip_info(self) -> None:
        """EID, versions and CI keys as the card has them; the default address is set and read."""
        phone = self.phone()
        await phone.run("chip", "defaultsmdp", self.scene.server.name)
        told = (await phone.run("chip", "info")).data
        expect(told["eidValue"] == str(phone.card.eid), f"EID {told['eidValue']}")
        expect(told["EUICCInfo2"]["svn"] == "2.5.0", f"SVN {told['EUICCInfo2']['svn']}")
        key = phone.card.credentials[0].ci_key_id.hex()
        expect(told["EUICCInfo2"]["euiccCiPKIdListForSigning"] == [key], "the CI key must be told")
        expect(told["EuiccConfiguredAddresses"]["defaultDpAddress"] == self.scene.server.name, "default address")

    # Downloads ---------------------------------------------------------------------------------------------------

    async def download(self, curve: Curve = Curve.P256, block: int | None = None) -> None:
        """From activation code to the operator's books."""
        phone = self.phone(curve, block)
        await self._installs(phone, await self.scene.order())

    async def _installs(self, phone: Phone, ordered: Ordered, *more: str, typed: Sequence[str] = ()) -> None:
        done = await phone.run("profile", "download", "-a", ordered.text, *more, typed=typed)
        expect(done.functions == _DOWNLOAD, f"functions {done.functions}")
        expect(ordered.iccid in [profile.iccid for profile in phone.card.profiles], "the profile must be on the card")
        expect(("install", ordered.iccid.digits) in await phone.notifications(), "the result must wait on the card")
        await self._delivers(phone)
        await self.scene.becomes(ordered, "installed")
        await self.scene.told(ordered, 1, 3, 4)

    async def _delivers(self, phone: Phone) -> None:
        """All notifications are sent, each answered with 204, and removed."""
        sent = await phone.run("notification", "process", "-a", "-r")
        statuses = [(exchanged.function, exchanged.status) for exchanged in sent.exchanges]
        expect(statuses and set(statuses) == {("handleNotification", 204)}, f"notifications: {statuses}")
        expect(not phone.card.memory.notifications, "no notification may be left")

    async def download_with_imei(self) -> None:
        """The device tells its IMEI."""
        phone, ordered = self.phone(), await self.scene.order()
        await self._installs(phone, ordered, "-i", _IMEI)

    async def download_for_eid(self) -> None:
        """The order was made for this card."""
        phone = self.phone()
        await self._installs(phone, await self.scene.order(eid=phone.card.eid))

    async def download_in_two_options(self) -> None:
        """SM-DP+ address and MatchingID given apart instead of an activation code."""
        phone, ordered = self.phone(), await self.scene.order()
        parts = ("-s", self.scene.server.name.upper(), "-m", str(ordered.code.matching_id))
        await phone.run("profile", "download", *parts)
        await self._delivers(phone)
        await self.scene.becomes(ordered, "installed")

    async def download_from_default_address(self) -> None:
        """Two orders wait for the card; without a code it gets one after the other, though it reports late."""
        phone = self.phone()
        await phone.run("chip", "defaultsmdp", self.scene.server.name)
        orders = [await self.scene.order(eid=phone.card.eid) for _ in range(2)]
        for _ in orders:
            await phone.run("profile", "download")
        expect(list(await phone.profiles()) == [ordered.iccid.digits for ordered in orders], "both, in their order")
        await self._delivers(phone)
        for ordered in orders:
            await self.scene.becomes(ordered, "installed")

    async def download_own_package(self) -> None:
        """The package of --upp, byte for byte."""
        assert self.upp is not None
        settings = self.scene.server.settings
        made = smdp(settings, "profile", "import", str(self.upp), "--operator", OPERATOR, "--type", PROFILE_TYPE)
        phone, ordered = self.phone(), await self.scene.order(iccid=Iccid(made["iccids"][0]))
        await self._installs(phone, ordered)
        expect(phone.card.profiles[0].package == self.upp.read_bytes(), "byte for byte")

    async def discovery(self) -> None:
        """The order waits at an SM-DS; lpac finds it there, and the event is gone once the profile is installed."""
        phone = self.phone()
        ordered = await self.scene.order(eid=phone.card.eid, smds_address=SMDS)
        found = await phone.run("profile", "discovery", "-s", SMDS)
        expect(found.data == [self.scene.server.name], f"the event must lead to our server, but: {found.data}")
        # lpac shows where to go and not the EventID, so the order is found by the EID there.
        await phone.run("profile", "download", "-s", found.data[0])
        await self._delivers(phone)
        await self.scene.becomes(ordered, "installed")
        await self.scene.smds.wait_for(lambda smds: not smds.events(phone.card.eid))

    # Confirmation codes and consent ------------------------------------------------------------------------------

    async def confirmation_code(self) -> None:
        """The right code downloads."""
        await self._installs(self.phone(), await self.scene.order(confirmation_code=_CODE), "-c", _CODE)

    async def wrong_confirmation_code(self) -> None:
        """The wrong one is refused with words; lpac cancels, which ends the order; recovered, the same code works."""
        phone, ordered = self.phone(), await self.scene.order(confirmation_code=_CODE)
        failed = await phone.fails(
            "profile", "download", "-a", ordered.text, "-c", _WRONG_CODE, where="es9p_get_bound_profile_package"
        )
        expect("confirmation code is wrong" in str(failed.data), f"lpac shows {failed.data}")
        await self._ended(ordered, failed, told=(1, 2))
        await self._recovered(phone, ordered, "-c", _CODE)

    async def missing_confirmation_code(self) -> None:
        """Without the code the card refuses; the same afterwards."""
        phone, ordered = self.phone(), await self.scene.order(confirmation_code=_CODE)
        failed = await phone.fails("profile", "download", "-a", ordered.text, where="es10b_prepare_download")
        await self._ended(ordered, failed)
        await self._recovered(phone, ordered, "-c", _CODE)

    async def consent(self) -> None:
        """The person looks at the preview and agrees."""
        await self._installs(self.phone(), await self.scene.order(), "-p", typed=("y",))

    async def declined(self) -> None:
        """The person declines: cancelled with endUserRejection; a second download is refused with words."""
        phone, ordered = self.phone(), await self.scene.order()
        failed = await phone.fails("profile", "download", "-p", "-a", ordered.text, where="cancelled", typed=("n",))
        await self._ended(ordered, failed)
        again = await phone.fails("profile", "download", "-a", ordered.text, where="es9p_authenticate_client")
        expect("Ask the operator" in str(again.data), f"lpac shows {again.data}")
        await self._recovered(phone, ordered)

    # Failures ----------------------------------------------------------------------------------------------------

    async def _ended(self, ordered: Ordered, failed: Outcome, told: Sequence[int] = (1,)) -> None:
        last = failed.exchanges[-1]
        expect((last.function, last.status) == ("cancelSession", 200), f"the last call is {last.function}")
        expect(b"Executed-Success" in last.answer, f"cancelSession: {last.answer!r}")
        await self.scene.becomes(ordered, "error")
        await self.scene.told(ordered, *told)

    async def _recovered(self, phone: Phone, ordered: Ordered, *more: str) -> None:
        """The operator recovers the order; the same activation code installs."""
        await self.scene.recover(ordered)
        await self._installs(phone, ordered, *more)

    async def lost_package(self) -> None:
        """The package is lost on its way: lpac cancels with endUserRejection; recovered, the same code works."""
        phone, ordered = self.phone(), await self.scene.order()
        phone.bridge.interfere = partial(_befall, "getBoundProfilePackage", Fault.LOSE_ANSWER)
        failed = await phone.fails("profile", "download", "-a", ordered.text, where="es9p_get_bound_profile_package")
        await self._ended(ordered, failed, told=(1, 3))
        phone.bridge.interfere = undisturbed
        await self._recovered(phone, ordered)

    async def lost_authentication(self) -> None:
        """AuthenticateClient never arrives, and neither does the cancellation: the second try installs."""
        phone, ordered = self.phone(), await self.scene.order()
        phone.bridge.interfere = lambda _: Fault.LOSE_REQUEST
        await phone.fails("profile", "download", "-a", ordered.text, where="es9p_initiate_authentication")
        phone.bridge.interfere = partial(_befall, "authenticateClient", Fault.LOSE_REQUEST)
        failed = await phone.fails("profile", "download", "-a", ordered.text, where="es9p_authenticate_client")
        expect(failed.exchanges[-1].status == 200, "the cancellation must be answered")
        phone.bridge.interfere = undisturbed
        await self._installs(phone, ordered)

    async def failed_installation(self) -> None:
        """The card runs out of memory: cancelled and reported; after that the same code installs."""
        phone, ordered = self.phone(), await self.scene.order()
        phone.card.misbehave = frozenset({Misbehaviour.FAIL_INSTALL_INTERRUPTED})
        await phone.fails("profile", "download", "-a", ordered.text, where="es10b_load_bound_profile_package")
        phone.card.misbehave = frozenset()
        await self._delivers(phone)
        await self.scene.told(ordered, 1, 3, 4)
        await self._installs(phone, ordered)

    async def unknown_matching_id(self) -> None:
        """Refused with words; what lpac cancels then is unknown too."""
        phone = self.phone()
        failed = await phone.fails(
            "profile", "download", "-s", self.scene.server.name, "-m", "NO-SUCH-TOKEN", where="es9p_authenticate_client"
        )
        expect("No order has this MatchingID" in str(failed.data), f"lpac shows {failed.data}")
        expect(failed.exchanges[-1].status == 200, "cancelSession must be answered")

    async def used_activation_code(self) -> None:
        """A second card, and the same card again, get no second profile."""
        phone, ordered = self.phone(), await self.scene.order()
        await self._installs(phone, ordered)
        for other in (self.phone(), phone):
            failed = await other.fails("profile", "download", "-a", ordered.text, where="es9p_authenticate_client")
            expect(failed.data, "lpac must show why")
        expect(await self.scene.state(ordered) == "installed", "the order must stay installed")

    # Profiles and their notifications ------------------------------------------------------------------------------

    async def management(self) -> None:
        """Enable, disable and delete: each is signed by the card, verified by the server and told to the operator.

        The operator's rule is to reuse the code of a deleted profile, so another device installs it then.
        """
        phone, ordered = self.phone(), await self.scene.order()
        await self._installs(phone, ordered)
        number = ordered.iccid.digits
        await phone.run("profile", "nickname", number, "Work")
        for verb, state, point in (("enable", "enabled", ENABLED), ("disable", "disabled", DISABLED)):
            await phone.run("profile", verb, number)
            expect((await phone.profiles()) == {number: state}, f"the profile must be {state}")
            expect((verb, number) in await phone.notifications(), f"a notification of {verb}")
            await self._delivers(phone)
            await self.scene.judged(phone.card.eid, ordered.iccid, state)
            await self.scene.told(ordered, point)
        await phone.run("profile", "delete", number)
        expect(not await phone.profiles(), "the profile must be gone")
        await self._delivers(phone)
        await self.scene.judged(phone.card.eid, ordered.iccid, "deleted")
        await self.scene.told(ordered, DELETED)
        await self.scene.becomes(ordered, "released")
        await self._installs(self.phone(), ordered)

    async def switching(self) -> None:
        """Enabling a second profile disables the first: two notifications at once."""
        phone = self.phone()
        first, second = [await self.scene.order() for _ in range(2)]
        for ordered in (first, second):
            await self._installs(phone, ordered)
        await phone.run("profile", "enable", first.iccid.digits)
        await self._delivers(phone)
        await phone.run("profile", "enable", second.iccid.digits)
        await self._delivers(phone)
        await self.scene.judged(phone.card.eid, first.iccid, "disabled")
        await self.scene.judged(phone.card.eid, second.iccid, "enabled")

    async def single_notification(self) -> None:
        """The notification with sequence number 0: sent alone, sent twice, removed by hand."""
        phone, ordered = self.phone(), await self.scene.order()
        await phone.run("profile", "download", "-a", ordered.text)
        for _ in range(2):
            sent = await phone.run("notification", "process", "0")
            expect([entry.status for entry in sent.exchanges] == [204], "204 each time")
        await phone.run("notification", "remove", "0")
        expect(await phone.notifications() == [], "removed")
        await self.scene.becomes(ordered, "installed")

    async def purge(self) -> None:
        """A memory reset deletes all profiles and reports each."""
        phone = self.phone()
        orders = [await self.scene.order() for _ in range(2)]
        for ordered in orders:
            await self._installs(phone, ordered)
        await phone.run("chip", "purge", "yes")
        expect(not await phone.profiles(), "the card must be empty")
        await self._delivers(phone)
        for ordered in orders:
            await self.scene.judged(phone.card.eid, ordered.iccid, "deleted")


def _befall(function: str, fault: Fault, called: str) -> Fault | None:
    return fault if called == function else None


async def _perform(scene: Scene, verdicts: Verdicts, program: Path, upp: Path | None) -> None:
    play = Play(scene, program, upp)
    verdicts.version = str((await play.phone().run("version")).data)
    scenarios: dict[str, Any] = {
        "chip info and default SM-DP+ address": play.chip_info,
        "download with an activation code": play.download,
        "download to a brainpool card": partial(play.download, Curve.BRAINPOOL_P256R1),
        "download with the longest blocks (255 bytes)": partial(play.download, block=255),
        "download with short blocks (32 bytes)": partial(play.download, block=32),
        "download with an IMEI": play.download_with_imei,
        "download of an order for this EID": play.download_for_eid,
        "download with address and MatchingID apart": play.download_in_two_options,
        "download from the default SM-DP+, twice, reported late": play.download_from_default_address,
        "order found at an SM-DS": play.discovery,
        "confirmation code": play.confirmation_code,
        "wrong confirmation code, then recovered": play.wrong_confirmation_code,
        "missing confirmation code, then recovered": play.missing_confirmation_code,
        "preview accepted": play.consent,
        "preview declined, then recovered": play.declined,
        "package lost on its way, then recovered": play.lost_package,
        "requests lost, then a second download": play.lost_authentication,
        "installation interrupted, then a second download": play.failed_installation,
        "unknown MatchingID": play.unknown_matching_id,
        "activation code used up": play.used_activation_code,
        "enable, disable, delete, reported to the operator; downloaded again": play.management,
        "switching between two profiles": play.switching,
        "one notification: sent twice, removed": play.single_notification,
        "memory reset": play.purge,
    }
    if upp:
        scenarios["download of the given package"] = play.download_own_package
    for name, scenario in scenarios.items():
        await verdicts.play(name, scenario)
    await verdicts.play("the server had no fault of its own", scene.no_faults)


async def _run(options: Any, verdicts: Verdicts) -> None:
    with stage.serving(options.folder) as server:
        async with stage.scene(server) as scene:
            await _perform(scene, verdicts, options.lpac, options.upp)


def main() -> int:
    """Play all scenarios; 1 when one went otherwise than it must."""
    parser = stage.parser(__doc__, "python tools/interop/lpac.py --lpac ~/lpac/bin/lpac --upp profile.der --json")
    parser.add_argument("--lpac", type=Path, required=True, help="the program lpac")
    parser.add_argument("--upp", type=Path, help="a profile package (SAIP, DER) to download as well")
    options = parser.parse_args()
    verdicts = Verdicts("lpac", only=options.only)
    return stage.verdict_of(_run(options, verdicts), verdicts, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())

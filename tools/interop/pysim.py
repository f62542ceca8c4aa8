"""Runs the ES2+ and ES9+ clients of pySim against a server of its own; see --help.

The clients are programs in the folder of pySim (`contrib/es2p_client.py`, `contrib/es9p_client.py`); they run under an
interpreter that has what pySim requires. The ES9+ client plays LPA and eUICC with certificates and keys from files.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import ssl
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from crypto.curves import Curve
from rsp import saip
from rsp.identifiers import Eid, Iccid
from rsp.saip_template import generate
from rsp.status import Status
from server.demo.stage import smdp
from server.test_profiles import personalisations
from simulator.credentials import CardCredentials
from smdp.offer import Offer
from tools.interop import scene as stage
from tools.interop import sgp26
from tools.interop.scene import DELETED, DISABLED, ENABLED, OPERATOR, PROFILE_TYPE, Ordered, Scene
from tools.interop.verdicts import Verdicts, expect

_NAME = "localhost"
_SECONDS = 120.0
_CODE, _WRONG_CODE = "4711-0815", "0000"
_OWNER = "2.999.10"
_AID = "A0000005591010FFFFFFFF8900001000"
_SIMA_RESPONSE = "3007A0053003800100"
_FIRST_MADE = "898821100000000001"
_UNKNOWN = Iccid("8988990000000000008")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a client ended, and all it said."""

    status: int
    text: str


class Clients:
    """pySim's two clients, and the files they need."""

    def __init__(self, scene: Scene, python: Path, checkout: Path, folder: Path) -> None:
        self.scene = scene
        self.folder = folder
        self._python = python
        self._checkout = checkout
        self._last_second = 0
        self.ca = folder / "ca.pem"
        self.ca.write_text("".join(map(ssl.DER_cert_to_PEM_cert, scene.server.pki.ci_certificates)))
        certificate, key = scene.server.pki.operator_files(OPERATOR)
        self.identity = folder / "operator.pem"
        self.identity.touch(mode=0o600)
        self.identity.write_bytes(certificate.read_bytes() + key.read_bytes())

    async def es2(self, *arguments: str, requester: str = OPERATOR, identified: bool = True) -> Ended:
        """The ES2+ client. Its functionCallIdentifier is the second at which it starts, so one starts a second."""
        await asyncio.sleep(max(0.0, self._last_second + 1 - time.time()))
        url = f"https://{_NAME}:{self.scene.server.state.ports['es2']}"
        identity = ("--client-cert", str(self.identity)) if identified else ()
        peer = ("--url", url, "--id", requester, "--server-ca-cert", str(self.ca), *identity)
        ended = await self._run("contrib/es2p_client.py", *peer, *arguments)
        self._last_second = int(time.time())
        return ended

    async def es9(self, card: CardCredentials, *arguments: str) -> Ended:
        """The ES9+ client with the certificates and the key of this card."""
        files = {
            "euicc.der": card.euicc_certificate,
            "eum.der": card.eum_certificate,
            "ci.der": card.ci_certificates[0],
            "euicc.pem": card.private_key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        }
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
        url = f"https://{_NAME}:{self.scene.server.state.ports['es9']}"
        peer = ("--url", url, "--server-ca-cert", str(self.ca), "--certificate-path", str(self.folder))
        chain = ("--euicc-certificate", "euicc.der", "--eum-certificate", "eum.der", "--ci-certificate", "ci.der")
        key = ("--euicc-private-key", "euicc.pem")
        return await self._run("contrib/es9p_client.py", *peer, *chain, *key, *arguments)

    async def _run(self, program: str, *arguments: str) -> Ended:
        process = await asyncio.create_subprocess_exec(
            str(self._python),
            program,
            *arguments,
            cwd=self._checkout,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(self._checkout)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await asyncio.wait_for(process.communicate(), _SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Ended(status=process.returncode or 0, text=said.decode(errors="replace"))


def succeeded(ended: Ended) -> Ended:
    """The same. Raises Unexpected when the client failed."""
    expect(ended.status == 0, f"the client must succeed, but: {ended.text.strip()[-300:]}")
    return ended


def refused(ended: Ended, status: Status) -> None:
    """Raise Unexpected unless the client read exactly this refusal and its message."""
    expected = f'Failed("{status.subject}","{status.reason}"'
    expect(ended.status != 0 and expected in ended.text, f"{expected} expected, but: {ended.text.strip()[-300:]}")


class OperatorPlay:
    """What the ES2+ client does."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self.scene = clients.scene

    async def _free(self) -> Iccid:
        query = "SELECT iccid FROM profiles WHERE state = 'available' ORDER BY iccid DESC LIMIT 1"
        return Iccid(await self.scene.tables.fetchval(query))

    async def _has(self, iccid: Iccid, state: str) -> None:
        found = await self.scene.tables.fetchval(
            "SELECT state FROM orders WHERE iccid = $1 ORDER BY id DESC LIMIT 1", str(iccid)
        )
        expect(found == state, f"the order of {iccid} must be {state}, but is {found}")

    async def by_type(self) -> None:
        """One of the profile type, then the same for an EID."""
        eid = self.scene.device().eid
        succeeded(await self.clients.es2("download-order", "--profileType", PROFILE_TYPE))
        succeeded(await self.clients.es2("download-order", "--profileType", PROFILE_TYPE, "--eid", str(eid)))
        last = "SELECT state, eid FROM orders ORDER BY id DESC LIMIT 1"
        row = await self.scene.tables.fetchrow(last)
        expect(row is not None and (row["state"], row["eid"]) == ("linked", str(eid)), f"the order is {row}")

    async def step_by_step(self) -> None:
        """Ordered by ICCID, confirmed, released, cancelled to Available, ordered again, cancelled to Unavailable."""
        iccid = await self._free()
        named = ("--iccid", str(iccid))
        for function, state in (
            (("download-order", *named), "allocated"),
            (("confirm-order", *named), "confirmed"),
            (("release-profile", *named), "released"),
            (("cancel-order", *named, "--finalProfileStatusIndicator", "Available"), "cancelled"),
            (("download-order", *named), "allocated"),
            (("cancel-order", *named, "--finalProfileStatusIndicator", "Unavailable"), "cancelled"),
        ):
            succeeded(await self.clients.es2(*function))
            await self._has(iccid, state)
        found = await self.scene.tables.fetchval("SELECT state FROM profiles WHERE iccid = $1", str(iccid))
        expect(found == "unavailable", f"the profile must be withdrawn, but is {found}")

    async def activation_code(self) -> None:
        """Own MatchingID and confirmation code: the client prints the activation code; a device downloads by it."""
        iccid = await self._free()
        succeeded(await self.clients.es2("download-order", "--iccid", str(iccid)))
        own = ("--matchingId", "PYSIM-1", "--confirmationCode", _CODE, "--releaseFlag")
        ended = succeeded(await self.clients.es2("confirm-order", "--iccid", str(iccid), *own))
        expect(f"1${_NAME}$PYSIM-1$$1" in ended.text, f"the activation code, but: {ended.text}")
        card = self.scene.device().card
        code = ("--matchingId", "PYSIM-1", "--confirmation-code", _CODE)
        succeeded(await self.clients.es9(card.credentials[0], "download", *code))
        await self._has(iccid, "downloaded")

    async def refusals(self) -> None:
        """Status codes arrive as they were sent, with their messages."""
        es2, iccid = self.clients.es2, await self._free()
        named, other = ("--iccid", str(iccid)), str(self.scene.device().eid)
        final = ("--finalProfileStatusIndicator", "Available")
        refused(await es2("download-order", "--iccid", str(_UNKNOWN)), Status.ICCID_UNKNOWN)
        refused(await es2("download-order", "--profileType", "no-such-type"), Status.PROFILE_TYPE_UNKNOWN)
        refused(await es2("release-profile", *named), Status.ICCID_INVALID_TRANSITION)
        eid = ("--eid", str(self.scene.device().eid))
        succeeded(await es2("download-order", *named, *eid))
        refused(await es2("download-order", *named, "--eid", other), Status.ICCID_IN_USE)
        refused(await es2("confirm-order", *named, "--eid", other), Status.EID_ASSOCIATED_OTHERWISE)
        succeeded(await es2("confirm-order", *named, *eid, "--matchingId", "PYSIM-2"))
        refused(await es2("cancel-order", *named, *final), Status.EID_MISSING)
        refused(
            await es2("cancel-order", *named, *eid, "--matchingId", "OTHER", *final),
            Status.MATCHING_ID_ASSOCIATED_OTHERWISE,
        )
        taken = await self.scene.operator.download_order(profile_type=PROFILE_TYPE)
        again = ("--iccid", str(taken), "--matchingId", "PYSIM-2")
        refused(await es2("confirm-order", *again), Status.MATCHING_ID_IN_USE)

    async def strangers(self) -> None:
        """A foreign requester is refused; without a client certificate nothing is said at all."""
        order = ("download-order", "--profileType", PROFILE_TYPE)
        refused(await self.clients.es2(*order, requester="somebody"), Status.REQUESTER_NOT_ALLOWED)
        ended = await self.clients.es2(*order, identified=False)
        expect(ended.status != 0 and "Failed(" not in ended.text, "no answer without a client certificate")


class DevicePlay:
    """What the ES9+ client does."""

    def __init__(self, clients: Clients, upp: Path | None) -> None:
        self.clients = clients
        self.scene = clients.scene
        self.upp = upp
        # An eUICC counts its notifications through; SGP.26 has one eUICC with two chains.
        self._numbers = itertools.count(1)

    def _number(self) -> tuple[str, str]:
        return "--sequence-nr", str(next(self._numbers))

    async def _downloads(self, card: CardCredentials, ordered: Ordered, *more: str) -> bytes:
        """A download; what the client decrypted."""
        out = self.clients.folder / "out"
        out.mkdir(exist_ok=True)
        wanted = ("--matchingId", str(ordered.code.matching_id), "--output-path", str(out))
        succeeded(await self.clients.es9(card, "download", *wanted, *more))
        await self.scene.becomes(ordered, "downloaded")
        found = sorted(out.glob(f"{ordered.iccid.digits}*.upp.der"))
        expect(len(found) == 1, f"one decrypted package, but: {found}")
        return found[0].read_bytes()

    async def download(self, curve: Curve = Curve.P256) -> None:
        """The client decrypts the package; a second session gets the same profile."""
        card, ordered = self.scene.device(curve).card, await self.scene.order()
        first = await self._downloads(card.credentials[0], ordered)
        expect(saip.read_header(first).iccid == ordered.iccid, "the profile that was ordered")
        expect(await self._downloads(card.credentials[0], ordered) == first, "the same profile again")
        await self.scene.told(ordered, 1, 3)

    async def made_package(self) -> None:
        """A package made here arrives byte for byte."""
        offer = Offer(profile_type=PROFILE_TYPE, service_provider_name="Interop", profile_name="Interop")
        package = generate(next(personalisations(_FIRST_MADE, 1, offer)))
        file = self.clients.folder / "made.der"
        file.write_bytes(package)
        ordered = await self._imported(file)
        found = await self._downloads(self.scene.device().card.credentials[0], ordered)
        expect(found == package, "byte for byte")

    async def given_package(self) -> None:
        """The package of --upp, byte for byte, if it asks for nothing that the eUICC of the client lacks."""
        assert self.upp is not None
        ordered, card = await self._imported(self.upp), self.scene.device().card.credentials[0]
        wanted = ("--matchingId", str(ordered.code.matching_id))
        ended = await self.clients.es9(card, "download", *wanted)
        if ended.status != 0:
            refused(ended, Status.NOT_ELIGIBLE)
            expect("needs a service" in ended.text, f"the missing service, but: {ended.text[-300:]}")
            return
        expect(await self._downloads(card, ordered) == self.upp.read_bytes(), "byte for byte")

    async def _imported(self, file: Path) -> Ordered:
        """The order of a package that was imported for it."""
        own = ("--operator", OPERATOR, "--type", PROFILE_TYPE)
        made = await asyncio.to_thread(smdp, self.scene.server.settings, "profile", "import", str(file), *own)
        return await self.scene.order(iccid=Iccid(made["iccids"][0]))

    async def published_card(self, folder: Path, curve: Curve) -> None:
        """The eUICC of SGP.26 on one curve, and its installation result."""
        card, ordered = sgp26.credentials(folder, curve), await self.scene.order(eid=sgp26.EID)
        await self._downloads(card, ordered)
        await self._reports(card, sgp26.EID, ordered)

    async def notifications(self) -> None:
        """Installation result, then enable, disable and delete, each verified by the server."""
        card, ordered = self.scene.device().card, await self.scene.order()
        await self._downloads(card.credentials[0], ordered)
        await self._reports(card.credentials[0], card.eid, ordered)

    async def _reports(self, card: CardCredentials, eid: Eid, ordered: Ordered) -> None:
        query = "SELECT transaction_id FROM sessions WHERE eid = $1 ORDER BY created_at DESC LIMIT 1"
        transaction: bytes = await self.scene.tables.fetchval(query, str(eid))
        named = ("--iccid", ordered.iccid.to_json())
        result = ("--transaction-id", transaction.hex(), "--smdpp-oid", _OWNER, "--isdp-aid", _AID)
        sima = ("--sima-response", _SIMA_RESPONSE)
        succeeded(await self.clients.es9(card, "notification-install", *self._number(), *named, *result, *sima))
        await self.scene.becomes(ordered, "installed")
        await self.scene.told(ordered, 1, 3, 4)
        for event, outcome, point in (
            ("enable", "enabled", ENABLED),
            ("disable", "disabled", DISABLED),
            ("delete", "deleted", DELETED),
        ):
            succeeded(await self.clients.es9(card, "notification", *self._number(), *named, event))
            await self.scene.judged(eid, ordered.iccid, outcome)
            await self.scene.told(ordered, point)

    async def confirmation_code(self) -> None:
        """The wrong code is refused, the missing one the client notices itself; the right one downloads after that."""
        card = self.scene.device().card.credentials[0]
        ordered = await self.scene.order(confirmation_code=_CODE)
        wanted = ("--matchingId", str(ordered.code.matching_id))
        wrong = await self.clients.es9(card, "download", *wanted, "--confirmation-code", _WRONG_CODE)
        refused(wrong, Status.CONFIRMATION_CODE_REFUSED)
        missing = await self.clients.es9(card, "download", *wanted)
        expect("Confirmation Code required" in missing.text, f"the client must notice, but: {missing.text[-300:]}")
        await self._downloads(card, ordered, "--confirmation-code", _CODE)

    async def refusals(self) -> None:
        """An unknown MatchingID, and the order of another card."""
        card, ordered = self.scene.device().card.credentials[0], await self.scene.order(eid=self.scene.device().eid)
        refused(await self.clients.es9(card, "download", "--matchingId", "NO-SUCH"), Status.MATCHING_ID_REFUSED)
        other = await self.clients.es9(card, "download", "--matchingId", str(ordered.code.matching_id))
        refused(other, Status.EID_MISMATCH)


async def _perform(verdicts: Verdicts, clients: Clients, options: Any) -> None:
    operator, device = OperatorPlay(clients), DevicePlay(clients, options.upp)
    scenarios: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "ES2+ order by profile type, with and without EID": operator.by_type,
        "ES2+ order, confirm, release, cancel to Available and to Unavailable": operator.step_by_step,
        "ES2+ own MatchingID and confirmation code, then ES9+ download": operator.activation_code,
        "ES2+ refusals and their codes": operator.refusals,
        "ES2+ foreign requester, no client certificate": operator.strangers,
        "ES9+ download on NIST P-256, twice": device.download,
        "ES9+ download on brainpoolP256r1, twice": partial(device.download, Curve.BRAINPOOL_P256R1),
        "ES9+ installation result, enable, disable, delete": device.notifications,
        "ES9+ download, decrypted byte for byte": device.made_package,
        "ES9+ confirmation code: wrong, missing, right": device.confirmation_code,
        "ES9+ unknown MatchingID, order of another card": device.refusals,
    }
    if options.upp:
        scenarios["ES9+ the given package, or the service it lacks"] = device.given_package
    if options.sgp26:
        for curve in Curve:
            name = f"ES9+ download and notifications of the eUICC of SGP.26 on {curve.value}"
            scenarios[name] = partial(device.published_card, options.sgp26, curve)
    for name, scenario in scenarios.items():
        await verdicts.play(name, scenario)
    await verdicts.play("the server had no fault of its own", clients.scene.no_faults)


async def _run(options: Any, verdicts: Verdicts) -> None:
    prepare = partial(sgp26.import_sets, folder=options.sgp26) if options.sgp26 else None
    with stage.folder(None) as files, stage.serving(options.folder, _NAME, prepare) as server:
        files.mkdir(mode=0o700)
        async with stage.scene(server) as scene:
            await _perform(verdicts, Clients(scene, options.python, options.pysim.resolve(), files), options)


def main() -> int:
    """Play all scenarios; 1 when one went otherwise than it must."""
    example = "python tools/interop/pysim.py --pysim ~/pysim --python ~/venv/bin/python --upp profile.der --json"
    parser = stage.parser(__doc__, example)
    parser.add_argument("--pysim", type=Path, required=True, help="the folder of pySim")
    parser.add_argument("--python", type=Path, required=True, help="an interpreter that has what pySim requires")
    parser.add_argument("--upp", type=Path, help="a profile package (SAIP, DER) to download as well")
    parser.add_argument("--sgp26", type=Path, help="folder of the SGP.26 test PKI, imported beside the generated one")
    options = parser.parse_args()
    verdicts = Verdicts("pySim", only=options.only)
    verdicts.version = stage.version(options.pysim)
    return stage.verdict_of(_run(options, verdicts), verdicts, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())

"""Runs the simulated card and LPA, and the server's own ES9+ client, against osmo-smdpp; see --help.

osmo-smdpp is the SM-DP+ of pySim. It proves the other side of this project: what the card and the clients here expect
of an SM-DP+ is what another one does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from crypto.curves import Curve
from es9plus.client import USER_AGENT, DownloadRefused, Es9PlusClient
from rsp import tlv
from rsp.identifiers import TransactionId
from rsp.status import Status
from simulator import lpa_messages
from simulator.apdu import ApduInterface
from simulator.bpp_segments import split_bound_profile_package
from simulator.card import Card
from simulator.euicc_info import EuiccProperties
from simulator.exchange import Exchange
from simulator.lpa import Lpa
from simulator.lpa_messages import CancelReason, Device
from simulator.lpa_types import Errored, Installed, Refused
from tools.interop import foreign_server, sgp26
from tools.interop import scene as stage
from tools.interop.foreign_server import NAME, ForeignServer
from tools.interop.stdio_bridge import StdioBridge
from tools.interop.verdicts import Verdicts, expect
from transport.client import GsmaClient

_PROFILE = "TS48V3-SAIP2-3-BERTLV-UNIQUE"
_CODE = f"1${NAME}${_PROFILE}"
_ITS_SEGMENTS = 1036
_STRUCTURE_ERROR, _ICCID_EXISTS = 7, 9
_SECONDS = 30.0


class Play:
    """The scenarios on one curve."""

    def __init__(self, server: ForeignServer, options: Any, curve: Curve) -> None:
        self.server = server
        self.options = options
        self.curve = curve
        self.package = options.pysim / "smdpp-data" / "upp" / f"{_PROFILE}.der"

    def card(self, longest_segment: int = _ITS_SEGMENTS) -> Card:
        """The eUICC of SGP.26, which takes segments as long as osmo-smdpp sends them."""
        chain = sgp26.credentials(self.options.sgp26, self.curve)
        return Card(sgp26.EID, [chain], properties=EuiccProperties(longest_segment=longest_segment))

    def exchange(self) -> Exchange:
        """The device's way to the server."""
        return Exchange(tls=self.server.tls(), addresses=self.server.addresses, user_agent=USER_AGENT)

    async def download(self) -> None:
        """Downloaded, decrypted and installed; the same profile is refused by the card the second time."""
        card = self.card()
        async with self.exchange() as exchange:
            lpa = Lpa(card, exchange)
            result = await lpa.download(_CODE)
            expect(isinstance(result, Installed) and not result.notification_fault, f"{result} ({card.last_fault})")
            expect(self.server.answered[-1] == ("handleNotification", 204), f"{self.server.answered}")
            expect(card.profiles[0].package == self.package.read_bytes(), "the package, byte for byte")
            again = await lpa.download(_CODE)
            expect(isinstance(again, Errored) and again.error_reason == _ICCID_EXISTS, f"{again}")

    async def management(self) -> None:
        """Notifications of enable, disable and delete are taken."""
        card = self.card()
        async with self.exchange() as exchange:
            lpa = Lpa(card, exchange)
            await lpa.download(_CODE)
            (profile,) = card.profiles
            named = tlv.wrap(0x5A, profile.iccid.to_bytes())
            for tag in (0xBF31, 0xBF32):
                request = tlv.wrap(tag, tlv.wrap(0xA0, named), tlv.wrap(0x81, b"\xff"))
                answer = card.enable_profile(request) if tag == 0xBF31 else card.disable_profile(request)
                expect(answer.endswith(b"\x00"), f"{tag:X} answered {answer.hex()}")
            card.delete_profile(tlv.wrap(0xBF33, named))
            expect(await lpa.send_notifications() == 3, "three notifications")
            expect(self.server.answered[-3:] == [("handleNotification", 204)] * 3, f"{self.server.answered[-3:]}")

    async def strict_card(self) -> None:
        """A card that keeps to 1020 bytes refuses its segments of 1036, and says so in the result."""
        card = self.card(longest_segment=1020)
        async with self.exchange() as exchange:
            result = await Lpa(card, exchange).download(_CODE)
        expect(isinstance(result, Errored) and result.error_reason == _STRUCTURE_ERROR, f"{result}")

    async def unknown_matching_id(self) -> None:
        """Refused with the code of the standard."""
        async with self.exchange() as exchange:
            result = await Lpa(self.card(), exchange).download(f"1${NAME}$NO-SUCH-TOKEN")
        status = Status.MATCHING_ID_REFUSED
        codes = (status.subject, status.reason)
        expect(isinstance(result, Refused) and (result.subject, result.reason) == codes, f"{result}")

    async def cancelled(self) -> None:
        """A session that the device gives up before the package.

        The ASN.1 library that osmo-smdpp stands on may read the OID 2.999.10 as another one; then it refuses it.
        """
        card, status = self.card(), Status.SMDP_OID_MISMATCH
        async with self._client() as own:
            begun, _ = await _authenticated(own, card, _PROFILE)
            request = lpa_messages.cancel_session_request(begun, CancelReason.POSTPONED)
            try:
                await own.cancel_session(begun, card.cancel_session(request))
            except DownloadRefused as refusal:
                expect(refusal.codes == (status.subject, status.reason), f"{refusal}")

    def _client(self) -> _OwnClient:
        return _OwnClient(self.server)

    async def own_client(self) -> None:
        """The server's ES9+ client, which serves eIM and swaps, brings the same profile to a card."""
        card = self.card()
        async with self._client() as own:
            transaction, shown = await _authenticated(own, card, _PROFILE)
            request = lpa_messages.prepare_download_request(*shown, None)
            package = await own.get_bound_profile_package(transaction, card.prepare_download(request))
            result = b""
            for piece in split_bound_profile_package(package):
                result = result or card.load_bound_profile_package(piece)
            await own.handle_notification(result)
        read = lpa_messages.read_installation_result(result)
        expect(read.succeeded, f"{read} ({card.last_fault})")

    async def own_client_refused(self) -> None:
        """A refusal reaches the caller of the server's client with its codes."""
        async with self._client() as own:
            try:
                await _authenticated(own, self.card(), "NO-SUCH-TOKEN")
            except DownloadRefused as refusal:
                status = Status.MATCHING_ID_REFUSED
                expect(refusal.codes == (status.subject, status.reason), f"{refusal}")
                return
        expect(holds=False, what="osmo-smdpp must refuse it")

    async def lpac(self) -> None:
        """lpac in front of the simulated card: of this project only the card takes part."""
        card = self.card()
        environment = {**os.environ, "LPAC_APDU": "stdio", "LPAC_HTTP": "stdio"}
        bridge = StdioBridge(
            (self.options.lpac,),
            ApduInterface(card),
            tls=self.server.tls(),
            addresses=self.server.addresses,
            environment=environment,
        )
        for arguments in (("profile", "download", "-a", f"LPA:{_CODE}"), ("notification", "process", "-a", "-r")):
            outcome = await bridge.run(*arguments)
            told = f"{outcome.message} {outcome.data} ({card.last_fault})"
            expect(outcome.code == 0, f"`lpac {' '.join(arguments)}` must succeed, but: {told}")
        expect(len(card.profiles) == 1, "the profile must be on the card")


class _OwnClient:
    """The server's ES9+ client with its connections, for a while."""

    def __init__(self, server: ForeignServer) -> None:
        self._server = server

    async def __aenter__(self) -> Es9PlusClient:
        self._session = aiohttp.ClientSession(headers={"User-Agent": USER_AGENT})
        url = f"https://127.0.0.1:{self._server.port}"
        return Es9PlusClient(GsmaClient(self._session, url, _SECONDS, server_name=NAME, tls=self._server.tls()))

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()


async def _authenticated(
    own: Es9PlusClient, card: Card, matching_id: str
) -> tuple[TransactionId, tuple[bytes, bytes, bytes]]:
    """InitiateAuthentication and AuthenticateClient; smdpSigned2, its signature and the certificate for the card."""
    challenge = lpa_messages.euicc_challenge(card.get_euicc_challenge())
    begun = await own.initiate_authentication(challenge, card.get_euicc_info1(), NAME)
    server = (begun.server_signed1, begun.server_signature1, tlv.wrap(0x04, begun.ci_key_id), begun.certificate)
    request = lpa_messages.authenticate_server_request(server, matching_id, Device())
    shown = await own.authenticate_client(begun.transaction_id, card.authenticate_server(request))
    return begun.transaction_id, (shown.smdp_signed2, shown.smdp_signature2, shown.certificate)


async def _perform(verdicts: Verdicts, options: Any, curve: Curve) -> None:
    async with foreign_server.running(options.python, options.pysim.resolve(), options.sgp26, curve) as server:
        play = Play(server, options, curve)
        scenarios: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "simulated LPA: download, and again": play.download,
            "simulated LPA: enable, disable, delete are reported": play.management,
            "simulated LPA: a card that takes 1020 bytes refuses": play.strict_card,
            "simulated LPA: unknown MatchingID": play.unknown_matching_id,
            "server's ES9+ client: download": play.own_client,
            "server's ES9+ client: unknown MatchingID": play.own_client_refused,
            "server's ES9+ client: session cancelled": play.cancelled,
        }
        if options.lpac:
            scenarios["lpac on the simulated card: download and notification"] = play.lpac
        for name, scenario in scenarios.items():
            await verdicts.play(f"{curve.value}: {name}", scenario)


async def _run(options: Any, verdicts: Verdicts) -> None:
    for curve in Curve:
        try:
            await _perform(verdicts, options, curve)
        except Exception as error:  # noqa: BLE001 -- a server that does not start is a verdict, too
            await verdicts.play(f"{curve.value}: osmo-smdpp runs", partial(_failing, error))


async def _failing(error: Exception) -> None:
    raise error


def main() -> int:
    """Play all scenarios; 1 when one went otherwise than it must."""
    example = "python tools/interop/smdpp.py --pysim ~/pysim --python ~/venv/bin/python --sgp26 ~/sgp26 --json"
    parser = stage.parser(__doc__, example, serves=False)
    parser.add_argument("--pysim", type=Path, required=True, help="the folder of pySim")
    parser.add_argument("--python", type=Path, required=True, help="an interpreter that has what osmo-smdpp requires")
    parser.add_argument("--sgp26", type=Path, required=True, help="folder of the SGP.26 test PKI")
    parser.add_argument("--lpac", type=Path, help="the program lpac, to run against osmo-smdpp as well")
    options = parser.parse_args()
    verdicts = Verdicts("osmo-smdpp", only=options.only)
    verdicts.version = stage.version(options.pysim)
    return stage.verdict_of(_run(options, verdicts), verdicts, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())

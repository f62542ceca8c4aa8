"""One download attempt, byte by byte, between a strict card and the use cases of ES9+ (SGP.22 3.1.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rsp import tlv
from rsp.identifiers import TransactionId
from simulator import lpa_messages
from simulator.bpp_segments import split_bound_profile_package
from simulator.card import Card
from simulator.lpa_messages import CancelReason, Device, InstallationResult
from smdp.downloads import Authenticated, Initiated
from tests.protocol_stage import NAME, Stage


@dataclass(slots=True, kw_only=True)
class Attempt:
    """What an LPA holds during one session. `sent` keeps the card's last bytes, by function."""

    stage: Stage
    card: Card
    matching_id: str | None
    device: Device = field(default_factory=Device)
    initiated: Initiated | None = None
    authenticated: Authenticated | None = None
    sent: dict[str, bytes] = field(default_factory=dict)

    @property
    def id(self) -> TransactionId:
        """The transactionId."""
        assert self.initiated is not None
        return self.initiated.transaction_id

    async def row(self) -> Any:
        """The session as stored."""
        return await self.stage.session(self.id)

    async def state(self) -> tuple[str, str | None]:
        """State and refusal as stored."""
        found = await self.row()
        return found["state"], found["refusal"]

    async def initiate(self, address: str = NAME) -> Initiated:
        """InitiateAuthentication."""
        challenge = lpa_messages.euicc_challenge(self.card.get_euicc_challenge())
        self.initiated = await self.stage.downloads.initiate_authentication(
            challenge, self.card.get_euicc_info1(), address
        )
        return self.initiated

    def challenged(self) -> bytes:
        """AuthenticateServer on the card: its BF38."""
        begun = self.initiated
        assert begun is not None
        server = (
            begun.server_signed1,
            begun.server_signature1,
            tlv.wrap(0x04, begun.ci_key_id),
            begun.certificate,
        )
        return self.card.authenticate_server(
            lpa_messages.authenticate_server_request(server, self.matching_id, self.device)
        )

    async def authenticate(self, message: bytes | None = None) -> Authenticated:
        """AuthenticateClient, with the card's BF38 unless other bytes are given."""
        if message is None:
            message = self.sent["authenticate"] = self.challenged()
        self.authenticated = await self.stage.downloads.authenticate_client(self.id, message)
        return self.authenticated

    def prepared(self, code: str | None = None, hash_cc: bytes | None = None) -> bytes:
        """PrepareDownload on the card: its BF21, with the hash of `code` when there is one."""
        known = self.authenticated
        assert known is not None
        if code is not None:
            hash_cc = lpa_messages.hashed_confirmation_code(code, self.id)
        return self.card.prepare_download(
            lpa_messages.prepare_download_request(known.smdp_signed2, known.smdp_signature2, known.certificate, hash_cc)
        )

    async def deliver(self, code: str | None = None, message: bytes | None = None) -> bytes:
        """GetBoundProfilePackage, with the card's BF21 unless other bytes are given."""
        if message is None:
            message = self.sent["deliver"] = self.prepared(code)
        return await self.stage.downloads.get_bound_profile_package(self.id, message)

    async def begun(self) -> Attempt:
        """InitiateAuthentication and AuthenticateClient."""
        await self.initiate()
        await self.authenticate()
        return self

    async def delivered(self, code: str | None = None) -> bytes:
        """The whole way to the package."""
        await self.begun()
        return await self.deliver(code)

    def install(self, bpp: bytes) -> InstallationResult:
        """Load the package into the card, all of it or until the card answers."""
        for piece in split_bound_profile_package(bpp):
            if result := self.card.load_bound_profile_package(piece):
                return lpa_messages.read_installation_result(result)
        raise AssertionError("the card took the whole package and reported nothing")

    async def installed(self, code: str | None = None) -> InstallationResult:
        """A whole download with its report handed in and judged."""
        result = self.install(await self.delivered(code))
        await self.stage.notifications.handle_notification(result.raw)
        await self.stage.judge()
        return result

    def cancelled(self, reason: CancelReason) -> bytes:
        """CancelSession on the card: its BF41."""
        return self.card.cancel_session(lpa_messages.cancel_session_request(self.id, reason))

    async def cancel(self, reason: CancelReason) -> None:
        """CancelSession."""
        self.sent["cancel"] = self.cancelled(reason)
        await self.stage.cancellation.cancel_session(self.id, self.sent["cancel"])


def attempt(stage: Stage, card: Card, matching_id: str | None, device: Device | None = None) -> Attempt:
    """A new attempt of `card`, in `device`, with the MatchingID of its activation code."""
    return Attempt(stage=stage, card=card, matching_id=matching_id, device=device or Device())

"""A device's LPA over ES9+: strict about answers, stubborn about lost ones (SGP.22 3.1, 5.6, 6.5, 6.6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from rsp.identifiers import ActivationCode, TransactionId
from simulator import lpa_messages as messages
from simulator.bpp_segments import split_bound_profile_package
from simulator.exchange import Answer, Exchange, FunctionFailed, NoAnswer, ProtocolFault, Retries
from simulator.lpa_bindings import BINDINGS, Members, Reply, Spelling
from simulator.lpa_messages import CancelReason, Device, InstallationResult, MetadataMismatch
from simulator.lpa_types import (
    Authenticated,
    Bound,
    CancelPolicy,
    CardPort,
    Delivery,
    DownloadResult,
    Errored,
    Initiated,
    Installed,
    Refused,
)
from simulator.strict_json import check_accepted

USER_AGENT = "gsma-rsp-lpad"
_Value = TypeVar("_Value")


class SessionLost(Exception):  # noqa: N818 -- the name is the outcome
    """The server no longer knows the session after a request had to be repeated: start a new one."""

    def __init__(self, failure: FunctionFailed) -> None:
        super().__init__(str(failure))
        self.failure = failure


class MetadataFault(ProtocolFault):
    """The package stores other metadata than was shown."""


_Failure = FunctionFailed | NoAnswer | ProtocolFault
_FAILURES = (FunctionFailed, NoAnswer, ProtocolFault)


class Lpa:
    """One device with one card. The step methods may be called one by one; `download` runs them all."""

    def __init__(  # noqa: PLR0913 -- one option for each habit of a device
        self,
        card: CardPort,
        exchange: Exchange,
        *,
        device: Device | None = None,
        cancel_on_failure: CancelPolicy = CancelPolicy.STANDARD,
        delivery: Delivery = Delivery.AT_ONCE,
        sessions: int = 3,
        spelling: Spelling = Spelling.JSON,
    ) -> None:
        self.card = card
        self._exchange = exchange
        self._device = device or Device()
        self._cancel_on_failure = cancel_on_failure
        self._delivery = delivery
        self._sessions = sessions
        self._binding = BINDINGS[spelling]

    async def initiate_authentication(self, smdp_address: str, *, retries: Retries | None = None) -> Initiated:
        """InitiateAuthentication (SGP.22 5.6.1). Raises FunctionFailed, NoAnswer or ProtocolFault, as all steps do."""
        function = "initiateAuthentication"
        challenge = _of_card(messages.euicc_challenge, self.card.get_euicc_challenge())
        members: Members = {
            "euiccChallenge": challenge,
            "euiccInfo1": self.card.get_euicc_info1(),
            "smdpAddress": smdp_address,
        }
        server = ("serverSigned1", "serverSignature1", "euiccCiPKIdToBeUsed", "serverCertificate")
        body = await self._call(smdp_address, function, members, ("transactionId", *server), retries)
        transaction_id = body.transaction_id()
        signed1 = body.tlv("serverSigned1", 0x30)
        try:
            messages.check_server_signed1(signed1, transaction_id, challenge, smdp_address)
        except ValueError as error:
            raise ProtocolFault(function, str(error)) from error
        rest = (body.tlv(server[1], 0x5F37, 64), body.tlv(server[2], 0x04, 20), body.tlv(server[3], 0x30))
        return Initiated(smdp_address=smdp_address, transaction_id=transaction_id, server=(signed1, *rest))

    async def authenticate_client(
        self, initiated: Initiated, matching_id: str | None, *, retries: Retries | None = None
    ) -> Authenticated:
        """AuthenticateClient (5.6.3): the card judges the server and signs, the server judges the card.

        `matching_id` None leaves the member out: the order is found by EID.
        """
        function = "authenticateClient"
        request = messages.authenticate_server_request(initiated.server, matching_id, self._device)
        members: Members = {
            "transactionId": initiated.transaction_id,
            "authenticateServerResponse": _of_card(self.card.authenticate_server, request),
        }
        answers = ("transactionId", "profileMetadata", "smdpSigned2", "smdpSignature2", "smdpCertificate")
        body = await self._call(initiated.smdp_address, function, members, answers, retries)
        _check_transaction(function, body, initiated.transaction_id, "smdpSigned2")
        return Authenticated(
            smdp_address=initiated.smdp_address,
            transaction_id=initiated.transaction_id,
            profile_metadata=body.tlv("profileMetadata", 0xBF25),
            smdp_signed2=body.tlv("smdpSigned2", 0x30),
            smdp_signature2=body.tlv("smdpSignature2", 0x5F37, 64),
            smdp_certificate=body.tlv("smdpCertificate", 0x30),
        )

    async def get_bound_profile_package(
        self, shown: Authenticated, confirmation_code: str | None = None, *, retries: Retries | None = None
    ) -> Bound:
        """GetBoundProfilePackage (5.6.2). The code is hashed only where the server asked for one."""
        function = "getBoundProfilePackage"
        members: Members = {
            "transactionId": shown.transaction_id,
            "prepareDownloadResponse": self._prepare_download(shown, confirmation_code),
        }
        answers = ("transactionId", "boundProfilePackage")
        body = await self._call(shown.smdp_address, function, members, answers, retries)
        _check_transaction(function, body, shown.transaction_id)
        package = body.tlv("boundProfilePackage", 0xBF36)
        try:
            messages.check_bound_profile_package(package, shown.transaction_id, shown.profile_metadata)
        except MetadataMismatch as error:
            raise MetadataFault(function, str(error)) from error
        except ValueError as error:
            raise ProtocolFault(function, str(error)) from error
        return Bound(
            smdp_address=shown.smdp_address,
            transaction_id=shown.transaction_id,
            profile_metadata=shown.profile_metadata,
            bound_profile_package=package,
        )

    def _prepare_download(self, shown: Authenticated, confirmation_code: str | None) -> bytes:
        signed2 = shown.smdp_signed2
        hash_cc = None
        try:
            if messages.confirmation_code_required(signed2) and confirmation_code is not None:
                hash_cc = messages.hashed_confirmation_code(confirmation_code, shown.transaction_id)
        except ValueError as error:
            raise ProtocolFault("authenticateClient", f"smdpSigned2: {error}") from error
        request = messages.prepare_download_request(signed2, shown.smdp_signature2, shown.smdp_certificate, hash_cc)
        return _of_card(self.card.prepare_download, request)

    def install(self, bound: Bound) -> InstallationResult:
        """Load the package into the card segment by segment until it reports (SGP.22 2.5.5, 5.7.6)."""
        for segment in _segments(bound.bound_profile_package):
            report = _of_card(self.card.load_bound_profile_package, segment)
            if report:
                return _of_card(messages.read_installation_result, report)
        raise ProtocolFault("loadBoundProfilePackage", "the package ended and the card reported no result")

    async def send_notifications(self, *, retries: Retries | None = None) -> int:
        """Deliver what waits on the card, oldest first, and remove what was taken; returns how many (5.6.4).

        Raises NoAnswer or ProtocolFault at the first that could not be delivered; it and the later ones stay.
        """
        listed = self.card.retrieve_notifications(messages.retrieve_all_notifications_request())
        waiting = _of_card(messages.notifications, listed)
        labelled = sorted((*_of_card(messages.sequence_and_address, raw), raw) for raw in waiting)
        for number, address, raw in labelled:
            await self.send_notification(address, raw, retries=retries)
            self.card.remove_notification(messages.notification_sent_request(number))
        return len(labelled)

    async def send_notification(self, address: str, notification: bytes, *, retries: Retries | None = None) -> None:
        """HandleNotification (5.6.4) with one raw notification; the answer must be exactly 204 and empty."""
        function = "handleNotification"
        check_accepted(function, await self._post(address, function, {"pendingNotification": notification}, retries))

    async def cancel_session(
        self,
        smdp_address: str,
        transaction_id: TransactionId,
        reason: CancelReason,
        *,
        retries: Retries | None = None,
    ) -> None:
        """CancelSession (5.6.5): signed by the card where it still has the session, else its error is sent on."""
        response = _of_card(self.card.cancel_session, messages.cancel_session_request(transaction_id, reason))
        members: Members = {"transactionId": transaction_id, "cancelSessionResponse": response}
        await self._call(smdp_address, "cancelSession", members, (), retries)

    async def download(
        self,
        activation_code: ActivationCode | str,
        confirmation_code: str | None = None,
        *,
        retries: Retries | None = None,
    ) -> DownloadResult:
        """One profile from activation code to installation. Raises ValueError on an unreadable activation code."""
        code = ActivationCode.parse(activation_code) if isinstance(activation_code, str) else activation_code
        lost = "no session was allowed"
        for number in range(1, self._sessions + 1):
            try:
                result = await self._session(code, confirmation_code, retries)
                return replace(result, sessions=number) if isinstance(result, Installed) else result
            except SessionLost as error:
                lost = str(error)
            except FunctionFailed as error:
                return _refused(error)
            except (NoAnswer, ProtocolFault) as error:
                return Errored(function=error.function, cause=error.what)
        return Errored(function="download", cause=f"every session was lost: {lost}")

    async def _session(self, code: ActivationCode, confirmation: str | None, retries: Retries | None) -> DownloadResult:
        initiated = await self.initiate_authentication(code.smdp_address, retries=retries)
        try:
            matching_id = str(code.matching_id) if code.matching_id else None
            shown = await self.authenticate_client(initiated, matching_id, retries=retries)
            bound = await self.get_bound_profile_package(shown, confirmation, retries=retries)
            result = self.install(bound)
        except _FAILURES as error:
            return await self._after_failure(initiated, error, retries)
        if not result.succeeded and self._cancel_on_failure is CancelPolicy.ALWAYS:
            cancel = await self._cancel(initiated, CancelReason.END_USER_REJECTION, retries)
            return replace(_installation_failed(result), cancel=cancel, notification_fault=await self._deliver(retries))
        fault = await self._deliver(retries)
        if not result.succeeded:
            return replace(_installation_failed(result), notification_fault=fault)
        return Installed(
            transaction_id=bound.transaction_id,
            iccid=result.iccid,
            profile_metadata=bound.profile_metadata,
            notification_fault=fault,
        )

    async def _deliver(self, retries: Retries | None) -> str:
        if self._delivery is Delivery.LATER:
            return ""
        try:
            await self.send_notifications(retries=retries)
        except (NoAnswer, ProtocolFault) as error:
            return str(error)
        return ""

    async def _after_failure(self, initiated: Initiated, error: _Failure, retries: Retries | None) -> DownloadResult:
        reason = self._reason(error)
        cancel = "" if reason is None else await self._cancel(initiated, reason, retries)
        if isinstance(error, FunctionFailed):
            return _refused(error, cancel)
        return Errored(function=error.function, cause=error.what, cancel=cancel)

    def _reason(self, error: _Failure) -> CancelReason | None:
        if self._cancel_on_failure is CancelPolicy.NEVER:
            return None
        if self._cancel_on_failure is CancelPolicy.ALWAYS:
            return CancelReason.END_USER_REJECTION
        if isinstance(error, MetadataFault):
            return CancelReason.METADATA_MISMATCH
        if isinstance(error, NoAnswer):
            return CancelReason.POSTPONED
        return CancelReason.UNDEFINED if isinstance(error, ProtocolFault) else None

    async def _cancel(self, initiated: Initiated, reason: CancelReason, retries: Retries | None) -> str:
        try:
            await self.cancel_session(initiated.smdp_address, initiated.transaction_id, reason, retries=retries)
        except (SessionLost, *_FAILURES) as error:
            return str(error)
        return "accepted"

    async def _call(
        self, host: str, function: str, members: Members, answers: Sequence[str], retries: Retries | None
    ) -> Reply:
        answer = await self._post(host, function, members, retries)
        try:
            return self._binding.reply(function, answer, answers)
        except FunctionFailed as error:
            if answer.attempt > 1 and self._binding.lost_session(error):
                raise SessionLost(error) from error
            raise

    async def _post(self, host: str, function: str, members: Members, retries: Retries | None) -> Answer:
        binding = self._binding
        try:
            body = binding.request(function, members)
        except ValueError as error:
            raise ProtocolFault("card", str(error)) from error
        content_type = binding.content_type
        return await self._exchange.post(
            host, binding.path(function), body, retries, function=function, content_type=content_type
        )


def _of_card(read: Callable[[bytes], _Value], response: bytes) -> _Value:
    try:
        return read(response)
    except ValueError as error:
        raise ProtocolFault("card", str(error)) from error


def _segments(package: bytes) -> list[bytes]:
    try:
        return split_bound_profile_package(package)
    except ValueError as error:
        raise ProtocolFault("getBoundProfilePackage", str(error)) from error


def _check_transaction(function: str, body: Reply, expected: TransactionId, signed: str | None = None) -> None:
    found = body.transaction_id()
    if found != expected:
        raise ProtocolFault(function, f"the answer is for transaction {found} instead of {expected}")
    if signed is None:
        return
    try:
        inner = messages.transaction_inside(body.tlv(signed, 0x30))
    except ValueError as error:
        raise ProtocolFault(function, f"{signed}: {error}") from error
    if inner != expected:
        raise ProtocolFault(function, f"{signed} is for transaction {inner} instead of {expected}")


def _refused(error: FunctionFailed, cancel: str = "") -> Refused:
    codes = error.codes
    return Refused(
        function=error.function, subject=codes.subject, reason=codes.reason, message=codes.message, cancel=cancel
    )


def _installation_failed(result: InstallationResult) -> Errored:
    return Errored(
        function="loadBoundProfilePackage",
        cause=f"the card could not install the profile: step {result.bpp_command_id}, reason {result.error_reason}",
        bpp_command_id=result.bpp_command_id,
        error_reason=result.error_reason,
    )


__all__ = [
    "USER_AGENT",
    "Authenticated",
    "Bound",
    "CancelPolicy",
    "CancelReason",
    "CardPort",
    "Delivery",
    "Device",
    "DownloadResult",
    "Errored",
    "Initiated",
    "Installed",
    "Lpa",
    "MetadataFault",
    "Refused",
    "SessionLost",
    "Spelling",
]

"""A device's IPA: polls its eIM, hands packages to the card, changes networks, goes back on silence (SGP.32)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Self

from rsp import tlv
from rsp.identifiers import Iccid
from simulator import esipa, ipa_messages, lpa_messages
from simulator.esipa import EimPeer, NoPackage, ResponseError, StateChange, Taken
from simulator.exchange import Exchange, Habits, NoAnswer, ProtocolFault, Retries
from simulator.iot_card import IotCard
from simulator.lpa import Lpa
from simulator.lpa_messages import Device
from simulator.lpa_types import CancelPolicy, Delivery, DownloadResult, Installed, Refused
from simulator.network import Network

_ROLLBACK = tlv.wrap(0xBF58, tlv.wrap(0x80, b"\xff"))


class Route(Enum):
    """Who gets the notifications of the card: their servers directly, the eIM as a relay, or nobody until asked."""

    DIRECT = "direct"
    EIM = "eim"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class IpaOptions:
    """How the IPA behaves. `rollback_after` is its own timer in seconds, from the first attempt to deliver a result.

    `result_retries` bounds how often a result is sent before that.
    """

    notifications: Route = Route.DIRECT
    rollback_after: float = 60.0
    result_retries: Retries = field(default_factory=Retries)
    device: Device = field(default_factory=Device)
    cancel_on_failure: CancelPolicy = CancelPolicy.STANDARD


class Did(Enum):
    """What a poll came to."""

    KEPT_SILENT = "kept silent"
    FOUND_NO_CONTACT = "found no contact"
    FOUND_NOTHING = "found nothing"
    EXECUTED = "executed a package"
    DOWNLOADED = "downloaded"
    TOLD = "told what was asked"
    COULD_NOT_READ = "could not read the package"


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """What a poll did. `delivered`: the eIM has the result, or one that waited; `rolled_back`: the card went back.

    `eim_error` is the code of an answer without package, `package_result` the card's first raw BF51, `download` the
    outcome of a download, `detail` the cause of a failure in words.
    """

    did: Did
    delivered: bool = False
    rolled_back: bool = False
    eim_error: int | None = None
    package_result: bytes | None = None
    download: DownloadResult | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    """A result that is not kept by the card, and the sequence numbers in it."""

    body: bytes
    sequence_numbers: tuple[int, ...] = ()


class Ipa:
    """One device. `silent` True makes `poll` do nothing, as a device that is switched off."""

    def __init__(
        self,
        card: IotCard,
        network: Network,
        *,
        esipa_exchange: Exchange,
        es9plus_exchange: Exchange,
        options: IpaOptions | None = None,
    ) -> None:
        self.card = card
        self.network = network
        self.silent = False
        self._options = options or IpaOptions()
        self._exchanges = (esipa_exchange, es9plus_exchange)
        self._eim = EimPeer(esipa_exchange, ipa_messages.eim_address(card))
        self._lpa = Lpa(
            card,
            es9plus_exchange,
            device=self._options.device,
            cancel_on_failure=self._options.cancel_on_failure,
            delivery=Delivery.LATER,
        )
        self._unsent: list[_Report] = []
        self._taken: set[bytes] = set()
        self._answered: dict[bytes, _Report] = {}

    @classmethod
    def over(
        cls,
        card: IotCard,
        network: Network,
        *,
        tls: ssl.SSLContext,
        addresses: Mapping[str, tuple[str, int]],
        habits: Habits | None = None,
        options: IpaOptions | None = None,
    ) -> Self:
        """An IPA with HTTPS connections of its own to eIM and SM-DP+, which fail while `network` is not attached.

        Habits with Losses as `interfere` lose what they are told to. Close it, or use it as async context manager.
        """
        guarded = network.guard(habits or Habits())
        eim = Exchange(tls=tls, addresses=addresses, habits=guarded, user_agent=esipa.USER_AGENT, binding=esipa.BINDING)
        smdp = Exchange(tls=tls, addresses=addresses, habits=guarded, user_agent=esipa.USER_AGENT)
        return cls(card, network, esipa_exchange=eim, es9plus_exchange=smdp, options=options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        for exchange in self._exchanges:
            await exchange.close()

    # One poll ----------------------------------------------------------------------------------------------------

    async def poll(self, state_change: StateChange | None = None) -> Polled:
        """Deliver what waits, ask the eIM for one package and act on it; `state_change` is told along, if any.

        A failure of the network is an outcome, not an exception.
        """
        if self.silent:
            return Polled(did=Did.KEPT_SILENT)
        await self._attach()
        settled = await self._settle()
        try:
            for report in tuple(self._unsent):
                delivered, _ = await self._send(report)
                settled = replace(settled, delivered=settled.delivered or delivered)
            package = await self._eim.get_eim_package(
                self.card.eid, state_change=state_change, rplmn=self.network.rplmn
            )
        except (NoAnswer, ProtocolFault) as error:
            return replace(settled, did=Did.FOUND_NO_CONTACT, detail=settled.detail or str(error))
        if isinstance(package, NoPackage):
            await self._notify()
            return replace(settled, did=Did.FOUND_NOTHING, eim_error=package.code)
        acted = await self._act(package)
        return replace(acted, rolled_back=acted.rolled_back or settled.rolled_back)

    async def _act(self, package: tlv.Tlv) -> Polled:
        if package.tag == esipa.DOWNLOAD_TRIGGER:
            return await self._download(package)
        if package.tag == esipa.DATA_REQUEST:
            return await self._tell(package)
        return await self._execute(package)

    async def _attach(self) -> None:
        """Be on the network of the enabled profile; connections do not outlive a change."""
        wanted: Iccid | None = ipa_messages.enabled_profile(self.card)
        if wanted is not None and self.network.attached == wanted:
            return
        await self.close()
        if wanted is None:
            self.network.detach()
        else:
            self.network.attach(wanted)

    # eUICC packages ----------------------------------------------------------------------------------------------

    async def _execute(self, package: tlv.Tlv) -> Polled:
        try:
            result = self.card.load_euicc_package(package.raw)
        except ValueError as error:
            return await self._could_not_read(b"", ResponseError.INVALID_PACKAGE_FORMAT, str(error))
        await self._attach()
        if ipa_messages.sequence_number(result) is None:
            delivered, detail = await self._provide(result, ())
            return Polled(did=Did.EXECUTED, package_result=result, delivered=delivered, detail=detail)
        settled = await self._settle()
        return replace(settled, did=Did.EXECUTED, package_result=result)

    async def _settle(self) -> Polled:
        """Deliver the results on the card. What cannot be delivered is rolled back where the card permits it."""
        if not self._waiting():
            return Polled(did=Did.EXECUTED)
        delivered, detail = await self._deliver()
        rolled_back = not delivered and self._roll_back()
        if rolled_back:
            await self._attach()
            delivered, again = await self._deliver()
            detail = "; ".join(filter(None, (detail, again)))
        if delivered:
            await self._notify()
        return Polled(did=Did.EXECUTED, delivered=delivered, rolled_back=rolled_back, detail=detail)

    def _waiting(self) -> list[bytes]:
        """The results on the card, but for those the eIM took without acknowledging them."""
        return [result for result in ipa_messages.stored_results(self.card) if result not in self._taken]

    async def _deliver(self) -> tuple[bool, str]:
        for result in self._waiting():
            number = ipa_messages.sequence_number(result)
            delivered, detail = await self._provide(result, () if number is None else (number,))
            if not delivered:
                return False, detail
            self._taken.add(result)
        return True, ""

    def _roll_back(self) -> bool:
        answer = next(tlv.read_only(self.card.profile_rollback(_ROLLBACK), 0xBF58).children())
        return answer.integer() == 0

    # Results -----------------------------------------------------------------------------------------------------

    async def _provide(self, body: bytes, expected: tuple[int, ...]) -> tuple[bool, str]:
        """Whether the eIM took the result within the IPA's timer, and if not why."""
        try:
            async with asyncio.timeout(self._options.rollback_after):
                answer = await self._eim.provide_eim_package_result(
                    self.card.eid, body, expected=expected, retries=self._options.result_retries
                )
        except (NoAnswer, ProtocolFault) as error:
            return False, str(error)
        except TimeoutError:
            return False, f"no answer within {self._options.rollback_after} seconds"
        if not isinstance(answer, Taken):
            return False, f"the eIM refused the result with error {answer.code}"
        for number in answer.acknowledged:
            self.card.remove_notification(lpa_messages.notification_sent_request(number))
        return True, ""

    async def _report(self, report: _Report) -> tuple[bool, str]:
        """Send a result that the card does not keep; it is sent again at the next poll if need be."""
        if report not in self._unsent:
            self._unsent.append(report)
        return await self._send(report)

    async def _send(self, report: _Report) -> tuple[bool, str]:
        delivered, detail = await self._provide(report.body, report.sequence_numbers)
        if delivered:
            self._unsent.remove(report)
        return delivered, detail

    async def _could_not_read(self, transaction_id: bytes, error: ResponseError, detail: str) -> Polled:
        body = ipa_messages.response_error(transaction_id, error)
        delivered, _ = await self._report(_Report(body=body))
        return Polled(did=Did.COULD_NOT_READ, delivered=delivered, detail=detail)

    async def _notify(self) -> None:
        """Send the notifications their way; what is not taken stays on the card for the next time."""
        try:
            if self._options.notifications is Route.DIRECT:
                await self._lpa.send_notifications()
            elif self._options.notifications is Route.EIM:
                await self._relay()
        except (NoAnswer, ProtocolFault):
            return

    async def _relay(self) -> None:
        for raw in ipa_messages.pending_notifications(self.card):
            await self._eim.handle_notification(raw)
            number, _ = lpa_messages.sequence_and_address(raw)
            self.card.remove_notification(lpa_messages.notification_sent_request(number))

    # Downloads and data ------------------------------------------------------------------------------------------

    async def _download(self, package: tlv.Tlv) -> Polled:
        try:
            trigger = ipa_messages.read_trigger(package)
        except ipa_messages.TriggerNotSupported as error:
            return await self._could_not_read(b"", ResponseError.UNDEFINED, str(error))
        except ValueError as error:
            return await self._could_not_read(b"", ResponseError.INVALID_PACKAGE_FORMAT, str(error))
        before = self._answered.get(trigger.transaction_id) if trigger.transaction_id else None
        if before is not None:
            # The eIM has not heard the answer: a second download would fail on an order that is used up.
            delivered, detail = await self._report(before)
            return Polled(did=Did.DOWNLOADED, delivered=delivered, detail=detail)
        result, report = await self._downloaded(trigger)
        self._answered[trigger.transaction_id] = report
        await self._notify()
        delivered, detail = await self._report(report)
        return Polled(did=Did.DOWNLOADED, download=result, delivered=delivered, detail=detail)

    async def _downloaded(self, trigger: ipa_messages.Trigger) -> tuple[DownloadResult | None, _Report]:
        known = ipa_messages.pending_notifications(self.card)
        result: DownloadResult | None = None
        try:
            code = ipa_messages.code_of(trigger, self.card.default_smdp_address)
            result = await self._lpa.download(code)
            error = _in_words(result)
        except ValueError as unreadable:
            error = str(unreadable)
        fresh = [raw for raw in ipa_messages.pending_notifications(self.card) if raw not in known]
        installation = next((raw for raw in fresh if tlv.read(raw).tag == 0xBF37), None)
        body = ipa_messages.trigger_result(trigger.transaction_id, installation, error)
        numbers = () if installation is None else (lpa_messages.sequence_and_address(installation)[0],)
        return result, _Report(body=body, sequence_numbers=numbers)

    async def _tell(self, package: tlv.Tlv) -> Polled:
        try:
            answer = ipa_messages.answer_data_request(package, self.card, self._options.device)
        except ValueError as error:
            return await self._could_not_read(b"", ResponseError.INVALID_PACKAGE_FORMAT, str(error))
        report = _Report(body=answer.raw, sequence_numbers=answer.sequence_numbers)
        delivered, detail = await self._report(report)
        return Polled(did=Did.TOLD, delivered=delivered, detail=detail)


def _in_words(result: DownloadResult) -> str:
    if isinstance(result, Installed):
        return ""
    if isinstance(result, Refused):
        return f"{result.function}: {result.subject}/{result.reason} {result.message}".rstrip()
    return f"{result.function}: {result.cause}"

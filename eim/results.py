"""What devices hand in (SGP.32 6.3): kept and acknowledged first, judged after, over the bytes as received."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from crypto.certificates import TrustStore
from eim import judgement
from eim.operation import TRANSITIONS, Operation, OperationChange, OperationEvent, OperationKind, OperationState
from eim.ports import (
    LARGEST_RESULT,
    InstallationTaken,
    KeptResult,
    Report,
    ResultFacts,
    ResultStore,
    ResultVerdict,
    ResultWrite,
    Told,
    TransitionLost,
)
from eim.reporting import Reporting, is_signed_by
from rsp import es10, esep, tlv
from rsp.errors import Malformed
from rsp.identifiers import Eid, TransactionId

_RACES = 5
_TRANSACTION_BYTES = 16
_UNVERIFIED_KEPT = timedelta(days=7)
_REPEATED = "repeated"

_UNSIGNED = "unsigned-error"
_UNPROVEN = frozenset({_UNSIGNED, "mismatch", "bad-signature"})
"""Outcomes that name an operation without a proof that its card said anything."""

Signed = esep.PackageResult | esep.PackageErrorSigned
Unsigned = judgement.Unsigned


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one message turned out to be, and what follows from it."""

    outcome: str
    verified: bool = False
    operation: Operation | None = None
    reports: tuple[Report, ...] = ()
    write: ResultWrite | None = None
    heard: bool = False
    """Whether something new was kept of an operation that did not move."""


class Results:
    """Keeps what devices hand in and works out what it means."""

    def __init__(
        self,
        store: ResultStore,
        trust: TrustStore,
        own_names: tuple[str, ...],
        random: Callable[[int], bytes],
        now: Callable[[], datetime],
    ) -> None:
        """`own_names` are the addresses of our own SM-DP+, whose notifications stay here."""
        self._store = store
        self._reports = Reporting(trust, own_names, now)
        self._random = random
        self._now = now

    async def provide_eim_package_result(self, raw: bytes) -> bytes:
        """ProvideEimPackageResultResponse (BF50): what arrived is committed, so the device may forget exactly that.

        Raises Malformed when the bytes are no BF50, Unavailable when they cannot be committed.
        """
        numbers = esep.sequence_numbers(raw)
        await self._keep(raw)
        return esep.acknowledgements(numbers)

    async def handle_notification(self, raw: bytes) -> None:
        """HandleNotification (BF3D): committed, whatever it says. Raises Malformed, Unavailable."""
        await self._keep(raw)

    async def _keep(self, raw: bytes) -> None:
        if len(raw) > LARGEST_RESULT:
            raise Malformed(f"a result is at most {LARGEST_RESULT} bytes")
        await self._store.keep_result(raw, _sender(raw), self._now())

    async def judge_pending(self, most: int, lease_seconds: float) -> int:
        """Judge up to `most` kept results and return how many there were."""
        pending = await self._store.claim_results(most, lease_seconds)
        for kept in pending:
            await self._judge(kept)
        return len(pending)

    async def forget_unverified(self) -> int:
        """Drop what nobody could verify and is a week old; how much that was."""
        return await self._store.forget_unverified(self._now() - _UNVERIFIED_KEPT)

    async def _judge(self, kept: KeptResult) -> None:
        for _ in range(_RACES):
            try:
                await self._settle(kept, await self._finding(kept))
                return
            except TransitionLost:
                continue
        # The lease runs out and the result is judged again.

    async def _settle(self, kept: KeptResult, found: Finding) -> None:
        """One commit: what follows, the verdict, and that whoever waits for this card is due."""
        operation = found.operation
        verdict = ResultVerdict(
            result_id=kept.id,
            verified=found.verified,
            outcome=found.outcome,
            operation_id=operation.id if operation else None,
            tenant_id=operation.tenant_id if operation else None,
            answered=operation.eid if operation and (found.heard or found.outcome not in _UNPROVEN) else None,
        )
        try:
            await self._store.settle(verdict, found.reports, self._now(), found.write)
        except InstallationTaken:
            await self._store.settle(replace(verdict, outcome=_REPEATED), found.reports, self._now(), None)

    async def _finding(self, kept: KeptResult) -> Finding:
        try:
            if esep.first_tag(kept.raw) == 0xBF3D:
                message = esep.parse_handle_notification(kept.raw)
            else:
                message = esep.parse_provide_eim_package_result(kept.raw)
            if isinstance(message, bytes):
                return await self._notification(message)
            return await self._provided(message, kept.received_at)
        except Malformed:
            return Finding(outcome="malformed")

    # Results of packages ----------------------------------------------------------------------------------------------

    async def _provided(self, message: esep.ProvidedResult, at: datetime) -> Finding:
        match message.result:
            case esep.PackageResult() | esep.PackageErrorSigned():
                found = await self._package(message.result, message.eid, at)
                card = found.operation.eid if found.operation else message.eid
                association = await self._store.association(card) if card and message.notifications else None
                return replace(found, reports=self._reports.of(message.notifications, association))
            case esep.TriggerResult():
                return await self._trigger(message.result, at)
            case esep.DataResponse():
                return await self._data(message.result, at)
            case _:
                return await self._unsigned(message.result)

    async def _unsigned(self, error: Unsigned) -> Finding:
        """An error that anybody could have sent: kept with its operation, which does not move.

        Of a download, the card is asked to list its profiles: its signed answer tells what there is to it.
        """
        transaction_id = error.transaction_id
        facts = await self._store.facts_by_transaction(transaction_id) if transaction_id else None
        operation = facts.operation if facts else None
        heard = False
        if operation is not None and operation.state is OperationState.SENT and not operation.hearsay:
            ask = None
            if operation.kind is OperationKind.DOWNLOAD:
                ask = judgement.question(operation, OperationKind.LIST, self._transaction_id())
            heard = await self._store.hear(operation, judgement.hearsay(error), ask, self._now())
        return Finding(outcome=_UNSIGNED, operation=operation, heard=heard)

    async def _package(self, answer: Signed, eid: Eid | None, at: datetime) -> Finding:
        facts = await self._facts(answer, eid)
        if facts is None:
            return Finding(outcome="unknown-operation")
        operation, association = facts.operation, facts.association
        same = (answer.eim_id, answer.counter) == (association.eim_id, operation.counter)
        if not same or eid not in (None, operation.eid):
            return Finding(outcome="mismatch", operation=operation)
        if not _is_signed(answer, facts):
            return Finding(outcome="bad-signature", operation=operation)
        doubtful = await self._doubtful(operation)
        write = judgement.judge_package(facts, answer, at, self._transaction_id(), doubtful)
        if write is None:
            return Finding(outcome=_idle(answer), verified=True, operation=operation)
        return Finding(outcome=str(write.operation.state), verified=True, operation=operation, write=write)

    async def _facts(self, answer: Signed, eid: Eid | None) -> ResultFacts | None:
        """By EID, eimTransactionId and counter, never by the sequence number."""
        if answer.transaction_id is not None:
            return await self._store.facts_by_transaction(answer.transaction_id)
        return await self._store.facts_by_counter(eid, answer.counter) if eid else None

    async def _doubtful(self, operation: Operation) -> Operation | None:
        """The operation that a LIST of ours is about."""
        if operation.about is None or operation.kind is not OperationKind.LIST:
            return None
        facts = await self._store.facts_by_id(operation.about)
        return facts.operation if facts else None

    def _transaction_id(self) -> TransactionId:
        return TransactionId(self._random(_TRANSACTION_BYTES))

    # Downloads --------------------------------------------------------------------------------------------------------

    async def _trigger(self, result: esep.TriggerResult, at: datetime) -> Finding:
        """Only the installation result inside is signed; the rest a device may say without proof."""
        facts = await self._store.facts_by_transaction(result.transaction_id) if result.transaction_id else None
        operation = facts.operation if facts else None
        if result.installation is None:
            return await self._unsigned(result)
        reports = self._reports.of((result.installation,), facts.association if facts else None)
        installation = es10.parse_pending_notification(result.installation)
        if facts is None or not isinstance(installation, es10.ProfileInstallationResult):
            return Finding(outcome="unknown-operation", reports=reports)
        if not is_signed_by(facts.association, installation.signature, installation.signed):
            return Finding(outcome="bad-signature", operation=operation, reports=reports)
        write = judgement.judge_installation(facts, installation, at)
        if write is None:
            return Finding(outcome=_REPEATED, verified=True, operation=operation, reports=reports)
        return Finding(
            outcome=str(write.operation.state), verified=True, operation=operation, reports=reports, write=write
        )

    # Data -------------------------------------------------------------------------------------------------------------

    async def _data(self, data: esep.DataResponse, at: datetime) -> Finding:
        """What a device tells of itself is unsigned; the package results in it are signed one by one."""
        facts = await self._store.facts_by_transaction(data.transaction_id) if data.transaction_id else None
        if facts is None or facts.operation.kind is not OperationKind.READ:
            return Finding(outcome="unknown-operation")
        operation, association = facts.operation, facts.association
        for raw in data.package_results:
            answer = esep.parse_package_result(raw)
            if not isinstance(answer, esep.PackageErrorUnsigned):
                await self._at_once(await self._package(answer, operation.eid, at))
        reports = self._reports.of(data.notifications, association)
        if (operation.state, OperationEvent.SUCCEED) not in TRANSITIONS:
            return Finding(outcome=_REPEATED, operation=operation, reports=reports)
        features = data.ipa_capabilities.features if data.ipa_capabilities else None
        told = Told(features=features, euicc_info2=data.euicc_info2, device_info=data.device_info)
        await self._store.note(operation.eid, told)
        write = await self._read(operation)
        return Finding(outcome=str(OperationState.DONE), operation=operation, reports=reports, write=write)

    async def _at_once(self, found: Finding) -> None:
        """What follows from one of several results, of which the next ones see it."""
        if found.write is not None:
            await self._store.apply(found.write, self._now())

    async def _read(self, operation: Operation) -> ResultWrite:
        """The READ is done. When it brought no result of the doubtful operation, the card's list shall tell."""
        done = OperationChange.of(operation, OperationEvent.SUCCEED, code=0)
        doubtful = await self._store.facts_by_id(operation.about) if operation.about else None
        if doubtful is None or doubtful.operation.state is not OperationState.DOUBTFUL:
            return ResultWrite(operation=done)
        ask = judgement.question(doubtful.operation, OperationKind.LIST, self._transaction_id())
        return ResultWrite(operation=done, ask=ask)

    # Notifications ----------------------------------------------------------------------------------------------------

    async def _notification(self, raw: bytes) -> Finding:
        """A card's notification that came alone: it names its card only if it brings its certificates."""
        eid = self._reports.eid_of(raw)
        association = await self._store.association(eid) if eid else None
        reports = self._reports.of((raw,), association)
        return Finding(outcome="reported" if reports else "unknown-card", verified=eid is not None, reports=reports)


def _sender(raw: bytes) -> Eid | None:
    """What the sender of a BF50 calls itself."""
    try:
        found = tlv.read(raw).members().get(0x5A)
        return Eid.from_bytes(found.value) if found else None
    except Malformed:
        return None


def _is_signed(answer: Signed, facts: ResultFacts) -> bool:
    """Over the data and the association token; cards of v1.0.1 sign our signature in its place."""
    inputs = [esep.package_result_signature_input(answer.signed, facts.association.token)]
    if facts.operation.request is not None:
        ours = tlv.read_only(facts.operation.request, 0xBF51).members()[0x5F37].value
        inputs.append(esep.package_result_signature_input_1_0(answer.signed, ours))
    return any(is_signed_by(facts.association, answer.signature, data) for data in inputs)


def _idle(answer: Signed) -> str:
    """Why a verified answer changes nothing."""
    busy = isinstance(answer, esep.PackageErrorSigned) and answer.code == esep.PackageErrorCode.ECALL_ACTIVE
    return "postponed" if busy else _REPEATED

"""A device polls (SGP.32 6.3 GetEimPackage): it gets at most one package, the same bytes until its result is here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from crypto.vault import Vault
from eim.association import EimIdentity
from eim.operation import SIGNED, Operation, OperationChange, OperationEvent, OperationKind, OperationState
from eim.packages import activation_context
from eim.ports import Association, Polled, PollStore, TransitionLost
from rsp import esep

_RACES = 5
_STORED_RESULTS_TAGS = b""


class Polling:
    """Answers polls. Nothing in a poll is signed: whoever knows an EID gets what waits for it."""

    def __init__(self, store: PollStore, vault: Vault, identity: EimIdentity, now: Callable[[], datetime]) -> None:
        self._store = store
        self._vault = vault
        self._identity = identity
        self._now = now

    async def get_eim_package(self, request: esep.GetEimPackage) -> bytes:
        """GetEimPackageResponse (BF4F): what waits for this EID, or why there is nothing."""
        for _ in range(_RACES):
            polled = await self._store.poll(request.eid, self._now(), request.rplmn, request.state_change_cause)
            if polled is None:
                return esep.eim_package_error(esep.EimPackageError.EID_NOT_FOUND)
            try:
                if not await self._ended(polled.operation):
                    return await self._answer(polled)
            except TransitionLost:
                continue
        return esep.eim_package_error(esep.EimPackageError.UNDEFINED_ERROR)

    async def _ended(self, operation: Operation | None) -> bool:
        """Whether this operation's time was over; then the next one may have its turn."""
        if operation is None or operation.expires_at > self._now():
            return False
        await self._store.move(OperationChange.of(operation, OperationEvent.EXPIRE), self._now())
        return True

    async def _answer(self, polled: Polled) -> bytes:
        operation = polled.operation
        if operation is None or operation.state is OperationState.DOUBTFUL:
            return esep.eim_package_error(esep.EimPackageError.NO_EIM_PACKAGE_AVAILABLE)
        if operation.state is OperationState.SENT and polled.unjudged:
            # Its result is probably here: the card would refuse the same package as a replay.
            return esep.eim_package_error(esep.EimPackageError.NO_EIM_PACKAGE_AVAILABLE)
        if operation.kind in SIGNED:
            return esep.eim_package(await self._package(polled.association, operation))
        request = await self._unsigned(operation)
        if operation.state is OperationState.QUEUED:
            await self._store.hand_over(operation, None, self._now())
        return esep.eim_package(request)

    async def _package(self, association: Association, operation: Operation) -> bytes:
        """The eUICC package: its counter is stored before it is signed, its bytes before they leave."""
        if operation.request is not None:
            return operation.request
        counter = operation.counter
        if counter is None:
            if association.counter >= esep.MAX_COUNTER:
                await self._give_up(operation)
            counter = await self._store.number(operation)
        signed = esep.euicc_package_signed(
            eim_id=association.eim_id,
            eid=operation.eid,
            counter=counter,
            transaction_id=operation.transaction_id,
            commands=(_command(operation),),
        )
        signature = await self._vault.sign(
            self._identity.signing_key, esep.euicc_package_signature_input(signed, association.token)
        )
        request = esep.euicc_package_request(signed, signature)
        await self._store.hand_over(operation, request, self._now())
        return request

    async def _give_up(self, operation: Operation) -> None:
        detail = "the counters of this card are used up: associate it anew"
        await self._store.move(OperationChange.of(operation, OperationEvent.GIVE_UP, detail=detail), self._now())
        raise TransitionLost(detail)

    async def _unsigned(self, operation: Operation) -> bytes:
        """BF54 or BF52, the same bytes at every poll."""
        if operation.kind is OperationKind.READ:
            return esep.ipa_euicc_data_request(
                tags=_STORED_RESULTS_TAGS if operation.about else esep.ONBOARDING_TAGS,
                transaction_id=operation.transaction_id,
                package_results=operation.about is not None,
            )
        assert operation.activation_sealed is not None, "an open download has its activation code"
        code = await self._vault.unwrap(
            operation.activation_sealed, activation_context(operation.tenant_id, operation.key)
        )
        return esep.profile_download_trigger(code.decode(), operation.transaction_id)


def _command(operation: Operation) -> esep.Psmo:
    if operation.kind is OperationKind.LIST:
        return esep.ListProfileInfo()
    assert operation.iccid is not None, "the other signed kinds name a profile"
    if operation.kind is OperationKind.ENABLE:
        return esep.Enable(iccid=operation.iccid, rollback=operation.rollback)
    if operation.kind is OperationKind.DISABLE:
        return esep.Disable(iccid=operation.iccid)
    return esep.Delete(iccid=operation.iccid)

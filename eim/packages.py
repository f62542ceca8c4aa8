"""What is asked of eSIMs: queued under a key of the asker, listed, withdrawn (SGP.32 3.3)."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from crypto.vault import Vault
from eim.operation import ABOUT_ONE_PROFILE, Operation, OperationChange, OperationEvent, OperationKind, OperationState
from eim.ports import KeyReused, NewOperation, OperationStore, TransitionLost
from rsp.errors import Malformed
from rsp.identifiers import ActivationCode, Eid, Iccid, TransactionId

_TRANSACTION_BYTES = 16
_SWEEP = 500


def activation_context(tenant_id: int, key: str) -> bytes:
    """Context of a sealed activation code: the operation it belongs to."""
    return f"activation-code:{tenant_id}:{key}".encode()


class Packages:
    """Queues operations; the device fetches them one at a time."""

    def __init__(
        self,
        store: OperationStore,
        vault: Vault,
        random: Callable[[int], bytes],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._vault = vault
        self._random = random
        self._now = now

    async def queue(  # noqa: PLR0913 -- one argument for each thing an operation may say
        self,
        tenant_id: int,
        key: str,
        eid: Eid,
        kind: OperationKind,
        *,
        expires_at: datetime,
        iccid: Iccid | None = None,
        rollback: bool = False,
        activation_code: str = "",
    ) -> Operation:
        """Ask something of an eSIM, once for each `key` of the tenant: asking again answers the same operation.

        `iccid` belongs to ENABLE, DISABLE and DELETE, `rollback` to ENABLE, `activation_code` to DOWNLOAD. Raises
        Malformed when they do not fit, EsimUnknown, and KeyReused when the key stands for something else.
        """
        _check(key, kind, iccid, activation_code, rollback=rollback)
        if expires_at <= self._now():
            raise Malformed("an operation expires in the future: give it time for the device to poll")
        sealed = None
        if activation_code:
            sealed = await self._vault.wrap(activation_code.encode(), activation_context(tenant_id, key))
        new = NewOperation(
            tenant_id=tenant_id,
            key=key,
            eid=eid,
            kind=kind,
            transaction_id=TransactionId(self._random(_TRANSACTION_BYTES)),
            expires_at=expires_at,
            iccid=iccid,
            rollback=rollback,
            activation_sealed=sealed,
        )
        stored = await self._store.queue(new)
        if stored.transaction_id != new.transaction_id:
            await self._check_same(stored, new, activation_code)
        return stored

    async def _check_same(self, stored: Operation, new: NewOperation, activation_code: str) -> None:
        same = (stored.eid, stored.kind, stored.iccid, stored.rollback) == (new.eid, new.kind, new.iccid, new.rollback)
        if same and stored.activation_sealed is not None:
            kept = await self._vault.unwrap(stored.activation_sealed, activation_context(stored.tenant_id, stored.key))
            same = hmac.compare_digest(kept, activation_code.encode())
        if not same:
            raise KeyReused(f"key {new.key!r} stands for another operation: choose a new key")

    async def cancel(self, tenant_id: int, operation_id: int) -> bool:
        """Withdraw an operation that was not handed over yet; whether that came in time.

        A download that the device has in hand can be withdrawn too when the device says that it could not do it and the
        card's signed list has come since: nothing of it is left to wait for then.
        """
        with suppress(TransitionLost):
            found = await self._store.operation(tenant_id, operation_id)
            if found is not None and found.state is OperationState.QUEUED:
                await self._store.move(OperationChange.of(found, OperationEvent.CANCEL), self._now())
                return True
            if found is not None and found.state is OperationState.SENT and found.kind is OperationKind.DOWNLOAD:
                await self._store.abandon(found, self._now())
                return True
        return False

    async def operation(self, tenant_id: int, operation_id: int) -> Operation | None:
        """One operation of the tenant; None for another's as for an unknown one."""
        return await self._store.operation(tenant_id, operation_id)

    async def named(self, tenant_id: int, key: str) -> Operation | None:
        """The tenant's operation with that key; None when nothing was ever asked for under it."""
        return await self._store.named(tenant_id, key)

    async def operations(
        self,
        tenant_id: int,
        *,
        eid: Eid | None = None,
        state: OperationState | None = None,
        before: int | None = None,
        most: int = 100,
    ) -> list[Operation]:
        """Operations of the tenant, newest first, with ids below `before`."""
        return await self._store.operations(tenant_id, eid=eid, state=state, before=before, most=most)

    async def expire_due(self) -> int:
        """End open operations whose time is over and return how many there were."""
        return await self._store.expire_due(self._now(), _SWEEP)


def _check(key: str, kind: OperationKind, iccid: Iccid | None, activation_code: str, *, rollback: bool) -> None:
    if not 1 <= len(key) <= 255:
        raise Malformed("the key of an operation has 1 to 255 characters")
    if (iccid is not None) != (kind in ABOUT_ONE_PROFILE):
        raise Malformed("enable, disable and delete name an ICCID, the other operations none")
    if rollback and kind is not OperationKind.ENABLE:
        raise Malformed("only an enable can be rolled back")
    if bool(activation_code) != (kind is OperationKind.DOWNLOAD):
        raise Malformed("a download, and nothing else, needs an activation code")
    if activation_code:
        ActivationCode.parse(activation_code)

"""What others ask of eSIMs through one small surface: card facts, downloads, commands, their states."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from eim.association import Onboarding
from eim.operation import ABOUT_ONE_PROFILE, Operation, OperationKind, OperationState
from eim.packages import Packages
from eim.ports import CardFacts
from rsp.errors import Malformed
from rsp.identifiers import Eid, Iccid

_COMMANDS = {kind.value: kind for kind in (*ABOUT_ONE_PROFILE, OperationKind.LIST, OperationKind.READ)}


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationView:
    """An operation as its owner sees it; `result_code` is the card's code (0 ok), None while there is none."""

    id: int
    kind: OperationKind
    state: OperationState
    result_code: int | None
    detail: str
    expires_at: datetime
    sent_at: datetime | None
    ended_at: datetime | None
    hearsay: str
    heard_at: datetime | None


class CardControl:
    """The eIM for those who plan swaps. Every call sees the eSIMs and operations of its tenant only."""

    def __init__(self, onboarding: Onboarding, packages: Packages) -> None:
        self._onboarding = onboarding
        self._packages = packages

    async def card(self, tenant_id: int, eid: Eid) -> CardFacts | None:
        """What is known about an eSIM."""
        return await self._onboarding.card(tenant_id, eid)

    async def download(self, tenant_id: int, key: str, eid: Eid, activation_code: str, expires_at: datetime) -> int:
        """Ask for a profile download; the id of the operation, the same for the same key.

        Raises EsimUnknown, KeyReused, Malformed.
        """
        operation = await self._packages.queue(
            tenant_id,
            key,
            eid,
            OperationKind.DOWNLOAD,
            expires_at=expires_at,
            activation_code=activation_code.removeprefix("LPA:"),
        )
        return operation.id

    async def command(  # noqa: PLR0913, PLR0917 -- the port of the swap has this shape
        self,
        tenant_id: int,
        key: str,
        eid: Eid,
        kind: str,
        iccid: Iccid | None,
        rollback: bool,  # noqa: FBT001 -- as above
        expires_at: datetime,
    ) -> int:
        """Ask for `enable`, `disable`, `delete`, `list` or `read`; the id of the operation, the same for the same key.

        Raises EsimUnknown, KeyReused, Malformed.
        """
        if kind not in _COMMANDS:
            raise Malformed(f"{kind!r} is no command: use one of {', '.join(sorted(_COMMANDS))}")
        operation = await self._packages.queue(
            tenant_id, key, eid, _COMMANDS[kind], expires_at=expires_at, iccid=iccid, rollback=rollback
        )
        return operation.id

    async def operation(self, tenant_id: int, operation_id: int) -> OperationView | None:
        """Where an operation stands."""
        return _view(await self._packages.operation(tenant_id, operation_id))

    async def named(self, tenant_id: int, key: str) -> OperationView | None:
        """Where the operation with that key stands; None when nothing was ever asked for under it."""
        return _view(await self._packages.named(tenant_id, key))

    async def withdraw(self, tenant_id: int, operation_id: int) -> bool:
        """Take an operation back; False when it is the device's to answer, ended or never there."""
        return await self._packages.cancel(tenant_id, operation_id)


def _view(found: Operation | None) -> OperationView | None:
    if found is None:
        return None
    return OperationView(
        id=found.id,
        kind=found.kind,
        state=found.state,
        result_code=found.result_code,
        detail=found.detail,
        expires_at=found.expires_at,
        sent_at=found.sent_at,
        ended_at=found.ended_at,
        hearsay=found.hearsay,
        heard_at=found.heard_at,
    )

"""Cards as swaps see them: `swap.ports.CardControl` over the role eIM."""

from __future__ import annotations

from datetime import datetime

from eim import control
from rsp.errors import Malformed
from rsp.identifiers import Eid, Iccid
from rsp.plmn import plmn_to_text
from swap.ports import Card, CardProfile, OperationState, OperationView


class EimCards:
    """The eIM in the values of the role swap."""

    def __init__(self, cards: control.CardControl) -> None:
        self._cards = cards

    async def card(self, tenant_id: int, eid: Eid) -> Card | None:
        """What is known about an eSIM."""
        facts = await self._cards.card(tenant_id, eid)
        if facts is None:
            return None
        return Card(
            profiles=tuple(CardProfile(iccid=one.iccid, enabled=one.enabled) for one in facts.profiles),
            listed_at=facts.listed_at,
            last_poll_at=facts.last_poll_at,
            country=_country(facts.rplmn),
        )

    async def download(self, tenant_id: int, key: str, eid: Eid, activation_code: str, expires_at: datetime) -> int:
        """Ask for a download."""
        return await self._cards.download(tenant_id, key, eid, activation_code, expires_at)

    async def command(  # noqa: PLR0913, PLR0917 -- the port has this shape
        self,
        tenant_id: int,
        key: str,
        eid: Eid,
        kind: str,
        iccid: Iccid | None,
        rollback: bool,  # noqa: FBT001 -- as above
        expires_at: datetime,
    ) -> int:
        """Ask for a command."""
        return await self._cards.command(tenant_id, key, eid, kind, iccid, rollback, expires_at)

    async def operation(self, tenant_id: int, operation_id: int) -> OperationView | None:
        """Where an operation stands."""
        return _view(await self._cards.operation(tenant_id, operation_id))

    async def named(self, tenant_id: int, key: str) -> OperationView | None:
        """The operation with that key."""
        return _view(await self._cards.named(tenant_id, key))

    async def withdraw(self, tenant_id: int, operation_id: int) -> bool:
        """Take back an operation that no device has had."""
        return await self._cards.withdraw(tenant_id, operation_id)


def _view(found: control.OperationView | None) -> OperationView | None:
    if found is None:
        return None
    return OperationView(
        id=found.id,
        state=OperationState(found.state.value),
        result_code=found.result_code,
        detail=found.detail,
        sent_at=found.sent_at,
        ended_at=found.ended_at,
        hearsay=found.hearsay,
        heard_at=found.heard_at,
    )


def _country(rplmn: bytes | None) -> str | None:
    try:
        return None if rplmn is None else plmn_to_text(rplmn)[:3]
    except Malformed:
        return None

"""A profile of an operator, and ES2+ calls about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.http_stage import Answer, Edge

EID, OTHER_EID = "89049032123451234512345678901235", "89049032123451234512345678901236"
UNKNOWN = "8988211999999999999"
OTHER = "operator-b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A profile of operator-a, and calls about it."""

    edge: Edge
    iccid: str

    async def call(self, function: str, **members: Any) -> Answer:
        """A call of operator-a about the profile; a member that is None is left out."""
        body = {"iccid": self.iccid} | members
        return await self.edge.operator(function, {name: value for name, value in body.items() if value is not None})

    async def must(self, function: str, **members: Any) -> dict[str, Any]:
        """A call that succeeds."""
        answer = (await self.call(function, **members)).json()
        assert answer["header"] == {"functionExecutionStatus": {"status": "Executed-Success"}}, answer
        return answer

    async def linked(self) -> None:
        await self.must("downloadOrder", eid=EID)

    async def released(self, **members: Any) -> str:
        """Ordered and released; answers the MatchingID."""
        await self.must("downloadOrder")
        return str((await self.must("confirmOrder", releaseFlag=True, **members))["matchingId"])

    async def withdrawn(self) -> None:
        await self.must("downloadOrder")
        await self.must("cancelOrder", finalProfileStatusIndicator="Unavailable")

    async def stands(self, state: str) -> None:
        """Move the order behind the server's back to where a card would have brought it."""
        await self.edge.execute("UPDATE orders SET state = $1 WHERE iccid = $2 AND ended_at IS NULL", state, self.iccid)

"""The sender of the outbox: what becomes of a message, and that a slow receiver holds up nobody else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from rsp.errors import Unavailable, Unreachable
from smdp.ports import ClaimedMessage
from webhooks.sender import Pace, Sender, Undeliverable, Unwanted


def message(number: int, kind: str = "ok") -> ClaimedMessage:
    return ClaimedMessage(id=number, tenant_id=1, line=f"line-{number}", kind=kind, body=b"{}", attempts=1)


@dataclass
class Box:
    """An outbox that gives out its messages once and remembers what it was told of each."""

    waiting: list[ClaimedMessage]
    told: dict[int, str] = field(default_factory=dict)
    away: int = 0
    """How many times it cannot be told that a message was sent."""

    async def claim_messages(self, most: int, lease_seconds: float) -> list[ClaimedMessage]:
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        return taken

    async def sent(self, message_id: int) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("away")
        self.told[message_id] = "sent"

    async def retry(self, message_id: int, delay_seconds: float, error: str) -> None:
        self.told[message_id] = f"retry: {error}"

    async def bury(self, message_id: int, error: str) -> None:
        self.told[message_id] = f"buried: {error}"

    async def depth(self) -> tuple[int, float]:
        return len(self.waiting), 0.0


async def ok(_: ClaimedMessage) -> None:
    return


async def fails(claimed: ClaimedMessage) -> None:
    raise {"away": Unreachable("no answer"), "never": Undeliverable("gone"), "unasked": Unwanted("no address")}[
        claimed.kind
    ]


async def test_each_outcome_is_told_to_the_outbox() -> None:
    box = Box([message(1), message(2, "away"), message(3, "never"), message(4, "unasked"), message(5, "strange")])
    sender = Sender(box, {"ok": ok, "away": fails, "never": fails, "unasked": fails})
    assert await sender.send_due() == 5
    await sender.finish()
    assert box.told == {
        1: "sent",
        2: "retry: no answer",
        3: "buried: gone",
        4: "buried: no address",
        5: "buried: nothing here sends messages of kind strange",
    }


async def test_a_slow_receiver_holds_up_nobody_else() -> None:
    answer = asyncio.Event()

    async def slow(_: ClaimedMessage) -> None:
        await answer.wait()

    box = Box([message(1, "slow"), message(2)])
    sender = Sender(box, {"ok": ok, "slow": slow})
    assert await sender.send_due() == 2
    box.waiting = [message(3)]
    assert await sender.send_due() == 1
    for _ in range(5):
        await asyncio.sleep(0)
    assert box.told == {2: "sent", 3: "sent"}
    answer.set()
    await sender.finish()
    assert box.told[1] == "sent"


async def test_no_more_fly_at_once_than_there_is_room() -> None:
    answer = asyncio.Event()
    flying = 0

    async def counted(_: ClaimedMessage) -> None:
        nonlocal flying
        flying += 1
        await answer.wait()

    box = Box([message(number, "counted") for number in range(5)])
    sender = Sender(box, {"counted": counted}, Pace(most=3))
    assert await sender.send_due() == 3
    next_round = asyncio.create_task(sender.send_due())
    for _ in range(5):
        await asyncio.sleep(0)
    assert flying == 3
    assert not next_round.done()
    answer.set()
    assert await next_round == 2
    await sender.finish()
    assert len(box.told) == 5


async def test_a_database_that_is_away_fails_one_message_and_not_its_neighbours() -> None:
    box = Box([message(1), message(2, "away")], away=3)
    sender = Sender(box, {"ok": ok, "away": fails}, Pace(telling_seconds=(0.0, 0.0)))
    await sender.send_due()
    with pytest.raises(Unavailable):
        await sender.finish()
    assert box.told == {2: "retry: no answer"}
    assert await sender.send_due() == 0


async def test_a_delivered_message_is_marked_once_the_database_is_back() -> None:
    sends = 0

    async def counted(_: ClaimedMessage) -> None:
        nonlocal sends
        sends += 1

    box = Box([message(1)], away=2)
    sender = Sender(box, {"ok": counted}, Pace(telling_seconds=(0.0, 0.0)))
    await sender.send_due()
    await sender.finish()
    assert (box.told, sends) == ({1: "sent"}, 1)


def test_pauses_double_up_to_a_limit() -> None:
    pace = Pace(first_seconds=1, longest_seconds=60)
    for attempts in range(1, 100):
        assert 0.8 * min(2.0 ** (attempts - 1), 60) <= pace.pause(attempts) <= 1.2 * min(2.0 ** (attempts - 1), 60)

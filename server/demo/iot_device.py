"""A device of the demonstration: a factory-made card, the networks around it, and an IPA that polls by itself."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from rsp.identifiers import Eid, Iccid
from server.demo.stage import Deviation, Server
from simulator.exchange import Habits, Retries
from simulator.iot_card import IotCard
from simulator.ipa import Did, Ipa, IpaOptions, Polled
from simulator.network import Line, Network
from simulator.platforms.control_center_book import Book
from simulator.profiles import ProfileState

_POLL_SECONDS = 0.25
_ROLLBACK_SECONDS = 10.0
_BUSY = (Did.EXECUTED, Did.DOWNLOADED, Did.TOLD)


@dataclass(slots=True, kw_only=True)
class Air:
    """The networks of all carriers: what each line finds there. `books` are their platforms, where lines are known."""

    books: Mapping[str, Book]
    owners: dict[Iccid, str] = field(default_factory=dict)
    lines: dict[Iccid, Line] = field(default_factory=dict)

    def add(self, iccid: Iccid, owner: str, line: Line) -> None:
        """A line of carrier `owner`."""
        self.owners[iccid] = owner
        self.lines[iccid] = line

    def network(self) -> Network:
        """What one device sees of them."""
        return Network(lines=self.lines, is_live=self._lets_in, on_session=self._begins)

    def _lets_in(self, iccid: Iccid) -> bool:
        book = self._book(iccid)
        return book is None or book.connects(iccid)

    def _begins(self, iccid: Iccid) -> None:
        book = self._book(iccid)
        if book is not None:
            book.session_starts(iccid)

    def ends(self, iccid: Iccid) -> None:
        """The line's session is over."""
        book = self._book(iccid)
        if book is not None:
            book.session_ends(iccid)

    def _book(self, iccid: Iccid) -> Book | None:
        """The platform that knows the line; None for a carrier without one."""
        return self.books.get(self.owners.get(iccid, ""))


@dataclass(slots=True, kw_only=True)
class IotDevice:
    """One device that is switched on."""

    name: str
    card: IotCard
    ipa: Ipa
    network: Network
    air: Air
    rollbacks: int = 0
    polls: int = 0
    failed: BaseException | None = None

    @property
    def eid(self) -> Eid:
        """The EID of its card."""
        return self.card.eid

    def profiles(self) -> dict[str, bool]:
        """The card's own word: ICCID to enabled."""
        return {str(one.iccid): one.state is ProfileState.ENABLED for one in self.card.memory.profiles}

    def check(self) -> None:
        """Raise Deviation when the device has broken down."""
        if self.failed is not None:
            raise Deviation(f"{self.name} broke down: {self.failed!r} ({self.card.last_fault})")

    async def live(self) -> None:
        """Poll until cancelled; at once after something was done, as a device that expects more."""
        try:
            while True:
                before = self.network.attached
                polled = await self.ipa.poll()
                self._leave(before)
                self._count(polled)
                if polled.did not in _BUSY:
                    await asyncio.sleep(_POLL_SECONDS)
        except Exception as error:  # noqa: BLE001 -- told by `check`, where somebody waits for the device
            self.failed = error

    def _leave(self, before: Iccid | None) -> None:
        """A line that was left has no session any more."""
        if before is not None and before != self.network.attached:
            self.air.ends(before)

    def _count(self, polled: Polled) -> None:
        self.polls += 1
        self.rollbacks += polled.rolled_back


@asynccontextmanager
async def switched_on(
    server: Server, name: str, card: IotCard, air: Air, tls: ssl.SSLContext
) -> AsyncIterator[IotDevice]:
    """A device around `card`, polling until the block ends."""
    addresses = {
        server.settings.eim_names[0]: (server.state.hosts["eim"], server.state.ports["eim"]),
        server.name: (server.state.hosts["es9"], server.state.ports["es9"]),
    }
    quick = Retries(attempts=3, first_pause=0.3, longest_pause=1.0)
    network = air.network()
    ipa = Ipa.over(
        card,
        network,
        tls=tls,
        addresses=addresses,
        habits=Habits(retries=quick),
        options=IpaOptions(rollback_after=_ROLLBACK_SECONDS, result_retries=quick),
    )
    async with ipa:
        device = IotDevice(name=name, card=card, ipa=ipa, network=network, air=air)
        life = asyncio.create_task(device.live())
        try:
            yield device
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

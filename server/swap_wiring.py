"""Joins the role swap with agreements, platforms, cards, profiles and its storage."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime

from carriers.registry import Registry
from crypto.vault import Vault
from rsp.identifiers import Eid
from server.eim_wiring import Eim
from server.foreign_profiles import ForeignProfiles
from server.hints import HintingSwaps, Hints, Unheard
from server.profile_source import AllProfiles, OwnProfiles
from server.swap_cards import EimCards
from server.swap_parties import CarrierPlatforms, PartyAgreements
from smdp.ordering import Ordering
from smdp.policy import Policy
from smdp.returning import Returning
from store.ordering import Orderings
from store.pool import Pool
from store.stock import Stock as StoredStock
from store.swaps import Swaps as StoredSwaps
from store.tenancy import Tenancy
from swap.desk import Desk, Outlook
from swap.outcomes import Timing
from swap.saga import Outside, Saga, steps_of
from tenancy.desk import Desk as TenancyDesk


@dataclass(frozen=True, slots=True, kw_only=True)
class Swaps:
    """Swaps in one process: the desk for callers, the saga for the worker."""

    desk: Desk
    saga: Callable[[], Saga]
    """A runner; each claims swaps for itself."""


class Waking:
    """What the other roles tell of eSIMs makes their swaps due."""

    def __init__(self, pool: Pool, hints: Hints, now: Callable[[], datetime]) -> None:
        self._swaps = HintingSwaps(pool, hints)
        self._now = now

    async def of_card(self, eid: Eid) -> None:
        """The card has answered."""
        await self._swaps.wake((eid,), self._now())

    async def of_cards(self, eids: Collection[Eid]) -> None:
        """The cards have reported."""
        await self._swaps.wake(eids, self._now())


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What swaps are joined with."""

    pool: Pool
    vault: Vault
    ordering: Ordering
    policy: Policy
    eim: Eim
    registry: Registry
    foreign: ForeignProfiles
    now: Callable[[], datetime]
    timing: Timing = field(default_factory=Timing)
    hints: Hints = field(default_factory=Unheard)


def swaps_of(around: Surroundings) -> Swaps:
    """Swaps over `around.pool`."""
    pool, vault = around.pool, around.vault
    parties = Tenancy(pool)
    platforms = CarrierPlatforms(parties, vault, around.registry)
    own = OwnProfiles(around.ordering, Returning(Orderings(pool)), StoredStock(pool), around.policy)
    profiles = AllProfiles(own, around.foreign)
    cards = EimCards(around.eim.control())
    agreements = PartyAgreements(parties, TenancyDesk(parties, vault), platforms)
    outlook = Outlook(agreements=agreements, cards=cards, platforms=platforms, profiles=profiles, vault=vault)
    steps = steps_of(Outside(profiles=profiles, platforms=platforms, cards=cards, vault=vault))
    return Swaps(
        desk=Desk(HintingSwaps(pool, around.hints), outlook, around.timing, around.now),
        saga=lambda: Saga(StoredSwaps(pool), steps, around.timing, around.now),
    )

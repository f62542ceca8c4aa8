"""Counts what becomes of downloads, at the commit that makes it so: neither lost answers nor repetitions count twice.

`smdp_downloads_total{result}`: `started` (an eUICC was accepted for an order), `delivered` (its package is bound),
`installed`, `interrupted` (the card reported a fault that allows another try), `failed` (the order ended in error).
"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter

from smdp.order import OrderChange, OrderState
from smdp.ports import DownloadWrite, Verdict
from store.downloads import Downloads
from store.inbox import Inbox
from store.pool import Pool

_RESULTS = ("started", "delivered", "installed", "interrupted", "failed")


class Tally:
    """The counter of downloads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = Counter("smdp_downloads", "Downloads by what became of them.", ("result",), registry=registry)
        self._downloads = {result: counter.labels(result) for result in _RESULTS}

    def count(self, write: DownloadWrite | None) -> None:
        """A write was committed."""
        result = _result(write.order) if write is not None and write.order is not None else None
        if result is not None:
            self._downloads[result].inc()


def _result(change: OrderChange) -> str | None:
    if change.state is OrderState.INSTALLED:
        return "installed"
    if change.state is OrderState.ERROR:
        return "failed"
    if change.count_download:
        return "started"
    if change.binding is not None:
        return "delivered"
    return None if change.count_confirmation else "interrupted"


class CountedDownloads(Downloads):
    """The stored downloads, counted."""

    def __init__(self, pool: Pool, tally: Tally) -> None:
        super().__init__(pool)
        self._tally = tally

    async def write(self, write: DownloadWrite) -> None:
        """See `smdp.ports.DownloadStore`."""
        await super().write(write)
        self._tally.count(write)


class CountedInbox(Inbox):
    """The kept notifications, their consequences for downloads counted."""

    def __init__(self, pool: Pool, tally: Tally) -> None:
        super().__init__(pool)
        self._tally = tally

    async def judge(self, verdict: Verdict, write: DownloadWrite | None) -> None:
        """See `smdp.ports.NotificationStore`."""
        await super().judge(verdict, write)
        self._tally.count(write)

    async def judge_all(self, judgements: Sequence[tuple[Verdict, DownloadWrite | None]]) -> None:
        """See `smdp.ports.NotificationStore`."""
        await super().judge_all(judgements)
        for _, write in judgements:
            self._tally.count(write)

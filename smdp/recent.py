"""What AuthenticateClient has just read and written, for the request that follows it."""

from __future__ import annotations

from rsp.identifiers import TransactionId
from smdp.ports import DownloadFacts

_MOST_BYTES = 4 * 1024 * 1024


class Recent:
    """Sessions that this process has authenticated and nobody has asked for since: they save their next request a read.

    Nothing rests on them. What is written because of them is guarded by the states and versions they hold, as it is
    after a read; a request that would be refused because of them, or finds the rows elsewhere, reads them first.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._kept: dict[TransactionId, DownloadFacts] = {}
        self._bytes = 0
        self._most_bytes = most_bytes

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, facts: DownloadFacts) -> None:
        """Remember a session as it is now. The oldest ones are forgotten for it when all packages become too large."""
        self._kept[facts.session.transaction_id] = facts
        self._bytes += _size(facts)
        while self._bytes > self._most_bytes:
            self.take(next(iter(self._kept)))

    def take(self, transaction_id: TransactionId) -> DownloadFacts | None:
        """What is remembered of a session, once."""
        facts = self._kept.pop(transaction_id, None)
        if facts is not None:
            self._bytes -= _size(facts)
        return facts


def _size(facts: DownloadFacts) -> int:
    return 1000 + (len(facts.package.segments) if facts.package else 0)

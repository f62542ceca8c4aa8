"""The revocation lists of a running process: looked for every few seconds, taken up without a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from certs import revocation
from certs.layout import PkiFolder
from crypto.certificates import TrustStore
from crypto.revocation import BadRevocationList
from server import logs
from server.gauges import own_certificates
from server.repeating import repeated

_log = logs.get("server.revocations")

SECONDS = 10.0
"""A list in the folder is in force after this time at the latest. Not a matter of requests, which only look it up."""


class RevocationWatch:
    """Takes up what is new in the folder's `crl/`.

    A list in force stays so until a newer one comes: an older file in its place, or none, changes nothing before the
    process ends. To look takes some microseconds, to read a list a microsecond for each entry.
    """

    def __init__(self, pki: PkiFolder, trust: TrustStore, now: Callable[[], datetime]) -> None:
        self._path = pki.path
        self._own = own_certificates(pki)
        self._trust = trust
        self._now = now
        self._state: revocation.State | None = None
        self._faults: set[tuple[Path, str]] = set()
        self._overdue: set[tuple[str, int]] = set()

    def look(self) -> None:
        """Take up what changed since the last look, and log what somebody should know, once."""
        state = revocation.state(self._path)
        if state != self._state:
            # What changes while it is read has another state at the next look.
            self._state = state
            self._read()
        self._tell_overdue()

    def _read(self) -> None:
        found = revocation.read(self._path, self._trust, self._now())
        if found.is_early:
            self._state = None
        faults, is_news = set(found.faults), False
        for one in found.lists:
            try:
                if not self._trust.revocations.take(one.found):
                    continue
            except BadRevocationList as error:
                faults.add((one.file, str(error)))
                continue
            name, number, count = revocation.short_name(one.found), one.found.number, len(one.found.revoked)
            _log.info("revocation list in force", crl=name, number=number, revoked=count)
            is_news = True
        if is_news:
            self._tell_own()
        for file, why in sorted(faults - self._faults):
            _log.warning("revocation list ignored", file=str(file), why=why)
        self._faults = faults

    def _tell_own(self) -> None:
        for name, certificate in self._own.items():
            found = self._trust.revocations.naming(certificate)
            if found is not None:
                _log.error("own certificate is revoked", certificate=name, number=found.number)

    def _tell_overdue(self) -> None:
        for one in self._trust.revocations:
            known = revocation.short_name(one), one.number
            if known not in self._overdue and one.is_overdue(self._now()):
                self._overdue.add(known)
                due = one.next_update.isoformat()
                _log.warning("revocation list overdue: it still counts", crl=known[0], number=one.number, due=due)


@asynccontextmanager
async def trusting(pki: PkiFolder, now: Callable[[], datetime]) -> AsyncIterator[TrustStore]:
    """The CIs of a folder; until the block ends, what their lists revoke is kept up to date."""
    trust = TrustStore(pki.ci_certificates)
    watch = RevocationWatch(pki, trust, now)

    async def look() -> None:
        watch.look()

    await look()
    async with repeated("revocation lists", look, SECONDS):
        yield trust

"""Puts files of profile packages into stock: all are judged before the first is stored, and each gets a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from rsp.errors import Malformed, Unavailable
from rsp.identifiers import Iccid
from smdp.offer import Offer
from smdp.ports import ProfileExists
from smdp.stocking import Stocking
from store.stock import Stock


class Result(StrEnum):
    """What became of a file."""

    STORED = "stored"
    SKIPPED = "skipped"
    REFUSED = "refused"
    NOT_STORED = "not stored"
    """Another file was refused, or the database went away before its turn."""
    UNKNOWN = "unknown"
    """The database went away while it was stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """One file; `iccid` is None when it cannot be read, `reason` is a sentence unless it is stored."""

    file: str
    iccid: Iccid | None
    result: Result
    reason: str = ""

    @property
    def failed(self) -> bool:
        """Whether its profile may not be in stock."""
        return self.result not in (Result.STORED, Result.SKIPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    entry: Entry
    result: FileResult
    package: bytes = b""

    @property
    def waits(self) -> bool:
        return self.result.result is Result.NOT_STORED


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file and how its profile is offered."""

    file: Path
    offer: Offer


class FileImport:
    """Imports files for one operator. `existing` is the result of a profile that is in stock: skipped or refused."""

    def __init__(self, stocking: Stocking, stock: Stock, owner_id: int, existing: Result) -> None:
        self._stocking = stocking
        self._stock = stock
        self._owner_id = owner_id
        self._existing = existing

    async def run(self, entries: Sequence[Entry]) -> list[FileResult]:
        """A result for each file, in their order. Nothing is stored when one of them is refused."""
        judged = await self._judge(entries)
        if not any(one.result.result is Result.REFUSED for one in judged):
            return await self._store(judged)
        reason = "another file was refused"
        return [replace(one.result, reason=reason) if one.waits else one.result for one in judged]

    async def _judge(self, entries: Sequence[Entry]) -> list[_Judged]:
        """What is not stored yet and could be is NOT_STORED."""
        judged = [self._read(entry) for entry in entries]
        known = await self._stock.known([one.result.iccid for one in judged if one.result.iccid])
        seen: dict[Iccid, str] = dict.fromkeys(known, "is in stock already")
        for place, one in enumerate(judged):
            iccid = one.result.iccid
            if iccid in seen:
                reason = f"a profile with ICCID {iccid} {seen[iccid]}"
                result = replace(one.result, result=self._existing, reason=reason)
                judged[place] = _Judged(entry=one.entry, result=result)
            elif iccid:
                seen[iccid] = f"is in {one.result.file}, too"
        return judged

    def _read(self, entry: Entry) -> _Judged:
        name = str(entry.file)
        try:
            package = entry.file.read_bytes()
            iccid = self._stocking.judge(package, entry.offer).iccid
        except (OSError, Malformed) as error:
            text = str(error.strerror or error) if isinstance(error, OSError) else str(error)
            refused = FileResult(file=name, iccid=None, result=Result.REFUSED, reason=text)
            return _Judged(entry=entry, result=refused)
        result = FileResult(file=name, iccid=iccid, result=Result.NOT_STORED)
        return _Judged(entry=entry, result=result, package=package)

    async def _store(self, judged: Sequence[_Judged]) -> list[FileResult]:
        """One by one; after the database has gone away the rest stays as it is."""
        results: list[FileResult] = []
        away = False
        for one in judged:
            if not one.waits:
                results.append(one.result)
            elif away:
                results.append(replace(one.result, reason="the database went away"))
            else:
                results.append(await self._stored(one))
                away = results[-1].result is Result.UNKNOWN
        return results

    async def _stored(self, one: _Judged) -> FileResult:
        try:
            await self._stocking.import_profile(self._owner_id, one.package, one.entry.offer)
        except ProfileExists as error:
            return replace(one.result, result=self._existing, reason=str(error))
        except Unavailable as error:
            reason = f"{error}; import it again with --skip-existing"
            return replace(one.result, result=Result.UNKNOWN, reason=reason)
        return replace(one.result, result=Result.STORED)

"""What a target of the fuzzer is, and where its right messages are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from rsp.errors import Malformed

CORPUS = Path(__file__).parent / "corpus"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
"""The time at which the certificates of the corpus are judged."""


@cache
def cis() -> tuple[bytes, ...]:
    """The CI certificates of the corpus."""
    return tuple(file.read_bytes() for file in sorted((CORPUS / "ci").iterdir()))


@dataclass(frozen=True, slots=True)
class Target:
    """One reader. `form` chooses how inputs are made: tlv, json, text or octets; `raises` are its declared errors."""

    name: str
    form: str
    call: Callable[[bytes], object]
    raises: tuple[type[Exception], ...] = (Malformed,)

    @property
    def corpus(self) -> tuple[bytes, ...]:
        """Right messages, and wrong ones that once did harm, in the order of their names."""
        return tuple(file.read_bytes() for file in sorted((CORPUS / self.name).iterdir()))

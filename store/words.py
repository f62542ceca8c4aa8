"""Columns that hold one of a few words: domains of PostgreSQL.

A check constraint of a table is read from its text again by every statement that writes a row, which took an eighth of
what the statements of a download cost; that of a domain is read once for each connection.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from sqlalchemy import DDL, MetaData, Text, event
from sqlalchemy.ext.compiler import compiles


class Word(Text):
    """The type of a column that holds a value of `words`, in the domain named like it (`OrderState`: order_state)."""

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__()
        self.words = words
        self.domain = re.sub(r"(?<!^)(?=[A-Z])", "_", words.__name__).lower()

    @property
    def definition(self) -> str:
        """The statement that makes the domain."""
        allowed = ", ".join(f"'{word.value}'" for word in self.words)
        return f"CREATE DOMAIN {self.domain} AS text CONSTRAINT {self.domain} CHECK (VALUE IN ({allowed}))"


@compiles(Word)
def _named(word: Word, *_: Any, **__: Any) -> str:
    return word.domain


def defined(metadata: MetaData, *words: Word) -> None:
    """Has the domains made before the tables of `metadata`."""
    for word in words:
        event.listen(metadata, "before_create", DDL(word.definition))  # type: ignore[no-untyped-call]  # not typed there
